/* The encoding of the member's id in an index key, <prefix>/by-member/<member>/<task>: '/' is written as %2F and '%' as
 * %25, so that the first slash ends the id, and no member's keys lie below another's. Task ids are not encoded. */
#ifndef SERVICE_ASSIGN_INDEX_H
#define SERVICE_ASSIGN_INDEX_H

#include <etcdworker/types.h>

/* Writes the encoded id to `out`, which has space for 3 * id.len bytes. Returns the encoded length. */
size_t assign_index_write(char *out, ew_slice id);

/* Returns whether `spelt` is the encoding of `id`. */
bool assign_index_is(ew_slice spelt, ew_slice id);

#endif
