/* Every call of the client against a server whose answers etcd would never give: a message that is cut, empty or too
 * large, a header without a cluster, of another cluster or with a negative revision. And against a server that does not
 * answer, until another thread cancels. */
#include "etcd/blocking.h"
#include "lib/fake_server.h"

#include <etcdworker/session.h>

#include <grpc/grpc.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static fake_server *server;
static ew_client *client;

static int begin(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_error err;
    server = fake_server_start();
    assert_int_equal(ew_options_set(o, "endpoints", fake_server_endpoint(server), &err), EW_OK);
    assert_int_equal(ew_options_set_int(o, "max_receive_bytes", 1 << 20, &err), EW_OK);
    assert_int_equal(ew_client_open(&client, o, &err), EW_OK);
    ew_options_free(o);
    return 0;
}

static int end(void **state) {
    (void)state;
    ew_client_close(client);
    fake_server_stop(server);
    return etcd_all_released(5000) ? 0 : -1;
}

/* ---- the calls, each with a valid answer ---- */

static Pb__ResponseHeader header;

static int get_by(const ew_get_options *o, ew_error *err) {
    ew_result *r;
    int status = ew_client_get(client, ew_keys_one(EW_STR("/a")), o, &r, err);
    ew_result_free(r);
    return status;
}
static int get(ew_error *err) {
    return get_by(NULL, err);
}
static int get_serializable(ew_error *err) {
    return get_by(&EW_GET_OPTIONS(.serializable = true), err);
}
static int put(ew_error *err) {
    return ew_client_put(client, EW_STR("/a"), EW_STR("x"), NULL, NULL, err);
}
static int delete (ew_error *err) {
    return ew_client_delete(client, ew_keys_one(EW_STR("/a")), NULL, NULL, err);
}
static int txn(ew_error *err) {
    ew_txn *t = ew_txn_new();
    int status = ew_client_txn(client, t, NULL, err);
    ew_txn_free(t);
    return status;
}
static int compact(ew_error *err) {
    return ew_client_compact(client, 1, NULL, err);
}
static int scan_by(const ew_scan_options *o, ew_error *err) {
    ew_scan *s;
    ew_kv kv;
    assert_int_equal(ew_scan_open(&s, client, ew_keys_prefix(EW_STR("/")), o, err), EW_OK);
    int status = ew_scan_next(s, &kv, err);
    ew_scan_close(s);
    return status == EW_END ? EW_OK : status;
}
static int scan(ew_error *err) {
    return scan_by(NULL, err);
}
static int scan_serializable(ew_error *err) {
    return scan_by(&EW_SCAN_OPTIONS(.serializable = true), err);
}
static int grant(ew_error *err) {
    int64_t lease = 7;
    return ew_client_lease_grant(client, 10, &lease, NULL, err);
}
static int revoke(ew_error *err) {
    return ew_client_lease_revoke(client, 7, err);
}
static int keepalive(ew_error *err) {
    return ew_client_lease_keepalive(client, 7, NULL, err);
}
static int info(ew_error *err) {
    return ew_client_lease_info(client, 7, NULL, NULL, NULL, err);
}
static int member_status(ew_error *err) {
    ew_member_status s = {.size = sizeof s};
    return ew_client_status(client, &s, err);
}
static int members(ew_error *err) {
    ew_members *m;
    fake_server_script_members(server, true);
    int status = ew_client_members(client, &m, err);
    fake_server_script_members(server, false);
    ew_members_free(m);
    return status;
}
static int watch(ew_error *err) {
    ew_watch *w;
    int status = ew_watch_open(&w, client, ew_keys_one(EW_STR("/a")), NULL, err);
    ew_watch_close(w);
    return status;
}

static Pb__RangeResponse range_answer = PB__RANGE_RESPONSE__INIT;
static Pb__PutResponse put_answer = PB__PUT_RESPONSE__INIT;
static Pb__DeleteRangeResponse delete_answer = PB__DELETE_RANGE_RESPONSE__INIT;
static Pb__TxnResponse txn_answer = PB__TXN_RESPONSE__INIT;
static Pb__CompactionResponse compact_answer = PB__COMPACTION_RESPONSE__INIT;
static Pb__LeaseGrantResponse grant_answer = PB__LEASE_GRANT_RESPONSE__INIT;
static Pb__LeaseRevokeResponse revoke_answer = PB__LEASE_REVOKE_RESPONSE__INIT;
static Pb__LeaseKeepAliveResponse keepalive_answer = PB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
static Pb__LeaseTimeToLiveResponse info_answer = PB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
static Pb__StatusResponse status_answer = PB__STATUS_RESPONSE__INIT;
static Pb__MemberListResponse members_answer = PB__MEMBER_LIST_RESPONSE__INIT;
static Pb__WatchResponse watch_answer = PB__WATCH_RESPONSE__INIT;

static const struct action {
    const char *path;
    int (*call)(ew_error *err);
    void *answer; /* the first member of each response is the header */
    bool writes, needs_leader;
} actions[] = {
    {"/etcdserverpb.KV/Range", get, &range_answer, false, true},
    {"/etcdserverpb.KV/Range", get_serializable, &range_answer, false, false},
    {"/etcdserverpb.KV/Range", scan, &range_answer, false, true},
    {"/etcdserverpb.KV/Range", scan_serializable, &range_answer, false, false},
    {"/etcdserverpb.KV/Put", put, &put_answer, true, true},
    {"/etcdserverpb.KV/DeleteRange", delete, &delete_answer, true, true},
    {"/etcdserverpb.KV/Txn", txn, &txn_answer, true, true},
    {"/etcdserverpb.KV/Compact", compact, &compact_answer, true, true},
    {"/etcdserverpb.Lease/LeaseGrant", grant, &grant_answer, true, true},
    {"/etcdserverpb.Lease/LeaseRevoke", revoke, &revoke_answer, true, true},
    {"/etcdserverpb.Lease/LeaseKeepAlive", keepalive, &keepalive_answer, false, true},
    {"/etcdserverpb.Lease/LeaseTimeToLive", info, &info_answer, false, true},
    {"/etcdserverpb.Maintenance/Status", member_status, &status_answer, false, false},
    {"/etcdserverpb.Cluster/MemberList", members, &members_answer, false, false},
    {"/etcdserverpb.Watch/Watch", watch, &watch_answer, false, true},
};
#define ACTIONS (sizeof actions / sizeof actions[0])

static const struct action *action_of(int (*call)(ew_error *err)) {
    size_t i = 0;
    while (actions[i].call != call)
        i++;
    return &actions[i];
}

static ew_slice good_answer(const struct action *a) {
    pb__response_header__init(&header);
    header.cluster_id = 1;
    header.member_id = 2;
    header.revision = 10;
    ((Pb__TxnResponse *)a->answer)->header = &header; /* the first member of each */
    grant_answer.id = keepalive_answer.id = info_answer.id = 7;
    grant_answer.ttl = keepalive_answer.ttl = info_answer.ttl = 10;
    watch_answer.created = true;
    return blocking_pack(a->answer);
}

static void free_bytes(ew_slice bytes) {
    free((void *)(uintptr_t)bytes.data);
}

static void expect(const struct action *a, ew_slice answer, int expected, const char *what) {
    ew_error err = {0};
    fake_server_answer(server, answer, GRPC_STATUS_OK, "");
    int got = a->call(&err);
    if (got != expected)
        fail_msg("%s, %s: %s (%s), expected %s", a->path, what, ew_errname(got), err.detail, ew_errname(expected));
    if (expected != EW_OK)
        assert_true(err.detail[0] != '\0');
    assert_string_equal(fake_server_take_calls(server).path, a->path);
}

/* With a header that was made invalid after good_answer. */
static void expect_spoiled(const struct action *a, int expected, const char *what) {
    ew_slice bytes = blocking_pack(a->answer);
    expect(a, bytes, expected, what);
    free_bytes(bytes);
}

static void test_invalid_answers(void **state) {
    (void)state;
    static const uint8_t cut[] = {0x0a, 0x20, 0x08, 0x01};
    for (size_t i = 0; i < ACTIONS; i++) {
        const struct action *a = &actions[i];
        ew_slice good = good_answer(a);
        expect(a, good, EW_OK, "a good answer");
        expect(a, (ew_slice){cut, sizeof cut}, EW_ERR_BAD_ANSWER, "cut");
        expect(a, (ew_slice){good.data, good.len - 1}, EW_ERR_BAD_ANSWER, "cut at its end");
        expect(a, (ew_slice){cut, 0}, EW_ERR_BAD_ANSWER, "empty");
        free_bytes(good);
        header.cluster_id = 0;
        expect_spoiled(a, EW_ERR_BAD_ANSWER, "no cluster");
        header.cluster_id = 99;
        expect_spoiled(a, EW_ERR_WRONG_CLUSTER, "another cluster");
        header.cluster_id = 1;
        header.revision = -4;
        expect_spoiled(a, EW_ERR_BAD_ANSWER, "a negative revision");
        expect(a, (good = good_answer(a)), EW_OK, "a good answer again");
        free_bytes(good);
    }
}

/* An answer larger than max_receive_bytes: for a write, the outcome is unknown. */
static void test_answers_that_are_too_large(void **state) {
    (void)state;
    size_t size = (1 << 20) + 1;
    void *bytes = calloc(1, size);
    for (size_t i = 0; i < ACTIONS; i++) {
        expect(&actions[i], (ew_slice){bytes, size}, actions[i].writes ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_TOO_LARGE,
               "too large");
    }
    free(bytes);
}

static void test_invalid_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < ACTIONS; i++) {
        const struct action *a = &actions[i];
        free_bytes(good_answer(a));
        if (a->call == grant)
            grant_answer.ttl = -1;
        else if (a->call == info)
            info_answer.grantedttl = -5;
        else if (a->call == member_status)
            status_answer.dbsize = -1;
        else if (a->answer == &range_answer)
            range_answer.count = -1, range_answer.more = true;
        else if (a->call == delete)
            delete_answer.deleted = -1;
        else
            continue;
        expect_spoiled(a, EW_ERR_BAD_ANSWER, "a negative number");
        info_answer.grantedttl = status_answer.dbsize = range_answer.count = delete_answer.deleted = 0;
        range_answer.more = false;
    }
    for (size_t i = 0; i < ACTIONS; i++) {
        if (actions[i].call != grant && actions[i].call != keepalive)
            continue;
        free_bytes(good_answer(&actions[i]));
        grant_answer.ttl = keepalive_answer.ttl = INT64_MAX; /* more than fits in milliseconds */
        expect_spoiled(&actions[i], EW_ERR_BAD_ANSWER, "a TTL without end");
    }
}

static void test_another_lease(void **state) {
    (void)state;
    static int (*const calls[])(ew_error *) = {grant, keepalive, info};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        const struct action *a = action_of(calls[i]);
        free_bytes(good_answer(a));
        grant_answer.id = keepalive_answer.id = info_answer.id = 8;
        expect_spoiled(a, EW_ERR_BAD_ANSWER, "a lease that was not requested");
    }
}

/* The responses of a transaction must match its operations, also in a nested one. */
static void test_responses_of_another_kind(void **state) {
    (void)state;
    ew_error err = {0};
    Pb__ResponseOp put_op = PB__RESPONSE_OP__INIT, get_op = PB__RESPONSE_OP__INIT, txn_op = PB__RESPONSE_OP__INIT;
    Pb__ResponseOp *list[2] = {&put_op, &txn_op}, *inner_list[1] = {&get_op};
    Pb__TxnResponse outer = PB__TXN_RESPONSE__INIT, inner = PB__TXN_RESPONSE__INIT;
    ew_txn *t = ew_txn_new(), *nested = ew_txn_new();
    ew_txn_get(nested, EW_ELSE, ew_keys_one(EW_STR("/b")), NULL);
    ew_txn_put(t, EW_THEN, EW_STR("/a"), EW_STR("x"), NULL);
    ew_txn_nest(t, EW_THEN, nested);
    free_bytes(good_answer(action_of(txn)));
    put_op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    put_op.response_put = &put_answer;
    get_op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    get_op.response_range = &range_answer;
    txn_op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
    txn_op.response_txn = &inner;
    inner.responses = inner_list;
    inner.n_responses = 1;
    outer.header = &header;
    outer.succeeded = true;
    outer.responses = list;
    outer.n_responses = 2;
    for (int i = 0; i < 4; i++) {
        inner.succeeded = i == 1;                   /* this branch has no operation */
        inner_list[0] = i == 2 ? &put_op : &get_op; /* of another kind */
        outer.n_responses = i == 3 ? 1 : 2;         /* one is missing */
        ew_slice bytes = blocking_pack(&outer);
        fake_server_answer(server, bytes, GRPC_STATUS_OK, "");
        assert_int_equal(ew_client_txn(client, t, NULL, &err), i == 0 ? EW_OK : EW_ERR_BAD_ANSWER);
        free_bytes(bytes);
    }
    ew_txn_free(nested);
    ew_txn_free(t);
}

/* ---- what is sent again ---- */

/* ETCD P11: a write whose outcome is unknown is sent once, by the client and by gRPC. A read is sent again. */
static void test_a_write_is_not_repeated(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_error err = {0};
    ew_client *usual = client;
    ew_options_set(o, "endpoints", fake_server_endpoint(server), &err);
    ew_options_set_int(o, "call_timeout_ms", 500, &err);
    assert_int_equal(ew_client_open(&client, o, &err), EW_OK);
    fake_server_answer(server, (ew_slice){NULL, 0}, GRPC_STATUS_UNAVAILABLE, "try again");
    for (size_t i = 0; i < ACTIONS; i++) {
        int status = actions[i].call(&err);
        int count = fake_server_take_calls(server).count;
        if (actions[i].writes) {
            assert_int_equal(status, EW_ERR_UNKNOWN_OUTCOME);
            assert_int_equal(count, 1);
        } else {
            /* Its time may end between two attempts, or during one. */
            assert_true(status == EW_ERR_UNAVAILABLE || status == EW_ERR_TIMEOUT);
            assert_true(count > 1);
        }
    }
    ew_client_close(client);
    ew_options_free(o);
    client = usual;
}

/* ETCD P9: requests that a member without a leader must not serve are sent with `hasleader`. */
static void test_hasleader(void **state) {
    (void)state;
    for (size_t i = 0; i < ACTIONS; i++) {
        ew_error err;
        ew_slice good = good_answer(&actions[i]);
        fake_server_answer(server, good, GRPC_STATUS_OK, "");
        assert_int_equal(actions[i].call(&err), EW_OK);
        assert_int_equal(fake_server_take_calls(server).with_hasleader > 0, actions[i].needs_leader);
        free_bytes(good);
    }
}

/* ---- cancel ---- */

static int open_session(ew_error *err) {
    ew_session *s = NULL;
    return ew_session_open(&s, client, 10, err);
}

typedef struct caller {
    pthread_t thread;
    int (*call)(ew_error *err);
    int status;
} caller;

static void *call_on_a_thread(void *arg) {
    caller *me = arg;
    ew_error err;
    me->status = me->call(&err);
    return NULL;
}

static void expect_cancelled(int (*call)(ew_error *), int expected) {
    caller me = {.call = call};
    assert_int_equal(pthread_create(&me.thread, NULL, call_on_a_thread, &me), 0);
    fake_server_await_call(server);
    int64_t start_ms = etcd_now_ms();
    ew_client_cancel(client);
    pthread_join(me.thread, NULL);
    assert_int_equal(me.status, expected);
    assert_in_range(etcd_now_ms() - start_ms, 0, 5000); /* of the 10 s that it would have waited */
    fake_server_take_calls(server);
}

static void test_every_call_can_be_cancelled(void **state) {
    (void)state;
    fake_server_be_silent(server);
    for (size_t i = 0; i < ACTIONS; i++)
        expect_cancelled(actions[i].call, actions[i].writes ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_CANCELLED);
    expect_cancelled(open_session, EW_ERR_UNKNOWN_OUTCOME);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_invalid_answers), TEST(test_answers_that_are_too_large),  TEST(test_invalid_numbers),
        TEST(test_another_lease),   TEST(test_responses_of_another_kind),   TEST(test_a_write_is_not_repeated),
        TEST(test_hasleader),       TEST(test_every_call_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
