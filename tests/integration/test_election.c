/* Elections against a real etcd (SEMANTICS 31): candidates of this library among each other, and against `etcdctl
 * elect`, which is Go's concurrency.Election. */
#include "etcd/etcd.h"
#include "lib/etcd_server.h"
#include "lib/process.h"

#include <etcdworker/election.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 30000, TTL_S = 2 };

static etcd_server *server;
static ew_client *client;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    client = etcd_server_client(server);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ew_client_close(client);
    etcd_server_free(server);
    return etcd_all_released(5000) ? 0 : -1;
}

/* ---- helpers ---- */

static void must(int status, const ew_error *err) {
    if (status != EW_OK)
        fail_msg("%s: %s", ew_errname(status), err->detail);
}

static bool until(bool (*holds)(void *arg), void *arg) {
    int64_t end_ms = etcd_now_ms() + WAIT_MS;
    bool held;
    while (!(held = holds(arg)) && etcd_now_ms() < end_ms)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return held;
}

/* Whether etcd has this number of watches. */
static bool has_watchers(void *arg) {
    return etcd_server_watches(server) == *(const int *)arg;
}

/* A candidate, and the thread in which it campaigns. */
typedef struct candidate {
    ew_session *session;
    ew_election *election;
    const char *value;
    int64_t timeout_ms;
    pthread_t thread;
    atomic_bool over;
    int status;
    ew_error err;
    int64_t over_ms;
} candidate;

static void candidate_open(candidate *c, const char *name, const char *value, int64_t ttl_s) {
    ew_error err;
    *c = (candidate){.value = value, .timeout_ms = -1};
    must(ew_session_open(&c->session, client, ttl_s, &err), &err);
    must(ew_election_open(&c->election, client, c->session, ew_str(name), &err), &err);
}

static void candidate_close(candidate *c) {
    ew_election_close(c->election);
    ew_session_close(c->session, EW_SESSION_REVOKE);
}

static void *run_campaign(void *arg) {
    candidate *c = arg;
    c->status = ew_election_campaign(c->election, ew_str(c->value), c->timeout_ms, &c->err);
    c->over_ms = etcd_now_ms();
    atomic_store(&c->over, true);
    return NULL;
}

static bool has_key(void *arg) {
    ew_result *r = NULL;
    ew_error err;
    must(ew_client_get(client, ew_keys_one(ew_election_key(((candidate *)arg)->election)), NULL, &r, &err), &err);
    bool there = ew_result_count(r) == 1;
    ew_result_free(r);
    return there;
}

static bool is_over(void *arg) {
    return atomic_load(&((candidate *)arg)->over);
}

static void candidate_start(candidate *c) {
    atomic_store(&c->over, false);
    assert_int_equal(pthread_create(&c->thread, NULL, run_campaign, c), 0);
}

static void candidate_stands(candidate *c) {
    candidate_start(c);
    assert_true(until(has_key, c));
}

static int candidate_join(candidate *c) {
    assert_true(until(is_over, c));
    pthread_join(c->thread, NULL);
    return c->status;
}

static void candidate_leads(candidate *c) {
    int status = ew_election_campaign(c->election, ew_str(c->value), WAIT_MS, &c->err);
    must(status, &c->err);
    assert_true(ew_election_revision(c->election) > 0);
}

static void assert_leader(const char *name, const char *value) {
    ew_result *r;
    ew_error err;
    int status = ew_election_leader(client, ew_str(name), &r, &err);
    if (!value) {
        assert_int_equal(status, EW_ERR_NOT_FOUND);
        assert_null(r);
        return;
    }
    must(status, &err);
    if (!ew_slice_equal(ew_result_at(r, 0)->value, ew_str(value)))
        fail_msg("%.*s leads, not %s", (int)ew_result_at(r, 0)->value.len, (const char *)ew_result_at(r, 0)->value.data,
                 value);
    ew_result_free(r);
}

static void delete_key(candidate *c) {
    ew_error err;
    must(ew_client_delete(client, ew_keys_one(ew_election_key(c->election)), NULL, NULL, &err), &err);
}

/* ---- candidates of this library ---- */

/* The key is the one that Go's library would use. */
static void test_the_key(void **state) {
    (void)state;
    candidate a;
    char wanted[64];
    candidate_open(&a, "/key", "a", 60);
    snprintf(wanted, sizeof wanted, "/key/%llx", (unsigned long long)ew_session_lease(a.session));
    assert_true(ew_slice_equal(ew_election_key(a.election), ew_str(wanted)));
    assert_ptr_equal(ew_election_session(a.election), a.session);
    assert_int_equal(ew_election_revision(a.election), 0);
    assert_leader("/key", NULL);
    candidate_leads(&a);
    ew_result *r;
    ew_error err;
    must(ew_client_get(client, ew_keys_one(ew_str(wanted)), NULL, &r, &err), &err);
    assert_int_equal(ew_result_at(r, 0)->lease, ew_session_lease(a.session));
    assert_int_equal(ew_result_at(r, 0)->create_revision, ew_election_revision(a.election));
    assert_true(ew_slice_equal(ew_result_at(r, 0)->value, EW_STR("a")));
    ew_result_free(r);
    candidate_close(&a);
    assert_leader("/key", NULL);
}

static void test_one_leads_and_the_next_follows(void **state) {
    (void)state;
    candidate a, b, c;
    ew_error err;
    candidate_open(&a, "/follow", "a", 60);
    candidate_open(&b, "/follow", "b", 60);
    candidate_open(&c, "/follow", "c", 60);
    candidate_leads(&a);
    candidate_stands(&b);
    candidate_stands(&c);
    assert_leader("/follow", "a");
    assert_false(is_over(&b));
    must(ew_election_resign(a.election, &err), &err);
    assert_int_equal(ew_election_revision(a.election), 0);
    assert_false(has_key(&a));
    assert_int_equal(candidate_join(&b), EW_OK); /* the one that has waited longest */
    assert_leader("/follow", "b");
    assert_false(is_over(&c));
    must(ew_election_resign(b.election, &err), &err);
    assert_int_equal(candidate_join(&c), EW_OK);
    must(ew_election_resign(a.election, &err), &err); /* nothing to resign */
    assert_leader("/follow", "c");
    candidate_close(&a);
    candidate_close(&b);
    candidate_close(&c);
}

/* A candidate in the middle of the queue leaves: no other candidate becomes leader. */
static void test_a_waiting_candidate_leaves(void **state) {
    (void)state;
    candidate a, b, c;
    ew_error err;
    candidate_open(&a, "/middle", "a", 60);
    candidate_open(&b, "/middle", "b", 60);
    candidate_open(&c, "/middle", "c", 60);
    candidate_leads(&a);
    candidate_stands(&b);
    candidate_stands(&c);
    ew_election_cancel(b.election);
    assert_int_equal(candidate_join(&b), EW_ERR_CANCELLED);
    assert_false(has_key(&b));
    /* the error is returned again */
    assert_int_equal(ew_election_campaign(b.election, EW_STR("b"), 0, &err), EW_ERR_CANCELLED);
    assert_leader("/middle", "a");
    assert_false(is_over(&c));
    must(ew_election_resign(a.election, &err), &err);
    assert_int_equal(candidate_join(&c), EW_OK);
    candidate_close(&a);
    candidate_close(&b);
    candidate_close(&c);
}

static void test_a_campaign_times_out(void **state) {
    (void)state;
    candidate a, b;
    ew_error err;
    candidate_open(&a, "/late", "a", 60);
    candidate_open(&b, "/late", "b", 60);
    candidate_leads(&a);
    int64_t start_ms = etcd_now_ms();
    assert_int_equal(ew_election_campaign(b.election, EW_STR("b"), 300, &err), EW_ERR_TIMEOUT);
    assert_in_range(etcd_now_ms() - start_ms, 300, 3000);
    assert_false(has_key(&b));
    assert_int_equal(ew_election_campaign(b.election, EW_STR("b"), 0, &err), EW_ERR_TIMEOUT);
    must(ew_election_resign(a.election, &err), &err);
    candidate_leads(&b);
    candidate_close(&a);
    candidate_close(&b);
}

/* The leader is killed: its session ends without a revocation, after its TTL. */
static void test_the_leader_is_killed(void **state) {
    (void)state;
    candidate a, b;
    candidate_open(&a, "/killed", "a", TTL_S);
    candidate_open(&b, "/killed", "b", 60);
    candidate_leads(&a);
    candidate_stands(&b);
    ew_election_close(a.election);
    ew_session_close(a.session, EW_SESSION_KEEP_LEASE);
    int64_t start_ms = etcd_now_ms();
    assert_int_equal(candidate_join(&b), EW_OK);
    print_message("took over after %d ms\n", (int)(b.over_ms - start_ms));
    assert_in_range(b.over_ms - start_ms, 500,
                    (TTL_S + 2) * 1000); /* etcd 3.4 checks for expired leases twice a second */
    assert_leader("/killed", "b");
    candidate_close(&b);
}

/* A session that ends during the candidacy, and during the leadership. */
static void test_a_session_ends(void **state) {
    (void)state;
    candidate a, b;
    ew_error err;
    candidate_open(&a, "/ends", "a", TTL_S);
    candidate_open(&b, "/ends", "b", TTL_S);
    candidate_leads(&a);
    candidate_stands(&b);
    must(ew_client_lease_revoke(client, ew_session_lease(b.session), &err), &err);
    assert_int_equal(candidate_join(&b), EW_ERR_SESSION_DONE);
    must(ew_client_lease_revoke(client, ew_session_lease(a.session), &err), &err);
    int status = ew_election_await_loss(a.election, WAIT_MS, &err); /* the watch or the keepalive detects it first */
    assert_true(status == EW_ERR_LEADERSHIP_LOST || status == EW_ERR_SESSION_DONE);
    assert_int_equal(ew_election_revision(a.election), 0);
    assert_int_equal(ew_election_campaign(a.election, EW_STR("a"), WAIT_MS, &err), EW_ERR_SESSION_DONE);
    candidate_close(&a);
    candidate_close(&b);
}

/* An external writer deletes the leader's key. */
static void test_the_leaders_key_is_deleted(void **state) {
    (void)state;
    candidate a, b;
    ew_error err;
    candidate_open(&a, "/deleted", "a", 60);
    candidate_open(&b, "/deleted", "b", 60);
    candidate_leads(&a);
    assert_int_equal(ew_election_await_loss(a.election, 50, &err), EW_ERR_TIMEOUT);
    candidate_stands(&b);
    delete_key(&a);
    assert_int_equal(candidate_join(&b), EW_OK);
    assert_leader("/deleted", "b");
    assert_int_equal(ew_election_proclaim(a.election, EW_STR("still a"), &err), EW_ERR_LEADERSHIP_LOST);
    assert_false(has_key(&a));
    assert_int_equal(ew_election_proclaim(a.election, EW_STR("still a"), &err), EW_ERR_STATE);
    assert_int_equal(ew_election_await_loss(a.election, 50, &err), EW_ERR_STATE);
    delete_key(&b);
    assert_int_equal(ew_election_await_loss(b.election, WAIT_MS, &err), EW_ERR_LEADERSHIP_LOST);
    assert_int_equal(ew_election_revision(b.election), 0);
    candidate_close(&a);
    candidate_close(&b);
}

/* A leader whose key was deleted and created again by an external writer is no longer the leader, and does not touch
 * that key. */
static void test_the_leaders_key_is_created_again(void **state) {
    (void)state;
    candidate a;
    ew_error err;
    candidate_open(&a, "/again", "a", 60);
    candidate_leads(&a);
    delete_key(&a);
    must(ew_client_put(client, ew_election_key(a.election), EW_STR("external"), NULL, NULL, &err), &err);
    must(ew_election_resign(a.election, &err), &err);
    assert_leader("/again", "external");
    candidate_close(&a);
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/again")), NULL, NULL, &err), &err);
}

/* The key of a waiting candidate is deleted: when its turn would have come, it creates a new key at the end of the
 * queue. */
static void test_a_waiting_candidates_key_is_deleted(void **state) {
    (void)state;
    candidate a, b, c;
    ew_error err;
    candidate_open(&a, "/back", "a", 60);
    candidate_open(&b, "/back", "b", 60);
    candidate_open(&c, "/back", "c", 60);
    candidate_leads(&a);
    assert_true(until(has_watchers, &(int){0})); /* from earlier tests */
    candidate_stands(&b);
    assert_true(until(has_watchers, &(int){1})); /* b has read its place; otherwise it would create its key again */
    delete_key(&b);
    candidate_stands(&c);
    must(ew_election_resign(a.election, &err), &err);
    assert_int_equal(candidate_join(&c), EW_OK);
    assert_true(until(has_key, &b));
    assert_false(is_over(&b));
    must(ew_election_resign(c.election, &err), &err);
    assert_int_equal(candidate_join(&b), EW_OK);
    candidate_close(&a);
    candidate_close(&b);
    candidate_close(&c);
}

static void test_campaigning_again_changes_the_value(void **state) {
    (void)state;
    candidate a;
    ew_error err;
    candidate_open(&a, "/value", "a", 60);
    candidate_leads(&a);
    int64_t revision = ew_election_revision(a.election);
    a.value = "other";
    candidate_leads(&a);
    assert_int_equal(ew_election_revision(a.election), revision);
    assert_leader("/value", "other");
    must(ew_election_proclaim(a.election, EW_STR("third"), &err), &err);
    assert_leader("/value", "third");
    candidate_close(&a);
}

/* etcd is away during a candidacy: the candidate goes on waiting. */
static void test_etcd_is_away_for_a_while(void **state) {
    (void)state;
    candidate a, b;
    ew_error err;
    candidate_open(&a, "/away", "a", 60);
    candidate_open(&b, "/away", "b", 60);
    candidate_leads(&a);
    candidate_stands(&b);
    etcd_server_kill(server);
    etcd_server_restart(server);
    must(ew_election_resign(a.election, &err), &err);
    assert_int_equal(candidate_join(&b), EW_OK);
    candidate_close(&a);
    candidate_close(&b);
}

/* A cancel of the client reaches a campaign also while etcd does not answer. */
static void test_cancelled_while_etcd_is_away(void **state) {
    (void)state;
    candidate a;
    ew_error err;
    ew_options *o = etcd_server_options(server);
    ew_client *own;
    assert_int_equal(ew_options_set_int(o, "call_timeout_ms", 2000, NULL), EW_OK);
    must(ew_client_open(&own, o, &err), &err);
    ew_options_free(o);
    a = (candidate){.value = "a", .timeout_ms = -1};
    must(ew_session_open(&a.session, client, 60, &err), &err);
    must(ew_election_open(&a.election, own, a.session, EW_STR("/cancel"), &err), &err);
    etcd_server_kill(server);
    candidate_start(&a);
    ew_election_cancel(a.election);
    ew_client_cancel(own);
    assert_int_equal(candidate_join(&a), EW_ERR_CANCELLED);
    etcd_server_restart(server);
    candidate_close(&a);
    ew_client_close(own);
}

static void test_errors(void **state) {
    (void)state;
    ew_session *s;
    ew_election *e = (ew_election *)&state;
    ew_error err;
    must(ew_session_open(&s, client, 60, &err), &err);
    assert_int_equal(ew_election_open(&e, client, s, EW_STR(""), &err), EW_ERR_INVALID);
    assert_null(e);
    assert_int_equal(ew_election_open(&e, client, s, EW_STR("a\0b"), &err), EW_ERR_INVALID);
    assert_int_equal(ew_election_open(&e, client, NULL, EW_STR("a"), &err), EW_ERR_INVALID);
    must(ew_election_open(&e, client, s, EW_STR("a"), &err), &err);
    assert_int_equal(ew_election_proclaim(e, EW_STR("x"), &err), EW_ERR_STATE);
    ew_election_close(e);
    ew_election_close(NULL);
    ew_session_close(s, EW_SESSION_REVOKE);
}

/* ---- observers ---- */

typedef struct onlooker {
    ew_observer *observer;
    int status;
    ew_kv kv;
} onlooker;

static void *look_on(void *arg) {
    onlooker *l = arg;
    l->status = ew_observer_next(l->observer, -1, &l->kv, NULL);
    return NULL;
}

static void assert_next(ew_observer *o, const char *value) {
    ew_kv kv;
    ew_error err;
    must(ew_observer_next(o, WAIT_MS, &kv, &err), &err);
    if (!ew_slice_equal(kv.value, ew_str(value)) || (kv.key.len == 0) != (value[0] == '\0'))
        fail_msg("'%.*s' leads, not '%s'", (int)kv.value.len, (const char *)kv.value.data, value);
}

static void test_observing(void **state) {
    (void)state;
    candidate a, b;
    ew_error err;
    ew_kv kv;
    ew_observer *o;
    must(ew_observer_open(&o, client, EW_STR("/observed"), &err), &err);
    assert_next(o, "");
    assert_int_equal(ew_observer_next(o, 50, &kv, &err), EW_ERR_TIMEOUT);
    candidate_open(&a, "/observed", "a", 60);
    candidate_open(&b, "/observed", "b", 60);
    candidate_leads(&a);
    assert_next(o, "a");
    must(ew_election_proclaim(a.election, EW_STR("a2"), &err), &err);
    assert_next(o, "a2");
    candidate_stands(&b);
    assert_int_equal(ew_observer_next(o, 50, &kv, &err), EW_ERR_TIMEOUT); /* b does not change the leader */
    must(ew_election_resign(a.election, &err), &err);
    assert_next(o, "b");
    assert_int_equal(candidate_join(&b), EW_OK);
    must(ew_election_resign(b.election, &err), &err);
    assert_next(o, "");
    etcd_server_kill(server);
    etcd_server_restart(server);
    candidate_leads(&a);
    assert_next(o, "a");
    onlooker l = {.observer = o};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look_on, &l), 0);
    ew_observer_cancel(o);
    pthread_join(thread, NULL);
    assert_int_equal(l.status, EW_ERR_CANCELLED);
    assert_int_equal(ew_observer_next(o, 0, &kv, &err), EW_ERR_CANCELLED);
    ew_observer_close(o);
    candidate_close(&a);
    candidate_close(&b);
}

/* ---- against Go ---- */

typedef struct go_candidate {
    pid_t pid;
    char log[64];
} go_candidate;

static go_candidate go_elect(const char *name, const char *value) {
    go_candidate g;
    snprintf(g.log, sizeof g.log, "/tmp/etcdworker-elect-XXXXXX");
    int fd = mkstemp(g.log);
    assert_true(fd >= 0);
    close(fd);
    const char *program = getenv("EW_ETCDCTL");
    char *argv[] = {(char *)(uintptr_t)(program && program[0] ? program : "etcdctl"),
                    "--endpoints",
                    server->endpoint,
                    "elect",
                    (char *)(uintptr_t)name,
                    (char *)(uintptr_t)value,
                    NULL};
    setenv("ETCDCTL_API", "3", 1);
    g.pid = process_start(argv, g.log);
    return g;
}

/* etcdctl prints its key and value when it becomes the leader. */
static bool go_leads(void *arg) {
    const go_candidate *g = arg;
    char text[512];
    FILE *f = fopen(g->log, "r");
    size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[len] = '\0';
    return strstr(text, "/go/") && strstr(text, "go-value");
}

/* SIGINT: it resigns. SIGKILL: its key stays until its lease of 60 s expires. */
static void go_end(go_candidate *g, int signal) {
    process_end(g->pid, signal);
    unlink(g->log);
}

static bool two_stand(void *arg) {
    ew_result *r = NULL;
    ew_error err;
    must(ew_client_get(client, ew_keys_prefix(ew_str(arg)), NULL, &r, &err), &err);
    bool two = ew_result_count(r) == 2;
    ew_result_free(r);
    return two;
}

static void test_go_waits_for_us(void **state) {
    (void)state;
    candidate a;
    ew_error err;
    candidate_open(&a, "/go/1", "a", 60);
    candidate_leads(&a);
    go_candidate g = go_elect("/go/1", "go-value");
    assert_true(until(two_stand, "/go/1/"));
    assert_false(go_leads(&g));
    assert_leader("/go/1", "a");
    must(ew_election_resign(a.election, &err), &err);
    assert_true(until(go_leads, &g));
    assert_leader("/go/1", "go-value");
    go_end(&g, SIGINT);
    assert_leader("/go/1", NULL);
    candidate_close(&a);
}

static void test_we_wait_for_go(void **state) {
    (void)state;
    candidate a;
    candidate_open(&a, "/go/2", "a", 60);
    go_candidate g = go_elect("/go/2", "go-value");
    assert_true(until(go_leads, &g));
    candidate_stands(&a);
    assert_leader("/go/2", "go-value");
    assert_false(is_over(&a));
    go_end(&g, SIGINT);
    assert_int_equal(candidate_join(&a), EW_OK);
    assert_leader("/go/2", "a");
    candidate_close(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_key),
        cmocka_unit_test(test_one_leads_and_the_next_follows),
        cmocka_unit_test(test_a_waiting_candidate_leaves),
        cmocka_unit_test(test_a_campaign_times_out),
        cmocka_unit_test(test_the_leader_is_killed),
        cmocka_unit_test(test_a_session_ends),
        cmocka_unit_test(test_the_leaders_key_is_deleted),
        cmocka_unit_test(test_the_leaders_key_is_created_again),
        cmocka_unit_test(test_a_waiting_candidates_key_is_deleted),
        cmocka_unit_test(test_campaigning_again_changes_the_value),
        cmocka_unit_test(test_etcd_is_away_for_a_while),
        cmocka_unit_test(test_cancelled_while_etcd_is_away),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_observing),
        cmocka_unit_test(test_go_waits_for_us),
        cmocka_unit_test(test_we_wait_for_go),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
