/* The public watch against a real etcd: whole revisions, in order, each once, after every fault (ETCD P1 to P10). */
#include "etcd/etcd.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"
#include "lib/fault_proxy.h"

#include <etcdworker/log.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static etcd_server *server;
static ew_client *client;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start((const char *const[]){"--experimental-watch-progress-notify-interval=1s", NULL});
    client = etcd_server_client(server);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ew_client_close(client);
    etcd_server_free(server);
    return etcd_all_released(5000) ? 0 : -1;
}

static void assert_text(ew_slice s, const char *text) {
    if (!ew_slice_equal(s, ew_str(text)))
        fail_msg("\"%.*s\", expected \"%s\"", (int)s.len, (const char *)s.data, text);
}

static int64_t put(const char *key, const char *value) {
    ew_result *r;
    must(ew_client_put(client, ew_str(key), ew_str(value), NULL, &r, &err));
    int64_t revision = ew_result_revision(r);
    ew_result_free(r);
    return revision;
}

static ew_watch *open_watch(const char *prefix, const ew_watch_options *options) {
    ew_watch *w;
    must(ew_watch_open(&w, client, ew_keys_prefix(ew_str(prefix)), options, &err));
    return w;
}

static ew_watch_batch next(ew_watch *w) {
    ew_watch_batch b;
    must(ew_watch_next(w, 30000, &b, &err));
    return b;
}

static void test_events(void **state) {
    (void)state;
    ew_watch *w = open_watch("/w/", &EW_WATCH_OPTIONS(.previous = true));
    int64_t first = put("/w/a", "1"), second = put("/w/a", "");
    put("/elsewhere", "x");
    must(ew_client_delete(client, ew_keys_one(EW_STR("/w/a")), NULL, NULL, &err));
    int seen = 0;
    while (seen < 3) {
        ew_watch_batch b = next(w);
        for (size_t i = 0; i < b.count; i++, seen++) {
            const ew_watch_event *e = &b.events[i];
            assert_text(e->kv.key, "/w/a");
            assert_int_equal(e->kind, seen < 2 ? EW_EVENT_PUT : EW_EVENT_DELETE);
            assert_int_equal(e->kv.mod_revision, seen == 0 ? first : seen == 1 ? second : second + 2);
            assert_int_equal(e->has_previous, seen > 0);
            if (seen == 1)
                assert_text(e->previous.value, "1");
        }
        assert_int_equal(b.revision, b.events[b.count - 1].kv.mod_revision);
    }
    ew_watch_batch b;
    assert_int_equal(ew_watch_next(w, 0, &b, &err), EW_ERR_TIMEOUT);
    assert_int_equal(ew_watch_next(w, 50, &b, &err), EW_ERR_TIMEOUT);
    ew_watch_close(w);
    ew_watch_close(NULL);
}

static void test_filters(void **state) {
    (void)state;
    ew_watch *puts = open_watch("/f/", &EW_WATCH_OPTIONS(.no_deletes = true));
    ew_watch *deletes = open_watch("/f/", &EW_WATCH_OPTIONS(.no_puts = true));
    put("/f/a", "1");
    must(ew_client_delete(client, ew_keys_one(EW_STR("/f/a")), NULL, NULL, &err));
    put("/f/a", "2");
    assert_int_equal(next(deletes).events[0].kind, EW_EVENT_DELETE);
    int seen = 0;
    while (seen < 2) {
        ew_watch_batch b = next(puts);
        for (size_t i = 0; i < b.count; i++, seen++)
            assert_int_equal(b.events[i].kind, EW_EVENT_PUT);
    }
    ew_watch_close(puts);
    ew_watch_close(deletes);
}

/* One transaction is one revision: two batches never share it. */
static void test_whole_revisions(void **state) {
    (void)state;
    ew_watch *w = open_watch("/whole/", NULL);
    for (int i = 0; i < 20; i++) {
        ew_txn *t = ew_txn_new();
        for (int k = 0; k < 100; k++) {
            char key[32];
            snprintf(key, sizeof key, "/whole/%d", k);
            ew_txn_put(t, EW_THEN, ew_str(key), EW_STR("x"), NULL);
        }
        must(ew_client_txn(client, t, NULL, &err));
        ew_txn_free(t);
    }
    for (size_t seen = 0; seen < 2000;) {
        ew_watch_batch b = next(w);
        assert_int_equal(b.count % 100, 0);
        seen += b.count;
    }
    ew_watch_close(w);
}

static void put_many(const char *key, int count) {
    for (int i = 0; i < count; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        put(key, value);
    }
}

/* Expects `count` revisions from `first` on, each once and in order. */
static void expect_row(ew_watch *w, int64_t first, int count) {
    int64_t expected = first;
    while (expected < first + count) {
        ew_watch_batch b = next(w);
        for (size_t i = 0; i < b.count; i++)
            assert_int_equal(b.events[i].kv.mod_revision, expected++);
        assert_int_equal(b.revision, expected - 1);
    }
    assert_int_equal(expected, first + count);
}

/* P1: a backlog of 2,501 revisions comes as three batches with the same header.revision. A watch that took that for its
 * progress would lose all but the first 1,000. */
static void test_backlog(void **state) {
    (void)state;
    int64_t first = put("/backlog", "first");
    put_many("/backlog", 2500);
    ew_watch *w = open_watch("/backlog", &EW_WATCH_OPTIONS(.start_revision = first));
    expect_row(w, first, 2501);
    put_many("/backlog", 3);
    expect_row(w, first + 2501, 3);
    ew_watch_close(w);
}

/* P3: five revisions of 1.4 MiB each come in fragments that split within a revision, and are given as whole revisions.
 */
static void test_fragments(void **state) {
    (void)state;
    static char value[12000];
    enum { KEYS = 120, ROUNDS = 5 };
    memset(value, 'x', sizeof value);
    int64_t first = 0;
    for (int round = 0; round < ROUNDS; round++) {
        ew_txn *t = ew_txn_new();
        ew_result *r;
        for (int k = 0; k < KEYS; k++) {
            char key[32];
            snprintf(key, sizeof key, "/fragment/%03d", k);
            ew_txn_put(t, EW_THEN, ew_str(key), (ew_slice){value, sizeof value}, NULL);
        }
        must(ew_client_txn(client, t, &r, &err));
        if (first == 0)
            first = ew_result_revision(r);
        ew_txn_free(t);
        ew_result_free(r);
    }
    ew_watch *w = open_watch("/fragment/", &EW_WATCH_OPTIONS(.start_revision = first));
    int64_t expected = first;
    for (size_t seen = 0; seen < KEYS * ROUNDS;) {
        ew_watch_batch b = next(w);
        assert_int_equal(b.count % KEYS, 0);
        for (size_t i = 0; i < b.count; i++) {
            assert_int_equal(b.events[i].kv.mod_revision, expected + (int64_t)(i / KEYS));
            assert_int_equal(b.events[i].kv.value.len, sizeof value);
        }
        expected += (int64_t)(b.count / KEYS);
        seen += b.count;
    }
    ew_watch_close(w);
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/fragment/")), NULL, NULL, &err));
}

/* P4: created, then canceled with compact_revision, header.revision 0 and no reason. */
static void test_compacted(void **state) {
    (void)state;
    int64_t first = put("/compacted", "1");
    put("/compacted", "2");
    int64_t third = put("/compacted", "3");
    must(ew_client_compact(client, third, &EW_COMPACT_OPTIONS(.physical = true), &err));
    ew_watch *w = open_watch("/compacted", &EW_WATCH_OPTIONS(.start_revision = first));
    ew_watch_batch b;
    for (int i = 0; i < 2; i++) { /* the error is returned again */
        assert_int_equal(ew_watch_next(w, 30000, &b, &err), EW_ERR_COMPACTED);
        assert_int_equal(b.revision, third);
    }
    ew_watch_close(w);
    w = open_watch("/compacted", &EW_WATCH_OPTIONS(.start_revision = b.revision)); /* from this revision it works */
    expect_row(w, third, 1);
    ew_watch_close(w);
}

/* P5: a watch that starts in the future shows nothing earlier. */
static void test_a_start_in_the_future(void **state) {
    (void)state;
    int64_t now = put("/future", "0");
    ew_watch *w = open_watch("/future", &EW_WATCH_OPTIONS(.start_revision = now + 3));
    ew_watch_batch b;
    put("/future", "1");
    put("/future", "2");
    assert_int_equal(ew_watch_next(w, 300, &b, &err), EW_ERR_TIMEOUT);
    int64_t first = put("/future", "3");
    assert_int_equal(first, now + 3);
    b = next(w);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.revision, first);
    assert_text(b.events[0].kv.value, "3");
    ew_watch_close(w);
}

typedef struct collected {
    size_t events;
    int64_t until;
} collected;

static int collect(void *arg, const ew_watch_batch *batch) {
    collected *c = arg;
    c->events += batch->count;
    return batch->revision >= c->until ? EW_END : EW_OK;
}

/* One batch after the other, until the callback, a cancel, or a compaction ends the watch. */
static void test_callback(void **state) {
    (void)state;
    int64_t first = put("/callback", "1");
    for (int i = 0; i < 2; i++)
        put("/callback", "2");
    ew_watch *w = open_watch("/callback", &EW_WATCH_OPTIONS(.start_revision = first));
    collected c = {.until = put("/callback", "3")};
    assert_int_equal(ew_watch_run(w, collect, &c, &err), EW_END);
    assert_int_equal(c.events, 4);
    c.until = put("/callback", "4"); /* it continues where it was */
    assert_int_equal(ew_watch_run(w, collect, &c, &err), EW_END);
    assert_int_equal(c.events, 5);
    ew_watch_cancel(w);
    assert_int_equal(ew_watch_run(w, collect, &c, &err), EW_ERR_CANCELLED);
    ew_watch_close(w);
    must(ew_client_compact(client, c.until, &EW_COMPACT_OPTIONS(.physical = true), &err));
    w = open_watch("/callback", &EW_WATCH_OPTIONS(.start_revision = first));
    assert_int_equal(ew_watch_run(w, collect, &c, &err), EW_ERR_COMPACTED);
    ew_watch_batch b;
    assert_int_equal(ew_watch_next(w, 0, &b, &err), EW_ERR_COMPACTED);
    assert_int_equal(b.revision, c.until);
    ew_watch_close(w);
}

/* A timeout beyond the range of the clock means no timeout. */
static void test_the_longest_wait(void **state) {
    (void)state;
    ew_watch *w = open_watch("/longest", NULL);
    ew_watch_batch b;
    int64_t revision = put("/longest", "1");
    must(ew_watch_next(w, INT64_MAX, &b, &err));
    assert_int_equal(b.revision, revision);
    ew_watch_close(w);
}

/* P2: the watch's own progress notifications, which come in order with events. */
static void test_progress(void **state) {
    (void)state;
    ew_watch *w = open_watch("/progress", &EW_WATCH_OPTIONS(.progress = true));
    int64_t elsewhere = put("/elsewhere", "x");
    ew_watch_batch b = next(w);
    assert_int_equal(b.count, 0);
    assert_int_equal(b.revision, elsewhere);
    int64_t here = put("/progress", "x");
    expect_row(w, here, 1);
    ew_watch_close(w);
}

/* The server is killed and restarted repeatedly while another thread writes: nothing is lost and nothing comes twice.
 */
static void test_reconnects(void **state) {
    (void)state;
    int64_t first = put("/reconnect", "first"), count = 1;
    ew_watch *w = open_watch("/reconnect", &EW_WATCH_OPTIONS(.start_revision = first));
    expect_row(w, first, 1);
    for (int round = 0; round < 3; round++) {
        put_many("/reconnect", 20);
        if (round == 1) /* once with events on this connection, once without */
            expect_row(w, first + count, 20);
        etcd_server_kill(server);
        etcd_server_restart(server);
        put_many("/reconnect", 10);
        expect_row(w, first + count + (round == 1 ? 20 : 0), round == 1 ? 10 : 30);
        count += 30;
    }
    ew_watch_close(w);
}

/* A watch from now on, whose connection breaks before its first event, continues from when it was created, not from
 * when it reconnected. */
static void test_reconnects_before_the_first_event(void **state) {
    (void)state;
    ew_watch *w = open_watch("/first", NULL);
    int64_t revision = put("/first", "1");
    etcd_server_kill(server);
    etcd_server_restart(server);
    expect_row(w, revision, 1);
    ew_watch_close(w);
}

/* A user who is slow with a batch gets the rest later, even if the connection was closed meanwhile. */
static void test_slow_user(void **state) {
    (void)state;
    int64_t first = put("/slow", "first");
    ew_watch *w = open_watch("/slow", &EW_WATCH_OPTIONS(.start_revision = first));
    expect_row(w, first, 1);
    put_many("/slow", 50);
    nanosleep(&(struct timespec){.tv_sec = 10}, NULL); /* longer than keepalive_time_ms + keepalive_timeout_ms */
    put_many("/slow", 50);
    expect_row(w, first + 1, 100);
    ew_watch_close(w);
}

static ew_client *client_with(const char *name, const char *value) {
    ew_options *o = etcd_server_options(server);
    ew_client *c;
    must(ew_options_set(o, name, value, &err));
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    return c;
}

/* etcd sends a backlog as one message in fragments. A client with a lower limit gets it in parts. */
static void test_a_backlog_larger_than_memory(void **state) {
    (void)state;
    enum { VALUE = 700000, COUNT = 30, LIMIT = 3 << 20 };
    char *value = calloc(1, VALUE);
    int64_t first = 0;
    size_t seen = 0, batches = 0;
    ew_client *small = client_with("max_receive_bytes", "3145728");
    for (int i = 0; i < COUNT; i++) {
        ew_result *r;
        must(ew_client_put(client, EW_STR("/large"), (ew_slice){value, VALUE}, NULL, &r, &err));
        first = first ? first : ew_result_revision(r);
        ew_result_free(r);
    }
    ew_watch *w;
    must(ew_watch_open(&w, small, ew_keys_prefix(EW_STR("/large")), &EW_WATCH_OPTIONS(.start_revision = first), &err));
    for (; seen < COUNT; batches++) {
        ew_watch_batch b = next(w);
        assert_true(b.count * VALUE <= 2 * LIMIT);
        for (size_t i = 0; i < b.count; i++, seen++) {
            assert_int_equal(b.events[i].kv.mod_revision, first + (int64_t)seen);
            assert_int_equal(b.events[i].kv.value.len, VALUE);
        }
    }
    assert_int_equal(seen, COUNT);
    assert_true(batches >= COUNT * VALUE / (2 * LIMIT));
    ew_watch_close(w);
    ew_client_close(small);
    must(ew_client_delete(client, ew_keys_one(EW_STR("/large")), NULL, NULL, &err));
    free(value);
}

static atomic_int renewals;

static void count_renewals(void *arg, const ew_log_record *record) {
    (void)arg;
    if (strcmp(record->message, "watch stream is silent; opening another one") == 0)
        atomic_fetch_add(&renewals, 1);
}

/* P2, P9: a quiet watch sends a liveness probe and stays open; without an answer it is opened again. How often the user
 * waits does not matter. */
static void test_silence(void **state) {
    (void)state;
    ew_client *alert = client_with("watch_silence_ms", "500");
    ew_watch_batch b;
    ew_watch *w;
    atomic_store(&renewals, 0);
    ew_log_set(count_renewals, NULL, EW_LOG_INFO);
    must(ew_watch_open(&w, alert, ew_keys_prefix(EW_STR("/silence")), NULL, &err));
    for (int i = 0; i < 30; i++)
        assert_int_equal(ew_watch_next(w, 100, &b, &err), EW_ERR_TIMEOUT);
    for (int i = 0; i < 4; i++) { /* the watch makes progress only while the user waits */
        nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
        assert_int_equal(ew_watch_next(w, 0, &b, &err), EW_ERR_TIMEOUT);
    }
    assert_int_equal(atomic_load(&renewals), 0);
    expect_row(w, put("/silence", "0"), 1); /* a stream that a busy machine has lost is open again */
    etcd_server_pause(server);
    for (int i = 0; i < 600 && atomic_load(&renewals) == 0; i++) { /* in a loop of the program */
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        assert_int_equal(ew_watch_next(w, 0, &b, &err), EW_ERR_TIMEOUT);
    }
    assert_int_equal(ew_watch_next(w, 1000, &b, &err), EW_ERR_TIMEOUT);
    etcd_server_resume(server);
    assert_in_range(atomic_load(&renewals), 1, 6);
    expect_row(w, put("/silence", "1"), 1);
    ew_log_set(NULL, NULL, EW_LOG_WARN);
    ew_watch_close(w);
    ew_client_close(alert);
}

/* A message that takes longer than the allowed silence still arrives. */
static void test_a_large_message_on_a_slow_connection(void **state) {
    (void)state;
    enum { VALUE = 1000000 };
    char *value = calloc(1, VALUE);
    fault_proxy *proxy = fault_proxy_open(server->address);
    ew_options *o = etcd_server_options(server);
    ew_client *far;
    ew_watch *w;
    must(ew_options_set(o, "endpoints", fault_proxy_endpoint(proxy), &err));
    must(ew_options_set(o, "watch_silence_ms", "500", &err));
    must(ew_client_open(&far, o, &err));
    ew_options_free(o);
    must(ew_watch_open(&w, far, ew_keys_prefix(EW_STR("/slow-connection")), NULL, &err));
    fault_proxy_throttle(proxy, 400000); /* 2.5 s */
    must(ew_client_put(client, EW_STR("/slow-connection"), (ew_slice){value, VALUE}, NULL, NULL, &err));
    ew_watch_batch b = next(w);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.events[0].kv.value.len, VALUE);
    ew_watch_close(w);
    ew_client_close(far);
    fault_proxy_close(proxy);
    must(ew_client_delete(client, ew_keys_one(EW_STR("/slow-connection")), NULL, NULL, &err));
    free(value);
}

typedef struct cancelling {
    ew_watch *watch; /* NULL: cancel all of the client's */
    ew_client *client;
} cancelling;

static void *cancel_later(void *arg) {
    cancelling *c = arg;
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    if (c->watch)
        ew_watch_cancel(c->watch);
    else
        ew_client_cancel(c->client);
    return NULL;
}

static void test_cancel(void **state) {
    (void)state;
    ew_watch *w = open_watch("/cancel", NULL);
    ew_watch_batch b;
    pthread_t thread;
    cancelling all = {.client = client}, one = {.watch = w};
    pthread_create(&thread, NULL, cancel_later, &all);
    assert_int_equal(ew_watch_next(w, -1, &b, &err), EW_ERR_CANCELLED);
    pthread_join(thread, NULL);
    int64_t revision = put("/cancel", "x"); /* that applied to waiting calls: the watch goes on */
    expect_row(w, revision, 1);
    pthread_create(&thread, NULL, cancel_later, &one);
    assert_int_equal(ew_watch_next(w, -1, &b, &err), EW_ERR_CANCELLED);
    pthread_join(thread, NULL);
    assert_int_equal(ew_watch_next(w, -1, &b, &err), EW_ERR_CANCELLED); /* this cancel is permanent */
    ew_watch_close(w);
}

static void test_refused(void **state) {
    (void)state;
    ew_watch *w;
    assert_int_equal(ew_watch_open(&w, client, ew_keys_one((ew_slice){NULL, 0}), NULL, &err), EW_ERR_INVALID);
    assert_null(w);
    /* etcd refuses an empty range: created and canceled in one message (P10). */
    ew_keys nothing = ew_keys_between(EW_STR("b"), EW_STR("a"));
    assert_int_equal(ew_watch_open(&w, client, nothing, NULL, &err), EW_ERR_INVALID);
    assert_null(w);
    assert_true(strlen(err.detail) > 0);

    ew_options *o = etcd_server_options(server);
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", etcd_free_port());
    ew_options_set(o, "endpoints", endpoint, NULL);
    ew_options_set_int(o, "call_timeout_ms", 300, NULL);
    ew_client *nobody;
    must(ew_client_open(&nobody, o, &err));
    ew_options_free(o);
    assert_int_equal(ew_watch_open(&w, nobody, ew_keys_prefix(EW_STR("/")), NULL, &err), EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, endpoint));
    ew_client_close(nobody);
}

/* ---- rewritten history ---- */

/* A private etcd and fault proxy. The client has watched up to `*seen`; then etcd is restored from an earlier state. */
typedef struct restored {
    etcd_server *server;
    ew_client *client, *past; /* through the fault proxy; directly */
    fault_proxy *proxy;
    ew_watch *watch;
    int64_t seen;
} restored;

static int64_t put_past(restored *r, const char *key) {
    ew_result *result;
    must(ew_client_put(r->past, ew_str(key), EW_STR("x"), NULL, &result, &err));
    int64_t revision = ew_result_revision(result);
    ew_result_free(result);
    return revision;
}

static void restore(restored *r) {
    char path[192];
    *r = (restored){.server = etcd_server_start(NULL)};
    snprintf(path, sizeof path, "%s/saved", r->server->dir);
    r->proxy = fault_proxy_open(r->server->address);
    r->client = open_client_at(fault_proxy_endpoint(r->proxy), "", 10000);
    r->past = etcd_server_client(r->server);
    put_past(r, "/h/before");
    must(ew_watch_open(&r->watch, r->client, ew_keys_prefix(EW_STR("/h/")), NULL, &err));
    etcd_server_save(r->server, path);
    for (int i = 0; i < 5; i++)
        r->seen = put_past(r, "/h/phantom");
    while (next(r->watch).revision < r->seen)
        continue;
    fault_proxy_cut(r->proxy);
    ew_client_close(r->past);
    etcd_server_kill(r->server);
    etcd_server_restore(r->server, path);
    etcd_server_restart(r->server);
    r->past = etcd_server_client(r->server);
}

static void ends_fallen(restored *r) {
    char seen[32];
    ew_watch_batch b;
    snprintf(seen, sizeof seen, "%lld", (long long)r->seen);
    for (int i = 0; i < 2; i++) { /* the error is returned again */
        assert_int_equal(ew_watch_next(r->watch, 30000, &b, &err), EW_ERR_REVISION_FELL);
        if (!strstr(err.detail, seen) || !strstr(err.detail, "older state"))
            fail_msg("%s", err.detail);
    }
    ew_watch_close(r->watch);
    ew_client_close(r->client);
    ew_client_close(r->past);
    fault_proxy_close(r->proxy);
    etcd_server_free(r->server);
}

static void test_the_revision_fell(void **state) {
    (void)state;
    restored r;
    restore(&r);
    fault_proxy_mend(r.proxy);
    ends_fallen(&r);
}

static void test_the_history_was_rewritten(void **state) {
    (void)state;
    restored r;
    restore(&r);
    while (put_past(&r, "/h/other") <= r.seen)
        continue;
    fault_proxy_mend(r.proxy);
    ends_fallen(&r);
}

/* It is closed while the question is in flight. */
static void test_closed_while_asking(void **state) {
    (void)state;
    restored r;
    ew_watch_batch b;
    restore(&r);
    fault_proxy_mend(r.proxy);
    assert_int_equal(ew_watch_next(r.watch, 20, &b, &err), EW_ERR_TIMEOUT);
    ew_watch_close(r.watch);
    ew_client_close(r.client);
    ew_client_close(r.past);
    fault_proxy_close(r.proxy);
    etcd_server_free(r.server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_whole_revisions),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_compacted),
        cmocka_unit_test(test_a_start_in_the_future),
        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_the_longest_wait),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_reconnects),
        cmocka_unit_test(test_reconnects_before_the_first_event),
        cmocka_unit_test(test_slow_user),
        cmocka_unit_test(test_a_backlog_larger_than_memory),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_a_large_message_on_a_slow_connection),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_the_revision_fell),
        cmocka_unit_test(test_the_history_was_rewritten),
        cmocka_unit_test(test_closed_while_asking),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
