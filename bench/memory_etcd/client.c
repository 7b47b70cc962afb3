/* The client and the session, as far as a worker needs them: what is called once in a run. */
#include "etcd/blocking_request.h"
#include "etcd/keepalive.h"
#include "etcd/lasting.h"
#include "memory_etcd.h"
#include "sim/memory.h"

#include <etcdworker/election.h>
#include <etcdworker/session.h>

#include <stdlib.h>

ew_status ew_client_open(ew_client **out, const ew_options *options, ew_error *err) {
    (void)options;
    (void)err;
    *out = sim_alloc(sizeof **out);
    (*out)->model = etcd_model_new(&etcd_model_defaults);
    return EW_OK;
}

int etcd_check_process(const ew_client *client, ew_error *err) {
    (void)client;
    (void)err;
    return EW_OK;
}

void ew_client_close(ew_client *client) {
    if (!client)
        return;
    etcd_model_free(client->model);
    free(client);
}

/* A blocking call: the model answers at once. */
int blocking_call(ew_client *client, etcd_method method, ew_slice request, const ProtobufCMessageDescriptor *type,
                  void *answer, ew_error *err) {
    ProtobufCMessage *m = NULL;
    pthread_mutex_lock(&memory_lock);
    etcd_model_answer a = memory_call(client, method, request);
    if (a.status == EW_OK)
        m = protobuf_c_message_unpack(type, NULL, a.bytes.len, a.bytes.data);
    streams_look(client, NULL);
    pthread_mutex_unlock(&memory_lock);
    if (a.status != EW_OK)
        return ew_fail(err, a.status, "%s", a.detail);
    memcpy(answer, &m, sizeof m);
    return m ? EW_OK : ew_fail(err, EW_ERR_BAD_ANSWER, "%s", type->short_name);
}

/* ---- leases: they cannot expire ---- */

static int grant(ew_client *client, int64_t ttl_s, int64_t *lease, ew_error *err) {
    Pb__LeaseGrantRequest request = PB__LEASE_GRANT_REQUEST__INIT;
    Pb__LeaseGrantResponse *answer;
    request.ttl = ttl_s;
    int status =
        blocking_request(client, ETCD_LEASE_GRANT, &request, &pb__lease_grant_response__descriptor, &answer, err);
    if (status != EW_OK)
        return status;
    *lease = answer->id;
    pb__lease_grant_response__free_unpacked(answer, NULL);
    return EW_OK;
}

bool lease_revoke_soon(ew_client *client, int64_t lease, int64_t timeout_ms) {
    (void)client;
    (void)lease;
    (void)timeout_ms;
    return true; /* the process is about to end, and the etcd with it */
}

ew_status ew_client_lease_info(ew_client *client, int64_t lease, int64_t *left_s, int64_t *granted_s, ew_result **keys,
                               ew_error *err) {
    (void)client;
    (void)lease;
    (void)left_s;
    (void)granted_s;
    (void)keys;
    return ew_fail(err, EW_ERR_UNSUPPORTED, "lease info: not implemented by the etcd in memory");
}

struct lasting {
    int64_t lease;
};

int lasting_open(lasting **out, ew_client *client, int64_t ttl_s, int64_t renew_s, lasting_fn fn, void *arg,
                 ew_error *err) {
    (void)renew_s;
    (void)fn;
    (void)arg;
    int64_t lease;
    *out = NULL;
    int status = grant(client, ttl_s, &lease, err);
    if (status != EW_OK)
        return status;
    *out = sim_alloc(sizeof **out);
    **out = (lasting){lease};
    return EW_OK;
}

int64_t lasting_lease(const lasting *l) {
    return l->lease;
}

void lasting_check(lasting *l) {
    (void)l;
}

void lasting_hold(lasting *l, ew_slice key, ew_slice holder) {
    (void)l;
    (void)key;
    (void)holder;
}

void lasting_close(lasting *l) {
    free(l);
}

/* ---- sessions ---- */

struct ew_session {
    ew_client *client;
    int64_t lease;
};

ew_status ew_session_open(ew_session **out, ew_client *client, int64_t ttl_s, ew_error *err) {
    int64_t lease;
    *out = NULL;
    int status = grant(client, ttl_s, &lease, err);
    if (status != EW_OK)
        return status;
    *out = sim_alloc(sizeof **out);
    **out = (ew_session){client, lease};
    return EW_OK;
}

int64_t ew_session_lease(const ew_session *s) {
    return s->lease;
}

bool ew_session_is_done(const ew_session *s) {
    (void)s;
    return false;
}

ew_status ew_session_on_done(ew_session *s, ew_session_fn fn, void *arg) {
    (void)s;
    (void)arg;
    return fn ? EW_OK : EW_ERR_INVALID; /* a session never ends, so `fn` is never called */
}

void ew_session_forget(ew_session *s, ew_session_fn fn, void *arg) {
    (void)s;
    (void)fn;
    (void)arg;
}

void ew_session_close(ew_session *s, ew_session_end end) {
    if (!s)
        return;
    Pb__LeaseRevokeRequest request = PB__LEASE_REVOKE_REQUEST__INIT;
    Pb__LeaseRevokeResponse *answer;
    request.id = s->lease;
    if (end == EW_SESSION_REVOKE && blocking_request(s->client, ETCD_LEASE_REVOKE, &request,
                                                     &pb__lease_revoke_response__descriptor, &answer, NULL) == EW_OK)
        pb__lease_revoke_response__free_unpacked(answer, NULL);
    free(s);
}

/* ---- elections: not used, so these functions are never called ---- */

ew_slice ew_election_key(const ew_election *e) {
    (void)e;
    return (ew_slice){0};
}

int64_t ew_election_revision(const ew_election *e) {
    (void)e;
    return 0;
}

ew_session *ew_election_session(const ew_election *e) {
    (void)e;
    return NULL;
}
