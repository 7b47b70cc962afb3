/* Timed runs, each paired with a run of its floor, and the rows that result.
 *
 * A row is a JSON object: `unit`, then for each number of its runs the median, and
 *   <unit>s_per_s, cpu_us_per_<unit>, switches_per_<unit>, seconds, max_rss_kb, threads
 *   latency_p50_us, latency_p90_us, latency_p99_us, latency_max_us    of all runs together
 *   floor_per_s, floor_cpu_us, floor_switches                         the same for the floor
 *   ratio, ratio_min, ratio_max                                       throughput / the floor's, for each pair of runs
 *   cpu_ratio                                                         the same for the CPU time
 *   others_cpus                                                       how many CPUs other programs used meanwhile
 *   runs       the numbers of each run
 *   latency, floor_latency   histograms, [bucket, count] pairs; see histogram.h */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench.h"

/* Makes one timed run. Returns the result of a role, or NULL if it failed or was interrupted; a failure is recorded
 * with bench_fail. `run` counts from 0. */
typedef json_t *(*measure_fn)(bench *b, void *arg, int run);

typedef struct subject {
    const char *unit;   /* "tick" */
    measure_fn floor;   /* NULL: there is no floor */
    measure_fn measure; /* what is measured */
    void *arg;
} subject;

/* Measures the row `name` with the requested number of runs, floor and subject in turns. Returns false if a run failed
 * or was interrupted; the complete runs are kept. */
bool measure(bench *b, const char *name, const subject *s);

/* Returns a number of a result or row; `otherwise` if it is missing. */
double measure_number(const json_t *object, const char *name, double otherwise);

/* Returns the most CPUs that other programs used during one of the row's runs. */
double measure_others(const json_t *row);

#endif
