/* Evaluation: runs the patches of groups on the newest state, and makes atomic units of their writes.
 *
 * A unit is what must commit together: one group, or several that are merged because a later one writes (or, with
 * serializable isolation, reads) a key that an earlier one wrote. So the units of a batch write disjoint keys, and a
 * transaction may end between any two units. */
#ifndef CORE_EVALUATE_H
#define CORE_EVALUATE_H

#include "actors.pb-c.h"
#include "core/group.h"
#include "core/overlay.h"

typedef struct evaluate_limits {
    bool serializable;      /* compare also what a group read */
    bool merge;             /* merge groups; otherwise a group that would have to be merged ends the batch */
    uint32_t max_keys;      /* compares, and operations, of one unit */
    int64_t max_bytes;      /* of the request that holds only one unit */
    int64_t overhead_bytes; /* what the committer adds to that request */
    int64_t record_lease;   /* the lease of clients' records */
} evaluate_limits;

/* A key in a unit. It is always compared, and may be written. */
typedef struct evaluate_item {
    overlay_cell *cell;
    bool written;
} evaluate_item;

/* A range in which no key may be newer than `revision`. */
typedef struct evaluate_range {
    const reads_range *range; /* borrowed from the group */
    int64_t revision;
} evaluate_range;

typedef struct evaluate_unit {
    evaluate_item *items;
    size_t count, capacity;
    evaluate_range *ranges;
    size_t range_count, range_capacity;
    uint32_t groups, ops;
    size_t bytes; /* of its fragment */
    bool has_delete;
} evaluate_unit;

typedef struct evaluate_batch {
    const group_scope *scope;
    evaluate_limits limits;
    overlay overlay;
    evaluate_unit *units;
    size_t unit_count, unit_capacity;
    uint64_t compares, bytes; /* of all units */
    uint32_t group;           /* number of groups that were evaluated */
    uint64_t stamp;
    evaluate_unit scratch; /* the group that is being evaluated */
} evaluate_batch;

typedef enum evaluate_result {
    EVALUATE_ADDED,     /* the group is now part of the last unit */
    EVALUATE_UNCHANGED, /* the group writes nothing, and depends on nothing undecided */
    EVALUATE_LATER,     /* the batch ends before the group: evaluate it again when the batch is decided */
    EVALUATE_AGAIN,     /* a patch needs newer state */
    EVALUATE_RECORDED,  /* as ADDED, but the unit holds the refusal of the submit: a compare of the submit does not
                           hold, as `err` says */
    EVALUATE_REFUSED,   /* a compare of a submit that leaves no record does not hold, or a patch returned EW_DROP */
    EVALUATE_STALE,     /* a key is no longer as the group's tick saw it */
    EVALUATE_FAILED,    /* `err` has the reason: EW_ERR_TOO_LARGE, or a patch's error */
} evaluate_result;

/* The cache must not change while the batch exists. */
void evaluate_init(evaluate_batch *b, const cache *m, const group_scope *scope, const evaluate_limits *limits);
void evaluate_fini(evaluate_batch *b);

/* Evaluates the next group. All results except ADDED and RECORDED leave nothing of the group in the batch. UNCHANGED,
 * AGAIN, REFUSED, STALE and FAILED are final for this state. They are returned only while the batch is empty: after
 * other units the group was evaluated on writes that may still be refused, and the result is LATER. */
evaluate_result evaluate_group(evaluate_batch *b, const ew_group *g, ew_error *err);

/* The batch as a message, in memory of its own. */
typedef struct evaluate_patches {
    Msg__Patches message;
    Msg__Unit *units;
    Msg__Unit **list;
    uint8_t *bytes;
} evaluate_patches;

bool evaluate_pack(const evaluate_batch *b, evaluate_patches *out); /* false when out of memory */
void evaluate_patches_fini(evaluate_patches *p);

/* ---- between evaluate.c, evaluate_view.c and evaluate_units.c ---- */

/* The state as a patch sees it, and the patch's group. */
struct ew_view {
    evaluate_batch *batch;
    uint32_t writer;
    ew_error error; /* the first error is kept, whatever the patch returns */
};

/* Where a modify function stores the new value. */
struct ew_value {
    overlay *overlay;
    ew_slice bytes;
    bool no_memory;
};

/* Returns the cell of a key that the group uses; `compared`: the unit must compare the key even if it does not write
 * it. NULL when out of memory, which is stored as the view's error. */
overlay_cell *evaluate_touch(ew_view *view, ew_slice key, bool compared);
/* Makes the unit compare that no key in the range is newer than `revision`; false when out of memory. */
bool evaluate_watch(ew_view *view, const reads_range *range, int64_t revision);
int evaluate_put(ew_view *view, overlay_cell *cell, ew_slice value, ew_put_lease lease);
int evaluate_delete(ew_view *view, overlay_cell *cell);

/* Adds the scratch unit, which holds a group's writes, to the batch. */
evaluate_result evaluate_join(evaluate_batch *b, const ew_group *g, ew_error *err);

#endif
