/* Many seeds, one after the other or in several processes, and what came of them. */
#ifndef TESTS_SIM_SEEDS_H
#define TESTS_SIM_SEEDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct seeds_plan {
    uint64_t first, count; /* `count` is not looked at if there are minutes */
    double minutes;
    unsigned jobs;
    bool silent;             /* no progress, and nothing on standard error: it is expected that one fails */
    FILE *described, *trace; /* NULL: not; only with one job */
} seeds_plan;

/* What came of one. `index` counts from the plan's first. */
typedef struct seed_result {
    uint64_t index;
    bool ok;
    uint64_t digest, ticks, revisions;
    char failure[512];
} seed_result;

/* What came of all so far. The digest is made in the order of the seeds, whoever is ready first. */
typedef struct seeds_tally {
    const seeds_plan *plan;
    double began, shown; /* seeds_clock */
    uint64_t done, ticks, revisions;
    uint64_t digest, digested; /* of so many */
    struct seeds_ahead *ahead; /* a ring of the digests that are not yet in it */
    uint64_t ahead_capacity;   /* a power of two */
    bool failed, stopped;      /* by a seed; by a signal to this process */
    seed_result failure;       /* the lowest */
} seeds_tally;

double seeds_clock(void); /* seconds */
seed_result seeds_run_one(uint64_t seed, FILE *described, FILE *trace);

/* 0 if every promise held, 1 if not, 2 if it could not be tried. */
int seeds_run(const seeds_plan *plan);

void seeds_tally_fini(seeds_tally *t);
void seeds_take(seeds_tally *t, const seed_result *r);
void seeds_show_progress(seeds_tally *t); /* now and then a line */

/* jobs.c: runs the plan in `jobs` processes of its own. False if they cannot be made. */
bool seeds_run_jobs(const seeds_plan *plan, seeds_tally *t);

#endif
