/* Endpoints: IPv4, IPv6, names and sockets in one list, the death of one of them, and names whose addresses change.
 * Names below .test are resolved by this program's getaddrinfo, which replaces the C library's. */
#include "etcd/etcd.h"
#include "etcd/targets.h"
#include "lib/certs_fixture.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"

#include <etcdworker/session.h>

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- names ---- */

/* The name "etcd.test" with up to two addresses; without any, it does not exist. */
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t looked_up = PTHREAD_COND_INITIALIZER;
static const char *addresses[2];
static int lookups; /* completed */

static void set_name_addresses(const char *first, const char *second) {
    pthread_mutex_lock(&names_lock);
    addresses[0] = first;
    addresses[1] = second;
    pthread_mutex_unlock(&names_lock);
}

typedef int (*lookup_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup_fn real;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof real);
    if (!name || strcmp(name, "etcd.test") != 0)
        return real(name, service, hints, found);
    int problem = EAI_AGAIN;
    pthread_mutex_lock(&names_lock);
    for (int i = 1; i >= 0; i--) { /* the second is the list's tail */
        struct addrinfo *behind = problem == 0 ? *found : NULL, *last;
        if (!addresses[i])
            continue;
        problem = real(addresses[i], service, hints, found);
        for (last = *found; last->ai_next; last = last->ai_next)
            ;
        last->ai_next = behind;
    }
    lookups++;
    pthread_cond_broadcast(&looked_up);
    pthread_mutex_unlock(&names_lock);
    return problem;
}

static int lookups_so_far(void) {
    pthread_mutex_lock(&names_lock);
    int count = lookups;
    pthread_mutex_unlock(&names_lock);
    return count;
}

/* The caller holds the lock. */
static void await_lookup_after(int before) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    while (lookups == before) {
        if (pthread_cond_timedwait(&looked_up, &names_lock, &until) != 0)
            fail_msg("no lookup within 30 s");
    }
}

/* ---- clients ---- */

static int put(ew_client *c, const char *key) {
    return ew_client_put(c, ew_str(key), EW_STR("x"), NULL, NULL, &err);
}

static void expect_put(const char *where) {
    ew_client *c = open_client_at(where, "", 10000);
    must(put(c, "/a"));
    ew_client_close(c);
}

static bool has_ipv6(void) {
    return access("/proc/net/if_inet6", R_OK) == 0;
}

/* ---- syntax ---- */

static void test_endpoint_syntax(void **state) {
    (void)state;
    static const char *const bad[][2] = {{"", "endpoints: empty"},
                                         {",", "entry 1 is empty"},
                                         {"127.0.0.1:1,,", "entry 2 is empty"},
                                         {"127.0.0.1:1, ,127.0.0.1:2", "entry 2 is empty"},
                                         {"127.0.0.1:1 127.0.0.1:2", "separate endpoints by commas"},
                                         {"localhost", "no port"},
                                         {"127.0.0.1", "no port"},
                                         {"127.0.0.1:0", "port 0"},
                                         {"a:b", "the port is not a number"},
                                         {"127.0.0.1:12x", "the port is not a number"},
                                         {"127.0.0.1:-1", "the port is not a number"},
                                         {"127.0.0.1:99999", "port above 65535"},
                                         {"127.0.0.1:65536", "port above 65535"},
                                         {"127.0.0.1:18446744073709551617", "port above 65535"},
                                         {":2379", "no host"},
                                         {"::1:2379", "IPv6 addresses are written"},
                                         {"[::1:2379", "IPv6 addresses are written"},
                                         {"[::1]", "no port"},
                                         {"127.0.0.1:1,[::1]", "no port"},
                                         {"[x]:1", "not an IPv6 address"},
                                         {"unix:rel", "unix:/absolute/path"},
                                         {"unix:/a,b:x", "the port is not a number"},
                                         {"a b:1", "separate endpoints by commas"},
                                         {"http://", "no port"},
                                         {"http://:1", "no host"},
                                         {"http://h:1/v3", "a path is not allowed"},
                                         {"http://h:1//", "a path is not allowed"},
                                         {"127.0.0.1:2379/", "the port is not a number"},
                                         {"ftp://h", "unknown scheme"},
                                         {"ftp://h:1", "unknown scheme"},
                                         {"httpss://h:1", "unknown scheme"},
                                         {"user@host:1", "credentials belong in user and password"},
                                         {"https://user:hush@host:1", "credentials belong in user and password"},
                                         {"a\nb:1", "not a host name"},
                                         {"http://[::1]:1,https://127.0.0.1:1", "cannot be mixed"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ew_options *o = ew_options_new();
        ew_client *c = (ew_client *)&state;
        must(ew_options_set(o, "endpoints", bad[i][0], &err));
        err.detail[0] = '\0';
        if (ew_client_open(&c, o, &err) != EW_ERR_INVALID)
            fail_msg("\"%s\" was accepted", bad[i][0]);
        assert_null(c);
        if (!strstr(err.detail, bad[i][1]) || strstr(err.detail, "hush"))
            fail_msg("\"%s\": \"%s\", expected \"%s\"", bad[i][0], err.detail, bad[i][1]);
        ew_options_free(o);
    }
    static const char *const good[] = {
        "127.0.0.1:2379",          " 127.0.0.1:1 , 127.0.0.1:2,", "http://localhost:2379/",
        "localhost:1,127.0.0.1:2", "[::1]:2379,[fe80::1]:2379",   "unix:/run/etcd.sock",
        "unix:///run/etcd.sock",   "unix:/a,unix:/b,127.0.0.1:1", "127.0.0.1:1,[::1]:1,etcd.test:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ew_client_close(open_client_at(good[i], "", 1000));
    ew_client *c;
    assert_int_equal(ew_client_open(&c, NULL, &err), EW_ERR_INVALID);
    ew_client_close(NULL);
}

/* `expected`: for each endpoint its target URI and the name that its certificate must have; ended by NULL. */
static void expect_targets(const char *text, const char *const *expected) {
    endpoints e;
    targets t;
    size_t i = 0;
    must(endpoints_init(&e, text, &err));
    endpoints_look_up(&e);
    assert_true(targets_init(&t, &e));
    for (; expected[2 * i]; i++) {
        assert_true(i < t.count);
        assert_string_equal(t.list[i].uri, expected[2 * i]);
        assert_string_equal(t.list[i].authority, expected[2 * i + 1]);
    }
    assert_int_equal(t.count, i);
    targets_fini(&t);
    endpoints_fini(&e);
}
#define expect_targets(text, ...) expect_targets(text, (const char *const[]){__VA_ARGS__, NULL, NULL})

static void test_channel_targets(void **state) {
    (void)state;
    expect_targets("127.0.0.1:1,127.0.0.2:2", "ipv4:///127.0.0.1:1", "127.0.0.1:1", "ipv4:///127.0.0.2:2",
                   "127.0.0.2:2");
    expect_targets("127.0.0.1:1,[::1]:2", "ipv4:///127.0.0.1:1", "127.0.0.1:1", "ipv6:///%5B::1%5D:2", "[::1]:2");
    expect_targets("unix:/a%b,127.0.0.1:1", "unix:///a%25b", "localhost", "ipv4:///127.0.0.1:1", "127.0.0.1:1");
    expect_targets("127.0.0.1:1,127.0.0.1:1", "ipv4:///127.0.0.1:1", "127.0.0.1:1");
    expect_targets("http://127.0.0.1:1/", "ipv4:///127.0.0.1:1", "127.0.0.1:1");
    set_name_addresses("127.0.0.9", "127.0.0.3"); /* in this order, whatever the name server returns */
    expect_targets("etcd.test:1,127.0.0.3:1", "ipv4:///127.0.0.3:1", "etcd.test:1", "ipv4:///127.0.0.9:1",
                   "etcd.test:1", "ipv4:///127.0.0.3:1", "127.0.0.3:1");
    set_name_addresses("::1", "127.0.0.3");
    expect_targets("etcd.test:1", "ipv4:///127.0.0.3:1", "etcd.test:1", "ipv6:///%5B::1%5D:1", "etcd.test:1");
    set_name_addresses(NULL, NULL);
    expect_targets("etcd.test:1,127.0.0.1:2", "ipv4:///127.0.0.1:2", "127.0.0.1:2");
    expect_targets("etcd.test:1", NULL);
}

/* ---- endpoints of one kind ---- */

/* etcd creates its socket in its working directory, under a name that must look like host:port. */
static const char *socket_endpoint(void) {
    static char where[200];
    snprintf(where, sizeof where, "unix:%s", certs_authority(files));
    *strrchr(where, '/') = '\0';
    assert_int_equal(chdir(where + strlen("unix:")), 0);
    unlink("socket:1");
    strcat(where, "/socket:1");
    return where;
}

static void test_unix_socket(void **state) {
    (void)state;
    const char *where = socket_endpoint();
    etcd_server *s = etcd_server_start((const char *const[]){ETCD_ALSO_AT "unix://socket:1", NULL});
    expect_put(where);
    etcd_server_free(s);
    assert_int_equal(chdir("/"), 0);
}

static void test_ipv6(void **state) {
    (void)state;
    char flag[64];
    int port = etcd_free_port();
    if (!has_ipv6())
        skip();
    snprintf(flag, sizeof flag, ETCD_ALSO_AT "http://[::1]:%d", port);
    etcd_server *s = etcd_server_start((const char *const[]){flag, NULL});
    expect_put(strchr(flag, '['));
    snprintf(flag, sizeof flag, "[::1]:%d,[::1]:%d", etcd_free_port(), port); /* the first is dead */
    expect_put(flag);
    etcd_server_free(s);
}

/* ---- endpoints of all kinds in one list ---- */

/* Kills each node in turn, and the first one again: calls and a watch go on, and the client returns to each node. etcd
 * needs some seconds whenever the leader dies. */
static void each_member_may_die(etcd_cluster *cluster, ew_client *c, int nodes) {
    int written = 0, seen = 0;
    ew_watch *w;
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/m/")), NULL, &err));
    for (int round = 0; round < nodes + 1; round++) {
        etcd_server *victim = cluster->nodes[round % nodes];
        etcd_server_kill(victim);
        if (victim == cluster->nodes[0])
            unlink("socket:1"); /* a killed server leaves it, and a new one does not take it over */
        for (int i = 0; i < 10; i++) {
            char key[32];
            snprintf(key, sizeof key, "/m/%d", written);
            int status = put(c, key); /* may have been in flight to the member that died */
            if (status != EW_OK && status != EW_ERR_UNKNOWN_OUTCOME)
                fail_msg("%s: %s", ew_errname(status), err.detail);
            written += status == EW_OK;
        }
        while (seen < written) {
            ew_watch_batch b;
            must(ew_watch_next(w, 30000, &b, &err));
            for (size_t i = 0; i < b.count; i++)
                seen += b.events[i].kv.version == 1; /* a put with an unknown outcome is repeated */
        }
        assert_int_equal(seen, written);
        etcd_server_restart(victim);
    }
    ew_watch_close(w);
}

/* Only the first two nodes are in the list, so each must replace the other. */
static void two_of_three(const char *also, const char *first, const cert_paths *p, const char *ca_file) {
    char where[256], cert[256], key[256];
    const char *flags[4] = {also};
    snprintf(cert, sizeof cert, "--cert-file=%s", p ? p->cert : "");
    snprintf(key, sizeof key, "--key-file=%s", p ? p->key : "");
    if (p)
        flags[1] = cert, flags[2] = key;
    etcd_cluster *cluster = etcd_cluster_start(flags);
    snprintf(where, sizeof where, "%s,%s", first, cluster->nodes[1]->address);
    ew_client *c = open_client_at(where, ca_file, 20000);
    each_member_may_die(cluster, c, 2);
    ew_client_close(c);
    etcd_cluster_free(cluster);
}

static void test_ipv6_and_ipv4(void **state) {
    (void)state;
    char also[64];
    if (!has_ipv6())
        skip();
    snprintf(also, sizeof also, ETCD_ALSO_AT "http://[::1]:%d", etcd_free_port());
    two_of_three(also, strchr(also, '['), NULL, "");
}

static void test_ipv6_and_ipv4_with_tls(void **state) {
    (void)state;
    char also[64];
    if (!has_ipv6())
        skip();
    cert_paths p = certs_make(files, "both", "IP:127.0.0.1,IP:::1", -1, 1);
    snprintf(also, sizeof also, ETCD_ALSO_AT "https://[::1]:%d", etcd_free_port());
    two_of_three(also, strchr(also, '['), &p, certs_authority(files));
}

static void test_a_socket_and_ipv4(void **state) {
    (void)state;
    two_of_three(ETCD_ALSO_AT "unix://socket:1", socket_endpoint(), NULL, "");
    assert_int_equal(chdir("/"), 0);
}

static void test_a_name_and_all_others(void **state) {
    (void)state;
    char also[96], where[300];
    const char *unix_socket = socket_endpoint();
    bool ipv6 = has_ipv6();
    int port = etcd_free_port();
    if (ipv6)
        snprintf(also, sizeof also, ETCD_ALSO_AT "unix://socket:1,http://[::1]:%d", port);
    else
        snprintf(also, sizeof also, ETCD_ALSO_AT "unix://socket:1");
    set_name_addresses("127.0.0.1", NULL);
    etcd_cluster *cluster = etcd_cluster_start((const char *const[]){also, NULL});
    snprintf(where, sizeof where, "%s,%s,etcd.test:%d,[::1]:%d", unix_socket, cluster->nodes[1]->address,
             cluster->nodes[2]->client_port, port);
    ew_client *c = open_client_at(where, "", 20000);
    each_member_may_die(cluster, c, 3);
    ew_client_close(c);
    etcd_cluster_free(cluster);
    assert_int_equal(chdir("/"), 0);
}

/* ---- names ---- */

static void test_localhost(void **state) {
    (void)state;
    char where[128];
    struct addrinfo *known;
    if (getaddrinfo("localhost", NULL, NULL, &known) != 0) {
        print_message("this machine does not know localhost: it has no /etc/hosts\n");
        skip();
    }
    freeaddrinfo(known);
    etcd_server *s = etcd_server_start(NULL);
    snprintf(where, sizeof where, "localhost:%d", s->client_port);
    expect_put(where);
    snprintf(where, sizeof where, "http://localhost:%d,127.0.0.1:%d", etcd_free_port(), s->client_port);
    expect_put(where);
    etcd_server_free(s);
}

/* The authority is the name as written, not its address: the certificate must have that name. */
static void test_a_name_with_tls(void **state) {
    (void)state;
    char cert[256], key[256], where[64];
    cert_paths p = certs_make(files, "named", "DNS:etcd.test", -1, 1);
    snprintf(cert, sizeof cert, "--cert-file=%s", p.cert);
    snprintf(key, sizeof key, "--key-file=%s", p.key);
    etcd_server *s = etcd_server_start((const char *const[]){cert, key, NULL});
    set_name_addresses("127.0.0.1", NULL);
    snprintf(where, sizeof where, "etcd.test:%d", s->client_port);
    ew_client *c = open_client_at(where, certs_authority(files), 10000);
    must(put(c, "/a"));
    must(ew_client_reload(c, &err));
    must(put(c, "/a"));
    ew_client_close(c);
    etcd_server_free(s);
}

typedef struct caller {
    pthread_t thread;
    ew_client *client;
    int status;
    ew_error err;
} caller;

static void *put_on_a_thread(void *arg) {
    caller *me = arg;
    me->status = ew_client_put(me->client, EW_STR("/a"), EW_STR("x"), NULL, NULL, &me->err);
    return NULL;
}

/* A name that does not exist yet is not an error of ew_client_open: calls wait for it as for a server. */
static void test_a_name_that_comes_later(void **state) {
    (void)state;
    char where[64];
    etcd_server *s = etcd_server_start(NULL);
    set_name_addresses(NULL, NULL);
    snprintf(where, sizeof where, "etcd.test:%d", s->client_port);
    ew_client *c = open_client_at(where, "", 300);
    assert_int_equal(put(c, "/a"), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "etcd.test"));
    assert_non_null(strstr(err.detail, gai_strerror(EAI_AGAIN)));
    ew_client_close(c);

    caller me = {.client = open_client_at(where, "", 30000)};
    int before = lookups_so_far();
    pthread_create(&me.thread, NULL, put_on_a_thread, &me);
    pthread_mutex_lock(&names_lock);
    await_lookup_after(before); /* it waits */
    pthread_mutex_unlock(&names_lock);
    set_name_addresses("127.0.0.1", NULL);
    pthread_join(me.thread, NULL);
    if (me.status != EW_OK)
        fail_msg("%s: %s", ew_errname(me.status), me.err.detail);
    ew_client_close(me.client);
    etcd_server_free(s);
}

/* A name that does not exist does not prevent the use of the others. */
static void test_an_unknown_name_among_others(void **state) {
    (void)state;
    char where[128];
    etcd_server *s = etcd_server_start(NULL);
    snprintf(where, sizeof where, "no.such.host.invalid:2,%s", s->address);
    expect_put(where);
    etcd_server_kill(s);
    ew_client *c = open_client_at(where, "", 300);
    assert_int_equal(put(c, "/a"), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "no.such.host.invalid: "));
    ew_client_close(c);
    etcd_server_free(s);
}

static void move_server(etcd_server *s, const char *from, const char *to) {
    etcd_server_kill(s);
    for (char **a = s->argv; *a; a++) {
        char *at = strstr(*a, from);
        if (at)
            memcpy(at, to, strlen(to));
    }
    etcd_server_restart(s);
}

static void expect_event(ew_watch *w, const char *key) {
    ew_watch_batch b;
    must(ew_watch_next(w, 30000, &b, &err));
    assert_true(ew_slice_equal(b.events[0].kv.key, ew_str(key)));
}

/* The server moves to another address, as in a cluster of containers, and its name with it: calls, a watch and a
 * session follow. While the name server is away, the old address is kept. */
static void test_a_name_moves(void **state) {
    (void)state;
    char also[64], where[64];
    int port = etcd_free_port();
    ew_watch *w;
    ew_session *session;
    snprintf(also, sizeof also, ETCD_ALSO_AT "http://127.0.0.2:%d", port);
    snprintf(where, sizeof where, "etcd.test:%d", port);
    etcd_server *s = etcd_server_start((const char *const[]){also, NULL});
    set_name_addresses("127.0.0.2", NULL);
    ew_client *c = open_client_at(where, "", 30000);
    must(put(c, "/a"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/")), NULL, &err));
    must(ew_session_open(&session, c, 60, &err));
    must(put(c, "/b"));
    expect_event(w, "/b");

    set_name_addresses("127.0.0.3", NULL);
    move_server(s, "127.0.0.2", "127.0.0.3");
    must(put(c, "/c"));
    expect_event(w, "/c");

    set_name_addresses(NULL, NULL); /* not found: the old address is still tried */
    etcd_server_kill(s);
    etcd_server_restart(s);
    must(put(c, "/d"));
    expect_event(w, "/d");

    set_name_addresses("127.0.0.2", "127.0.0.1"); /* a watch alone finds it, too */
    move_server(s, "127.0.0.3", "127.0.0.2");
    ew_client *other = open_client_at(s->address, "", 10000);
    must(put(other, "/e"));
    ew_client_close(other);
    expect_event(w, "/e");
    assert_false(ew_session_is_done(session));
    ew_session_close(session, EW_SESSION_KEEP_LEASE);
    ew_watch_close(w);
    ew_client_close(c);
    etcd_server_free(s);
}

/* Closing does not wait for a lookup in progress. */
static void test_closed_during_a_lookup(void **state) {
    (void)state;
    set_name_addresses(NULL, NULL);
    ew_client *c = open_client_at("etcd.test:1", "", 300);
    pthread_mutex_lock(&names_lock); /* the name server does not answer */
    assert_int_equal(put(c, "/a"), EW_ERR_UNAVAILABLE);
    ew_client_close(c);
    await_lookup_after(lookups); /* otherwise its thread would run into the next test */
    pthread_mutex_unlock(&names_lock);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_endpoint_syntax),
        TEST(test_channel_targets),
        TEST(test_unix_socket),
        TEST(test_ipv6),
        TEST(test_ipv6_and_ipv4),
        TEST(test_ipv6_and_ipv4_with_tls),
        TEST(test_a_socket_and_ipv4),
        TEST(test_a_name_and_all_others),
        TEST(test_localhost),
        TEST(test_a_name_with_tls),
        TEST(test_a_name_that_comes_later),
        TEST(test_an_unknown_name_among_others),
        TEST(test_a_name_moves),
        TEST(test_closed_during_a_lookup),
    };
    return cmocka_run_group_tests(tests, certs_open, certs_close);
}
