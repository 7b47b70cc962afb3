#include "etcd/blocking.h"

#include "core/unpack.h"

#include <stdio.h>
#include <stdlib.h>

/* After this long without a response, a connection may have broken without notice. */
#define UNNOTICED_MS 10
#define POLLS        8

typedef struct answer {
    bool here;
    int status;
    bool writes;
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *message;
    char detail[256];
} answer;

/* The header is the first field of every response of etcd. */
static const Pb__ResponseHeader *header_of(const ProtobufCMessage *m) {
    return *(Pb__ResponseHeader *const *)(const void *)((const char *)m + m->descriptor->fields[0].offset);
}

static void refuse(answer *a, int status, const char *why) {
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s: %s", a->type->short_name, why);
    if (a->message)
        protobuf_c_message_free_unpacked(a->message, NULL);
    a->message = NULL;
}

static void on_answer(void *arg, int status, const char *detail, ew_slice bytes) {
    answer *a = arg;
    a->here = true;
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s", detail);
    if (status != EW_OK)
        return;
    a->message = unpack_message(a->type, bytes, &status);
    if (status == EW_ERR_NO_MEMORY) { /* for a write NO_MEMORY would mean that nothing was written */
        refuse(a, a->writes ? EW_ERR_UNKNOWN_OUTCOME : status, "no memory for the response");
    } else if (!a->message) {
        refuse(a, EW_ERR_BAD_ANSWER, "malformed response");
    } else if (!header_of(a->message)) {
        refuse(a, EW_ERR_BAD_ANSWER, "response without a header");
    } else if (header_of(a->message)->cluster_id == 0) {
        refuse(a, EW_ERR_BAD_ANSWER, "response without a cluster id");
    } else if (header_of(a->message)->revision < 0) {
        refuse(a, EW_ERR_BAD_ANSWER, "response with a negative revision");
    }
}

/* gRPC does not notice a broken connection while no thread polls a queue. Polling first avoids sending a write on a
 * connection that the kernel knows to be closed, which would leave the outcome unknown. */
static void notice_breaks(ew_client *client, waiter *w) {
    if (etcd_now_ms() - atomic_load(&client->last_answer_ms) < UNNOTICED_MS)
        return;
    for (int i = 0; i < POLLS; i++) /* gRPC handles one socket at a time */
        etcd_queue_run(w->queue, 0);
}

static void attempt_call(ew_client *client, waiter *w, etcd_method method, ew_slice request, int64_t deadline_ms,
                         answer *a) {
    *a = (answer){.type = a->type, .writes = method_get(method)->writes};
    notice_breaks(client, w);
    etcd_call *call = etcd_call_start(client, w->queue, method, request, deadline_ms - etcd_now_ms(), on_answer, a);
    if (!call) {
        a->status = EW_ERR_NO_MEMORY;
        return;
    }
    bool asked = false;
    while (!a->here) {
        /* No deadline here: the call has its own. */
        etcd_queue_run(w->queue, INT64_MAX);
        if (!asked && !a->here && atomic_load(&w->cancelled)) {
            etcd_call_cancel(call);
            asked = true;
        }
    }
    atomic_store(&client->last_answer_ms, etcd_now_ms());
}

bool blocking_wait(waiter *w, backoff *pause, int64_t deadline_ms) {
    int64_t until_ms = etcd_now_ms() + backoff_next_ms(pause);
    if (until_ms >= deadline_ms)
        return false;
    while (etcd_now_ms() < until_ms && !atomic_load(&w->cancelled))
        etcd_queue_run(w->queue, until_ms);
    return !atomic_load(&w->cancelled);
}

static void call_until_answered(ew_client *client, waiter *w, etcd_method method, ew_slice request, answer *a) {
    int64_t deadline_ms = etcd_now_ms() + client->call_timeout_ms;
    backoff pause;
    backoff_init(&pause, client->backoff_min_ms, client->backoff_max_ms);
    do {
        attempt_call(client, w, method, request, deadline_ms, a);
        /* UNAVAILABLE means that nothing was applied; a write whose outcome is unknown has another code (ETCD P11). */
    } while (a->status == EW_ERR_UNAVAILABLE && !atomic_load(&client->refused) &&
             blocking_wait(w, &pause, deadline_ms));
    if (a->status == EW_ERR_UNAVAILABLE && atomic_load(&w->cancelled))
        a->status = EW_ERR_CANCELLED;
}

int blocking_call(ew_client *client, etcd_method method, ew_slice request, const ProtobufCMessageDescriptor *type,
                  void *answered, ew_error *err) {
    answer a = {.type = type};
    int status = etcd_check_process(client, err);
    if (status != EW_OK)
        return status;
    waiter *w = waiter_take(&client->waiters);
    if (!w)
        return ew_fail(err, EW_ERR_NO_MEMORY, "%s", type->short_name);
    waiter_begin(&client->waiters, w);
    call_until_answered(client, w, method, request, &a);
    waiter_end(&client->waiters, w);
    waiter_give(&client->waiters, w);
    if (a.status == EW_OK && !connection_is_same_cluster(client, header_of(a.message)->cluster_id))
        refuse(&a, EW_ERR_WRONG_CLUSTER, "the cluster id changed");
    if (a.status != EW_OK)
        return ew_fail(err, a.status, "%s", a.detail);
    memcpy(answered, &a.message, sizeof a.message);
    return EW_OK;
}
