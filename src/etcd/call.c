/* A unary call: one batch of six operations, and one completion.
 *
 *             .--- not asked ---> ASKING ----.
 *             |                     | only as a user
 *             .--- no token ----> FETCHING --'  the token was refused
 *             |                              v  .----------.
 *   CONNECTING '--- connected and verified --> SENT -------'---> answered
 *        '--- deadline ---> EXPLAINING --------------------------^
 *
 * A call is given to gRPC only when there is a connection. gRPC could wait for the connection itself, but then a call
 * that timed out might have been sent or not. This way, a call that ends while CONNECTING, ASKING or FETCHING was
 * certainly not applied (ETCD P11). A call is not sent before its endpoint is known to belong to the client's cluster
 * (identity.h). Nearly always the connection is verified and there is a token; then the checks cost almost nothing. */
#include "etcd/bytes.h"
#include "etcd/connection.h"
#include "etcd/denied.h"
#include "etcd/identity.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* How often to check whether another call has made a token. */
#define TOKEN_WAIT_MS 10
/* How many tokens one call may fetch. */
#define TOKENS_MAX 8

struct etcd_call {
    queue_tag tag; /* first */
    ew_client *client;
    connection_set *set;
    int which; /* index of the backend in the set */
    etcd_queue *queue;
    etcd_method method;
    int64_t deadline_ms;
    etcd_answer_fn fn;
    void *arg;
    grpc_slice request;
    pthread_mutex_t lock; /* protects the next three fields: any thread may cancel */
    bool cancelled;
    grpc_call *call; /* the current attempt, or the last one */
    inquiry *asking;
    grpc_slice token;
    uint64_t generation; /* of the token */
    int refusals;        /* tokens that were refused */
    int tokens;          /* tokens that were fetched */
    bool ask_with_token; /* an endpoint names its cluster only to users */
    int64_t why_ms;      /* when to ask again why there is no connection */

    /* The current attempt. */
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

/* Makes the call visible to etcd_call_cancel. If that was called before, cancels the call here. */
static void show_call(etcd_call *c, grpc_call *call) {
    pthread_mutex_lock(&c->lock);
    grpc_call *before = c->call;
    c->call = call;
    if (c->cancelled)
        grpc_call_cancel(call, NULL);
    pthread_mutex_unlock(&c->lock);
    if (before)
        grpc_call_unref(before);
}

static bool is_cancelled(etcd_call *c) {
    pthread_mutex_lock(&c->lock);
    bool cancelled = c->cancelled;
    pthread_mutex_unlock(&c->lock);
    return cancelled;
}

static void attempt(etcd_call *c, etcd_method method, grpc_slice request, void (*done)(queue_tag *, bool)) {
    clear_attempt(c);
    c->tag.done = done;
    c->sending = grpc_raw_byte_buffer_create(&request, 1);
    grpc_call *call = connection_call(c->set, c->which, c->queue, method, c->deadline_ms);
    show_call(c, call);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
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
    if (c->call)
        grpc_call_unref(c->call);
    pthread_mutex_destroy(&c->lock);
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
        /* Status OK without a message: the outcome of a write is unknown. */
        int status = method_get(c->method)->writes ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_BAD_ANSWER;
        finish(c, status, "the response has no message");
        return;
    }
    c->fn(c->arg, EW_OK, "", view.bytes);
    bytes_view_fini(&view);
    free_call(c);
}

static method_end end_of(etcd_call *c, char *text, size_t size) {
    bytes_text(c->text, text, size);
    return (method_end){.code = c->code, .text = text, .cancelled = is_cancelled(c)};
}

/* ---- without a connection ---- */

static void proceed(etcd_call *c);
static void explain(etcd_call *c);

static void on_waited(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_call *c = (etcd_call *)tag;
    int64_t now_ms = etcd_now_ms();
    if (is_cancelled(c))
        finish(c, EW_ERR_CANCELLED, "cancelled before it was sent");
    else if (now_ms >= c->deadline_ms || (now_ms >= c->why_ms && connection_fails(c->set, c->method)))
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

/* Makes the inquiry visible to etcd_call_cancel; false if that was called before. */
static bool show_inquiry(etcd_call *c, inquiry *asking) {
    pthread_mutex_lock(&c->lock);
    c->asking = asking;
    bool cancelled = c->cancelled;
    pthread_mutex_unlock(&c->lock);
    return !cancelled;
}

static void begin_inquiry(etcd_call *c, inquiry *asking, inquiry_fn fn) {
    if (!show_inquiry(c, asking))
        inquiry_cancel(asking);
    inquiry_start(asking, fn, c);
}

static void on_explained(void *arg, int status, const char *detail) {
    etcd_call *c = arg;
    show_inquiry(c, NULL);
    if (is_cancelled(c))
        finish(c, EW_ERR_CANCELLED, "cancelled before it was sent");
    else if (etcd_now_ms() >= c->deadline_ms || atomic_load(&c->client->refused))
        finish(c, status, detail);
    else
        proceed(c);
}

/* Finds out why there is no connection. gRPC reports the reason only to calls, so the inquiry makes some that do not
 * wait for a connection. They are harmless if there is a connection by now. A reason that does not go away with time
 * ends the call at once. */
static void explain(etcd_call *c) {
    inquiry *why = inquiry_new_why(c->client, c->set, c->method, c->queue);
    c->why_ms = etcd_now_ms() + WHY_INTERVAL_MS;
    if (why) {
        begin_inquiry(c, why, on_explained);
    } else {
        char detail[256];
        snprintf(detail, sizeof detail, "no connection to %s: %s", c->client->endpoints, c->set->targets.unknown);
        finish(c, EW_ERR_UNAVAILABLE, detail);
    }
}

/* ---- which cluster the endpoint belongs to ---- */

static void go_on(etcd_call *c);

static void on_answered(queue_tag *tag, bool ok);

/* Repeats the identity query with a token, because the endpoint names its cluster only to users. A call that makes a
 * token has no token to ask with, so it is sent. */
static void ask_as_user(etcd_call *c, const char *detail) {
    if (method_get(c->method)->authenticates) {
        attempt(c, c->method, c->request, on_answered);
    } else if (!c->ask_with_token) {
        c->ask_with_token = true;
        go_on(c);
    } else if (c->refusals < AUTH_REFUSALS_MAX) {
        c->refusals++;
        auth_refused(&c->client->auth, c->generation);
        proceed(c);
    } else {
        finish(c, EW_ERR_UNAUTHENTICATED, detail);
    }
}

static void ask_later(etcd_call *c, int status) {
    if (status == EW_ERR_TIMEOUT && c->ask_with_token)
        auth_refused(&c->client->auth, c->generation); /* it may belong to another cluster (identity.h) */
    wait_by(c, connection_pause, CONNECT_WAIT_MS);
}

static void on_asked(void *arg, int status, const char *detail) {
    etcd_call *c = arg;
    show_inquiry(c, NULL);
    if (is_cancelled(c))
        finish(c, EW_ERR_CANCELLED, "cancelled before it was sent");
    else if (status == EW_OK && connection_is_verified(c->set, c->which, c->method))
        go_on(c);
    else if (status == EW_OK)
        proceed(c);
    else if (status == EW_ERR_UNAVAILABLE || status == EW_ERR_TIMEOUT)
        ask_later(c, status);
    else if (status == EW_ERR_UNAUTHENTICATED)
        ask_as_user(c, detail);
    else
        finish(c, status, detail);
}

static void ask(etcd_call *c) {
    inquiry *i = inquiry_new(c->client, c->set, c->which, c->method, c->queue, c->token, c->deadline_ms);
    if (i)
        begin_inquiry(c, i, on_asked);
    else
        wait_by(c, connection_pause, CONNECT_WAIT_MS); /* out of memory: try again */
}

/* ---- the token ---- */

/* Sends the identity query to the member that made the token, since the others may not know the token yet. */
static void continue_with_token(etcd_call *c) {
    if (c->ask_with_token && !connection_is_verified(c->set, c->which, c->method))
        go_on(c);
    else
        proceed(c);
}

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
    } else if (status == EW_ERR_UNAUTHENTICATED) {
        auth_verdict verdict = auth_refuse_password(&c->client->auth, text);
        status = verdict == AUTH_CHANGED ? EW_OK : verdict == AUTH_LATER ? EW_ERR_UNAVAILABLE : status;
    } else {
        auth_failed(&c->client->auth);
        status = status == EW_OK ? EW_ERR_BAD_ANSWER : status;
    }
    if (status == EW_OK) {
        continue_with_token(c);
        return;
    }
    snprintf(detail, sizeof detail, "authentication: %s", text);
    finish(c, status == EW_ERR_TIMEOUT ? EW_ERR_UNAVAILABLE : status, detail);
}

static void fetch_token(etcd_call *c) {
    if (c->tokens++ >= TOKENS_MAX) {
        auth_failed(&c->client->auth);
        finish(c, EW_ERR_UNAUTHENTICATED, "authentication: etcd refuses every new token");
        return;
    }
    ew_slice bytes = auth_request(&c->client->auth);
    if (!bytes.data) {
        auth_failed(&c->client->auth);
        wait_by(c, connection_pause, TOKEN_WAIT_MS); /* out of memory: try again */
        return;
    }
    grpc_slice request = grpc_slice_from_copied_buffer(bytes.data, bytes.len);
    free((void *)(uintptr_t)bytes.data);
    attempt(c, ETCD_AUTHENTICATE, request, on_token);
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
        names_doubt(&c->client->config.names);
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

/* Takes the next step with a connection: asks for its cluster, makes a token, or sends the request. */
static void go_on(etcd_call *c) {
    auth *a = &c->client->auth;
    bool verified = connection_is_verified(c->set, c->which, c->method);
    if (!verified && !c->ask_with_token) {
        ask(c);
        return;
    }
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
    if (!verified) {
        ask(c);
        return;
    }
    if (!method_get(c->method)->authenticates)
        identity_greet(c->client, c->set, c->which, c->method, c->queue, c->token);
    attempt(c, c->method, c->request, on_answered);
}

/* Waits for a connection, or goes on with one. */
static void proceed(etcd_call *c) {
    c->which = connection_find(c->client, &c->set, c->method);
    if (c->which == NO_BACKEND)
        wait_by(c, connection_wait, CONNECT_WAIT_MS);
    else
        go_on(c);
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
    pthread_mutex_init(&c->lock, NULL);
    c->fn = fn;
    c->arg = arg;
    c->token = grpc_empty_slice();
    c->text = grpc_empty_slice();
    c->request = grpc_slice_from_copied_buffer(request.data, request.len);
    proceed(c);
    return c;
}

void etcd_call_cancel(etcd_call *call) {
    pthread_mutex_lock(&call->lock);
    call->cancelled = true;
    if (call->call)
        grpc_call_cancel(call->call, NULL);
    if (call->asking)
        inquiry_cancel(call->asking);
    pthread_mutex_unlock(&call->lock);
}
