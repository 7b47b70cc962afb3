/* The client and the session, as far as a worker goes: what is called once a run. */
#include "etcd.pb-c.h"
#include "memory_etcd.h"
#include "sim/memory.h"

#include <etcdworker/election.h>
#include <etcdworker/session.h>

#include <stdlib.h>

int ew_client_open(ew_client **out, const ew_options *options, ew_error *err) {
    (void)options;
    (void)err;
    *out = sim_alloc(sizeof **out);
    (*out)->model = etcd_model_new(&etcd_model_defaults);
    return EW_OK;
}

void ew_client_close(ew_client *client) {
    if (client == NULL)
        return;
    etcd_model_free(client->model);
    free(client);
}

/* Has the model answer a packed request, which is freed. The answer is unpacked if its type is given. */
static int call(ew_client *client, etcd_method method, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *type, ProtobufCMessage **answer, ew_error *err) {
    size_t size = protobuf_c_message_get_packed_size(request);
    uint8_t *bytes = sim_alloc(size);
    protobuf_c_message_pack(request, bytes);
    pthread_mutex_lock(&memory_lock);
    etcd_model_answer a = memory_call(client, method, (ew_slice){bytes, size});
    if (type != NULL && a.status == EW_OK)
        *answer = protobuf_c_message_unpack(type, NULL, a.bytes.len, a.bytes.data);
    streams_look(client, NULL);
    pthread_mutex_unlock(&memory_lock);
    free(bytes);
    return a.status == EW_OK ? EW_OK : ew_fail(err, a.status, "%s", a.detail);
}

/* Nobody here asks for the result. */
int ew_client_put(ew_client *client, ew_slice key, ew_slice value, const ew_put_options *options, ew_result **out,
                  ew_error *err) {
    if (out != NULL)
        return ew_fail(err, EW_ERR_INVALID, "the etcd in memory gives no results");
    Pb__PutRequest request = PB__PUT_REQUEST__INIT;
    request.key = sim_binary(key);
    request.value = sim_binary(value);
    request.lease = options != NULL ? options->lease : 0;
    return call(client, ETCD_PUT, &request.base, NULL, NULL, err);
}

/* ---- sessions: a lease that cannot expire ---- */

struct ew_session {
    ew_client *client;
    int64_t lease;
};

int ew_session_open(ew_session **out, ew_client *client, int64_t ttl_s, ew_error *err) {
    Pb__LeaseGrantRequest request = PB__LEASE_GRANT_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    request.ttl = ttl_s;
    *out = NULL;
    int status = call(client, ETCD_LEASE_GRANT, &request.base, &pb__lease_grant_response__descriptor, &answer, err);
    if (status != EW_OK)
        return status;
    if (answer == NULL)
        return ew_fail(err, EW_ERR_BAD_ANSWER, "session");
    *out = sim_alloc(sizeof **out);
    **out = (ew_session){client, ((const Pb__LeaseGrantResponse *)answer)->id};
    protobuf_c_message_free_unpacked(answer, NULL);
    return EW_OK;
}

int64_t ew_session_lease(const ew_session *s) {
    return s->lease;
}

bool ew_session_is_done(const ew_session *s) {
    (void)s;
    return false;
}

int ew_session_on_done(ew_session *s, ew_session_fn fn, void *arg) {
    (void)s;
    (void)arg;
    return fn != NULL ? EW_OK : EW_ERR_INVALID; /* there is nothing to tell */
}

void ew_session_forget(ew_session *s, ew_session_fn fn, void *arg) {
    (void)s;
    (void)fn;
    (void)arg;
}

void ew_session_close(ew_session *s, bool keep_lease) {
    if (s == NULL)
        return;
    Pb__LeaseRevokeRequest request = PB__LEASE_REVOKE_REQUEST__INIT;
    request.id = s->lease;
    if (!keep_lease)
        call(s->client, ETCD_LEASE_REVOKE, &request.base, NULL, NULL, NULL);
    free(s);
}

/* ---- elections: there are none, so none of these is called ---- */

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
