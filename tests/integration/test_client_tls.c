/* TLS against a real etcd, with the test's own certificates. */
#include "etcd/etcd.h"
#include "lib/certs.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"

#include <etcdworker/session.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static certs *ours, *untrusted;
static etcd_server *server; /* its certificate is for 127.0.0.1; it requires no client certificate */

static etcd_server *start(const char *const *more, const cert_paths *p) {
    char cert[256], key[256];
    snprintf(cert, sizeof cert, "--cert-file=%s", p->cert);
    snprintf(key, sizeof key, "--key-file=%s", p->key);
    const char *flags[8] = {cert, key};
    for (int i = 0; more && more[i]; i++)
        flags[2 + i] = more[i];
    return etcd_server_start(flags);
}

static int set_up(void **state) {
    (void)state;
    ours = certs_new();
    untrusted = certs_new();
    cert_paths p = certs_make(ours, "server", "IP:127.0.0.1", -1, 1);
    server = start(NULL, &p);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    certs_free(ours);
    certs_free(untrusted);
    return 0;
}

/* Opens a client with the named options, pairs of name and value ended by NULL. */
static int open_client(ew_client **out, const char *endpoints, ...) {
    ew_options *o = ew_options_new();
    const char *name;
    va_list args;
    assert_int_equal(ew_options_set(o, "endpoints", endpoints, &err), EW_OK);
    assert_int_equal(ew_options_set_int(o, "call_timeout_ms", 30000, &err), EW_OK);
    va_start(args, endpoints);
    while ((name = va_arg(args, const char *)))
        assert_int_equal(ew_options_set(o, name, va_arg(args, const char *), &err), EW_OK);
    va_end(args);
    err.detail[0] = '\0';
    int status = ew_client_open(out, o, &err);
    ew_options_free(o);
    return status;
}

static int put(ew_client *c) {
    err.detail[0] = '\0';
    return ew_client_put(c, EW_STR("/tls/a"), EW_STR("x"), NULL, NULL, &err);
}

static void expect_put(ew_client *c, int status, const char *words) {
    int64_t began_ms = etcd_now_ms();
    int got = put(c);
    /* An error that waiting cannot heal is returned early. */
    assert_true(etcd_now_ms() - began_ms < 15000);
    if (got != status || !strstr(err.detail, words))
        fail_msg("%s with \"%s\", expected %s with \"%s\"", ew_errname(got), err.detail, ew_errname(status), words);
    ew_client_close(c);
}

static void test_encrypted(void **state) {
    (void)state;
    ew_client *c;
    ew_watch *w;
    ew_watch_batch b;
    ew_session *s;
    must(open_client(&c, server->endpoint, "ca_file", certs_authority(ours), NULL));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/tls/")), NULL, &err));
    must(put(c));
    must(ew_watch_next(w, 10000, &b, &err));
    assert_int_equal(b.count, 1);
    must(ew_session_open(&s, c, 5, &err));
    ew_session_close(s, EW_SESSION_REVOKE);
    ew_watch_close(w);
    ew_client_close(c);

    char endpoint[160];
    snprintf(endpoint, sizeof endpoint, "https://%s", server->endpoint);
    must(open_client(&c, endpoint, "ca_file", certs_authority(ours), NULL));
    expect_put(c, EW_OK, "");
}

static void test_trusted_authorities(void **state) {
    (void)state;
    ew_client *c;
    char endpoint[160];
    snprintf(endpoint, sizeof endpoint, "https://%s", server->endpoint);
    must(open_client(&c, server->endpoint, "ca_file", certs_authority(untrusted), NULL));
    expect_put(c, EW_ERR_UNAVAILABLE, "certificate verify failed");
    must(open_client(&c, endpoint, NULL)); /* the system's authorities do not include ours */
    expect_put(c, EW_ERR_UNAVAILABLE, "certificate verify failed");
    must(open_client(&c, server->endpoint, NULL)); /* plain text to a server that requires TLS */
    expect_put(c, EW_ERR_UNAVAILABLE, ": TLS: the server requires TLS");

    etcd_server *plain = etcd_server_start(NULL);
    must(open_client(&c, plain->endpoint, "ca_file", certs_authority(ours), NULL));
    expect_put(c, EW_ERR_UNAVAILABLE, ": TLS: the server speaks plain text");
    etcd_server_free(plain);
}

static void test_server_name(void **state) {
    (void)state;
    ew_client *c;
    char both[80];
    cert_paths p = certs_make(ours, "named", "DNS:etcd.example", -1, 1);
    etcd_server *named = start(NULL, &p), *second = start(NULL, &p);
    must(open_client(&c, named->endpoint, "ca_file", certs_authority(ours), NULL));
    expect_put(c, EW_ERR_UNAVAILABLE, ": TLS: its certificate is for etcd.example, not for 127.0.0.1");
    must(open_client(&c, named->endpoint, "ca_file", certs_authority(ours), "server_name", "etcd.example", NULL));
    expect_put(c, EW_OK, "");
    snprintf(both, sizeof both, "%s,127.0.0.1:%d", named->endpoint, etcd_free_port());
    must(open_client(&c, both, "ca_file", certs_authority(ours), "server_name", "etcd.example", NULL));
    expect_put(c, EW_OK, "");
    must(open_client(&c, named->endpoint, "ca_file", certs_authority(ours), "server_name", "other.example", NULL));
    expect_put(c, EW_ERR_UNAVAILABLE, ": TLS: its certificate is for etcd.example, not for other.example");
    etcd_server_free(named);
    etcd_server_free(second);
}

static void test_expired_server(void **state) {
    (void)state;
    ew_client *c;
    cert_paths p = certs_make(ours, "old", "IP:127.0.0.1", -3, -2);
    etcd_server *old = start(NULL, &p);
    must(open_client(&c, old->endpoint, "ca_file", certs_authority(ours), NULL));
    expect_put(c, EW_ERR_UNAVAILABLE, "certificate verify failed");
    etcd_server_free(old);
}

static void test_client_certificate(void **state) {
    (void)state;
    ew_client *c;
    char ca[256];
    const char *ca_file = certs_authority(ours);
    snprintf(ca, sizeof ca, "--trusted-ca-file=%s", ca_file);
    cert_paths p = certs_make(ours, "strict", "IP:127.0.0.1", -1, 1);
    etcd_server *strict = start((const char *const[]){ca, "--client-cert-auth", NULL}, &p);
    cert_paths mine = certs_make(ours, "client", NULL, -1, 1), theirs = certs_make(untrusted, "client", NULL, -1, 1);

    must(open_client(&c, strict->endpoint, "ca_file", ca_file, "cert_file", mine.cert, "key_file", mine.key, NULL));
    expect_put(c, EW_OK, "");
    must(open_client(&c, strict->endpoint, "ca_file", ca_file, NULL));
    ew_watch *w;
    int64_t began_ms = etcd_now_ms();
    assert_int_equal(ew_watch_open(&w, c, ew_keys_one(EW_STR("/a")), NULL, &err), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, ": TLS: the server requires a client certificate"));
    assert_int_equal(ew_client_lease_keepalive(c, 7, NULL, &err), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, ": TLS: the server requires a client certificate"));
    assert_true(etcd_now_ms() - began_ms < 25000);
    expect_put(c, EW_ERR_UNAVAILABLE, ": TLS: the server requires a client certificate");
    must(open_client(&c, strict->endpoint, "ca_file", ca_file, "cert_file", theirs.cert, "key_file", theirs.key, NULL));
    expect_put(c, EW_ERR_UNAVAILABLE, ": TLS: the server refuses cert_file");
    etcd_server_free(strict);
}

static void copy_file(const char *from, const char *to) {
    char text[8192];
    FILE *in = fopen(from, "r");
    assert_non_null(in);
    size_t size = fread(text, 1, sizeof text, in);
    fclose(in);
    FILE *out = fopen(to, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, size, out), size);
    fclose(out);
}

/* A certificate that the server refuses is read again: once its file is renewed, calls and a watch work without a
 * reload. */
static void test_a_renewed_certificate(void **state) {
    (void)state;
    ew_client *c;
    ew_watch *w;
    ew_watch_batch b;
    char ca[256];
    const char *ca_file = certs_authority(ours);
    snprintf(ca, sizeof ca, "--trusted-ca-file=%s", ca_file);
    cert_paths p = certs_make(ours, "strict", "IP:127.0.0.1", -1, 1), good = certs_make(ours, "renewed", NULL, -1, 1);
    cert_paths used = certs_make(untrusted, "used", NULL, -1, 1);
    etcd_server *strict = start((const char *const[]){ca, "--client-cert-auth", NULL}, &p);
    must(open_client(&c, strict->endpoint, "ca_file", ca_file, "cert_file", used.cert, "key_file", used.key, NULL));
    assert_int_equal(put(c), EW_ERR_UNAVAILABLE);
    copy_file(good.cert, used.cert); /* its key is not there yet */
    assert_int_equal(put(c), EW_ERR_UNAVAILABLE);
    copy_file(good.key, used.key);
    must(put(c));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/tls/")), NULL, &err));
    must(put(c));
    must(ew_watch_next(w, 10000, &b, &err));
    ew_watch_close(w);
    ew_client_close(c);
    etcd_server_free(strict);
}

/* `c` receives the client if the open succeeds. */
static void expect_refused(int status, int expected, const char *words, ew_client *const *c) {
    if (status != expected || !strstr(err.detail, words) || *c)
        fail_msg("%s with \"%s\", expected \"%s\"", ew_errname(status), err.detail, words);
}

/* A user over TLS, with tokens on calls and streams. */
static void test_user(void **state) {
    (void)state;
    static char *const setup[][5] = {{"user", "add", "root:r"},
                                     {"user", "grant-role", "root", "root"},
                                     {"role", "add", "all"},
                                     {"role", "grant-permission", "all", "readwrite", "/tls/a"},
                                     {"user", "add", "app:secret"},
                                     {"user", "grant-role", "app", "all"},
                                     {"auth", "enable"}};
    ew_client *c;
    ew_watch *w;
    ew_watch_batch b;
    char ca[256], password[192], out[512];
    cert_paths p = certs_make(ours, "users", "IP:127.0.0.1", -1, 1);
    etcd_server *s = start(NULL, &p);
    snprintf(ca, sizeof ca, "--cacert=%s", certs_authority(ours));
    for (size_t i = 0; i < sizeof setup / sizeof setup[0]; i++) {
        char *const *a = setup[i];
        if (etcdctl(s, out, sizeof out, ca, a[0], a[1], a[2], a[3], a[4], NULL) != 0)
            fail_msg("etcdctl %s %s: %s", a[0], a[1], out);
    }
    snprintf(password, sizeof password, "%s", certs_write(ours, "password", "secret\n"));
    must(
        open_client(&c, s->endpoint, "ca_file", certs_authority(ours), "user", "app", "password_file", password, NULL));
    must(ew_watch_open(&w, c, ew_keys_one(EW_STR("/tls/a")), NULL, &err));
    must(put(c));
    must(ew_watch_next(w, 10000, &b, &err));
    assert_int_equal(b.count, 1);
    ew_watch_close(w);
    assert_int_equal(ew_client_put(c, EW_STR("/tls/b"), EW_STR("x"), NULL, NULL, &err), EW_ERR_DENIED);

    /* A new password is read again too; a wrong one changes nothing. */
    certs_write(ours, "password", "wrong\n");
    assert_int_equal(ew_client_reload(c, &err), EW_ERR_UNAUTHENTICATED);
    must(put(c));
    assert_int_equal(etcdctl(s, out, sizeof out, ca, "--user=root:r", "role", "grant-permission", "all", "readwrite",
                             "/tls/b", NULL),
                     0);
    certs_write(ours, "password", "secret\n");
    must(ew_client_reload(c, &err));
    must(ew_client_put(c, EW_STR("/tls/b"), EW_STR("x"), NULL, NULL, &err));
    ew_client_close(c);
    etcd_server_free(s);
}

/* Errors that need no connection are returned when the client is opened, and name the file. */
static void test_bad_files(void **state) {
    (void)state;
    ew_client *c;
    const char *ca = certs_authority(ours), *at = server->endpoint;
    cert_paths good = certs_make(ours, "good", NULL, -1, 1), other = certs_make(ours, "other", NULL, -1, 1);
    cert_paths old = certs_make(ours, "expired", NULL, -3, -2), early = certs_make(ours, "early", NULL, 1, 2);
    char empty[192];
    snprintf(empty, sizeof empty, "%s", certs_write(ours, "empty", "nothing\n"));

    expect_refused(open_client(&c, at, "ca_file", "/no/such/file", NULL), EW_ERR_SYSTEM,
                   "ca_file /no/such/file: No such file", &c);
    expect_refused(open_client(&c, at, "ca_file", "/", NULL), EW_ERR_SYSTEM, "ca_file /: Is a directory", &c);
    expect_refused(open_client(&c, at, "ca_file", empty, NULL), EW_ERR_INVALID, "no certificate in the file", &c);
    expect_refused(open_client(&c, at, "ca_file", old.cert, NULL), EW_ERR_INVALID, "has expired", &c);
    expect_refused(open_client(&c, at, "cert_file", good.cert, NULL), EW_ERR_INVALID, "must be set together", &c);
    expect_refused(open_client(&c, at, "key_file", good.key, NULL), EW_ERR_INVALID, "must be set together", &c);
    expect_refused(open_client(&c, at, "cert_file", good.cert, "key_file", "/no/such/key", NULL), EW_ERR_SYSTEM,
                   "key_file /no/such/key: No such file", &c);
    expect_refused(open_client(&c, at, "cert_file", good.cert, "key_file", other.key, NULL), EW_ERR_INVALID,
                   "not the key of cert_file", &c);
    expect_refused(open_client(&c, at, "cert_file", empty, "key_file", good.key, NULL), EW_ERR_INVALID,
                   "no certificate in the file", &c);
    expect_refused(open_client(&c, at, "cert_file", good.cert, "key_file", empty, NULL), EW_ERR_INVALID,
                   "no key in the file", &c);
    expect_refused(open_client(&c, at, "cert_file", good.cert, "key_file", certs_encrypt(ours, good.key, "hush"), NULL),
                   EW_ERR_INVALID, "no key in the file", &c); /* there is no prompt for a password */
    expect_refused(open_client(&c, at, "cert_file", old.cert, "key_file", old.key, NULL), EW_ERR_INVALID, "has expired",
                   &c);
    expect_refused(open_client(&c, at, "cert_file", early.cert, "key_file", early.key, NULL), EW_ERR_INVALID,
                   "not valid yet", &c);
    expect_refused(open_client(&c, "http://127.0.0.1:1", "ca_file", ca, NULL), EW_ERR_INVALID, "http", &c);
    expect_refused(open_client(&c, "http://127.0.0.1:1,https://127.0.0.1:2", "ca_file", ca, NULL), EW_ERR_INVALID,
                   "cannot be mixed", &c);
    if (geteuid() != 0) { /* root may read every file */
        chmod(good.key, 0);
        expect_refused(open_client(&c, at, "cert_file", good.cert, "key_file", good.key, NULL), EW_ERR_SYSTEM,
                       "Permission denied", &c);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_encrypted),      TEST(test_trusted_authorities), TEST(test_server_name),
        TEST(test_expired_server), TEST(test_client_certificate),  TEST(test_a_renewed_certificate),
        TEST(test_user),           TEST(test_bad_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
