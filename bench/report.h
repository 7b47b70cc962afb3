/* The report of a measurement as text, as one HTML page, and compared with an earlier one. It is the JSON document:
 *   started, seconds, machine, versions, options, workloads: { name: row }, scaling     (row: measure.h) */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "steps.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Adds the quotients of a workload's largest and smallest row: "scaling": { "fanin_64 / fanin_1": quotients of the
 * rows' numbers }. Only for workloads of which both rows were measured. */
void report_add_scaling(json_t *report);

/* Prints the table: what fits 80 columns, or with `wide` everything. */
void report_table(FILE *out, const json_t *report, bool wide);

/* Prints the differences from an earlier report that exceed the noise of the runs: the numbers whose ranges over the
 * runs, then and now, do not overlap. Rows during which other programs used the CPUs, then or now, are not compared.
 * `path` is the file of the earlier report. */
void report_baseline(FILE *out, const json_t *report, const json_t *then, const char *path);

/* Writes the page. gnuplot draws its plots; without gnuplot they are left out, and the page says so. Returns false,
 * with the error printed, if the page cannot be written. */
bool report_html(const json_t *report, const char *path);

/* Writes the name of a row's main number, such as "ticks_per_s", to `out`. */
void report_rate_name(const json_t *row, char *out, size_t size);

/* Writes a remark with the numbers that only some workloads have, such as "1.02 transactions per commit", to `out`. It
 * is empty for most rows. */
void report_remark(const json_t *row, char *out, size_t size);

/* Writes the times of the row's steps (steps.h), STEPS numbers, to `us`. Returns their sum, 0 if the row has none. */
double report_steps(const json_t *row, double *us);

/* Writes the time of one step as text to `out`, "-" if the row does not have it. Returns `out`. */
const char *report_step(const json_t *row, step s, char *out, size_t size);

/* Writes a duration with its unit to `out`. */
void report_time(double us, char *out, size_t size);

#endif
