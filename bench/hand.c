#include "hand.h"

#include <stdlib.h>

enum { CALL_TIMEOUT_MS = 30000, TURN_MS = 60000 };

struct hand_watch {
    hand *hand;
    etcd_stream *stream;
    hand_events_fn events;
    void *arg;
    bool created, closing, ended;
};

void hand_open(hand *h, const role_args *a) {
    ew_error err = {0};
    *h = (hand){.options = args_options(a)};
    if (ew_client_open(&h->client, h->options, &err) != EW_OK)
        role_fail("%s", err.detail);
    h->queue = etcd_queue_new();
    if (!h->queue)
        role_fail("out of memory");
}

void hand_close(hand *h) {
    etcd_queue_free(h->queue);
    ew_client_close(h->client);
    ew_options_free(h->options);
}

void hand_turn(hand *h) {
    int64_t deadline_ms = etcd_now_ms() + TURN_MS;
    etcd_queue_run(h->queue, deadline_ms);
    if (etcd_now_ms() >= deadline_ms)
        role_fail("etcd: no answer or event for a minute");
}

void hand_txn(hand *h, const Pb__TxnRequest *request, etcd_answer_fn fn, void *arg) {
    uint8_t small[4096];
    size_t size = pb__txn_request__get_packed_size(request);
    uint8_t *bytes = size <= sizeof small ? small : malloc(size);
    if (!bytes)
        role_fail("out of memory");
    pb__txn_request__pack(request, bytes);
    if (!etcd_call_start(h->client, h->queue, ETCD_TXN, (ew_slice){bytes, size}, CALL_TIMEOUT_MS, fn, arg))
        role_fail("out of memory");
    if (bytes != small)
        free(bytes);
}

static void on_message(void *arg, ew_slice bytes) {
    hand_watch *w = arg;
    Pb__WatchResponse *r = pb__watch_response__unpack(NULL, bytes.len, bytes.data);
    if (!r || r->canceled)
        role_fail("etcd cancelled the watch: %s", r ? r->cancel_reason : "malformed response");
    w->created |= r->created;
    if (r->n_events > 0)
        w->events(w->arg, r);
    pb__watch_response__free_unpacked(r, NULL);
}

static void on_ended(void *arg, int status, const char *detail) {
    hand_watch *w = arg;
    if (!w->closing)
        role_fail("the watch stream ended: %s: %s", ew_strerror(status), detail);
    w->ended = true;
}

static void ask(hand_watch *w, const char *prefix, int64_t revision) {
    Pb__WatchCreateRequest create = PB__WATCH_CREATE_REQUEST__INIT;
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    char end[256];
    size_t len = strlen(prefix);
    if (len == 0 || len >= sizeof end)
        role_fail("invalid length of the prefix: %zu bytes", len);
    memcpy(end, prefix, len);
    end[len - 1]++;
    create.key = hand_bytes(prefix, len);
    create.range_end = hand_bytes(end, len);
    create.start_revision = revision;
    create.fragment = true;
    request.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    uint8_t bytes[1024];
    if (etcd_stream_send(w->stream, (ew_slice){bytes, pb__watch_request__pack(&request, bytes)}) != EW_OK)
        role_fail("out of memory");
}

hand_watch *hand_watch_open(hand *h, const char *prefix, int64_t revision, hand_events_fn events, void *arg) {
    hand_watch *w = calloc(1, sizeof *w);
    if (!w)
        role_fail("out of memory");
    *w = (hand_watch){.hand = h, .events = events, .arg = arg};
    w->stream = etcd_stream_open(h->client, h->queue, ETCD_WATCH, (etcd_stream_callbacks){on_message, on_ended}, w);
    if (!w->stream)
        role_fail("out of memory");
    ask(w, prefix, revision);
    while (!w->created)
        hand_turn(h);
    return w;
}

void hand_watch_close(hand_watch *w) {
    w->closing = true;
    etcd_stream_cancel(w->stream);
    while (!w->ended)
        hand_turn(w->hand);
    free(w);
}
