/* Loading the prefix. The first snapshot fills the cache. A later snapshot is merged into it, page by page, by walking
 * both in key order (SEMANTICS 3, 13). */
#include "core/ticking_private.h"

#include "core/arena.h"
#include "core/bug.h"
#include "core/slice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool begin(ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    if (!t->loaded_once) {
        /* A first load that starts again has shown nothing to the reactor yet. */
        mirror *fresh = mirror_new();
        if (!fresh) {
            ticking_no_memory(t);
            return false;
        }
        mirror_free(t->mirror);
        t->mirror = fresh;
        ticking_drop_updates(t);
        t->overflowed = false;
    }
    ticking_drop_audit(t); /* a snapshot replaces a consistency check */
    ticking_apply_all(t);
    /* After a breach the received message may not be the watcher's. It is the watcher that detects a fall of etcd's
     * revision (ETCD P7). */
    if (s->revision < t->received && !s->rewritten && !t->resync_asked) {
        ticking_end(t, EW_ERR_REVISION_FELL, "a snapshot at revision %" PRId64 " after revision %" PRId64, s->revision,
                    t->received);
        return false;
    }
    if (s->revision < t->received && t->resync_asked)
        t->observed = t->received = s->revision;
    ticking_breach_load_begins(t);
    t->epoch = epoch;
    t->loaded = false;
    t->load_revision = s->revision;
    t->load_rewritten = s->rewritten;
    t->load_at = mirror_seek(t->mirror, (ew_slice){"", 0});
    t->load_counter = false;
    t->load_key_len = 0;
    return true;
}

static bool remember_key(ticking *t, ew_slice key) {
    uint8_t *grown = realloc(t->load_key, key.len + 1);
    if (!grown)
        return false;
    memcpy(grown, key.data, key.len);
    t->load_key = grown;
    t->load_key_len = key.len;
    return true;
}

/* A key that the cache has and the snapshot does not have, up to `key`, has been deleted; the revision of the deletion
 * is unknown. */
static void delete_up_to(ticking *t, const ew_slice *key) {
    while (t->load_at && (!key || slice_compare(mirror_entry_view(t->load_at).key, *key) < 0)) {
        mirror_entry *gone = t->load_at;
        t->load_at = mirror_next(t->mirror, gone);
        if (!EW_BUG(vanished_keys_stay))
            ticking_delete_change(t, gone, t->load_revision);
        if (t->ending)
            return;
    }
}

static void merge_key(ticking *t, const Pb__KeyValue *kv) {
    const ew_slice key = slice_of(kv->key), value = slice_of(kv->value);
    const ew_entry now = {key, value, kv->mod_revision, kv->create_revision, kv->version, kv->lease};
    if (ticking_is_counter(t, key)) {
        t->load_counter = true;
        t->counter_revision = kv->mod_revision;
        ticking_set_counter(t, value);
        return;
    }
    if (!group_scope_owns(&t->scope, key))
        return;
    delete_up_to(t, &key);
    mirror_entry *known = t->load_at && slice_compare(mirror_entry_view(t->load_at).key, key) == 0 ? t->load_at : NULL;
    if (known)
        t->load_at = mirror_next(t->mirror, known);
    /* In another history the same key may have been put at the same revision with another value. It is not always known
     * that the history is another one: the watch may have been lost meanwhile, and the old history compacted. */
    bool same = known && mirror_entry_view(known).mod_revision == kv->mod_revision &&
                ew_slice_equal(mirror_entry_view(known).value, value);
    if (!same)
        ticking_put_change(t, known, &now, !t->loaded_once);
}

/* Returns false if the page does not continue the ones before it. */
static bool merge_page(ticking *t, const Pb__RangeResponse *page) {
    for (size_t i = 0; i < page->n_kvs && !t->ending; i++) {
        const Pb__KeyValue *kv = page->kvs[i];
        const ew_slice key = slice_of(kv->key);
        if (kv->mod_revision <= 0 || slice_compare(key, (ew_slice){t->load_key, t->load_key_len}) <= 0)
            return false;
        if (!remember_key(t, key)) {
            ticking_no_memory(t);
            return true;
        }
        merge_key(t, kv);
    }
    return true;
}

static void forget_history(ticking *t) {
    char text[160];
    t->load_rewritten = t->committed_here = false;
    t->stats.rewritten++;
    snprintf(text, sizeof text, "etcd's history was rewritten: the prefix is now at revision %" PRId64,
             t->load_revision);
    ticking_log(t, EW_LOG_ERROR, ticking_keep_text(t, text));
    if (t->barrier <= t->load_revision)
        return;
    /* The commit may be of the lost history, or of this one and newer than what was read. So the watcher is asked to
     * load it; the watcher does so unless etcd's revision is below it. */
    if (t->state == TICKING_READY)
        ticking_move(t, TICKING_AWAITING);
    if (t->barrier_asked == t->barrier)
        t->barrier = t->load_revision;
    else
        ticking_load_again(t, t->barrier_asked = t->barrier, false);
}

static void complete(ticking *t) {
    delete_up_to(t, NULL);
    if (!t->load_counter)
        t->counter = t->counter_revision = 0;
    if (t->ending)
        return;
    t->loaded = true;
    t->observed = t->received = t->load_revision;
    t->stats.snapshots++;
    t->unsure = false;
    t->barrier_since_ms = t->now_ms;
    ticking_drop_audit(t);
    if (t->load_rewritten)
        forget_history(t);
    /* The change for which a refused group waits may have been lost (ETCD P6), and may be in the cache now, at no newer
     * revision. The refusal may also still come, for a batch that was evaluated before. */
    t->wait_revision = t->base_revision = 0;
    ticking_breach_load_ends(t);
    if (t->loaded_once)
        return;
    t->loaded_once = t->reset = true;
    t->first_due = t->config.tick_on_load;
    t->next_timer_ms = t->now_ms + t->config.tick_interval_ms;
    ticking_move(t, TICKING_READY);
}

static void does_not_fit(ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    if (epoch < t->epoch)
        ticking_breach_stale(t, "SNAPSHOT", epoch);
    else
        ticking_breach(t, "SNAPSHOT: a page of epoch %" PRIu64 ", revision %" PRId64 ", does not follow epoch %" PRIu64,
                       epoch, s->revision, t->epoch);
}

void ticking_take_snapshot(ticking *t, uint64_t epoch, const Msg__Snapshot *s) {
    bool fits = EW_BUG(epoch_ignored) ? s->first || !t->loaded
                : s->first            ? epoch > t->epoch || (epoch == t->epoch && epoch > 0 && !t->loaded)
                                      : epoch == t->epoch && !t->loaded && s->revision == t->load_revision && epoch > 0;
    if (!fits || s->revision <= 0) {
        does_not_fit(t, epoch, s);
        return;
    }
    t->page_ms = t->now_ms;
    if (s->first && !begin(t, epoch, s))
        return;
    arena memory;
    arena_init(&memory);
    Pb__RangeResponse *page = pb__range_response__unpack(&memory.allocator, s->page.len, s->page.data);
    bool sound = page && merge_page(t, page);
    arena_fini(&memory);
    if (memory.failed) {
        ticking_no_memory(t);
    } else if (!sound) {
        t->stats.bad_messages++;
        ticking_end(t, EW_ERR_BAD_MESSAGE, "a page of the snapshot at revision %" PRId64 " cannot be decoded",
                    s->revision);
    } else if (s->last && !t->ending) {
        complete(t);
    }
}
