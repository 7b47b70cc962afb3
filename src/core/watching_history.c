/* Whether etcd's history is still the one that was seen.
 *
 * After a restore from an older state (etcdctl snapshot restore, an older data directory, an empty one with the same
 * cluster token) etcd continues with the same cluster id. Its revision first falls, and may have passed the last seen
 * one before a stream is opened again. What was written in between has revisions that count as seen, and would never be
 * noticed. So after a stream was lost, nothing that was seen is trusted unless it is shown again:
 *
 * 1. A stream is resumed at the last revision whose events were shown. They must come again unchanged, which their
 *    digest shows, and there must be nothing between them and the last seen revision, because a progress notification
 *    said that there is nothing. Only then is the watch reported as connected. If they differ, or do not come, the
 *    prefix is loaded again.
 * 2. Without such events (none since the snapshot, or compacted meanwhile) the stream is resumed after the last seen
 *    revision, and the reactor compares its keys with etcd's (`unsure`; see ticking_audit.c). The same is done if only
 *    deletions came again: a deletion has only a key and a revision, so another history may easily have the same one. A
 *    put also has its value, create_revision, version and lease.
 * 3. A response with a revision below the last seen one comes from a member that is behind, or from an etcd that has
 *    lost it. Linearizable reads show which; there are several, because a read may be stale too (ETCD P7). */
#include "core/watching_internal.h"

#include "core/event_digest.h"
#include "core/slice.h"
#include "core/watch_events.h"

#include <stdio.h>

/* ---- what comes again ---- */

static uint64_t digest_event(const watch_event *e) {
    const int64_t numbers[] = {e->mod_revision, e->create_revision, e->version, e->lease};
    return event_digest(e->type, e->key, e->value, numbers);
}

/* `newest` has no events of other revisions: they are in order, and it begins with the first of the highest one. */
void watching_keep_last(watching *w, ew_slice newest, int64_t revision) {
    watch_event e;
    watch_events s = watch_events_of(newest);
    w->last = revision;
    w->last_digest = 0;
    w->last_proves = false;
    while (watch_events_next(&s, &e)) {
        w->last_digest += digest_event(&e);
        w->last_proves |= e.type == PB__EVENT__EVENT_TYPE__PUT;
    }
}

typedef enum comparison { THE_SAME, DIFFERENT, MISSING, NOT_YET } comparison;

static comparison compare(const watching *w, ew_slice bytes) {
    watch_event e;
    watch_events s = watch_events_of(bytes);
    uint64_t digest = 0;
    bool newer = false;
    while (watch_events_next(&s, &e)) {
        if (e.mod_revision == w->last)
            digest += digest_event(&e);
        else if (e.mod_revision > w->last && e.mod_revision <= w->seen)
            return DIFFERENT;
        newer |= e.mod_revision > w->seen;
    }
    if (digest != 0)
        return digest == w->last_digest ? THE_SAME : DIFFERENT;
    return newer ? MISSING : NOT_YET; /* older events may be a replay (ETCD P5) */
}

bool watching_confirm(watching *w, ew_slice bytes, watching_effects *out) {
    char why[128];
    switch (compare(w, bytes)) {
    case THE_SAME:
        w->confirmed = true;
        return true;
    case DIFFERENT:
        snprintf(why, sizeof why, "etcd did not send revisions %lld to %lld again as they were seen before",
                 (long long)w->last, (long long)w->seen);
        watching_find_rewritten(w, out, why);
        return false;
    case MISSING:
        watching_miss_last(w, out);
        return false;
    case NOT_YET:
        break;
    }
    return false;
}

void watching_miss_last(watching *w, watching_effects *out) {
    char why[128];
    snprintf(why, sizeof why, "etcd did not send revision %lld, the last one seen below the prefix, again",
             (long long)w->last);
    watching_find_rewritten(w, out, why);
}

void watching_find_rewritten(watching *w, watching_effects *out, const char *why) {
    char text[256];
    snprintf(text, sizeof text, "etcd's history was rewritten, as by a restore from an older state: %s", why);
    watching_say(w, out, EW_LOG_ERROR, "%s", text);
    w->rewritten = true;
    watching_resync(w, out, "etcd's history was rewritten");
}

/* ---- a revision below what was seen ---- */

void watching_fall(watching *w, watching_effects *out, int64_t revision) {
    char why[128];
    snprintf(why, sizeof why, "etcd is at revision %lld, but revision %lld was seen before", (long long)revision,
             (long long)w->highest);
    watching_trouble(w, out, EW_ERR_REVISION_FELL, why);
}

void watching_doubt(watching *w, watching_effects *out, int64_t revision) {
    watching_say(w, out, EW_LOG_WARN, "the watched member is at revision %lld, below %lld: reading etcd's revision",
                 (long long)revision, (long long)w->seen);
    watching_drop(w, out);
    w->retry_at_ms = w->now_ms;
    watching_move(w, out, WATCHING_ASKING);
}

/* Makes a linearizable read, of which only the header is used. It reads one key, which need not exist, because etcd 3.4
 * counts a whole range. */
void watching_ask(watching *w, watching_effects *out) {
    Pb__RangeRequest request = PB__RANGE_REQUEST__INIT;
    request.key = slice_bytes(w->config.key);
    request.limit = 1;
    request.keys_only = true;
    ew_slice bytes;
    if (watching_pack(w, out, &request.base, &bytes)) {
        watching_emit(out, WATCHING_DO_RANGE)->bytes = bytes;
        w->range_out = w->range_asks = true;
    }
}

void watching_take_revision(watching *w, const watching_event *event, watching_effects *out) {
    arena memory;
    arena_init(&memory);
    const Pb__RangeResponse *r = watching_unpack(w, out, &memory, &pb__range_response__descriptor, event->bytes);
    if (r && watching_header_ok(w, out, r->header)) {
        if (r->header->revision < w->seen) {
            watching_fall(w, out, r->header->revision);
        } else {
            watching_say(w, out, EW_LOG_INFO, "etcd is at revision %lld: only the member lagged",
                         (long long)r->header->revision);
            w->falls = 0;
            w->retry_at_ms = watching_after(w->now_ms, watching_backoff_ms(w, w->failures++));
            watching_move(w, out, WATCHING_BROKEN);
        }
    }
    arena_fini(&memory);
}
