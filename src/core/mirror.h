/* The cache: the prefix at one revision, in memory, ordered by key.
 *
 * Pure. One owner, one thread. An entry is one allocation and is shared by reference count, so that an event that waits
 * for the reactor and the cache share one copy of a value. */
#ifndef CORE_MIRROR_H
#define CORE_MIRROR_H

#include <etcdworker/types.h>

typedef struct mirror mirror;

/* Immutable while anything but the cache refers to it. A deletion that waits for the reactor is an entry of its own,
 * with an empty value. */
typedef struct mirror_entry mirror_entry;

mirror *mirror_new(void); /* NULL when out of memory */
void mirror_free(mirror *m);

/* Makes an entry with one reference; NULL when out of memory. */
mirror_entry *mirror_entry_new(const ew_entry *from);
mirror_entry *mirror_entry_ref(mirror_entry *e);
void mirror_entry_unref(mirror_entry *e); /* `e` may be NULL */
ew_entry mirror_entry_view(const mirror_entry *e);
size_t mirror_entry_bytes(const mirror_entry *e); /* memory of the entry */

/* Replaces the entry of `e`'s key by `e`. Takes over the caller's reference. */
void mirror_put(mirror *m, mirror_entry *e);

/* Replaces an entry by a value that is not an entry yet. `old` is the current entry of the key, or NULL; it is reused
 * if nothing else refers to it and the value fits into it. Returns the new entry, borrowed; NULL when out of memory. */
mirror_entry *mirror_replace(mirror *m, mirror_entry *old, const ew_entry *now);

/* Removes the key; false if it was absent. */
bool mirror_delete(mirror *m, ew_slice key);

/* Returns the key's entry, NULL if absent. Borrowed: valid until the key changes. */
mirror_entry *mirror_get(const mirror *m, ew_slice key);

/* The same, but fast for the key that was found last and the one after it, because a transaction with many keys often
 * writes neighbouring keys. */
mirror_entry *mirror_find(mirror *m, ew_slice key);

/* Return the first entry at or after `key`, and the entry after `e`; NULL at the end. */
mirror_entry *mirror_seek(const mirror *m, ew_slice key);
mirror_entry *mirror_next(const mirror *m, const mirror_entry *e);

size_t mirror_count(const mirror *m);
size_t mirror_bytes(const mirror *m); /* memory of the entries, with their overhead */

#endif
