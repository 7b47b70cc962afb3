/* An allocator that fails on demand, for tests that compile the sources they test: include this first, define the
 * macros, include the sources, and undefine the macros. */
#ifndef UNIT_FAILING_MEMORY_H
#define UNIT_FAILING_MEMORY_H

#include <stdlib.h>
#include <string.h>

/* The allocation that decrements `fail_in` below 0 fails, and `fail_count` - 1 after it; a negative value: none
 * fails. */
static long fail_in = -1, fail_count = 1, fail_left;

static inline int fails_now(void) {
    if (fail_in >= 0 && fail_in-- == 0)
        fail_left = fail_count;
    if (fail_left <= 0)
        return 0;
    fail_left--;
    return 1;
}

static inline void *failing_malloc(size_t size) {
    return fails_now() ? NULL : malloc(size);
}

static inline void *failing_calloc(size_t count, size_t size) {
    return fails_now() ? NULL : calloc(count, size);
}

static inline void *failing_realloc(void *old, size_t size) {
    return fails_now() ? NULL : realloc(old, size);
}

static inline char *failing_strdup(const char *text) {
    return fails_now() ? NULL : strdup(text);
}

#endif
