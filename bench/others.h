/* What other programs use of the CPUs meanwhile: a measurement on a busy machine is none. */
#ifndef BENCH_OTHERS_H
#define BENCH_OTHERS_H

#include <stdint.h>

/* Above this many CPUs a row is not judged. A machine at rest has some hundredths. */
#define OTHERS_CPUS_MAX 0.1

typedef struct others {
    int64_t at_ns;
    int64_t
        cpu_ns; /* of all programs but this one and its descendants, time stolen by the host included; -1: unknown */
} others;

others others_now(void);

/* How many CPUs they used between the two, on average; 0 if that is unknown. */
double others_cpus(const others *from, const others *to);

#endif
