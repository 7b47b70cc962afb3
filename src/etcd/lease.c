/* The calls for leases: grant, revoke, one keepalive, info. */
#include "etcd/blocking.h"
#include "etcd/identity.h"
#include "etcd/keepalive.h"
#include "etcd/result.h"

#include "core/argument.h"
#include "core/log.h"
#include "core/unpack.h"

#include <stdio.h>
#include <stdlib.h>

ew_status ew_client_lease_grant(ew_client *client, int64_t ttl_s, int64_t *lease, int64_t *granted_s, ew_error *err) {
    if (ARGUMENT_MISSING(client, err) || ARGUMENT_MISSING(lease, err))
        return EW_ERR_INVALID;
    Pb__LeaseGrantRequest request = PB__LEASE_GRANT_REQUEST__INIT;
    Pb__LeaseGrantResponse *answer;
    if (!lease || ttl_s < 1)
        return ew_fail(err, EW_ERR_INVALID, "lease grant: want a TTL of at least 1 s");
    request.ttl = ttl_s;
    request.id = *lease;
    int status =
        blocking_request(client, ETCD_LEASE_GRANT, &request, &pb__lease_grant_response__descriptor, &answer, err);
    if (status != EW_OK)
        return status;
    if (answer->error && answer->error[0])
        status = ew_fail(err, EW_ERR_INVALID, "lease grant: %s", answer->error);
    else if (answer->id == 0 || answer->ttl <= 0 || answer->ttl > LEASE_TTL_MAX_S)
        status = ew_fail(err, EW_ERR_BAD_ANSWER, "lease grant: invalid response: no lease, or an invalid TTL");
    else if (request.id != 0 && answer->id != request.id)
        status = ew_fail(err, EW_ERR_BAD_ANSWER, "lease grant: invalid response: another lease than requested");
    if (status == EW_OK) {
        *lease = answer->id;
        if (granted_s)
            *granted_s = answer->ttl;
    }
    pb__lease_grant_response__free_unpacked(answer, NULL);
    return status;
}

ew_status ew_client_lease_revoke(ew_client *client, int64_t lease, ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    Pb__LeaseRevokeRequest request = PB__LEASE_REVOKE_REQUEST__INIT;
    Pb__LeaseRevokeResponse *answer;
    request.id = lease;
    int status =
        blocking_request(client, ETCD_LEASE_REVOKE, &request, &pb__lease_revoke_response__descriptor, &answer, err);
    if (status == EW_OK)
        pb__lease_revoke_response__free_unpacked(answer, NULL);
    return status;
}

typedef struct revocation {
    const ew_client *client;
    int answer;
} revocation;

/* A failure is only logged: the lease expires at its TTL. */
static void on_revoked(void *arg, int status, const char *detail, ew_slice bytes) {
    (void)bytes;
    revocation *r = arg;
    r->answer = status;
    if (status != EW_OK && status != EW_ERR_NOT_FOUND) /* not found: it has expired already */
        log_fields(EW_LOG_WARN, &r->client->log, "session", "cannot revoke the lease", {"error", ew_errname(status)},
                   {"detail", detail});
}

bool lease_revoke_soon(ew_client *client, int64_t lease, int64_t timeout_ms) {
    enum { OPEN = 1 };
    etcd_queue *queue = etcd_queue_new();
    if (!queue)
        return false;
    Pb__LeaseRevokeRequest request = PB__LEASE_REVOKE_REQUEST__INIT;
    uint8_t bytes[16]; /* a tag and a varint */
    revocation r = {client, OPEN};
    request.id = lease;
    ew_slice packed = {bytes, pb__lease_revoke_request__pack(&request, bytes)};
    if (!etcd_call_start(client, queue, ETCD_LEASE_REVOKE, packed, timeout_ms, on_revoked, &r))
        r.answer = EW_ERR_NO_MEMORY;
    while (r.answer == OPEN)
        etcd_queue_run(queue, INT64_MAX);
    etcd_queue_free(queue);
    return r.answer == EW_OK || r.answer == EW_ERR_NOT_FOUND;
}

ew_status ew_client_lease_info(ew_client *client, int64_t lease, int64_t *left_s, int64_t *granted_s, ew_result **keys,
                               ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    Pb__LeaseTimeToLiveRequest request = PB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    Pb__LeaseTimeToLiveResponse *answer;
    if (keys)
        *keys = NULL;
    request.id = lease;
    request.keys = keys != NULL;
    int status = blocking_request(client, ETCD_LEASE_TIME_TO_LIVE, &request,
                                  &pb__lease_time_to_live_response__descriptor, &answer, err);
    if (status != EW_OK)
        return status;
    bool bad = answer->id != lease || answer->ttl < -1 || answer->grantedttl < 0;
    if (bad || answer->ttl == -1) { /* -1: etcd does not know the lease */
        pb__lease_time_to_live_response__free_unpacked(answer, NULL);
        return bad ? ew_fail(err, EW_ERR_BAD_ANSWER, "lease info: invalid response: another lease, or an invalid TTL")
                   : ew_fail(err, EW_ERR_NOT_FOUND, "lease %llx: not found", (unsigned long long)lease);
    }
    if (left_s)
        *left_s = answer->ttl;
    if (granted_s)
        *granted_s = answer->grantedttl;
    if (keys)
        return result_take_keys(keys, &answer->base, answer->header, answer->keys, answer->n_keys, err);
    pb__lease_time_to_live_response__free_unpacked(answer, NULL);
    return EW_OK;
}

/* ---- one keepalive, on a stream, since etcd has no unary call for it ---- */

typedef struct once {
    ew_client *client;
    etcd_stream *stream;
    int64_t lease, ttl_s;
    bool here, ended;
    int status;
    char detail[256];
} once;

static void on_message(void *arg, ew_slice bytes) {
    once *o = arg;
    Pb__LeaseKeepAliveResponse *r = unpack_message(&pb__lease_keep_alive_response__descriptor, bytes, &o->status);
    bool good = keepalive_answers(r, o->lease);
    o->here = true;
    if (!good && o->status != EW_ERR_NO_MEMORY)
        o->status = EW_ERR_BAD_ANSWER;
    if (good && !connection_is_same_cluster(o->client, r->header->cluster_id)) {
        good = false;
        o->status = EW_ERR_WRONG_CLUSTER;
    }
    o->ttl_s = good ? r->ttl : 0;
    if (good && r->ttl <= 0) /* for an unknown lease etcd returns TTL 0 instead of an error */
        o->status = EW_ERR_NOT_FOUND;
    if (r)
        pb__lease_keep_alive_response__free_unpacked(r, NULL);
    etcd_stream_cancel(o->stream);
}

static void on_ended(void *arg, int status, const char *detail) {
    once *o = arg;
    o->ended = true;
    if (o->here)
        return;
    o->status = status;
    snprintf(o->detail, sizeof o->detail, "keepalive of lease %llx: %s", (unsigned long long)o->lease, detail);
}

static void wait_for_end(once *o, waiter *w, int64_t deadline_ms) {
    bool asked = false, late = false, begun = false;
    while (!o->ended) {
        etcd_queue_run(w->queue, asked ? INT64_MAX : deadline_ms);
        if (asked || o->ended || o->here)
            continue;
        begun = stream_has_begun(o->stream);
        late = etcd_now_ms() >= deadline_ms;
        asked = late || atomic_load(&w->cancelled);
        if (asked)
            etcd_stream_cancel(o->stream);
    }
    if (late && !o->here) {
        o->status = begun ? EW_ERR_TIMEOUT : EW_ERR_UNAVAILABLE;
        char why[256];
        snprintf(why, sizeof why, "no answer from %s", o->client->endpoints);
        if (!begun)
            identity_explain(o->client, w->queue, ETCD_LEASE_KEEP_ALIVE, why, sizeof why);
        snprintf(o->detail, sizeof o->detail, "keepalive of lease %llx: %s", (unsigned long long)o->lease, why);
    }
}

static void keep_alive_once(once *o, waiter *w, ew_slice request, int64_t deadline_ms) {
    etcd_stream_callbacks callbacks = {on_message, on_ended};
    *o = (once){.client = o->client, .lease = o->lease, .status = EW_ERR_NO_MEMORY};
    snprintf(o->detail, sizeof o->detail, "keepalive of lease %llx", (unsigned long long)o->lease);
    o->stream = etcd_stream_open(o->client, w->queue, ETCD_LEASE_KEEP_ALIVE, callbacks, o);
    if (!o->stream)
        return;
    if (etcd_stream_send(o->stream, request) != EW_OK) {
        o->here = true;
        etcd_stream_cancel(o->stream);
    }
    wait_for_end(o, w, deadline_ms);
}

/* Returns whether to try again. After a refused token, the next stream gets another one. */
static bool is_worth_another(const once *o, int *refusals) {
    if (o->status == EW_ERR_UNAVAILABLE)
        return !atomic_load(&o->client->refused);
    return o->status == EW_ERR_UNAUTHENTICATED && method_token_is_stale(o->detail) && (*refusals)++ < AUTH_REFUSALS_MAX;
}

ew_status ew_client_lease_keepalive(ew_client *client, int64_t lease, int64_t *ttl_s, ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    once o = {.client = client, .lease = lease};
    Pb__LeaseKeepAliveRequest request = PB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    uint8_t bytes[32];
    backoff pause;
    int refusals = 0;
    int status = etcd_check_process(client, err);
    if (status != EW_OK)
        return status;
    request.id = lease;
    ew_slice packed = {bytes, pb__lease_keep_alive_request__pack(&request, bytes)};
    int64_t deadline_ms = waiter_deadline_ms(client->call_timeout_ms);
    waiter *w = waiter_take(&client->waiters);
    if (!w)
        return ew_fail(err, EW_ERR_NO_MEMORY, "keepalive");
    backoff_init(&pause, client->backoff_min_ms, client->backoff_max_ms);
    waiter_begin(&client->waiters, w);
    do
        keep_alive_once(&o, w, packed, deadline_ms);
    while (is_worth_another(&o, &refusals) && blocking_wait(w, &pause, deadline_ms));
    if (o.status == EW_ERR_UNAVAILABLE && atomic_load(&w->cancelled))
        o.status = EW_ERR_CANCELLED;
    waiter_end(&client->waiters, w);
    waiter_give(&client->waiters, w);
    if (o.status != EW_OK)
        return ew_fail(err, o.status, "%s", o.detail);
    if (ttl_s)
        *ttl_s = o.ttl_s;
    return EW_OK;
}
