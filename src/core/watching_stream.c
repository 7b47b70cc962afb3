/* The worker's watch: acts on the news of core/watch_stream.h, and continues after the newest whole revision. */
#include "core/watching_internal.h"

#include "core/bug.h"

/* ---- the stream's life ---- */

watching_effect *watching_send_health(watching *w, watching_effects *out, bool connected) {
    watching_effect *effect = watching_emit(out, WATCHING_DO_SEND_HEALTH);
    effect->epoch = w->epoch;
    effect->connected = w->connected = connected;
    effect->interruptions = w->interrupted;
    return effect;
}

static void note_seen(watching *w) {
    if (w->highest < w->stream.seen)
        w->highest = w->stream.seen;
}

void watching_open(watching *w, watching_effects *out) {
    Pb__WatchRequest request;
    ew_slice bytes;
    int64_t patience_ms = w->config.silence_ms * (w->connected ? 1 : 2); /* time to connect and to get a token */
    watch_stream_open(&w->stream, &request, w->ahead ? 0 : w->stream.seen + 1, w->now_ms, patience_ms);
    if (!watching_pack(w, out, &request.base, &bytes))
        return;
    watching_emit(out, WATCHING_DO_OPEN)->bytes = bytes;
    w->stream_out = true;
    w->opens++;
    if (w->state != WATCHING_WATCHING)
        watching_move(w, out, WATCHING_WATCHING);
}

static void drop_stream(watching *w, watching_effects *out) {
    /* A watch that lasted this long counts as a success, so earlier errors no longer count. */
    if (w->stream.created && w->now_ms >= watch_stream_after(w->created_at_ms, w->config.backoff_max_ms))
        w->failures = w->resyncs = 0;
    w->fresh = false;
    watch_stream_drop(&w->stream);
    note_seen(w);
    if (w->ahead) {
        w->range_asks = w->range_out; /* a snapshot without its watch */
        watching_drop_kept(w);
    }
    if (w->stream_out && !w->closing) {
        watching_emit(out, WATCHING_DO_CLOSE);
        w->closing = true;
    }
}

void watching_drop(watching *w, watching_effects *out) {
    if (w->connected)
        watching_send_health(w, out, false);
    drop_stream(w, out);
}

/* Opens another stream at once. */
static void open_again(watching *w, watching_effects *out) {
    w->retry_at_ms = w->now_ms;
    watching_move(w, out, WATCHING_BROKEN);
}

/* Replaces a silent stream. Some releases of etcd never answer a progress request on a quiet watch (ETCD P2), so
 * silence alone does not mean that the connection is lost. It is lost if the next stream fails, too. */
static void renew(watching *w, watching_effects *out) {
    watching_say(w, out, EW_LOG_INFO, "the watch is silent, opening it again");
    drop_stream(w, out);
    watch_stream_renew(&w->stream);
    open_again(w, out);
}

static void probe(watching *w, watching_effects *out) {
    Pb__WatchRequest request;
    ew_slice bytes;
    watch_stream_probe(&w->stream, &request, w->now_ms);
    if (watching_pack(w, out, &request.base, &bytes))
        watching_emit(out, WATCHING_DO_REQUEST)->bytes = bytes;
}

void watching_check_silence(watching *w, watching_effects *out) {
    if (w->state != WATCHING_WATCHING || w->closing)
        return;
    switch (watch_stream_check_silence(&w->stream, w->now_ms)) {
    case WATCH_STREAM_ALIVE:
        break;
    case WATCH_STREAM_UNASKED:
        probe(w, out);
        break;
    case WATCH_STREAM_UNCREATED:
        watching_trouble(w, out, EW_ERR_UNAVAILABLE, "etcd does not confirm the watch");
        break;
    case WATCH_STREAM_SILENT:
        renew(w, out);
        break;
    case WATCH_STREAM_MISSING:
        watching_find_rewritten(w, out, watch_stream_miss(&w->stream).detail);
        break;
    }
}

/* ---- news ---- */

/* Handles a canceled watch. etcd 3.4 also returns "permission denied" for an expired token. So a refusal ends the run
 * only after a few attempts. Each attempt begins with a new snapshot: its range call makes the client authenticate
 * again, and shows whether the permission is really missing. */
static void take_cancel(watching *w, const watch_stream_news *n, watching_effects *out) {
    if (n->status == EW_ERR_COMPACTED) /* SEMANTICS 13 */
        watching_compacted(w, out, n->detail);
    else if (n->status != EW_ERR_DENIED && n->status != EW_ERR_UNAUTHENTICATED)
        watching_trouble(w, out, EW_ERR_UNAVAILABLE, n->detail);
    else if (w->refusals++ == WATCHING_DENIALS_MAX)
        watching_fail(w, out, n->status, n->detail);
    else
        watching_resync(w, out, n->detail);
}

void watching_tell_connected(watching *w, watching_effects *out, bool unsure) {
    watching_finish_snapshot(w, out); /* first, because a snapshot replaces a consistency check */
    if (!w->connected || unsure)
        watching_send_health(w, out, true)->unsure = unsure;
}

static void take_created(watching *w, const watch_stream_news *n, watching_effects *out) {
    w->created_at_ms = w->now_ms;
    w->denials = w->refusals = 0;
    w->ahead_from = n->header_revision;
    if (w->ahead)
        return; /* until the snapshot is complete */
    bool late = w->now_ms >= watch_stream_after(w->loaded_at_ms, w->config.backoff_max_ms);
    if (w->stream.confirmed && !n->confirmed)
        watching_tell_connected(w, out, w->stream.last == 0 && (late || !w->fresh) && !EW_BUG(resume_late));
}

static void send_on(watching *w, watching_effect_type type, const watch_stream_news *n, watching_effects *out) {
    watching_effect *effect = watching_emit(out, type);
    effect->epoch = w->epoch;
    effect->revision = n->revision;
    effect->bytes = n->bytes;
    watch_stream_accept(&w->stream, n);
    note_seen(w);
    watching_settle(w);
}

void watching_send_events(watching *w, const watch_stream_news *n, watching_effects *out) {
    if (n->revision > w->stream.seen) /* otherwise all of the events had been seen before */
        send_on(w, WATCHING_DO_SEND_EVENTS, n, out);
}

/* Events that were seen before come again at the beginning of a stream. If they come later, they are a replay (ETCD
 * P5), or their revision was corrupted in transit: the next stream shows which. */
static void take_events(watching *w, const watch_stream_news *n, watching_effects *out) {
    if (w->ahead) {
        watching_keep(w, n->bytes, out);
        return;
    }
    if (n->confirmed)
        watching_tell_connected(w, out, !w->stream.last_proves);
    else if (n->lowest <= w->stream.seen && !EW_BUG(replay_believed)) {
        watching_trouble(w, out, EW_ERR_UNAVAILABLE, "the watch repeats events");
        return;
    }
    watching_send_events(w, n, out);
}

static void take_news(watching *w, const watch_stream_news *n, watching_effects *out) {
    if (n->created)
        take_created(w, n, out);
    switch (n->kind) {
    case WATCH_STREAM_NOTHING:
        break;
    case WATCH_STREAM_EVENTS:
        take_events(w, n, out);
        break;
    case WATCH_STREAM_FULL:
        watching_resync(w, out, "the fragments of a watch response are too large");
        break;
    case WATCH_STREAM_PROGRESS:
        if (!w->ahead)
            send_on(w, WATCHING_DO_SEND_PROGRESS, n, out);
        break;
    case WATCH_STREAM_DOUBTED:
        watching_doubt(w, out, n->revision);
        break;
    case WATCH_STREAM_REWRITTEN:
        watching_find_rewritten(w, out, n->detail);
        break;
    case WATCH_STREAM_UNPROVED:
        watching_say(w, out, EW_LOG_INFO, "%s", n->detail);
        watching_drop(w, out);
        open_again(w, out);
        break;
    case WATCH_STREAM_CANCELED:
        take_cancel(w, n, out);
        break;
    case WATCH_STREAM_INVALID:
        watching_trouble(w, out, n->status, n->detail);
        break;
    }
}

void watching_take_response(watching *w, const watching_event *event, watching_effects *out) {
    if (w->state != WATCHING_WATCHING || w->closing)
        return; /* from a stream that was cancelled */
    const watch_stream_news n = watch_stream_take(&w->stream, event->bytes, w->now_ms);
    take_news(w, &n, out);
}
