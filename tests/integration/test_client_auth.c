/* Users, tokens and permissions against a real etcd (ETCD P10). */
#include "etcd/etcd.h"
#include "lib/certs.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"

#include <etcdworker/log.h>
#include <etcdworker/session.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static etcd_server *server;
static certs *files; /* only for its directory */

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    files = certs_new();
    etcd_server_add_users(server, (const char *const[]){"/app/", NULL});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    certs_free(files);
    return 0;
}

static ew_client *open_client(const etcd_server *s, const char *user, const char *password) {
    ew_options *o = etcd_server_options(s);
    ew_client *c;
    if (user) {
        must(ew_options_set(o, "user", user, &err));
        must(ew_options_set(o, "password_file", certs_write(files, "password", password), &err));
    }
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    return c;
}

static int put(ew_client *c, const char *key) {
    err.detail[0] = '\0';
    return ew_client_put(c, ew_str(key), EW_STR("x"), NULL, NULL, &err);
}

static int get(ew_client *c, const char *key) {
    ew_result *r;
    int status = ew_client_get(c, ew_keys_prefix(ew_str(key)), NULL, &r, &err);
    ew_result_free(r);
    return status;
}

static void test_permissions(void **state) {
    (void)state;
    ew_client *c = open_client(server, "app", "secret\n");
    ew_watch *w;
    ew_session *s;
    must(put(c, "/app/a"));
    must(get(c, "/app/"));
    assert_int_equal(put(c, "/other"), EW_ERR_DENIED);
    assert_non_null(strstr(err.detail, "permission denied: put \"/other\""));
    assert_int_equal(get(c, "/"), EW_ERR_DENIED);
    assert_non_null(strstr(err.detail, "permission denied: get \"/\" to \"0\""));
    assert_int_equal(ew_client_delete(c, ew_keys_from(EW_STR("/x\n")), NULL, NULL, &err), EW_ERR_DENIED);
    assert_non_null(strstr(err.detail, "permission denied: delete \"/x\\x0a\" to the last key"));
    ew_txn *t = ew_txn_new();
    ew_txn_put(t, EW_THEN, EW_STR("/app/b"), EW_STR("x"), NULL);
    ew_txn_put(t, EW_THEN, EW_STR("/other"), EW_STR("x"), NULL);
    assert_int_equal(ew_client_txn(c, t, NULL, &err), EW_ERR_DENIED);
    assert_non_null(strstr(err.detail, "permission denied: put \"/app/b\", put \"/other\""));
    for (int i = 0; i < 20; i++) {
        char key[32];
        snprintf(key, sizeof key, "/app/one of many keys/%d", i);
        ew_txn_put(t, EW_THEN, ew_str(key), EW_STR("x"), NULL);
    }
    assert_int_equal(ew_client_txn(c, t, NULL, &err), EW_ERR_DENIED);
    assert_non_null(strstr(err.detail, " more")); /* the text has no space for all keys */
    ew_txn_free(t);
    /* P10: a denied watch is created and canceled in one message, without a status. */
    assert_int_equal(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/other")), NULL, &err), EW_ERR_DENIED);
    assert_non_null(strstr(err.detail, "permission denied: watch \"/other\" to \"/othes\""));
    must(ew_session_open(&s, c, 5, &err));
    ew_session_close(s, EW_SESSION_REVOKE);
    ew_client_close(c);
}

static void test_users_and_passwords(void **state) {
    (void)state;
    ew_watch *w;
    ew_client *c = open_client(server, "app", "wrong");
    assert_int_equal(put(c, "/app/a"), EW_ERR_UNAUTHENTICATED);
    assert_non_null(strstr(err.detail, "authentication failed"));
    assert_int_equal(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/app/")), NULL, &err), EW_ERR_UNAUTHENTICATED);
    ew_client_close(c);
    c = open_client(server, "nobody", "secret");
    assert_int_equal(get(c, "/app/"), EW_ERR_UNAUTHENTICATED);
    ew_client_close(c);
    c = open_client(server, NULL, NULL);
    assert_int_equal(put(c, "/app/a"), EW_ERR_UNAUTHENTICATED);
    assert_non_null(strstr(err.detail, "user name is empty"));
    ew_client_close(c);
}

static void expect_next(ew_watch *w, const char *key) {
    ew_watch_batch b;
    must(ew_watch_next(w, 30000, &b, &err));
    assert_int_equal(b.count, 1);
    assert_true(ew_slice_equal(b.events[0].kv.key, ew_str(key)));
}

/* A token that etcd has lost in a restart, or that is older than the last change of a role: calls and streams get a new
 * token without an error. */
static void test_tokens_are_renewed(void **state) {
    (void)state;
    ew_client *c = open_client(server, "app", "secret");
    ew_watch *w;
    must(put(c, "/app/a"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/app/")), NULL, &err));
    for (int i = 0; i < 3; i++) {
        char role[32];
        snprintf(role, sizeof role, "role%d", i);
        assert_int_equal(etcdctl(server, NULL, 0, "--user=root:rootpw", "role", "add", role, NULL), 0);
        must(put(c, "/app/b"));
        expect_next(w, "/app/b");
    }
    etcd_server_kill(server);
    etcd_server_restart(server);
    must(put(c, "/app/c"));
    expect_next(w, "/app/c");
    ew_watch_close(w);

    /* The same when only a new watch finds out: the members of a cluster do not learn of it at the same time. */
    etcd_server_kill(server);
    etcd_server_restart(server);
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/app/")), NULL, &err));
    must(put(c, "/app/d"));
    expect_next(w, "/app/d");
    ew_watch_close(w);
    ew_client_close(c);
}

typedef struct writer {
    pthread_t thread;
    ew_client *client;
    int status;
} writer;

static void *write_some(void *arg) {
    writer *me = arg;
    for (int i = 0; i < 50 && me->status == EW_OK; i++)
        me->status = ew_client_put(me->client, EW_STR("/app/many"), EW_STR("x"), NULL, NULL, NULL);
    return NULL;
}

/* Many threads whose token is refused at once: one thread gets a new one, and all go on. */
static void test_many_threads_renew_once(void **state) {
    (void)state;
    enum { COUNT = 8 };
    ew_client *c = open_client(server, "app", "secret");
    writer list[COUNT];
    for (int i = 0; i < COUNT; i++) {
        list[i] = (writer){.client = c};
        assert_int_equal(pthread_create(&list[i].thread, NULL, write_some, &list[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        etcdctl(server, NULL, 0, "--user=root:rootpw", "role", i % 2 ? "delete" : "add", "changing", NULL);
    for (int i = 0; i < COUNT; i++) {
        pthread_join(list[i].thread, NULL);
        must(list[i].status);
    }
    ew_client_close(c);
}

static int64_t calls_of(const char *method, const char *code) {
    char name[160];
    snprintf(name, sizeof name,
             "grpc_server_handled_total{grpc_code=\"%s\",grpc_method=\"%s\",grpc_service=\"etcdserverpb.%s\","
             "grpc_type=\"unary\"}",
             code, method, strcmp(method, "Put") == 0 ? "KV" : "Auth");
    int64_t count = etcd_server_metric(server, name);
    return count < 0 ? 0 : count;
}

/* A token is replaced before etcd expires it, so no call is refused for its age. (A member that is behind may not know
 * a new token yet. That costs another token at once, and does not count here.) */
static void test_tokens_are_renewed_before_their_end(void **state) {
    (void)state;
    ew_options *o = etcd_server_options(server);
    ew_client *c;
    must(ew_options_set(o, "user", "app", &err));
    must(ew_options_set(o, "password_file", certs_write(files, "password", "secret"), &err));
    must(ew_options_set_int(o, "auth_token_ttl_s", 3, &err));
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    must(put(c, "/app/a"));
    int64_t tokens = calls_of("Authenticate", "OK"), refused = calls_of("Put", "Unauthenticated");
    int64_t start_ms = etcd_now_ms(), again = 0;
    while (calls_of("Authenticate", "OK") < tokens + again + 2) {
        must(put(c, "/app/a"));
        assert_true(etcd_now_ms() < start_ms + 30000);
        again = calls_of("Put", "Unauthenticated") - refused;
    }
    assert_in_range(etcd_now_ms() - start_ms, 3000, 30000); /* and not one for each call */
    assert_true(etcd_server_nodes() > 1 ? again <= 3 : again == 0);
    ew_client_close(c);
}

/* A user name for an etcd without authentication: logged once, and calls are sent without a token. */
static void test_authentication_switched_off(void **state) {
    (void)state;
    etcd_server *open = etcd_server_start(NULL);
    ew_client *c = open_client(open, "app", "secret");
    ew_watch *w;
    must(put(c, "/anything"));
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/")), NULL, &err));
    ew_watch_close(w);
    ew_client_close(c);
    etcd_server_free(open);
}

static void test_a_password_without_a_file(void **state) {
    (void)state;
    static const struct {
        const char *password;
        int status;
    } tries[] = {{"secret", EW_OK}, {"secrets", EW_ERR_UNAUTHENTICATED}};
    for (size_t i = 0; i < 2; i++) {
        ew_options *o = etcd_server_options(server);
        ew_client *c;
        must(ew_options_set(o, "user", "app", &err));
        must(ew_options_set(o, "password", tries[i].password, &err));
        must(ew_client_open(&c, o, &err));
        ew_options_free(o);
        assert_int_equal(put(c, "/app/key"), tries[i].status);
        assert_null(strstr(err.detail, tries[i].password));
        ew_client_close(c);
    }
}

/* ---- a password that changes ---- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t logged = PTHREAD_COND_INITIALIZER;
static int waits; /* number of waits for a file that were logged */

static void on_log(void *arg, const ew_log_record *r) {
    (void)arg;
    pthread_mutex_lock(&log_lock);
    waits += strstr(r->message, "waiting for a new password in password_file") != NULL;
    pthread_cond_broadcast(&logged);
    pthread_mutex_unlock(&log_lock);
}

static void await_wait(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    pthread_mutex_lock(&log_lock);
    while (waits == 0) {
        if (pthread_cond_timedwait(&logged, &log_lock, &until) != 0)
            fail_msg("no log record within 30 s");
    }
    pthread_mutex_unlock(&log_lock);
}

/* Does what "etcdctl user passwd" does, which needs a terminal. */
static void set_password(const char *password) {
    char user[64];
    snprintf(user, sizeof user, "rotated:%s", password);
    etcdctl(server, NULL, 0, "--user=root:rootpw", "user", "delete", "rotated", NULL);
    assert_int_equal(etcdctl(server, NULL, 0, "--user=root:rootpw", "user", "add", user, NULL), 0);
    assert_int_equal(etcdctl(server, NULL, 0, "--user=root:rootpw", "user", "grant-role", "rotated", "apps", NULL), 0);
}

/* First the password file changes, then etcd: calls, a watch and a session go on without a reload. */
static void test_a_renewed_password(void **state) {
    (void)state;
    ew_watch *w;
    ew_session *s;
    set_password("first");
    ew_client *c = open_client(server, "rotated", "first\n");
    must(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/app/")), NULL, &err));
    must(ew_session_open(&s, c, 60, &err));
    must(put(c, "/app/a"));
    expect_next(w, "/app/a");
    certs_write(files, "password", "second\n");
    must(put(c, "/app/b"));
    set_password("second");
    must(put(c, "/app/c"));
    expect_next(w, "/app/b");
    expect_next(w, "/app/c");
    assert_false(ew_session_is_done(s));
    ew_session_close(s, EW_SESSION_KEEP_LEASE);
    ew_watch_close(w);
    ew_client_close(c);
}

/* First etcd's password changes, then the file: a client that was authenticated before waits for the file and logs that
 * once. */
static void test_a_password_that_is_renewed_late(void **state) {
    (void)state;
    writer me = {0};
    set_password("first");
    me.client = open_client(server, "rotated", "first\n");
    must(put(me.client, "/app/a"));
    waits = 0;
    ew_log_set(on_log, NULL, EW_LOG_WARN);
    set_password("second");
    assert_int_equal(pthread_create(&me.thread, NULL, write_some, &me), 0);
    await_wait();
    certs_write(files, "password", "second\n");
    pthread_join(me.thread, NULL);
    must(me.status);
    ew_log_set(NULL, NULL, EW_LOG_WARN);
    assert_int_equal(waits, 1);
    ew_client_close(me.client);
}

static void test_bad_options(void **state) {
    (void)state;
    ew_client *c;
    ew_options *o = ew_options_new();
    must(ew_options_set(o, "user", "app", &err));
    assert_int_equal(ew_client_open(&c, o, &err), EW_ERR_INVALID);
    must(ew_options_set(o, "password_file", "/no/such/file", &err));
    assert_int_equal(ew_client_open(&c, o, &err), EW_ERR_SYSTEM);
    assert_non_null(strstr(err.detail, "password_file /no/such/file"));
    must(ew_options_set(o, "password_file", certs_write(files, "password", "hush\nhush\n"), &err));
    assert_int_equal(ew_client_open(&c, o, &err), EW_ERR_INVALID);
    assert_null(strstr(err.detail, "hush")); /* no secret in an error */
    must(ew_options_set(o, "password", "hush", &err));
    assert_int_equal(ew_client_open(&c, o, &err), EW_ERR_INVALID); /* ambiguous: two sources */
    assert_null(strstr(err.detail, "hush"));
    must(ew_options_set(o, "password_file", "", &err));
    must(ew_options_set(o, "user", "", &err));
    assert_int_equal(ew_client_open(&c, o, &err), EW_ERR_INVALID); /* no user for it */
    assert_null(c);
    ew_options_free(o);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, nothing_is_left)
    const struct CMUnitTest tests[] = {
        TEST(test_permissions),
        TEST(test_users_and_passwords),
        TEST(test_tokens_are_renewed),
        TEST(test_tokens_are_renewed_before_their_end),
        TEST(test_many_threads_renew_once),
        TEST(test_a_password_without_a_file),
        TEST(test_a_renewed_password),
        TEST(test_a_password_that_is_renewed_late),
        TEST(test_bad_options),
        TEST(test_authentication_switched_off),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
