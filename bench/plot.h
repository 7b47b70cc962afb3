/* Plots as SVG, drawn by gnuplot. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <jansson.h>

/* Each answers an SVG element to be put into a page (free it), or NULL: nothing to plot, or no gnuplot. */
char *plot_ratios(const json_t *workloads);      /* throughput as a part of the floor's, row by row */
char *plot_state_sizes(const json_t *workloads); /* ticks/s by the number of keys */
char *plot_steps(const json_t *workloads);       /* where a tick's time goes */
char *plot_percentiles(const json_t *workloads); /* latency by percentile */

#endif
