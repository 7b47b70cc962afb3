/* New certificates while a client, a worker and a daemon run, against an etcd that requires client certificates.
 *
 * The server accepts certificates of both authorities. The test replaces the contents of all files: the server's
 * certificate, the authority that its clients trust, and the clients' certificates. Whether a client uses the new ones
 * shows when the server is restarted and accepts only those. */
#include "etcd/etcd.h"
#include "lib/certs.h"
#include "lib/client_test.h"
#include "lib/daemon.h"
#include "lib/etcd_server.h"
#include "lib/process.h"

#include <etcdworker/session.h>
#include <etcdworker/worker.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { WAIT_MS = 30000 };

static certs *old, *new;
static cert_paths old_server, new_server, old_client, new_client;
static char used_ca[192], taken[192]; /* trusted by the clients; by the server */
static cert_paths used_server, used_client;
static etcd_server *server;

static void copy(const char *from, const char *to) {
    assert_int_equal(process_run((char *[]){"cp", (char *)(uintptr_t)from, (char *)(uintptr_t)to, NULL}, NULL, 0), 0);
}

static void use_server(const cert_paths *p) {
    copy(p->cert, used_server.cert);
    copy(p->key, used_server.key);
}

static void use_client(const certs *authority, const cert_paths *p) {
    copy(certs_authority(authority), used_ca);
    copy(p->cert, used_client.cert);
    copy(p->key, used_client.key);
}

static void take_both(void) {
    char command[1024];
    snprintf(command, sizeof command, "cat %s %s > %s", certs_authority(old), certs_authority(new), taken);
    assert_int_equal(process_run((char *[]){"sh", "-c", command, NULL}, NULL, 0), 0);
}

static void take_new_only(void) {
    copy(certs_authority(new), taken);
    etcd_server_kill(server);
    etcd_server_restart(server);
}

static int set_up(void **state) {
    char cert[256], key[256], ca[256];
    (void)state;
    old = certs_new();
    new = certs_new();
    old_server = certs_make(old, "server", "IP:127.0.0.1", -1, 1);
    new_server = certs_make(new, "server", "IP:127.0.0.1", -1, 1);
    old_client = certs_make(old, "client", NULL, -1, 1);
    new_client = certs_make(new, "client", NULL, -1, 1);
    snprintf(used_ca, sizeof used_ca, "%s", certs_write(old, "used-ca.pem", ""));
    snprintf(taken, sizeof taken, "%s", certs_write(old, "taken.pem", ""));
    used_server = certs_make(old, "used-server", "IP:127.0.0.1", -1, 1);
    used_client = certs_make(old, "used-client", NULL, -1, 1);
    take_both();
    snprintf(cert, sizeof cert, "--cert-file=%s", used_server.cert);
    snprintf(key, sizeof key, "--key-file=%s", used_server.key);
    snprintf(ca, sizeof ca, "--trusted-ca-file=%s", taken);
    server = etcd_server_start((const char *const[]){cert, key, ca, "--client-cert-auth", NULL});
    return daemon_open(state);
}

static int tear_down(void **state) {
    etcd_server_free(server);
    certs_free(old);
    certs_free(new);
    return daemon_close(state);
}

/* Each test begins with the old files. */
static int begin(void **state) {
    (void)state;
    use_server(&old_server);
    use_client(old, &old_client);
    take_both();
    etcd_server_kill(server);
    etcd_server_restart(server);
    return 0;
}

static ew_options *options(void) {
    ew_options *o = ew_options_new();
    must(ew_options_set(o, "endpoints", server->endpoint, &err));
    must(ew_options_set(o, "ca_file", used_ca, &err));
    must(ew_options_set(o, "cert_file", used_client.cert, &err));
    must(ew_options_set(o, "key_file", used_client.key, &err));
    must(ew_options_set_int(o, "call_timeout_ms", 5000, &err));
    return o;
}

static ew_client *open_client(void) {
    ew_client *c;
    ew_options *o = options();
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    return c;
}

static int put(ew_client *c) {
    return ew_client_put(c, EW_STR("/reload/a"), EW_STR("x"), NULL, NULL, &err);
}

static void expect_event(ew_watch *w) {
    ew_watch_batch b;
    must(ew_watch_next(w, WAIT_MS, &b, &err));
    assert_int_equal(b.count, 1);
}

/* A watch and a session move to the new connections. A client that did not reload does so when it is refused. */
static void test_a_client_uses_new_certificates(void **state) {
    (void)state;
    ew_watch *w;
    ew_session *s;
    ew_client *c = open_client(), *other = open_client();
    must(put(other));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/reload/")), NULL, &err));
    must(ew_session_open(&s, c, 10, &err));
    must(put(c));
    expect_event(w);

    use_server(&new_server);
    use_client(new, &new_client);
    must(put(c)); /* open connections are not affected */
    expect_event(w);
    must(ew_client_reload(c, &err));
    for (int i = 0; i < 3; i++) {
        must(put(c));
        expect_event(w);
    }
    take_new_only();
    must(put(c));
    expect_event(w);
    assert_false(ew_session_is_done(s));
    must(put(other));
    expect_event(w);
    must(ew_client_reload(other, &err)); /* of the same files */
    must(put(other));
    expect_event(w);

    ew_watch_close(w);
    ew_session_close(s, EW_SESSION_KEEP_LEASE);
    ew_client_close(other);
    ew_client_close(c);
}

static void refused(ew_client *c, int status, const char *words) {
    int got = ew_client_reload(c, &err);
    if (got != status || !strstr(err.detail, words))
        fail_msg("%s: %s", ew_errname(got), err.detail);
    must(put(c));
}

/* Invalid files change nothing, and the error names the file. */
static void test_invalid_files(void **state) {
    (void)state;
    ew_client *c = open_client();
    must(put(c));
    copy(new_client.key, used_client.key);
    refused(c, EW_ERR_INVALID, "not the key of cert_file");
    assert_non_null(strstr(err.detail, used_client.key));
    copy(old_client.key, used_client.key);

    assert_int_equal(remove(used_client.cert), 0);
    refused(c, EW_ERR_SYSTEM, used_client.cert);
    copy(old_client.cert, used_client.cert);

    copy("/dev/null", used_ca);
    refused(c, EW_ERR_INVALID, "no certificate in the file");

    /* Valid files, but another authority signed the server's certificate. */
    copy(certs_authority(new), used_ca);
    refused(c, EW_ERR_UNAVAILABLE, "keeping the old connections");

    copy(certs_authority(old), used_ca);
    must(ew_client_reload(c, &err));
    must(put(c));
    ew_client_close(c);
}

/* ---- continuous calls ---- */

typedef struct load {
    ew_client *client;
    atomic_bool over;
    atomic_int calls, failed;
    char detail[256];
} load;

static void *run_load(void *arg) {
    load *l = arg;
    ew_error e;
    while (!atomic_load(&l->over)) {
        if (ew_client_put(l->client, EW_STR("/load"), EW_STR("x"), NULL, NULL, &e) != EW_OK &&
            atomic_fetch_add(&l->failed, 1) == 0)
            snprintf(l->detail, sizeof l->detail, "%s", e.detail);
        atomic_fetch_add(&l->calls, 1);
    }
    return NULL;
}

/* No call fails, however often the client reloads. */
static void test_under_load(void **state) {
    (void)state;
    pthread_t threads[2];
    load l = {.client = open_client()};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_load, &l), 0);
    for (int i = 0; i < 10; i++) {
        int seen = atomic_load(&l.calls);
        while (atomic_load(&l.calls) < seen + 20)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        use_client(i % 2 ? old : new, i % 2 ? &old_client : &new_client);
        use_server(i % 2 ? &old_server : &new_server);
        must(ew_client_reload(l.client, &err));
    }
    atomic_store(&l.over, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&l.failed) > 0)
        fail_msg("%d of %d calls failed: %s", l.failed, l.calls, l.detail);
    ew_client_close(l.client);
}

/* ---- a worker ---- */

static atomic_int ticks, decided;

static void on_decided(void *arg, ew_status status, int64_t revision) {
    (void)arg, (void)revision;
    assert_true(status == EW_OK);
    atomic_fetch_add(&decided, 1);
}

static int tick(void *self, ew_tick *t) {
    (void)self;
    char value[16];
    snprintf(value, sizeof value, "%d", atomic_fetch_add(&ticks, 1));
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/worker/ticks"), ew_str(value));
    ew_group_on_done(g, on_decided, NULL);
    return EW_OK;
}

static void await_more(int more) {
    int seen = atomic_load(&decided);
    for (int64_t end_ms = etcd_now_ms() + WAIT_MS; atomic_load(&decided) < seen + more;) {
        assert_true(etcd_now_ms() < end_ms);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* The worker of a client that reloads goes on, with its session, also after the server's restart. */
static void test_a_worker_goes_on(void **state) {
    (void)state;
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    ew_worker *w;
    ew_client *c = open_client();
    ew_options *o = options();
    must(ew_options_set(o, "prefix", "/worker", &err));
    must(ew_options_set_int(o, "tick_interval_ms", 10, &err));
    must(ew_worker_open(&w, o, &reactor, NULL, &err));
    must(ew_worker_set_client(w, c));
    must(ew_worker_start(w, &err));
    await_more(5);
    use_server(&new_server);
    use_client(new, &new_client);
    must(ew_client_reload(c, &err));
    await_more(20);
    take_new_only();
    await_more(20);
    ew_worker_stop(w);
    assert_int_equal(ew_worker_join(w, &err), EW_ERR_CANCELLED);
    ew_worker_close(w);
    ew_options_free(o);
    ew_client_close(c);
}

/* ---- the daemon ---- */

static const char *flag_of(const char *flag, const char *value, char *out, size_t size) {
    snprintf(out, size, "--%s=%s", flag, value);
    return out;
}

static void test_sighup(void **state) {
    (void)state;
    char endpoints[200], ca[256], cert[256], key[256], url[128], answer[4096];
    flag_of("endpoints", server->endpoint, endpoints, sizeof endpoints);
    flag_of("ca-file", used_ca, ca, sizeof ca);
    flag_of("cert-file", used_client.cert, cert, sizeof cert);
    flag_of("key-file", used_client.key, key, sizeof key);
    daemon_process d = daemon_start(
        (char *[]){endpoints, ca, cert, key, "--prefix=/daemon", "--http-listen=127.0.0.1:0", "--elect=/leader", NULL});
    daemon_await_field(&d, "url", url, sizeof url);
    int port = atoi(strrchr(url, ':') + 1);
    daemon_await(&d, "msg=started");
    copy(new_client.key, used_client.key);
    daemon_signal(&d, SIGHUP);
    daemon_await(&d, "not the key of cert_file");
    use_server(&new_server);
    use_client(new, &new_client);
    daemon_signal(&d, SIGHUP);
    daemon_await(&d, "reloaded\"");
    take_new_only();
    answer[0] = '\0';
    for (int64_t end_ms = etcd_now_ms() + WAIT_MS; !strstr(answer, " 200 ");) {
        assert_true(etcd_now_ms() < end_ms);
        daemon_http(port, "/readyz", answer, sizeof answer);
    }
    daemon_signal(&d, SIGTERM);
    assert_int_equal(daemon_wait(&d), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_a_client_uses_new_certificates),
        TEST(test_invalid_files),
        TEST(test_under_load),
        TEST(test_a_worker_goes_on),
        TEST(test_sighup),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
