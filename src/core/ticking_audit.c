/* Consistency checks: find what a watch has lost without a sign (ETCD P6).
 *
 * A check begins at the revision R of the cache, and reads the keys at exactly that revision, without their values.
 * Meanwhile the watch continues, and so do ticks and commits. What the watch shows after R does not concern the check:
 * a key whose mod_revision is above R is skipped, and so is a key that was deleted since the check began (these are
 * recorded). For all other keys cache and etcd must have the same mod_revisions. Because a rewritten history uses these
 * again, they must also have the same create_revisions, versions and leases. So every difference is a lost event; an
 * event that is only late is not counted as one.
 *
 * While the watch is lost there is no check: the watch resumes and reports whether a check is needed, or the prefix is
 * loaded.
 *
 * If there is a difference, the prefix is loaded again, as after a compaction (SEMANTICS 13); this repairs it.
 *
 * R may have been compacted, if nothing below the prefix has changed for a long time. Then the check waits until
 * something newer has been observed, which may be a progress notification. If nothing has when the next check is due,
 * the prefix is loaded again, which does not need R. */
#include "core/ticking_private.h"

#include "core/arena.h"
#include "core/slice.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int64_t ticking_audit_due_ms(const ticking *t) {
    /* Also after EW_FINISHED: undecided groups are evaluated on the cache until they are committed. */
    if (t->auditing || !t->loaded || t->ending || t->away)
        return INT64_MAX;
    if (t->audit_wanted && t->unsure && t->observed < t->unsure_revision)
        return INT64_MAX; /* with `coalesce` off, waiting revisions are applied first */
    if (t->audit_wanted)
        return t->audit_newer_than > 0 && t->observed > t->audit_newer_than ? 0 : t->audit_wanted_ms;
    if (t->config.audit_interval_ms <= 0)
        return INT64_MAX;
    return t->audit_newer_than > 0 && t->observed > t->audit_newer_than ? 0 : t->audit_due_ms;
}

static void end_audit(ticking *t) {
    t->auditing = false;
    mirror_free(t->audit_deleted);
    t->audit_deleted = NULL;
    t->audit_key_len = 0;
    t->audit_due_ms = t->now_ms + t->config.audit_interval_ms;
}

void ticking_drop_audit(ticking *t) {
    end_audit(t);
    t->audit_newer_than = 0;
    t->audit_wanted = false;
}

void ticking_want_audit(ticking *t, int64_t in_ms) {
    t->audit_wanted = true;
    t->audit_wanted_ms = t->now_ms + in_ms;
}

/* Schedules the next check: after an interval, or soon if one is still needed. */
static void give_up(ticking *t) {
    enum { AGAIN_MS = 1000 };
    ticking_drop_audit(t);
    if (t->unsure)
        ticking_want_audit(t, AGAIN_MS);
}

static void log_text(ticking *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void log_text(ticking *t, const char *format, ...) {
    char text[128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ticking_log(t, EW_LOG_WARN, ticking_keep_text(t, text));
}

void ticking_take_audit_time(ticking *t) {
    if (t->audit_newer_than > 0 && t->audit_newer_than >= t->observed) {
        ticking_log(t, EW_LOG_WARN, "no newer revision was observed for a consistency check; loading the prefix again");
        ticking_load_again(t, 0, false);
        return;
    }
    t->audit_newer_than = 0;
    t->audit_wanted = false;
    t->audit_deleted = mirror_new();
    if (!t->audit_deleted) {
        ticking_no_memory(t);
        return;
    }
    t->auditing = true;
    t->audit_revision = t->observed;
    t->audit_counter = false;
    t->audit_found = 0;
    ticking_effect *e = ticking_emit(t, TICKING_DO_AUDIT);
    e->audit = ++t->audit;
    e->revision = t->audit_revision;
}

void ticking_note_deletion(ticking *t, ew_slice key, int64_t revision) {
    if (!t->auditing)
        return;
    mirror_entry *e = mirror_entry_new(&(ew_entry){.key = key, .mod_revision = revision});
    if (!e) {
        ticking_no_memory(t);
        return;
    }
    mirror_put(t->audit_deleted, e);
    if ((int64_t)mirror_bytes(t->audit_deleted) > t->config.max_pending_update_bytes) {
        give_up(t);
        ticking_log(t, EW_LOG_WARN, "consistency check cancelled: its deletions exceed max_pending_update_bytes");
    }
}

/* ---- comparing ---- */

/* Checks the keys of the cache between the last compared one and `key`: etcd does not have them. */
static void find_extra(ticking *t, const ew_slice *key) {
    const ew_slice last = {t->audit_key_len > 0 ? (const void *)t->audit_key : "", t->audit_key_len};
    const mirror_entry *e = mirror_seek(t->mirror, last);
    if (e && t->audit_key_len > 0 && ew_slice_equal(mirror_entry_view(e).key, last))
        e = mirror_next(t->mirror, e);
    for (; e && (!key || slice_compare(mirror_entry_view(e).key, *key) < 0); e = mirror_next(t->mirror, e))
        t->audit_found += mirror_entry_view(e).mod_revision <= t->audit_revision;
}

static void compare_counter(ticking *t, int64_t mod_revision) {
    t->audit_counter = true;
    t->audit_found += t->counter_revision <= t->audit_revision && t->counter_revision != mod_revision;
}

static bool is_same(const ew_entry *known, const Pb__KeyValue *kv) {
    return known->mod_revision == kv->mod_revision && known->create_revision == kv->create_revision &&
           known->version == kv->version && known->lease == kv->lease;
}

static void compare_key(ticking *t, const Pb__KeyValue *kv) {
    const ew_slice key = slice_of(kv->key);
    if (ticking_is_counter(t, key)) {
        compare_counter(t, kv->mod_revision);
        return;
    }
    if (!group_scope_owns(&t->scope, key))
        return;
    const mirror_entry *e = mirror_get(t->mirror, key);
    if (e) {
        const ew_entry known = mirror_entry_view(e);
        t->audit_found += known.mod_revision <= t->audit_revision && !is_same(&known, kv);
    } else {
        t->audit_found += mirror_get(t->audit_deleted, key) == NULL;
    }
}

static bool remember_key(ticking *t, ew_slice key) {
    uint8_t *grown = realloc(t->audit_key, key.len + 1);
    if (!grown)
        return false;
    memcpy(grown, key.data, key.len);
    t->audit_key = grown;
    t->audit_key_len = key.len;
    return true;
}

/* Returns false if the page does not continue the ones before it. */
static bool compare_page(ticking *t, const Pb__RangeResponse *page) {
    for (size_t i = 0; i < page->n_kvs; i++) {
        const ew_slice key = slice_of(page->kvs[i]->key);
        if (key.len == 0 || page->kvs[i]->mod_revision <= 0 || page->kvs[i]->mod_revision > t->audit_revision ||
            slice_compare(key, (ew_slice){t->audit_key, t->audit_key_len}) <= 0)
            return false;
        find_extra(t, &key);
        compare_key(t, page->kvs[i]);
        if (!remember_key(t, key)) {
            ticking_no_memory(t);
            return true;
        }
    }
    return true;
}

static void complete(ticking *t) {
    find_extra(t, NULL);
    if (!t->audit_counter && t->counter > 0 && t->counter_revision <= t->audit_revision)
        t->audit_found++;
    t->stats.audits++;
    t->stats.audit_repairs += t->audit_found;
    if (t->audit_found > 0) {
        log_text(t, "the consistency check found %" PRIu64 " keys that differ; loading the prefix again",
                 t->audit_found);
        ticking_load_again(t, t->observed, t->unsure);
        return;
    }
    if (t->audit_revision >= t->unsure_revision)
        t->unsure = false;
    give_up(t);
}

static void failed(ticking *t, const Msg__Audited *a) {
    int64_t revision = t->audit_revision;
    give_up(t);
    if (a->status == EW_ERR_COMPACTED)
        t->audit_newer_than = revision;
    else
        log_text(t, "a consistency check failed: %s", ew_strerror(a->status));
    if (a->status == EW_ERR_FUTURE_REVISION)
        ticking_load_again(t, t->observed, false); /* one member is behind, or etcd's revision fell: the load decides */
}

void ticking_take_audited(ticking *t, const Msg__Audited *a) {
    if (a->number > t->audit)
        ticking_breach(t, "AUDITED: check %" PRIu64 ", but the last one is %" PRIu64, a->number, t->audit);
    if (!t->auditing || a->number != t->audit)
        return; /* of a cancelled check */
    if (a->status != EW_OK) {
        failed(t, a);
        return;
    }
    arena memory;
    arena_init(&memory);
    const Pb__RangeResponse *page = pb__range_response__unpack(&memory.allocator, a->page.len, a->page.data);
    bool sound = page && compare_page(t, page);
    arena_fini(&memory);
    if (memory.failed) {
        ticking_no_memory(t);
    } else if (!sound) {
        t->stats.bad_messages++;
        give_up(t);
    } else if (a->last && !t->ending) {
        complete(t);
    }
}
