/* The simulator's only source of random numbers, so that a seed gives the same run on every machine. */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include "core/random.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct sim_random {
    uint64_t state;
} sim_random;

static inline uint64_t sim_next(sim_random *r) {
    return random_next(&r->state);
}

/* low <= result <= high */
static inline int64_t sim_between(sim_random *r, int64_t low, int64_t high) {
    return random_between(&r->state, low, high);
}

/* Returns true with the probability permille / 1,000. */
static inline bool sim_chance(sim_random *r, int64_t permille) {
    return permille > 0 && (int64_t)(sim_next(r) % 1000) < permille;
}

#endif
