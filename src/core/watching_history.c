/* If etcd's history is not the one that was seen, or may not be; core/watch_stream.h explains what shows it.
 *
 * 1. If what was seen does not come again on a resumed stream, the prefix is loaded again. Before that has been
 *    settled, the watch is not reported as connected.
 * 2. Without such events (none since the snapshot, or compacted meanwhile) the reactor compares its keys with etcd's
 *    (`unsure`; see ticking_check.c). The same is done if only deletions came again.
 * 3. A response with a revision below the last seen one comes from a member that is behind, or from an etcd that has
 *    lost it. Linearizable reads show which; there are several, because a read may be stale too (ETCD P7). */
#include "core/watching_internal.h"

#include "core/slice.h"

#include <stdio.h>

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
                 (long long)revision, (long long)w->stream.seen);
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
        if (r->header->revision < w->stream.seen) {
            watching_fall(w, out, r->header->revision);
        } else {
            watching_say(w, out, EW_LOG_INFO, "etcd is at revision %lld: only the member lagged",
                         (long long)r->header->revision);
            w->falls = 0;
            w->retry_at_ms = watch_stream_after(w->now_ms, watching_backoff_ms(w, w->failures++));
            watching_move(w, out, WATCHING_BROKEN);
        }
    }
    arena_fini(&memory);
}
