/* Rounds: one fault, injected repeatedly, on workers under load, with a ledger; and the sums over all rounds of a
 * fault. */
#ifndef CHAOS_ROUND_H
#define CHAOS_ROUND_H

#include "chaos/fault.h"

enum { SAMPLES_MAX = 4096 };

/* Times in microseconds. */
typedef struct samples {
    size_t count;
    int64_t list[SAMPLES_MAX];
} samples;

/* The table line of a fault on this number of nodes, over all of its rounds. */
typedef struct tally {
    const fault *fault;
    int nodes;
    unsigned rounds, times;
    verdict sum;
    samples recovered, noticed;
    injection newest;
    unsigned failures;
    char text[400]; /* the first failure */
} tally;

/* Runs one round: injects the fault until the time is over, at least once. Returns false if the round failed. */
bool round_run(world *w, tally *t, bool brief, int length_ms);

/* Returns the value that `percent` of the samples do not exceed; -1 without samples. */
int64_t samples_percentile(samples *s, int percent);

#endif
