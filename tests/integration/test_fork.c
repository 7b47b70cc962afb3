/* A child of fork() that uses its parent's objects: each call returns at once with an error that names fork, and the
 * child's exit does not disturb the parent. */
#include "lib/client_test.h"
#include "lib/etcd_server.h"

#include <etcdworker/etcdworker.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static etcd_server *server;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    return 0;
}

static int tick(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_OK;
}

/* The parent's objects. */
typedef struct family {
    ew_options *options;
    ew_client *client;
    ew_watch *watch;
    ew_scan *scan;
    ew_session *session;
    ew_election *election;
    ew_observer *observer;
    ew_worker *worker;
} family;

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

static family begin(void) {
    family f = {.options = etcd_server_options(server), .client = etcd_server_client(server)};
    must(ew_watch_open(&f.watch, f.client, ew_keys_prefix(EW_STR("/")), NULL, &err));
    must(ew_scan_open(&f.scan, f.client, ew_keys_prefix(EW_STR("/")), NULL, &err));
    must(ew_session_open(&f.session, f.client, 60, &err));
    must(ew_election_open(&f.election, f.client, f.session, EW_STR("/e"), &err));
    must(ew_election_campaign(f.election, EW_STR("me"), 30000, &err));
    must(ew_observer_open(&f.observer, f.client, EW_STR("/e"), &err));
    must(ew_options_set(f.options, "prefix", "/app", &err));
    must(ew_worker_open(&f.worker, f.options, &reactor, NULL, &err));
    must(ew_worker_set_client(f.worker, f.client));
    must(ew_worker_start(f.worker, &err));
    return f;
}

static void end(family *f) {
    ew_worker_stop(f->worker);
    assert_int_equal(ew_worker_join(f->worker, &err), EW_ERR_CANCELLED);
    ew_worker_close(f->worker);
    ew_observer_close(f->observer);
    must(ew_election_resign(f->election, &err));
    ew_election_close(f->election);
    ew_session_close(f->session, EW_SESSION_REVOKE);
    ew_scan_close(f->scan);
    ew_watch_close(f->watch);
    ew_client_close(f->client);
    ew_options_free(f->options);
}

/* In the child: exits with the number of the first call that was not refused. */
static void expect_refused(int number, int status) {
    if (status != EW_ERR_STATE || !strstr(err.detail, "fork()")) {
        fprintf(stderr, "call %d: %s, %s\n", number, ew_errname(status), err.detail);
        _exit(number);
    }
    err.detail[0] = '\0';
}

static void use_everything(family *f) {
    ew_client *another;
    ew_session *session;
    ew_election *election;
    ew_observer *observer;
    ew_watch *watch;
    ew_watch_batch batch;
    ew_kv kv;
    int64_t lease = 0;
    expect_refused(1, ew_client_put(f->client, EW_STR("/a"), EW_STR("x"), NULL, NULL, &err));
    expect_refused(2, ew_client_lease_grant(f->client, 60, &lease, NULL, &err));
    expect_refused(3, ew_client_lease_keepalive(f->client, 7, NULL, &err));
    expect_refused(4, ew_client_reload(f->client, &err));
    expect_refused(5, ew_watch_open(&watch, f->client, ew_keys_one(EW_STR("/a")), NULL, &err));
    expect_refused(6, ew_watch_next(f->watch, -1, &batch, &err));
    expect_refused(7, ew_scan_next(f->scan, &kv, &err));
    expect_refused(8, ew_session_open(&session, f->client, 60, &err));
    expect_refused(9, ew_election_open(&election, f->client, f->session, EW_STR("/e"), &err));
    expect_refused(10, ew_election_campaign(f->election, EW_STR("x"), -1, &err));
    expect_refused(11, ew_election_proclaim(f->election, EW_STR("x"), &err));
    expect_refused(12, ew_election_await_loss(f->election, -1, &err));
    expect_refused(13, ew_election_resign(f->election, &err));
    expect_refused(14, ew_observer_open(&observer, f->client, EW_STR("/e"), &err));
    expect_refused(15, ew_observer_next(f->observer, -1, &kv, &err));
    expect_refused(16, ew_worker_start(f->worker, &err));
    expect_refused(17, ew_worker_join(f->worker, &err));
    expect_refused(18, ew_worker_run(f->worker, &err));
    expect_refused(19, ew_client_open(&another, f->options, &err));
}

/* Returns without waiting for a thread, so it may leak. */
static void close_everything(family *f) {
    ew_worker_stats stats = {.size = sizeof stats};
    ew_client_cancel(f->client);
    ew_watch_cancel(f->watch);
    ew_election_cancel(f->election);
    ew_observer_cancel(f->observer);
    if (ew_worker_get_stats(f->worker, &stats) != EW_ERR_STATE)
        _exit(20);
    ew_worker_stop(f->worker);
    ew_worker_close(f->worker);
    ew_observer_close(f->observer);
    ew_election_close(f->election);
    ew_session_close(f->session, EW_SESSION_REVOKE);
    ew_watch_close(f->watch);
    ew_client_close(f->client);
}

/* Returns the child's exit status. An alarm ends a child that hangs. */
static int run_in_child(void (*first)(family *), void (*then)(family *), family *f) {
    int how = -1;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        first(f);
        then(f);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &how, 0), child);
    return how;
}

static void test_a_child_is_refused(void **state) {
    (void)state;
    family f = begin();
    for (int i = 0; i < 10; i++) /* several times, since a lock may be held at one moment and not at another */
        assert_int_equal(run_in_child(use_everything, close_everything, &f), 0);
    must(ew_client_put(f.client, EW_STR("/a"), EW_STR("x"), NULL, NULL, &err));
    assert_false(ew_session_is_done(f.session));
    end(&f);
}

static void work(family *f) {
    ew_client *c;
    if (ew_client_open(&c, f->options, &err) != EW_OK ||
        ew_client_put(c, EW_STR("/child"), EW_STR("x"), NULL, NULL, &err) != EW_OK)
        _exit(1);
    ew_client_close(c);
}

static void nothing(family *f) {
    (void)f;
}

/* A child may open its own clients if its parent has none. */
static void test_a_child_of_a_parent_without_clients(void **state) {
    (void)state;
    family f = {.options = etcd_server_options(server)};
    assert_int_equal(run_in_child(work, nothing, &f), 0);
    ew_options_free(f.options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_child_of_a_parent_without_clients), /* must be first, before gRPC has threads */
        cmocka_unit_test_teardown(test_a_child_is_refused, nothing_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
