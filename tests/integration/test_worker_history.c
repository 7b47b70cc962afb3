/* etcd is restored from an older state while a worker runs, with the same names and token and so the same cluster id
 * (SEMANTICS 14). What the worker saw of the lost history vanishes, what external writers wrote since appears, and the
 * worker goes on. Its fault proxy is cut either until external writers have passed the old revision, or not that long.
 */
#include "lib/fault_proxy.h"
#include "lib/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PHANTOMS = 20 };

static void open_history(worker_fixture *f, fault_proxy *proxy) {
    worker_fixture_open(f, "/history");
    worker_fixture_set(f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(f, "session_ttl_s", "60");
    f->updates = true;
}

static void put_many(const char *head, int count) {
    char key[64];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s%d", head, i);
        client_put(key, "1");
    }
}

/* Restores the saved state, and writes until the old revision is passed. */
static void restore_and_pass(int64_t seen) {
    env_kill_etcd();
    env_restore_etcd();
    env_start_etcd();
    assert_true(client_revision() < seen);
    put_many("/history/missing", PHANTOMS);
    while (client_revision() <= seen)
        client_put("/elsewhere", "1");
}

static bool is_rewritten(void *arg) {
    ew_worker_stats stats = worker_fixture_stats(arg);
    return stats.histories_rewritten == 1 && stats.ready;
}

/* Compares with etcd: every key, and no other key. */
static int compare_all(worker_fixture *f, ew_tick *t) {
    ew_result *r;
    ew_entry e = {0};
    size_t n = 0;
    int status = ew_client_get(f->arg, ew_keys_prefix(EW_STR("/history/")), NULL, &r, NULL);
    EXPECT(f, status == EW_OK);
    if (status != EW_OK)
        return EW_OK;
    for (; ew_tick_scan(t, EW_STR(""), &e); n++) {
        const ew_kv *kv = n < ew_result_count(r) ? ew_result_at(r, n) : NULL;
        EXPECT(f, kv && ew_slice_equal(kv->key, e.key) && ew_slice_equal(kv->value, e.value) &&
                      kv->mod_revision == e.mod_revision);
    }
    EXPECT(f, n == ew_result_count(r));
    ew_result_free(r);
    return EW_OK;
}

static void has_it_all(worker_fixture *f) {
    f->arg = client_handle();
    worker_fixture_await_tick(f, client_put("/history/last", "1"));
    worker_fixture_do(f, compare_all);
    f->arg = NULL;
}

static int put_own(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/history/own"), EW_STR("1"));
}

static void goes_on(worker_fixture *f) {
    has_it_all(f);
    worker_fixture_do(f, put_own);
    worker_fixture_do(f, put_own);
    assert_true(client_get("/history/own").version >= 2);
    assert_int_equal(worker_fixture_stats(f).histories_rewritten, 1);
    assert_int_equal(worker_fixture_close(f), EW_ERR_CANCELLED);
    client_delete_prefix("/history/");
}

/* The last seen event is of the lost history: it does not come again. */
static void test_others_have_passed_the_old_revision(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    client_put("/history/kept", "1");
    client_put("/history/changed", "before");
    open_history(&f, proxy);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_do(&f, put_own);
    env_save_etcd();
    put_many("/history/phantom", PHANTOMS);
    int64_t seen = client_put("/history/changed", "after");
    worker_fixture_await_tick(&f, seen);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    restore_and_pass(seen);
    fault_proxy_mend(proxy);
    assert_true(env_until(is_rewritten, &f));
    goes_on(&f);
    fault_proxy_close(proxy);
}

/* The last seen event is in both histories; what followed it is not. */
static void test_the_last_event_is_in_both_histories(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    open_history(&f, proxy);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    int64_t seen = client_put("/history/both", "1");
    worker_fixture_await_tick(&f, seen);
    env_save_etcd();
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    for (int i = 0; i < 100; i++)
        client_put("/elsewhere", "2");
    restore_and_pass(client_revision());
    fault_proxy_mend(proxy);
    worker_fixture_await_ready(&f, true);
    has_it_all(&f); /* nothing that was seen is lost, so the worker just goes on */
    assert_int_equal(worker_fixture_stats(&f).snapshots, 1);
    assert_int_equal(worker_fixture_stats(&f).histories_rewritten, 0);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/history/");
    fault_proxy_close(proxy);
}

/* No writes since: the revision is below what was seen. */
static void test_the_revision_fell(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    client_put("/history/kept", "1");
    open_history(&f, proxy);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_do(&f, put_own);
    env_save_etcd();
    put_many("/history/phantom", PHANTOMS);
    int64_t seen = client_put("/history/kept", "2");
    worker_fixture_await_tick(&f, seen);
    env_kill_etcd();
    worker_fixture_await_ready(&f, false);
    env_restore_etcd();
    env_start_etcd();
    assert_true(env_until(is_rewritten, &f));
    assert_true(worker_fixture_stats(&f).revision < seen);
    goes_on(&f);
    fault_proxy_close(proxy);
}

/* No event since the load could come again: the keys are compared. */
static void test_no_events_since_the_load(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    client_put("/history/kept", "1");
    env_save_etcd();
    put_many("/history/phantom", PHANTOMS);
    for (int i = 0; i < 50; i++)
        client_put("/elsewhere", "3");
    open_history(&f, proxy);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    restore_and_pass(client_revision());
    fault_proxy_mend(proxy);
    assert_true(env_until(is_rewritten, &f));
    assert_true(worker_fixture_stats(&f).check_repairs >= PHANTOMS);
    goes_on(&f);
    fault_proxy_close(proxy);
}

/* Removes the data directory; the cluster token stays the same. */
static void wiped(bool pass) {
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    put_many("/history/phantom", PHANTOMS);
    open_history(&f, proxy);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    int64_t seen = client_put("/history/kept", "1");
    worker_fixture_await_tick(&f, seen);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    env_kill_etcd();
    env_wipe_etcd();
    env_start_etcd();
    client_put("/history/new", "1");
    while (pass && client_revision() <= seen)
        client_put("/elsewhere", "1");
    fault_proxy_mend(proxy);
    assert_true(env_until(is_rewritten, &f));
    goes_on(&f);
    fault_proxy_close(proxy);
}

static void test_wiped(void **state) {
    (void)state;
    wiped(false);
}

static void test_wiped_and_passed(void **state) {
    (void)state;
    wiped(true);
}

/* ---- with groups in flight ---- */

static int raise_by_one(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t number = 0;
    if (current && !ew_slice_int(current->value, &number))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, number + 1);
}

/* A value that is not a number counts as 0: an inverted bit may have changed it. */
static int raise_what_it_is(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t number = 0;
    if (current && !ew_slice_int(current->value, &number))
        number = 0;
    return ew_value_set_int(next, number < 1000000 ? number + 1 : 0);
}

/* The commits, by the mod_revision that was reported for each. */
typedef struct counting {
    _Atomic int64_t committed; /* the newest revision */
    _Atomic bool wrong;
} counting;

static void counted(void *arg, ew_status status, int64_t revision) {
    counting *c = arg;
    if (status == EW_OK)
        c->committed = revision;
    else if (status != EW_ERR_CANCELLED && status != EW_ERR_UNKNOWN_OUTCOME)
        c->wrong = true;
}

static int count_on(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_on_done(g, counted, f->arg);
    return ew_group_modify(g, EW_STR("/history/n"), raise_by_one, NULL, NULL);
}

static bool has_committed_again(void *arg) {
    worker_fixture *f = arg;
    return worker_fixture_stats(f).ready && worker_fixture_stats(f).histories_rewritten > 0 &&
           ((counting *)f->arg)->committed == client_get("/history/n").mod_revision;
}

/* The worker commits in every tick, with a receipt that is older after the restore: it takes the receipt over, and does
 * not end with EW_ERR_FENCED. Each commit since is in etcd once. */
static void test_groups_go_on(void **state) {
    (void)state;
    counting c = {0};
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    open_history(&f, proxy);
    f.every = count_on;
    f.arg = &c;
    worker_fixture_start(&f);
    for (int round = 1; round <= 3; round++) {
        worker_fixture_await_ready(&f, true);
        worker_fixture_await_ticks(&f, 20);
        env_save_etcd();
        worker_fixture_await_ticks(&f, 50);
        fault_proxy_cut(proxy);
        int64_t seen = client_revision();
        env_kill_etcd();
        env_restore_etcd();
        env_start_etcd();
        int64_t restored = client_get("/history/n").mod_revision;
        assert_true(restored < seen);
        while (round != 2 && client_revision() <= seen)
            client_put("/elsewhere", "1");
        fault_proxy_mend(proxy);
        while (worker_fixture_stats(&f).histories_rewritten < (uint64_t)round)
            worker_fixture_await_ticks(&f, 1);
        worker_fixture_await_ticks(&f, 20);
    }
    worker_fixture_await_ready(&f, true);
    int64_t before = 0, after = 0;
    assert_true(env_until(has_committed_again, &f));
    assert_true(ew_slice_int(ew_str(client_get("/history/n").value), &before));
    client_kv kv = client_get("/history/n");
    worker_fixture_await_ticks(&f, 20);
    assert_true(ew_slice_int(ew_str(client_get("/history/n").value), &after));
    assert_true(after > before);
    client_kv later = client_get("/history/n");
    int64_t raised = 0, was = 0;
    assert_true(ew_slice_int(ew_str(later.value), &raised) && ew_slice_int(ew_str(kv.value), &was));
    assert_int_equal(raised - was, later.version - kv.version); /* one for each commit */
    assert_false(c.wrong);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
    client_delete_prefix("/history/");
}

/* ---- inverted bits ---- */

enum { FLIPS = 60 };

typedef struct flipping {
    worker_fixture fixture;
    fault_proxy *proxy;
    _Atomic uint64_t commits;
    uint64_t before; /* counts before the flip */
    int ended, stuck;
} flipping;

static void flip_counted(void *arg, ew_status status, int64_t revision) {
    (void)revision;
    ((flipping *)arg)->commits += status == EW_OK;
}

static int flip_count_on(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_on_done(g, flip_counted, f->arg);
    return ew_group_modify(g, EW_STR("/flips/n"), raise_what_it_is, NULL, NULL);
}

static void flip_start(flipping *f) {
    worker_fixture_open(&f->fixture, "/flips");
    worker_fixture_set(&f->fixture, "endpoints", fault_proxy_endpoint(f->proxy));
    worker_fixture_set(&f->fixture, "watch_silence_ms", "1000");
    f->fixture.every = flip_count_on;
    f->fixture.arg = f;
    worker_fixture_start(&f->fixture);
}

static bool flip_is_over(flipping *f) {
    pthread_mutex_lock(&f->fixture.lock);
    bool over = f->fixture.over;
    pthread_mutex_unlock(&f->fixture.lock);
    return over;
}

static bool flip_is_done(void *arg) {
    flipping *f = arg;
    return fault_proxy_count(f->proxy).flipped > f->before;
}

static bool flip_is_survived(void *arg) {
    flipping *f = arg;
    client_put("/flips/other", "1"); /* so that there are events too */
    return flip_is_over(f) || f->commits >= f->before + 3;
}

static void flip_one(flipping *f, unsigned at) {
    f->before = fault_proxy_count(f->proxy).flipped;
    fault_proxy_flip(f->proxy, FAULT_PROXY_DOWN, at);
    assert_true(env_until(flip_is_done, f));
    f->before = f->commits;
    if (!env_until(flip_is_survived, f)) {
        ew_worker_stats s = worker_fixture_stats(&f->fixture);
        print_message("stuck: ready %d, revision %" PRId64 ", barrier %" PRId64 "\n", s.ready, s.revision,
                      s.barrier_revision);
        f->stuck++;
    } else if (!flip_is_over(f)) {
        return;
    }
    f->ended++;
    print_message("ended: %s\n", ew_errname(worker_fixture_close(&f->fixture)));
    flip_start(f);
}

/* One bit of etcd's data is inverted, without TLS, in the last bytes of what it sends, where messages are. A worker may
 * see a wrong value, or end. It must never stop making progress while it reports that it is ready. */
static void test_inverted_bits(void **state) {
    (void)state;
    flipping f = {.proxy = fault_proxy_open(env_endpoint())};
    uint64_t random = 88172645463325252u;
    flip_start(&f);
    for (int i = 0; i < FLIPS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        flip_one(&f, (unsigned)(random % 800));
    }
    print_message("%d flips: %d ended the run, %d stuck\n", FLIPS, f.ended, f.stuck);
    assert_int_equal(f.stuck, 0);
    worker_fixture_close(&f.fixture);
    fault_proxy_close(f.proxy);
    client_delete_prefix("/flips/");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_others_have_passed_the_old_revision),
        env_test(test_the_last_event_is_in_both_histories),
        env_test(test_the_revision_fell),
        env_test(test_no_events_since_the_load),
        env_test(test_wiped),
        env_test(test_wiped_and_passed),
        env_test(test_groups_go_on),
        env_test(test_inverted_bits),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
