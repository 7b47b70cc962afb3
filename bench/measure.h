/* Timed runs, each beside its floor, and the rows that come of them.
 *
 * A row is a JSON object: `unit`, then for every number of its runs the median, and
 *   <unit>s_per_s, cpu_us_per_<unit>, switches_per_<unit>, seconds, max_rss_kb, threads
 *   latency_p50_us, latency_p90_us, latency_p99_us, latency_max_us    of all runs together
 *   floor_per_s, floor_cpu_us, floor_switches                         the same of the floor
 *   ratio, ratio_min, ratio_max                                       pair by pair
 *   cpu_ratio                                                         likewise, of the CPU time
 *   others_cpus                                                       the CPUs that other programs used meanwhile
 *   runs       the numbers of each run
 *   latency, floor_latency   histograms, [bucket, count] pairs; see histogram.h */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench.h"

/* One timed run: the result of a role, or NULL (noted). `run` counts from 0. */
typedef json_t *(*measure_fn)(bench *b, void *arg, int run);

typedef struct subject {
    const char *unit;   /* "tick" */
    measure_fn floor;   /* NULL: has none */
    measure_fn measure; /* what it is about */
    void *arg;
} subject;

/* Measures `name` as often as was asked for, floor and subject in turns. False when it failed or was interrupted; what
 * is complete by then is kept. */
bool measure(bench *b, const char *name, const subject *s);

/* A number of a result or row; `otherwise` where there is none. */
double measure_number(const json_t *object, const char *name, double otherwise);

/* The most CPUs that other programs used during one of the row's runs. */
double measure_others(const json_t *row);

#endif
