/* The cache: the prefix at one revision, in memory, ordered by key.
 *
 * Pure. One owner, one thread. An entry is one allocation and is shared by reference count, so that an event that waits
 * for the reactor and the cache share one copy of a value. */
#ifndef CORE_CACHE_H
#define CORE_CACHE_H

#include <etcdworker/types.h>

typedef struct cache cache;

/* Immutable while anything but the cache refers to it. A deletion that waits for the reactor is an entry of its own,
 * with an empty value. */
typedef struct cache_entry cache_entry;

cache *cache_new(void); /* NULL when out of memory */
void cache_free(cache *m);

/* Makes an entry with one reference; NULL when out of memory. */
cache_entry *cache_entry_new(const ew_entry *from);
cache_entry *cache_entry_ref(cache_entry *e);
void cache_entry_unref(cache_entry *e); /* `e` may be NULL */
ew_entry cache_entry_view(const cache_entry *e);
size_t cache_entry_bytes(const cache_entry *e); /* memory of the entry */

/* Replaces the entry of `e`'s key by `e`. Takes over the caller's reference. */
void cache_put(cache *m, cache_entry *e);

/* Replaces an entry by a value that is not an entry yet. `old` is the current entry of the key, or NULL; it is reused
 * if nothing else refers to it and the value fits into it. Returns the new entry, borrowed; NULL when out of memory. */
cache_entry *cache_replace(cache *m, cache_entry *old, const ew_entry *now);

/* Removes the key; false if it was absent. */
bool cache_delete(cache *m, ew_slice key);

/* Returns the key's entry, NULL if absent. Borrowed: valid until the key changes. */
cache_entry *cache_get(const cache *m, ew_slice key);

/* The same, but fast for the key that was found last and the one after it, because a transaction with many keys often
 * writes neighbouring keys. */
cache_entry *cache_find(cache *m, ew_slice key);

/* Return the first entry at or after `key`, and the entry after `e`; NULL at the end. */
cache_entry *cache_seek(const cache *m, ew_slice key);
cache_entry *cache_next(const cache *m, const cache_entry *e);

size_t cache_count(const cache *m);
size_t cache_bytes(const cache *m); /* memory of the entries, with their overhead */

#endif
