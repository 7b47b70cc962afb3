/* Consistency checks: find events that the watch has lost without a sign (ETCD P6).
 *
 * A check begins at the revision R of the cache, and reads the keys at exactly that revision, without their values.
 * Meanwhile watch, ticks and commits continue. The check ignores what the watch shows after R: it skips keys whose
 * mod_revision is above R, and keys that were deleted since the check began (it records these). All other keys must
 * have the same mod_revision in the cache and in etcd. A rewritten history uses the same revisions again, so
 * create_revision, version and lease must be the same, too. So every difference is a lost event; an event that is only
 * late causes no difference.
 *
 * While the watch is lost there is no check. Later either the watch resumes and reports whether a check is needed, or
 * the prefix is loaded.
 *
 * A difference is repaired by loading the prefix again, as after a compaction (SEMANTICS 13).
 *
 * If no key below the prefix has changed for a long time, R may have been compacted. Then the check waits until a newer
 * revision has been observed, for example by a progress notification. If that has not happened when the next check is
 * due, the prefix is loaded again, which does not need R. */
#include "core/ticking_private.h"

#include "core/slice.h"

#include <inttypes.h>
#include <stdlib.h>

void ticking_check_init(ticking *t) {
    t->check.wanted_ms = INT64_MAX;
}

void ticking_check_fini(ticking *t) {
    cache_free(t->check.deleted);
    free(t->check.last.data);
}

/* ---- when a check is due ---- */

int64_t ticking_check_due_ms(const ticking *t) {
    const ticking_check *a = &t->check;
    const int64_t observed = ticking_observed(t);
    const bool wanted = a->wanted_ms < INT64_MAX;
    if (a->deleted || (!wanted && t->config.check_interval_ms <= 0))
        return INT64_MAX;
    if (wanted && observed < a->unsure_revision)
        return INT64_MAX; /* with `coalesce` off, revisions may still wait to be applied */
    if (a->newer_than > 0 && observed > a->newer_than)
        return 0;
    return wanted ? a->wanted_ms : a->due_ms;
}

int64_t ticking_check_revision(const ticking *t) {
    return t->check.deleted ? t->check.revision : 0;
}

uint64_t ticking_check_number(const ticking *t) {
    return t->check.number;
}

void ticking_drop_check(ticking *t) {
    ticking_check *a = &t->check;
    cache_free(a->deleted);
    a->deleted = NULL;
    a->last.len = 0;
    a->due_ms = t->now_ms + t->config.check_interval_ms;
    a->wanted_ms = INT64_MAX;
    a->newer_than = 0;
}

void ticking_want_check(ticking *t) {
    t->check.wanted_ms = t->now_ms;
}

void ticking_set_unsure(ticking *t) {
    t->check.unsure_revision = ticking_received(t);
    ticking_drop_check(t); /* a running check cannot find errors in later changes */
    ticking_want_check(t);
}

bool ticking_is_unsure(const ticking *t) {
    return t->check.unsure_revision > 0;
}

void ticking_check_loaded(ticking *t) {
    t->check.unsure_revision = 0;
    ticking_drop_check(t);
}

/* Schedules the next check: after an interval, or soon if one is still needed. */
static void give_up_check(ticking *t) {
    enum { AGAIN_MS = 1000 };
    ticking_drop_check(t);
    if (ticking_is_unsure(t))
        t->check.wanted_ms = t->now_ms + AGAIN_MS;
}

void ticking_load_again(ticking *t, int64_t revision, bool rewritten) {
    ticking_drop_check(t);
    ticking_effect *e = ticking_emit(t, TICKING_DO_RESYNC);
    e->revision = revision;
    e->rewritten = rewritten;
}

void ticking_take_check_time(ticking *t) {
    ticking_check *a = &t->check;
    const int64_t observed = ticking_observed(t);
    if (a->newer_than > 0 && a->newer_than >= observed) {
        ticking_log(t, EW_LOG_WARN, "no newer revision was observed for a consistency check; loading the prefix again");
        ticking_load_again(t, 0, false);
        return;
    }
    a->newer_than = 0;
    a->wanted_ms = INT64_MAX;
    a->deleted = cache_new();
    if (!a->deleted) {
        ticking_no_memory(t);
        return;
    }
    a->revision = observed;
    a->counter_found = false;
    a->differences = 0;
    ticking_effect *e = ticking_emit(t, TICKING_DO_CHECK);
    e->check = ++a->number;
    e->revision = a->revision;
}

void ticking_note_deletion(ticking *t, ew_slice key, int64_t revision) {
    cache *deleted = t->check.deleted;
    if (!deleted)
        return;
    cache_entry *e = cache_entry_new(&(ew_entry){.key = key, .mod_revision = revision});
    if (!e) {
        ticking_no_memory(t);
        return;
    }
    cache_put(deleted, e);
    if ((int64_t)cache_bytes(deleted) > t->config.max_pending_update_bytes) {
        give_up_check(t);
        ticking_log(t, EW_LOG_WARN, "consistency check cancelled: its deletions exceed max_pending_update_bytes");
    }
}

/* ---- comparing ---- */

/* Counts differences among the keys of the cache between the last compared key and `key`, which etcd does not have. */
static void find_extra(ticking *t, const ew_slice *key) {
    ticking_check *a = &t->check;
    const cache *m = ticking_get_cache(t);
    const ew_slice last = {a->last.len > 0 ? (const void *)a->last.data : "", a->last.len};
    const cache_entry *e = cache_seek(m, last);
    if (e && last.len > 0 && ew_slice_equal(cache_entry_view(e).key, last))
        e = cache_next(m, e);
    for (; e && (!key || slice_compare(cache_entry_view(e).key, *key) < 0); e = cache_next(m, e))
        a->differences += cache_entry_view(e).mod_revision <= a->revision;
}

static void compare_counter(ticking *t, int64_t mod_revision) {
    const int64_t known = ticking_counter_revision(t);
    t->check.counter_found = true;
    t->check.differences += known <= t->check.revision && known != mod_revision;
}

static bool is_same(const ew_entry *known, const Pb__KeyValue *kv) {
    return known->mod_revision == kv->mod_revision && known->create_revision == kv->create_revision &&
           known->version == kv->version && known->lease == kv->lease;
}

static bool compare_key(ticking *t, ew_slice key, const Pb__KeyValue *kv) {
    ticking_check *a = &t->check;
    if (kv->mod_revision > a->revision)
        return false;
    find_extra(t, &key);
    if (ticking_is_counter(t, key)) {
        compare_counter(t, kv->mod_revision);
    } else if (group_scope_owns(&t->scope, key)) {
        const cache_entry *e = cache_get(ticking_get_cache(t), key);
        const ew_entry known = e ? cache_entry_view(e) : (ew_entry){0};
        a->differences += e ? known.mod_revision <= a->revision && !is_same(&known, kv) : !cache_get(a->deleted, key);
    }
    return true;
}

static void complete_check(ticking *t) {
    ticking_check *a = &t->check;
    find_extra(t, NULL);
    if (!a->counter_found && ticking_counter(t) > 0 && ticking_counter_revision(t) <= a->revision)
        a->differences++;
    t->stats.checks++;
    t->stats.check_repairs += a->differences;
    if (a->differences > 0) {
        ticking_log_text(t, EW_LOG_WARN,
                         "the consistency check found %" PRIu64 " keys that differ; loading the prefix again",
                         a->differences);
        ticking_load_again(t, ticking_observed(t), ticking_is_unsure(t));
        return;
    }
    if (a->revision >= a->unsure_revision)
        a->unsure_revision = 0;
    give_up_check(t);
}

static void check_failed(ticking *t, const Msg__Checked *a) {
    give_up_check(t);
    if (a->status == EW_ERR_COMPACTED)
        t->check.newer_than = t->check.revision;
    else
        ticking_log_text(t, EW_LOG_WARN, "a consistency check failed: %s", ew_strerror(a->status));
    if (a->status == EW_ERR_FUTURE_REVISION) /* one member is behind, or etcd's revision fell: the load shows which */
        ticking_load_again(t, ticking_observed(t), false);
}

void ticking_take_checked(ticking *t, const Msg__Checked *a) {
    if (!t->check.deleted || a->number != t->check.number)
        return; /* a page of a cancelled check */
    if (a->status != EW_OK) {
        check_failed(t, a);
    } else if (!ticking_read_page(t, slice_of(a->page), &t->check.last, compare_key)) {
        t->stats.bad_messages++;
        give_up_check(t);
    } else if (a->last && !ticking_is_ending(t)) {
        complete_check(t);
    }
}
