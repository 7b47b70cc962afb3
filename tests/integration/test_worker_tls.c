/* A worker in front of an etcd that is guarded by all there is: certificates of both sides, and a user's password. */
#include "lib/certs.h"
#include "lib/etcd_server.h"

#include <etcdworker/etcdworker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static certs *ours;
static cert_paths client_cert;
static char password[192];
static etcd_server *server;
static ew_error err;

static const char *const setup[][ETCDCTL_WORDS] = {
    {"user", "add", "root:rootpw"},
    {"role", "add", "root"},
    {"user", "grant-role", "root", "root"},
    {"user", "add", "app:secret"},
    {"role", "add", "apps"},
    {"role", "grant-permission", "apps", "--prefix=true", "readwrite", "/app"},
    {"role", "grant-permission", "apps", "--prefix=true", "readwrite", "/etcdworker/"},
    {"user", "grant-role", "app", "apps"},
    {"auth", "enable"},
};

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
    etcdctl_all(server, setup, sizeof setup / sizeof setup[0]);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    certs_free(ours);
    return 0;
}

/* Counts in a key. */
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
    assert_int_equal(ew_worker_create(&w, o, &reactor, NULL, &err), EW_OK);
    assert_int_equal(ew_worker_start(w, &err), EW_OK);
    ew_options_free(o);
    return w;
}

/* So many commits more. */
static void await_commits(ew_worker *w, uint64_t more) {
    ew_worker_stats stats = {.size = sizeof stats};
    ew_worker_get_stats(w, &stats);
    uint64_t until = stats.groups_committed + more;
    for (int i = 0; i < 3000; i++) {
        ew_worker_get_stats(w, &stats);
        if (stats.ready && stats.groups_committed >= until)
            return;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    fail_msg("%llu groups in place of %llu", (unsigned long long)stats.groups_committed, (unsigned long long)until);
}

/* A member forgets its tokens when it restarts: the calls, the watch and the session's keepalive need new ones, over
 * new connections. */
static void test_tokens_are_forgotten(void **state) {
    (void)state;
    char text[64] = "";
    ew_worker *w = start("app");
    await_commits(w, 5);
    for (int round = 0; round < 2; round++) {
        etcd_server_kill(server);
        etcd_server_restart(server);
        await_commits(w, 5);
    }
    ew_worker_stats stats = {.size = sizeof stats};
    ew_worker_stop(w);
    assert_string_equal(ew_errname(ew_worker_join(w, &err)), "EW_ERR_CANCELLED");
    ew_worker_get_stats(w, &stats);
    assert_int_equal(
        etcdctl(server, text, sizeof text, "--user=app:secret", "get", "--print-value-only", "/app/n", NULL), 0);
    assert_int_equal(atoll(text), stats.groups_committed);
    ew_worker_destroy(w);
}

static void test_another_user(void **state) {
    (void)state;
    ew_worker *w = start("nobody");
    assert_string_equal(ew_errname(ew_worker_join(w, &err)), "EW_ERR_UNAUTHENTICATED");
    assert_non_null(strstr(err.detail, "authentication"));
    ew_worker_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_forgotten),
        cmocka_unit_test(test_another_user),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
