/* Sessions: their end ends the run (SEMANTICS 30); the session key. */
#include "lib/fault_proxy.h"
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>

static int hold(worker_fixture *f, ew_tick *t) {
    (void)t;
    worker_fixture_hold(f);
    return EW_OK;
}

static void open_with_session(worker_fixture *f, int64_t ttl_s) {
    worker_fixture_open(f, "/session");
    assert_int_equal(ew_session_open(&f->session, client_handle(), ttl_s, NULL), EW_OK);
}

static int close_with_session(worker_fixture *f) {
    ew_session *session = f->session;
    int status = worker_fixture_close(f);
    ew_session_close(session, EW_SESSION_REVOKE);
    return status;
}

static int put_with_lease(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put_lease(ew_tick_group(t), EW_STR("/session/a"), EW_STR("1"), EW_LEASE_SESSION);
}

/* SEMANTICS 29, 30: a worker uses the session that it was given, and does not close it. */
static void test_the_given_session_is_used(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 30);
    worker_fixture_start(&f);
    worker_fixture_do(&f, put_with_lease);
    client_kv kv = client_get("/session/a");
    assert_int_equal(kv.lease, ew_session_lease(f.session));
    ew_session *session = f.session;
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_false(ew_session_is_done(session));
    assert_true(client_get("/session/a").present);
    ew_session_close(session, EW_SESSION_REVOKE);
    assert_false(client_get("/session/a").present);
}

/* SEMANTICS 30: a revoked lease ends the run, also of an idle worker. */
static void test_a_revoked_lease_ends_the_run(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 3);
    worker_fixture_set(&f, "tick_interval_ms", "3600000");
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    client_revoke(ew_session_lease(f.session));
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    assert_int_equal(close_with_session(&f), EW_ERR_SESSION_DONE);
}

/* SEMANTICS 30: a session whose keepalives do not arrive ends too, after its TTL by the local clock, while etcd does
 * not answer. */
static void test_a_silent_etcd_ends_the_run_at_the_ttl(void **state) {
    (void)state;
    enum { TTL_S = 3 };
    worker_fixture f;
    open_with_session(&f, TTL_S);
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    env_pause_etcd();
    int64_t before_ms = env_now_ms();
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    int64_t took_ms = env_now_ms() - before_ms;
    env_resume_etcd();
    print_message("noticed after %d ms\n", (int)took_ms);
    assert_true(took_ms >= (TTL_S - 1) * 2 / 3 * 1000 && took_ms < (TTL_S + 2) * 1000);
    assert_int_equal(close_with_session(&f), EW_ERR_SESSION_DONE);
}

/* SEMANTICS 7, 30: the end of a session is checked before everything else: the patches of a tick that lasted beyond it
 * are not sent. */
static int put_and_hold(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/session/late"), EW_STR("1"));
    return hold(f, t);
}

static bool is_done(void *arg) {
    return ew_session_is_done(arg);
}

static void test_nothing_is_committed_after_the_end(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 2);
    worker_fixture_set(&f, "fence_session", "on");
    worker_fixture_start(&f);
    worker_fixture_begin(&f, put_and_hold);
    worker_fixture_await_held(&f);
    client_revoke(ew_session_lease(f.session));
    assert_true(env_until(is_done, f.session));
    worker_fixture_release(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    assert_false(client_get("/session/late").present);
    assert_int_equal(close_with_session(&f), EW_ERR_SESSION_DONE);
}

/* SEMANTICS 30: also where no compare in etcd would refuse them, as soon as the session knows. */
static void test_nothing_is_sent_after_the_end(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 2);
    worker_fixture_set(&f, "exactly_once", "off");
    worker_fixture_start(&f);
    worker_fixture_begin(&f, put_and_hold);
    worker_fixture_await_held(&f);
    client_revoke(ew_session_lease(f.session));
    assert_true(env_until(is_done, f.session));
    worker_fixture_release(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    assert_false(client_get("/session/late").present);
    assert_int_equal(close_with_session(&f), EW_ERR_SESSION_DONE);
}

/* SEMANTICS 30, ETCD P8: while the client does not yet know that the lease is gone, the fence condition refuses the
 * transaction. */
static void test_the_fence_refuses_before_the_session_ends(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 3600); /* the next keepalive is twenty minutes away */
    worker_fixture_set(&f, "fence_session", "on");
    worker_fixture_set(&f, "exactly_once", "off"); /* a receipt could not be bound to a revoked lease either */
    worker_fixture_start(&f);
    worker_fixture_begin(&f, put_and_hold);
    worker_fixture_await_held(&f);
    client_revoke(ew_session_lease(f.session));
    worker_fixture_release(&f);
    int status = worker_fixture_await_end(&f);
    print_message("%s: %s\n", ew_errname(status), f.err.detail);
    assert_int_equal(status, EW_ERR_SESSION_DONE);
    assert_false(client_get("/session/late").present);
    assert_int_equal(close_with_session(&f), EW_ERR_SESSION_DONE);
}

/* SEMANTICS 30: with a fence condition and a living session, a worker commits as usual. */
static void test_a_worker_with_a_session_key_commits(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 30);
    worker_fixture_set(&f, "fence_session", "on");
    worker_fixture_start(&f);
    worker_fixture_do(&f, put_with_lease);
    worker_fixture_do(&f, put_with_lease);
    assert_int_equal(client_get("/session/a").version, 2);
    assert_int_equal(close_with_session(&f), EW_ERR_CANCELLED);
}

static int put_plain(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/session/plain"), EW_STR("1"));
}

static bool is_past(void *arg) {
    return env_now_ms() >= *(int64_t *)arg;
}

/* SEMANTICS 30: without a session that the user asked for, a cut connection never ends the run, however long. */
static void test_without_a_session_nothing_ends_the_run(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    worker_fixture_open(&f, "/session");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(&f, "exactly_once", "off");
    worker_fixture_set(&f, "session_ttl_s", "1");
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_total(&f, 1);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    int64_t until_ms = env_now_ms() + 4000;
    assert_true(env_until(is_past, &until_ms));
    fault_proxy_mend(proxy);
    worker_fixture_await_ready(&f, true);
    worker_fixture_do(&f, put_plain);
    assert_int_equal(client_get("/session/plain").version, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

/* A session that has ended before the start, and one that ends during the load. */
static void test_a_session_that_has_ended_before_the_start(void **state) {
    (void)state;
    worker_fixture f;
    open_with_session(&f, 2);
    client_revoke(ew_session_lease(f.session));
    assert_true(env_until(is_done, f.session));
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    assert_int_equal(close_with_session(&f), EW_ERR_SESSION_DONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_the_given_session_is_used),
        env_test(test_a_revoked_lease_ends_the_run),
        env_test(test_a_silent_etcd_ends_the_run_at_the_ttl),
        env_test(test_nothing_is_committed_after_the_end),
        env_test(test_nothing_is_sent_after_the_end),
        env_test(test_the_fence_refuses_before_the_session_ends),
        env_test(test_a_worker_with_a_session_key_commits),
        env_test(test_without_a_session_nothing_ends_the_run),
        env_test(test_a_session_that_has_ended_before_the_start),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
