/* What has been measured, as text, as one HTML page, and against an earlier time. The report is the JSON document:
 *   started, seconds, machine, versions, options, workloads: { name: row }, scaling     (row: measure.h) */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "steps.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Adds what the largest row of a workload is to its smallest: "scaling": { "fanin_64 / fanin_1": quotients of the rows'
 * numbers }. Empty unless both were measured. */
void report_add_scaling(json_t *report);

/* The table for people: what fits 80 columns, or all of it. */
void report_table(FILE *out, const json_t *report, bool wide);

/* The differences to an earlier report that exceed the noise of the runs: the ranges of a number, over the runs of
 * then and of now, do not meet. Rows that were measured beside other programs' work, then or now, are not judged.
 * `path` is the name of what it was read from. */
void report_baseline(FILE *out, const json_t *report, const json_t *then, const char *path);

/* Writes the page; its plots are gnuplot's, and are left out, with a word about it, where there is none. */
bool report_html(const json_t *report, const char *path);

/* The name of a row's main number, "ticks_per_s". */
void report_rate_name(const json_t *row, char *out, size_t size);

/* A remark on a row, of what only its workload has: "1.02 transactions per commit". Empty for most. */
void report_remark(const json_t *row, char *out, size_t size);

/* Where the time of the row's ticks goes (steps.h), STEPS numbers: what they add up to, 0 if the row does not say. */
double report_steps(const json_t *row, double *us);

/* One of them for people: "-" where the row has no such step. Answers `out`. */
const char *report_step(const json_t *row, step s, char *out, size_t size);

/* A duration for people. */
void report_time(double us, char *out, size_t size);

#endif
