/* Which cluster an endpoint belongs to if etcd names it only to users (ETCD P15): real etcd of any release, and the
 * fake server, which behaves like 3.5.29. */
#include "etcd/auth.h"
#include "etcd/blocking.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"
#include "lib/fake_server.h"
#include "lib/fault_proxy.h"

#include <grpc/grpc.h>

#include <stdio.h>
#include <stdlib.h>

static ew_client *open_as_user(const char *where) {
    ew_options *o = ew_options_new();
    ew_client *c;
    must(ew_options_set(o, "endpoints", where, &err));
    must(ew_options_set(o, "user", "app", &err));
    must(ew_options_set(o, "password", "secret", &err));
    must(ew_options_set_int(o, "call_timeout_ms", 10000, &err));
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    return c;
}

static int put(ew_client *c) {
    err.detail[0] = '\0';
    return ew_client_put(c, EW_STR("/a"), EW_STR("x"), NULL, NULL, &err);
}

static int keepalive(ew_client *c) {
    return ew_client_lease_keepalive(c, 7, NULL, &err);
}

static int watch(ew_client *c) {
    ew_watch *w;
    int status = ew_watch_open(&w, c, ew_keys_one(EW_STR("/a")), NULL, &err);
    ew_watch_close(w);
    return status;
}

static void expect(int status, int expected, const char *words) {
    if (status != expected || !strstr(err.detail, words))
        fail_msg("%s with \"%s\", expected %s with \"%s\"", ew_errname(status), err.detail, ew_errname(expected),
                 words);
}

/* ---- the fake server ---- */

/* A call, a stream with a wait, a stream that stays open. */
enum { PUT, KEEPALIVE, WATCH, ACTIONS };
static int (*const actions[ACTIONS])(ew_client *) = {put, keepalive, watch};

static void answer_to(fake_server *s, int action, uint64_t cluster) {
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__PutResponse put_answer = PB__PUT_RESPONSE__INIT;
    Pb__LeaseKeepAliveResponse keepalive_answer = PB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    Pb__WatchResponse watch_answer = PB__WATCH_RESPONSE__INIT;
    void *const answers[ACTIONS] = {&put_answer, &keepalive_answer, &watch_answer};
    header.cluster_id = cluster;
    header.revision = 10;
    put_answer.header = keepalive_answer.header = watch_answer.header = &header;
    keepalive_answer.id = 7;
    keepalive_answer.ttl = 10;
    watch_answer.created = true;
    ew_slice bytes = blocking_pack(answers[action]);
    fake_server_set_cluster(s, cluster);
    fake_server_answer(s, bytes, GRPC_STATUS_OK, "");
    free((void *)(uintptr_t)bytes.data);
}

static fake_server *start_for_users(void) {
    fake_server *s = fake_server_start();
    fake_server_give_tokens(s);
    fake_server_want_tokens(s, 1);
    return s;
}

static void break_connections(fault_proxy *proxy) {
    fault_proxy_cut(proxy);
    fault_proxy_mend(proxy);
}

/* Repeats the action while it fails because of the broken connection: the call may be sent on that connection, or find
 * none while the next one is made. */
static int act(ew_client *c, int action) {
    int64_t end_ms = etcd_now_ms() + 30000;
    int status;
    do
        status = actions[action](c);
    while ((status == EW_ERR_UNKNOWN_OUTCOME || status == EW_ERR_UNAVAILABLE) && etcd_now_ms() < end_ms);
    return status;
}

/* The only endpoint becomes another cluster that has the same user and does not know the token: the client sends it
 * only identity queries, also at each retry. */
static void test_another_cluster_has_the_same_user(void **state) {
    (void)state;
    for (int action = 0; action < ACTIONS; action++) {
        fake_server *s = start_for_users();
        fault_proxy *proxy = fault_proxy_open(fake_server_endpoint(s));
        ew_client *c = open_as_user(fault_proxy_endpoint(proxy));
        answer_to(s, action, 1);
        must(actions[action](c));
        answer_to(s, action, 2);
        fake_server_want_tokens(s, 2); /* the next token that it makes */
        fault_proxy_cut(proxy);
        fake_server_take_calls(s);
        fault_proxy_mend(proxy);
        for (int i = 0; i < 3; i++) {
            expect(act(c, action), EW_ERR_WRONG_CLUSTER, "is cluster 2, not 1");
            break_connections(proxy);
        }
        assert_int_equal(fake_server_take_calls(s).count, 0);
        answer_to(s, action, 1); /* it is the client's cluster again */
        must(act(c, action));
        ew_client_close(c);
        fault_proxy_close(proxy);
        fake_server_stop(s);
    }
}

/* A member that was restarted does not know the token: the client asks it with a new one. */
static void test_the_query_needs_another_token(void **state) {
    (void)state;
    for (int action = 0; action < ACTIONS; action++) {
        fake_server *s = start_for_users();
        fault_proxy *proxy = fault_proxy_open(fake_server_endpoint(s));
        ew_client *c = open_as_user(fault_proxy_endpoint(proxy));
        answer_to(s, action, 1);
        must(actions[action](c));
        fake_server_want_tokens(s, 2);
        fake_server_take_calls(s);
        break_connections(proxy);
        must(act(c, action));
        fake_server_calls calls = fake_server_take_calls(s);
        assert_int_equal(calls.tokens, 1);
        assert_string_equal(calls.token, "token-2");
        ew_client_close(c);
        fault_proxy_close(proxy);
        fake_server_stop(s);
    }
}

/* A member that knows no token at all is not asked for ever. */
static void test_every_token_is_refused(void **state) {
    (void)state;
    for (int action = 0; action < ACTIONS; action++) {
        fake_server *s = start_for_users();
        ew_client *c = open_as_user(fake_server_endpoint(s));
        answer_to(s, action, 1);
        fake_server_want_tokens(s, INT32_MAX);
        expect(actions[action](c), EW_ERR_UNAUTHENTICATED, "invalid auth token");
        fake_server_calls calls = fake_server_take_calls(s);
        assert_int_equal(calls.count, 0);
        assert_in_range(calls.tokens, 1, (AUTH_REFUSALS_MAX + 1) * (AUTH_REFUSALS_MAX + 1));
        ew_client_close(c);
        fake_server_stop(s);
    }
}

/* One of four endpoints belongs to another cluster, which has no users and so answers at once: it decides nothing. */
static void test_an_endpoint_without_users_decides_nothing(void **state) {
    (void)state;
    enum { OURS = 3, ROUNDS = 6 };
    fake_server *odd = fake_server_start(), *ours[OURS];
    char list[200];
    fake_server_set_cluster(odd, 2);
    fake_server_refuse(odd, INT32_MAX, GRPC_STATUS_FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
    int used = snprintf(list, sizeof list, "%s", fake_server_endpoint(odd));
    for (int i = 0; i < OURS; i++) {
        ours[i] = start_for_users();
        answer_to(ours[i], PUT, 1);
        used += snprintf(list + used, sizeof list - (size_t)used, ",%s", fake_server_endpoint(ours[i]));
    }
    for (int i = 0; i < ROUNDS; i++) {
        ew_client *c = open_as_user(list);
        for (int k = 0; k < OURS + 1; k++)
            must(put(c));
        ew_client_close(c);
        fake_server_calls calls = fake_server_take_calls(odd);
        assert_true(calls.count == 0 || strcmp(calls.path, "/etcdserverpb.Auth/Authenticate") == 0);
    }
    for (int i = 0; i < OURS; i++)
        fake_server_stop(ours[i]);
    fake_server_stop(odd);
}

/* In 3.5.28 only root may ask: the client uses such an endpoint. */
static void test_a_user_may_not_ask(void **state) {
    (void)state;
    fake_server *s = start_for_users();
    ew_client *c = open_as_user(fake_server_endpoint(s));
    answer_to(s, PUT, 1);
    fake_server_script_members(s, true);
    fake_server_refuse(s, 1, GRPC_STATUS_PERMISSION_DENIED, "etcdserver: permission denied");
    must(put(c));
    fake_server_calls calls = fake_server_take_calls(s);
    assert_string_equal(calls.path, "/etcdserverpb.KV/Put");
    assert_int_equal(calls.count, 3); /* two identity queries and the put */
    ew_client_close(c);
    fake_server_stop(s);
}

/* A learner refuses the identity query like all other calls: the client uses the other endpoint. */
static void test_a_learner_is_not_used(void **state) {
    (void)state;
    for (int action = 0; action < ACTIONS; action++) {
        fake_server *learner = fake_server_start(), *member = fake_server_start();
        char both[128];
        fake_server_script_members(learner, true);
        fake_server_refuse(learner, INT32_MAX, GRPC_STATUS_FAILED_PRECONDITION,
                           "etcdserver: rpc not supported for learner");
        answer_to(member, action, 1);
        snprintf(both, sizeof both, "%s,%s", fake_server_endpoint(learner), fake_server_endpoint(member));
        ew_client *c = open_client_at(both, "", 10000);
        for (int i = 0; i < 4; i++)
            must(actions[action](c));
        ew_client_close(c);
        assert_string_equal(fake_server_take_calls(learner).path, "/etcdserverpb.Cluster/MemberList");
        fake_server_stop(member);
        fake_server_stop(learner);
    }
}

/* ---- real etcd ---- */

static int64_t revision_of(const etcd_server *s) {
    ew_client *c = open_as_user(s->address);
    ew_result *r;
    must(ew_client_get(c, ew_keys_one(EW_STR("/a")), NULL, &r, &err));
    int64_t revision = ew_result_revision(r);
    ew_result_free(r);
    ew_client_close(c);
    return revision;
}

/* The other cluster has the same user and password. Its log is shorter, and a member waits until its log has reached
 * the index in a token. */
static void test_etcd_is_replaced_with_its_users(void **state) {
    (void)state;
    enum { WRITES = 50, TIMES = 3 };
    etcd_server *s = etcd_server_start(NULL);
    etcd_server_add_users(s, (const char *const[]){"/", NULL});
    ew_client *before = open_as_user(s->endpoint);
    for (int i = 0; i < WRITES; i++)
        must(put(before));
    ew_client_close(before);
    ew_client *c = open_as_user(s->endpoint);
    must(put(c));
    etcd_server_replace(s);
    etcd_server_add_users(s, (const char *const[]){"/", NULL});
    int64_t revision = revision_of(s);
    for (int i = 0; i < TIMES; i++) {
        expect(act(c, PUT), EW_ERR_WRONG_CLUSTER, " is cluster ");
        expect(act(c, WATCH), EW_ERR_WRONG_CLUSTER, " is cluster ");
    }
    assert_int_equal(revision_of(s), revision);
    ew_client_close(c);
    etcd_server_free(s);
}

/* One of four endpoints belongs to another cluster, which has no users. */
static void test_the_odd_endpoint_has_no_users(void **state) {
    (void)state;
    enum { ROUNDS = 4, WRITES = 8 };
    etcd_cluster *cluster = etcd_cluster_start(NULL);
    etcd_server *odd = etcd_server_start(NULL);
    char all[200];
    etcd_server_add_users(cluster->nodes[0], (const char *const[]){"/", NULL});
    snprintf(all, sizeof all, "%s,%s", odd->address, cluster->endpoints);
    for (int i = 0; i < ROUNDS; i++) {
        ew_client *c = open_as_user(all);
        for (int k = 0; k < WRITES; k++) {
            must(put(c));
            must(watch(c));
        }
        ew_client_close(c);
    }
    assert_int_equal(revision_of(odd), 1);
    etcd_server_free(odd);
    etcd_cluster_free(cluster);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_another_cluster_has_the_same_user),
        TEST(test_the_query_needs_another_token),
        TEST(test_every_token_is_refused),
        TEST(test_an_endpoint_without_users_decides_nothing),
        TEST(test_a_user_may_not_ask),
        TEST(test_a_learner_is_not_used),
        TEST(test_etcd_is_replaced_with_its_users),
        TEST(test_the_odd_endpoint_has_no_users),
    };
    /* As in the daemon: then a channel makes progress only while a thread is in a queue that knows it. */
    setenv("GRPC_POLL_STRATEGY", "poll", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
