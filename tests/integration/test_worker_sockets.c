/* The sockets of a worker for other programs: each allowed transport, the refused ones, and what comes over them that
 * is too large or malformed (docs/architecture.md, Who may reach a socket). */
#include "actors/mailbox_listening.h"
#include "lib/certs.h"
#include "lib/requester.h"

#include <etcdworker/actor.h>
#include <etcdworker/log.h>

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/supplemental/util/platform.h>

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT = 4096 }; /* of a submit, in tests of that limit */

/* ---- requests ---- */

static nng_socket open_req(void) {
    nng_socket req;
    assert_int_equal(nng_req0_open(&req), 0);
    assert_int_equal(nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, ENV_WAIT_MS), 0);
    assert_int_equal(nng_socket_set_ms(req, NNG_OPT_SENDTIMEO, ENV_WAIT_MS), 0);
    return req;
}

/* The listener may be replaced during the handshake, if another program has connected and closed at once. */
static nng_socket dial(const char *url) {
    nng_socket req = open_req();
    const int64_t until_ms = env_now_ms() + ENV_WAIT_MS;
    int rv;
    while ((rv = nng_dial(req, url, NULL, 0)) != 0 && env_now_ms() < until_ms)
        nng_msleep(10);
    if (rv != 0)
        fail_msg("%s: %s", url, nng_strerror(rv));
    return req;
}

/* The worker is in this process, and in nng 1.5 closing a socket can block for ever (actors/mailbox_close.c). */
static void hang_up(nng_socket s) {
    mailbox_close_socket(s, NULL);
}

static void send_put(nng_socket req, const char *key, ew_slice value) {
    ew_submit *s = ew_submit_new();
    ew_submit_put(s, ew_str(key), value);
    send_submit(req, s);
}

static void assert_put(const char *key, const char *value, const ew_submit_reply *r) {
    if (r->status != EW_OK)
        fail_msg("%s: %s", ew_errname(r->status), r->detail);
    assert_int_equal(client_get(key).mod_revision, r->revision);
    assert_string_equal(client_get(key).value, value);
}

static void expect_put(nng_socket req, const char *key, const char *value) {
    send_put(req, key, ew_str(value));
    const ew_submit_reply r = receive(req);
    assert_put(key, value, &r);
}

/* A replaced listener closes its connections. If that happens while nng 1.5 connects again, it never tries again
 * (<etcdworker/nng.h>): without a reply this opens another socket. */
static void put_at(worker_fixture *f, const char *value) {
    enum { TRIES = 6 };
    ew_submit_reply r;
    bool came = false;
    for (int i = 0; i < TRIES && !came; i++) {
        nng_socket req = dial(ew_worker_submit_url(f->worker));
        nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, ENV_WAIT_MS / TRIES);
        send_put(req, "/sockets/a", ew_str(value));
        came = try_receive(req, &r);
        hang_up(req);
    }
    assert_true(came);
    assert_put("/sockets/a", value, &r);
}

static void expect_tick(worker_fixture *f) {
    nng_socket sub;
    nng_msg *m;
    ew_tick_note note = {.size = sizeof note};
    assert_int_equal(nng_sub0_open(&sub), 0);
    assert_int_equal(nng_socket_set(sub, NNG_OPT_SUB_SUBSCRIBE, "", 0), 0);
    assert_int_equal(nng_socket_set_ms(sub, NNG_OPT_RECVTIMEO, ENV_WAIT_MS), 0);
    assert_int_equal(nng_dial(sub, ew_worker_ticks_url(f->worker), NULL, 0), 0);
    assert_int_equal(nng_recvmsg(sub, &m, 0), 0);
    assert_int_equal(ew_tick_note_unpack(nng_msg_body(m), nng_msg_len(m), &note), EW_OK);
    assert_true(note.number > 0);
    nng_msg_free(m);
    hang_up(sub);
}

/* ---- worker fixtures ---- */

static void open_at(worker_fixture *f, const char *submit_url, const char *ticks_url) {
    worker_fixture_open(f, "/sockets");
    worker_fixture_set(f, "submit", "on");
    worker_fixture_set(f, "submit_url", submit_url);
    if (!ticks_url)
        return;
    worker_fixture_set(f, "publish_ticks", "on");
    worker_fixture_set(f, "ticks_url", ticks_url);
}

static void end_fixture(worker_fixture *f) {
    assert_int_equal(worker_fixture_close(f), EW_ERR_CANCELLED);
    client_delete_prefix("/sockets/");
}

static int nothing(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_OK;
}

/* Expects that a worker with these options cannot be created, and that the text names `reason`. */
static void refused(const ew_options *o, const char *reason) {
    static const ew_reactor reactor = EW_REACTOR(.tick = nothing);
    ew_worker *w;
    ew_error err = {0};
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_ERR_INVALID);
    if (!strstr(err.detail, reason))
        fail_msg("\"%s\" does not contain \"%s\"", err.detail, reason);
}

static void set(ew_options *o, const char *name, const char *value) {
    assert_int_equal(ew_options_set(o, name, value, NULL), EW_OK);
}

static void refused_url(const char *url, const char *reason) {
    ew_options *o = env_options("/sockets");
    set(o, "submit", "on");
    set(o, "submit_url", url);
    refused(o, reason);
    ew_options_free(o);
}

/* ---- ipc ---- */

typedef struct folder {
    char path[64], url[96], file[96], ticks_url[96];
} folder;

static void folder_make(folder *d) {
    snprintf(d->path, sizeof d->path, "/tmp/etcdworker-sockets-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    snprintf(d->file, sizeof d->file, "%s/submit", d->path);
    snprintf(d->url, sizeof d->url, "ipc://%s", d->file);
    snprintf(d->ticks_url, sizeof d->ticks_url, "ipc://%s/ticks", d->path);
}

static void folder_remove(folder *d) {
    unlink(d->file);
    assert_int_equal(rmdir(d->path), 0); /* it has left nothing else */
}

static void expect_socket_file(const char *path) {
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISSOCK(info.st_mode));
    assert_int_equal(info.st_mode & 07777, 0660);
}

/* nng creates the file first, and sets its mode after that. */
static bool has_socket_file(void *arg) {
    struct stat info;
    return lstat(arg, &info) == 0 && S_ISSOCK(info.st_mode) && (info.st_mode & 07777) == 0660;
}

static void test_ipc(void **state) {
    (void)state;
    worker_fixture f;
    folder d;
    folder_make(&d);
    mode_t before = umask(0);
    open_at(&f, d.url, d.ticks_url);
    worker_fixture_start_ready(&f);
    umask(before);
    assert_string_equal(ew_worker_submit_url(f.worker), d.url);
    expect_socket_file(d.file);
    put_at(&f, "over ipc");
    expect_tick(&f);
    end_fixture(&f);
    assert_int_equal(access(d.file, F_OK), -1);
    before = umask(0777); /* the mode does not depend on it */
    open_at(&f, d.url, NULL);
    worker_fixture_start_ready(&f);
    umask(before);
    expect_socket_file(d.file);
    end_fixture(&f);
    folder_remove(&d);
}

/* Leaves a socket file as a killed process does. */
static void leave_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_ipc_files_that_are_there(void **state) {
    (void)state;
    static const ew_reactor reactor = EW_REACTOR(.tick = nothing);
    worker_fixture f;
    folder d;
    ew_worker *second;
    ew_error err = {0};
    folder_make(&d);
    leave_socket(d.file);
    open_at(&f, d.url, NULL);
    worker_fixture_start_ready(&f);
    put_at(&f, "in place of a stale one");
    ew_options *o = env_options("/sockets");
    set(o, "submit", "on");
    set(o, "submit_url", d.url);
    assert_int_equal(ew_worker_open(&second, o, &reactor, NULL, &err), EW_OK);
    assert_int_equal(ew_worker_start(second, &err), EW_ERR_SYSTEM); /* the first worker listens there */
    assert_non_null(strstr(err.detail, d.url));
    assert_non_null(strstr(err.detail, "another socket listens there"));
    ew_worker_close(second);
    put_at(&f, "the first one goes on");
    end_fixture(&f);
    fclose(fopen(d.file, "w"));
    refused(o, "is not a socket");
    assert_int_equal(access(d.file, F_OK), 0);
    ew_options_free(o);
    folder_remove(&d);
}

static void leave_at_once(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(fd, (struct sockaddr *)&address, sizeof address); /* a busy or replaced listener may refuse */
    close(fd);
}

/* Programs that connect and close at once can stop nng 1.5's listener: the worker replaces it. */
static void test_clients_that_close_at_once(void **state) {
    (void)state;
    worker_fixture f;
    folder d;
    folder_make(&d);
    open_at(&f, d.url, d.ticks_url);
    worker_fixture_start_ready(&f);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++) {
            leave_at_once(d.file);
            leave_at_once(d.ticks_url + strlen("ipc://"));
        }
        put_at(&f, "after them");
        expect_tick(&f);
        expect_socket_file(d.file);
    }
    end_fixture(&f);
    folder_remove(&d);
}

/* A user who can write a directory above can rename the socket's own directory. */
static void test_ipc_directories_above(void **state) {
    (void)state;
    folder d;
    char below[96], link[96], url[128];
    folder_make(&d);
    snprintf(below, sizeof below, "%s/below", d.path);
    snprintf(link, sizeof link, "%s-link", d.path);
    assert_int_equal(mkdir(below, 0700), 0);
    assert_int_equal(symlink(below, link), 0);
    assert_int_equal(chmod(d.path, 0777), 0);
    snprintf(url, sizeof url, "ipc://%s/submit", below);
    refused_url(url, "every user can write the directory");
    snprintf(url, sizeof url, "ipc://%s/submit", link);
    refused_url(url, d.path);
    unlink(link);
    rmdir(below);
    folder_remove(&d);
}

static void test_a_socket_file_that_is_removed(void **state) {
    (void)state;
    worker_fixture f;
    folder d;
    folder_make(&d);
    open_at(&f, d.url, d.ticks_url);
    worker_fixture_start_ready(&f);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(unlink(d.file), 0);
        assert_int_equal(unlink(d.ticks_url + strlen("ipc://")), 0);
        assert_true(env_until(has_socket_file, d.file));
        assert_true(env_until(has_socket_file, d.ticks_url + strlen("ipc://")));
        put_at(&f, "after its file was removed");
        expect_tick(&f);
    }
    end_fixture(&f);
    folder_remove(&d);
}

static void test_ipc_directories(void **state) {
    (void)state;
    worker_fixture f;
    folder d;
    folder_make(&d);
    assert_int_equal(chmod(d.path, 0777), 0);
    refused_url(d.url, "every user can write");
    assert_int_equal(chmod(d.path, 01777), 0);
    open_at(&f, d.url, NULL);
    worker_fixture_start_ready(&f);
    put_at(&f, "in a sticky directory");
    end_fixture(&f);
    if (geteuid() == 0) {
        assert_int_equal(chmod(d.path, 0755), 0);
        assert_int_equal(chown(d.path, 65534, 65534), 0);
        refused_url(d.url, "must belong to this process's user or to root");
    }
    folder_remove(&d);
    refused_url(d.url, "No such file or directory");
    refused_url("ipc:///etc/passwd/submit", "ot a directory");
}

/* ---- tcp, ws ---- */

static void check_loopback(const char *submit_url, const char *ticks_url) {
    worker_fixture f;
    open_at(&f, submit_url, ticks_url);
    worker_fixture_start_ready(&f);
    const char *url = ew_worker_submit_url(f.worker);
    assert_null(strstr(url, ":0")); /* the real port */
    put_at(&f, url);
    expect_tick(&f);
    ew_worker_stats stats = worker_fixture_stats(&f);
    assert_int_equal(stats.submits, 1);
    assert_int_equal(stats.submits_refused + stats.submits_malformed + stats.submits_too_large, 0);
    end_fixture(&f);
}

static void test_tcp_and_ws_on_loopback(void **state) {
    (void)state;
    check_loopback("tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
    check_loopback("ws://127.0.0.1:0/submit", "ws://127.0.0.1:0/ticks");
    check_loopback("inproc://sockets-test/submit", "tcp://127.0.0.1:0");
}

static void test_refused_urls(void **state) {
    (void)state;
    refused_url("tcp://0.0.0.0:0", "use tls+tcp://");
    refused_url("tcp://localhost:0", "not a name");
    refused_url("ws://192.0.2.1:80/x", "loopback");
    refused_url("abstract://sockets", "no file mode");
    refused_url("tls+tcp://127.0.0.1:0", "listen_cert_file, listen_key_file and listen_ca_file");
    refused_url("nonsense", "an nng URL is needed");
    ew_options *o = env_options("/sockets");
    static const char *const prefixes[] = {"ipc:///tmp/x", "tcp://127.0.0.1:1", "ws://127.0.0.1:1", "abstract://x",
                                           "tls+tcp://127.0.0.1:1"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        set(o, "url_prefix", prefixes[i]);
        refused(o, "url_prefix = ");
    }
    set(o, "url_prefix", "inproc://etcdworker");
    set(o, "submit_url", "inproc://x");
    refused(o, "submit is off");
    set(o, "submit_url", "");
    set(o, "ticks_url", "inproc://x");
    refused(o, "publish_ticks is off");
    set(o, "publish_ticks", "on");
    set(o, "submit", "on");
    set(o, "submit_url", "inproc://x");
    refused(o, "the same");
    set(o, "submit_url", "");
    set(o, "listen_cert_file", "/nowhere");
    refused(o, "need a submit_url or ticks_url");
    ew_options_free(o);
}

static bool has_refused(void *arg) {
    return worker_fixture_stats(arg).connections_refused > 0;
}

/* A web page may open a WebSocket to the loopback address; the browser adds Origin. */
static void test_a_web_page_is_refused(void **state) {
    (void)state;
    static const char request[] = "GET /submit HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Origin: http://page.example\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Protocol: rep.sp.nanomsg.org\r\n\r\n";
    worker_fixture f;
    open_at(&f, "ws://127.0.0.1:0/submit", NULL);
    worker_fixture_start_ready(&f);
    int port = atoi(strrchr(ew_worker_submit_url(f.worker), ':') + 1);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, request, sizeof request - 1), (ssize_t)sizeof request - 1);
    assert_true(env_until(has_refused, &f));
    close(fd);
    assert_int_equal(worker_fixture_stats(&f).connections, 0);
    put_at(&f, "who is no page");
    end_fixture(&f);
}

/* ---- TLS ---- */

typedef struct tls_world {
    certs *ours, *theirs;
    cert_paths server, client, stranger;
} tls_world;

static void make_certs(tls_world *w) {
    w->ours = certs_new();
    w->theirs = certs_new();
    w->server = certs_make(w->ours, "server", "IP:127.0.0.1,DNS:localhost", -1, 5);
    w->client = certs_make(w->ours, "client", NULL, -1, 5);
    w->stranger = certs_make(w->theirs, "stranger", NULL, -1, 5);
}

static char *read_text(const char *path) {
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 65536);
    assert_non_null(f);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    return text;
}

/* Dials with this certificate (NULL: none). Returns 0 or nng's error. */
static int dial_tls(nng_socket *req, const char *url, const tls_world *w, const cert_paths *own) {
    nng_tls_config *tls;
    nng_dialer d;
    *req = open_req();
    assert_int_equal(nng_tls_config_alloc(&tls, NNG_TLS_MODE_CLIENT), 0);
    char *ca = read_text(certs_authority(w->ours));
    assert_int_equal(nng_tls_config_ca_chain(tls, ca, NULL), 0);
    assert_int_equal(nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED), 0);
    assert_int_equal(nng_tls_config_server_name(tls, "localhost"), 0);
    free(ca);
    if (own) {
        char *cert = read_text(own->cert), *key = read_text(own->key);
        assert_int_equal(nng_tls_config_own_cert(tls, cert, key, NULL), 0);
        free(cert);
        free(key);
    }
    assert_int_equal(nng_dialer_create(&d, *req, url), 0);
    assert_int_equal(nng_dialer_set_ptr(d, NNG_OPT_TLS_CONFIG, tls), 0);
    nng_tls_config_free(tls);
    return nng_dialer_start(d, 0);
}

static void expect_tls_refusal(worker_fixture *f, const tls_world *w, const cert_paths *own) {
    nng_socket req;
    uint64_t before = worker_fixture_stats(f).connections, refused_before = worker_fixture_stats(f).connections_refused;
    int rv = dial_tls(&req, ew_worker_submit_url(f->worker), w, own);
    print_message("dialing: %s\n", nng_strerror(rv));
    assert_int_not_equal(rv, 0);
    for (int64_t deadline_ms = env_now_ms() + ENV_WAIT_MS;
         worker_fixture_stats(f).connections_refused == refused_before;) {
        assert_true(env_now_ms() < deadline_ms);
        nng_msleep(1);
    }
    assert_int_equal(worker_fixture_stats(f).connections, before);
    hang_up(req);
}

static void set_files(ew_options *o, const char *cert, const char *key, const char *ca) {
    set(o, "listen_cert_file", cert);
    set(o, "listen_key_file", key);
    set(o, "listen_ca_file", ca);
}

static void test_tls(void **state) {
    (void)state;
    worker_fixture f;
    tls_world w;
    nng_socket req;
    make_certs(&w);
    open_at(&f, "tls+tcp://127.0.0.1:0", NULL);
    set_files(f.options, w.server.cert, w.server.key, certs_authority(w.ours));
    worker_fixture_start_ready(&f);
    const char *url = ew_worker_submit_url(f.worker);
    assert_null(strstr(url, ":0"));
    assert_int_equal(dial_tls(&req, url, &w, &w.client), 0);
    expect_put(req, "/sockets/a", "with a certificate");
    hang_up(req);
    expect_tls_refusal(&f, &w, NULL);
    expect_tls_refusal(&f, &w, &w.stranger);
    assert_int_equal(dial_tls(&req, url, &w, &w.client), 0);
    expect_put(req, "/sockets/a", "again");
    hang_up(req);
    end_fixture(&f);
    certs_free(w.ours);
    certs_free(w.theirs);
}

static void test_tls_files(void **state) {
    (void)state;
    tls_world w;
    make_certs(&w);
    ew_options *o = env_options("/sockets");
    set(o, "submit", "on");
    set(o, "submit_url", "tls+tcp://127.0.0.1:0");
    char ca[192];
    snprintf(ca, sizeof ca, "%s", certs_authority(w.ours));
    set_files(o, w.server.cert, w.server.key, "");
    refused(o, "tls+tcp:// needs");
    set_files(o, w.server.cert, ca, ca);
    refused(o, "listen_key_file");
    set_files(o, w.server.cert, w.client.key, ca);
    refused(o, "not the key of listen_cert_file");
    set_files(o, w.server.cert, w.server.key, w.server.key);
    refused(o, "listen_ca_file");
    certs_free(w.ours);
    ew_worker *none;
    static const ew_reactor reactor = EW_REACTOR(.tick = nothing);
    ew_error err = {0};
    set_files(o, w.server.cert, w.server.key, ca);
    assert_int_equal(ew_worker_open(&none, o, &reactor, NULL, &err), EW_ERR_SYSTEM);
    assert_non_null(strstr(err.detail, "listen_cert_file"));
    ew_options_free(o);
    certs_free(w.theirs);
}

/* ---- what is too large, what is malformed ---- */

static bool has_silent(void *arg) {
    return worker_fixture_stats(arg).connections_silent > 0;
}

static void expect_too_large(nng_socket req, size_t bytes) {
    char *value = calloc(1, bytes), number[32];
    send_put(req, "/sockets/large", (ew_slice){value, bytes});
    free(value);
    ew_submit_reply r = receive(req);
    assert_int_equal(r.status, EW_ERR_TOO_LARGE);
    snprintf(number, sizeof number, "%d", LIMIT);
    assert_non_null(strstr(r.detail, number));
    assert_non_null(strstr(r.detail, "max_submit_bytes"));
}

static void check_too_large(const char *url) {
    static char value[64 * LIMIT];
    worker_fixture f;
    open_at(&f, url, NULL);
    worker_fixture_set(&f, "max_submit_bytes", "4096");
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    expect_too_large(req, LIMIT);
    expect_too_large(req, 3 * LIMIT);
    memset(value, 'x', sizeof value);
    value[LIMIT - 100] = '\0';
    expect_put(req, "/sockets/a", "small");
    send_put(req, "/sockets/largest", (ew_slice){value, LIMIT - 100});
    assert_int_equal(receive(req).status, EW_OK);
    hang_up(req);
    req = dial(ew_worker_submit_url(f.worker));
    if (strncmp(url, "inproc", 6) == 0) {
        expect_too_large(req, sizeof value);
    } else {
        send_put(req, "/sockets/huge", (ew_slice){value, sizeof value});
        assert_true(env_until(has_silent, &f));
    }
    hang_up(req);
    put_at(&f, "it goes on");
    ew_worker_stats stats = worker_fixture_stats(&f);
    assert_int_equal(stats.submits_too_large, strncmp(url, "inproc", 6) == 0 ? 3 : 2);
    assert_int_equal(client_count("/sockets/l"), 1);
    assert_int_equal(client_count("/sockets/h"), 0);
    end_fixture(&f);
}

static void test_too_large(void **state) {
    (void)state;
    folder d;
    folder_make(&d);
    check_too_large("inproc://sockets-test/large");
    check_too_large("tcp://127.0.0.1:0");
    check_too_large("ws://127.0.0.1:0/submit");
    check_too_large(d.url);
    folder_remove(&d);
}

static atomic_uint lines;

static void count_lines(void *arg, const ew_log_record *record) {
    (void)arg;
    if (strcmp(record->area, "sockets") == 0)
        atomic_fetch_add(&lines, 1);
}

static void test_a_thousand_malformed_requests(void **state) {
    (void)state;
    enum { REQUESTS = 1000, MOST_LINES = 9 };
    worker_fixture f;
    ew_log_set(count_lines, NULL, EW_LOG_DEBUG);
    open_at(&f, "tcp://127.0.0.1:0", NULL);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(nng_send(req, "\x12\xff", 2, 0), 0);
        assert_int_equal(receive(req).status, EW_ERR_BAD_MESSAGE);
    }
    hang_up(req);
    put_at(&f, "it goes on");
    assert_int_equal(worker_fixture_stats(&f).submits, 1);
    assert_int_equal(worker_fixture_stats(&f).submits_malformed, REQUESTS);
    end_fixture(&f);
    ew_log_set(NULL, NULL, EW_LOG_ERROR);
    print_message("%u lines\n", atomic_load(&lines));
    assert_in_range(atomic_load(&lines), 1, MOST_LINES); /* three in each half minute */
}

/* ---- single actors ---- */

static void refused_actor(const char *mailbox_url, const char *peer_url, const char *named) {
    ew_actor *a;
    ew_error err = {0};
    ew_options *o = env_options("/sockets");
    assert_int_equal(ew_watcher_open(&a, client_handle(), o, mailbox_url, peer_url, &err), EW_ERR_INVALID);
    assert_null(a);
    assert_memory_equal(err.detail, named, strlen(named));
    err = (ew_error){0};
    assert_int_equal(ew_committer_open(&a, client_handle(), o, mailbox_url, peer_url, &err), EW_ERR_INVALID);
    assert_null(a);
    assert_memory_equal(err.detail, named, strlen(named));
    ew_options_free(o);
}

static void test_mailboxes_of_single_actors(void **state) {
    (void)state;
    folder d;
    ew_actor *a;
    refused_actor("tcp://127.0.0.1:0", "inproc://sockets-test/peer", "mailbox_url");
    refused_actor("ws://127.0.0.1:0", "inproc://sockets-test/peer", "mailbox_url");
    refused_actor("abstract://sockets", "inproc://sockets-test/peer", "mailbox_url");
    refused_actor("inproc://sockets-test/actor", "tcp://127.0.0.1:1", "peer_url");
    folder_make(&d);
    ew_options *o = env_options("/sockets");
    assert_int_equal(ew_committer_open(&a, client_handle(), o, d.url, "inproc://sockets-test/peer", NULL), EW_OK);
    expect_socket_file(d.file);
    assert_int_equal(ew_actor_close(a, NULL), EW_OK);
    assert_int_equal(chmod(d.path, 0777), 0);
    refused_actor(d.url, "inproc://sockets-test/peer", "mailbox_url");
    ew_options_free(o);
    folder_remove(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_ipc),
        env_test(test_ipc_files_that_are_there),
        env_test(test_clients_that_close_at_once),
        env_test(test_a_socket_file_that_is_removed),
        env_test(test_ipc_directories),
        env_test(test_ipc_directories_above),
        env_test(test_tcp_and_ws_on_loopback),
        env_test(test_refused_urls),
        env_test(test_a_web_page_is_refused),
        env_test(test_tls),
        env_test(test_tls_files),
        env_test(test_too_large),
        env_test(test_a_thousand_malformed_requests),
        env_test(test_mailboxes_of_single_actors),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
