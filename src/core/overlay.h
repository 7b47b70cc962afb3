/* The overlay: the uncommitted writes of a batch's groups on top of the cache.
 *
 * Copy on write: the overlay has a cell for each key that a group used, and nothing for other keys, so its cost depends
 * only on the number of changes. Every write is logged and can be undone back to a mark. This removes the writes of an
 * ignored patch or an aborted group (SEMANTICS 20). */
#ifndef CORE_OVERLAY_H
#define CORE_OVERLAY_H

#include "core/cache.h"
#include "core/reads.h"

#include <uthash.h>

/* The lease of an uncommitted put. */
typedef enum overlay_lease {
    OVERLAY_LEASE_NONE,
    OVERLAY_LEASE_KEEP, /* the lease that the key has in etcd */
    OVERLAY_LEASE_SESSION,
    OVERLAY_LEASE_RECORD, /* the key is a client's record */
} overlay_lease;

typedef struct overlay_state {
    bool present;
    bool changed; /* by a group of the batch; otherwise it is the cache's */
    overlay_lease lease;
    ew_slice value;
    uint32_t writer; /* the group of the batch that wrote it last, counted from 1; 0: none */
} overlay_state;

typedef struct overlay_cell {
    ew_slice key;            /* stored after the struct */
    const cache_entry *seen; /* the cache's entry, which does not change while the batch exists; NULL: absent there */
    int64_t base;            /* the entry's mod_revision, 0 if the key is absent there */
    overlay_state now;
    uint32_t touched; /* the last group of the batch that read or wrote it */
    size_t unit;      /* the unit of the batch that writes it, counted from 1; 0: none */
    uint64_t stamp;   /* used to collect each cell only once: the number of the collection, and */
    size_t place;     /* its index in the collection `stamp` */
    UT_hash_handle hh;
} overlay_cell;

typedef struct overlay_undo {
    overlay_cell *cell;
    overlay_state before;
} overlay_undo;

typedef struct overlay_chunk overlay_chunk;

typedef struct overlay {
    const cache *cache;
    overlay_cell *cells; /* uthash */
    overlay_undo *log;
    size_t log_len, log_capacity;
    overlay_chunk *chunks; /* values live as long as the overlay */
} overlay;

void overlay_init(overlay *o, const cache *m);
void overlay_fini(overlay *o);

/* Returns the key's cell; NULL when out of memory. */
overlay_cell *overlay_cell_of(overlay *o, ew_slice key);

/* Both return false when out of memory, and then change nothing. The value must live as long as the overlay. */
bool overlay_put(overlay *o, overlay_cell *cell, ew_slice value, overlay_lease lease, uint32_t writer);
bool overlay_delete(overlay *o, overlay_cell *cell, uint32_t writer);

/* Returns the key as a patch sees it; only while it is present. */
ew_entry overlay_view(const overlay_cell *cell);

/* Returns whether a key of the range has been changed. */
bool overlay_changes_in(const overlay *o, const reads_range *range);

/* Copies bytes into the overlay's own memory; data is NULL when out of memory. */
ew_slice overlay_copy(overlay *o, ew_slice bytes);

/* Set a mark, and undo everything after a mark. */
size_t overlay_mark(const overlay *o);
void overlay_undo_to(overlay *o, size_t mark);

#endif
