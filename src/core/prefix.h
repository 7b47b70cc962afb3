/* The prefix: its normal form, the etcd range that holds it, what belongs to it (SEMANTICS 2, 9, 22). Pure. */
#ifndef CORE_PREFIX_H
#define CORE_PREFIX_H

#include <etcdworker/types.h>

/* The normal form of `text`, to be freed; NULL when out of memory. */
char *prefix_normalise(const char *text);

/* <prefix>/<below>, to be freed; NULL when out of memory. */
char *prefix_join(const char *prefix, const char *below);

/* Whether `below` names a key below a prefix: it is not empty and has no slash at its start or end. */
bool prefix_is_below(const char *below);

/* The range [key, range_end) of a normalised prefix; malloced bytes, both freed by the caller. False when out of
 * memory. For `path` match it is [prefix, prefix + "0"): wider than the prefix, so that one watch is enough;
 * prefix_owns tells what belongs. */
bool prefix_range(ew_slice prefix, bool textual, ew_slice *key, ew_slice *range_end);

/* The first key behind all those that start with `bytes`, in place. Answers its length, 0 if there is none (nothing but
 * 0xff). */
size_t prefix_successor(unsigned char *bytes, size_t len);

/* Whether a key belongs to the prefix: the bare key or below it; with textual, whatever starts with it. */
bool prefix_owns(ew_slice prefix, bool textual, ew_slice key);

#endif
