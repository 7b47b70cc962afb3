/* What a process has used so far: time, CPU, context switches, memory, threads. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <jansson.h>

#include <stdint.h>

/* Nanoseconds of the monotonic clock, which all processes of a machine share. */
int64_t now_ns(void);

typedef struct usage {
    int64_t at_ns;
    int64_t cpu_ns;   /* user and system, of all threads of this process and of no other */
    int64_t switches; /* context switches, voluntary or not */
} usage;

usage usage_now(void);

/* The highest resident memory so far, and the number of threads now. */
int64_t usage_peak_kb(void);
int64_t usage_threads(void);

/* Adds what lies between the two to a result: seconds, cpu_us, switches, max_rss_kb, threads, and the count of what was
 * done meanwhile. */
void usage_report(json_t *result, const usage *from, const usage *to, int64_t count);

#endif
