/* Compares what a reactor sees with etcd's history. */
#include "sim/check.h"

#include "core/slice.h"

#include <stdlib.h>

#define PRINT(slice) (int)(slice).len, (const char *)(slice).data

/* ---- the state according to the updates ---- */

static size_t find(const sim_seen *seen, ew_slice key, bool *found) {
    size_t low = 0, high = seen->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(seen->keys[middle].key, key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static void drop_key(sim_seen *seen, size_t i) {
    free(sim_unconst(seen->keys[i].key.data));
    free(sim_unconst(seen->keys[i].value.data));
    memmove(seen->keys + i, seen->keys + i + 1, (--seen->key_count - i) * sizeof *seen->keys);
}

static void store(sim_seen *seen, const ew_event *e) {
    bool found;
    size_t i = find(seen, e->entry.key, &found);
    if (e->kind == EW_EVENT_DELETE) {
        if (found)
            drop_key(seen, i);
        return;
    }
    if (!found) {
        sim_reserve(seen->keys, seen->key_capacity, seen->key_count + 1);
        memmove(seen->keys + i + 1, seen->keys + i, (seen->key_count++ - i) * sizeof *seen->keys);
        seen->keys[i] = (ew_entry){.key = sim_copy(e->entry.key)};
    }
    const ew_slice key = seen->keys[i].key;
    free(sim_unconst(seen->keys[i].value.data));
    seen->keys[i] = e->entry;
    seen->keys[i].key = key;
    seen->keys[i].value = sim_copy(e->entry.value);
}

void check_forget(sim_worker *w) {
    while (w->seen.key_count)
        drop_key(&w->seen, w->seen.key_count - 1);
    free(w->seen.keys);
    w->seen.keys = NULL;
    w->seen.key_capacity = 0;
}

void check_reset(sim_worker *w) {
    while (w->seen.key_count)
        drop_key(&w->seen, w->seen.key_count - 1);
    w->seen.wrote = true; /* too many updates were pending: the next ones are not single steps */
}

/* Nothing of the lost history can reach the reactor if neither watcher nor committer has heard of it. */
void check_restored(sim_worker *w) {
    int64_t revision = etcd_model_revision(w->sim->etcd);
    bool heard = w->watcher_io.heard_revision > revision || w->committer_io.heard_revision > revision;
    w->seen.adrift = w->running && (heard || w->seen.adrift);
    w->seen.adrift_epoch = w->seen.epoch;
    w->seen.own_revision = 0;
}

/* ---- one event ---- */

/* Returns the record of the event's change; NULL for a deletion that a load found by comparing snapshots. */
static const etcd_model_record *record_of(const sim_worker *w, const ew_event *e) {
    size_t count;
    if (e->entry.mod_revision < 1 || e->entry.mod_revision > etcd_model_revision(w->sim->etcd))
        return NULL;
    const etcd_model_record *r = etcd_model_records(w->sim->etcd, e->entry.mod_revision, &count);
    for (size_t i = 0; i < count; i++)
        if (ew_slice_equal(r[i].key, e->entry.key))
            return &r[i];
    return NULL;
}

/* Between two snapshots, an event must be the next change of its key: no change is missing, duplicated or merged. */
static void check_order(sim_worker *w, const ew_event *e, const etcd_model_record *r) {
    bool found;
    size_t i = find(&w->seen, e->entry.key, &found);
    if (w->seen.adrift)
        return;
    int64_t last = found ? w->seen.keys[i].mod_revision : 0;
    if (found && e->entry.mod_revision <= last)
        ew_sim_fail(w->sim, "worker %u: %.*s is shown at %lld after %lld", w->number, PRINT(e->entry.key),
                    (long long)e->entry.mod_revision, (long long)last);
    if (e->initial || w->seen.resynced || !r || w->sim->sampled.lose_events > 0)
        return;
    if (e->entry.mod_revision < w->seen.next_revision)
        ew_sim_fail(w->sim, "worker %u: %.*s is shown at %lld, but only %lld or later is new", w->number,
                    PRINT(e->entry.key), (long long)e->entry.mod_revision, (long long)w->seen.next_revision);
    w->seen.next_revision = e->entry.mod_revision;
    const etcd_model_record *before = etcd_model_before(w->sim->etcd, r);
    int64_t want = before && !before->deleted ? before->mod_revision : 0;
    if (want != last)
        ew_sim_fail(w->sim, "worker %u: %.*s is shown at %lld after %lld, but its previous change was at %lld",
                    w->number, PRINT(e->entry.key), (long long)e->entry.mod_revision, (long long)last, (long long)want);
}

void check_update(sim_worker *w, const ew_event *e) {
    ew_sim *s = w->sim;
    sim_note(s, "update", e->entry.mod_revision, e->kind);
    sim_trace(s, "worker %u update: %s %.*s at %lld", w->number, e->kind == EW_EVENT_PUT ? "put" : "delete",
              PRINT(e->entry.key), (long long)e->entry.mod_revision);
    if (!check_visible(w, e->entry.key))
        ew_sim_fail(s, "worker %u is shown %.*s, which is outside its prefix or reserved", w->number,
                    PRINT(e->entry.key));
    const etcd_model_record *r = record_of(w, e);
    bool deleted = e->kind == EW_EVENT_DELETE;
    if (w->seen.adrift)
        sim_trace(s, "  possibly of the lost history");
    else if (!r ? !(deleted && w->seen.resynced)
                : r->deleted != deleted || (!deleted && !ew_slice_equal(r->value, e->entry.value)))
        ew_sim_fail(s, "worker %u is shown %.*s (%s) at %lld, which is not in etcd's history", w->number,
                    PRINT(e->entry.key), deleted ? "deleted" : "put", (long long)e->entry.mod_revision);
    check_order(w, e, r);
    store(&w->seen, e);
}

/* ---- the tick ---- */

/* Handles a difference. It is allowed while etcd itself loses events, and until a restore is detected. */
static void differs(sim_worker *w, int64_t revision, const etcd_model_record *r, const ew_entry *e, const char *where) {
    w->seen.wrong = true;
    if (w->sim->sampled.lose_events > 0 || w->seen.adrift)
        return;
    if (r && e && ew_slice_equal(r->key, e->key))
        ew_sim_fail(w->sim, "worker %u, tick at %lld: %s has %.*s as of %lld, etcd as of %lld", w->number,
                    (long long)revision, where, PRINT(e->key), (long long)e->mod_revision, (long long)r->mod_revision);
    else
        ew_sim_fail(w->sim, "worker %u, tick at %lld: %s %s %.*s", w->number, (long long)revision, where,
                    e && (!r || slice_compare(e->key, r->key) < 0) ? "has an extra key:" : "lacks",
                    PRINT(e && (!r || slice_compare(e->key, r->key) < 0) ? e->key : r->key));
}

static bool same(const etcd_model_record *r, const ew_entry *e) {
    return ew_slice_equal(r->key, e->key) && r->mod_revision == e->mod_revision && ew_slice_equal(r->value, e->value) &&
           r->create_revision == e->create_revision && r->version == e->version && r->lease == e->lease;
}

/* Lists the keys that are visible at the revision, in byte order, with NULL after the last. */
static const etcd_model_record *const *list_visible(const sim_worker *w, int64_t revision) {
    ew_sim *s = w->sim;
    size_t position = 0, count = 0;
    for (const etcd_model_record *r; (r = etcd_model_scan(s->etcd, &position, revision));) {
        if (!check_visible(w, r->key))
            continue;
        sim_reserve(s->visible, s->visible_capacity, count + 2);
        s->visible[count++] = r;
    }
    sim_reserve(s->visible, s->visible_capacity, count + 1);
    s->visible[count] = NULL;
    return s->visible;
}

static void check_state(sim_worker *w, ew_tick *tick, int64_t revision, const etcd_model_record *const *visible) {
    size_t count = 0, bytes = 0;
    ew_entry e = {0};
    for (;;) {
        const etcd_model_record *r = visible[count];
        bool more = ticking_peek_scan(tick, EW_STR(""), &e);
        if (!r && !more)
            break;
        if (!r || !more || !same(r, &e)) {
            differs(w, revision, r, more ? &e : NULL, "the tick");
            return;
        }
        count++;
        bytes += e.key.len + e.value.len;
    }
    if (count != ticking_peek_count(tick))
        ew_sim_fail(w->sim, "worker %u: %zu keys, but ew_tick_count returns %zu", w->number, count,
                    ticking_peek_count(tick));
    /* Memory is bounded by the keys and values, with a fixed overhead for each key. */
    ticking_stats stats;
    ticking_get_stats(reactor_core(w->reactor_of), &stats);
    if (stats.cache_bytes > 4096 + 256 * count + 2 * bytes)
        ew_sim_fail(w->sim, "worker %u: the cache uses %llu bytes for %zu keys of %zu bytes", w->number,
                    (unsigned long long)stats.cache_bytes, count, bytes);
}

static void check_updates_state(sim_worker *w, int64_t revision, const etcd_model_record *const *visible) {
    for (size_t i = 0;; i++) {
        const etcd_model_record *r = visible[i];
        bool more = i < w->seen.key_count;
        if (!r && !more)
            return;
        const ew_entry e = more ? w->seen.keys[i] : (ew_entry){0};
        if (!r || !more || !same(r, &e)) {
            differs(w, revision, r, more ? &e : NULL, "the state according to update");
            return;
        }
    }
}

/* coalesce = off: one tick for each revision, unless a group of the worker was undecided (SEMANTICS 5). */
static void check_single_steps(sim_worker *w, int64_t revision) {
    unsigned revisions = 0;
    for (int64_t r = w->seen.tick_revision + 1; r <= revision; r++)
        revisions += check_revision_visible(w, r);
    if (revisions > 1)
        ew_sim_fail(w->sim, "worker %u: one tick for %u revisions up to %lld, although coalesce is off", w->number,
                    revisions, (long long)revision);
}

void check_tick(sim_worker *w, ew_tick *tick) {
    ew_sim *s = w->sim;
    int64_t revision = ew_tick_revision(tick);
    sim_note(s, "tick", w->number, revision);
    sim_trace(s, "worker %u tick %llu at revision %lld", w->number, (unsigned long long)ew_tick_number(tick),
              (long long)revision);
    if ((revision > etcd_model_revision(s->etcd) && !w->seen.adrift) || revision < 1) {
        ew_sim_fail(s, "worker %u: a tick at revision %lld, which does not exist", w->number, (long long)revision);
        return;
    }
    if (revision < w->seen.tick_revision && !w->seen.adrift)
        ew_sim_fail(s, "worker %u: a tick at %lld after one at %lld", w->number, (long long)revision,
                    (long long)w->seen.tick_revision);
    if (revision < w->seen.own_revision)
        ew_sim_fail(s, "worker %u: a tick at %lld, before its own write at %lld", w->number, (long long)revision,
                    (long long)w->seen.own_revision);
    if (w->seen.batch_out)
        ew_sim_fail(s, "worker %u: a tick while a batch is undecided", w->number);
    if (ew_tick_now_ms(tick) != sim_now(s))
        ew_sim_fail(s, "worker %u: a tick at %lld ms whose ew_tick_now_ms is %lld ms", w->number, (long long)sim_now(s),
                    (long long)ew_tick_now_ms(tick));
    /* SEMANTICS 6. The clock counts whole milliseconds. */
    int64_t most = w->options->max_ticks_per_second;
    if (most > 0 && w->seen.ticks > 0 && sim_now(s) - w->seen.tick_ms < 1000 / most - 1)
        ew_sim_fail(s, "worker %u: two ticks within %lld ms, at most %lld a second are allowed", w->number,
                    (long long)(sim_now(s) - w->seen.tick_ms), (long long)most);
    w->seen.tick_ms = sim_now(s);
    w->seen.wrong = false;
    const etcd_model_record *const *visible = list_visible(w, revision);
    check_state(w, tick, revision, visible);
    if (w->table.update)
        check_updates_state(w, revision, visible);
    if (!w->seen.wrong && (w->seen.epoch > w->seen.adrift_epoch || revision > s->lost_up_to))
        w->seen.adrift = false;
    bool bounded = w->options->max_ticks_per_second > 0 || w->sim->bend.max_pending_update_bytes > 0;
    bounded |= w->sim->sampled.lose_events > 0 || w->sim->restores > 0;
    if (!w->options->coalesce && !bounded && w->seen.ticks > 0 && !w->seen.resynced && !w->seen.wrote)
        check_single_steps(w, revision);
    w->seen.tick_revision = revision;
    w->seen.next_revision = revision + 1;
    w->seen.resynced = false;
    w->seen.ticks++;
}

void check_ticked(sim_worker *w, ew_tick *tick) {
    w->seen.wrote = ticking_tick_groups(tick) > 0;
}
