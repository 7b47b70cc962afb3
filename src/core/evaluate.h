/* Evaluating groups: running their patches on the newest state, and making units of what they wrote.
 *
 * A unit is what must commit together: one group, or several that are glued because a later one writes (or, if that
 * matters, reads) a key that an earlier one wrote. So the units of a batch write disjoint keys, and a transaction may
 * be cut between any two. */
#ifndef CORE_EVALUATE_H
#define CORE_EVALUATE_H

#include "actors.pb-c.h"
#include "core/group.h"
#include "core/overlay.h"

typedef struct evaluate_limits {
    bool serializable;      /* compare what a group read, too */
    bool glue;              /* a group that would have to be glued ends the batch otherwise */
    uint32_t max_keys;      /* compares, and operations, of one unit */
    int64_t max_bytes;      /* of the request that holds one unit alone */
    int64_t overhead_bytes; /* what the committer adds to it */
    int64_t record_lease;   /* of clients' records */
} evaluate_limits;

/* A key in a unit: compared always, and written or not. */
typedef struct evaluate_item {
    overlay_cell *cell;
    bool written;
} evaluate_item;

/* A range in which no key may be newer than `revision`. */
typedef struct evaluate_range {
    const reads_range *range; /* the group's */
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
    uint32_t group;           /* how many groups were evaluated */
    uint64_t stamp;
    evaluate_unit scratch; /* the group that is being evaluated */
} evaluate_batch;

typedef enum evaluate_result {
    EVALUATE_ADDED,     /* it is part of the last unit now */
    EVALUATE_UNCHANGED, /* it writes nothing, and hangs on nothing that is undecided */
    EVALUATE_LATER,     /* the batch ends before it: it is to be evaluated again when the batch is decided */
    EVALUATE_AGAIN,     /* a patch wants newer state */
    EVALUATE_RECORDED,  /* the same, but what is part of it is the refusal: a compare of a submit does not hold, as
                           `err` says */
    EVALUATE_REFUSED,   /* the same of a submit that leaves no record; or a patch answered EW_DROP */
    EVALUATE_STALE,     /* a key that the group expects to be as its tick saw it is not */
    EVALUATE_FAILED,    /* `err` says why: EW_ERR_TOO_LARGE, or what a patch answered */
} evaluate_result;

/* The mirror must not change while the batch lives. */
void evaluate_init(evaluate_batch *b, const mirror *m, const group_scope *scope, const evaluate_limits *limits);
void evaluate_fini(evaluate_batch *b);

/* Evaluates the next group. All results but ADDED and RECORDED leave nothing of it in the batch. UNCHANGED, AGAIN,
 * REFUSED, STALE and FAILED are final for this state: they are only answered while the batch is empty, since with units
 * before it a group has been evaluated on work that may still be refused; it is LATER then. */
evaluate_result evaluate_group(evaluate_batch *b, const ew_group *g, ew_error *err);

/* The batch as a message, with memory of its own. */
typedef struct evaluate_patches {
    Msg__Patches message;
    Msg__Unit *units;
    Msg__Unit **list;
    uint8_t *bytes;
} evaluate_patches;

bool evaluate_pack(const evaluate_batch *b, evaluate_patches *out); /* false when out of memory */
void evaluate_patches_fini(evaluate_patches *p);

/* ---- between evaluate.c, evaluate_view.c and evaluate_units.c ---- */

/* The state as a patch sees it, and the group it works for. */
struct ew_view {
    evaluate_batch *batch;
    uint32_t writer;
    ew_error error; /* the first one sticks, whatever the patch answers */
};

/* Where a modify function puts its answer. */
struct ew_value {
    overlay *overlay;
    ew_slice bytes;
    bool no_memory;
};

/* The cell of a key that the group touches; `compared` if the unit must compare it even if it does not write it. NULL
 * when out of memory, which is the view's error then. */
overlay_cell *evaluate_touch(ew_view *view, ew_slice key, bool compared);
/* The unit must compare that nothing in the range is newer than `revision`; false when out of memory. */
bool evaluate_watch(ew_view *view, const reads_range *range, int64_t revision);
int evaluate_put(ew_view *view, overlay_cell *cell, ew_slice value, ew_put_lease lease);
int evaluate_delete(ew_view *view, overlay_cell *cell);

/* Makes the scratch unit, a group's work, part of the batch. */
evaluate_result evaluate_join(evaluate_batch *b, const ew_group *g, ew_error *err);

#endif
