/* A worker's life from create to destroy, ended early in every phase (SEMANTICS 1, 7, 14). */
#include "etcd/etcd.h"
#include "lib/etcd_server.h"
#include "lib/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char LONG_MS[] = "3600000";

static int tick_nothing(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_OK;
}

static const ew_reactor nothing = EW_REACTOR(.tick = tick_nothing);

static ew_worker *make(const ew_options *o) {
    ew_worker *w;
    ew_error err = {0};
    if (ew_worker_open(&w, o, &nothing, NULL, &err) != EW_OK)
        fail_msg("%s", err.detail);
    return w;
}

/* ---- before the start ---- */

/* SEMANTICS 1: creating a worker does no I/O: no thread, no file, with an etcd that does not exist. */
static void test_create_does_no_io(void **state) {
    (void)state;
    size_t threads = env_threads(), files = env_files();
    ew_options *o = env_options("/life");
    assert_int_equal(ew_options_set(o, "endpoints", "192.0.2.1:2379", NULL), EW_OK);
    for (int i = 0; i < 20; i++) {
        ew_worker *w = make(o);
        ew_worker_stats stats = {.size = sizeof stats};
        assert_int_equal(ew_worker_get_stats(w, &stats), EW_OK);
        assert_int_equal(stats.barrier_revision, -1);
        assert_false(stats.ready);
        assert_int_equal(stats.ticks, 0);
        assert_true(env_threads() <= threads); /* a thread of gRPC may get its own name only now */
        assert_int_equal(env_files(), files);
        ew_worker_close(w);
    }
    ew_options_free(o);
    ew_worker_close(NULL);
}

static void check_options(const char *name, const char *value, const char *named) {
    ew_options *o = env_options("/life");
    ew_worker *w = (ew_worker *)o;
    ew_error err = {0};
    assert_int_equal(ew_options_set(o, name, value, NULL), EW_OK);
    assert_int_equal(ew_worker_open(&w, o, &nothing, NULL, &err), EW_ERR_INVALID);
    assert_null(w);
    if (!strstr(err.detail, named))
        fail_msg("%s = %s: %s", name, value, err.detail);
    ew_options_free(o);
}

static void test_invalid_options(void **state) {
    (void)state;
    check_options("name", "a/b", "name");
    check_options("name", "", "name");
    check_options("url_prefix", "nonsense", "url_prefix");
    check_options("backoff_min_ms", "2000", "backoff_min_ms");
    check_options("conflict_backoff_min_ms", "2000", "conflict_backoff_min_ms");
    check_options("receipt_prefix", "/life/receipts", "receipt_prefix");
    ew_options *o = env_options("/life");
    ew_worker *w;
    ew_reactor no_tick = EW_REACTOR(.update = NULL);
    assert_int_equal(ew_worker_open(&w, o, &no_tick, NULL, NULL), EW_ERR_INVALID);
    assert_int_equal(ew_worker_open(&w, o, NULL, NULL, NULL), EW_ERR_INVALID);
    ew_options_free(o);
}

static void test_functions_out_of_order(void **state) {
    (void)state;
    ew_options *o = env_options("/life");
    ew_worker *w = make(o);
    ew_worker_stats stats = {0};
    assert_int_equal(ew_worker_get_stats(w, &stats), EW_ERR_INVALID);
    assert_int_equal(ew_worker_join(w, NULL), EW_ERR_STATE);
    assert_int_equal(ew_worker_start(w, NULL), EW_OK);
    assert_int_equal(ew_worker_start(w, NULL), EW_ERR_STATE);
    assert_int_equal(ew_worker_set_client(w, client_handle()), EW_ERR_STATE);
    assert_int_equal(ew_worker_set_session(w, NULL), EW_ERR_STATE);
    ew_worker_stop(w);
    ew_worker_stop(w);
    assert_int_equal(ew_worker_join(w, NULL), EW_ERR_CANCELLED);
    assert_int_equal(ew_worker_join(w, NULL), EW_ERR_STATE);
    assert_int_equal(ew_worker_start(w, NULL), EW_ERR_STATE);
    ew_worker_stop(w);
    ew_worker_close(w);
    ew_options_free(o);
}

/* A stop before the start is not lost: the caller of ew_worker_stop need not know how far the start is. */
static void test_stop_before_start(void **state) {
    (void)state;
    ew_options *o = env_options("/life");
    ew_worker *w = make(o);
    ew_worker_stop(w);
    assert_int_equal(ew_worker_run(w, NULL), EW_ERR_CANCELLED);
    ew_worker_close(w);
    w = make(o);
    ew_worker_stop(w);
    ew_worker_close(w);
    ew_options_free(o);
}

/* ---- short lives ---- */

static int stop_from_inside(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/life/inside"), EW_STR("1"));
    ew_worker_stop(f->worker);
    return EW_OK;
}

static int put_one(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/life/a"), EW_STR("1"));
}

static int hold(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/life/b"), EW_STR("1"));
    worker_fixture_hold(f);
    return EW_OK;
}

static void live_shortly(unsigned i) {
    enum { PHASES = 8 };
    worker_fixture f;
    worker_fixture_open(&f, "/life");
    if (i % 2 == 0)
        assert_int_equal(ew_client_open(&f.client, f.options, NULL), EW_OK);
    ew_client *client = f.client;
    f.updates = i % 3 == 0;
    if (i % 5 == 0)
        worker_fixture_set(&f, "exactly_once", "off");
    if (i % 7 == 0)
        worker_fixture_set(&f, "submit", "on");
    if (i % PHASES == 5)
        f.every = put_one; /* in the middle of commits */
    worker_fixture_start(&f);
    switch (i % PHASES) {
    case 0: /* at once */
        break;
    case 1: /* somewhere between session, snapshot and first tick */
    case 2:
        nanosleep(&(struct timespec){.tv_nsec = (long)(i % 25) * 200000}, NULL);
        break;
    case 3:
        worker_fixture_await_ready(&f, true);
        break;
    case 4:
        worker_fixture_await_ticks(&f, 1);
        break;
    case 5:
        worker_fixture_await_ticks(&f, 3);
        break;
    case 6: /* in a tick, whose group is never sent, or decided before the end */
        worker_fixture_begin(&f, hold);
        worker_fixture_await_held(&f);
        break;
    default:
        worker_fixture_begin(&f, stop_from_inside);
        assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
    }
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    ew_client_close(client);
}

typedef struct leftovers {
    size_t threads, files;
} leftovers;

static bool is_back(void *arg) {
    const leftovers *before = arg;
    /* On a busy machine the time that a closing client gives gRPC to end its other connections may be too short. */
    size_t spare = etcd_server_nodes() > 1 ? 10 : 0;
    return env_threads() <= before->threads && env_files() <= before->files + spare;
}

/* SEMANTICS 7: a stop in every phase ends the run, and leaves no thread and no file. */
static void test_two_hundred_short_lives(void **state) {
    (void)state;
    client_put("/life/x", "1");
    for (unsigned i = 0; i < 16; i++) /* nng and gRPC keep what they have once allocated */
        live_shortly(i);
    leftovers before = {env_threads(), env_files()};
    for (unsigned i = 0; i < 200; i++)
        live_shortly(i);
    if (!env_until(is_back, &before))
        fail_msg("%zu threads and %zu files; %zu and %zu before", env_threads(), env_files(), before.threads,
                 before.files);
    client_delete_prefix("/life/");
}

static void test_destroy_while_running(void **state) {
    (void)state;
    ew_options *o = env_options("/life");
    for (int i = 0; i < 20; i++) {
        ew_worker *w = make(o);
        assert_int_equal(ew_worker_start(w, NULL), EW_OK);
        ew_worker_close(w); /* stops and joins */
    }
    ew_options_free(o);
}

/* Each worker removes its receipt. */
static void test_no_receipt_is_left(void **state) {
    (void)state;
    assert_int_equal(client_count("/etcdworker/"), 0);
}

/* ---- an etcd that does not exist ---- */

static void check_no_etcd(const char *exactly_once) {
    char endpoint[32];
    worker_fixture f;
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", etcd_free_port());
    worker_fixture_open(&f, "/life");
    worker_fixture_set(&f, "endpoints", endpoint);
    worker_fixture_set(&f, "exactly_once", exactly_once);
    worker_fixture_set(&f, "start_timeout_ms", "1000");
    int64_t before_ms = env_now_ms();
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_UNAVAILABLE);
    print_message("after %d ms: %s\n", (int)(env_now_ms() - before_ms), f.err.detail);
    assert_true(f.err.detail[0] != '\0');
    assert_true(env_now_ms() - before_ms < 5000);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_UNAVAILABLE);
}

/* SEMANTICS 14: with `start_timeout_ms` a worker does not wait for ever for an etcd that does not exist. */
static void test_no_etcd_at_all(void **state) {
    (void)state;
    check_no_etcd("on");
    check_no_etcd("off");
}

static void check_stop_without_etcd(const char *exactly_once) {
    char endpoint[32];
    worker_fixture f;
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", etcd_free_port());
    worker_fixture_open(&f, "/life");
    worker_fixture_set(&f, "endpoints", endpoint);
    worker_fixture_set(&f, "exactly_once", exactly_once);
    worker_fixture_start(&f);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* so that it waits for a connection */
    int64_t before_ms = env_now_ms();
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    print_message("stopped after %d ms\n", (int)(env_now_ms() - before_ms));
    assert_true(env_now_ms() - before_ms < 5000);
}

/* SEMANTICS 7: the worker can be stopped meanwhile. */
static void test_stop_without_etcd(void **state) {
    (void)state;
    check_stop_without_etcd("on");
    check_stop_without_etcd("off");
}

/* SEMANTICS 14: a worker waits for an etcd that starts later. */
static void test_etcd_comes_later(void **state) {
    (void)state;
    worker_fixture f;
    env_kill_etcd();
    worker_fixture_open(&f, "/life");
    worker_fixture_start(&f);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    env_start_etcd();
    worker_fixture_do(&f, put_one);
    assert_true(client_get("/life/a").present);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/life/");
}

static void test_malformed_endpoint(void **state) {
    (void)state;
    ew_options *o = env_options("/life");
    ew_error err = {0};
    assert_int_equal(ew_options_set(o, "endpoints", "no-port-here", NULL), EW_OK);
    ew_worker *w = make(o);
    assert_int_equal(ew_worker_start(w, &err), EW_ERR_INVALID);
    if (!strstr(err.detail, "no-port-here"))
        fail_msg("%s", err.detail);
    ew_worker_close(w);
    ew_options_free(o);
}

/* ---- many workers ---- */

static int raise_by_one(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t number = 0;
    if (current && !ew_slice_int(current->value, &number))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, number + 1);
}

static int count(worker_fixture *f, ew_tick *t) {
    int *left = f->arg;
    ew_group_modify(ew_tick_group(t), EW_STR("/life/shared"), raise_by_one, NULL, NULL);
    return --*left == 0 ? EW_FINISHED : EW_OK;
}

static void check_together(unsigned workers, int rounds, bool one_client) {
    worker_fixture *fixtures = calloc(workers, sizeof *fixtures);
    int *left = calloc(workers, sizeof *left);
    char total[32];
    assert_non_null(fixtures);
    assert_non_null(left);
    for (unsigned i = 0; i < workers; i++) {
        left[i] = rounds;
        worker_fixture_open(&fixtures[i], "/life");
        fixtures[i].client = one_client ? client_handle() : NULL;
        fixtures[i].every = count;
        fixtures[i].arg = &left[i];
        worker_fixture_start(&fixtures[i]);
    }
    for (unsigned i = 0; i < workers; i++) {
        assert_int_equal(worker_fixture_await_end(&fixtures[i]), EW_OK);
        assert_int_equal(worker_fixture_close(&fixtures[i]), EW_OK);
    }
    snprintf(total, sizeof total, "%d", (int)workers * rounds);
    assert_string_equal(client_get("/life/shared").value, total);
    client_delete_prefix("/life/");
    free(fixtures);
    free(left);
}

static void test_two_workers_with_one_client(void **state) {
    (void)state;
    check_together(2, 200, true);
}

/* SEMANTICS 21: twenty workers that all write one key: each of them succeeds. */
static void test_twenty_workers_in_one_process(void **state) {
    (void)state;
    check_together(20, 20, false);
}

static void test_two_workers_of_one_name(void **state) {
    (void)state;
    ew_options *o = env_options("/life");
    ew_error err = {0};
    ew_worker *first = make(o), *second = make(o);
    assert_int_equal(ew_worker_start(first, NULL), EW_OK);
    assert_int_not_equal(ew_worker_start(second, &err), EW_OK);
    assert_non_null(strstr(err.detail, ew_options_text(o, "name")));
    ew_worker_close(second);
    ew_worker_close(first);
    ew_options_free(o);
}

/* ---- other tests ---- */

static ew_status fail_update(void *self, const ew_event *event) {
    (void)self, (void)event;
    return EW_ERR_REACTOR;
}

static ew_status fail_reset(void *self) {
    (void)self;
    return EW_ERR_REACTOR;
}

/* SEMANTICS 7: an error of `update` or `reset` ends the run, and names the callback. */
static void test_errors_of_the_reactor(void **state) {
    (void)state;
    const ew_reactor reactors[] = {EW_REACTOR(.tick = tick_nothing, .update = fail_update),
                                   EW_REACTOR(.tick = tick_nothing, .update = fail_update, .reset = fail_reset)};
    const char *const named[] = {"update", "reset"};
    client_put("/life/a", "1");
    for (size_t i = 0; i < 2; i++) {
        ew_options *o = env_options("/life");
        ew_worker *w;
        ew_error err = {0};
        assert_int_equal(ew_worker_open(&w, o, &reactors[i], NULL, NULL), EW_OK);
        assert_int_equal(ew_worker_run(w, &err), EW_ERR_REACTOR);
        if (!strstr(err.detail, named[i]))
            fail_msg("%s", err.detail);
        ew_worker_close(w);
        ew_options_free(o);
    }
    client_delete_prefix("/life/");
}

/* The table may be shorter than in this header: a program that was built with an older header. */
static void test_an_older_call_table(void **state) {
    (void)state;
    ew_reactor old = {.size = offsetof(ew_reactor, update), .tick = tick_nothing, .update = fail_update};
    ew_options *o = env_options("/life");
    ew_worker *w;
    client_put("/life/a", "1");
    assert_int_equal(ew_options_set(o, "tick_interval_ms", LONG_MS, NULL), EW_OK);
    assert_int_equal(ew_worker_open(&w, o, &old, NULL, NULL), EW_OK);
    assert_int_equal(ew_worker_start(w, NULL), EW_OK);
    ew_worker_stats stats = {.size = sizeof stats};
    for (int64_t until_ms = env_now_ms() + ENV_WAIT_MS; stats.ticks == 0 && env_now_ms() < until_ms;)
        assert_int_equal(ew_worker_get_stats(w, &stats), EW_OK);
    assert_int_equal(stats.ticks, 1);
    ew_worker_stop(w);
    assert_int_equal(ew_worker_join(w, NULL), EW_ERR_CANCELLED);
    ew_worker_close(w);
    ew_options_free(o);
    client_delete_prefix("/life/");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_create_does_no_io),
        env_test(test_invalid_options),
        env_test(test_functions_out_of_order),
        env_test(test_stop_before_start),
        env_test(test_two_hundred_short_lives),
        env_test(test_destroy_while_running),
        env_test(test_no_receipt_is_left),
        env_test(test_no_etcd_at_all),
        env_test(test_stop_without_etcd),
        env_test(test_etcd_comes_later),
        env_test(test_malformed_endpoint),
        env_test(test_two_workers_with_one_client),
        env_test(test_twenty_workers_in_one_process),
        env_test(test_two_workers_of_one_name),
        env_test(test_errors_of_the_reactor),
        env_test(test_an_older_call_table),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
