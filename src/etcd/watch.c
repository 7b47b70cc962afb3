/* A watch that is pulled: its stream makes progress only while its user is inside ew_watch_next, and is paused when a
 * batch is ready. So a slow user applies back-pressure to etcd instead of filling memory. */
#include "etcd/backoff.h"
#include "etcd/denied.h"
#include "etcd/identity.h"
#include "etcd/request.h"
#include "etcd/revision_check.h"
#include "etcd/watch_response.h"

#include "core/argument.h"
#include "core/log.h"
#include "core/slice.h"

#include <stdio.h>
#include <stdlib.h>

/* The silence timer is at most 2 to the power of this times watch_silence_ms. */
#define RENEWALS_MAX 4

/* After this many silent streams that have not shown the last delivered events again, these count as missing. */
#define SILENT_MAX 2

struct ew_watch {
    ew_client *client;
    waiter *waiter;
    Pb__WatchRequest *request;
    etcd_stream *stream;
    watch_reader reader;
    watch_news news;   /* WATCH_EVENTS or WATCH_PROGRESS: a batch to deliver; WATCH_OVER: the watch has ended */
    bool given;        /* the batch was delivered; the user may read it until the next call */
    bool created;      /* etcd has confirmed the watch at least once */
    bool ended_by_us;  /* the stream was cancelled, because it is broken or the watch is closed */
    int64_t retry_ms;  /* when to open the stream again */
    int64_t silent_ms; /* when the stream counts as silent; only the time in which the user waits counts */
    int64_t away_ms;   /* since when the user does not wait */
    bool asked;        /* a liveness probe was sent */
    int renewals;      /* silent streams that were replaced, in a row */
    int refusals;      /* refused tokens, in a row */
    revision_check check;
    backoff backoff;
    atomic_bool cancelled;
};

/* Returns whether another token may help. A member that lags does not know the newest token yet, so the watch tries
 * again after a pause, AUTH_REFUSALS_MAX times at most. */
static bool token_may_be_new(ew_watch *w, int status, const char *detail) {
    return status == EW_ERR_UNAUTHENTICATED && method_token_is_stale(detail) && w->refusals++ < AUTH_REFUSALS_MAX;
}

/* Restarts the silence timer. During a large message on a slow connection a stream is silent, too, and must have time
 * to receive it. So each replaced stream gives the next one twice the time. */
static void restart_silence(ew_watch *w) {
    w->asked = false;
    w->silent_ms = etcd_now_ms() + (w->client->watch_silence_ms << w->renewals);
}

static void leave_stream(ew_watch *w) {
    w->ended_by_us = true;
    etcd_stream_cancel(w->stream);
}

static void on_message(void *arg, ew_slice bytes) {
    ew_watch *w = arg;
    w->reader.asked = w->asked;
    restart_silence(w);
    w->reader.cluster_id = atomic_load(&w->client->cluster_id);
    watch_news news = watch_reader_take(&w->reader, bytes);
    if (w->reader.cluster_id != 0 && !connection_is_same_cluster(w->client, w->reader.cluster_id))
        news = watch_reader_end(&w->reader, EW_ERR_WRONG_CLUSTER, "the cluster id differs from the client's");
    switch (news) {
    case WATCH_NOTHING:
        return;
    case WATCH_CREATED:
        w->created = true;
        w->refusals = 0;
        backoff_reset(&w->backoff);
        return;
    case WATCH_EVENTS:
    case WATCH_PROGRESS:
        w->renewals = 0;
        restart_silence(w);
        w->news = news;
        if (w->reader.cut)
            break;
        etcd_stream_pause(w->stream);
        return;
    case WATCH_OVER:
        if (token_may_be_new(w, w->reader.status, w->reader.detail))
            etcd_stream_refuse_token(w->stream);
        else
            w->news = news;
        break;
    case WATCH_DOUBTED:
        log_fields(EW_LOG_WARN, &w->client->log, "etcd",
                   "a member's revision is below the one seen; checking whether etcd was restored",
                   {"revision", NULL, w->reader.revision}, {"seen", NULL, w->reader.seen});
        revision_check_want(&w->check, w->reader.seen);
        break;
    case WATCH_BROKEN:
        break;
    }
    leave_stream(w);
}

static void on_ended(void *arg, int status, const char *detail) {
    ew_watch *w = arg;
    w->stream = NULL;
    w->retry_ms = etcd_now_ms() + backoff_next_ms(&w->backoff);
    if (w->news == WATCH_NOTHING) {
        watch_reader_clear(&w->reader); /* an incomplete batch is sent again */
        bool refused = !w->created && atomic_load(&w->client->refused);
        if ((watch_is_final(status) || refused) && !token_may_be_new(w, status, detail)) {
            w->news = WATCH_OVER;
            w->reader.status = status;
            snprintf(w->reader.detail, sizeof w->reader.detail, "watch: %s", detail);
        }
    }
    if (!w->ended_by_us)
        log_fields(EW_LOG_WARN, &w->client->log, "etcd", "watch stream ended", {"error", ew_errname(status)},
                   {"detail", detail});
}

static int send_request(ew_watch *w, const Pb__WatchRequest *request) {
    ew_slice bytes = blocking_pack(request);
    int status = bytes.data ? etcd_stream_send(w->stream, bytes) : EW_ERR_NO_MEMORY;
    free((void *)(uintptr_t)bytes.data);
    return status;
}

static void open_stream(ew_watch *w) {
    etcd_stream_callbacks callbacks = {on_message, on_ended};
    w->ended_by_us = false;
    w->request->create_request->start_revision = watch_reader_begin(&w->reader);
    restart_silence(w);
    w->retry_ms = etcd_now_ms() + w->client->backoff_max_ms; /* only used if the open fails for lack of memory */
    w->stream = etcd_stream_open(w->client, w->waiter->queue, ETCD_WATCH, callbacks, w);
    if (w->stream && send_request(w, w->request) != EW_OK)
        leave_stream(w);
}

/* Handles a silent stream, which the server may have lost: sends a liveness probe, waits as long again, then replaces
 * the stream. The reply may overtake events (P2), so it proves only that the stream is alive. */
static void check_silence(ew_watch *w) {
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    Pb__WatchProgressRequest progress = PB__WATCH_PROGRESS_REQUEST__INIT;
    request.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    if (!w->stream || w->ended_by_us || w->news != WATCH_NOTHING || etcd_now_ms() < w->silent_ms)
        return;
    if (!stream_has_begun(w->stream)) { /* it waits for a connection or a token */
        restart_silence(w);
        return;
    }
    if (!w->asked && w->reader.created && send_request(w, &request) == EW_OK) {
        restart_silence(w);
        w->asked = true;
        return;
    }
    if (w->reader.created && w->reader.unconfirmed && w->renewals >= SILENT_MAX)
        w->news = watch_reader_miss(&w->reader);
    log_fields(EW_LOG_INFO, &w->client->log, "etcd", "watch stream is silent; opening another one",
               {"ms", NULL, w->client->watch_silence_ms << w->renewals});
    if (w->renewals < RENEWALS_MAX)
        w->renewals++;
    leave_stream(w);
}

static bool is_cancelled(ew_watch *w) {
    return atomic_load(&w->cancelled) || atomic_load(&w->waiter->cancelled);
}

/* Returns how long the user has not waited. Short absences do not count: a program may poll for events between other
 * work. */
static int64_t absence_ms(const ew_watch *w) {
    int64_t away_ms = etcd_now_ms() - w->away_ms, short_ms = w->client->watch_silence_ms / 4;
    return away_ms > short_ms ? away_ms - short_ms : 0;
}

/* Starts what is due: a stream, or before that a check whether etcd still has what was seen. Returns when to call this
 * again. */
static int64_t pursue(ew_watch *w) {
    if (w->check.wanted && !w->stream)
        return revision_check_run(&w->check);
    if (!w->stream && etcd_now_ms() >= w->retry_ms)
        open_stream(w);
    return !w->stream ? w->retry_ms : w->ended_by_us ? INT64_MAX : w->silent_ms;
}

/* Ends the watch if the check found that the revision is lost, or if etcd refused the check. */
static void take_verdict(ew_watch *w) {
    if (w->check.wanted || w->check.status == EW_OK || w->news != WATCH_NOTHING)
        return;
    w->news = WATCH_OVER;
    w->reader.status = w->check.status;
    snprintf(w->reader.detail, sizeof w->reader.detail, "%s", w->check.detail);
}

/* Runs the watch until `*until` is true, there is something to deliver, or the deadline; at least once, so that a
 * deadline in the past handles what is ready. */
static void run(ew_watch *w, int64_t deadline_ms, const bool *until) {
    bool late = false;
    waiter_begin(&w->client->waiters, w->waiter);
    w->silent_ms += absence_ms(w);
    while (!late && w->news == WATCH_NOTHING && !*until && !is_cancelled(w)) {
        int64_t due_ms = pursue(w);
        etcd_queue_run(w->waiter->queue, due_ms < deadline_ms ? due_ms : deadline_ms);
        check_silence(w);
        take_verdict(w);
        late = etcd_now_ms() >= deadline_ms;
    }
    w->away_ms = etcd_now_ms();
    waiter_end(&w->client->waiters, w->waiter);
}

static int pack_request(ew_watch *w, ew_keys keys, const ew_watch_options *o, ew_error *err) {
    range r;
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    Pb__WatchCreateRequest create = PB__WATCH_CREATE_REQUEST__INIT;
    Pb__WatchCreateRequest__FilterType filters[2];
    int status = range_init(&r, keys, err);
    if (status != EW_OK)
        return status;
    create.filters = filters;
    if (o->no_puts)
        filters[create.n_filters++] = PB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
    if (o->no_deletes)
        filters[create.n_filters++] = PB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    create.key = slice_bytes(r.key);
    create.range_end = slice_bytes(r.end);
    create.prev_kv = o->previous;
    create.progress_notify = o->progress;
    create.fragment = true; /* P3: without it, a message of 10.8 MB was seen */
    request.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    /* A deep copy. */
    ew_slice bytes = blocking_pack(&request);
    w->request = bytes.data ? pb__watch_request__unpack(NULL, bytes.len, bytes.data) : NULL;
    free((void *)(uintptr_t)bytes.data);
    range_fini(&r);
    return w->request ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "watch");
}

static int fail_with_its_end(const ew_watch *w, ew_error *err) {
    if (w->reader.status == EW_ERR_DENIED) {
        const Pb__WatchCreateRequest *r = w->request->create_request;
        char detail[512];
        denied_write_watch(detail, sizeof detail, w->reader.detail, (ew_slice){r->key.data, r->key.len},
                           (ew_slice){r->range_end.data, r->range_end.len});
        return ew_fail(err, EW_ERR_DENIED, "%s", detail);
    }
    return ew_fail(err, w->reader.status, "%s", w->reader.detail);
}

static int wait_until_created(ew_watch *w, ew_error *err) {
    run(w, etcd_now_ms() + w->client->call_timeout_ms, &w->created);
    if (w->created)
        return EW_OK; /* also if it has ended since: ew_watch_next reports that */
    if (w->news == WATCH_OVER)
        return fail_with_its_end(w, err);
    if (is_cancelled(w))
        return ew_fail(err, EW_ERR_CANCELLED, "watch");
    if (w->stream && stream_has_begun(w->stream))
        return ew_fail(err, EW_ERR_UNAVAILABLE, "watch: no answer from %s", w->client->endpoints);
    char why[256];
    identity_explain(w->client, w->waiter->queue, ETCD_WATCH, why, sizeof why);
    return ew_fail(err, EW_ERR_UNAVAILABLE, "watch: %s", why);
}

ew_status ew_watch_open(ew_watch **out, ew_client *client, ew_keys keys, const ew_watch_options *options,
                        ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(client, err);
    if (status != EW_OK)
        return status;
    ew_watch_options o;
    if (!blocking_options(&o, sizeof o, options, options ? options->size : 0))
        return ew_fail(err, EW_ERR_INVALID, "ew_watch_options: size is not set");
    if (o.start_revision < 0)
        return ew_fail(err, EW_ERR_INVALID, "watch: start_revision must not be negative");
    ew_watch *w = calloc(1, sizeof *w);
    if (!w || !(w->waiter = waiter_take(&client->waiters))) {
        free(w);
        return ew_fail(err, EW_ERR_NO_MEMORY, "watch");
    }
    w->client = client;
    w->reader.next_revision = o.start_revision;
    w->reader.max_bytes = client->max_receive_bytes;
    backoff_init(&w->backoff, client->backoff_min_ms, client->backoff_max_ms);
    status = pack_request(w, keys, &o, err);
    w->check = (revision_check){.client = client, .queue = w->waiter->queue, .timeout_ms = client->call_timeout_ms};
    backoff_init(&w->check.backoff, client->backoff_min_ms, client->backoff_max_ms);
    if (status == EW_OK) {
        const ProtobufCBinaryData key = w->request->create_request->key;
        w->check.key = (ew_slice){key.data, key.len};
    }
    if (status == EW_OK)
        status = wait_until_created(w, err);
    if (status == EW_OK)
        *out = w;
    else
        ew_watch_close(w);
    return status;
}

static void take_back(ew_watch *w) {
    w->given = false;
    w->news = WATCH_NOTHING;
    watch_reader_clear(&w->reader);
    if (w->stream)
        etcd_stream_resume(w->stream);
}

ew_status ew_watch_next(ew_watch *w, int64_t timeout_ms, ew_watch_batch *batch, ew_error *err) {
    if (ARGUMENT_MISSING(w, err) || ARGUMENT_MISSING(batch, err))
        return EW_ERR_INVALID;
    const bool never = false;
    *batch = (ew_watch_batch){0};
    int status = etcd_check_process(w->client, err);
    if (status != EW_OK)
        return status;
    if (w->given)
        take_back(w);
    run(w, waiter_deadline_ms(timeout_ms), &never);
    if (w->news != WATCH_OVER && is_cancelled(w))
        return ew_fail(err, EW_ERR_CANCELLED, "watch");
    if (w->news == WATCH_NOTHING)
        return ew_fail(err, EW_ERR_TIMEOUT, "watch: no events within %lld ms", (long long)timeout_ms);
    batch->revision = w->reader.revision;
    if (w->news == WATCH_OVER)
        return fail_with_its_end(w, err);
    if (w->news == WATCH_EVENTS) {
        batch->events = w->reader.events;
        batch->count = w->reader.event_count;
    }
    w->given = true;
    return EW_OK;
}

int ew_watch_run(ew_watch *w, ew_watch_fn fn, void *arg, ew_error *err) {
    if (ARGUMENT_MISSING(w, err) || ARGUMENT_MISSING(fn, err))
        return EW_ERR_INVALID;
    ew_watch_batch batch;
    int status;
    do {
        status = ew_watch_next(w, -1, &batch, err);
        if (status == EW_OK)
            status = fn(arg, &batch);
    } while (status == EW_OK);
    return status;
}

void ew_watch_cancel(ew_watch *w) {
    if (!w || etcd_check_process(w->client, NULL) != EW_OK)
        return;
    atomic_store(&w->cancelled, true);
    etcd_queue_wake(w->waiter->queue);
}

void ew_watch_close(ew_watch *w) {
    if (!w || etcd_check_process(w->client, NULL) != EW_OK)
        return;
    w->ended_by_us = true;
    if (w->stream)
        etcd_stream_cancel(w->stream);
    while (w->stream)
        etcd_queue_run(w->waiter->queue, INT64_MAX);
    revision_check_end(&w->check);
    waiter_give(&w->client->waiters, w->waiter);
    watch_reader_fini(&w->reader);
    if (w->request)
        pb__watch_request__free_unpacked(w->request, NULL);
    free(w);
}
