/* The statistics of a worker, at any time and in any thread. */
#include "lib/scenario.h"

#include <stdatomic.h>

typedef struct reader {
    ew_worker *worker;
    atomic_bool stop;
    _Atomic uint64_t reads, problems;
} reader;

static void *read_stats(void *arg) {
    reader *r = arg;
    uint64_t bad = 0;
    while (!atomic_load(&r->stop)) {
        ew_worker_stats stats = {.size = sizeof stats};
        if (ew_worker_get_stats(r->worker, &stats) != EW_OK || stats.bad_messages < bad)
            r->problems++;
        bad = stats.bad_messages;
        r->reads++;
    }
    return NULL;
}

static bool has_read(void *arg) {
    return atomic_load(&((reader *)arg)->reads) > 0;
}

/* The header promises it from create to destroy: also while the actors start and end. The sanitizers find the errors.
 */
static void test_read_while_the_actors_start_and_end(void **state) {
    (void)state;
    for (int i = 0; i < 30; i++) {
        worker_fixture f;
        worker_fixture_open(&f, "/stats");
        worker_fixture_start(&f);
        reader r = {.worker = f.worker};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, read_stats, &r), 0);
        worker_fixture_await_total(&f, 1);
        assert_true(env_until(has_read, &r));
        ew_worker_stop(f.worker);
        assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
        atomic_store(&r.stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(r.problems, 0);
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    }
}

/* ---- progress ---- */

static atomic_bool held, pause_now;

static int tick_that_is_held(worker_fixture *f, ew_tick *t) {
    (void)f, (void)t;
    while (atomic_load(&held))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return EW_OK;
}

static ew_worker_stats stats_of(const worker_fixture *f) {
    ew_worker_stats stats = {.size = sizeof stats};
    assert_int_equal(ew_worker_get_stats(f->worker, &stats), EW_OK);
    return stats;
}

static bool is_held(void *arg) {
    ew_worker_stats now = stats_of(arg);
    return now.tick_running_ms > 300 && now.progress_age_ms > 300 && strcmp(now.slowest_thread, "reactor") == 0;
}

static bool goes_on(void *arg) {
    ew_worker_stats now = stats_of(arg);
    return now.tick_running_ms == 0 && now.progress_age_ms < 300;
}

/* A tick that does not end is visible, and its end is too. Meanwhile the watcher's thread makes progress: see rule 18.
 */
static void test_a_tick_that_does_not_end(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/held");
    assert_int_equal(ew_options_set_int(f.options, "tick_interval_ms", 10, NULL), EW_OK);
    f.every = tick_that_is_held;
    atomic_store(&held, true);
    worker_fixture_start(&f);
    assert_true(env_until(is_held, &f));
    atomic_store(&held, false);
    assert_true(env_until(goes_on, &f));
    ew_worker_stop(f.worker);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
    ew_worker_stats last = stats_of(&f);
    assert_null(last.slowest_thread);
    assert_int_equal(last.progress_age_ms, 0);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* A tick that writes pauses etcd, so a transaction always waits, however busy the machine is. */
static int put_each_time(worker_fixture *f, ew_tick *t) {
    (void)f;
    if (atomic_exchange(&pause_now, false))
        env_pause_etcd();
    ew_group_put(ew_tick_group(t), EW_STR("/waits/key"), EW_STR("value"));
    return EW_OK;
}

static bool waits_for_its_outcome(void *arg) {
    return stats_of(arg).txn_waiting_ms > 6000;
}

static bool has_its_outcome(void *arg) {
    ew_worker_stats now = stats_of(arg);
    return now.txn_waiting_ms < 6000 && now.ready;
}

/* etcd does not answer: the worker waits for the outcome, and all threads make progress. */
static void test_etcd_does_not_answer(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/waits");
    assert_int_equal(ew_options_set_int(f.options, "tick_interval_ms", 10, NULL), EW_OK);
    assert_int_equal(ew_options_set_int(f.options, "session_ttl_s", 60, NULL), EW_OK);
    f.every = put_each_time;
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    atomic_store(&pause_now, true);
    assert_true(env_until(waits_for_its_outcome, &f)); /* for longer than a thread may sleep */
    assert_in_range(stats_of(&f).progress_age_ms, 0, 5900);
    env_resume_etcd();
    assert_true(env_until(has_its_outcome, &f));
    ew_worker_stop(f.worker);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
    assert_int_equal(stats_of(&f).txn_waiting_ms, 0);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_read_while_the_actors_start_and_end),
        env_test(test_a_tick_that_does_not_end),
        env_test(test_etcd_does_not_answer),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
