/* The simulator's only source of chance: splitmix64, so that a seed means the same on every machine. */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sim_random {
    uint64_t state;
} sim_random;

static inline uint64_t sim_next(sim_random *r) {
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* low <= answer <= high */
static inline int64_t sim_between(sim_random *r, int64_t low, int64_t high) {
    return low + (int64_t)(sim_next(r) % (uint64_t)(high - low + 1));
}

/* True `permille` times out of 1,000. */
static inline bool sim_chance(sim_random *r, int64_t permille) {
    return permille > 0 && (int64_t)(sim_next(r) % 1000) < permille;
}

#endif
