/* Log functions of single clients and workers (ew_options_set_log): each record goes to the one that it is about. */
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What one log function got. Any thread. */
typedef struct book {
    char worker[64];        /* the only name that records may have; "": none */
    atomic_size_t started;  /* "started" of a worker */
    atomic_size_t app;      /* ew_log in a reactor */
    atomic_size_t session;  /* about a session */
    atomic_size_t external; /* about another worker */
    atomic_size_t late;     /* after `closed` */
    atomic_bool closed;
} book;

static bool is_own(const book *b, const ew_log_record *record) {
    return !record->worker || strcmp(record->worker, b->worker) == 0;
}

static void note(void *arg, const ew_log_record *record) {
    book *b = arg;
    atomic_fetch_add(&b->started, strcmp(record->area, "worker") == 0 && strcmp(record->message, "started") == 0);
    atomic_fetch_add(&b->app, strcmp(record->area, "app") == 0);
    atomic_fetch_add(&b->session, strcmp(record->area, "session") == 0);
    atomic_fetch_add(&b->external, !is_own(b, record));
    atomic_fetch_add(&b->late, atomic_load(&b->closed));
}

static int speak(worker_fixture *f, ew_tick *t) {
    (void)f;
    ew_log(EW_LOG_WARN, "tick %llu", (unsigned long long)ew_tick_number(t));
    return EW_OK;
}

/* Makes a worker that speaks in each tick. `level` NULL: without a log function of its own. */
static void open_worker(worker_fixture *f, book *b, const char *prefix, const ew_log_level *level) {
    worker_fixture_open(f, prefix);
    f->every = speak;
    snprintf(b->worker, sizeof b->worker, "%s", ew_options_text(f->options, "name"));
    if (level)
        assert_int_equal(ew_options_set_log(f->options, note, b, *level), EW_OK);
}

static void await_speech(worker_fixture *f) {
    worker_fixture_await_ready(f, true);
    worker_fixture_await_ticks(f, 2);
}

static void test_each_worker_gets_its_own_records(void **state) {
    (void)state;
    static book process, a, b;
    const ew_log_level all = EW_LOG_DEBUG, warnings = EW_LOG_WARN;
    worker_fixture fa, fb, fc;
    ew_log_set(note, &process, EW_LOG_INFO);
    open_worker(&fa, &a, "/log/a", &all);
    open_worker(&fb, &b, "/log/b", &warnings);
    open_worker(&fc, &process, "/log/c", NULL);
    worker_fixture_start(&fa);
    worker_fixture_start(&fb);
    worker_fixture_start(&fc);
    await_speech(&fa);
    await_speech(&fb);
    await_speech(&fc);

    assert_int_equal(worker_fixture_close(&fa), EW_ERR_CANCELLED);
    atomic_store(&a.closed, true);
    worker_fixture_await_ticks(&fb, 2);
    assert_int_equal(worker_fixture_close(&fb), EW_ERR_CANCELLED);
    atomic_store(&b.closed, true);
    assert_int_equal(worker_fixture_close(&fc), EW_ERR_CANCELLED);
    ew_log_set(NULL, NULL, EW_LOG_ERROR);

    assert_int_equal(a.started, 1);
    assert_int_equal(b.started, 0); /* above its level */
    assert_int_equal(process.started, 1);
    const book *const books[] = {&a, &b, &process};
    for (size_t i = 0; i < 3; i++) {
        assert_true(books[i]->app >= 2);
        assert_int_equal(books[i]->external, 0);
        assert_int_equal(books[i]->late, 0);
    }
}

static bool has_session(void *arg) {
    return atomic_load(&((book *)arg)->session) > 0;
}

/* A client's session belongs to the client, also if a worker with another log function uses both. */
static void test_a_client_gets_its_own_records(void **state) {
    (void)state;
    static book process, mine, workers;
    const ew_log_level all = EW_LOG_DEBUG;
    ew_log_set(note, &process, EW_LOG_DEBUG);
    ew_options *o = env_options("/log/client");
    ew_client *client;
    ew_session *session;
    ew_error err = {0};
    assert_int_equal(ew_options_set_log(o, note, &mine, EW_LOG_DEBUG), EW_OK);
    assert_int_equal(ew_client_open(&client, o, &err), EW_OK);
    ew_options_free(o);
    assert_int_equal(ew_session_open(&session, client, 5, &err), EW_OK);

    worker_fixture f;
    open_worker(&f, &workers, "/log/d", &all);
    f.client = client;
    f.session = session;
    worker_fixture_start(&f);
    await_speech(&f);
    client_revoke(ew_session_lease(session));
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_SESSION_DONE);
    assert_true(env_until(has_session, &mine));
    worker_fixture_close(&f);
    ew_session_close(session, EW_SESSION_REVOKE);
    ew_client_close(client);
    atomic_store(&mine.closed, true);
    atomic_store(&workers.closed, true);
    ew_log_set(NULL, NULL, EW_LOG_ERROR);

    assert_int_equal(workers.started, 1);
    assert_int_equal(workers.session, 0);
    assert_int_equal(mine.app + process.app, 0);
    assert_int_equal(process.session + process.started, 0);
    assert_int_equal(mine.external + workers.external + process.external, 0);
    assert_int_equal(mine.late + workers.late, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_each_worker_gets_its_own_records),
        env_test(test_a_client_gets_its_own_records),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
