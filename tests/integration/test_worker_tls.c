/* A worker on an etcd with full protection: certificates of both sides, and a user with a password. */
#include "lib/certs.h"
#include "lib/etcd_server.h"
#include "lib/worker_test.h"

#include <etcdworker/etcdworker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static certs *ours;
static cert_paths client_cert;
static char password[192];
static etcd_server *server;
static ew_error err;

static int set_up(void **state) {
    (void)state;
    ours = certs_new();
    cert_paths p = certs_make(ours, "server", "IP:127.0.0.1", -1, 1);
    client_cert = certs_make(ours, "client", NULL, -1, 1);
    snprintf(password, sizeof password, "%s", certs_write(ours, "password", "secret\n"));
    char cert[256], key[256], ca[256];
    snprintf(cert, sizeof cert, "--cert-file=%s", p.cert);
    snprintf(key, sizeof key, "--key-file=%s", p.key);
    snprintf(ca, sizeof ca, "--trusted-ca-file=%s", certs_authority(ours));
    server = etcd_server_start((const char *const[]){cert, key, ca, "--client-cert-auth", NULL});
    setenv("ETCDCTL_CACERT", certs_authority(ours), 1);
    setenv("ETCDCTL_CERT", client_cert.cert, 1);
    setenv("ETCDCTL_KEY", client_cert.key, 1);
    etcd_server_add_users(server, (const char *const[]){"/app", "/etcdworker/", NULL});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    certs_free(ours);
    return 0;
}

/* Increments a key. */
static int tick(void *self, ew_tick *t) {
    ew_entry e;
    int64_t n = 0;
    char text[24];
    (void)self;
    if (ew_tick_get(t, EW_STR("/app/n"), &e) == EW_OK && !ew_slice_int(e.value, &n))
        return EW_ERR_INVALID;
    snprintf(text, sizeof text, "%lld", (long long)n + 1);
    return ew_group_put(ew_tick_group(t), EW_STR("/app/n"), ew_str(text));
}

static ew_worker *start(const char *user) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    const char *const settings[][2] = {
        {"ca_file", certs_authority(ours)}, {"cert_file", client_cert.cert},
        {"key_file", client_cert.key},      {"user", user},
        {"password_file", password},        {"prefix", "/app"},
        {"tick_interval_ms", "20"},         {"session_ttl_s", "60"},
    };
    ew_options *o = etcd_server_options(server);
    ew_worker *w;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        assert_int_equal(ew_options_set(o, settings[i][0], settings[i][1], &err), EW_OK);
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_OK);
    assert_int_equal(ew_worker_start(w, &err), EW_OK);
    ew_options_free(o);
    return w;
}

/* A restarted member has lost its tokens: the calls, the watch and the session's keepalive need new ones, over new
 * connections. */
static void test_tokens_are_forgotten(void **state) {
    (void)state;
    char text[64] = "";
    ew_worker *w = start("app");
    await_commits(w, 5);
    for (int round = 0; round < 2; round++) {
        etcd_server_kill(server);
        etcd_server_restart(server);
        await_commits(w, stats_of(w).groups_committed + 5);
    }
    ew_worker_stop(w);
    assert_string_equal(ew_errname(ew_worker_join(w, &err)), "EW_ERR_CANCELLED");
    assert_int_equal(
        etcdctl(server, text, sizeof text, "--user=app:secret", "get", "--print-value-only", "/app/n", NULL), 0);
    assert_int_equal(atoll(text), stats_of(w).groups_committed);
    ew_worker_close(w);
}

static void test_another_user(void **state) {
    (void)state;
    ew_worker *w = start("nobody");
    assert_string_equal(ew_errname(ew_worker_join(w, &err)), "EW_ERR_UNAUTHENTICATED");
    assert_non_null(strstr(err.detail, "authentication"));
    ew_worker_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_forgotten),
        cmocka_unit_test(test_another_user),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
