/* One unary call: a single batch of six operations and one completion. */
#include "etcd/bytes.h"
#include "etcd/connection.h"
#include "etcd/queue.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct etcd_call {
    queue_tag tag; /* first */
    ew_client *client;
    etcd_method method;
    etcd_answer_fn fn;
    void *arg;
    grpc_call *call;
    grpc_metadata metadata[CONNECTION_METADATA_MAX];
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *request, *answer;
    grpc_status_code code;
    grpc_slice text;
    atomic_bool cancelled;
};

static void free_call(etcd_call *c) {
    if (c->answer)
        grpc_byte_buffer_destroy(c->answer);
    grpc_byte_buffer_destroy(c->request);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->text);
    grpc_call_unref(c->call);
    free(c);
}

static void answer_error(etcd_call *c) {
    char text[256];
    bytes_text(c->text, text, sizeof text);
    method_end end = {.code = c->code,
                      .text = text,
                      .sent = connection_was_sent(c->client, c->method, c->call),
                      .cancelled = atomic_load(&c->cancelled)};
    int status = method_status(c->method, &end);
    char detail[400];
    if (!end.sent && status == EW_ERR_UNAVAILABLE)
        snprintf(detail, sizeof detail, "no connection to %s", c->client->endpoints);
    else
        snprintf(detail, sizeof detail, "%s", text);
    c->fn(c->arg, status, detail, (ew_slice){0});
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

static void on_done(queue_tag *tag, bool ok) {
    (void)ok; /* the status says more */
    etcd_call *c = (etcd_call *)tag;
    if (c->code == GRPC_STATUS_OK)
        answer_bytes(c);
    else
        answer_error(c);
    free_call(c);
}

static void start(etcd_call *c) {
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         /* Fail-fast calls to a server that is away end in 0.1 ms; the deadline is what bounds the wait. */
         .flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET},
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
    queue_start(c->call, ops, 6, &c->tag);
}

etcd_call *etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                           etcd_answer_fn fn, void *arg) {
    etcd_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->tag.done = on_done;
    c->client = client;
    c->method = method;
    c->fn = fn;
    c->arg = arg;
    c->text = grpc_empty_slice();
    c->request = bytes_copy(request);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    c->call = connection_call(client, q, method, etcd_now_ms() + timeout_ms);
    start(c);
    return c;
}

void etcd_call_cancel(etcd_call *call) {
    atomic_store(&call->cancelled, true);
    grpc_call_cancel(call->call, NULL);
}
