/* The connections of a client: how many, how they are kept alive, which member is used. */
#include "etcd/blocking.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"
#include "lib/fake_server.h"
#include "lib/fault_proxy.h"

#include <grpc/status.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static etcd_server *server;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    return 0;
}

static int put(ew_client *c) {
    return ew_client_put(c, EW_STR("/a"), EW_STR("x"), NULL, NULL, &err);
}

static int get(ew_client *c, bool serializable) {
    ew_result *r;
    int status = ew_client_get(c, ew_keys_one(EW_STR("/a")), &EW_GET_OPTIONS(.serializable = serializable), &r, &err);
    ew_result_free(r);
    return status;
}

/* Calls, watches and keepalives each have their own connection, which is made when it is first needed. */
static void test_one_connection_of_each_kind(void **state) {
    (void)state;
    fault_proxy *proxy = fault_proxy_open(server->address);
    ew_client *c = open_client_at(fault_proxy_endpoint(proxy), "", 10000);
    ew_watch *first, *second;
    int64_t lease = 0;
    assert_int_equal(fault_proxy_count(proxy).made, 0);
    must(put(c));
    must(get(c, false));
    must(ew_client_lease_grant(c, 10, &lease, NULL, &err));
    assert_int_equal(fault_proxy_count(proxy).made, 1);
    must(ew_watch_open(&first, c, ew_keys_one(EW_STR("/a")), NULL, &err));
    must(ew_watch_open(&second, c, ew_keys_one(EW_STR("/b")), NULL, &err));
    assert_int_equal(fault_proxy_count(proxy).made, 2);
    must(ew_client_lease_keepalive(c, lease, NULL, &err));
    must(ew_client_lease_keepalive(c, lease, NULL, &err));
    assert_int_equal(fault_proxy_count(proxy).made, 3);
    ew_watch_close(first);
    ew_watch_close(second);
    ew_client_close(c);
    fault_proxy_close(proxy);
}

/* etcd closes a connection after two pings that are less than 5 s apart. An idle watch with the smallest
 * keepalive_time_ms keeps its connection. */
static void test_pings_are_within_etcds_limits(void **state) {
    (void)state;
    enum { IDLE_MS = 30000 }; /* five pings */
    fault_proxy *proxy = fault_proxy_open(server->address);
    ew_options *o = ew_options_new();
    ew_client *c, *other = etcd_server_client(server);
    ew_watch *w;
    ew_watch_batch b;
    must(ew_options_set(o, "endpoints", fault_proxy_endpoint(proxy), &err));
    assert_int_equal(ew_options_set_int(o, "keepalive_time_ms", 5499, &err), EW_ERR_INVALID);
    must(ew_options_set_int(o, "keepalive_time_ms", 5500, &err));
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    must(ew_watch_open(&w, c, ew_keys_one(EW_STR("/a")), NULL, &err));
    uint64_t up = fault_proxy_count(proxy).passed[0];
    assert_int_equal(ew_watch_next(w, IDLE_MS, &b, &err), EW_ERR_TIMEOUT);
    assert_true(fault_proxy_count(proxy).passed[0] >= up + 4 * 17); /* there were pings, which are 17 bytes */
    must(put(other));
    must(ew_watch_next(w, 30000, &b, &err));
    assert_int_equal(fault_proxy_count(proxy).made, 1);
    ew_watch_close(w);
    ew_client_close(c);
    ew_client_close(other);
    fault_proxy_close(proxy);
}

/* A member without a leader refuses at once what needs a leader, as etcd does with `hasleader`; the client uses the
 * other members. A serializable read is answered by any member, which is its purpose. */
static void test_a_member_without_a_leader_is_not_used(void **state) {
    (void)state;
    enum { TIMES = 20 };
    char both[128];
    fake_server *alone = fake_server_start();
    ew_member_status member = {.size = sizeof member};
    ew_client *direct = etcd_server_client(server);
    must(ew_client_status(direct, &member, &err));
    ew_client_close(direct);
    fake_server_set_cluster(alone, member.cluster_id);
    snprintf(both, sizeof both, "%s,%s", fake_server_endpoint(alone), server->address);
    ew_client *c = open_client_at(both, "", 10000);
    fake_server_refuse(alone, INT32_MAX, GRPC_STATUS_UNAVAILABLE, "etcdserver: no leader");
    int64_t began_ms = etcd_now_ms();
    for (int i = 0; i < TIMES; i++) {
        must(put(c));
        must(get(c, false));
    }
    assert_true(etcd_now_ms() - began_ms < TIMES * 500);
    fake_server_calls calls = fake_server_take_calls(alone);
    assert_true(calls.count > 0);
    assert_int_equal(calls.with_hasleader, calls.count);
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__RangeResponse answer = PB__RANGE_RESPONSE__INIT;
    header.cluster_id = member.cluster_id;
    header.revision = 1;
    answer.header = &header;
    ew_slice bytes = blocking_pack(&answer);
    fake_server_refuse(alone, 0, 0, "");
    fake_server_answer(alone, bytes, GRPC_STATUS_OK, "");
    free((void *)(uintptr_t)bytes.data);
    fake_server_take_calls(alone);
    for (int i = 0; i < TIMES; i++)
        must(get(c, true));
    calls = fake_server_take_calls(alone);
    assert_true(calls.count > 0);
    assert_int_equal(calls.with_hasleader, 0);
    ew_client_close(c);
    fake_server_stop(alone);
}

/* ETCD P11: the outcome of a write that was sent and not answered in time is unknown, whatever other endpoints there
 * are. It is not sent again. */
static void test_a_write_without_an_answer_is_not_repeated(void **state) {
    (void)state;
    char both[128];
    fake_server *silent = fake_server_start();
    snprintf(both, sizeof both, "%s,unix:/no/such/socket", fake_server_endpoint(silent));
    ew_client *c = open_client_at(both, "", 500);
    assert_int_equal(put(c), EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(fake_server_take_calls(silent).count, 1);
    ew_client_close(c);
    fake_server_stop(silent);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_one_connection_of_each_kind),
        TEST(test_pings_are_within_etcds_limits),
        TEST(test_a_member_without_a_leader_is_not_used),
        TEST(test_a_write_without_an_answer_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
