/* An etcd that is away for longer than every short lease lives (SEMANTICS 14, 30, 33): the worker restores its own keys
 * and leases, no group is lost or applied twice, and only a session that the user asked for ends the run. */
#include "lib/fault_proxy.h"
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { TTL_S = 2, AWAY_MS = 7000 }; /* a paused etcd keeps its leases for a moment after it resumes */

/* A number that each tick increments in one group, while `counting`. */
typedef struct count {
    atomic_bool counting;
    atomic_uint committed, otherwise;
} count;

static int add_one(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    char text[32];
    long n = current ? strtol(current->value.data, NULL, 10) : 0; /* a dot follows the digits */
    snprintf(text, sizeof text, "%ld.", n + 1);
    return ew_value_set(next, ew_str(text));
}

static void judged(void *arg, ew_status status, int64_t revision) {
    count *c = arg;
    (void)revision;
    if (status == EW_OK)
        atomic_fetch_add(&c->committed, 1);
    else if (status != EW_ERR_CANCELLED)
        atomic_fetch_add(&c->otherwise, 1);
}

static int count_up(worker_fixture *f, ew_tick *t) {
    count *c = f->arg;
    if (!atomic_load(&c->counting))
        return EW_OK;
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/outage/n"), add_one, NULL, NULL);
    return ew_group_on_done(g, judged, c);
}

static void open_counter(worker_fixture *f, count *c) {
    char ttl[16];
    snprintf(ttl, sizeof ttl, "%d", TTL_S);
    client_delete("/outage/n");
    *c = (count){.counting = true};
    worker_fixture_open(f, "/outage");
    worker_fixture_set(f, "session_ttl_s", ttl);
    f->every = count_up;
    f->arg = c;
}

typedef struct more {
    count *c;
    unsigned than;
} more;

static bool has_counted(void *arg) {
    const more *m = arg;
    return atomic_load(&m->c->committed) > m->than;
}

static void await_more(worker_fixture *f, count *c, unsigned n) {
    more m = {c, atomic_load(&c->committed) + n};
    if (!env_until(has_counted, &m))
        fail_msg("no more commits; the run: %s", f->over ? f->err.detail : "goes on");
}

/* Every group that was reported as committed was applied once, and no other group. */
static void close_counter(worker_fixture *f, count *c, int status) {
    assert_int_equal(worker_fixture_close(f), status);
    assert_int_equal(atomic_load(&c->otherwise), 0);
    assert_int_equal(strtol(client_get("/outage/n").value, NULL, 10), atomic_load(&c->committed));
    assert_int_equal(client_get("/outage/n").version, atomic_load(&c->committed));
}

static bool is_past(void *arg) {
    return env_now_ms() >= *(int64_t *)arg;
}

static void stay_away(void) {
    int64_t until_ms = env_now_ms() + AWAY_MS;
    assert_true(env_until(is_past, &until_ms));
}

static void check_outage(void (*begin)(void), void (*end)(void), const char *worker_id) {
    worker_fixture f;
    count c;
    open_counter(&f, &c);
    worker_fixture_set(&f, "worker_id", worker_id);
    worker_fixture_start(&f);
    await_more(&f, &c, 10);
    for (int i = 0; i < 2; i++) {
        begin();
        worker_fixture_await_ready(&f, false);
        stay_away();
        end();
        await_more(&f, &c, 10);
    }
    close_counter(&f, &c, EW_ERR_CANCELLED);
    assert_int_equal(client_count("/etcdworker/"), 0);
}

static void test_etcd_killed_for_longer_than_the_ttl(void **state) {
    (void)state;
    check_outage(env_kill_etcd, env_start_etcd, "");
    check_outage(env_kill_etcd, env_start_etcd, "steady");
}

static void test_etcd_paused_for_longer_than_the_ttl(void **state) {
    (void)state;
    check_outage(env_pause_etcd, env_resume_etcd, "");
    check_outage(env_pause_etcd, env_resume_etcd, "steady");
}

/* ---- a worker that is cut off while etcd runs ---- */

static bool nothing_is_held(void *arg) {
    (void)arg;
    return client_count("/etcdworker/") == 0;
}

/* Stops counting, and waits until nothing is in flight: there is no tick before. */
static void rest(worker_fixture *f, count *c) {
    atomic_store(&c->counting, false);
    worker_fixture_await_ticks(f, 3);
}

/* All leases expire, the receipt's too, and the history that the worker missed is compacted. */
static void test_all_leases_expired_and_history_compacted(void **state) {
    (void)state;
    worker_fixture f;
    count c;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    open_counter(&f, &c);
    worker_fixture_set(&f, "worker_id", "expired");
    worker_fixture_set(&f, "receipt_ttl_s", "5");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_start(&f);
    await_more(&f, &c, 10);
    rest(&f, &c);
    fault_proxy_cut(proxy);
    assert_true(env_until(nothing_is_held, NULL));
    client_put("/outage/other", "1");
    client_compact(client_put("/outage/other", "2"));
    fault_proxy_mend(proxy);
    atomic_store(&c.counting, true);
    await_more(&f, &c, 10);
    assert_true(client_get("/etcdworker/receipts/expired").present);
    assert_int_equal(worker_fixture_stats(&f).snapshots, 2);
    close_counter(&f, &c, EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

static bool owner_is_gone(void *arg) {
    (void)arg;
    return !client_get("/etcdworker/receipts/held/owner").present;
}

static bool owner_is_there(void *arg) {
    return !owner_is_gone(arg);
}

static void open_holder(worker_fixture *f, count *c, fault_proxy *proxy) {
    open_counter(f, c);
    worker_fixture_set(f, "worker_id", "held");
    if (proxy)
        worker_fixture_set(f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_start(f);
    await_more(f, c, 3);
}

/* SEMANTICS 33: the key that holds worker_id is put again with another lease. */
static void test_the_worker_id_is_held_again(void **state) {
    (void)state;
    worker_fixture f;
    count c;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    open_holder(&f, &c, proxy);
    client_kv before = client_get("/etcdworker/receipts/held/owner");
    rest(&f, &c);
    fault_proxy_cut(proxy);
    assert_true(env_until(owner_is_gone, NULL));
    fault_proxy_mend(proxy);
    assert_true(env_until(owner_is_there, NULL));
    assert_string_equal(client_get("/etcdworker/receipts/held/owner").value, before.value);
    assert_int_not_equal(client_get("/etcdworker/receipts/held/owner").lease, before.lease);
    atomic_store(&c.counting, true);
    await_more(&f, &c, 3);
    close_counter(&f, &c, EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

/* SEMANTICS 33: unless another worker has taken the id meanwhile, which is allowed: then the worker that was away ends.
 */
static void test_the_worker_id_is_taken_by_another_worker(void **state) {
    (void)state;
    worker_fixture f, other;
    count c, theirs;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    open_holder(&f, &c, proxy);
    rest(&f, &c);
    fault_proxy_cut(proxy);
    assert_true(env_until(owner_is_gone, NULL));
    open_holder(&other, &theirs, NULL);
    fault_proxy_mend(proxy);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_FENCED);
    print_message("%s\n", f.err.detail);
    assert_non_null(strstr(f.err.detail, "worker_id"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_FENCED);
    await_more(&other, &theirs, 3);
    close_counter(&other, &theirs, EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

/* SEMANTICS 33: a killed worker leaves the key that holds its id for one TTL, and its receipt for longer. */
static void test_the_id_of_a_dead_worker(void **state) {
    (void)state;
    worker_fixture f;
    count c;
    client_put_slice(EW_STR("/etcdworker/receipts/dead/owner"), EW_STR("a dead worker"), client_grant(4));
    int64_t receipts = client_grant(3600);
    client_put_slice(EW_STR("/etcdworker/receipts/dead"), EW_STR("17"), receipts);
    open_counter(&f, &c);
    worker_fixture_set(&f, "worker_id", "dead");
    int64_t before_ms = env_now_ms();
    worker_fixture_start(&f);
    await_more(&f, &c, 3);
    int64_t took_ms = env_now_ms() - before_ms;
    print_message("started after %d ms\n", (int)took_ms);
    assert_true(took_ms >= 2000 && took_ms < 30000);
    close_counter(&f, &c, EW_ERR_CANCELLED);
    client_revoke(receipts);
}

/* ---- sessions that the user asked for ---- */

static void check_lost_session(const char *fence_session, worker_fixture_action act) {
    worker_fixture f;
    count c;
    open_counter(&f, &c);
    worker_fixture_set(&f, "fence_session", fence_session);
    worker_fixture_start(&f);
    await_more(&f, &c, 3);
    if (act)
        worker_fixture_do(&f, act);
    rest(&f, &c);
    env_pause_etcd();
    int status = worker_fixture_await_end(&f);
    env_resume_etcd();
    print_message("%s: %s\n", ew_errname(status), f.err.detail);
    assert_int_equal(status, EW_ERR_SESSION_DONE);
    close_counter(&f, &c, EW_ERR_SESSION_DONE);
}

static int bind_key(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put_lease(ew_tick_group(t), EW_STR("/outage/bound"), EW_STR("1"), EW_LEASE_SESSION);
}

/* SEMANTICS 30: the worker's own session, with fence_session, or with a key bound to it. */
static void test_a_requested_session_ends_the_run(void **state) {
    (void)state;
    check_lost_session("on", NULL);
    check_lost_session("off", bind_key);
}

/* A session that nothing has used is opened again, and can be used after that. */
static void test_a_session_that_was_opened_again(void **state) {
    (void)state;
    worker_fixture f;
    count c;
    open_counter(&f, &c);
    worker_fixture_start(&f);
    await_more(&f, &c, 3);
    env_pause_etcd();
    worker_fixture_await_ready(&f, false);
    stay_away();
    env_resume_etcd();
    await_more(&f, &c, 3);
    worker_fixture_do(&f, bind_key);
    assert_true(client_get("/outage/bound").lease != 0);
    close_counter(&f, &c, EW_ERR_CANCELLED);
    assert_false(client_get("/outage/bound").present);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_etcd_killed_for_longer_than_the_ttl),      env_test(test_etcd_paused_for_longer_than_the_ttl),
        env_test(test_all_leases_expired_and_history_compacted), env_test(test_the_worker_id_is_held_again),
        env_test(test_the_worker_id_is_taken_by_another_worker), env_test(test_the_id_of_a_dead_worker),
        env_test(test_a_requested_session_ends_the_run),         env_test(test_a_session_that_was_opened_again),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
