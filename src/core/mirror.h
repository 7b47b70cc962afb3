/* The mirror: the prefix as it is at one revision, in memory, ordered by key.
 *
 * Pure. One owner, one thread. An entry is one allocation and is shared by reference count, so that an event that waits
 * for the reactor and the mirror hold one copy of a value. */
#ifndef CORE_MIRROR_H
#define CORE_MIRROR_H

#include <etcdworker/types.h>

typedef struct mirror mirror;

/* Immutable while anybody but the mirror refers to it. A deletion that waits for the reactor is an entry of its own,
 * with an empty value. */
typedef struct mirror_entry mirror_entry;

mirror *mirror_new(void); /* NULL when out of memory */
void mirror_free(mirror *m);

/* An entry with one reference; NULL when out of memory. */
mirror_entry *mirror_entry_new(const ew_entry *from);
mirror_entry *mirror_entry_ref(mirror_entry *e);
void mirror_entry_unref(mirror_entry *e); /* NULL is fine */
ew_entry mirror_entry_view(const mirror_entry *e);
size_t mirror_entry_bytes(const mirror_entry *e); /* of memory */

/* Puts `e` in place of what stands under its key. Takes over the caller's reference. */
void mirror_put(mirror *m, mirror_entry *e);

/* The same for a value that is no entry yet. `old` is what stands under the key, or NULL: it is written over, if nobody
 * else refers to it and the value finds room in it. The entry that stands there now, borrowed; NULL when out of memory.
 */
mirror_entry *mirror_replace(mirror *m, mirror_entry *old, const ew_entry *now);

/* Takes the key out: false if it was not there. */
bool mirror_delete(mirror *m, ew_slice key);

/* The entry under the key, NULL if absent. Borrowed: valid until the key changes. */
mirror_entry *mirror_get(const mirror *m, ew_slice key);

/* The same, and quick for the key that was found last and the one behind it: who writes many keys in one transaction
 * often writes neighbours. */
mirror_entry *mirror_find(mirror *m, ew_slice key);

/* The first entry at or after `key`; the one behind `e`. NULL at the end. */
mirror_entry *mirror_seek(const mirror *m, ew_slice key);
mirror_entry *mirror_next(const mirror *m, const mirror_entry *e);

size_t mirror_count(const mirror *m);
size_t mirror_bytes(const mirror *m); /* of memory, entries with their overhead */

#endif
