/* The workloads: what each measures, with which roles and how many units. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench.h"

typedef struct workload {
    const char *name;
    int rows;
    const char *help;
    bool (*run)(bench *b); /* adds its rows; returns false if one failed */
} workload;

/* Returns the i-th workload, NULL after the last. The standard set is all workloads, in this order. */
const workload *workload_at(size_t i);

/* Returns the workload with this name, NULL if there is none. */
const workload *workload_named(const char *name);

/* Returns `smoke` with --smoke, otherwise `standard`. */
int workload_count(const bench *b, int standard, int smoke);

bool workload_floor(bench *b);
bool workload_chain(bench *b);
bool workload_groups(bench *b);
bool workload_bigstate(bench *b);
bool workload_ingest(bench *b);
bool workload_catchup(bench *b);
bool workload_contend(bench *b);
bool workload_fanin(bench *b);
bool workload_actors(bench *b);

#endif
