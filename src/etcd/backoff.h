/* The waits of one retry loop: core/backoff.h with a seed of the kernel's. */
#ifndef ETCD_BACKOFF_H
#define ETCD_BACKOFF_H

#include <stdint.h>

typedef struct backoff {
    int64_t min_ms, max_ms;
    unsigned failures;
    uint64_t random; /* 0: not seeded yet */
} backoff;

void backoff_init(backoff *b, int64_t min_ms, int64_t max_ms);
int64_t backoff_next_ms(backoff *b); /* returns how long to wait now */
void backoff_reset(backoff *b);      /* to be called after a success */

#endif
