/* Properties of one endpoint, not of the list: the name in its certificate, its cluster, and the reason why it cannot
 * be used. */
#include "etcd/blocking_request.h"
#include "etcd/etcd.h"
#include "lib/certs_fixture.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"
#include "lib/fake_server.h"

#include <etcdworker/log.h>
#include <etcdworker/session.h>

#include <grpc/status.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int put(ew_client *c, const char *key) {
    err.detail[0] = '\0';
    return ew_client_put(c, ew_str(key), EW_STR("x"), NULL, NULL, &err);
}

static void expect_put(ew_client *c, int status, const char *words) {
    int got = put(c, "/a");
    if (got != status || !strstr(err.detail, words))
        fail_msg("%s with \"%s\", expected %s with \"%s\"", ew_errname(got), err.detail, ew_errname(status), words);
}

static void expect_words(const char *words) {
    if (!strstr(err.detail, words))
        fail_msg("\"%s\", expected \"%s\"", err.detail, words);
}

/* ---- the log ---- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char odd_endpoint[64]; /* the last one that was logged */
static int odd_reports;

static void on_log(void *arg, const ew_log_record *r) {
    (void)arg;
    if (!strstr(r->message, "belongs to another cluster"))
        return;
    pthread_mutex_lock(&log_lock);
    odd_reports++;
    for (size_t i = 0; i < r->field_count; i++) {
        if (strcmp(r->fields[i].name, "endpoint") == 0)
            snprintf(odd_endpoint, sizeof odd_endpoint, "%s", r->fields[i].text);
    }
    pthread_mutex_unlock(&log_lock);
}

static void begin_log(void) {
    odd_reports = 0;
    odd_endpoint[0] = '\0';
    ew_log_set(on_log, NULL, EW_LOG_WARN);
}

static void expect_one_report(const char *endpoint) {
    ew_log_set(NULL, NULL, EW_LOG_WARN);
    assert_int_equal(odd_reports, 1);
    assert_string_equal(odd_endpoint, endpoint);
}

/* ---- certificates ---- */

static etcd_cluster *start_with_certificates(const char *const names[ETCD_CLUSTER_NODES]) {
    char cert[256], key[256];
    cert_paths p;
    for (int i = 0; i < ETCD_CLUSTER_NODES; i++) {
        char name[16];
        snprintf(name, sizeof name, "node%d", i + 1);
        p = certs_make(files, name, names[i], -1, 1);
    }
    snprintf(cert, sizeof cert, "--cert-file=%s", p.cert);
    snprintf(key, sizeof key, "--key-file=%s", p.key);
    *strrchr(cert, '3') = *strrchr(key, '3') = '#';
    return etcd_cluster_start((const char *const[]){ETCD_EACH_HOST, cert, key, NULL});
}

/* Each member has a certificate for its own address only. Whichever dies, the others are used. */
static void test_a_certificate_for_each_member(void **state) {
    (void)state;
    static const char *const names[] = {"IP:127.0.0.1", "IP:127.0.0.2", "IP:127.0.0.3"};
    etcd_cluster *cluster = start_with_certificates(names);
    ew_client *c = open_client_at(cluster->endpoints, certs_authority(files), 20000);
    ew_watch *w;
    ew_session *s;
    int written = 0, seen = 0;
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/m/")), NULL, &err));
    must(ew_session_open(&s, c, 60, &err));
    for (int node = 0; node < ETCD_CLUSTER_NODES; node++) {
        etcd_server_kill(cluster->nodes[node]);
        for (int i = 0; i < 10; i++) {
            char key[32];
            snprintf(key, sizeof key, "/m/%d", written);
            int status = put(c, key); /* may have been in flight to the member that died */
            if (status != EW_OK && status != EW_ERR_UNKNOWN_OUTCOME)
                fail_msg("%s: %s", ew_errname(status), err.detail);
            written += status == EW_OK;
        }
        while (seen < written) {
            ew_watch_batch b;
            must(ew_watch_next(w, 30000, &b, &err));
            for (size_t i = 0; i < b.count; i++)
                seen += b.events[i].kv.version == 1; /* a put with an unknown outcome is repeated */
        }
        etcd_server_restart(cluster->nodes[node]);
    }
    assert_false(ew_session_is_done(s));
    ew_session_close(s, EW_SESSION_KEEP_LEASE);
    ew_watch_close(w);
    ew_client_close(c);
    etcd_cluster_free(cluster);
}

/* A member whose certificate is for another address is not used; the error names it when it is the only one left.
 * `server_name` applies to all members. */
static void test_one_certificate_is_for_another_address(void **state) {
    (void)state;
    static const char *const names[] = {"IP:127.0.0.1,DNS:etcd.example", "IP:127.0.0.9,DNS:etcd.example",
                                        "IP:127.0.0.3,DNS:etcd.example"};
    etcd_cluster *cluster = start_with_certificates(names);
    char two[96];
    ew_client *c = open_client_at(cluster->endpoints, certs_authority(files), 10000);
    for (int i = 0; i < 20; i++)
        must(put(c, "/a"));
    ew_client_close(c);
    snprintf(two, sizeof two, "127.0.0.1:%d,%s", etcd_free_port(), cluster->nodes[1]->address);
    c = open_client_at(two, certs_authority(files), 1000);
    expect_put(c, EW_ERR_UNAVAILABLE, "Connection refused");
    expect_words(cluster->nodes[1]->address);
    expect_words(": TLS: its certificate is for 127.0.0.9, etcd.example, not for 127.0.0.2");
    ew_client_close(c);

    ew_options *o = ew_options_new();
    must(ew_options_set(o, "endpoints", cluster->nodes[1]->address, &err));
    must(ew_options_set(o, "ca_file", certs_authority(files), &err));
    must(ew_options_set(o, "server_name", "etcd.example", &err));
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    must(put(c, "/a"));
    ew_client_close(c);
    etcd_cluster_free(cluster);
}

/* ---- clusters ---- */

static int64_t revision_of(const etcd_server *s) {
    ew_client *c = open_client_at(s->address, "", 10000);
    ew_member_status m = {.size = sizeof m};
    must(ew_client_status(c, &m, &err));
    ew_client_close(c);
    return m.revision;
}

/* One of two endpoints is another cluster: it is unclear which one is meant, so nothing is written to either. */
static void test_two_endpoints_of_two_clusters(void **state) {
    (void)state;
    etcd_server *a = etcd_server_start(NULL), *b = etcd_server_start(NULL);
    char both[128];
    ew_watch *w;
    snprintf(both, sizeof both, "%s,%s", a->address, b->address);
    for (int i = 0; i < 4; i++) {
        ew_client *c = open_client_at(both, "", 10000);
        expect_put(c, EW_ERR_WRONG_CLUSTER, "different clusters");
        expect_words(a->address);
        expect_words(b->address);
        assert_int_equal(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/")), NULL, &err), EW_ERR_WRONG_CLUSTER);
        ew_client_close(c);
    }
    assert_int_equal(revision_of(a), 1);
    assert_int_equal(revision_of(b), 1);
    etcd_server_free(a);
    etcd_server_free(b);
}

/* A write may be in flight to a member that dies. */
static int grant(ew_client *c, int64_t *lease) {
    *lease = 0;
    return ew_client_lease_grant(c, 60, lease, NULL, &err);
}

static void work(ew_client *c, const char *key) {
    enum { TRIES = 5 };
    ew_watch *w;
    ew_watch_batch b;
    int64_t lease;
    int status = EW_ERR_UNKNOWN_OUTCOME;
    must(ew_watch_open(&w, c, ew_keys_one(ew_str(key)), NULL, &err));
    for (int i = 0; i < TRIES && status == EW_ERR_UNKNOWN_OUTCOME; i++)
        status = put(c, key);
    must(status);
    must(ew_watch_next(w, 30000, &b, &err));
    status = EW_ERR_UNKNOWN_OUTCOME;
    for (int i = 0; i < TRIES && status == EW_ERR_UNKNOWN_OUTCOME; i++)
        status = grant(c, &lease);
    must(status);
    must(ew_client_lease_keepalive(c, lease, NULL, &err));
    ew_watch_close(w);
}

/* One of four endpoints is another cluster: it is not used, logged once, and nothing is written to it. */
static void test_an_endpoint_of_another_cluster_is_not_used(void **state) {
    (void)state;
    etcd_cluster *cluster = etcd_cluster_start(NULL);
    etcd_server *odd = etcd_server_start(NULL);
    char all[200];
    snprintf(all, sizeof all, "%s,%s", odd->address, cluster->endpoints);
    begin_log();
    ew_client *c = open_client_at(all, "", 10000);
    for (int i = 0; i < 12; i++)
        work(c, "/a");
    ew_client_close(c);
    expect_one_report(odd->address);
    assert_int_equal(revision_of(odd), 1);
    etcd_server_free(odd);
    etcd_cluster_free(cluster);
}

/* A member is replaced by another cluster on the same port, under a client that has used it. The client identifies each
 * new connection first, and uses the other members. When they are gone, the error names the endpoint that is left. */
static void test_an_endpoint_becomes_another_cluster(void **state) {
    (void)state;
    etcd_cluster *cluster = etcd_cluster_start(NULL);
    etcd_server *alone = etcd_server_start(NULL);
    char two[128];
    ew_client *c = open_client_at(cluster->endpoints, "", 10000);
    for (int i = 0; i < 6; i++)
        work(c, "/a");
    etcd_server_kill(cluster->nodes[1]);
    for (char **a = alone->argv; *a; a++) { /* the other cluster takes its address */
        char *port = strstr(*a, alone->address);
        if (port && strlen(alone->address) == strlen(cluster->nodes[1]->address))
            memcpy(port, cluster->nodes[1]->address, strlen(alone->address));
    }
    etcd_server_kill(alone);
    alone->client_port = cluster->nodes[1]->client_port;
    etcd_server_restart(alone);
    begin_log();
    for (int i = 0; i < 12; i++)
        work(c, "/a");
    expect_one_report(cluster->nodes[1]->address);
    assert_int_equal(revision_of(cluster->nodes[1]), 1);
    ew_client_close(c);

    snprintf(two, sizeof two, "%s,127.0.0.1:%d", cluster->nodes[1]->address, etcd_free_port());
    c = open_client_at(two, "", 1000);
    must(put(c, "/b")); /* this client knows no other cluster */
    ew_client_close(c);
    etcd_server_free(alone);
    etcd_cluster_free(cluster);
}

/* The only endpoint becomes another cluster: not even the first write reaches it. */
static void test_no_write_reaches_another_cluster(void **state) {
    (void)state;
    etcd_server *s = etcd_server_start(NULL);
    ew_client *c = open_client_at(s->address, "", 10000);
    ew_watch *w;
    must(put(c, "/a"));
    etcd_server_replace(s);
    int status = put(c, "/a");
    if (status == EW_ERR_UNKNOWN_OUTCOME) /* it was sent to the old server as that died */
        status = put(c, "/a");
    assert_string_equal(ew_errname(status), "EW_ERR_WRONG_CLUSTER");
    expect_words(s->address);
    assert_int_equal(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/")), NULL, &err), EW_ERR_WRONG_CLUSTER);
    assert_int_equal(revision_of(s), 1);
    ew_client_close(c);
    etcd_server_free(s);
}

/* The refusal ends with its reason: once the endpoints agree, both are used. */
static void test_endpoints_agree_in_the_end(void **state) {
    (void)state;
    etcd_server *good = etcd_server_start(NULL);
    fake_server *odd = fake_server_start();
    ew_member_status m = {.size = sizeof m};
    char both[128];
    ew_client *direct = etcd_server_client(good);
    must(ew_client_status(direct, &m, &err));
    ew_client_close(direct);
    fake_server_set_cluster(odd, m.cluster_id + 1);
    fake_server_refuse(odd, INT32_MAX, GRPC_STATUS_UNAVAILABLE, "etcdserver: no leader");
    snprintf(both, sizeof both, "%s,%s", good->address, fake_server_endpoint(odd));
    ew_client *c = open_client_at(both, "", 10000);
    expect_put(c, EW_ERR_WRONG_CLUSTER, fake_server_endpoint(odd));
    assert_int_equal(fake_server_take_calls(odd).count, 0);
    fake_server_set_cluster(odd, m.cluster_id);
    int64_t end_ms = etcd_now_ms() + 30000;
    while (fake_server_take_calls(odd).count == 0 && etcd_now_ms() < end_ms)
        must(put(c, "/a"));
    assert_true(etcd_now_ms() < end_ms);
    ew_client_close(c);
    fake_server_stop(odd);
    etcd_server_free(good);
}

static void answer_for(fake_server *s, uint64_t cluster) {
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__PutResponse answer = PB__PUT_RESPONSE__INIT;
    header.cluster_id = cluster;
    header.revision = 1;
    answer.header = &header;
    ew_slice bytes = blocking_pack(&answer);
    fake_server_set_cluster(s, cluster);
    fake_server_answer(s, bytes, GRPC_STATUS_OK, "");
    free((void *)(uintptr_t)bytes.data);
}

/* An endpoint that named another cluster, and then names its cluster only to users, still counts as another cluster:
 * the client sends it only identity queries until it answers one. */
static void test_another_cluster_answers_only_users(void **state) {
    (void)state;
    enum { TIMES = 3 };
    fake_server *s = fake_server_start();
    ew_client *c = open_client_at(fake_server_endpoint(s), "", 10000);
    answer_for(s, 1);
    must(put(c, "/a"));
    answer_for(s, 2);
    assert_int_equal(put(c, "/a"), EW_ERR_WRONG_CLUSTER); /* found in the response: each connection is asked again */
    expect_put(c, EW_ERR_WRONG_CLUSTER, "is cluster 2, not 1");
    fake_server_script_members(s, true);
    fake_server_refuse(s, INT32_MAX, GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: user name is empty");
    fake_server_take_calls(s);
    for (int i = 0; i < TIMES; i++) {
        expect_put(c, EW_ERR_WRONG_CLUSTER, "is cluster 2, not 1");
        fake_server_calls calls = fake_server_take_calls(s);
        assert_string_equal(calls.path, "/etcdserverpb.Cluster/MemberList");
        assert_int_equal(calls.count, 1);
    }
    fake_server_script_members(s, false);
    fake_server_refuse(s, 0, 0, "");
    answer_for(s, 1);
    must(put(c, "/a"));
    ew_client_close(c);
    fake_server_stop(s);
}

/* ---- reasons ---- */

static void test_each_endpoint_has_its_own_reason(void **state) {
    (void)state;
    char list[128], expected[160];
    int port = etcd_free_port();
    snprintf(list, sizeof list, "127.0.0.1:%d,unix:/no/such/socket,nowhere.invalid:1", port);
    snprintf(expected, sizeof expected,
             "no connection: 127.0.0.1:%d: Connection refused; unix:/no/such/socket: No such file or directory; "
             "nowhere.invalid: ",
             port);
    ew_client *c = open_client_at(list, "", 500);
    expect_put(c, EW_ERR_UNAVAILABLE, expected);
    ew_client_close(c);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_a_certificate_for_each_member),       TEST(test_one_certificate_is_for_another_address),
        TEST(test_two_endpoints_of_two_clusters),       TEST(test_an_endpoint_of_another_cluster_is_not_used),
        TEST(test_an_endpoint_becomes_another_cluster), TEST(test_no_write_reaches_another_cluster),
        TEST(test_endpoints_agree_in_the_end),          TEST(test_another_cluster_answers_only_users),
        TEST(test_each_endpoint_has_its_own_reason),
    };
    /* As in the daemon: then a channel makes progress only while a thread is in a queue that knows it. */
    setenv("GRPC_POLL_STRATEGY", "poll", 0);
    return cmocka_run_group_tests(tests, certs_open, certs_close);
}
