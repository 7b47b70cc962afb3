/* How an index key spells its member: <prefix>/by-member/<member>/<task>. A '/' in the member's id is written %2F and a
 * '%' %25, so that the first slash ends it and no member's keys are below another's. Tasks are written as they are. */
#ifndef SERVICE_ASSIGN_INDEX_H
#define SERVICE_ASSIGN_INDEX_H

#include <etcdworker/types.h>

/* Writes the id as a key spells it, up to three times as long; answers how long it is. */
size_t assign_index_write(char *out, ew_slice id);

/* Whether `spelt` is how a key spells `id`. */
bool assign_index_is(ew_slice spelt, ew_slice id);

#endif
