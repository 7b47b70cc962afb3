/* The client's results when etcd is away, silent, full, without a leader, or another cluster (ETCD P7, P9, P11). */
#include "etcd/etcd.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"
#include "lib/fault_proxy.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static ew_client *open_client(const char *endpoints, int64_t call_timeout_ms) {
    return open_client_at(endpoints, "", call_timeout_ms);
}

static int put(ew_client *c, const char *key) {
    return ew_client_put(c, ew_str(key), EW_STR("x"), NULL, NULL, &err);
}

static int get(ew_client *c, bool serializable) {
    ew_result *r;
    int status = ew_client_get(c, ew_keys_one(EW_STR("/a")), &EW_GET_OPTIONS(.serializable = serializable), &r, &err);
    if (status == EW_OK)
        ew_result_free(r);
    return status;
}

/* No server listens: after the timeout, EW_ERR_UNAVAILABLE that names the endpoint, for writes too, since nothing was
 * sent. */
static void test_no_etcd(void **state) {
    (void)state;
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", etcd_free_port());
    ew_client *c = open_client(endpoint, 200);
    int64_t lease = 0, start_ms = etcd_now_ms();
    assert_int_equal(put(c, "/a"), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, endpoint));
    assert_in_range(etcd_now_ms() - start_ms, 199, 3000);
    assert_int_equal(get(c, false), EW_ERR_UNAVAILABLE);
    ew_txn *t = ew_txn_new();
    assert_int_equal(ew_client_txn(c, t, NULL, &err), EW_ERR_UNAVAILABLE);
    ew_txn_free(t);
    assert_int_equal(ew_client_lease_grant(c, 10, &lease, NULL, &err), EW_ERR_UNAVAILABLE);
    assert_int_equal(ew_client_lease_keepalive(c, 7, NULL, &err), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, endpoint));
    ew_client_close(c);
}

static void test_silent_etcd(void **state) {
    (void)state;
    etcd_server *server = etcd_server_start(NULL);
    ew_client *c = open_client(server->endpoint, 400);
    int64_t lease = 0;
    must(put(c, "/a"));
    must(ew_client_lease_grant(c, 10, &lease, NULL, &err));
    must(ew_client_lease_keepalive(c, lease, NULL, &err)); /* keepalives have their own connection */
    etcd_server_pause(server);
    int64_t start_ms = etcd_now_ms();
    assert_int_equal(get(c, false), EW_ERR_TIMEOUT);
    assert_in_range(etcd_now_ms() - start_ms, 399, 3000);
    assert_int_equal(put(c, "/a"), EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(ew_client_lease_keepalive(c, lease, NULL, &err), EW_ERR_TIMEOUT);
    etcd_server_resume(server);
    must(put(c, "/a"));
    ew_client_close(c);
    etcd_server_free(server);
}

/* A connection that silently passes nothing any more: with the default options it is replaced within 15 s, and the
 * watch goes on over another one. */
static void test_half_open(void **state) {
    (void)state;
    etcd_server *server = etcd_server_start(NULL);
    fault_proxy *proxy = fault_proxy_open(server->address);
    ew_client *c = open_client(fault_proxy_endpoint(proxy), 10000), *direct = open_client(server->endpoint, 10000);
    ew_watch *w;
    ew_watch_batch b;
    must(put(c, "/a"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/half")), NULL, &err));
    fault_proxy_swallow(proxy, FAULT_PROXY_BOTH);
    must(put(direct, "/half"));
    uint64_t made = fault_proxy_count(proxy).made;
    int64_t start_ms = etcd_now_ms();
    while (fault_proxy_count(proxy).made == made) {
        assert_int_equal(ew_watch_next(w, 100, &b, &err), EW_ERR_TIMEOUT);
        assert_true(etcd_now_ms() < start_ms + 15000);
    }
    fault_proxy_mend(proxy);
    must(ew_watch_next(w, 30000, &b, &err));
    assert_int_equal(b.count, 1);
    must(put(c, "/a"));
    ew_watch_close(w);
    ew_client_close(direct);
    ew_client_close(c);
    fault_proxy_close(proxy);
    etcd_server_free(server);
}

typedef struct caller {
    pthread_t thread;
    ew_client *client;
    int status;
} caller;

static void *get_on_a_thread(void *arg) {
    caller *me = arg;
    ew_result *r = NULL;
    me->status = ew_client_get(me->client, ew_keys_one(EW_STR("/a")), NULL, &r, NULL);
    ew_result_free(r);
    return NULL;
}

static void *put_on_a_thread(void *arg) {
    caller *me = arg;
    me->status = ew_client_put(me->client, EW_STR("/a"), EW_STR("x"), NULL, NULL, NULL);
    return NULL;
}

/* Many threads wait. One call cancels all of them, and no call that comes later. */
static void test_cancel(void **state) {
    (void)state;
    enum { READERS = 10, ALL = 20 };
    etcd_server *server = etcd_server_start(NULL);
    ew_client *c = open_client(server->endpoint, 60000);
    caller list[ALL];
    must(put(c, "/a"));
    etcd_server_pause(server);
    for (int i = 0; i < ALL; i++) {
        list[i] = (caller){.client = c};
        assert_int_equal(
            pthread_create(&list[i].thread, NULL, i < READERS ? get_on_a_thread : put_on_a_thread, &list[i]), 0);
    }
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    int64_t start_ms = etcd_now_ms();
    ew_client_cancel(c);
    for (int i = 0; i < ALL; i++) {
        pthread_join(list[i].thread, NULL);
        assert_int_equal(list[i].status, i < READERS ? EW_ERR_CANCELLED : EW_ERR_UNKNOWN_OUTCOME);
    }
    assert_in_range(etcd_now_ms() - start_ms, 0, 5000);
    etcd_server_resume(server);
    must(put(c, "/a"));

    etcd_server_kill(server); /* a call that was not sent is always cancelled */
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    list[0] = (caller){.client = c};
    pthread_create(&list[0].thread, NULL, put_on_a_thread, &list[0]);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    ew_client_cancel(c);
    pthread_join(list[0].thread, NULL);
    assert_int_equal(list[0].status, EW_ERR_CANCELLED);
    ew_client_close(c);
    etcd_server_free(server);
}

/* A call that finds no server waits for one within its timeout. */
static void test_waits_for_a_restart(void **state) {
    (void)state;
    etcd_server *server = etcd_server_start(NULL);
    ew_client *c = open_client(server->endpoint, 30000);
    must(put(c, "/a"));
    etcd_server_stop(server);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    caller reader = {.client = c};
    pthread_create(&reader.thread, NULL, get_on_a_thread, &reader);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    etcd_server_restart(server); /* on this thread: a server dies with the thread that started it */
    pthread_join(reader.thread, NULL);
    assert_int_equal(reader.status, EW_OK);
    must(put(c, "/a"));
    ew_client_close(c);
    etcd_server_free(server);
}

static void test_no_space(void **state) {
    (void)state;
    etcd_server *server = etcd_server_start((const char *const[]){"--quota-backend-bytes=4194304", NULL});
    ew_client *c = open_client(server->endpoint, 10000);
    static char value[1000000];
    int status = EW_OK;
    for (int i = 0; i < 100 && status == EW_OK; i++) {
        status = ew_client_put(c, EW_STR("/full"), (ew_slice){value, sizeof value}, NULL, NULL, &err);
        /* etcd's own measure of its size is up to 100 ms old. */
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    assert_int_equal(status, EW_ERR_NO_SPACE);
    assert_true(ew_is_retryable(status));
    ew_member_status s = {.size = sizeof s};
    must(ew_client_status(c, &s, &err));
    assert_true(s.has_errors);
    ew_client_close(c);
    etcd_server_free(server);
}

/* P7: another cluster at the same endpoint is reported, and not mistaken for the old one. */
static void test_wrong_cluster(void **state) {
    (void)state;
    etcd_server *server = etcd_server_start(NULL);
    ew_client *c = open_client(server->endpoint, 10000);
    ew_watch *w;
    ew_watch_batch b;
    must(put(c, "/a"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/")), NULL, &err));
    etcd_server_replace(server);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_int_equal(get(c, false), EW_ERR_WRONG_CLUSTER);
    assert_int_equal(ew_watch_next(w, 30000, &b, &err), EW_ERR_WRONG_CLUSTER);
    ew_watch_close(w);
    ew_client_close(c);
    etcd_server_free(server);
}

/* ---- three nodes ---- */

/* A killed member does not disturb calls or a watch. */
static void test_a_member_dies(void **state) {
    (void)state;
    etcd_cluster *cluster = etcd_cluster_start(NULL);
    ew_client *c = open_client(cluster->endpoints, 20000);
    ew_watch *w;
    must(put(c, "/a"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/m/")), NULL, &err));
    int written = 0, seen = 0;
    for (int node = 0; node < ETCD_CLUSTER_NODES; node++) {
        etcd_server_kill(cluster->nodes[node]);
        for (int i = 0; i < 10; i++) {
            char key[32];
            snprintf(key, sizeof key, "/m/%d", written);
            int status = put(c, key); /* may have been in flight to the member that died */
            if (status != EW_OK)
                assert_int_equal(status, EW_ERR_UNKNOWN_OUTCOME);
            else
                written++;
        }
        while (seen < written) {
            ew_watch_batch b;
            must(ew_watch_next(w, 30000, &b, &err));
            for (size_t i = 0; i < b.count; i++)
                seen += b.events[i].kv.version == 1; /* a put with an unknown outcome is repeated */
        }
        assert_int_equal(seen, written);
        etcd_server_restart(cluster->nodes[node]);
    }
    ew_watch_close(w);
    ew_client_close(c);
    etcd_cluster_free(cluster);
}

/* P9: without a leader a write is refused at once and certainly not applied; a serializable read still works; a watch
 * is ended instead of stalling, and goes on when there is a leader again. */
static void test_no_leader(void **state) {
    (void)state;
    etcd_cluster *cluster = etcd_cluster_start(NULL);
    ew_client *c = open_client(cluster->nodes[0]->endpoint, 5000);
    ew_watch *w;
    ew_watch_batch b;
    must(put(c, "/a"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/n/")), NULL, &err));
    etcd_server_kill(cluster->nodes[1]);
    etcd_server_kill(cluster->nodes[2]);
    must(get(c, true));
    int status = EW_OK;
    for (int i = 0; i < 5 && status != EW_ERR_UNAVAILABLE; i++)
        status = put(c, "/n/lost"); /* the first may be proposed before the loss of the leader is detected: unknown */
    assert_int_equal(status, EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "no leader"));
    /* not after etcd's own 7 s: the client asks whether there is a leader */
    assert_int_equal(get(c, false), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "no leader"));
    must(get(c, true));
    assert_int_equal(ew_watch_next(w, 2000, &b, &err), EW_ERR_TIMEOUT);
    etcd_server_restart_without_waiting(cluster->nodes[1]);
    etcd_server_restart(cluster->nodes[2]);
    do
        status = put(c, "/n/a");
    while (status == EW_ERR_UNAVAILABLE);
    must(status);
    bool found = false;
    while (!found) {
        must(ew_watch_next(w, 30000, &b, &err));
        for (size_t i = 0; i < b.count; i++)
            found |= ew_slice_equal(b.events[i].kv.key, EW_STR("/n/a"));
    }
    ew_watch_close(w);
    ew_client_close(c);
    etcd_cluster_free(cluster);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_no_etcd),       TEST(test_silent_etcd),         TEST(test_half_open),
        TEST(test_cancel),        TEST(test_waits_for_a_restart), TEST(test_no_space),
        TEST(test_wrong_cluster), TEST(test_a_member_dies),       TEST(test_no_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
