/* What this process has used so far: time, CPU, context switches, memory, threads. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <jansson.h>

#include <stdint.h>

/* Returns nanoseconds of the monotonic clock, which all processes of a machine share. */
int64_t now_ns(void);

typedef struct usage {
    int64_t at_ns;
    int64_t cpu_ns;   /* user and system time of all threads of this process only */
    int64_t switches; /* context switches, voluntary or not */
} usage;

usage usage_now(void);

/* Return the peak of the resident memory so far, and the current number of threads; -1 if unknown. */
int64_t usage_peak_kb(void);
int64_t usage_threads(void);

/* Adds the difference of the two to a result: seconds, cpu_us and switches; also max_rss_kb, threads, and `count`, the
 * number of units done meanwhile. */
void usage_report(json_t *result, const usage *from, const usage *to, int64_t count);

#endif
