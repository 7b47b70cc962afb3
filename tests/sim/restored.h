/* A scenario of its own: under a few workers that write, etcd is restored from an older state, and others write it past
 * the old revision before anybody reconnects, or not. */
#ifndef TESTS_SIM_RESTORED_H
#define TESTS_SIM_RESTORED_H

#include "seeds.h"

/* Which seeds it is run for, in place of the other one. */
bool restored_is_for(uint64_t seed);

seed_result restored_run(uint64_t seed, FILE *described, FILE *trace);

#endif
