/* Evaluates one group: runs its patches. */
#include "core/evaluate.h"

#include "core/bug.h"

#include <stdlib.h>

void evaluate_init(evaluate_batch *b, const cache *m, const group_scope *scope, const evaluate_limits *limits) {
    *b = (evaluate_batch){.scope = scope, .limits = *limits};
    overlay_init(&b->overlay, m);
}

void evaluate_fini(evaluate_batch *b) {
    for (size_t i = 0; i < b->unit_count; i++) {
        free(b->units[i].items);
        free(b->units[i].ranges);
    }
    free(b->units);
    free(b->scratch.items);
    free(b->scratch.ranges);
    overlay_fini(&b->overlay);
    *b = (evaluate_batch){0};
}

static const char *at(ew_slice key, char *out, size_t size) {
    return key.len ? group_key_text(key, out, size) : "any key";
}

static int patch_error(ew_view *view, const ew_group *g, const group_patch *p, size_t number, int status) {
    char title[96], key[96];
    if (view->error.code != EW_OK) {
        ew_error inner = view->error;
        view->error.code = EW_OK;
        return ew_fail(&view->error, inner.code, "%s, patch %zu: %s", group_title(g, title, sizeof title), number,
                       inner.detail);
    }
    if (status > 0)
        return ew_fail(
            &view->error, EW_ERR_INVALID, "%s, patch %zu (%s) returned %s (%d), which is not valid for a patch",
            group_title(g, title, sizeof title), number, at(p->key, key, sizeof key), ew_errname(status), status);
    return ew_fail(&view->error, status, "%s, patch %zu (%s): %s", group_title(g, title, sizeof title), number,
                   at(p->key, key, sizeof key), ew_strerror(status));
}

/* SEMANTICS 19: absent, empty and present are different; a value that is set to the same bytes is still written. */
static int run_modify(ew_view *view, const group_patch *p) {
    overlay_cell *cell = evaluate_touch(view, p->key, view->batch->limits.serializable);
    if (!cell)
        return EW_ERR_NO_MEMORY;
    const ew_entry current = cell->now.present ? overlay_view(cell) : (ew_entry){0};
    ew_value next = {&view->batch->overlay, {NULL, 0}, false};
    int status = p->modify(p->arg, cell->now.present ? &current : NULL, &next);
    if (next.no_memory)
        return EW_ERR_NO_MEMORY;
    switch (status) {
    case EW_OK:
        return evaluate_put(view, cell, next.bytes, EW_LEASE_NONE);
    case EW_REMOVE:
        return evaluate_delete(view, cell);
    case EW_UNCHANGED:
        return EW_OK;
    default:
        return status;
    }
}

/* A submit's compare. If it holds on the newest state, it becomes a guard; otherwise EW_ERR_REFUSED. */
static int run_compare(ew_view *view, const group_patch *p, ew_error *refusal) {
    overlay_cell *cell = evaluate_touch(view, p->key, !EW_BUG(submit_not_compared));
    if (!cell)
        return EW_ERR_NO_MEMORY;
    bool holds = p->kind == GROUP_IF_ABSENT ? !cell->now.present
                                            : cell->now.present && ew_slice_equal(cell->now.value, p->value);
    char key[128];
    return holds ? EW_OK
                 : ew_fail(refusal, EW_ERR_REFUSED, "the compare of %s does not hold: the key %s",
                           group_key_text(p->key, key, sizeof key),
                           !cell->now.present           ? "is absent"
                           : p->kind == GROUP_IF_ABSENT ? "exists"
                                                        : "has another value");
}

static int run_patch(ew_view *view, const group_patch *p, ew_error *refusal) {
    overlay_cell *cell;
    switch (p->kind) {
    case GROUP_PUT:
        cell = evaluate_touch(view, p->key, false);
        return cell ? evaluate_put(view, cell, p->value, p->lease) : EW_ERR_NO_MEMORY;
    case GROUP_DELETE:
        cell = evaluate_touch(view, p->key, false);
        return cell ? evaluate_delete(view, cell) : EW_ERR_NO_MEMORY;
    case GROUP_GUARD:
        return evaluate_touch(view, p->key, true) ? EW_OK : EW_ERR_NO_MEMORY;
    case GROUP_MODIFY:
        return run_modify(view, p);
    case GROUP_PATCH:
        return p->patch(p->arg, view);
    case GROUP_IF_VALUE:
    case GROUP_IF_ABSENT:
        break;
    }
    return run_compare(view, p, refusal);
}

/* SEMANTICS 36: checks that the key is unchanged, and makes the transaction compare it. */
static evaluate_result expect(ew_view *view, ew_slice key, int64_t mod_revision) {
    const overlay_cell *cell = evaluate_touch(view, key, true);
    if (!cell)
        return EVALUATE_FAILED;
    const bool holds = !cell->now.changed && cell->base == mod_revision;
    return holds || EW_BUG(expect_is_guard) ? EVALUATE_ADDED : EVALUATE_STALE;
}

static evaluate_result read_too_much(ew_view *view, const ew_group *g) {
    char title[96];
    ew_fail(&view->error, EW_ERR_TOO_LARGE,
            "%s: its tick read more keys and ranges than the %zu that fit in a transaction",
            group_title(g, title, sizeof title), g->reads->max);
    return EVALUATE_FAILED;
}

/* SEMANTICS 37. */
static evaluate_result expect_reads(ew_view *view, const ew_group *g) {
    const reads *r = g->reads;
    const overlay *o = &view->batch->overlay;
    evaluate_result result = r->too_many ? read_too_much(view, g) : EVALUATE_ADDED;
    for (size_t i = 0; i < r->key_count && result == EVALUATE_ADDED; i++)
        result = expect(view, r->keys[i].key, r->keys[i].mod_revision);
    for (size_t i = 0; i < r->range_count && result == EVALUATE_ADDED; i++) {
        const reads_range *range = &r->ranges[i];
        if (reads_range_has_grown(r, range, o->cache) || overlay_changes_in(o, range))
            result = EVALUATE_STALE;
        else if (!EW_BUG(phantoms_unseen) && !evaluate_watch(view, range, r->revision))
            result = EVALUATE_FAILED;
    }
    return result;
}

/* SEMANTICS 36. Checked before any patch of the group runs, so that every change found is one of an earlier group;
 * compared in the transaction too, so that it still holds then. */
static evaluate_result check_expectations(ew_view *view, const ew_group *g) {
    evaluate_result result = EVALUATE_ADDED;
    for (const group_expectation *e = g->expectations; e && result == EVALUATE_ADDED; e = e->next)
        result = expect(view, e->key, e->mod_revision);
    return result == EVALUATE_ADDED && g->reads ? expect_reads(view, g) : result;
}

/* SEMANTICS 20. */
static evaluate_result run_patches(ew_view *view, const ew_group *g, ew_error *refusal) {
    overlay *o = &view->batch->overlay;
    size_t number = 0;
    for (const group_patch *p = g->first; p; p = p->next) {
        size_t mark = overlay_mark(o);
        int status = run_patch(view, p, refusal);
        number++;
        if (view->error.code == EW_OK && status == EW_IGNORE) {
            overlay_undo_to(o, EW_BUG(ignored_not_undone) ? overlay_mark(o) : mark);
        } else if (view->error.code == EW_OK && status == EW_AGAIN) {
            return EVALUATE_AGAIN;
        } else if (view->error.code == EW_OK && (status == EW_DROP || (status == EW_ERR_REFUSED && g->submitted))) {
            return EVALUATE_REFUSED;
        } else if (view->error.code != EW_OK || status != EW_OK) {
            patch_error(view, g, p, number, status);
            return EVALUATE_FAILED;
        }
    }
    return EVALUATE_ADDED;
}

/* SEMANTICS 34: the record is compared and put in the same unit. */
static evaluate_result add_record(ew_view *view, const group_record *record, ew_slice value) {
    overlay_cell *cell = evaluate_touch(view, record->key, true);
    if (!cell)
        return EVALUATE_FAILED;
    if (!cell->now.changed)
        cell->base = record->revision;
    if (overlay_put(&view->batch->overlay, cell, value, OVERLAY_LEASE_RECORD, view->writer))
        return EVALUATE_ADDED;
    ew_fail(&view->error, EW_ERR_NO_MEMORY, "out of memory");
    return EVALUATE_FAILED;
}

/* A refusal is final only when its record is put: an earlier copy of the submit may have been committed, and may be the
 * reason why a compare no longer holds. */
static evaluate_result run_submit(ew_view *view, const ew_group *g, size_t mark, bool *refused, ew_error *refusal) {
    const group_record *record = &g->submit->record;
    evaluate_result result = run_patches(view, g, refusal);
    if (result == EVALUATE_ADDED)
        return add_record(view, record, record->committed);
    *refused = result == EVALUATE_REFUSED && view->batch->unit_count == 0 && !EW_BUG(refusal_not_recorded);
    if (!*refused)
        return result;
    overlay_undo_to(&view->batch->overlay, mark);
    view->batch->scratch.count = 0;
    return add_record(view, record, record->refused);
}

evaluate_result evaluate_group(evaluate_batch *b, const ew_group *g, ew_error *err) {
    ew_view view = {.batch = b, .writer = ++b->group};
    size_t mark = overlay_mark(&b->overlay);
    bool recorded = g->submit && g->submit->record.key.len > 0, refused = false;
    b->scratch.count = b->scratch.range_count = 0;
    evaluate_result result = check_expectations(&view, g);
    if (result == EVALUATE_ADDED)
        result = recorded ? run_submit(&view, g, mark, &refused, err) : run_patches(&view, g, err);
    if (result == EVALUATE_FAILED)
        *err = view.error;
    else if (result == EVALUATE_ADDED)
        result = evaluate_join(b, g, err);
    if (result != EVALUATE_ADDED)
        overlay_undo_to(&b->overlay, mark);
    if (result != EVALUATE_ADDED && b->unit_count > 0)
        return EVALUATE_LATER;
    return result == EVALUATE_ADDED && refused ? EVALUATE_RECORDED : result;
}
