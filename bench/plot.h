/* SVG plots, sampled by gnuplot. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <jansson.h>

/* Each returns an SVG element for an HTML page, which the caller frees, or NULL: there is no data, or no gnuplot. */
char *plot_ratios(const json_t *workloads);      /* throughput / that of the floor, for each row */
char *plot_state_sizes(const json_t *workloads); /* ticks/s by the number of keys */
char *plot_steps(const json_t *workloads);       /* the steps of a tick */
char *plot_percentiles(const json_t *workloads); /* latency by percentile */

#endif
