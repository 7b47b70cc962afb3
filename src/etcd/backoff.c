#include "etcd/backoff.h"

#include "core/backoff.h"

#include <sys/random.h>

void backoff_init(backoff *b, int64_t min_ms, int64_t max_ms) {
    *b = (backoff){.min_ms = min_ms, .max_ms = max_ms};
}

/* Called only when the first wait is needed: most calls never wait. */
static void choose_seed(backoff *b) {
    if (getrandom(&b->random, sizeof b->random, GRND_NONBLOCK) != (ssize_t)sizeof b->random || b->random == 0)
        b->random = (uint64_t)(uintptr_t)b | 1;
}

int64_t backoff_next_ms(backoff *b) {
    if (b->random == 0)
        choose_seed(b);
    return backoff_ms(b->min_ms, b->max_ms, b->failures++, &b->random);
}

void backoff_reset(backoff *b) {
    b->failures = 0;
}
