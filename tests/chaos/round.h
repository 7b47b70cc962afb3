/* A round: one fault, again and again, on workers under load, with its ledger; and what the rounds of a fault come to.
 */
#ifndef CHAOS_ROUND_H
#define CHAOS_ROUND_H

#include "chaos/fault.h"

enum { SAMPLES_MAX = 4096 };

/* Times in microseconds. */
typedef struct samples {
    size_t count;
    int64_t list[SAMPLES_MAX];
} samples;

/* The line of a fault on so many nodes, over all of its rounds. */
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

/* One round: strikes until the time is over, and at least once. False when it failed. */
bool round_run(world *w, tally *t, bool brief, int length_ms);

/* The value that `percent` of the samples do not exceed; -1 without samples. */
int64_t samples_percentile(samples *s, int percent);

#endif
