/* Users, tokens and refusals, against a server that refuses when the test orders it: how often a client requests a
 * token, which token it uses, and that none of its secrets appears in an error or in a log. */
#include "etcd/blocking.h"
#include "lib/fake_server.h"

#include <etcdworker/log.h>

#include <grpc/grpc.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PASSWORD "hush-and-hush"

static fake_server *server;
static ew_client *client;
static ew_error err;

/* ---- all texts for people are checked ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the next two */
static int reported;                                     /* texts */
static bool secret_is_out;                               /* a text contained a secret */

static void tell(const char *text) {
    pthread_mutex_lock(&lock);
    reported++;
    secret_is_out |= strstr(text, PASSWORD) || strstr(text, "token-");
    pthread_mutex_unlock(&lock);
}

static void on_log(void *arg, const ew_log_record *r) {
    (void)arg;
    tell(r->message);
    for (size_t i = 0; i < r->field_count; i++)
        if (r->fields[i].text)
            tell(r->fields[i].text);
}

/* Checks that there was a text, in a log or as an error, and that no text contained a secret. */
static void expect_no_secret(bool logged) {
    assert_true(!logged || reported > 0);
    tell(err.detail);
    assert_false(secret_is_out);
}

static int begin(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_log_set(on_log, NULL, EW_LOG_DEBUG);
    server = fake_server_start();
    fake_server_give_tokens(server);
    assert_int_equal(ew_options_set(o, "endpoints", fake_server_endpoint(server), &err), EW_OK);
    assert_int_equal(ew_options_set(o, "user", "app", &err), EW_OK);
    assert_int_equal(ew_options_set(o, "password", PASSWORD, &err), EW_OK);
    assert_int_equal(ew_options_set_int(o, "call_timeout_ms", 5000, &err), EW_OK);
    assert_int_equal(ew_client_open(&client, o, &err), EW_OK);
    ew_options_free(o);
    err.detail[0] = '\0';
    reported = 0;
    secret_is_out = false;
    return 0;
}

static int end(void **state) {
    (void)state;
    ew_client_close(client);
    fake_server_stop(server);
    ew_log_set(NULL, NULL, EW_LOG_WARN);
    return etcd_all_released(5000) ? 0 : -1;
}

/* ---- three kinds: a call, a stream with a wait, a stream that stays open ---- */

static Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
static Pb__PutResponse put_answer = PB__PUT_RESPONSE__INIT;
static Pb__LeaseKeepAliveResponse keepalive_answer = PB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
static Pb__WatchResponse watch_answer = PB__WATCH_RESPONSE__INIT;

static int put(void) {
    return ew_client_put(client, EW_STR("/a"), EW_STR("x"), NULL, NULL, &err);
}

static int keepalive(void) {
    return ew_client_lease_keepalive(client, 7, NULL, &err);
}

static int watch(void) {
    ew_watch *w;
    int status = ew_watch_open(&w, client, ew_keys_one(EW_STR("/a")), NULL, &err);
    ew_watch_close(w);
    return status;
}

static const struct action {
    const char *name;
    int (*call)(void);
    void *answer;
} actions[] = {{"put", put, &put_answer}, {"keepalive", keepalive, &keepalive_answer}, {"watch", watch, &watch_answer}};
#define ACTIONS (sizeof actions / sizeof actions[0])

static void answer_well(const struct action *a) {
    header.cluster_id = 1;
    header.revision = 10;
    put_answer.header = keepalive_answer.header = watch_answer.header = &header;
    keepalive_answer.id = 7;
    keepalive_answer.ttl = 10;
    watch_answer.created = true;
    ew_slice bytes = blocking_pack(a->answer);
    fake_server_answer(server, bytes, GRPC_STATUS_OK, "");
    free((void *)(uintptr_t)bytes.data);
}

/* How etcd closes a call, by code and text, when it refuses the token. */
static const struct refusal {
    int code; /* GRPC_STATUS_OK: not a call but a watch that is created and canceled (ETCD P10) */
    const char *text;
} refusals[] = {
    {GRPC_STATUS_UNAUTHENTICATED, "etcdserver: invalid auth token"},
    {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: revision of auth store is old"},
    {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: user name is empty"},
    {GRPC_STATUS_OK, "etcdserver: invalid auth token"},
    {GRPC_STATUS_OK, "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"},
};
#define REFUSALS (sizeof refusals / sizeof refusals[0])

/* One refusal costs one more token, and the call goes on with it. */
static void test_a_refused_token_is_replaced(void **state) {
    (void)state;
    for (size_t i = 0; i < ACTIONS * REFUSALS; i++) {
        const struct action *a = &actions[i / REFUSALS];
        const struct refusal *r = &refusals[i % REFUSALS];
        char before[32];
        if (r->code == GRPC_STATUS_OK && a->call != watch)
            continue;
        answer_well(a);
        assert_int_equal(a->call(), EW_OK);
        snprintf(before, sizeof before, "%s", fake_server_take_calls(server).token);
        assert_string_not_equal(before, "");
        fake_server_refuse(server, 1, r->code, r->text);
        int status = a->call();
        if (status != EW_OK)
            fail_msg("%s, %s: %s, %s", a->name, r->text, ew_errname(status), err.detail);
        fake_server_calls calls = fake_server_take_calls(server);
        assert_int_equal(calls.count, 2);
        assert_int_equal(calls.tokens, 1);
        assert_string_not_equal(calls.token, before);
    }
    expect_no_secret(true);
}

/* A server that refuses every token is not asked for ever. */
static void test_every_token_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ACTIONS; i++) {
        answer_well(&actions[i]);
        assert_int_equal(actions[i].call(), EW_OK);
        fake_server_take_calls(server);
        fake_server_refuse(server, 1000, refusals[1].code, refusals[1].text);
        assert_int_equal(actions[i].call(), EW_ERR_UNAUTHENTICATED);
        assert_int_equal(fake_server_take_calls(server).count, AUTH_REFUSALS_MAX + 1);
        fake_server_refuse(server, 0, 0, "");
    }
    expect_no_secret(true);
}

/* Permission denied is a final answer: another attempt would not change it. */
static void test_denied_is_not_tried_again(void **state) {
    (void)state;
    for (size_t i = 0; i < ACTIONS; i++) {
        fake_server_refuse(server, 1000, GRPC_STATUS_PERMISSION_DENIED, "etcdserver: permission denied");
        assert_int_equal(actions[i].call(), EW_ERR_DENIED);
        assert_int_equal(fake_server_take_calls(server).count, 1);
        assert_non_null(strstr(err.detail, actions[i].call == keepalive ? "keepalive of lease 7" : "\"/a\""));
        fake_server_refuse(server, 0, 0, "");
    }
    fake_server_refuse(server, 1000, GRPC_STATUS_OK,
                       "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    assert_int_equal(watch(), EW_ERR_DENIED);
    assert_int_equal(fake_server_take_calls(server).count, 1);
    assert_non_null(strstr(err.detail, "watch \"/a\""));
    expect_no_secret(true);
}

/* A method without keys is named itself. */
static void test_denied_names_the_method(void **state) {
    (void)state;
    fake_server_refuse(server, 1000, GRPC_STATUS_PERMISSION_DENIED, "etcdserver: permission denied");
    assert_int_equal(ew_client_compact(client, 1, NULL, &err), EW_ERR_DENIED);
    assert_string_equal(err.detail, "etcdserver: permission denied: Compact");
    assert_int_equal(ew_client_lease_revoke(client, 7, &err), EW_ERR_DENIED);
    assert_string_equal(err.detail, "etcdserver: permission denied: LeaseRevoke");
    expect_no_secret(false);
}

/* ---- what a token is needed for, beside others ---- */

/* A pulled watch makes progress only while its user waits for it. A watch that is left in the middle of fetching a
 * token must not block others. */
static void test_a_watch_is_left_while_it_fetches_a_token(void **state) {
    (void)state;
    ew_watch *w;
    ew_watch_batch b;
    answer_well(&actions[2]);
    assert_int_equal(ew_watch_open(&w, client, ew_keys_one(EW_STR("/a")), NULL, &err), EW_OK);
    fake_server_take_calls(server);
    fake_server_refuse(server, 1, refusals[0].code, refusals[0].text);
    int tokens = 0;
    for (int i = 0; tokens == 0 && i < 2000; i++) {
        ew_watch_next(w, 0, &b, &err);
        nanosleep(&(struct timespec){0, 2000000}, NULL);
        tokens = fake_server_take_calls(server).tokens;
    }
    assert_int_equal(tokens, 1); /* the watch has not seen it */
    answer_well(&actions[0]);
    int status = put();
    if (status != EW_OK)
        fail_msg("%s: %s", ew_errname(status), err.detail);
    ew_watch_close(w);
}

/* New connections that do not work replace nothing. */
static void test_a_reload_that_fails(void **state) {
    (void)state;
    char before[32];
    answer_well(&actions[0]);
    assert_int_equal(put(), EW_OK);
    snprintf(before, sizeof before, "%s", fake_server_take_calls(server).token);
    fake_server_script_members(server, true);
    fake_server_answer(server, ew_str("\x0a\xff"), GRPC_STATUS_OK, "");
    assert_int_equal(ew_client_reload(client, &err), EW_ERR_BAD_ANSWER);
    fake_server_script_members(server, false);
    assert_non_null(strstr(err.detail, "keeping the old connections"));
    fake_server_take_calls(server);
    answer_well(&actions[0]);
    assert_int_equal(put(), EW_OK);
    fake_server_calls calls = fake_server_take_calls(server);
    assert_int_equal(calls.tokens, 0);
    assert_string_equal(calls.token, before);
}

static void *reload(void *arg) {
    *(int *)arg = ew_client_reload(client, &err);
    return NULL;
}

static void test_a_reload_can_be_cancelled(void **state) {
    (void)state;
    pthread_t thread;
    int status = EW_OK;
    answer_well(&actions[0]);
    assert_int_equal(put(), EW_OK);
    fake_server_take_calls(server);
    fake_server_script_members(server, true);
    fake_server_be_silent(server);
    int64_t start_ms = etcd_now_ms();
    assert_int_equal(pthread_create(&thread, NULL, reload, &status), 0);
    fake_server_await_call(server);
    ew_client_cancel(client);
    pthread_join(thread, NULL);
    assert_int_equal(status, EW_ERR_CANCELLED);
    assert_true(etcd_now_ms() - start_ms < 4000); /* of the 5 s that it would have waited */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_a_refused_token_is_replaced),
        TEST(test_every_token_is_refused),
        TEST(test_denied_is_not_tried_again),
        TEST(test_denied_names_the_method),
        TEST(test_a_watch_is_left_while_it_fetches_a_token),
        TEST(test_a_reload_that_fails),
        TEST(test_a_reload_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
