/* Fence conditions: what is written only while the worker is the leader, or while its session lives (SEMANTICS 30, 31;
 * ETCD P8). The leases here are so long that no keepalive is sent before a fence condition fails. */
#include "lib/scenario.h"

#include <stdio.h>

enum { LONG_S = 3600 };

typedef struct leader {
    ew_session *session;
    ew_election *election;
} leader;

static leader leader_open(const char *name) {
    leader l;
    ew_error err = {0};
    assert_int_equal(ew_session_open(&l.session, client_handle(), LONG_S, &err), EW_OK);
    assert_int_equal(ew_election_open(&l.election, client_handle(), l.session, ew_str(name), &err), EW_OK);
    if (ew_election_campaign(l.election, EW_STR("me"), ENV_WAIT_MS, &err) != EW_OK)
        fail_msg("campaign: %s", err.detail);
    return l;
}

static void leader_close(leader *l) {
    ew_election_close(l->election);
    ew_session_close(l->session, EW_SESSION_REVOKE);
}

static void delete_leaders_key(const leader *l) {
    ew_error err = {0};
    assert_int_equal(ew_client_delete(client_handle(), ew_keys_one(ew_election_key(l->election)), NULL, NULL, &err),
                     EW_OK);
}

static int put_a(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/fence/a"), EW_STR("1"));
}

static int put_late_and_hold(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/fence/late"), EW_STR("1"));
    worker_fixture_hold(f);
    return EW_OK;
}

/* Runs a worker that has committed before, and is in a tick that writes; then calls `take_away`. */
static void lose(worker_fixture *f, void (*take_away)(worker_fixture *f), int expected) {
    client_delete_prefix("/fence/");
    worker_fixture_start(f);
    worker_fixture_do(f, put_a);
    assert_true(client_get("/fence/a").present);
    worker_fixture_begin(f, put_late_and_hold);
    worker_fixture_await_held(f);
    take_away(f);
    worker_fixture_release(f);
    int status = worker_fixture_await_end(f);
    print_message("%s: %s\n", ew_errname(status), f->err.detail);
    assert_int_equal(status, expected);
    assert_string_not_equal(client_get("/fence/late").value, "1");
    assert_int_equal(worker_fixture_close(f), expected);
}

/* ---- leadership ---- */

static void take_key_away(worker_fixture *f) {
    const leader l = {.election = f->election};
    delete_leaders_key(&l);
}

/* Deletes and creates the leader's key: it has another create_revision. */
static void take_key_over(worker_fixture *f) {
    take_key_away(f);
    ew_slice key = ew_election_key(f->election);
    client_put_slice(key, EW_STR("another"), 0);
}

static void check_lost(void (*take_away)(worker_fixture *f), const char *exactly_once) {
    leader l = leader_open("/elections/lost");
    worker_fixture f;
    worker_fixture_open(&f, "/fence");
    worker_fixture_set(&f, "exactly_once", exactly_once);
    f.election = l.election;
    lose(&f, take_away, EW_ERR_LEADERSHIP_LOST);
    leader_close(&l);
    client_delete_prefix("/elections/");
}

/* SEMANTICS 31: a former leader cannot write, and the run ends with the reason. */
static void test_leadership_lost_in_the_middle(void **state) {
    (void)state;
    check_lost(take_key_away, "on");
    check_lost(take_key_away, "off");
    check_lost(take_key_over, "on");
}

/* A conflict and a lost leadership together: the group is evaluated again, and never written. */
static void conflict_too(worker_fixture *f) {
    client_put("/fence/late", "external");
    take_key_away(f);
}

static void test_leadership_lost_with_a_conflict(void **state) {
    (void)state;
    check_lost(conflict_too, "on");
}

/* The worker uses the election's session, unless it has another one. */
static int put_with_lease(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put_lease(ew_tick_group(t), EW_STR("/fence/leased"), EW_STR("1"), EW_LEASE_SESSION);
}

static void test_the_elections_session_is_used(void **state) {
    (void)state;
    leader l = leader_open("/elections/session");
    for (int i = 0; i < 2; i++) {
        worker_fixture f;
        ew_session *other = NULL;
        worker_fixture_open(&f, "/fence");
        f.election = l.election;
        if (i == 1)
            assert_int_equal(ew_session_open(&other, client_handle(), 60, NULL), EW_OK);
        f.session = other;
        worker_fixture_start(&f);
        worker_fixture_do(&f, put_with_lease);
        assert_int_equal(client_get("/fence/leased").lease, ew_session_lease(i == 1 ? other : l.session));
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
        ew_session_close(other, EW_SESSION_REVOKE);
    }
    assert_true(ew_election_revision(l.election) > 0); /* the caller owns the session; the worker did not close it */
    leader_close(&l);
}

static int never(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_ERR_REACTOR;
}

/* A worker that is not the leader does not start. */
static void test_only_a_leader_starts(void **state) {
    (void)state;
    leader l = leader_open("/elections/start");
    ew_error err = {0};
    assert_int_equal(ew_election_resign(l.election, &err), EW_OK);
    worker_fixture f;
    worker_fixture_open(&f, "/fence");
    f.election = l.election;
    ew_worker *w;
    const ew_reactor reactor = EW_REACTOR(.tick = never);
    assert_int_equal(ew_worker_open(&w, f.options, &reactor, &f, &err), EW_OK);
    assert_int_equal(ew_worker_set_election(w, l.election), EW_OK);
    assert_int_equal(ew_worker_start(w, &err), EW_ERR_STATE);
    ew_worker_close(w);
    assert_int_equal(worker_fixture_close(&f), EW_OK);
    leader_close(&l);
}

/* ---- the session key ---- */

static void revoke_session(worker_fixture *f) {
    client_revoke(ew_session_lease(f->session));
}

/* SEMANTICS 30: with `fence_session` a revoked lease stops a worker also without receipts. */
static void test_session_revoked_without_receipts(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/fence");
    worker_fixture_set(&f, "exactly_once", "off");
    worker_fixture_set(&f, "fence_session", "on");
    assert_int_equal(ew_session_open(&f.session, client_handle(), LONG_S, NULL), EW_OK);
    ew_session *session = f.session;
    lose(&f, revoke_session, EW_ERR_SESSION_DONE);
    ew_session_close(session, EW_SESSION_REVOKE);
}

/* The session key is a key beside the receipt, bound to the lease. The worker's own session removes it. */
static void test_the_life_of_the_session_key(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/fence");
    worker_fixture_set(&f, "exactly_once", "off");
    worker_fixture_set(&f, "fence_session", "on");
    worker_fixture_set(&f, "worker_id", "marked");
    worker_fixture_start(&f);
    worker_fixture_do(&f, put_a);
    client_kv key = client_get("/etcdworker/receipts/marked/session");
    assert_true(key.present);
    assert_true(key.lease != 0);
    assert_string_equal(key.value, "marked");
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_false(client_get("/etcdworker/receipts/marked/session").present);
}

/* A session that ends before the session key could be put. */
static void test_session_revoked_before_the_start(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/fence");
    worker_fixture_set(&f, "exactly_once", "off");
    worker_fixture_set(&f, "fence_session", "on");
    assert_int_equal(ew_session_open(&f.session, client_handle(), LONG_S, NULL), EW_OK);
    ew_session *session = f.session;
    revoke_session(&f);
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_SESSION_DONE);
    ew_session_close(session, EW_SESSION_REVOKE);
}

/* ---- limits ---- */

typedef struct load {
    unsigned keys, value_bytes;
    unsigned calls;
    int status;
} load;

static void judged(void *arg, ew_status status, int64_t revision) {
    load *l = arg; /* the reactor's thread writes, the test reads after a later tick has begun */
    (void)revision;
    l->status = status;
    l->calls++;
}

/* Deletes one key, so that the delete counter is incremented, and puts the others. */
static int write_load(worker_fixture *f, ew_tick *t) {
    static const char value[8192];
    load *l = f->arg;
    ew_group *g = ew_tick_group(t);
    ew_group_delete(g, EW_STR("/fence/deleted"));
    for (unsigned i = 1; i < l->keys; i++) {
        char key[64];
        snprintf(key, sizeof key, "/fence/%03u", i);
        ew_group_put(g, ew_str(key), (ew_slice){value, l->value_bytes});
    }
    return ew_group_on_done(g, judged, l);
}

typedef struct limits {
    const leader *leader; /* NULL: no election */
    const char *fence_session, *exactly_once, *max_txn_bytes;
} limits;

/* Returns the outcome of one group, and checks that it took at most one transaction. */
static int try_load(const limits *x, unsigned keys, unsigned value_bytes) {
    load l = {.keys = keys, .value_bytes = value_bytes};
    worker_fixture f;
    worker_fixture_open(&f, "/fence");
    worker_fixture_set(&f, "fence_session", x->fence_session);
    worker_fixture_set(&f, "exactly_once", x->exactly_once);
    if (x->max_txn_bytes)
        worker_fixture_set(&f, "max_txn_bytes", x->max_txn_bytes);
    if (x->leader)
        f.election = x->leader->election;
    f.arg = &l;
    worker_fixture_start(&f);
    worker_fixture_do(&f, write_load);
    uint64_t txns = worker_fixture_stats(&f).txns;
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_int_equal(l.calls, 1);
    assert_int_equal(txns, l.status == EW_OK ? 1 : 0);
    return l.status;
}

static void check_most_keys(const limits *x, unsigned most) {
    assert_int_equal(try_load(x, most, 0), EW_OK);
    assert_int_equal(try_load(x, most + 1, 0), EW_ERR_TOO_LARGE);
}

/* SEMANTICS 26: etcd's 128 compares, less the delete counter, the receipt and each fence condition. */
static void test_most_keys_with_fences(void **state) {
    (void)state;
    leader l = leader_open("/elections/limits");
    check_most_keys(&(limits){NULL, "off", "on", NULL}, 126);
    check_most_keys(&(limits){NULL, "on", "on", NULL}, 125);
    check_most_keys(&(limits){NULL, "on", "off", NULL}, 126);
    check_most_keys(&(limits){&l, "off", "on", NULL}, 125);
    check_most_keys(&(limits){&l, "on", "on", NULL}, 124);
    check_most_keys(&(limits){&l, "on", "off", NULL}, 125);
    leader_close(&l);
}

/* SEMANTICS 26: reactor and committer agree exactly on how many bytes the fence conditions take. */
static void test_most_bytes_with_fences(void **state) {
    (void)state;
    leader l = leader_open("/elections/limits");
    const limits x = {&l, "on", "on", "4096"};
    unsigned fits = 0, too_large = 4096;
    while (too_large - fits > 1) {
        unsigned bytes = (fits + too_large) / 2;
        if (try_load(&x, 2, bytes) == EW_OK)
            fits = bytes;
        else
            too_large = bytes;
    }
    print_message("%u bytes of value in 4096\n", fits);
    assert_in_range(fits, 3000, 4000);
    leader_close(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_leadership_lost_in_the_middle),    env_test(test_leadership_lost_with_a_conflict),
        env_test(test_the_elections_session_is_used),    env_test(test_only_a_leader_starts),
        env_test(test_session_revoked_without_receipts), env_test(test_the_life_of_the_session_key),
        env_test(test_session_revoked_before_the_start), env_test(test_most_keys_with_fences),
        env_test(test_most_bytes_with_fences),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
