/* A worker whose user lacks permissions: the run ends, and the error names what was denied (SEMANTICS 14). */
#include "lib/certs.h"
#include "lib/etcd_server.h"
#include "lib/worker_test.h"

#include <etcdworker/etcdworker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static etcd_server *server;
static certs *files; /* only for its directory */
static ew_error err;

static const char *const revoke[][ETCDCTL_WORDS] = {
    {"--user=root:rootpw", "role", "revoke-permission", "apps", "--prefix=true", "/app"},
};

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    files = certs_new();
    etcd_server_add_users(server, (const char *const[]){"/app", "/etcdworker/", NULL});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    certs_free(files);
    return 0;
}

/* Writes once. */
static int tick(void *self, ew_tick *t) {
    ew_entry e;
    (void)self;
    if (ew_tick_get(t, EW_STR("/app/ticked"), &e) == EW_OK)
        return EW_OK;
    return ew_group_put(ew_tick_group(t), EW_STR("/app/ticked"), EW_STR("yes"));
}

static ew_worker *start(const char *prefix) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    ew_options *o = etcd_server_options(server);
    ew_worker *w;
    assert_int_equal(ew_options_set(o, "user", "app", &err), EW_OK);
    assert_int_equal(ew_options_set(o, "password_file", certs_write(files, "password", "secret\n"), &err), EW_OK);
    assert_int_equal(ew_options_set(o, "prefix", prefix, &err), EW_OK);
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_OK);
    assert_int_equal(ew_worker_start(w, &err), EW_OK);
    ew_options_free(o);
    return w;
}

static void expect_denied(ew_worker *w, const char *what) {
    assert_string_equal(ew_errname(ew_worker_join(w, &err)), "EW_ERR_DENIED");
    if (!strstr(err.detail, what))
        fail_msg("%s does not name %s", err.detail, what);
    ew_worker_close(w);
}

static void test_read(void **state) {
    (void)state;
    expect_denied(start("/other"), "get \"/other\" to \"/other0\"");
}

/* The permission is revoked while the worker runs. An open watch goes on. The next one is refused without a reason
 * (ETCD P10), so the prefix is read again, and that error names the range. */
static void test_watch(void **state) {
    (void)state;
    ew_worker *w = start("/app");
    await_commits(w, 1);
    etcdctl_all(server, revoke, 1);
    etcd_server_stop(server);
    etcd_server_restart(server);
    expect_denied(w, "get \"/app\" to \"/app0\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_watch)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
