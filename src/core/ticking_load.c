/* Loads of the prefix. The first snapshot fills the cache. A later snapshot is merged into the cache page by page; both
 * are read in key order (SEMANTICS 3, 13). */
#include "core/ticking_private.h"

#include "core/bug.h"
#include "core/slice.h"

#include <inttypes.h>
#include <stdlib.h>

void ticking_load_fini(ticking *t) {
    free(t->load.last.data);
}

/* Returns whether no load is complete yet. Until then nothing was shown to the reactor, so the load can start over. */
static bool is_first(const ticking *t) {
    return ticking_get_state(t) == TICKING_LOADING;
}

static bool start_over(ticking *t) {
    if (!ticking_cache_init(t)) {
        ticking_no_memory(t);
        return false;
    }
    ticking_drop_updates(t);
    return true;
}

/* Handles a snapshot that is older than what was received. The watcher detects a fall of etcd's revision (ETCD P7) and
 * marks the snapshot; after a breach, the newer message may not have come from the watcher. */
static bool fall(ticking *t, const Msg__Snapshot *s) {
    if (ticking_is_breached(t)) {
        ticking_set_revision(t, s->revision);
    } else if (!s->rewritten) {
        ticking_end(t, EW_ERR_REVISION_FELL, "a snapshot at revision %" PRId64 " after revision %" PRId64, s->revision,
                    ticking_received(t));
        return false;
    }
    return true;
}

static bool begin(ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    if (is_first(t) && !start_over(t))
        return false;
    ticking_drop_check(t); /* a snapshot replaces a consistency check */
    ticking_apply_all(t);
    if (s->revision < ticking_received(t) && !fall(t, s))
        return false;
    ticking_load_begins(t, epoch);
    ticking_reset_counter(t, 0); /* a page that contains it sets it again */
    ticking_load *l = &t->load;
    l->revision = s->revision;
    l->rewritten = s->rewritten;
    l->at = cache_seek(ticking_get_cache(t), (ew_slice){"", 0});
    l->last.len = 0;
    return true;
}

/* Deletes the keys below `key` (NULL: all that are left) that the cache has and the snapshot does not have. The
 * revision of their deletion is unknown, so they get the snapshot's. */
static void delete_up_to(ticking *t, const ew_slice *key) {
    ticking_load *l = &t->load;
    while (l->at && !ticking_is_ending(t) && (!key || slice_compare(cache_entry_view(l->at).key, *key) < 0)) {
        cache_entry *gone = l->at;
        l->at = cache_next(ticking_get_cache(t), gone);
        if (!EW_BUG(vanished_keys_stay))
            ticking_delete_change(t, gone, l->revision);
    }
}

static bool merge_key(ticking *t, ew_slice key, const Pb__KeyValue *kv) {
    const ew_slice value = slice_of(kv->value);
    const ew_entry now = {key, value, kv->mod_revision, kv->create_revision, kv->version, kv->lease};
    if (ticking_is_counter(t, key)) {
        ticking_counter_change(t, value, kv->mod_revision);
        return true;
    }
    if (!group_scope_owns(&t->scope, key))
        return true;
    delete_up_to(t, &key);
    cache_entry *at = t->load.at;
    cache_entry *known = at && ew_slice_equal(cache_entry_view(at).key, key) ? at : NULL;
    if (known)
        t->load.at = cache_next(ticking_get_cache(t), known);
    /* In another history the same key may have been put at the same revision with another value. The
     * snapshot may not be marked as another history: the watch may have been lost, and the old history compacted. */
    bool same = known && cache_entry_view(known).mod_revision == kv->mod_revision &&
                ew_slice_equal(cache_entry_view(known).value, value);
    if (!same)
        ticking_put_change(t, known, &now, is_first(t));
    return true;
}

static void complete(ticking *t) {
    const ticking_load *l = &t->load;
    delete_up_to(t, NULL);
    if (ticking_is_ending(t))
        return;
    ticking_set_revision(t, l->revision);
    t->stats.snapshots++;
    ticking_check_loaded(t);
    ticking_history_loaded(t, l->revision, l->rewritten);
    ticking_groups_loaded(t);
    ticking_load_ends(t);
    if (!is_first(t))
        return;
    ticking_show_reset(t);
    ticking_start_timer(t);
    ticking_move(t, TICKING_READY);
}

/* Returns whether the page begins a load, or continues the running one. */
static bool page_fits(const ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    const bool same = epoch == ticking_epoch(t) && epoch > 0 && !ticking_is_loaded(t);
    if (s->revision <= 0)
        return false;
    if (EW_BUG(epoch_ignored))
        return s->first || !ticking_is_loaded(t);
    return s->first ? epoch > ticking_epoch(t) || same : same && s->revision == t->load.revision;
}

static void does_not_fit(ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    if (epoch < ticking_epoch(t))
        ticking_breach_stale(t, "SNAPSHOT", epoch);
    else
        ticking_breach(t, false,
                       "SNAPSHOT: a page of epoch %" PRIu64 ", revision %" PRId64 ", does not follow epoch %" PRIu64,
                       epoch, s->revision, ticking_epoch(t));
}

void ticking_take_snapshot(ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    if (!page_fits(t, epoch, s)) {
        does_not_fit(t, epoch, s);
        return;
    }
    ticking_note_page(t);
    if (s->first && !begin(t, epoch, s))
        return;
    if (!ticking_read_page(t, slice_of(s->page), &t->load.last, merge_key)) {
        t->stats.bad_messages++;
        ticking_end(t, EW_ERR_BAD_MESSAGE, "a page of the snapshot at revision %" PRId64 " cannot be decoded",
                    s->revision);
    } else if (s->last && !ticking_is_ending(t)) {
        complete(t);
    }
}
