/* Calls: the model executes them before etcd_call_start returns; the callback runs on the queue's thread. */
#include "memory_etcd.h"
#include "sim/memory.h"

#include <stdlib.h>

struct etcd_call {
    memory_notice notice; /* first */
    etcd_answer_fn fn;
    void *arg;
    int status;
    const char *detail; /* static */
    ew_slice bytes;
};

etcd_model_answer memory_call(ew_client *client, etcd_method method, ew_slice request) {
    switch (method) {
    case ETCD_RANGE:
        return etcd_model_call(client->model, ETCD_MODEL_RANGE, request);
    case ETCD_PUT:
        return etcd_model_call(client->model, ETCD_MODEL_PUT, request);
    case ETCD_TXN:
        return etcd_model_call(client->model, ETCD_MODEL_TXN, request);
    case ETCD_LEASE_GRANT:
        return etcd_model_call(client->model, ETCD_MODEL_LEASE_GRANT, request);
    case ETCD_LEASE_REVOKE:
        return etcd_model_call(client->model, ETCD_MODEL_LEASE_REVOKE, request);
    case ETCD_STATUS: /* callers only check that there is an answer */
        return (etcd_model_answer){EW_OK, "", {"", 0}};
    default:
        return (etcd_model_answer){EW_ERR_INVALID, "the etcd in memory does not implement this call", {"", 0}};
    }
}

static void tell(memory_notice *n) {
    etcd_call *c = (etcd_call *)n;
    c->fn(c->arg, c->status, c->detail, c->bytes);
    free(sim_unconst(c->bytes.data));
    free(c);
}

etcd_call *etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                           etcd_answer_fn fn, void *arg) {
    (void)timeout_ms; /* the model answers at once */
    etcd_call *c = sim_alloc(sizeof *c);
    pthread_mutex_lock(&memory_lock);
    etcd_model_answer a = memory_call(client, method, request);
    *c = (etcd_call){{.run = tell}, fn, arg, a.status, a.detail, sim_copy(a.bytes)};
    queue_post(q, &c->notice);
    streams_look(client, q);
    pthread_mutex_unlock(&memory_lock);
    queue_signal(q);
    return c;
}

void etcd_call_cancel(etcd_call *call) {
    (void)call; /* its answer is already queued */
}
