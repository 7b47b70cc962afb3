/* NULL for a required pointer: EW_ERR_INVALID with the names of the function and of the argument, never a crash. A
 * function that only returns a value returns "none" (NULL, 0, false or -1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <etcdworker/etcdworker.h>
#include <etcdworker/sim.h>

static ew_error err;

/* Checks that the call fails and that the error names the argument. */
#define NAMES(argument, call)                                                                                          \
    do {                                                                                                               \
        err = (ew_error){0};                                                                                           \
        assert_int_equal((call), EW_ERR_INVALID);                                                                      \
        assert_int_equal(err.code, EW_ERR_INVALID);                                                                    \
        if (!strstr(err.detail, "'" argument "'") || strncmp(err.detail, #call, strcspn(#call, "(")) != 0)             \
            fail_msg("%s answers: %s", #call, err.detail);                                                             \
    } while (0)

/* Checks that a call without an ew_error fails. */
#define REFUSES(call) assert_int_equal((call), EW_ERR_INVALID)

static int tick(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_OK;
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

static void session_fn(void *arg) {
    (void)arg;
}

static void sim_fn(ew_sim *s, void *arg) {
    (void)s, (void)arg;
}

static void workers(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_worker *w = (ew_worker *)&err; /* any pointer */
    NAMES("out", ew_worker_open(NULL, o, &reactor, NULL, &err));
    NAMES("options", ew_worker_open(&w, NULL, &reactor, NULL, &err));
    assert_null(w);
    NAMES("reactor", ew_worker_open(&w, o, NULL, NULL, &err));
    assert_int_equal(ew_worker_open(&w, NULL, &reactor, NULL, NULL), EW_ERR_INVALID);
    NAMES("w", ew_worker_start(NULL, &err));
    NAMES("w", ew_worker_join(NULL, &err));
    NAMES("w", ew_worker_run(NULL, &err));
    REFUSES(ew_worker_set_client(NULL, NULL));
    REFUSES(ew_worker_set_session(NULL, NULL));
    REFUSES(ew_worker_set_election(NULL, NULL));
    REFUSES(ew_worker_get_stats(NULL, &(ew_worker_stats){.size = sizeof(ew_worker_stats)}));
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_OK);
    REFUSES(ew_worker_get_stats(w, NULL));
    REFUSES(ew_worker_get_stats(w, &(ew_worker_stats){.size = 0}));
    ew_worker_close(w);
    ew_worker_close(NULL);
    ew_worker_stop(NULL);
    assert_null(ew_worker_submit_url(NULL));
    assert_null(ew_worker_ticks_url(NULL));
    ew_options_free(o);
}

/* A program that was compiled with an older header has a smaller struct; a newer one a larger struct. */
static void shorter_statistics(void **state) {
    (void)state;
    struct {
        ew_worker_stats stats;
        char behind[8];
    } mine;
    ew_options *o = ew_options_new();
    ew_worker *w;
    assert_int_equal(ew_worker_open(&w, o, &reactor, NULL, &err), EW_OK);
    static const size_t sizes[] = {sizeof(size_t), offsetof(ew_worker_stats, ticks), offsetof(ew_worker_stats, checks),
                                   sizeof(ew_worker_stats), sizeof mine};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(&mine, 0x5a, sizeof mine);
        mine.stats.size = sizes[i];
        assert_int_equal(ew_worker_get_stats(w, &mine.stats), EW_OK);
        assert_int_equal(mine.stats.size, sizes[i]);
        if (sizes[i] > offsetof(ew_worker_stats, barrier_revision))
            assert_int_equal(mine.stats.barrier_revision, -1);
        for (size_t k = sizes[i]; k < sizeof mine; k++)
            assert_int_equal(((const char *)&mine)[k], 0x5a);
    }
    ew_worker_close(w);
    ew_options_free(o);
}

static void actors(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_client *c;
    ew_actor *a = (ew_actor *)&err;
    assert_int_equal(ew_client_open(&c, o, &err), EW_OK);
    NAMES("out", ew_watcher_open(NULL, c, o, "inproc://a", "inproc://b", &err));
    NAMES("client", ew_watcher_open(&a, NULL, o, "inproc://a", "inproc://b", &err));
    assert_null(a);
    NAMES("options", ew_watcher_open(&a, c, NULL, "inproc://a", "inproc://b", &err));
    NAMES("mailbox_url", ew_committer_open(&a, c, o, NULL, "inproc://b", &err));
    NAMES("peer_url", ew_committer_open(&a, c, o, "inproc://a", NULL, &err));
    NAMES("a", ew_actor_close(NULL, &err));
    assert_int_equal(ew_actor_bad_messages(NULL), 0);
    ew_client_close(c);
    ew_options_free(o);
}

static void submits(void **state) {
    (void)state;
    void *body;
    size_t size;
    ew_submit *s = ew_submit_new();
    REFUSES(ew_submit_pack(s, NULL, &size));
    REFUSES(ew_submit_pack(s, &body, NULL));
    REFUSES(ew_submit_reply_unpack("", 0, NULL));
    REFUSES(ew_tick_note_unpack("", 0, NULL));
    ew_submit_free(s);
    ew_submit_free(NULL);
}

static void options(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    NAMES("o", ew_options_set(NULL, "prefix", "/a", &err));
    NAMES("o", ew_options_set_int(NULL, "page_bytes", 1, &err));
    assert_int_equal(ew_options_set(o, NULL, "/a", &err), EW_ERR_INVALID); /* the error says "there is no option" */
    assert_int_equal(ew_options_set_int(o, NULL, 1, &err), EW_ERR_INVALID);
    assert_int_equal(ew_options_set(o, "prefix", NULL, &err), EW_ERR_INVALID);
    assert_int_equal(ew_options_int(NULL, "page_bytes"), -1);
    assert_int_equal(ew_options_int(o, NULL), -1);
    assert_null(ew_options_text(NULL, "prefix"));
    assert_null(ew_options_text(o, NULL));
    ew_options_free(o);
    ew_options_free(NULL);
}

static void clients(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_client *c = (ew_client *)&err;
    ew_result *r;
    ew_members *m;
    ew_member_status status = {.size = sizeof status};
    int64_t lease = 0;
    NAMES("out", ew_client_open(NULL, o, &err));
    NAMES("options", ew_client_open(&c, NULL, &err));
    assert_null(c);
    NAMES("client", ew_client_reload(NULL, &err));
    NAMES("client", ew_client_get(NULL, ew_keys_one(EW_STR("/a")), NULL, &r, &err));
    NAMES("client", ew_client_put(NULL, EW_STR("/a"), EW_STR("1"), NULL, NULL, &err));
    NAMES("client", ew_client_delete(NULL, ew_keys_one(EW_STR("/a")), NULL, NULL, &err));
    NAMES("client", ew_client_compact(NULL, 1, NULL, &err));
    NAMES("client", ew_client_txn(NULL, NULL, NULL, &err));
    NAMES("client", ew_client_lease_grant(NULL, 1, &lease, NULL, &err));
    NAMES("client", ew_client_lease_revoke(NULL, 1, &err));
    NAMES("client", ew_client_lease_keepalive(NULL, 1, NULL, &err));
    NAMES("client", ew_client_lease_info(NULL, 1, NULL, NULL, NULL, &err));
    NAMES("client", ew_client_status(NULL, &status, &err));
    NAMES("client", ew_client_members(NULL, &m, &err));
    assert_int_equal(ew_client_open(&c, o, &err), EW_OK);
    assert_int_equal(ew_client_get(c, ew_keys_one(EW_STR("/a")), NULL, NULL, &err), EW_ERR_INVALID);
    NAMES("lease", ew_client_lease_grant(c, 1, NULL, NULL, &err));
    NAMES("out", ew_client_status(c, NULL, &err));
    NAMES("out", ew_client_members(c, NULL, &err));
    ew_client_close(c);
    ew_client_close(NULL);
    ew_client_cancel(NULL);
    assert_null(ew_members_at(NULL, 0));
    ew_members_free(NULL);
    ew_options_free(o);
}

static void results(void **state) {
    (void)state;
    assert_int_equal(ew_result_revision(NULL), 0);
    assert_int_equal(ew_result_count(NULL), 0);
    assert_null(ew_result_at(NULL, 0));
    assert_int_equal(ew_result_total(NULL), 0);
    assert_false(ew_result_more(NULL));
    assert_false(ew_result_succeeded(NULL));
    assert_null(ew_result_op(NULL, 0));
    ew_result_free(NULL);
}

static void scans_and_watches(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_client *c;
    ew_scan *s = (ew_scan *)&err;
    ew_watch *w = (ew_watch *)&err;
    ew_kv kv;
    ew_watch_batch batch;
    assert_int_equal(ew_client_open(&c, o, &err), EW_OK);
    NAMES("out", ew_scan_open(NULL, c, ew_keys_prefix(EW_STR("/")), NULL, &err));
    NAMES("client", ew_scan_open(&s, NULL, ew_keys_prefix(EW_STR("/")), NULL, &err));
    assert_null(s);
    NAMES("s", ew_scan_next(NULL, &kv, &err));
    assert_int_equal(ew_scan_open(&s, c, ew_keys_prefix(EW_STR("/")), NULL, &err), EW_OK);
    NAMES("kv", ew_scan_next(s, NULL, &err));
    ew_scan_close(s);
    ew_scan_close(NULL);
    assert_int_equal(ew_scan_revision(NULL), 0);
    NAMES("out", ew_watch_open(NULL, c, ew_keys_prefix(EW_STR("/")), NULL, &err));
    NAMES("client", ew_watch_open(&w, NULL, ew_keys_prefix(EW_STR("/")), NULL, &err));
    assert_null(w);
    NAMES("w", ew_watch_next(NULL, 0, &batch, &err));
    NAMES("w", ew_watch_run(NULL, NULL, NULL, &err));
    ew_watch_cancel(NULL);
    ew_watch_close(NULL);
    ew_client_close(c);
    ew_options_free(o);
}

static void sessions_and_elections(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_client *c;
    ew_session *s = (ew_session *)&err;
    ew_election *e = (ew_election *)&err;
    ew_observer *seen;
    ew_result *r;
    ew_kv kv;
    assert_int_equal(ew_client_open(&c, o, &err), EW_OK);
    NAMES("out", ew_session_open(NULL, c, 1, &err));
    NAMES("client", ew_session_open(&s, NULL, 1, &err));
    assert_null(s);
    REFUSES(ew_session_on_done(NULL, session_fn, NULL));
    ew_session_forget(NULL, session_fn, NULL);
    ew_session_close(NULL, EW_SESSION_REVOKE);
    assert_int_equal(ew_session_lease(NULL), 0);
    assert_false(ew_session_is_done(NULL));
    NAMES("out", ew_election_open(NULL, c, s, EW_STR("/e"), &err));
    NAMES("client", ew_election_open(&e, NULL, s, EW_STR("/e"), &err));
    assert_null(e);
    NAMES("session", ew_election_open(&e, c, NULL, EW_STR("/e"), &err));
    NAMES("e", ew_election_campaign(NULL, EW_STR(""), 0, &err));
    NAMES("e", ew_election_proclaim(NULL, EW_STR(""), &err));
    NAMES("e", ew_election_resign(NULL, &err));
    NAMES("e", ew_election_await_loss(NULL, 0, &err));
    ew_election_cancel(NULL);
    ew_election_close(NULL);
    assert_int_equal(ew_election_key(NULL).len, 0);
    assert_int_equal(ew_election_revision(NULL), 0);
    assert_null(ew_election_session(NULL));
    NAMES("client", ew_election_leader(NULL, EW_STR("/e"), &r, &err));
    NAMES("out", ew_election_leader(c, EW_STR("/e"), NULL, &err));
    NAMES("out", ew_observer_open(NULL, c, EW_STR("/e"), &err));
    NAMES("client", ew_observer_open(&seen, NULL, EW_STR("/e"), &err));
    NAMES("o", ew_observer_next(NULL, 0, &kv, &err));
    assert_int_equal(ew_observer_open(&seen, c, EW_STR("/e"), &err), EW_OK);
    NAMES("leader", ew_observer_next(seen, 0, NULL, &err));
    ew_observer_close(seen);
    ew_observer_cancel(NULL);
    ew_observer_close(NULL);
    ew_client_close(c);
    ew_options_free(o);
}

static void ticks_and_views(void **state) {
    (void)state;
    ew_entry e = {0};
    REFUSES(ew_tick_get(NULL, EW_STR("/a"), &e));
    REFUSES(ew_tick_fail(NULL, EW_ERR_REACTOR, "why"));
    assert_false(ew_tick_scan(NULL, EW_STR("/a"), &e));
    assert_int_equal(ew_tick_revision(NULL), 0);
    assert_int_equal(ew_tick_number(NULL), 0);
    assert_int_equal(ew_tick_now_ms(NULL), 0);
    assert_int_equal(ew_tick_prefix(NULL).len, 0);
    assert_int_equal(ew_tick_count(NULL), 0);
    assert_null(ew_tick_group(NULL));
    REFUSES(ew_view_get(NULL, EW_STR("/a"), &e));
    REFUSES(ew_view_put(NULL, EW_STR("/a"), EW_STR("1")));
    REFUSES(ew_view_delete(NULL, EW_STR("/a")));
    REFUSES(ew_value_set(NULL, EW_STR("1")));
    REFUSES(ew_value_set_int(NULL, 1));
}

static void simulations(void **state) {
    (void)state;
    ew_options *o = ew_options_new();
    ew_sim *s = ew_sim_new(1);
    ew_entry e;
    NAMES("s", ew_sim_add_worker(NULL, o, &reactor, NULL, &err));
    NAMES("options", ew_sim_add_worker(s, NULL, &reactor, NULL, &err));
    NAMES("reactor", ew_sim_add_worker(s, o, NULL, NULL, &err));
    REFUSES(ew_sim_run(NULL, 1));
    REFUSES(ew_sim_settle(NULL, 1));
    REFUSES(ew_sim_get(NULL, EW_STR("/a"), &e));
    REFUSES(ew_sim_get(s, EW_STR("/a"), NULL));
    assert_false(ew_sim_is_running(NULL, 0));
    assert_int_equal(ew_sim_put(NULL, EW_STR("/a"), EW_STR("1")), 0);
    assert_int_equal(ew_sim_delete(NULL, EW_STR("/a")), 0);
    assert_int_equal(ew_sim_revision(NULL), 0);
    assert_int_equal(ew_sim_now_ms(NULL), 0);
    assert_int_equal(ew_sim_random(NULL), 0);
    assert_int_equal(ew_sim_digest(NULL), 0);
    assert_null(ew_sim_failure(NULL));
    ew_sim_on_end(NULL, 0, NULL);
    ew_sim_stop_worker(NULL, 0);
    ew_sim_set_faults(NULL, true);
    ew_sim_fail(NULL, "why");
    ew_sim_after(NULL, 1, sim_fn, NULL);
    ew_sim_after(s, 1, NULL, NULL);
    ew_sim_describe(NULL, NULL);
    ew_sim_trace(NULL, NULL);
    ew_sim_free(NULL);
    ew_sim_free(s);
    ew_options_free(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers),
        cmocka_unit_test(shorter_statistics),
        cmocka_unit_test(actors),
        cmocka_unit_test(submits),
        cmocka_unit_test(options),
        cmocka_unit_test(clients),
        cmocka_unit_test(results),
        cmocka_unit_test(scans_and_watches),
        cmocka_unit_test(sessions_and_elections),
        cmocka_unit_test(ticks_and_views),
        cmocka_unit_test(simulations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
