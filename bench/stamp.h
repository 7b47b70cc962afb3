/* What the foreign writer puts into its values: when it was written and the how manyth it is, in fixed width, filled up
 * to the value's size. */
#ifndef BENCH_STAMP_H
#define BENCH_STAMP_H

#include <etcdworker/types.h>

enum { STAMP_BYTES = 32 };

/* Fills `value`, of `size` bytes, at least STAMP_BYTES. */
void stamp_write(char *value, size_t size, int64_t at_ns, int64_t number);

/* False when the value is no stamp. */
bool stamp_read(ew_slice value, int64_t *at_ns, int64_t *number);

/* Which stamps have come: each of `count` must come once. Answers false for one that came before, or is out of range.
 */
typedef struct stamp_set {
    int64_t count, seen;
    unsigned char *bits;
} stamp_set;

bool stamp_set_init(stamp_set *s, int64_t count);
void stamp_set_fini(stamp_set *s);
bool stamp_set_add(stamp_set *s, int64_t number);

#endif
