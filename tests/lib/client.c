#include "lib/client.h"

#include "core/slice.h"
#include "etcd/etcd.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { TIMEOUT_MS = 30000 };

static ew_client *client;
static etcd_queue *queue;

void client_open(const char *endpoints) {
    ew_options *o = ew_options_new();
    assert_int_equal(ew_options_set(o, "endpoints", endpoints, NULL), EW_OK);
    assert_int_equal(ew_client_open(&client, o, NULL), EW_OK);
    ew_options_free(o);
    queue = etcd_queue_new();
    assert_non_null(queue);
}

void client_close(void) {
    etcd_queue_free(queue);
    ew_client_close(client);
    queue = NULL;
    client = NULL;
}

ew_client *client_handle(void) {
    return client;
}

void client_order(void) {
    static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&order);
    pthread_mutex_unlock(&order);
}

/* ---- one call ---- */

typedef struct answer {
    bool there;
    int status;
    char detail[256];
    void *bytes;
    size_t len;
} answer;

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    answer *a = arg;
    a->there = true;
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s", detail ? detail : "");
    a->bytes = malloc(bytes.len + 1);
    if (a->bytes && bytes.len > 0)
        memcpy(a->bytes, bytes.data, bytes.len);
    a->len = bytes.len;
}

/* Sends `request` and waits for the answer. Returns errors too. */
static answer ask(etcd_method method, const ProtobufCMessage *request) {
    answer a = {0};
    client_order();
    size_t len = protobuf_c_message_get_packed_size(request);
    uint8_t *packed = malloc(len + 1);
    assert_non_null(packed);
    protobuf_c_message_pack(request, packed);
    assert_non_null(etcd_call_start(client, queue, method, (ew_slice){packed, len}, TIMEOUT_MS, answered, &a));
    free(packed);
    while (!a.there)
        etcd_queue_run(queue, INT64_MAX);
    return a;
}

/* Sends `request` and unpacks the answer. An error fails the test. */
static ProtobufCMessage *call(etcd_method method, const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *response) {
    answer a = ask(method, request);
    if (a.status != EW_OK)
        fail_msg("etcd: %s: %s", ew_strerror(a.status), a.detail);
    ProtobufCMessage *m = protobuf_c_message_unpack(response, NULL, a.len, a.bytes);
    free(a.bytes);
    assert_non_null(m);
    return m;
}

void client_reconnect(void) {
    Pb__StatusRequest r = PB__STATUS_REQUEST__INIT;
    int status;
    int64_t deadline_ms = etcd_now_ms() + TIMEOUT_MS;
    do {
        answer a = ask(ETCD_STATUS, &r.base);
        free(a.bytes);
        status = a.status;
    } while (status != EW_OK && etcd_now_ms() < deadline_ms);
    assert_int_equal(status, EW_OK);
}

/* ---- keys ---- */

int64_t client_put_slice(ew_slice key, ew_slice value, int64_t lease) {
    Pb__PutRequest r = PB__PUT_REQUEST__INIT;
    r.key = slice_bytes(key);
    r.value = slice_bytes(value);
    r.lease = lease;
    Pb__PutResponse *m = (Pb__PutResponse *)call(ETCD_PUT, &r.base, &pb__put_response__descriptor);
    int64_t revision = m->header->revision;
    pb__put_response__free_unpacked(m, NULL);
    return revision;
}

int64_t client_put(const char *key, const char *value) {
    return client_put_slice(ew_str(key), ew_str(value), 0);
}

static int64_t delete_range(const char *key, const char *range_end) {
    Pb__DeleteRangeRequest r = PB__DELETE_RANGE_REQUEST__INIT;
    r.key = slice_bytes(ew_str(key));
    r.range_end = slice_bytes(ew_str(range_end));
    Pb__DeleteRangeResponse *m =
        (Pb__DeleteRangeResponse *)call(ETCD_DELETE_RANGE, &r.base, &pb__delete_range_response__descriptor);
    int64_t revision = m->header->revision;
    pb__delete_range_response__free_unpacked(m, NULL);
    return revision;
}

int64_t client_delete(const char *key) {
    return delete_range(key, "");
}

/* Writes the first key after all keys that start with `prefix`. `prefix` must not end with 0xff. */
static void end_of(const char *prefix, char *out, size_t size) {
    snprintf(out, size, "%s", prefix);
    out[strlen(out) - 1]++;
}

int64_t client_delete_prefix(const char *prefix) {
    char end[256];
    end_of(prefix, end, sizeof end);
    return delete_range(prefix, end);
}

static Pb__RangeResponse *range(const char *key, const char *range_end, int64_t revision, bool count_only) {
    Pb__RangeRequest r = PB__RANGE_REQUEST__INIT;
    r.key = slice_bytes(ew_str(key));
    r.range_end = slice_bytes(ew_str(range_end));
    r.revision = revision;
    r.count_only = count_only;
    return (Pb__RangeResponse *)call(ETCD_RANGE, &r.base, &pb__range_response__descriptor);
}

client_kv client_get_at(const char *key, int64_t revision) {
    Pb__RangeResponse *m = range(key, "", revision, false);
    client_kv kv = {.present = m->n_kvs == 1};
    if (kv.present) {
        const Pb__KeyValue *e = m->kvs[0];
        kv.len = e->value.len;
        snprintf(kv.value, sizeof kv.value, "%.*s", (int)e->value.len,
                 e->value.len > 0 ? (const char *)e->value.data : "");
        kv.create_revision = e->create_revision;
        kv.mod_revision = e->mod_revision;
        kv.version = e->version;
        kv.lease = e->lease;
    }
    pb__range_response__free_unpacked(m, NULL);
    return kv;
}

client_kv client_get(const char *key) {
    return client_get_at(key, 0);
}

size_t client_count(const char *prefix) {
    char end[256];
    end_of(prefix, end, sizeof end);
    Pb__RangeResponse *m = range(prefix, end, 0, true);
    size_t count = (size_t)m->count;
    pb__range_response__free_unpacked(m, NULL);
    return count;
}

int64_t client_revision(void) {
    Pb__RangeResponse *m = range("/", "", 0, true);
    int64_t revision = m->header->revision;
    pb__range_response__free_unpacked(m, NULL);
    return revision;
}

void client_compact(int64_t revision) {
    Pb__CompactionRequest r = PB__COMPACTION_REQUEST__INIT;
    r.revision = revision;
    r.physical = true;
    ProtobufCMessage *m = call(ETCD_COMPACT, &r.base, &pb__compaction_response__descriptor);
    protobuf_c_message_free_unpacked(m, NULL);
}

Pb__TxnResponse *client_txn(const Pb__TxnRequest *request) {
    return (Pb__TxnResponse *)call(ETCD_TXN, &request->base, &pb__txn_response__descriptor);
}

size_t client_pack_put(uint8_t *out, size_t size, const char *key, ew_slice value, int64_t mod_revision) {
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.key = slice_bytes(ew_str(key));
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = mod_revision;
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    put.key = compare.key;
    put.value = slice_bytes(value);
    Pb__RangeRequest read = PB__RANGE_REQUEST__INIT;
    read.key = compare.key;
    read.keys_only = true;
    Pb__RequestOp success = PB__REQUEST_OP__INIT, *successes[] = {&success};
    success.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    success.request_put = &put;
    Pb__RequestOp failure = PB__REQUEST_OP__INIT, *failures[] = {&failure};
    failure.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    failure.request_range = &read;
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    txn.compare = compares;
    txn.success = successes;
    txn.failure = failures;
    assert_true(pb__txn_request__get_packed_size(&txn) <= size);
    return pb__txn_request__pack(&txn, out);
}

/* ---- leases ---- */

int64_t client_grant(int64_t ttl_s) {
    Pb__LeaseGrantRequest r = PB__LEASE_GRANT_REQUEST__INIT;
    r.ttl = ttl_s;
    Pb__LeaseGrantResponse *m =
        (Pb__LeaseGrantResponse *)call(ETCD_LEASE_GRANT, &r.base, &pb__lease_grant_response__descriptor);
    int64_t lease = m->id;
    pb__lease_grant_response__free_unpacked(m, NULL);
    return lease;
}

void client_revoke(int64_t lease) {
    Pb__LeaseRevokeRequest r = PB__LEASE_REVOKE_REQUEST__INIT;
    r.id = lease;
    ProtobufCMessage *m = call(ETCD_LEASE_REVOKE, &r.base, &pb__lease_revoke_response__descriptor);
    protobuf_c_message_free_unpacked(m, NULL);
}
