/* Events: what has changed below the prefix, and what the reactor sees of it. */
#include "core/ticking_private.h"

#include "core/bug.h"
#include "core/slice.h"
#include "core/watch_events.h"

#include <inttypes.h>
#include <stdlib.h>

bool ticking_is_counter(const ticking *t, ew_slice key) {
    return ew_slice_equal(key, t->scope.counter_key);
}

/* SEMANTICS 4: the counter must be what a worker writes, a decimal number from 1 on without leading zeros. Otherwise it
 * is corrupt, because its compare could never hold. */
static bool parse_counter(ew_slice value, int64_t *out) {
    const char *digits = value.data;
    int64_t n = 0;
    if (value.len == 0 || digits[0] == '0')
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (digits[i] < '0' || digits[i] > '9' || n > (INT64_MAX - 9) / 10)
            return false;
        n = 10 * n + (digits[i] - '0');
    }
    *out = n;
    return true;
}

void ticking_set_counter(ticking *t, ew_slice value) {
    char key[160], text[32];
    if (!t->config.counter || parse_counter(value, &t->counter))
        return;
    ticking_end(t, EW_ERR_BAD_COUNTER, "%s has the value \"%s\", which is not a valid counter",
                group_key_text(t->scope.counter_key, key, sizeof key), group_key_text(value, text, sizeof text));
}

/* ---- the cache ---- */

void ticking_put_change(ticking *t, mirror_entry *old, const ew_entry *now, bool initial) {
    mirror_entry *e = mirror_replace(t->mirror, old, now);
    if (!e) {
        ticking_no_memory(t);
        return;
    }
    ticking_queue_update(t, e, false, initial);
    t->dirty |= !initial;
}

/* Removes `e`, an entry of the cache, from it. */
void ticking_delete_change(ticking *t, mirror_entry *e, int64_t revision) {
    const ew_slice key = mirror_entry_view(e).key;
    if (t->config.wants_updates) {
        mirror_entry *deletion = mirror_entry_new(&(ew_entry){.key = key, .mod_revision = revision});
        if (!deletion) {
            ticking_no_memory(t);
            return;
        }
        ticking_queue_update(t, deletion, true, false);
        mirror_entry_unref(deletion);
    }
    ticking_note_deletion(t, key, revision);
    mirror_entry_ref(e);
    mirror_delete(t->mirror, key);
    mirror_entry_unref(e);
    t->dirty = true;
}

/* Applies one change, unless the cache already has it (SEMANTICS 11). The deletion of an absent key changes nothing. */
static void apply(ticking *t, const ew_entry *now, bool deleted) {
    const ew_slice key = now->key;
    const int64_t revision = now->mod_revision;
    if (ticking_is_counter(t, key)) {
        /* SEMANTICS 9: the counter is never shown; its deletion resets it to 0. */
        t->counter_revision = revision;
        if (deleted)
            t->counter = 0;
        else
            ticking_set_counter(t, now->value);
        return;
    }
    if (!group_scope_owns(&t->scope, key))
        return;
    mirror_entry *e = mirror_find(t->mirror, key);
    if (e && mirror_entry_view(e).mod_revision >= revision)
        return;
    if (!deleted)
        ticking_put_change(t, e, now, false);
    else if (e)
        ticking_delete_change(t, e, revision);
}

/* ---- changes that wait (coalesce = off) ---- */

bool ticking_changes_wait(const ticking *t) {
    return t->changes_head < t->changes_len;
}

void ticking_apply_revision(ticking *t) {
    const int64_t revision = t->changes[t->changes_head].revision;
    while (ticking_changes_wait(t) && t->changes[t->changes_head].revision == revision) {
        ticking_change c = t->changes[t->changes_head++];
        if (!c.entry)
            continue;
        ew_entry view = mirror_entry_view(c.entry);
        t->changes_bytes -= mirror_entry_bytes(c.entry);
        apply(t, &view, c.deleted);
        mirror_entry_unref(c.entry);
    }
    t->observed = revision;
    if (!ticking_changes_wait(t))
        t->changes_head = t->changes_len = 0;
}

void ticking_apply_all(ticking *t) {
    while (ticking_changes_wait(t))
        ticking_apply_revision(t);
}

void ticking_drop_changes(ticking *t) {
    for (size_t i = t->changes_head; i < t->changes_len; i++)
        mirror_entry_unref(t->changes[i].entry);
    free(t->changes);
    t->changes = NULL;
    t->changes_head = t->changes_len = t->changes_capacity = t->changes_bytes = 0;
}

static bool push_change(ticking *t, ticking_change change) {
    if (t->changes_head > 0 && t->changes_len == t->changes_capacity) {
        t->changes_len -= t->changes_head;
        memmove(t->changes, t->changes + t->changes_head, t->changes_len * sizeof *t->changes);
        t->changes_head = 0;
    }
    if (t->changes_len == t->changes_capacity) {
        size_t capacity = t->changes_capacity ? 2 * t->changes_capacity : 16;
        ticking_change *grown = realloc(t->changes, capacity * sizeof *grown);
        if (!grown)
            return false;
        t->changes = grown;
        t->changes_capacity = capacity;
    }
    t->changes[t->changes_len++] = change;
    return true;
}

static void keep(ticking *t, const ew_entry *now, bool deleted) {
    mirror_entry *e = mirror_entry_new(now);
    if (!e || !push_change(t, (ticking_change){e, deleted, now->mod_revision})) {
        mirror_entry_unref(e);
        ticking_no_memory(t);
        return;
    }
    t->changes_bytes += mirror_entry_bytes(e);
}

/* One tick per revision is possible only while nothing is pending. Changes that come while a group is undecided, or
 * before the worker's own commit, are shown together (SEMANTICS 8), and so are changes beyond the memory limit. */
static void apply_what_may(ticking *t) {
    if (ticking_batch_is_out(t) || t->pending.first || (int64_t)t->changes_bytes > t->config.max_pending_update_bytes)
        ticking_apply_all(t);
    while (ticking_changes_wait(t) && t->observed < t->barrier)
        ticking_apply_revision(t);
}

/* ---- messages ---- */

/* Replayed events are dropped one by one, by their mod_revision (SEMANTICS 11, ETCD P1, P5). An event that is not newer
 * than all that was received before this message, or that follows a newer one in it, has been seen before, and its key
 * may have been deleted since. */
static void take_event(ticking *t, const watch_event *e, int64_t before) {
    const int64_t revision = e->mod_revision;
    const bool deleted = e->type == PB__EVENT__EVENT_TYPE__DELETE;
    if ((revision <= before || revision < t->received) && !EW_BUG(replay_believed))
        return;
    t->received = revision;
    t->stats.events++;
    const ew_entry now = {e->key, e->value, revision, e->create_revision, e->version, e->lease};
    if (t->config.coalesce)
        apply(t, &now, deleted);
    else
        keep(t, &now, deleted);
}

/* A message of an earlier epoch is dropped. A later epoch, or changes before the last page, mean that a snapshot was
 * lost. */
static bool epoch_holds(ticking *t, uint64_t epoch, const char *message) {
    if (epoch == t->epoch && t->loaded)
        return true;
    if (epoch < t->epoch && EW_BUG(epoch_ignored))
        return t->loaded;
    if (epoch < t->epoch)
        ticking_breach_stale(t, message, epoch);
    else
        ticking_breach(t, "%s: epoch %" PRIu64 ", whose snapshot is not complete", message, epoch);
    return false;
}

void ticking_take_events(ticking *t, uint64_t epoch, const Msg__Events *e) {
    if (!epoch_holds(t, epoch, "EVENTS"))
        return;
    if (e->revision <= t->received && !EW_BUG(replay_believed)) {
        ticking_breach(t, "EVENTS: revision %" PRId64 " is not above %" PRId64 ", which was seen before", e->revision,
                       t->received);
        return;
    }
    const int64_t before = t->received;
    int64_t highest = 0;
    watch_events s = watch_events_of(slice_of(e->response));
    watch_event event;
    bool sound = true;
    while (sound && watch_events_next(&s, &event)) {
        sound = event.has_kv && event.mod_revision > 0;
        highest = event.mod_revision > highest ? event.mod_revision : highest;
        if (sound)
            take_event(t, &event, before);
    }
    if (!sound || s.malformed) {
        /* The watcher has checked the events, but the message may not be the watcher's. To continue would omit what it
         * contains; what was taken of it has not been shown to the reactor. */
        t->stats.bad_messages++;
        ticking_end(t, EW_ERR_BAD_MESSAGE, "events up to revision %" PRId64 " cannot be decoded", e->revision);
    } else if (highest != e->revision) {
        t->stats.bad_messages++;
        ticking_end(t, EW_ERR_BAD_MESSAGE,
                    "EVENTS: revision %" PRId64 ", but the highest mod_revision of its events is %" PRId64, e->revision,
                    highest);
    } else if (t->config.coalesce) {
        t->observed = t->received;
    } else {
        apply_what_may(t);
    }
}

/* SEMANTICS 12. */
void ticking_take_progress(ticking *t, uint64_t epoch, const Msg__Progress *p) {
    if (!epoch_holds(t, epoch, "PROGRESS"))
        return;
    if (p->revision < t->received)
        ticking_breach(t, "PROGRESS: revision %" PRId64 " is below %" PRId64 ", which was seen before", p->revision,
                       t->received);
    if (p->revision <= t->received)
        return;
    t->received = p->revision;
    if (!ticking_changes_wait(t))
        t->observed = p->revision;
    else if (!push_change(t, (ticking_change){NULL, false, p->revision}))
        ticking_no_memory(t);
}
