/* A second scenario: under a few workers that write, etcd is restored from an older state. Before the workers
 * reconnect, external writers pass the old revision, or not. */
#ifndef TESTS_SIM_RESTORED_H
#define TESTS_SIM_RESTORED_H

#include "seeds.h"

/* Returns whether the seed runs this scenario instead of the other one. */
bool restored_is_for(uint64_t seed);

seed_result restored_run(uint64_t seed, FILE *described, FILE *trace);

#endif
