/* A worker on an etcd that runs out of space: it waits, reports it, and goes on when there is space; each group is
 * applied once. */
#include "lib/etcd_server.h"

#include <etcdworker/etcdworker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static etcd_server *server;
static ew_error err;
static atomic_int said_full, said_space, made, committed;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start((const char *const[]){"--quota-backend-bytes=4194304", NULL});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    return 0;
}

static void on_log(void *arg, const ew_log_record *r) {
    (void)arg;
    if (strcmp(r->area, "committer") != 0)
        return;
    said_full += r->level == EW_LOG_WARN && strstr(r->message, "out of space");
    said_space += r->level == EW_LOG_INFO && strstr(r->message, "has space again");
}

static int raise_by_one(void *arg, const ew_entry *current, ew_value *next) {
    int64_t number = 0;
    (void)arg;
    if (current && !ew_slice_int(current->value, &number))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, number + 1);
}

static void on_done(void *arg, ew_status status, int64_t revision) {
    (void)arg;
    (void)revision;
    committed += status == EW_OK;
}

static int tick(void *self, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    (void)self;
    made++;
    ew_group_on_done(g, on_done, NULL);
    return ew_group_modify(g, EW_STR("/app/n"), raise_by_one, NULL, NULL);
}

static ew_worker_stats stats_of(ew_worker *w) {
    ew_worker_stats s = {.size = sizeof s};
    assert_int_equal(ew_worker_get_stats(w, &s), EW_OK);
    return s;
}

static void await_space(ew_worker *w, bool none) {
    for (int i = 0; stats_of(w).no_space != none; i++) {
        assert_true(i < 3000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static void await_commits(int more) {
    int from = committed;
    for (int i = 0; committed < from + more; i++) {
        assert_true(i < 3000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static void fill_up(ew_client *c) {
    static char value[1000000];
    int status = EW_OK;
    for (int i = 0; i < 100 && status == EW_OK; i++) {
        status = ew_client_put(c, EW_STR("/full"), (ew_slice){value, sizeof value}, NULL, NULL, &err);
        /* etcd's own measure of its size is up to 100 ms old */
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    assert_int_equal(status, EW_ERR_NO_SPACE);
}

/* Does what an operator does: deletes the keys and compacts the history, then defragments, and disarms the alarm. */
static void make_space(ew_client *c) {
    ew_result *r;
    char revision[24], text[512];
    assert_int_equal(ew_client_delete(c, ew_keys_one(EW_STR("/full")), NULL, &r, &err), EW_OK);
    snprintf(revision, sizeof revision, "%lld", (long long)ew_result_revision(r));
    ew_result_free(r);
    assert_int_equal(etcdctl(server, text, sizeof text, "compact", "--physical", revision, NULL), 0);
    assert_int_equal(etcdctl(server, text, sizeof text, "defrag", NULL), 0);
    assert_int_equal(etcdctl(server, text, sizeof text, "alarm", "disarm", NULL), 0);
}

static void test_etcd_runs_full(void **state) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    (void)state;
    ew_client *c = etcd_server_client(server);
    ew_options *o = etcd_server_options(server);
    ew_worker *w;
    ew_log_set(on_log, NULL, EW_LOG_INFO);
    assert_int_equal(ew_options_set(o, "prefix", "/app", &err), EW_OK);
    assert_int_equal(ew_options_set(o, "tick_interval_ms", "10", &err), EW_OK);
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_OK);
    assert_int_equal(ew_worker_start(w, &err), EW_OK);
    await_commits(5);
    assert_false(stats_of(w).no_space);
    fill_up(c);
    await_space(w, true);
    int then = committed;
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    assert_int_equal(committed, then); /* it waits: no group fails and none is given up */
    assert_int_equal(made, then + 1);
    assert_true(stats_of(w).ready); /* it still follows etcd */
    make_space(c);
    await_space(w, false);
    await_commits(5);
    ew_worker_stop(w);
    assert_int_equal(ew_worker_join(w, &err), EW_ERR_CANCELLED);
    ew_worker_close(w);
    ew_log_set(NULL, NULL, EW_LOG_WARN);
    assert_int_equal(said_full, 1); /* once, however often it tried */
    assert_int_equal(said_space, 1);
    ew_result *r;
    int64_t number = 0;
    assert_int_equal(ew_client_get(c, ew_keys_one(EW_STR("/app/n")), NULL, &r, &err), EW_OK);
    assert_true(ew_slice_int(ew_result_at(r, 0)->value, &number));
    assert_int_equal(number, committed);
    ew_result_free(r);
    ew_options_free(o);
    ew_client_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_etcd_runs_full)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
