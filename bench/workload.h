/* The workloads: what each measures, with which roles and how much of it. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench.h"

typedef struct workload {
    const char *name;
    int rows;
    const char *help;
    bool (*run)(bench *b); /* adds its rows; false when one failed */
} workload;

/* NULL behind the last. The standard set is all of them, in this order. */
const workload *workload_at(size_t i);
const workload *workload_named(const char *name);

/* One of the two, by --smoke. */
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
