/* Sessions against a real etcd (SEMANTICS 30; ETCD P8). */
#include "etcd/etcd.h"
#include "lib/etcd_server.h"

#include <etcdworker/session.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static etcd_server *server;
static ew_client *client;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    client = etcd_server_client(server);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ew_client_close(client);
    etcd_server_free(server);
    return etcd_all_released(5000) ? 0 : -1;
}

static ew_session *open_session(int64_t ttl_s) {
    ew_session *s;
    ew_error err = {0};
    if (ew_session_open(&s, client, ttl_s, &err) != EW_OK)
        fail_msg("%s: %s", ew_errname(err.code), err.detail);
    return s;
}

static void sleep_ms(int64_t ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool wait_done(ew_session *s, int64_t timeout_ms) {
    int64_t end_ms = etcd_now_ms() + timeout_ms;
    while (!ew_session_is_done(s) && etcd_now_ms() < end_ms)
        sleep_ms(5);
    return ew_session_is_done(s);
}

/* Returns the remaining seconds of the lease from etcdctl; -1 if it does not exist. */
static int ttl_by_etcdctl(int64_t lease) {
    char id[32], out[512];
    snprintf(id, sizeof id, "%llx", (unsigned long long)lease);
    etcdctl(server, out, sizeof out, "lease", "timetolive", id, NULL);
    const char *remaining = strstr(out, "remaining(");
    return remaining ? atoi(remaining + strlen("remaining(")) : -1;
}

static void test_close_revokes(void **state) {
    (void)state;
    ew_session *s = open_session(60);
    int64_t lease = ew_session_lease(s);
    assert_int_not_equal(lease, 0);
    assert_false(ew_session_is_done(s));
    assert_in_range(ttl_by_etcdctl(lease), 50, 60);
    ew_session_close(s, EW_SESSION_REVOKE);
    assert_int_equal(ttl_by_etcdctl(lease), -1);
}

static void test_close_can_keep_the_lease(void **state) {
    (void)state;
    ew_session *s = open_session(60);
    int64_t lease = ew_session_lease(s);
    ew_session_close(s, EW_SESSION_KEEP_LEASE);
    assert_in_range(ttl_by_etcdctl(lease), 50, 60);
}

/* The session lives much longer than its TTL, because it is kept alive. */
static void test_is_kept_alive(void **state) {
    (void)state;
    ew_session *s = open_session(2);
    assert_false(wait_done(s, 7000));
    assert_in_range(ttl_by_etcdctl(ew_session_lease(s)), 0, 2);
    ew_session_close(s, EW_SESSION_REVOKE);
}

typedef struct listener {
    atomic_int calls;
    ew_session *session;
} listener;

static void on_done(void *arg) {
    listener *l = arg;
    atomic_fetch_add(&l->calls, 1);
    if (l->session) /* a callback that removes itself must not wait for itself */
        ew_session_forget(l->session, on_done, arg);
}

/* The lease is revoked externally: etcd answers the next keepalive with TTL 0. */
static void test_revoked_externally(void **state) {
    (void)state;
    ew_session *s = open_session(3);
    listener plain = {0}, itself = {.session = s}, forgotten = {0}, late = {0};
    assert_int_equal(ew_session_on_done(s, on_done, &plain), EW_OK);
    assert_int_equal(ew_session_on_done(s, on_done, &itself), EW_OK);
    assert_int_equal(ew_session_on_done(s, on_done, &forgotten), EW_OK);
    ew_session_forget(s, on_done, &forgotten);
    char id[32];
    snprintf(id, sizeof id, "%llx", (unsigned long long)ew_session_lease(s));
    assert_int_equal(etcdctl(server, NULL, 0, "lease", "revoke", id, NULL), 0);
    int64_t start_ms = etcd_now_ms();
    assert_true(wait_done(s, 10000));
    assert_in_range(etcd_now_ms() - start_ms, 0, 3500);
    for (int i = 0; i < 1000 && atomic_load(&itself.calls) == 0; i++)
        sleep_ms(5);
    assert_int_equal(ew_session_on_done(s, on_done, &late), EW_OK);
    assert_int_equal(atomic_load(&plain.calls), 1);
    assert_int_equal(atomic_load(&itself.calls), 1);
    assert_int_equal(atomic_load(&forgotten.calls), 0);
    assert_int_equal(atomic_load(&late.calls), 1);
    ew_session_close(s, EW_SESSION_REVOKE);
}

static void test_eight_listeners(void **state) {
    (void)state;
    ew_session *s = open_session(60);
    listener list[9] = {0};
    for (int i = 0; i < 8; i++)
        assert_int_equal(ew_session_on_done(s, on_done, &list[i]), EW_OK);
    assert_int_equal(ew_session_on_done(s, on_done, &list[8]), EW_ERR_STATE);
    ew_session_forget(s, on_done, &list[3]);
    assert_int_equal(ew_session_on_done(s, on_done, &list[8]), EW_OK);
    ew_session_close(s, EW_SESSION_REVOKE);
    for (int i = 0; i < 9; i++)
        assert_int_equal(atomic_load(&list[i].calls), 0); /* closing a session does not call it */
}

/* etcd is stopped: connections stay open, nothing answers. The session ends by the local clock, one TTL after the last
 * answered keepalive was sent, and not later. */
static void test_ends_by_its_own_clock(void **state) {
    (void)state;
    ew_session *s = open_session(3);
    sleep_ms(1500); /* so that one or two keepalives are answered */
    etcd_server_pause(server);
    int64_t start_ms = etcd_now_ms();
    bool done = wait_done(s, 10000);
    int64_t took_ms = etcd_now_ms() - start_ms;
    etcd_server_resume(server);
    assert_true(done);
    assert_in_range(took_ms, 1500, 3500);
    sleep_ms(200);
    assert_true(ew_session_is_done(s)); /* it stays ended when etcd is back */
    ew_session_close(s, EW_SESSION_REVOKE);
}

static void test_survives_a_restart(void **state) {
    (void)state;
    ew_session *s = open_session(10);
    etcd_server_kill(server);
    etcd_server_restart(server);
    assert_false(wait_done(s, 12000));
    ew_session_close(s, EW_SESSION_REVOKE);
}

static void test_errors(void **state) {
    (void)state;
    ew_session *s = (ew_session *)&state;
    ew_error err = {0};
    assert_int_equal(ew_session_open(&s, client, 0, &err), EW_ERR_INVALID);
    assert_null(s);
    assert_int_equal(ew_session_open(&s, client, 9000000001, &err), EW_ERR_INVALID);

    ew_options *o = etcd_server_options(server);
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", etcd_free_port());
    assert_int_equal(ew_options_set(o, "endpoints", endpoint, NULL), EW_OK);
    assert_int_equal(ew_options_set_int(o, "call_timeout_ms", 300, NULL), EW_OK);
    ew_client *nobody;
    assert_int_equal(ew_client_open(&nobody, o, &err), EW_OK);
    ew_options_free(o);
    assert_int_equal(ew_session_open(&s, nobody, 5, &err), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, endpoint));
    assert_null(s);
    ew_client_close(nobody);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_revokes),      cmocka_unit_test(test_close_can_keep_the_lease),
        cmocka_unit_test(test_is_kept_alive),      cmocka_unit_test(test_revoked_externally),
        cmocka_unit_test(test_eight_listeners),    cmocka_unit_test(test_ends_by_its_own_clock),
        cmocka_unit_test(test_survives_a_restart), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
