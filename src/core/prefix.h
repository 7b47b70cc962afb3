/* The prefix: its normal form, its etcd range, and which keys belong to it (SEMANTICS 2, 9, 22). Pure. */
#ifndef CORE_PREFIX_H
#define CORE_PREFIX_H

#include <etcdworker/types.h>

/* Returns the normal form of `text`, to be freed; NULL when out of memory. */
char *prefix_normalise(const char *text);

/* Returns <prefix>/<below>, to be freed; NULL when out of memory. */
char *prefix_join(const char *prefix, const char *below);

/* Returns whether `below` may name a key below a prefix: it is not empty, and does not begin or end with a slash. */
bool prefix_is_below(const char *below);

/* Makes the range [key, range_end) of a normalised prefix; both are malloced and freed by the caller. False when out of
 * memory. For `path` match it is [prefix, prefix + "0"). That is wider than the prefix, so that one watch is enough;
 * prefix_owns says which keys belong to the prefix. */
bool prefix_range(ew_slice prefix, bool textual, ew_slice *key, ew_slice *range_end);

/* Changes `bytes` in place to the first key after all keys that start with it. Returns the new length, 0 if there is no
 * such key (all bytes are 0xff). */
size_t prefix_successor(unsigned char *bytes, size_t len);

/* Returns whether a key belongs to the prefix: the bare key and all keys below it; with `textual`, all keys that start
 * with it. */
bool prefix_owns(ew_slice prefix, bool textual, ew_slice key);

#endif
