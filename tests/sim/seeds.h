/* Runs many seeds, one after the other or in several processes, and collects the results. */
#ifndef TESTS_SIM_SEEDS_H
#define TESTS_SIM_SEEDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct seeds_plan {
    uint64_t first, count; /* `count` is ignored if there are minutes */
    double minutes;
    unsigned jobs;
    bool silent;             /* no progress and nothing on stderr, because a seed is expected to fail */
    FILE *described, *trace; /* NULL: none; only with one job */
} seeds_plan;

/* The result of one seed. `index` counts from the plan's first. */
typedef struct seed_result {
    uint64_t index;
    bool ok;
    uint64_t digest, ticks, revisions;
    char failure[512];
} seed_result;

/* The results so far. The digest is computed in the order of the seeds, whichever is finished first. */
typedef struct seeds_tally {
    const seeds_plan *plan;
    double began, shown; /* of seeds_clock */
    uint64_t done, ticks, revisions;
    uint64_t digest, digested; /* `digested`: the number of seeds in the digest */
    struct seeds_ahead *ahead; /* a ring of digests that are not yet included */
    uint64_t ahead_capacity;   /* a power of two */
    bool failed, stopped;      /* by a seed; by a signal to this process */
    seed_result failure;       /* of the lowest seed that failed */
} seeds_tally;

double seeds_clock(void); /* seconds */
seed_result seeds_run_one(uint64_t seed, FILE *described, FILE *trace);

/* Returns 0 if every check passed, 1 if not, 2 if it could not run. */
int seeds_run(const seeds_plan *plan);

void seeds_tally_fini(seeds_tally *t);
void seeds_take(seeds_tally *t, const seed_result *r);
void seeds_show_progress(seeds_tally *t); /* prints a line now and then */

/* jobs.c: runs the plan in `jobs` processes. Returns false if it cannot create them. */
bool seeds_run_jobs(const seeds_plan *plan, seeds_tally *t);

#endif
