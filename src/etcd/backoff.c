#include "etcd/backoff.h"

#include <sys/random.h>

void backoff_init(backoff *b, int64_t min_ms, int64_t max_ms) {
    *b = (backoff){.min_ms = min_ms, .max_ms = max_ms, .next_ms = min_ms};
}

/* Called only when the first wait is needed: most calls never wait. */
static void choose_seed(backoff *b) {
    if (getrandom(&b->seed, sizeof b->seed, GRND_NONBLOCK) != (ssize_t)sizeof b->seed || b->seed == 0)
        b->seed = (uint64_t)(uintptr_t)b | 1;
}

int64_t backoff_next_ms(backoff *b) {
    if (b->seed == 0)
        choose_seed(b);
    b->seed ^= b->seed << 13; /* xorshift */
    b->seed ^= b->seed >> 7;
    b->seed ^= b->seed << 17;
    int64_t wait_ms = b->next_ms - (int64_t)(b->seed % (uint64_t)(b->next_ms / 2 + 1));
    b->next_ms = b->next_ms > b->max_ms / 2 ? b->max_ms : b->next_ms * 2;
    return wait_ms;
}

void backoff_reset(backoff *b) {
    b->next_ms = b->min_ms;
}
