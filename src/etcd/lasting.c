#include "etcd/lasting.h"

#include "core/log.h"
#include "core/slice.h"
#include "core/unpack.h"
#include "etcd.pb-c.h"
#include "etcd/backoff.h"
#include "etcd/connection.h"
#include "etcd/keepalive.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct lasting {
    etcd_task task; /* first */
    ew_client *client;
    int64_t ttl_s, renew_ms; /* renew_ms 0: never */
    lasting_fn fn;
    void *arg;
    _Atomic int64_t lease; /* 0: none */
    atomic_bool closing, check, hold;
    ew_slice key, holder; /* written before `hold` */

    /* Used by the loop's thread only. */
    keepalive *keepalive;
    bool ending; /* keepalive_stop was called */
    bool taken;
    etcd_call *call;
    int64_t next_ms;  /* when the next call may be made */
    int64_t renew_at; /* when to replace the lease while it lives */
    backoff pause;
    int64_t granted, granted_s, sent_ms; /* a new lease, not reported yet: the key is put first */
};

static void log_lease(const lasting *l, const char *what, int64_t lease) {
    log_fields(EW_LOG_INFO, &l->client->log, "lease", what, {"lease", NULL, lease});
}

/* ---- calls ---- */

static void call_failed(lasting *l, int status, const char *detail) {
    l->next_ms = etcd_now_ms() + backoff_next_ms(&l->pause);
    log_fields(EW_LOG_DEBUG, &l->client->log, "lease", "cannot replace the lease yet", {"error", ew_errname(status)},
               {"detail", detail});
}

static void start(lasting *l, etcd_method method, const ProtobufCMessage *request, etcd_answer_fn fn) {
    size_t size = protobuf_c_message_get_packed_size(request);
    uint8_t *bytes = malloc(size + 1);
    if (bytes)
        l->call = etcd_call_start(l->client, etcd_loop_queue(l->task.loop), method,
                                  (ew_slice){bytes, protobuf_c_message_pack(request, bytes)},
                                  l->client->call_timeout_ms, fn, l);
    if (!l->call)
        call_failed(l, EW_ERR_NO_MEMORY, "starting a call");
    free(bytes);
}

static void on_granted(void *arg, int status, const char *detail, ew_slice bytes) {
    lasting *l = arg;
    l->call = NULL;
    etcd_task_due(&l->task);
    Pb__LeaseGrantResponse *r =
        status == EW_OK ? unpack_message(&pb__lease_grant_response__descriptor, bytes, &status) : NULL;
    bool good = r && r->id != 0 && r->ttl > 0 && r->ttl <= LEASE_TTL_MAX_S && r->header &&
                connection_is_same_cluster(l->client, r->header->cluster_id);
    if (good) {
        l->granted = r->id;
        l->granted_s = r->ttl;
        backoff_reset(&l->pause);
    } else {
        call_failed(l, status == EW_OK ? EW_ERR_BAD_ANSWER : status, detail);
    }
    if (r)
        pb__lease_grant_response__free_unpacked(r, NULL);
}

static void grant(lasting *l) {
    Pb__LeaseGrantRequest request = PB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = l->ttl_s;
    l->sent_ms = keepalive_now_ms();
    start(l, ETCD_LEASE_GRANT, &request.base, on_granted);
}

/* ---- the key ---- */

/* Sets `*ours` to whether the transaction or its nested transaction has put the key. False: invalid response. */
static bool read_holding(const Pb__TxnResponse *r, bool *ours) {
    if (!r->header || r->n_responses != 1)
        return false;
    *ours = r->succeeded;
    if (r->succeeded)
        return true;
    if (r->responses[0]->response_case != PB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
        return false;
    *ours = r->responses[0]->response_txn->succeeded;
    return true;
}

static void report_lease(lasting *l);

static void on_held(void *arg, int status, const char *detail, ew_slice bytes) {
    lasting *l = arg;
    l->call = NULL;
    etcd_task_due(&l->task);
    if (status == EW_ERR_NOT_FOUND) /* the new lease is lost as well */
        l->granted = 0;
    Pb__TxnResponse *r = status == EW_OK ? unpack_message(&pb__txn_response__descriptor, bytes, &status) : NULL;
    bool ours = false;
    if (!r || !read_holding(r, &ours))
        call_failed(l, status == EW_OK ? EW_ERR_BAD_ANSWER : status, detail);
    else if (ours)
        report_lease(l);
    else
        l->taken = true;
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
    if (l->taken)
        l->fn(l->arg, LASTING_TAKEN);
}

/* Puts the key with the new lease, if its value is `holder` or the key is absent. */
static void put_key(lasting *l) {
    const ProtobufCBinaryData key = slice_bytes(l->key);
    const ProtobufCBinaryData holder = slice_bytes(l->holder);
    Pb__Compare ours = PB__COMPARE__INIT, absent = PB__COMPARE__INIT, *ours_list[] = {&ours},
                *absent_list[] = {&absent};
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    Pb__RequestOp then = PB__REQUEST_OP__INIT, otherwise = PB__REQUEST_OP__INIT;
    Pb__RequestOp *then_list[] = {&then}, *otherwise_list[] = {&otherwise};
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT, nested = PB__TXN_REQUEST__INIT;
    put.key = ours.key = absent.key = key;
    put.value = holder;
    put.lease = l->granted;
    then.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    absent.target = PB__COMPARE__COMPARE_TARGET__CREATE;
    absent.target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
    nested.compare = absent_list;
    nested.success = then_list;
    nested.n_compare = nested.n_success = 1;
    otherwise.request_case = PB__REQUEST_OP__REQUEST_REQUEST_TXN;
    otherwise.request_txn = &nested;
    ours.target = PB__COMPARE__COMPARE_TARGET__VALUE;
    ours.target_union_case = PB__COMPARE__TARGET_UNION_VALUE;
    ours.value = holder;
    txn.compare = ours_list;
    txn.success = then_list;
    txn.failure = otherwise_list;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    start(l, ETCD_TXN, &txn.base, on_held);
}

/* ---- the thread ---- */

static void renew_later(lasting *l) {
    l->renew_at = l->renew_ms > 0 ? etcd_now_ms() + l->renew_ms : INT64_MAX;
}

static void report_lease(lasting *l) {
    l->keepalive = keepalive_new(l->client, &l->task, l->granted, l->granted_s, l->sent_ms);
    if (!l->keepalive) {
        call_failed(l, EW_ERR_NO_MEMORY, "keeping a lease alive");
        return;
    }
    backoff_reset(&l->pause);
    log_lease(l, "a new lease was granted", l->granted);
    atomic_store(&l->lease, l->granted);
    l->granted = 0;
    renew_later(l);
    l->fn(l->arg, LASTING_GRANTED);
}

/* Asks for a new lease when it is time to replace the current one. Returns when to call this again. */
static int64_t renew(lasting *l, int64_t now_ms) {
    int64_t at_ms = l->renew_at > l->next_ms ? l->renew_at : l->next_ms;
    if (l->call || l->granted != 0 || now_ms < at_ms)
        return l->call ? INT64_MAX : at_ms;
    grant(l);
    return l->call ? INT64_MAX : l->next_ms;
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t keep(lasting *l, int64_t now_ms) {
    if (!l->ending) {
        if (atomic_exchange(&l->check, false))
            keepalive_ask(l->keepalive);
        bool closing = atomic_load(&l->closing), lost = !closing && keepalive_step(l->keepalive);
        int64_t renew_ms = closing || lost ? INT64_MAX : renew(l, now_ms);
        if (!closing && !lost && l->granted == 0)
            return sooner(keepalive_deadline_ms(l->keepalive), renew_ms);
        l->ending = true;
        keepalive_stop(l->keepalive);
        if (lost) {
            log_lease(l, "the lease was lost; a new one is granted as soon as etcd answers",
                      atomic_exchange(&l->lease, 0));
            l->fn(l->arg, LASTING_LOST);
        }
    }
    if (!keepalive_stopped(l->keepalive))
        return INT64_MAX;
    keepalive_free(l->keepalive);
    l->keepalive = NULL;
    l->ending = false;
    return 0;
}

static int64_t lasting_round(etcd_task *t, int64_t now_ms) {
    lasting *l = (lasting *)t;
    if (l->keepalive) {
        int64_t deadline_ms = keep(l, now_ms);
        if (l->keepalive)
            return deadline_ms;
    }
    if (atomic_load(&l->closing)) {
        if (!l->call)
            return ETCD_TASK_OVER;
        etcd_call_cancel(l->call);
        return INT64_MAX;
    }
    if (l->call || l->taken)
        return INT64_MAX;
    if (l->next_ms > now_ms)
        return l->next_ms;
    if (l->granted == 0)
        grant(l);
    else if (atomic_load(&l->hold))
        put_key(l);
    else
        report_lease(l);
    return l->call ? INT64_MAX : l->keepalive ? now_ms : l->next_ms;
}

/* ---- life ---- */

int lasting_open(lasting **out, ew_client *client, int64_t ttl_s, int64_t renew_s, lasting_fn fn, void *arg,
                 ew_error *err) {
    *out = NULL;
    lasting *l = calloc(1, sizeof *l);
    int status = l ? etcd_loop_take(&l->task.loop, client, ETCD_LOOP_KEEP) : EW_ERR_NO_MEMORY;
    if (status != EW_OK) {
        free(l);
        return ew_fail(err, status, "keeping a lease");
    }
    l->task.round = lasting_round;
    l->client = client;
    l->ttl_s = ttl_s;
    l->renew_ms = renew_s * 1000;
    l->fn = fn;
    l->arg = arg;
    backoff_init(&l->pause, client->backoff_min_ms, client->backoff_max_ms);
    int64_t sent_ms = keepalive_now_ms(), lease = 0, granted_s = 0;
    status = ew_client_lease_grant(client, ttl_s, &lease, &granted_s, err);
    if (status == EW_OK) {
        l->keepalive = keepalive_new(client, &l->task, lease, granted_s, sent_ms);
        if (!l->keepalive)
            status = ew_fail(err, EW_ERR_NO_MEMORY, "keeping a lease");
    }
    if (status != EW_OK) {
        if (lease != 0)
            lease_revoke_soon(client, lease, LEASE_REVOKE_MS);
        etcd_loop_give(l->task.loop);
        free(l);
        return status;
    }
    atomic_store(&l->lease, lease);
    renew_later(l);
    *out = l; /* before `fn` can be called */
    etcd_task_start(&l->task);
    return EW_OK;
}

int64_t lasting_lease(const lasting *l) {
    return atomic_load(&((lasting *)(uintptr_t)l)->lease);
}

void lasting_check(lasting *l) {
    atomic_store(&l->check, true);
    etcd_task_wake(&l->task);
}

void lasting_hold(lasting *l, ew_slice key, ew_slice holder) {
    l->key = key;
    l->holder = holder;
    atomic_store(&l->hold, true);
    lasting_check(l);
}

void lasting_close(lasting *l) {
    if (!l)
        return;
    atomic_store(&l->closing, true);
    etcd_task_wake(&l->task);
    etcd_task_wait(&l->task);
    keepalive_free(l->keepalive);
    etcd_loop_give(l->task.loop);
    free(l);
}
