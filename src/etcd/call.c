/* One unary call: a single batch of six operations and one completion.
 *
 *   CONNECTING --- the channel is ready ---> SENT ---> answered
 *        '--------- deadline, cancel --------------------^
 *
 * A call is given to gRPC only once there is a connection. gRPC would wait for one itself, but then nobody could tell
 * whether a call that ran out of time had been sent; so what ends while CONNECTING was surely not applied (ETCD P11).
 * With a connection at hand, which is nearly always, the check costs one atomic load. */
#include "etcd/bytes.h"
#include "etcd/connection.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* A wait for a connection cannot be taken back, so it is cut into pieces of this length: a cancel takes as long. */
#define CONNECT_WAIT_MS 50

struct etcd_call {
    queue_tag tag; /* first */
    ew_client *client;
    etcd_queue *queue;
    etcd_method method;
    int64_t deadline_ms;
    etcd_answer_fn fn;
    void *arg;
    _Atomic(grpc_call *) call; /* NULL while CONNECTING */
    atomic_bool cancelled;
    grpc_metadata metadata[CONNECTION_METADATA_MAX];
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *request, *answer;
    grpc_status_code code;
    grpc_slice text;
};

static void free_call(etcd_call *c) {
    grpc_call *call = atomic_load(&c->call);
    if (c->answer)
        grpc_byte_buffer_destroy(c->answer);
    grpc_byte_buffer_destroy(c->request);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->text);
    if (call)
        grpc_call_unref(call);
    free(c);
}

static void answer_error(etcd_call *c) {
    char text[256];
    bytes_text(c->text, text, sizeof text);
    method_end end = {.code = c->code, .text = text, .sent = true, .cancelled = atomic_load(&c->cancelled)};
    c->fn(c->arg, method_status(c->method, &end), text, (ew_slice){0});
}

static void answer_bytes(etcd_call *c) {
    bytes_view view;
    if (!c->answer || !bytes_view_init(&view, c->answer)) {
        /* Status OK without a message: for a write nobody knows what it did. */
        int status = method_get(c->method)->writes ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_BAD_ANSWER;
        c->fn(c->arg, status, "the answer has no message", (ew_slice){0});
        return;
    }
    c->fn(c->arg, EW_OK, "", view.bytes);
    bytes_view_fini(&view);
}

static void on_answered(queue_tag *tag, bool ok) {
    (void)ok; /* the status says more */
    etcd_call *c = (etcd_call *)tag;
    if (c->code == GRPC_STATUS_OK)
        answer_bytes(c);
    else
        answer_error(c);
    free_call(c);
}

static void send_request(etcd_call *c) {
    c->tag.done = on_answered;
    grpc_call *call = connection_call(c->client, c->queue, c->method, c->deadline_ms);
    atomic_store(&c->call, call);
    if (atomic_load(&c->cancelled)) /* by somebody who did not see the call yet */
        grpc_call_cancel(call, NULL);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = CONNECTION_WAIT},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &c->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->answer},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
    };
    ops[0].data.send_initial_metadata.count = connection_metadata(c->client, c->method, c->metadata);
    ops[0].data.send_initial_metadata.metadata = c->metadata;
    ops[5].data.recv_status_on_client.trailing_metadata = &c->trailing;
    ops[5].data.recv_status_on_client.status = &c->code;
    ops[5].data.recv_status_on_client.status_details = &c->text;
    queue_start(call, ops, 6, &c->tag);
}

static void on_connecting(queue_tag *tag, bool ok);

/* Waits a while for the channel to be ready; `state` is what it is now. */
static void wait_to_connect(etcd_call *c, grpc_connectivity_state state) {
    int64_t until_ms = etcd_now_ms() + CONNECT_WAIT_MS;
    c->tag.done = on_connecting;
    queue_watch(c->queue, c->client->calls, state, until_ms < c->deadline_ms ? until_ms : c->deadline_ms, &c->tag);
}

static void on_connecting(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_call *c = (etcd_call *)tag;
    bool cancelled = atomic_load(&c->cancelled);
    if (cancelled || etcd_now_ms() >= c->deadline_ms) {
        char detail[512];
        method_end end = {.code = GRPC_STATUS_UNAVAILABLE, .text = "", .sent = false, .cancelled = cancelled};
        snprintf(detail, sizeof detail, "no connection to %s", c->client->endpoints);
        c->fn(c->arg, method_status(c->method, &end), detail, (ew_slice){0});
        free_call(c);
        return;
    }
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(c->client->calls, 1);
    if (state == GRPC_CHANNEL_READY)
        send_request(c);
    else
        wait_to_connect(c, state);
}

etcd_call *etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                           etcd_answer_fn fn, void *arg) {
    etcd_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->client = client;
    c->queue = q;
    c->method = method;
    c->deadline_ms = etcd_now_ms() + timeout_ms;
    c->fn = fn;
    c->arg = arg;
    c->text = grpc_empty_slice();
    c->request = bytes_copy(request);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(client->calls, 1);
    if (state == GRPC_CHANNEL_READY)
        send_request(c);
    else
        wait_to_connect(c, state);
    return c;
}

void etcd_call_cancel(etcd_call *call) {
    atomic_store(&call->cancelled, true);
    grpc_call *sent = atomic_load(&call->call);
    if (sent)
        grpc_call_cancel(sent, NULL);
}
