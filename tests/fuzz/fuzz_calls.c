/* Answers every call of the client with arbitrary bytes. All code of the client between the answer and the user's
 * result runs; only the sending is replaced (the linker replaces gRPC's callers by the functions below). It must not
 * crash, and a result with EW_OK must be valid. */
#include "etcd/connection.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) ((condition) ? (void)0 : abort())

/* ---- instead of etcd ---- */

/* The answers: a length, that many bytes, and so on. The last one may be longer than a length can express. */
static struct {
    const uint8_t *at;
    size_t left;
} input;

static ew_slice next_answer(void) {
    enum { LENGTH_MAX = 255 };
    if (input.left == 0)
        return (ew_slice){"", 0};
    size_t len = *input.at++;
    input.left--;
    if (len > input.left || len == LENGTH_MAX)
        len = input.left;
    ew_slice answer = {input.at, len};
    input.at += len;
    input.left -= len;
    return answer;
}

static struct stream {
    etcd_stream_callbacks callbacks;
    void *arg;
} the_stream;

etcd_call *__wrap_etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request,
                                  int64_t timeout_ms, etcd_answer_fn fn, void *arg);
etcd_stream *__wrap_etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method,
                                     etcd_stream_callbacks callbacks, void *arg);
int __wrap_etcd_stream_send(etcd_stream *s, ew_slice message);
void __wrap_etcd_stream_cancel(etcd_stream *s);

etcd_call *__wrap_etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request,
                                  int64_t timeout_ms, etcd_answer_fn fn, void *arg) {
    (void)client, (void)q, (void)method, (void)request, (void)timeout_ms;
    fn(arg, EW_OK, "", next_answer());
    return (etcd_call *)&the_stream; /* not NULL; never dereferenced, since the call is already answered */
}

etcd_stream *__wrap_etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method,
                                     etcd_stream_callbacks callbacks, void *arg) {
    (void)client, (void)q, (void)method;
    the_stream = (struct stream){callbacks, arg};
    return (etcd_stream *)&the_stream;
}

int __wrap_etcd_stream_send(etcd_stream *s, ew_slice message) {
    (void)s, (void)message;
    the_stream.callbacks.message(the_stream.arg, next_answer());
    return EW_OK;
}

void __wrap_etcd_stream_cancel(etcd_stream *s) {
    (void)s;
    the_stream.callbacks.ended(the_stream.arg, EW_ERR_CANCELLED, "cancelled");
}

/* ---- what the user gets ---- */

static volatile uint8_t sink;

static void read_bytes(ew_slice s) {
    for (size_t i = 0; i < s.len; i++)
        sink ^= ((const uint8_t *)s.data)[i];
}

static void read_text(const char *text) {
    CHECK(text);
    read_bytes(ew_str(text));
}

static void read_kv(const ew_kv *kv) {
    read_bytes(kv->key);
    read_bytes(kv->value);
    CHECK(kv->key.len > 0 && kv->mod_revision > 0 && kv->create_revision <= kv->mod_revision && kv->version > 0);
}

static void read_result(const ew_result *r) {
    CHECK(ew_result_revision(r) > 0 && ew_result_total(r) >= 0);
    for (size_t i = 0; i < ew_result_count(r); i++)
        read_kv(ew_result_at(r, i));
    for (size_t i = 0; ew_result_op(r, i); i++)
        read_result(ew_result_op(r, i));
}

static void read_and_free(int status, ew_result *r) {
    CHECK((status == EW_OK) == (r != NULL));
    if (r)
        read_result(r);
    ew_result_free(r);
}

/* ---- the calls ---- */

static ew_error err;

static int get(ew_client *c) {
    ew_result *r;
    int status = ew_client_get(c, ew_keys_prefix(EW_STR("/")), NULL, &r, &err);
    read_and_free(status, r);
    return status;
}

static int put(ew_client *c) {
    ew_result *r;
    int status = ew_client_put(c, EW_STR("/a"), EW_STR("x"), &EW_PUT_OPTIONS(.previous = true), &r, &err);
    read_and_free(status, r);
    return status;
}

static int delete (ew_client *c) {
    ew_result *r;
    int status = ew_client_delete(c, ew_keys_prefix(EW_STR("/")), &EW_DELETE_OPTIONS(.previous = true), &r, &err);
    read_and_free(status, r);
    return status;
}

static int txn(ew_client *c) {
    ew_result *r;
    ew_txn *t = ew_txn_new(), *nested = ew_txn_new();
    ew_txn_get(nested, EW_ELSE, ew_keys_one(EW_STR("/b")), NULL);
    ew_txn_put(t, EW_THEN, EW_STR("/a"), EW_STR("x"), NULL);
    ew_txn_nest(t, EW_THEN, nested);
    ew_txn_get(t, EW_ELSE, ew_keys_one(EW_STR("/a")), NULL);
    int status = ew_client_txn(c, t, &r, &err);
    if (status == EW_OK)
        CHECK(ew_result_op(r, ew_result_succeeded(r) ? 1 : 0)); /* one result for each operation */
    read_and_free(status, r);
    ew_txn_free(nested);
    ew_txn_free(t);
    return status;
}

static int compact(ew_client *c) {
    return ew_client_compact(c, 1, NULL, &err);
}

/* Checks that keys come in ascending order, within the range, at one revision. */
static int scan(ew_client *c) {
    ew_scan *s;
    ew_kv kv;
    uint8_t before[512];
    size_t before_len = 0;
    int status = ew_scan_open(&s, c, ew_keys_prefix(EW_STR("/")), NULL, &err);
    CHECK(status == EW_OK);
    while ((status = ew_scan_next(s, &kv, &err)) == EW_OK) {
        read_kv(&kv);
        size_t shorter = kv.key.len < before_len ? kv.key.len : before_len;
        int order = memcmp(before, kv.key.data, shorter);
        if (kv.key.len <= sizeof before)
            CHECK(order < 0 || (order == 0 && before_len < kv.key.len));
        before_len = kv.key.len < sizeof before ? kv.key.len : sizeof before;
        memcpy(before, kv.key.data, before_len);
        CHECK(ew_scan_revision(s) > 0);
    }
    ew_scan_close(s);
    return status == EW_END ? EW_OK : status;
}

static int grant(ew_client *c) {
    int64_t lease = input.left % 2, asked = lease, ttl_s = 0;
    int status = ew_client_lease_grant(c, 10, &lease, &ttl_s, &err);
    CHECK(status != EW_OK || (lease != 0 && ttl_s > 0 && (asked == 0 || lease == asked)));
    return status;
}

static int revoke(ew_client *c) {
    return ew_client_lease_revoke(c, 7, &err);
}

static int keepalive(ew_client *c) {
    int64_t ttl_s = 0;
    int status = ew_client_lease_keepalive(c, 7, &ttl_s, &err);
    CHECK(status != EW_OK || ttl_s > 0);
    return status == EW_ERR_NOT_FOUND ? EW_OK : status;
}

static int info(ew_client *c) {
    int64_t left_s = 0, granted_s = 0;
    ew_result *keys;
    int status = ew_client_lease_info(c, 7, &left_s, &granted_s, &keys, &err);
    CHECK(status != EW_OK || (left_s >= 0 && granted_s >= 0));
    CHECK((status == EW_OK) == (keys != NULL));
    for (size_t i = 0; keys && i < ew_result_count(keys); i++)
        read_bytes(ew_result_at(keys, i)->key);
    ew_result_free(keys);
    return status == EW_ERR_NOT_FOUND ? EW_OK : status;
}

static int member_status(ew_client *c) {
    ew_member_status s = {.size = sizeof s};
    int status = ew_client_status(c, &s, &err);
    if (status == EW_OK)
        read_text(s.version);
    CHECK(status != EW_OK || (s.revision > 0 && s.db_bytes >= 0 && s.db_bytes_in_use >= 0));
    return status;
}

static int members(ew_client *c) {
    ew_members *m;
    int status = ew_client_members(c, &m, &err);
    CHECK((status == EW_OK) == (m != NULL));
    const ew_member *member;
    for (size_t i = 0; m && (member = ew_members_at(m, i)); i++) {
        read_text(member->name);
        for (const char *const *url = member->peer_urls; *url; url++)
            read_text(*url);
        for (const char *const *url = member->client_urls; *url; url++)
            read_text(*url);
    }
    ew_members_free(m);
    return status;
}

/* The token goes into the metadata of calls, where gRPC aborts the process if it contains invalid bytes. */
static int authenticate(ew_client *c) {
    grpc_slice token;
    uint64_t generation;
    int status = auth_made(&c->auth, next_answer());
    if (status == EW_OK) {
        CHECK(auth_get(&c->auth, AUTH_ANY_AGE, &token, &generation) == AUTH_READY);
        CHECK(GRPC_SLICE_LENGTH(token) > 0 && grpc_header_nonbin_value_is_legal(token));
        grpc_slice_unref(token);
    }
    err.code = status;
    return status;
}

static int (*const calls[])(ew_client *) = {get,    put,       delete, txn,           compact, scan,        grant,
                                            revoke, keepalive, info,   member_status, members, authenticate};
#define CALLS (sizeof calls / sizeof calls[0])

static ew_client *open_client(void) {
    static ew_client *client;
    if (client)
        return client;
    ew_options *o = ew_options_new();
    CHECK(ew_options_set(o, "endpoints", "127.0.0.1:1", NULL) == EW_OK);
    CHECK(ew_options_set(o, "user", "app", NULL) == EW_OK);
    CHECK(ew_options_set(o, "password", "secret", NULL) == EW_OK);
    CHECK(ew_options_set_int(o, "call_timeout_ms", 100, NULL) == EW_OK);
    CHECK(ew_client_open(&client, o, NULL) == EW_OK);
    ew_options_free(o);
    return client;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    ew_client *c = open_client();
    atomic_store(&c->cluster_id, 0);
    /* a recent answer, so that the client does not check an idle connection first */
    atomic_store(&c->last_answer_ms, etcd_now_ms());
    input.at = data + 1;
    input.left = size - 1;
    err = (ew_error){0};
    int status = calls[data[0] % CALLS](c);
    CHECK(status <= 0 && (status == EW_OK || err.code == status));
    return 0;
}
