/* The stream of a pulled watch: it acts on the news of core/watch_stream.h, and opens the next stream. */
#include "etcd/backoff.h"
#include "etcd/blocking.h"
#include "etcd/method.h"
#include "etcd/watch_private.h"

#include "core/deadline.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>

/* Returns whether another attempt with another token may succeed. A member that is behind does not know the newest
 * token yet, so the watch tries again after a pause, AUTH_REFUSALS_MAX times at most. */
static bool token_may_be_new(ew_watch *w, int status, const char *detail) {
    return status == EW_ERR_UNAUTHENTICATED && method_token_is_stale(detail) && w->refusals++ < AUTH_REFUSALS_MAX;
}

static void leave_stream(ew_watch *w) {
    w->ended_by_us = true;
    etcd_stream_cancel(w->stream);
}

static void end_watch(ew_watch *w, int status, const char *why) {
    w->state = WATCH_OVER;
    w->status = status;
    snprintf(w->detail, sizeof w->detail, "watch: %s", why);
}

/* ---- the stream's news ---- */

/* Returns the first revision that was not delivered; 0: from now on. */
static int64_t next_revision(const ew_watch *w) {
    return w->protocol.seen > 0 ? w->protocol.seen + 1 : w->start;
}

static void on_created(ew_watch *w, const watch_stream_news *n) {
    w->created = true;
    w->refusals = 0;
    backoff_reset(&w->backoff);
    if (next_revision(w) == 0) /* "now" is the revision of this header; an event's header may be newer (ETCD P1) */
        watch_stream_seek(&w->protocol, n->header_revision);
}

/* Makes the news the batch to deliver. Returns whether the stream continues. */
static bool deliver(ew_watch *w, const watch_stream_news *n) {
    watch_stream_accept(&w->protocol, n);
    watch_stream_listen(&w->protocol, etcd_now_ms());
    w->revision = n->revision;
    w->state = WATCH_HAS_BATCH;
    if (n->kind == WATCH_STREAM_FULL)
        return false; /* the rest of the events comes on another stream */
    etcd_stream_pause(w->stream);
    return true;
}

static bool take_events(ew_watch *w, const watch_stream_news *n) {
    int64_t next = next_revision(w);
    int status = watch_batch_read(&w->batch, n, next);
    if (status == EW_OK && w->batch.count > 0)
        return deliver(w, n);
    if (status == EW_OK && (n->kind == WATCH_STREAM_EVENTS || n->highest < next))
        return true; /* all events are old */
    if (status == EW_OK && n->lowest < next)
        return false; /* too many old events */
    if (status == EW_OK)
        end_watch(w, EW_ERR_TOO_LARGE, "the events of one revision exceed max_receive_bytes");
    else
        end_watch(w, status, status == EW_ERR_NO_MEMORY ? "out of memory" : "invalid event");
    return false;
}

static void take_cancel(ew_watch *w, const watch_stream_news *n) {
    w->revision = n->revision;
    if (token_may_be_new(w, n->status, n->detail))
        etcd_stream_refuse_token(w->stream);
    else if (n->status == EW_ERR_COMPACTED || method_is_final(n->status))
        end_watch(w, n->status, n->detail);
}

static bool take_news(ew_watch *w, const watch_stream_news *n) {
    char why[sizeof w->detail];
    switch (n->kind) {
    case WATCH_STREAM_NOTHING:
        return true;
    case WATCH_STREAM_EVENTS:
    case WATCH_STREAM_FULL:
        return take_events(w, n);
    case WATCH_STREAM_PROGRESS:
        return n->revision < next_revision(w) || deliver(w, n);
    case WATCH_STREAM_DOUBTED:
        log_fields(EW_LOG_WARN, &w->client->log, "etcd",
                   "a member's revision is below the one seen; checking whether etcd was restored",
                   {"revision", NULL, n->revision}, {"seen", NULL, w->protocol.seen});
        revision_check_want(&w->check, w->protocol.seen);
        return false;
    case WATCH_STREAM_REWRITTEN:
        snprintf(why, sizeof why, "etcd's history was rewritten, as by a restore from an older state: %s", n->detail);
        end_watch(w, n->status, why);
        return false;
    case WATCH_STREAM_UNPROVED:
        return false;
    case WATCH_STREAM_CANCELED:
        take_cancel(w, n);
        return false;
    case WATCH_STREAM_INVALID:
        end_watch(w, n->status, n->detail);
        return false;
    }
    return false;
}

static void on_message(void *arg, ew_slice bytes) {
    ew_watch *w = arg;
    watch_stream *p = &w->protocol;
    p->cluster_id = atomic_load(&w->client->cluster_id);
    const watch_stream_news n = watch_stream_take(p, bytes, etcd_now_ms());
    bool same = p->cluster_id == 0 || connection_is_same_cluster(w->client, p->cluster_id);
    if (!same)
        end_watch(w, EW_ERR_WRONG_CLUSTER, "the cluster id differs from the client's");
    else if (n.created && next_revision(w) == 0 && n.header_revision == 0)
        end_watch(w, EW_ERR_BAD_ANSWER, "invalid response: created without a revision");
    else if (n.created)
        on_created(w, &n);
    if (w->state == WATCH_OVER || !take_news(w, &n))
        leave_stream(w);
}

static void on_ended(void *arg, int status, const char *detail) {
    ew_watch *w = arg;
    w->stream = NULL;
    w->retry_ms = etcd_now_ms() + backoff_next_ms(&w->backoff);
    if (w->state == WATCH_WAITS) {
        bool refused = !w->created && atomic_load(&w->client->refused);
        if ((method_is_final(status) || refused) && !token_may_be_new(w, status, detail))
            end_watch(w, status, detail);
    }
    if (!w->ended_by_us)
        log_fields(EW_LOG_WARN, &w->client->log, "etcd", "watch stream ended", {"error", ew_errname(status)},
                   {"detail", detail});
}

/* ---- the stream's life ---- */

static int send_request(ew_watch *w, const Pb__WatchRequest *request) {
    ew_slice bytes = blocking_pack(request);
    int status = bytes.data ? etcd_stream_send(w->stream, bytes) : EW_ERR_NO_MEMORY;
    free((void *)(uintptr_t)bytes.data);
    return status;
}

static void open_stream(ew_watch *w) {
    etcd_stream_callbacks callbacks = {on_message, on_ended};
    Pb__WatchRequest request;
    int64_t now_ms = etcd_now_ms();
    w->ended_by_us = false;
    watch_stream_open(&w->protocol, &request, next_revision(w), now_ms,
                      w->client->watch_silence_ms << w->protocol.renewals);
    w->retry_ms = now_ms + w->client->backoff_max_ms; /* only used if opening fails because memory ran out */
    w->stream = etcd_stream_open(w->client, w->waiter->queue, ETCD_WATCH, callbacks, w);
    if (w->stream && send_request(w, &request) != EW_OK)
        leave_stream(w);
}

/* Sends a liveness probe on a silent stream, which the server may have lost. Returns whether the probe was sent. */
static bool probe(ew_watch *w) {
    Pb__WatchRequest request;
    watch_stream_probe(&w->protocol, &request, etcd_now_ms());
    return send_request(w, &request) == EW_OK;
}

static void check_silence(ew_watch *w) {
    if (!w->stream || w->ended_by_us || w->state != WATCH_WAITS)
        return;
    watch_stream_silence silence = watch_stream_check_silence(&w->protocol, etcd_now_ms());
    if (silence == WATCH_STREAM_ALIVE || (silence == WATCH_STREAM_UNASKED && probe(w)))
        return;
    if (!stream_has_begun(w->stream)) { /* it waits for a connection or a token */
        watch_stream_listen(&w->protocol, etcd_now_ms());
        return;
    }
    if (silence == WATCH_STREAM_MISSING) {
        const watch_stream_news n = watch_stream_miss(&w->protocol);
        take_news(w, &n);
    }
    log_fields(EW_LOG_INFO, &w->client->log, "etcd", "watch stream is silent; opening another one",
               {"ms", NULL, w->client->watch_silence_ms << w->protocol.renewals});
    watch_stream_renew(&w->protocol);
    leave_stream(w);
}

bool watch_is_cancelled(ew_watch *w) {
    return atomic_load(&w->cancelled) || atomic_load(&w->waiter->cancelled);
}

/* Returns for how long the user was not inside ew_watch_next. Short times do not count: a program may poll for events
 * between other work. */
static int64_t absence_ms(const ew_watch *w) {
    int64_t away_ms = etcd_now_ms() - w->away_ms, short_ms = w->client->watch_silence_ms / 4;
    return away_ms > short_ms ? away_ms - short_ms : 0;
}

/* Starts what is due: a stream, or before it a check whether etcd still has the revision that was seen. Returns when to
 * call this again. */
static int64_t pursue(ew_watch *w) {
    if (w->check.wanted && !w->stream)
        return revision_check_run(&w->check);
    if (!w->stream && etcd_now_ms() >= w->retry_ms)
        open_stream(w);
    return !w->stream ? w->retry_ms : w->ended_by_us ? INT64_MAX : w->protocol.silent_at_ms;
}

/* Ends the watch if the check found that the revision is lost, or if etcd refused the check. */
static void take_verdict(ew_watch *w) {
    if (!w->check.wanted && w->check.status != EW_OK && w->state == WATCH_WAITS)
        end_watch(w, w->check.status, w->check.detail);
}

void watch_run(ew_watch *w, int64_t deadline_ms, const bool *until) {
    bool late = false;
    waiter_begin(&w->client->waiters, w->waiter);
    w->protocol.silent_at_ms += absence_ms(w);
    while (!late && w->state == WATCH_WAITS && !*until && !watch_is_cancelled(w)) {
        etcd_queue_run(w->waiter->queue, deadline_earlier(pursue(w), deadline_ms));
        check_silence(w);
        take_verdict(w);
        late = etcd_now_ms() >= deadline_ms;
    }
    w->away_ms = etcd_now_ms();
    waiter_end(&w->client->waiters, w->waiter);
}
