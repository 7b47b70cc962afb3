/* One unary call: a single batch of six operations and one completion.
 *
 *             .--- no token ---> FETCHING ---.  the token was refused
 *             |                              v  .----------.
 *   CONNECTING '--- the channel is ready ---> SENT --------'---> answered
 *        '--- deadline ---> EXPLAINING --------------------------^
 *
 * A call is given to gRPC only once there is a connection. gRPC would wait for one itself, but then nobody could tell
 * whether a call that ran out of time had been sent; so what ends while CONNECTING or FETCHING was surely not applied
 * (ETCD P11). With a connection and a token at hand, which is nearly always, the checks cost next to nothing. */
#include "etcd/bytes.h"
#include "etcd/connection.h"
#include "etcd/denied.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* How often to look whether another call's token has come. */
#define TOKEN_WAIT_MS 10
/* How long the question why there is no connection may take. */
#define EXPLAIN_MS 500
/* Calls of gRPC's that one of ours may make: token and request, each again for every refusal, and an explanation. */
#define ATTEMPTS_MAX 10

struct etcd_call {
    queue_tag tag; /* first */
    ew_client *client;
    connection_set *set;
    int way; /* in the set */
    etcd_queue *queue;
    etcd_method method;
    int64_t deadline_ms;
    etcd_answer_fn fn;
    void *arg;
    grpc_slice request;
    atomic_bool cancelled;
    grpc_slice token;
    uint64_t generation; /* of the token */
    int refusals;        /* of tokens */

    /* The attempt under way. */
    _Atomic(grpc_call *) call;         /* for whoever cancels */
    grpc_call *attempts[ATTEMPTS_MAX]; /* all of them are kept to the end, because a cancel may be looking at one */
    int attempt_count;
    grpc_metadata metadata[CONNECTION_METADATA_MAX];
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *sending, *answer;
    grpc_status_code code;
    grpc_slice text;
};

/* ---- one attempt ---- */

static void clear_attempt(etcd_call *c) {
    if (c->answer)
        grpc_byte_buffer_destroy(c->answer);
    if (c->sending)
        grpc_byte_buffer_destroy(c->sending);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->text);
    c->answer = c->sending = NULL;
    c->text = grpc_empty_slice();
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
}

static void attempt(etcd_call *c, etcd_method method, grpc_slice request, uint32_t flags, int64_t deadline_ms,
                    void (*done)(queue_tag *, bool)) {
    clear_attempt(c);
    c->tag.done = done;
    c->sending = grpc_raw_byte_buffer_create(&request, 1);
    etcd_must(c->attempt_count < ATTEMPTS_MAX);
    grpc_call *call = connection_call(c->set, c->way, c->queue, method, deadline_ms);
    c->attempts[c->attempt_count++] = call;
    atomic_store(&c->call, call);
    if (atomic_load(&c->cancelled)) /* by somebody who did not see the call yet */
        grpc_call_cancel(call, NULL);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = flags},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->sending},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &c->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->answer},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
    };
    ops[0].data.send_initial_metadata.count = connection_metadata(method, c->token, c->metadata);
    ops[0].data.send_initial_metadata.metadata = c->metadata;
    ops[5].data.recv_status_on_client.trailing_metadata = &c->trailing;
    ops[5].data.recv_status_on_client.status = &c->code;
    ops[5].data.recv_status_on_client.status_details = &c->text;
    queue_start(call, ops, 6, &c->tag);
}

/* ---- the end ---- */

static void free_call(etcd_call *c) {
    clear_attempt(c);
    for (int i = 0; i < c->attempt_count; i++)
        grpc_call_unref(c->attempts[i]);
    grpc_slice_unref(c->request);
    grpc_slice_unref(c->token);
    connection_give(c->set);
    free(c);
}

static void finish(etcd_call *c, int status, const char *detail) {
    c->fn(c->arg, status, detail, (ew_slice){0});
    free_call(c);
}

static void finish_with_answer(etcd_call *c) {
    bytes_view view;
    if (!c->answer || !bytes_view_init(&view, c->answer)) {
        /* Status OK without a message: for a write nobody knows what it did. */
        int status = method_get(c->method)->writes ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_BAD_ANSWER;
        finish(c, status, "the answer has no message");
        return;
    }
    c->fn(c->arg, EW_OK, "", view.bytes);
    bytes_view_fini(&view);
    free_call(c);
}

static method_end end_of(etcd_call *c, char *text, size_t size) {
    bytes_text(c->text, text, size);
    bool sent = connection_may_have_sent(c->set, c->way, atomic_load(&c->call));
    return (method_end){.code = c->code, .text = text, .sent = sent, .cancelled = atomic_load(&c->cancelled)};
}

/* ---- without a connection ---- */

static void on_explained(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_call *c = (etcd_call *)tag;
    char text[256], detail[512];
    const char *unknown = c->set->targets.unknown;
    bytes_text(c->text, text, sizeof text);
    if (unknown[0])
        snprintf(detail, sizeof detail, "no connection to %s: %s", c->client->endpoints, unknown);
    else
        snprintf(detail, sizeof detail, "no connection to %s%s%s", c->client->endpoints, text[0] ? ": " : "", text);
    finish(c, EW_ERR_UNAVAILABLE, detail);
}

/* There was no connection in time. Only a call can ask gRPC why: one that does not wait, and is harmless if it happens
 * to find a connection now. */
static void explain(etcd_call *c) {
    c->way = 0;
    attempt(c, ETCD_STATUS, grpc_empty_slice(), 0, etcd_now_ms() + EXPLAIN_MS, on_explained);
}

static void proceed(etcd_call *c);

static void on_waited(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_call *c = (etcd_call *)tag;
    if (atomic_load(&c->cancelled))
        finish(c, EW_ERR_CANCELLED, "cancelled before it was sent");
    else if (etcd_now_ms() >= c->deadline_ms)
        explain(c);
    else
        proceed(c);
}

typedef void (*wait_fn)(connection_set *, etcd_queue *, etcd_method, int64_t, queue_tag *);

static void wait_by(etcd_call *c, wait_fn wait, int64_t wait_ms) {
    int64_t until_ms = etcd_now_ms() + wait_ms;
    c->tag.done = on_waited;
    wait(c->set, c->queue, c->method, until_ms < c->deadline_ms ? until_ms : c->deadline_ms, &c->tag);
}

/* ---- the token ---- */

static void on_token(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_call *c = (etcd_call *)tag;
    char text[256], detail[300];
    method_end end = end_of(c, text, sizeof text);
    int status = method_status(ETCD_AUTHENTICATE, &end);
    bytes_view view;
    if (status == EW_OK && c->answer && bytes_view_init(&view, c->answer)) {
        status = auth_made(&c->client->auth, view.bytes);
        bytes_view_fini(&view);
    } else if (method_wants_no_token(text)) {
        auth_not_wanted(&c->client->auth);
        status = EW_OK;
    } else {
        auth_failed(&c->client->auth);
        status = status == EW_OK ? EW_ERR_BAD_ANSWER : status;
    }
    if (status == EW_OK) {
        proceed(c);
        return;
    }
    snprintf(detail, sizeof detail, "authentication: %s", text);
    finish(c, status == EW_ERR_TIMEOUT ? EW_ERR_UNAVAILABLE : status, detail);
}

static void fetch_token(etcd_call *c) {
    if (c->attempt_count >= ATTEMPTS_MAX - 2) {
        auth_failed(&c->client->auth);
        finish(c, EW_ERR_UNAUTHENTICATED, "authentication: every token is refused at once");
        return;
    }
    ew_slice bytes = auth_request(&c->client->auth);
    if (!bytes.data) {
        auth_failed(&c->client->auth);
        wait_by(c, connection_pause, TOKEN_WAIT_MS); /* for memory */
        return;
    }
    grpc_slice request = grpc_slice_from_copied_buffer(bytes.data, bytes.len);
    free((void *)(uintptr_t)bytes.data);
    attempt(c, ETCD_AUTHENTICATE, request, connection_flags(c->set), c->deadline_ms, on_token);
    grpc_slice_unref(request);
}

/* ---- the request ---- */

static void finish_denied(etcd_call *c, const char *text) {
    char detail[512];
    ew_slice request = {GRPC_SLICE_START_PTR(c->request), GRPC_SLICE_LENGTH(c->request)};
    denied_write(detail, sizeof detail, text, c->method, request);
    finish(c, EW_ERR_DENIED, detail);
}

static void on_answered(queue_tag *tag, bool ok) {
    (void)ok; /* the status says more */
    etcd_call *c = (etcd_call *)tag;
    char text[256];
    if (c->code == GRPC_STATUS_OK) {
        finish_with_answer(c);
        return;
    }
    method_end end = end_of(c, text, sizeof text);
    if (c->code == GRPC_STATUS_UNAVAILABLE)
        names_doubt(&c->client->makings.names);
    if (auth_is_on(&c->client->auth) && c->refusals < AUTH_REFUSALS_MAX && method_token_is_stale(text)) {
        c->refusals++;
        auth_refused(&c->client->auth, c->generation);
        proceed(c);
        return;
    }
    int status = method_status(c->method, &end);
    if (status == EW_ERR_DENIED)
        finish_denied(c, text);
    else
        finish(c, status, text);
}

/* What can be done now: wait for a connection, make a token, or send. */
static void proceed(etcd_call *c) {
    auth *a = &c->client->auth;
    int way = connection_find(c->client, &c->set, c->method);
    if (way == NO_WAY) {
        wait_by(c, connection_wait, CONNECT_WAIT_MS);
        return;
    }
    c->way = way;
    if (auth_is_on(a) && !method_get(c->method)->authenticates) {
        grpc_slice_unref(c->token);
        c->token = grpc_empty_slice();
        switch (auth_get(a, AUTH_ANY_AGE, &c->token, &c->generation)) {
        case AUTH_READY:
            break;
        case AUTH_FETCH:
            fetch_token(c);
            return;
        case AUTH_WAIT:
            wait_by(c, connection_pause, TOKEN_WAIT_MS);
            return;
        }
    }
    attempt(c, c->method, c->request, connection_flags(c->set), c->deadline_ms, on_answered);
}

etcd_call *etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                           etcd_answer_fn fn, void *arg) {
    etcd_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->client = client;
    c->set = connection_take(client);
    c->queue = q;
    c->method = method;
    c->deadline_ms = etcd_now_ms() + timeout_ms;
    c->fn = fn;
    c->arg = arg;
    c->token = grpc_empty_slice();
    c->text = grpc_empty_slice();
    c->request = grpc_slice_from_copied_buffer(request.data, request.len);
    proceed(c);
    return c;
}

void etcd_call_cancel(etcd_call *call) {
    atomic_store(&call->cancelled, true);
    grpc_call *sent = atomic_load(&call->call);
    if (sent)
        grpc_call_cancel(sent, NULL);
}
