/* The cache, its revisions, and the delete counter, which is not part of it. */
#include "core/ticking_private.h"

bool ticking_cache_init(ticking *t) {
    cache *fresh = cache_new();
    if (!fresh)
        return false;
    cache_free(t->cache.entries);
    t->cache.entries = fresh;
    return true;
}

void ticking_cache_fini(ticking *t) {
    cache_free(t->cache.entries);
}

cache *ticking_get_cache(const ticking *t) {
    return t->cache.entries;
}

/* ---- revisions ---- */

int64_t ticking_observed(const ticking *t) {
    return t->cache.observed;
}

int64_t ticking_received(const ticking *t) {
    return t->cache.received;
}

void ticking_observe(ticking *t, int64_t revision) {
    t->cache.observed = revision;
}

void ticking_receive(ticking *t, int64_t revision) {
    t->cache.received = revision;
}

void ticking_set_revision(ticking *t, int64_t revision) {
    t->cache.observed = t->cache.received = revision;
}

/* ---- the delete counter ---- */

int64_t ticking_counter(const ticking *t) {
    return t->cache.counter;
}

int64_t ticking_counter_revision(const ticking *t) {
    return t->cache.counter_revision;
}

bool ticking_is_counter(const ticking *t, ew_slice key) {
    return ew_slice_equal(key, t->scope.counter_key);
}

/* SEMANTICS 4: the counter must be what a worker writes, a decimal number from 1 on without leading zeros. Otherwise it
 * is corrupt, because its compare could never hold. */
static bool parse_counter(ew_slice value, int64_t *out) {
    const char *digits = value.data;
    int64_t n = 0;
    if (value.len == 0 || digits[0] == '0')
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (digits[i] < '0' || digits[i] > '9' || n > (INT64_MAX - 9) / 10)
            return false;
        n = 10 * n + (digits[i] - '0');
    }
    *out = n;
    return true;
}

bool ticking_set_counter(ticking *t, ew_slice value, int64_t revision) {
    t->cache.counter_revision = revision;
    return !t->config.counter || parse_counter(value, &t->cache.counter);
}

void ticking_reset_counter(ticking *t, int64_t revision) {
    t->cache.counter = 0;
    t->cache.counter_revision = revision;
}
