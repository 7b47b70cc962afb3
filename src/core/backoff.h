/* Exponential backoff with jitter, so that many clients of one server do not retry at the same time. */
#ifndef CORE_BACKOFF_H
#define CORE_BACKOFF_H

#include <stdint.h>

/* Returns how long to wait after `failures` failures in a row and one more: a random time from half of W to W, where W
 * doubles from `min_ms` to `max_ms`; 0 if both are 0. `random` is the state of random_next. */
int64_t backoff_ms(int64_t min_ms, int64_t max_ms, unsigned failures, uint64_t *random);

#endif
