/* The overlay: what a batch's groups have written on top of the mirror, so far only in thought.
 *
 * Copy on write: it holds a cell for each key that a group touched, and nothing of the rest, so its cost follows what
 * changed. Every write is logged and can be undone back to a mark: that is how an ignored patch, or a group that is
 * aborted, leaves nothing behind (SEMANTICS 20). */
#ifndef CORE_OVERLAY_H
#define CORE_OVERLAY_H

#include "core/mirror.h"
#include "core/reads.h"

#include <uthash.h>

/* How a put that was decided on treats the lease. */
typedef enum overlay_lease {
    OVERLAY_LEASE_NONE,
    OVERLAY_LEASE_KEEP, /* the one that the key has in etcd */
    OVERLAY_LEASE_SESSION,
    OVERLAY_LEASE_RECORD, /* the key is a client's record */
} overlay_lease;

typedef struct overlay_state {
    bool present;
    bool changed; /* by a group of the batch: otherwise it is the mirror's */
    overlay_lease lease;
    ew_slice value;
    uint32_t writer; /* which group of the batch wrote it last, counted from 1; 0: none */
} overlay_state;

typedef struct overlay_cell {
    ew_slice key;             /* behind the struct */
    const mirror_entry *seen; /* the mirror's, which does not change while the batch lives; NULL: absent there */
    int64_t base;             /* its mod_revision, 0 if the key is absent there */
    overlay_state now;
    uint32_t touched; /* the last group of the batch that looked at it or wrote it */
    size_t unit;      /* which unit of the batch writes it, counted from 1; 0: none */
    uint64_t stamp;   /* scratch of those who collect cells without collecting one twice: */
    size_t place;     /* where it is in the collection `stamp` */
    UT_hash_handle hh;
} overlay_cell;

typedef struct overlay_undo {
    overlay_cell *cell;
    overlay_state before;
} overlay_undo;

typedef struct overlay_chunk overlay_chunk;

typedef struct overlay {
    const mirror *mirror;
    overlay_cell *cells; /* uthash */
    overlay_undo *log;
    size_t log_len, log_capacity;
    overlay_chunk *chunks; /* values live as long as the overlay */
} overlay;

void overlay_init(overlay *o, const mirror *m);
void overlay_fini(overlay *o);

/* The key's cell; NULL when out of memory. */
overlay_cell *overlay_cell_of(overlay *o, ew_slice key);

/* Both false when out of memory, with nothing changed. The value must live as long as the overlay. */
bool overlay_put(overlay *o, overlay_cell *cell, ew_slice value, overlay_lease lease, uint32_t writer);
bool overlay_delete(overlay *o, overlay_cell *cell, uint32_t writer);

/* The cell's key as a patch sees it; only while it is present. */
ew_entry overlay_view(const overlay_cell *cell);

/* Whether a key of the range has been changed. */
bool overlay_changes_in(const overlay *o, const reads_range *range);

/* Copies bytes into the overlay's own memory; NULL data when out of memory. */
ew_slice overlay_copy(overlay *o, ew_slice bytes);

/* Marks, and undoes what came after a mark. */
size_t overlay_mark(const overlay *o);
void overlay_undo_to(overlay *o, size_t mark);

#endif
