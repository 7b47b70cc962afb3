/* Submits that are sent again are decided once, and every reply is true (SEMANTICS 34, 35).
 *
 * The worker that is killed runs this program too: `--worker ENDPOINT PREFIX DIRECTORY`. */
#include "actors.pb-c.h"
#include "lib/fault_proxy.h"
#include "lib/process.h"
#include "lib/requester.h"
#include "lib/submitters.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *self;

/* ---- one requester ---- */

static nng_socket dial(const char *url) {
    return requester_dial(url, SUBMITTERS_RESEND_MS);
}

/* Whether the worker has received two more copies. */
typedef struct repeats {
    worker_fixture *fixture;
    uint64_t before;
} repeats;

static bool was_resent(void *arg) {
    const repeats *r = arg;
    return worker_fixture_stats(r->fixture).submit_repeats >= r->before + 2;
}

/* ---- worker fixtures ---- */

static void begin(worker_fixture *f) {
    worker_fixture_open(f, "/again");
    worker_fixture_set(f, "submit", "on");
}

static void end(worker_fixture *f) {
    assert_int_equal(worker_fixture_close(f), EW_ERR_CANCELLED);
}

/* etcd is paused while REQ sends again and again. */
static void test_frozen_etcd(void **state) {
    (void)state;
    worker_fixture f;
    begin(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    body b = pack_submit(put_of("/again/a", "x"));
    assert_int_equal(ask_once(req, put_of("/again/before", "x")).status, EW_OK);
    repeats r = {&f, 0};
    env_pause_etcd();
    send_body(req, b);
    bool resent = env_until(was_resent, &r);
    env_resume_etcd();
    assert_true(resent);
    ew_submit_reply reply = receive(req);
    assert_once("/again/a", &reply);
    reply = ask(req, b);
    assert_once("/again/a", &reply);
    free(b.data);
    nng_close(req);
    end(&f);
    client_delete_prefix("/again/");
}

/* The answers of etcd are lost while REQ sends again. */
static void test_swallowed_answers(void **state) {
    (void)state;
    worker_fixture f;
    begin(&f);
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_start_ready(&f);
    for (int i = 0; i < 3; i++) {
        char key[32];
        snprintf(key, sizeof key, "/again/%d", i);
        nng_socket req = dial(ew_worker_submit_url(f.worker));
        assert_int_equal(ask_once(req, put_of("/again/before", "x")).status, EW_OK);
        body b = pack_submit(put_of(key, "x"));
        repeats r = {&f, worker_fixture_stats(&f).submit_repeats};
        fault_proxy_swallow(proxy, FAULT_PROXY_DOWN);
        send_body(req, b);
        assert_true(env_until(was_resent, &r));
        fault_proxy_mend(proxy);
        ew_submit_reply reply = receive(req);
        assert_once(key, &reply);
        free(b.data);
        nng_close(req);
    }
    end(&f);
    fault_proxy_close(proxy);
    client_delete_prefix("/again/");
}

/* A worker that follows another one knows what that one has decided: also a submit whose key had to be absent and now
 * exists, and a refusal whose reason is gone. */
static void test_next_worker(void **state) {
    (void)state;
    ew_session *session; /* used by both, so that its lease outlives the first */
    assert_int_equal(ew_session_open(&session, client_handle(), 60, NULL), EW_OK);
    ew_submit *if_absent = put_by("/again/a", "first", 5), *if_value = put_by("/again/b", "second", 1);
    ew_submit_if_absent(if_absent, EW_STR("/again/a"));
    ew_submit_if_value(if_value, EW_STR("/again/never"), EW_STR("x"));
    const body committed = pack_submit(if_absent), refused = pack_submit(if_value);
    worker_fixture f;
    begin(&f);
    f.client = client_handle();
    f.session = session;
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    ew_submit_reply first = ask(req, committed), no = ask(req, refused);
    assert_once("/again/a", &first);
    assert_int_equal(no.status, EW_ERR_REFUSED);
    nng_close(req);
    end(&f);

    client_put("/again/never", "x"); /* now the second submit's compare would hold */
    begin(&f);
    f.client = client_handle();
    f.session = session;
    worker_fixture_start_ready(&f);
    req = dial(ew_worker_submit_url(f.worker));
    ew_submit_reply r = ask_once(req, put_by("/again/old", "first", 4));
    assert_int_equal(r.status, EW_ERR_TOO_OLD);
    assert_non_null(strstr(r.detail, "sequence 4 is older than 5"));
    r = ask_once(req, put_by("/again/other", "first", 5));
    assert_int_equal(r.status, EW_ERR_BAD_MESSAGE);
    r = ask(req, committed);
    assert_once("/again/a", &r);
    assert_int_equal(r.revision, first.revision);
    r = ask(req, refused);
    assert_int_equal(r.status, EW_ERR_REFUSED);
    assert_int_equal(r.revision, no.revision);
    r = ask_once(req, put_by("/again/next", "first", 6)); /* and goes on */
    assert_once("/again/next", &r);
    assert_int_equal(ask(req, committed).status, EW_ERR_TOO_OLD);
    assert_false(client_get("/again/old").present || client_get("/again/other").present ||
                 client_get("/again/b").present);
    nng_close(req);
    end(&f);
    free(committed.data);
    free(refused.data);
    ew_session_close(session, EW_SESSION_REVOKE);
    client_delete_prefix("/again/");
}

/* Two workers of one prefix get the same submits at the same time: both give the same reply. */
static void test_two_workers(void **state) {
    (void)state;
    enum { ROUNDS = 50 };
    worker_fixture f[2];
    nng_socket reqs[2];
    for (int i = 0; i < 2; i++) {
        begin(&f[i]);
        worker_fixture_start_ready(&f[i]);
        reqs[i] = dial(ew_worker_submit_url(f[i].worker));
    }
    for (int n = 0; n < ROUNDS; n++) {
        char key[32];
        snprintf(key, sizeof key, "/again/%d", n);
        ew_submit *submit = put_by(key, "both", (uint64_t)n + 1);
        if (n % 2 == 1)
            ew_submit_if_absent(submit, ew_str(key));
        body b = pack_submit(submit);
        send_body(reqs[0], b);
        send_body(reqs[1], b);
        ew_submit_reply r = receive(reqs[0]), other = receive(reqs[1]);
        assert_once(key, &r);
        assert_once(key, &other);
        free(b.data);
    }
    for (int i = 0; i < 2; i++) {
        nng_close(reqs[i]);
        end(&f[i]);
    }
    client_delete_prefix("/again/");
}

/* Two requesters send one submit to one worker, which is busy: both get a reply. */
static int hold(worker_fixture *f, ew_tick *t) {
    (void)t;
    worker_fixture_hold(f);
    return EW_OK;
}

static void test_copies_while_pending(void **state) {
    (void)state;
    worker_fixture f;
    begin(&f);
    worker_fixture_start_ready(&f);
    worker_fixture_begin(&f, hold);
    worker_fixture_await_held(&f);
    nng_socket one = dial(ew_worker_submit_url(f.worker)), two = dial(ew_worker_submit_url(f.worker));
    body b = pack_submit(put_of("/again/a", "x"));
    send_body(one, b);
    send_body(two, b);
    worker_fixture_release(&f);
    ew_submit_reply r = receive(one), other = receive(two);
    assert_once("/again/a", &r);
    assert_once("/again/a", &other);
    free(b.data);
    nng_close(one);
    nng_close(two);
    end(&f);
    client_delete_prefix("/again/");
}

/* Without an identity every copy is a separate submit. */
static void test_without_an_identity(void **state) {
    (void)state;
    worker_fixture f;
    begin(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    body b = pack_submit(put_by("/again/a", "", 0));
    const int64_t before = (int64_t)client_count("/etcdworker/receipts/submit/"); /* those of earlier workers stay */
    ew_submit_reply first = ask(req, b), second = ask(req, b);
    assert_int_equal(first.status, EW_OK);
    assert_int_equal(second.status, EW_OK);
    assert_true(second.revision > first.revision);
    assert_int_equal(client_get("/again/a").version, 2);
    assert_int_equal((int64_t)client_count("/etcdworker/receipts/submit/"), before);
    free(b.data);
    nng_close(req);
    end(&f);
    client_delete_prefix("/again/");
}

/* Invalid identities that other programs may send. */
static void test_invalid_identities(void **state) {
    (void)state;
    worker_fixture f;
    begin(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    char client[65];
    memset(client, 'c', sizeof client);
    const struct {
        size_t len;
        uint64_t sequence;
        const char *says;
    } cases[] = {
        {65, 1, "65 bytes, at most 64"}, {1, 0, "a client needs a sequence"}, {0, 1, "a sequence needs a client"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Msg__Submit m = MSG__SUBMIT__INIT;
        Msg__Submit__Put put = MSG__SUBMIT__PUT__INIT, *puts[] = {&put};
        put.key = (ProtobufCBinaryData){8, (uint8_t *)(uintptr_t) "/again/a"};
        m.puts = puts;
        m.n_puts = 1;
        m.client = (ProtobufCBinaryData){cases[i].len, (uint8_t *)client};
        m.sequence = cases[i].sequence;
        uint8_t bytes[256];
        ew_submit_reply r = ask(req, (body){bytes, msg__submit__pack(&m, bytes)});
        assert_int_equal(r.status, EW_ERR_BAD_MESSAGE);
        assert_non_null(strstr(r.detail, cases[i].says));
    }
    assert_false(client_get("/again/a").present);
    nng_close(req);
    end(&f);
}

/* A record that was overwritten externally proves nothing about the submit. */
static void test_malformed_record(void **state) {
    (void)state;
    worker_fixture f;
    begin(&f);
    worker_fixture_start_ready(&f);
    nng_socket req = dial(ew_worker_submit_url(f.worker));
    client_put("/etcdworker/receipts/submit/63", "not a record");
    body b = pack_submit(put_by("/again/a", "c", 1));
    ew_submit_reply r = ask(req, b);
    assert_int_equal(r.status, EW_ERR_UNKNOWN_OUTCOME);
    assert_non_null(strstr(r.detail, "malformed"));
    assert_false(client_get("/again/a").present);
    r = ask_once(req, put_by("/again/a", "c", 2));
    assert_once("/again/a", &r);
    free(b.data);
    nng_close(req);
    end(&f);
    client_delete_prefix("/again/");
}

/* ---- a worker that is killed ---- */

static int tick_nothing(void *unused, ew_tick *t) {
    (void)unused, (void)t;
    return EW_OK;
}

static int run_worker(char **argv) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick_nothing);
    char url[200];
    ew_error err = {0};
    ew_worker *w = NULL;
    ew_options *o = ew_options_new();
    int status = ew_options_set(o, "endpoints", argv[0], &err);
    if (status == EW_OK)
        status = ew_options_set(o, "prefix", argv[1], &err);
    submitters_serve(o, argv[2], url, sizeof url);
    if (status == EW_OK)
        status = ew_worker_open(&w, o, &reactor, NULL, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    fprintf(stderr, "the worker ended: %s\n", err.detail);
    return 1;
}

typedef struct progress {
    submitters *clients;
    uint64_t replies, least;
} progress;

static bool has_gone_on(void *arg) {
    const progress *p = arg;
    return submitters_replies(p->clients) >= p->replies && submitters_least(p->clients) >= p->least;
}

/* SIGKILL, repeatedly, during the work of many clients; the next worker decides each client's submit. */
static void test_killed_worker(void **state) {
    (void)state;
    enum { CLIENTS = 16, KILLS = 6, REPLIES = 100 };
    char directory[64] = "/tmp/etcdworker-resend-XXXXXX", log[80], url[200], problem[256] = "";
    assert_non_null(mkdtemp(directory));
    snprintf(log, sizeof log, "%s/log", directory);
    ew_options *o = ew_options_new();
    submitters_serve(o, directory, url, sizeof url);
    ew_options_free(o);
    char *argv[] = {self, "--worker", (char *)(uintptr_t)env_endpoint(), "/again", directory, NULL};
    pid_t pid = process_start(argv, log);
    progress p = {.clients = submitters_open((const char *const[]){url, NULL}, "/again", CLIENTS)};
    bool good = true;
    for (int i = 0; i < KILLS && good; i++) {
        p.replies = submitters_replies(p.clients) + REPLIES;
        p.least = submitters_least(p.clients) + 1;
        good = env_until(has_gone_on, &p);
        process_end(pid, SIGKILL);
        pid = process_start(argv, log);
    }
    bool all_true = submitters_close(p.clients, client_handle(), problem, sizeof problem);
    process_end(pid, SIGKILL);
    process_run((char *[]){"rm", "-r", directory, NULL}, (char[64]){""}, 64);
    assert_string_equal(problem, "");
    assert_true(good && all_true);
    client_delete_prefix("/again/");
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc == 5 && strcmp(argv[1], "--worker") == 0)
        return run_worker(argv + 2);
    const struct CMUnitTest tests[] = {
        env_test(test_frozen_etcd),        env_test(test_swallowed_answers),    env_test(test_next_worker),
        env_test(test_two_workers),        env_test(test_copies_while_pending), env_test(test_without_an_identity),
        env_test(test_invalid_identities), env_test(test_malformed_record),     env_test(test_killed_worker),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
