/* Changes of the cache. They are applied at once; with `coalesce` off they wait, so that each revision gets a tick. */
#include "core/ticking_private.h"

/* ---- the cache, and what the reactor sees of it ---- */

void ticking_put_change(ticking *t, cache_entry *old, const ew_entry *now, bool initial) {
    cache_entry *e = cache_replace(ticking_get_cache(t), old, now);
    if (!e) {
        ticking_no_memory(t);
        return;
    }
    ticking_queue_update(t, e, initial ? TICKING_PUT_INITIAL : TICKING_PUT);
    if (!initial)
        ticking_want_tick(t);
}

/* Removes the entry `e` from the cache. */
void ticking_delete_change(ticking *t, cache_entry *e, int64_t revision) {
    const ew_slice key = cache_entry_view(e).key;
    if (t->config.wants_updates) {
        cache_entry *deletion = cache_entry_new(&(ew_entry){.key = key, .mod_revision = revision});
        if (!deletion) {
            ticking_no_memory(t);
            return;
        }
        ticking_queue_update(t, deletion, TICKING_DELETE);
        cache_entry_unref(deletion);
    }
    ticking_note_deletion(t, key, revision);
    cache_entry_ref(e); /* `key` points into the entry */
    cache_delete(ticking_get_cache(t), key);
    cache_entry_unref(e);
    ticking_want_tick(t);
}

void ticking_counter_change(ticking *t, ew_slice value, int64_t revision) {
    char key[160], text[32];
    if (!ticking_set_counter(t, value, revision))
        ticking_end(t, EW_ERR_BAD_COUNTER, "%s has the value \"%s\", which is not a valid counter",
                    group_key_text(t->scope.counter_key, key, sizeof key), group_key_text(value, text, sizeof text));
}

/* Applies one change, unless the cache already has it (SEMANTICS 11). The deletion of an absent key changes nothing. */
static void apply(ticking *t, const ew_entry *now, bool deleted) {
    const ew_slice key = now->key;
    const int64_t revision = now->mod_revision;
    if (ticking_is_counter(t, key)) {
        /* SEMANTICS 9: the counter is never shown; its deletion resets it to 0. */
        if (deleted)
            ticking_reset_counter(t, revision);
        else
            ticking_counter_change(t, now->value, revision);
        return;
    }
    if (!group_scope_owns(&t->scope, key))
        return;
    cache_entry *e = cache_find(ticking_get_cache(t), key);
    if (e && cache_entry_view(e).mod_revision >= revision)
        return;
    if (!deleted)
        ticking_put_change(t, e, now, false);
    else if (e)
        ticking_delete_change(t, e, revision);
}

/* ---- changes that wait ---- */

bool ticking_changes_wait(const ticking *t) {
    return !ticking_queue_is_empty(&t->changes);
}

size_t ticking_change_bytes(const ticking *t) {
    return t->changes.bytes;
}

void ticking_apply_revision(ticking *t) {
    const int64_t revision = ticking_queue_revision(&t->changes);
    while (ticking_changes_wait(t) && ticking_queue_revision(&t->changes) == revision) {
        ticking_change c = ticking_queue_pop(&t->changes);
        const ew_entry view = cache_entry_view(c.entry);
        if (c.kind != TICKING_PROGRESS)
            apply(t, &view, c.kind == TICKING_DELETE);
        cache_entry_unref(c.entry);
    }
    ticking_observe(t, revision);
}

void ticking_apply_all(ticking *t) {
    while (ticking_changes_wait(t))
        ticking_apply_revision(t);
}

void ticking_drop_changes(ticking *t) {
    ticking_queue_drop(&t->changes);
}

static void keep(ticking *t, const ew_entry *now, ticking_change_kind kind) {
    cache_entry *e = cache_entry_new(now);
    if (!e || !ticking_queue_push(&t->changes, e, kind))
        ticking_no_memory(t);
    cache_entry_unref(e);
}

void ticking_take_change(ticking *t, const ew_entry *now, bool deleted) {
    if (t->config.coalesce)
        apply(t, now, deleted);
    else
        keep(t, now, deleted ? TICKING_DELETE : TICKING_PUT);
}

void ticking_pass_revision(ticking *t, int64_t revision) {
    if (ticking_changes_wait(t))
        keep(t, &(ew_entry){.key = {"", 0}, .mod_revision = revision}, TICKING_PROGRESS);
    else
        ticking_observe(t, revision);
}
