/* Patch groups of other nng applications, and the notes of ticks (<etcdworker/nng.h>; SEMANTICS 19, 22, 25, 26). */
#include "lib/requester.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdio.h>
#include <stdlib.h>

static void open_submit_fixture(worker_fixture *f) {
    worker_fixture_open(f, "/submit");
    worker_fixture_set(f, "submit", "on");
    worker_fixture_set(f, "publish_ticks", "on");
}

static nng_socket dial(const char *url) {
    return requester_dial(url, 0);
}

/* A submitted group is one atomic transaction; its reply is its outcome. */
static void test_puts_and_deletes(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/submit/gone", "x");
    open_submit_fixture(&f);
    f.updates = true;
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    ew_submit *group = put_of("/submit/a", "1");
    ew_submit_put(group, EW_STR("/submit/empty"), EW_STR(""));
    ew_submit_delete(group, EW_STR("/submit/gone"));
    ew_submit_reply r = ask_once(req, group);
    assert_int_equal(r.status, EW_OK);
    client_kv a = client_get("/submit/a"), empty = client_get("/submit/empty");
    assert_string_equal(a.value, "1");
    assert_true(empty.present && empty.len == 0);
    assert_int_equal(a.mod_revision, r.revision);
    assert_int_equal(empty.mod_revision, r.revision);
    assert_false(client_get("/submit/gone").present);
    worker_fixture_await_tick(&f, r.revision);
    assert_int_equal(worker_fixture_stats(&f).groups_committed, 1);
    for (int i = 0; i < 100; i++) { /* one after the other */
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        r = ask_once(req, put_of("/submit/a", number));
        assert_int_equal(r.status, EW_OK);
        assert_string_equal(client_get_at("/submit/a", r.revision).value, number);
    }
    nng_close(req);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

/* A compare that does not hold refuses the group, without a retry. */
static void test_compares(void **state) {
    (void)state;
    worker_fixture f;
    int64_t put = client_put("/submit/a", "1");
    open_submit_fixture(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    ew_submit *absent = put_of("/submit/b", "x"), *value = put_of("/submit/b", "x"), *both = put_of("/submit/b", "x");
    ew_submit_if_absent(absent, EW_STR("/submit/a"));
    ew_submit_reply r = ask_once(req, absent);
    assert_int_equal(r.status, EW_ERR_REFUSED);
    assert_true(r.revision >= put);
    ew_submit_if_value(value, EW_STR("/submit/a"), EW_STR("2"));
    r = ask_once(req, value);
    assert_int_equal(r.status, EW_ERR_REFUSED);
    assert_false(client_get("/submit/b").present);
    ew_submit_if_value(both, EW_STR("/submit/a"), EW_STR("1"));
    ew_submit_if_absent(both, EW_STR("/submit/b"));
    r = ask_once(req, both);
    assert_int_equal(r.status, EW_OK);
    assert_int_equal(client_get("/submit/b").mod_revision, r.revision);
    ew_submit *missing = put_of("/submit/c", "x");
    ew_submit_if_value(missing, EW_STR("/submit/missing"), EW_STR(""));
    assert_int_equal(ask_once(req, missing).status, EW_ERR_REFUSED); /* absent is not empty (SEMANTICS 10) */
    nng_close(req);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

/* SEMANTICS 22, 26: a key that no patch may write is refused, and named; the run goes on. */
static void test_refused_submits(void **state) {
    (void)state;
    worker_fixture f;
    open_submit_fixture(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    const char *const keys[] = {"/elsewhere", "/submit-b", "/submit/meta/ticdc-delete-etcd-key-count",
                                "/etcdworker/receipts/x"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        ew_submit_reply r = ask_once(req, put_of(keys[i], "x"));
        assert_int_equal(r.status, EW_ERR_OUTSIDE_PREFIX);
        assert_non_null(strstr(r.detail, keys[i]));
        ew_submit *group = put_of("/submit/a", "x");
        ew_submit_delete(group, ew_str(keys[i]));
        assert_int_equal(ask_once(req, group).status, EW_ERR_OUTSIDE_PREFIX);
    }
    ew_submit *many = ew_submit_new();
    for (int i = 0; i < 127; i++) {
        char key[32];
        snprintf(key, sizeof key, "/submit/%d", i);
        ew_submit_put(many, ew_str(key), EW_STR("x"));
    }
    assert_int_equal(ask_once(req, many).status, EW_ERR_TOO_LARGE);
    assert_int_equal(client_count("/submit/"), 0);
    assert_int_equal(ask_once(req, put_of("/submit/a", "x")).status, EW_OK);
    nng_close(req);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

static bool has_counted_four(void *arg) {
    return worker_fixture_stats(arg).bad_messages == 4;
}

/* A request that is not a Submit message gets an error as its reply, is counted, and does no harm. */
static void test_malformed_requests(void **state) {
    (void)state;
    worker_fixture f;
    open_submit_fixture(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    static const char *const bodies[] = {"hello", "\x12\xff\xff\xff\xff\x0f", "\x12", "\x12\x05\x0a\x7f"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        send_body(req, (body){(void *)(uintptr_t)bodies[i], strlen(bodies[i])});
        assert_int_equal(receive(req).status, EW_ERR_BAD_MESSAGE);
    }
    assert_true(env_until(has_counted_four, &f)); /* soon after the reply */
    send_body(req, (body){"", 0});                /* a valid message: a group without puts and deletes */
    assert_int_equal(receive(req).status, EW_ERR_BAD_MESSAGE);
    ew_submit *no_key = put_of("", "x");
    assert_int_not_equal(ask_once(req, no_key).status, EW_OK);
    assert_int_equal(ask_once(req, put_of("/submit/a", "x")).status, EW_OK);
    nng_close(req);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

static int hold(worker_fixture *f, ew_tick *t) {
    (void)t;
    worker_fixture_hold(f);
    return EW_OK;
}

/* Requests that wait when the worker stops get a reply or a closed connection: none is committed without a report. For
 * a submit with an identity the worker cannot exclude that another worker has committed a copy (SEMANTICS 35). */
static void test_stop_while_requests_wait(void **state) {
    (void)state;
    enum { REQUESTS = 8 };
    worker_fixture f;
    open_submit_fixture(&f);
    worker_fixture_start_ready(&f);
    worker_fixture_begin(&f, hold);
    worker_fixture_await_held(&f);
    nng_socket reqs[REQUESTS];
    for (int i = 0; i < REQUESTS; i++) {
        char key[32];
        snprintf(key, sizeof key, "/submit/%d", i);
        reqs[i] = dial(ew_worker_submit_url(f.worker));
        ew_submit *submit = put_of(key, "x");
        if (i % 2 == 0)
            ew_submit_identity(submit, EW_STR(""), 0);
        send_submit(reqs[i], submit);
    }
    ew_worker_stop(f.worker);
    worker_fixture_release(&f);
    unsigned cancelled = 0, unknown = 0, committed = 0, silent = 0;
    for (int i = 0; i < REQUESTS; i++) {
        nng_socket_set_ms(reqs[i], NNG_OPT_RECVTIMEO, 5000);
        nng_msg *m;
        ew_submit_reply reply = {.size = sizeof reply};
        if (nng_recvmsg(reqs[i], &m, 0) != 0) {
            silent++;
        } else {
            assert_int_equal(ew_submit_reply_unpack(nng_msg_body(m), nng_msg_len(m), &reply), EW_OK);
            nng_msg_free(m);
            cancelled += reply.status == EW_ERR_CANCELLED && i % 2 == 0;
            unknown += reply.status == EW_ERR_UNKNOWN_OUTCOME && i % 2 == 1;
            committed += reply.status == EW_OK;
        }
        nng_close(reqs[i]);
    }
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
    print_message("%u cancelled, %u unknown, %u committed, %u unanswered\n", cancelled, unknown, committed, silent);
    assert_int_equal(cancelled + unknown + committed + silent, REQUESTS);
    assert_int_equal(silent, 0);
    assert_int_equal(client_count("/submit/"), committed);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

/* More than `max_submits` requests wait in their own sockets, or are asked to come again; none is lost. */
static void test_many_requests_at_once(void **state) {
    (void)state;
    enum { REQUESTS = 20 };
    worker_fixture f;
    open_submit_fixture(&f);
    worker_fixture_set(&f, "max_submits", "4");
    worker_fixture_start_ready(&f);
    nng_socket reqs[REQUESTS];
    for (int i = 0; i < REQUESTS; i++) {
        char key[32];
        snprintf(key, sizeof key, "/submit/%d", i);
        reqs[i] = dial(ew_worker_submit_url(f.worker));
        send_submit(reqs[i], put_of(key, "x"));
    }
    unsigned committed = 0;
    for (int i = 0; i < REQUESTS; i++) {
        ew_submit_reply r = receive(reqs[i]);
        assert_true(r.status == EW_OK || r.status == EW_ERR_BUSY);
        committed += r.status == EW_OK;
        nng_close(reqs[i]);
    }
    assert_int_equal(client_count("/submit/"), committed);
    assert_true(committed >= 4);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

static int make_groups(worker_fixture *f, ew_tick *t) {
    (void)f;
    ew_group_put(ew_tick_group(t), EW_STR("/submit/n1"), EW_STR("x"));
    ew_group_put(ew_tick_group(t), EW_STR("/submit/n2"), EW_STR("x"));
    return EW_OK;
}

/* Every tick is published: its number, the revision that it saw, the number of groups that it made. */
static void test_tick_notes(void **state) {
    (void)state;
    worker_fixture f;
    nng_socket sub;
    open_submit_fixture(&f);
    worker_fixture_set(&f, "tick_interval_ms", "20");
    worker_fixture_start_ready(&f);
    assert_int_equal(nng_sub0_open(&sub), 0);
    assert_int_equal(nng_socket_set(sub, NNG_OPT_SUB_SUBSCRIBE, "", 0), 0);
    assert_int_equal(nng_socket_set_ms(sub, NNG_OPT_RECVTIMEO, ENV_WAIT_MS), 0);
    assert_int_equal(nng_dial(sub, ew_worker_ticks_url(f.worker), NULL, 0), 0);
    int64_t revision = client_put("/submit/a", "1");
    worker_fixture_begin(&f, make_groups);
    ew_tick_note last = {.size = sizeof last}, note = last;
    bool seen_groups = false;
    for (int i = 0; i < 1000 && !(seen_groups && note.revision >= revision); i++) {
        nng_msg *m;
        assert_int_equal(nng_recvmsg(sub, &m, 0), 0);
        assert_int_equal(ew_tick_note_unpack(nng_msg_body(m), nng_msg_len(m), &note), EW_OK);
        nng_msg_free(m);
        assert_true(i == 0 || note.number == last.number + 1);
        assert_true(note.revision >= last.revision);
        seen_groups |= note.groups == 2;
        last = note;
    }
    assert_true(seen_groups);
    assert_true(note.revision >= revision);
    nng_close(sub);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/submit/");
}

/* Without the options there is no socket to dial. */
static void test_off(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/submit");
    worker_fixture_start_ready(&f);
    assert_null(ew_worker_submit_url(f.worker));
    assert_null(ew_worker_ticks_url(f.worker));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_puts_and_deletes),
        env_test(test_compares),
        env_test(test_refused_submits),
        env_test(test_malformed_requests),
        env_test(test_stop_while_requests_wait),
        env_test(test_many_requests_at_once),
        env_test(test_tick_notes),
        env_test(test_off),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
