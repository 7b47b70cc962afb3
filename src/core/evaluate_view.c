/* The functions that a patch may call: read and change the state that it sees. */
#include "core/evaluate.h"

#include "core/argument.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int no_memory(ew_view *view) {
    return view->error.code == EW_OK ? ew_fail(&view->error, EW_ERR_NO_MEMORY, "out of memory") : EW_ERR_NO_MEMORY;
}

static bool grow(evaluate_unit *u) {
    if (u->count < u->capacity)
        return true;
    size_t capacity = u->capacity ? 2 * u->capacity : 8;
    evaluate_item *grown = realloc(u->items, capacity * sizeof *grown);
    if (!grown)
        return false;
    u->items = grown;
    u->capacity = capacity;
    return true;
}

/* Until the group is added to the batch, `written` of a scratch item means "must be compared". */
overlay_cell *evaluate_touch(ew_view *view, ew_slice key, bool compared) {
    evaluate_unit *scratch = &view->batch->scratch;
    overlay_cell *cell = overlay_cell_of(&view->batch->overlay, key);
    if (!cell || !grow(scratch)) {
        no_memory(view);
        return NULL;
    }
    if (cell->touched != view->writer) {
        cell->touched = view->writer;
        cell->place = scratch->count;
        scratch->items[scratch->count++] = (evaluate_item){cell, false};
    }
    scratch->items[cell->place].written |= compared;
    return cell;
}

bool evaluate_watch(ew_view *view, const reads_range *range, int64_t revision) {
    evaluate_unit *u = &view->batch->scratch;
    if (u->range_count == u->range_capacity) {
        size_t capacity = u->range_capacity ? 2 * u->range_capacity : 8;
        evaluate_range *larger = realloc(u->ranges, capacity * sizeof *larger);
        if (!larger) {
            no_memory(view);
            return false;
        }
        u->ranges = larger;
        u->range_capacity = capacity;
    }
    u->ranges[u->range_count++] = (evaluate_range){range, revision};
    return true;
}

/* EW_LEASE_KEEP asks etcd to keep the lease only if the key is known to exist there: for an absent key etcd would
 * refuse the whole transaction. A put after another put of the batch keeps that one's lease. */
static overlay_lease lease_of(const overlay_cell *cell, ew_put_lease lease) {
    if (lease == EW_LEASE_SESSION)
        return OVERLAY_LEASE_SESSION;
    if (lease == EW_LEASE_NONE || !cell->now.present)
        return OVERLAY_LEASE_NONE;
    return cell->now.changed ? cell->now.lease : OVERLAY_LEASE_KEEP;
}

int evaluate_put(ew_view *view, overlay_cell *cell, ew_slice value, ew_put_lease lease) {
    return overlay_put(&view->batch->overlay, cell, value, lease_of(cell, lease), view->writer) ? EW_OK
                                                                                                : no_memory(view);
}

int evaluate_delete(ew_view *view, overlay_cell *cell) {
    return overlay_delete(&view->batch->overlay, cell, view->writer) ? EW_OK : no_memory(view);
}

static int outside(ew_view *view, ew_slice key) {
    char text[128];
    if (view->error.code != EW_OK)
        return EW_ERR_OUTSIDE_PREFIX;
    return ew_fail(&view->error, EW_ERR_OUTSIDE_PREFIX, "outside the prefix, or reserved: %s",
                   group_key_text(key, text, sizeof text));
}

ew_status ew_view_get(ew_view *view, ew_slice key, ew_entry *out) {
    if (ARGUMENT_MISSING(view, NULL))
        return EW_ERR_INVALID;
    if (!group_scope_owns(view->batch->scope, key))
        return EW_ERR_NOT_FOUND;
    const overlay_cell *cell = evaluate_touch(view, key, view->batch->limits.serializable);
    if (!cell)
        return EW_ERR_NO_MEMORY;
    if (!cell->now.present)
        return EW_ERR_NOT_FOUND;
    if (out)
        *out = overlay_view(cell);
    return EW_OK;
}

ew_status ew_view_put(ew_view *view, ew_slice key, ew_slice value) {
    if (ARGUMENT_MISSING(view, NULL))
        return EW_ERR_INVALID;
    if (!group_scope_owns(view->batch->scope, key))
        return outside(view, key);
    overlay_cell *cell = evaluate_touch(view, key, false);
    if (!cell)
        return EW_ERR_NO_MEMORY;
    ew_slice copy = overlay_copy(&view->batch->overlay, value);
    return copy.data ? evaluate_put(view, cell, copy, EW_LEASE_NONE) : no_memory(view);
}

ew_status ew_view_delete(ew_view *view, ew_slice key) {
    if (ARGUMENT_MISSING(view, NULL))
        return EW_ERR_INVALID;
    if (!group_scope_owns(view->batch->scope, key))
        return outside(view, key);
    overlay_cell *cell = evaluate_touch(view, key, false);
    return cell ? evaluate_delete(view, cell) : EW_ERR_NO_MEMORY;
}

ew_status ew_value_set(ew_value *next, ew_slice value) {
    if (ARGUMENT_MISSING(next, NULL))
        return EW_ERR_INVALID;
    next->bytes = overlay_copy(next->overlay, value);
    next->no_memory = !next->bytes.data;
    return next->no_memory ? EW_ERR_NO_MEMORY : EW_OK;
}

ew_status ew_value_set_int(ew_value *next, int64_t number) {
    if (ARGUMENT_MISSING(next, NULL))
        return EW_ERR_INVALID;
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, number);
    return ew_value_set(next, (ew_slice){text, (size_t)len});
}
