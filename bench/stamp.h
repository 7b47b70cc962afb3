/* The values of the external writer: the time of the write and a sequence number, in fixed width, padded to the value's
 * size. */
#ifndef BENCH_STAMP_H
#define BENCH_STAMP_H

#include <etcdworker/types.h>

enum { STAMP_BYTES = 32 };

/* Writes a stamp to `value`, which has `size` bytes, at least STAMP_BYTES. */
void stamp_write(char *value, size_t size, int64_t at_ns, int64_t number);

/* Returns false if the value is not a stamp. */
bool stamp_read(ew_slice value, int64_t *at_ns, int64_t *number);

/* The set of received stamps: each of the numbers below `count` must come once. stamp_set_add returns false for a
 * number that is repeated or out of range. */
typedef struct stamp_set {
    int64_t count, seen;
    unsigned char *bits;
} stamp_set;

bool stamp_set_init(stamp_set *s, int64_t count);
void stamp_set_fini(stamp_set *s);
bool stamp_set_add(stamp_set *s, int64_t number);

#endif
