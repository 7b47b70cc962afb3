/* Exponential backoff with jitter, so that many clients of one server do not retry at the same time. */
#ifndef ETCD_BACKOFF_H
#define ETCD_BACKOFF_H

#include <stdint.h>

typedef struct backoff {
    int64_t min_ms, max_ms, next_ms;
    uint64_t seed;
} backoff;

void backoff_init(backoff *b, int64_t min_ms, int64_t max_ms);
int64_t backoff_next_ms(backoff *b); /* returns how long to wait now: from half of the current wait to all of it */
void backoff_reset(backoff *b);      /* to be called after a success */

#endif
