/* The CPU time of other programs during a measurement: a measurement on a busy machine is not valid. */
#ifndef BENCH_OTHERS_H
#define BENCH_OTHERS_H

#include <stdint.h>

/* A row with more CPUs than this is not compared. An idle machine has a few hundredths. */
#define OTHERS_CPUS_MAX 0.1

typedef struct others {
    int64_t at_ns;
    int64_t cpu_ns; /* of all programs except this one and its descendants, with stolen time; -1: unknown */
} others;

others others_now(void);

/* Returns how many CPUs other programs used between the two, on average; 0 if that is unknown. */
double others_cpus(const others *from, const others *to);

#endif
