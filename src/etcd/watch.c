/* A pulled watch: its stream makes progress only while the user is inside ew_watch_next, and is paused when a batch is
 * ready. So a slow user applies back-pressure to etcd instead of filling memory. */
#include "etcd/blocking.h"
#include "etcd/denied.h"
#include "etcd/identity.h"
#include "etcd/request.h"
#include "etcd/result.h"
#include "etcd/watch_private.h"

#include "core/argument.h"
#include "core/slice.h"
#include "core/watch_events.h"

#include <stdlib.h>

/* Makes a deep copy of what to watch. */
static int make_request(ew_watch *w, ew_keys keys, const ew_watch_options *o, ew_error *err) {
    range r;
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
    ew_slice bytes = blocking_pack(&create);
    w->request = bytes.data ? pb__watch_create_request__unpack(NULL, bytes.len, bytes.data) : NULL;
    free((void *)(uintptr_t)bytes.data);
    range_fini(&r);
    return w->request ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "watch");
}

static int fail_with_its_end(const ew_watch *w, ew_error *err) {
    char detail[512];
    if (w->status != EW_ERR_DENIED)
        return ew_fail(err, w->status, "%s", w->detail);
    denied_write_watch(detail, sizeof detail, w->detail, slice_of(w->request->key), slice_of(w->request->range_end));
    return ew_fail(err, EW_ERR_DENIED, "%s", detail);
}

static int wait_until_created(ew_watch *w, ew_error *err) {
    watch_run(w, etcd_now_ms() + w->client->call_timeout_ms, &w->created);
    if (w->created)
        return EW_OK; /* even if the watch has ended since: ew_watch_next reports its end */
    if (w->state == WATCH_OVER)
        return fail_with_its_end(w, err);
    if (watch_is_cancelled(w))
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
    w->start = o.start_revision;
    backoff_init(&w->backoff, client->backoff_min_ms, client->backoff_max_ms);
    w->check = (revision_check){.client = client, .queue = w->waiter->queue, .timeout_ms = client->call_timeout_ms};
    backoff_init(&w->check.backoff, client->backoff_min_ms, client->backoff_max_ms);
    status = make_request(w, keys, &o, err);
    if (status == EW_OK) {
        w->protocol = (watch_stream){.create = *w->request,
                                     .joined_max = client->max_receive_bytes,
                                     .silence_ms = client->watch_silence_ms,
                                     .copies = true};
        w->check.key = slice_of(w->request->key);
    }
    if (status == EW_OK)
        status = wait_until_created(w, err);
    if (status == EW_OK)
        *out = w;
    else
        ew_watch_close(w);
    return status;
}

/* ---- batches ---- */

static bool read_kv(ew_kv *out, const watch_event *e) {
    const Pb__KeyValue kv = {.key = slice_bytes(e->key),
                             .value = slice_bytes(e->value),
                             .create_revision = e->create_revision,
                             .mod_revision = e->mod_revision,
                             .version = e->version,
                             .lease = e->lease};
    return result_kv(out, &kv);
}

static bool read_event(ew_watch_event *out, const watch_event *e) {
    watch_event previous;
    *out = (ew_watch_event){.kind = e->type == PB__EVENT__EVENT_TYPE__PUT ? EW_EVENT_PUT : EW_EVENT_DELETE};
    bool whole = read_kv(&out->kv, e);
    if (out->kind == EW_EVENT_PUT && !whole)
        return false; /* only a put must be whole: a delete event has only a key and a revision */
    out->has_previous = e->previous.data != NULL;
    return !out->has_previous || (watch_events_kv(e->previous, &previous) && read_kv(&out->previous, &previous));
}

int watch_batch_read(watch_batch *b, const watch_stream_news *n, int64_t first) {
    watch_event e;
    watch_events events = watch_events_of(n->bytes);
    ew_watch_event *space = n->count > b->capacity ? realloc(b->events, n->count * sizeof *space) : b->events;
    b->count = 0;
    if (!space)
        return EW_ERR_NO_MEMORY;
    b->events = space;
    b->capacity = n->count > b->capacity ? n->count : b->capacity;
    while (watch_events_next(&events, &e)) {
        if (e.mod_revision < first || e.mod_revision > n->revision)
            continue;
        if (!read_event(&b->events[b->count], &e)) {
            b->count = 0;
            return EW_ERR_BAD_ANSWER;
        }
        b->count++;
    }
    return EW_OK;
}

static void take_back(ew_watch *w) {
    w->given = false;
    w->state = WATCH_WAITS;
    w->batch.count = 0;
    watch_stream_take_back(&w->protocol);
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
    watch_run(w, waiter_deadline_ms(timeout_ms), &never);
    if (w->state != WATCH_OVER && watch_is_cancelled(w))
        return ew_fail(err, EW_ERR_CANCELLED, "watch");
    if (w->state == WATCH_WAITS)
        return ew_fail(err, EW_ERR_TIMEOUT, "watch: no events within %lld ms", (long long)timeout_ms);
    batch->revision = w->revision;
    if (w->state == WATCH_OVER)
        return fail_with_its_end(w, err);
    batch->count = w->batch.count;
    batch->events = w->batch.count > 0 ? w->batch.events : NULL;
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
    watch_stream_fini(&w->protocol);
    free(w->batch.events);
    if (w->request)
        pb__watch_create_request__free_unpacked(w->request, NULL);
    free(w);
}
