/* The address of a worker's etcd becomes another cluster: the worker ends, and uses nothing of that cluster (SEMANTICS
 * 14, ETCD P7). */
#include "lib/etcd_server.h"

#include <etcdworker/etcdworker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static etcd_server *server;
static ew_error err;
static atomic_int ticks, vanished;

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

static ew_status update(void *self, const ew_event *event) {
    (void)self;
    vanished += event->kind == EW_EVENT_DELETE;
    return EW_OK;
}

static int tick(void *self, ew_tick *t) {
    ew_entry e;
    (void)self;
    ticks++;
    return ew_tick_get(t, EW_STR("/app/there"), &e) == EW_OK ? EW_OK : EW_ERR_REACTOR;
}

static void test_another_cluster(void **state) {
    static const ew_reactor reactor = EW_REACTOR(.update = update, .tick = tick);
    (void)state;
    ew_client *c = etcd_server_client(server);
    ew_options *o = etcd_server_options(server);
    ew_worker *w;
    assert_int_equal(ew_client_put(c, EW_STR("/app/there"), EW_STR("x"), NULL, NULL, &err), EW_OK);
    ew_client_close(c);
    assert_int_equal(ew_options_set(o, "prefix", "/app", &err), EW_OK);
    assert_int_equal(ew_options_set(o, "tick_interval_ms", "10", &err), EW_OK);
    /* otherwise the missing lease would be detected first */
    assert_int_equal(ew_options_set(o, "exactly_once", "off", &err), EW_OK);
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_OK);
    assert_int_equal(ew_worker_start(w, &err), EW_OK);
    for (int i = 0; ticks < 5; i++) {
        assert_true(i < 3000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    etcd_server_replace(server);
    assert_string_equal(ew_errname(ew_worker_join(w, &err)), "EW_ERR_WRONG_CLUSTER");
    /* the key does not exist in the other cluster, but that must not be reported as a delete */
    assert_int_equal(vanished, 0);
    ew_worker_close(w);
    ew_options_free(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_another_cluster)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
