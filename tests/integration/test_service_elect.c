/* etcdworkerd --elect: one daemon works, the others are standbys (SEMANTICS 31). */
#include "etcd/etcd.h"
#include "lib/daemon.h"
#include "lib/etcd_server.h"

#include <etcdworker/election.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAME "/elections/service"

enum { TTL_S = 3 };

static etcd_server *server;
static ew_client *client;

static int set_up(void **state) {
    server = etcd_server_start(NULL);
    client = etcd_server_client(server);
    return daemon_open(state);
}

static int tear_down(void **state) {
    ew_client_close(client);
    etcd_server_free(server);
    return daemon_close(state);
}

/* Starts a daemon with this election value, and one more option or NULL. */
static daemon_process start_with(const char *value, char *option) {
    char endpoints[160], elect_value[64], name[64], ttl[64];
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", server->endpoint);
    snprintf(elect_value, sizeof elect_value, "--elect-value=%s", value);
    snprintf(name, sizeof name, "--name=worker-%s", value);
    snprintf(ttl, sizeof ttl, "--session-ttl-s=%d", TTL_S);
    char *arguments[] = {endpoints, name, "--elect=" NAME, elect_value, "--prefix=/app", ttl, option, NULL};
    return daemon_start(arguments);
}

static daemon_process start(const char *value) {
    return start_with(value, NULL);
}

static bool is_leading(void *value) {
    ew_result *r;
    bool leads = ew_election_leader(client, EW_STR(NAME), &r, NULL) == EW_OK &&
                 ew_slice_equal(ew_result_at(r, 0)->value, ew_str(value));
    ew_result_free(r);
    return leads;
}

static bool no_candidate_is_left(void *arg) {
    ew_result *r = NULL;
    (void)arg;
    bool none = ew_client_get(client, ew_keys_prefix(EW_STR(NAME)), NULL, &r, NULL) == EW_OK && ew_result_count(r) == 0;
    ew_result_free(r);
    return none;
}

static void assert_not_working(const daemon_process *d) {
    if (strstr(daemon_log(d), "msg=started"))
        fail_msg("a standby works:\n%s", daemon_log(d));
}

static void end(daemon_process *d) {
    daemon_signal(d, SIGTERM);
    assert_int_equal(daemon_wait(d), 0);
}

static void put(const char *key, const char *value) {
    assert_int_equal(ew_client_put(client, ew_str(key), ew_str(value), NULL, NULL, NULL), EW_OK);
}

static bool is_assigned(void *task) {
    char key[100];
    ew_result *r = NULL;
    snprintf(key, sizeof key, "/app/assignments/%s", (const char *)task);
    bool there = ew_client_get(client, ew_keys_one(ew_str(key)), NULL, &r, NULL) == EW_OK && ew_result_count(r) == 1;
    ew_result_free(r);
    return there;
}

/* The leader is stopped: it resigns, and a standby takes over at once. */
static void test_a_stop_hands_over(void **state) {
    (void)state;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    daemon_process b = start("b");
    daemon_await(&b, "campaigning for leadership");
    assert_true(is_leading("a"));
    put("/app/members/m", "");
    put("/app/tasks/1", "");
    daemon_until(is_assigned, "1", "the leader's work");
    assert_not_working(&b);
    end(&a);
    assert_non_null(strstr(daemon_log(&a), "msg=resigned"));
    daemon_await(&b, "msg=started");
    assert_true(is_leading("b"));
    put("/app/tasks/2", "");
    daemon_until(is_assigned, "2", "the follower's work");
    end(&b);
    assert_true(no_candidate_is_left(NULL));
}

static bool one_of_them_leads(void *arg) {
    (void)arg;
    return is_leading("b") || is_leading("c");
}

/* The leader is killed: a standby takes over within the session's TTL and a second. */
static void test_a_kill_is_taken_over(void **state) {
    (void)state;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    daemon_process b = start("b"), c = start("c");
    daemon_await(&b, "campaigning for leadership");
    daemon_await(&c, "campaigning for leadership");
    daemon_signal(&a, SIGKILL);
    int64_t killed_ms = etcd_now_ms();
    daemon_until(one_of_them_leads, NULL, "a new leader");
    daemon_process *next = is_leading("b") ? &b : &c, *other = next == &b ? &c : &b;
    daemon_await(next, "msg=started");
    int64_t took_ms = etcd_now_ms() - killed_ms;
    print_message("taken over after %d ms\n", (int)took_ms);
    assert_in_range(took_ms, 1, TTL_S * 1000 + 1000);
    assert_not_working(other);
    assert_int_equal(daemon_wait(&a), 128 + SIGKILL);
    end(next);
    daemon_await(other, "msg=started");
    end(other);
}

/* A leader whose key is deleted ends, although it has nothing to write. */
static void test_a_lost_leadership(void **state) {
    (void)state;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    assert_int_equal(ew_client_delete(client, ew_keys_prefix(EW_STR(NAME "/")), NULL, NULL, NULL), EW_OK);
    assert_int_equal(daemon_wait(&a), 75);
    assert_non_null(strstr(daemon_log(&a), "leadership lost"));
}

/* A leader whose session ends. */
static void test_a_lost_session(void **state) {
    (void)state;
    ew_result *r;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    assert_int_equal(ew_election_leader(client, EW_STR(NAME), &r, NULL), EW_OK);
    assert_int_equal(ew_client_lease_revoke(client, ew_result_at(r, 0)->lease, NULL), EW_OK);
    ew_result_free(r);
    assert_int_equal(daemon_wait(&a), 75);
}

/* A standby is stopped: it leaves the queue. */
static void test_a_standby_is_stopped(void **state) {
    (void)state;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    daemon_process b = start("b");
    daemon_await(&b, "campaigning for leadership");
    end(&b);
    assert_not_working(&b);
    assert_true(is_leading("a"));
    end(&a);
    assert_true(no_candidate_is_left(NULL));
}

/* A standby whose session ends, as after a long outage of etcd, becomes a candidate again. */
static void test_a_standbys_session_ends(void **state) {
    (void)state;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    daemon_process b = start("b");
    daemon_await(&b, "campaigning for leadership");
    ew_result *r = NULL;
    int64_t lease = 0;
    while (lease == 0) { /* its key appears after its log line */
        assert_int_equal(ew_client_get(client, ew_keys_prefix(EW_STR(NAME "/")), NULL, &r, NULL), EW_OK);
        for (size_t i = 0; i < ew_result_count(r); i++) {
            if (ew_slice_equal(ew_result_at(r, i)->value, EW_STR("b")))
                lease = ew_result_at(r, i)->lease;
        }
        ew_result_free(r);
    }
    assert_int_equal(ew_client_lease_revoke(client, lease, NULL), EW_OK);
    daemon_await(&b, "session expired during campaign");
    end(&a);
    daemon_await(&b, "msg=started");
    end(&b);
}

static bool is_past(void *ms) {
    return etcd_now_ms() >= *(int64_t *)ms;
}

/* SEMANTICS 14: an outage ends the leader, whose session is lost, and never a standby, however long it lasts. It is
 * logged once. */
static void test_a_standby_outlives_an_outage(void **state) {
    (void)state;
    daemon_process a = start("a");
    daemon_await(&a, "msg=started");
    daemon_process b = start_with("b", "--start-timeout-ms=3000");
    daemon_await(&b, "campaigning for leadership");
    etcd_server_pause(server);
    assert_int_equal(daemon_wait(&a), 75);
    daemon_await(&b, "session expired during campaign");
    daemon_await(&b, "etcd is missing");
    int64_t until_ms = etcd_now_ms() + 7000;
    daemon_until(is_past, &until_ms, "seven seconds");
    assert_null(strstr(strstr(daemon_log(&b), "etcd is missing") + 1, "etcd is missing"));
    etcd_server_resume(server);
    daemon_await(&b, "etcd is back");
    daemon_await(&b, "msg=started");
    end(&b);
    assert_true(no_candidate_is_left(NULL));
}

/* A signal while etcd is away, and the timeout of a start. */
static void test_etcd_is_away(void **state) {
    (void)state;
    etcd_server_kill(server);
    daemon_process a = start("a");
    daemon_await(&a, "etcdworkerd starts");
    int64_t start_ms = etcd_now_ms();
    end(&a);
    assert_in_range(etcd_now_ms() - start_ms, 0, 5000);
    char endpoints[160], out[16384];
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", server->endpoint);
    char *arguments[] = {endpoints, "--elect=" NAME, "--start-timeout-ms=300", "--call-timeout-ms=200", NULL};
    int code = daemon_run(arguments, out, sizeof out);
    if (code != 75)
        fail_msg("%d: %s", code, out);
    etcd_server_restart(server);
}

/* By default the value is the host's name and the process id. */
static bool default_value_leads(void *pid) {
    ew_result *r;
    if (ew_election_leader(client, EW_STR(NAME), &r, NULL) != EW_OK)
        return false;
    ew_slice value = ew_result_at(r, 0)->value;
    char tail[32];
    int len = snprintf(tail, sizeof tail, ":%d", *(pid_t *)pid);
    bool ends = value.len > (size_t)len && memcmp((const char *)value.data + value.len - len, tail, (size_t)len) == 0;
    ew_result_free(r);
    return ends;
}

static void test_the_default_value(void **state) {
    (void)state;
    daemon_process a = start("");
    daemon_until(default_value_leads, &a.pid, "hostname:pid");
    end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stop_hands_over),
        cmocka_unit_test(test_a_kill_is_taken_over),
        cmocka_unit_test(test_a_lost_leadership),
        cmocka_unit_test(test_a_lost_session),
        cmocka_unit_test(test_a_standby_is_stopped),
        cmocka_unit_test(test_a_standbys_session_ends),
        cmocka_unit_test(test_a_standby_outlives_an_outage),
        cmocka_unit_test(test_etcd_is_away),
        cmocka_unit_test(test_the_default_value),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
