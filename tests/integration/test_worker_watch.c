/* What the watch must survive: a backlog, a compaction while disconnected, a server that stops and restarts (SEMANTICS
 * 11, 13, 14). */
#include "lib/fault_proxy.h"
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char LONG_MS[] = "3600000";

static int hold(worker_fixture *f, ew_tick *t) {
    (void)t;
    worker_fixture_hold(f);
    return EW_OK;
}

/* ---- a backlog ---- */

enum { BACKLOG = 5000, VALUE_BYTES = 2000 };

static int64_t put_numbered(int number) {
    char value[VALUE_BYTES + 1];
    memset(value, '.', VALUE_BYTES);
    int n = snprintf(value, sizeof value, "%d", number);
    value[n] = ' ';
    return client_put_slice(EW_STR("/backlog/a"), (ew_slice){value, VALUE_BYTES}, 0);
}

static void check_numbers(worker_fixture *f, size_t first) {
    for (size_t i = 0; i < BACKLOG; i++) {
        const worker_fixture_event *e = &f->events[first + i];
        assert_int_equal(strtol(e->value, NULL, 10), i);
        assert_int_equal(e->value_len, VALUE_BYTES);
        assert_true(i == 0 || e->mod_revision > f->events[first + i - 1].mod_revision);
    }
}

/* SEMANTICS 11, ETCD P1: while the reactor is in a tick, 10 MB of changes arrive: the mailbox fills, the watcher stops
 * reading the stream, and etcd falls behind by more than a thousand revisions. It then sends them in responses with the
 * same header revision. Every change arrives, once and in order. */
static void test_backlog_of_a_slow_reactor(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/backlog");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "mailbox_messages", "2");
    f.updates = true;
    worker_fixture_begin(&f, hold);
    worker_fixture_start(&f);
    worker_fixture_await_held(&f);
    int64_t revision = 0;
    for (int i = 0; i < BACKLOG; i++)
        revision = put_numbered(i);
    worker_fixture_release(&f);
    worker_fixture_await_tick(&f, revision);
    assert_int_equal(f.event_count, BACKLOG);
    check_numbers(&f, 0);
    assert_int_equal(worker_fixture_stats(&f).snapshots, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/backlog/a");
}

static bool has_reconnected_more(void *arg) {
    worker_fixture *f = arg;
    return worker_fixture_stats(f).reconnects > *(uint64_t *)f->arg;
}

/* The same with a watch whose connection breaks repeatedly meanwhile: no stream is read before there is space for its
 * events, and the last one continues where the first one was. */
static void test_backlog_of_a_slow_reactor_and_a_broken_connection(void **state) {
    (void)state;
    worker_fixture f;
    uint64_t reconnects = 0;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    worker_fixture_open(&f, "/backlog");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(&f, "session_ttl_s", "60");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "mailbox_messages", "2");
    f.updates = true;
    f.arg = &reconnects;
    worker_fixture_begin(&f, hold);
    worker_fixture_start(&f);
    worker_fixture_await_held(&f);
    int64_t revision = 0;
    for (int i = 0; i < BACKLOG; i++) {
        revision = put_numbered(i);
        if (i % (BACKLOG / 4) != 0)
            continue;
        reconnects = worker_fixture_stats(&f).reconnects;
        fault_proxy_cut(proxy);
        fault_proxy_mend(proxy);
        assert_true(env_until(has_reconnected_more, &f));
    }
    worker_fixture_release(&f);
    worker_fixture_await_tick(&f, revision);
    worker_fixture_await_ready(&f, true);
    assert_int_equal(f.event_count, BACKLOG);
    check_numbers(&f, 0);
    assert_int_equal(worker_fixture_stats(&f).snapshots, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
    client_delete("/backlog/a");
}

/* After its connection was cut, the watch continues where it was. */
static void test_backlog_after_a_cut_connection(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    worker_fixture_open(&f, "/backlog");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(&f, "session_ttl_s", "60");
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_total(&f, 1);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    int64_t revision = 0;
    for (int i = 0; i < BACKLOG; i++)
        revision = put_numbered(i);
    fault_proxy_mend(proxy);
    worker_fixture_await_tick(&f, revision);
    worker_fixture_await_ready(&f, true);
    assert_int_equal(f.event_count, BACKLOG);
    check_numbers(&f, 0);
    ew_worker_stats stats = worker_fixture_stats(&f);
    assert_int_equal(stats.snapshots, 1);
    assert_true(stats.reconnects >= 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
    client_delete("/backlog/a");
}

/* ---- a model that falls behind ---- */

/* SEMANTICS 8: events wait for the reactor, up to `max_pending_update_bytes`. Beyond that its model is reset, and it is
 * shown the whole prefix again. */
static void test_a_model_that_falls_too_far_behind(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/backlog/kept", "1");
    worker_fixture_open(&f, "/backlog");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "max_pending_update_bytes", "65536");
    f.updates = true;
    worker_fixture_begin(&f, hold);
    worker_fixture_start(&f);
    worker_fixture_await_held(&f);
    for (int i = 0; i < 200; i++)
        put_numbered(i);
    int64_t revision = client_delete("/backlog/a");
    worker_fixture_release(&f);
    worker_fixture_await_tick(&f, revision);
    assert_true(f.resets >= 2);
    assert_int_equal(worker_fixture_stats(&f).snapshots, 1); /* no second load: the cache has everything */
    worker_fixture_await_tick(&f, client_put("/backlog/new", "1"));
    /* The model after its last reset: first initial puts of the existing keys, then events. */
    bool kept = false, other = false, fresh = false;
    for (size_t i = 0; i < f.event_count; i++) {
        const worker_fixture_event *e = &f.events[i];
        bool put = e->kind == EW_EVENT_PUT;
        if (e->resets < f.resets)
            continue;
        if (strcmp(e->key, "/backlog/kept") == 0)
            kept = put && e->initial;
        else if (strcmp(e->key, "/backlog/new") == 0)
            fresh = put && !e->initial;
        else
            other = put;
    }
    assert_true(kept && fresh && !other);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/backlog/");
}

/* ---- compaction ---- */

static const worker_fixture_event *find_after(worker_fixture *f, size_t first, const char *key) {
    const worker_fixture_event *found = NULL;
    for (size_t i = first; i < f->event_count; i++) {
        if (strcmp(f->events[i].key, key) == 0) {
            assert_null(found); /* one event for each key */
            found = &f->events[i];
        }
    }
    return found;
}

static void assert_change(const worker_fixture_event *e, ew_event_kind kind, const char *value) {
    assert_non_null(e);
    assert_int_equal(e->kind, kind);
    assert_false(e->initial);
    assert_string_equal(e->value, value);
}

static bool has_two_snapshots(void *arg) {
    return worker_fixture_stats(arg).snapshots == 2;
}

/* SEMANTICS 13: compaction is not an error. After it, keys that vanished are deletes, changed keys are puts, and there
 * is nothing for the others. No tick comes in between: the reactor goes from one revision to the other in one step. */
static void test_compaction_while_disconnected(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    client_put("/compact/same", "1");
    client_put("/compact/changed", "1");
    client_put("/compact/vanished", "1");
    client_put("/compact/recreated", "1");
    worker_fixture_open(&f, "/compact");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(&f, "session_ttl_s", "60");
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_events(&f, 4);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    client_put("/compact/changed", "2");
    client_put("/compact/changed", "3");
    client_delete("/compact/vanished");
    client_delete("/compact/recreated");
    client_put("/compact/recreated", "2");
    client_put("/compact/new", "1");
    client_put("/compact/shortlived", "1");
    client_delete("/compact/shortlived");
    int64_t revision = client_revision();
    client_compact(revision);
    fault_proxy_mend(proxy);
    worker_fixture_await_tick(&f, revision);
    assert_true(env_until(has_two_snapshots, &f));
    worker_fixture_await_events(&f, 4 + 4); /* the snapshot is counted before the reactor is shown it */
    assert_int_equal(f.event_count, 4 + 4);
    assert_change(find_after(&f, 4, "/compact/changed"), EW_EVENT_PUT, "3");
    assert_change(find_after(&f, 4, "/compact/vanished"), EW_EVENT_DELETE, "");
    assert_change(find_after(&f, 4, "/compact/recreated"), EW_EVENT_PUT, "2");
    assert_change(find_after(&f, 4, "/compact/new"), EW_EVENT_PUT, "1");
    for (size_t i = 5; i < 8; i++)
        assert_int_equal(f.events[i].ticks, f.events[4].ticks);
    assert_int_equal(f.resets, 1); /* not a new start */
    int64_t later = client_put("/compact/same", "2");
    worker_fixture_await_tick(&f, later);
    worker_fixture_assert_event(&f, 8, EW_EVENT_PUT, false, "/compact/same", "2");
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

static int write_own(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/compact/own"), EW_STR("1"));
}

/* SEMANTICS 13, 9: a compaction that hides the deletion of the delete counter; commits must go on after it. */
static void test_compaction_hides_the_counters_deletion(void **state) {
    (void)state;
    worker_fixture f;
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    client_put("/compact/meta/ticdc-delete-etcd-key-count", "7");
    worker_fixture_open(&f, "/compact");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(&f, "session_ttl_s", "60");
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_do(&f, write_own);
    fault_proxy_cut(proxy);
    worker_fixture_await_ready(&f, false);
    client_delete("/compact/meta/ticdc-delete-etcd-key-count");
    client_put("/compact/same", "3");
    client_compact(client_revision());
    fault_proxy_mend(proxy);
    worker_fixture_do(&f, write_own);
    assert_int_equal(client_get("/compact/own").version, 2);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
    client_delete_prefix("/compact/");
}

/* ---- compactions while the prefix is loaded ---- */

enum { LOAD_KEYS = 12000, COMPACT_EVERY_MS = 400 };

#define CHANGING "/load/000000"

/* Writes a key of the prefix, another value each time, and compacts, again and again, until it is stopped. */
typedef struct compactor {
    ew_client *client;
    pthread_t thread;
    atomic_bool over;
    atomic_uint compactions;
    char last[16]; /* value */
    int64_t revision;
} compactor;

static void *compact_again(void *arg) {
    compactor *c = arg;
    int64_t next_ms = env_now_ms();
    while (!c->over) {
        ew_result *r = NULL;
        snprintf(c->last, sizeof c->last, "%u", c->compactions);
        if (ew_client_put(c->client, EW_STR(CHANGING), ew_str(c->last), NULL, &r, NULL) == EW_OK) {
            c->revision = ew_result_revision(r);
            c->compactions += ew_client_compact(c->client, c->revision, NULL, NULL) == EW_OK;
        }
        ew_result_free(r);
        next_ms += COMPACT_EVERY_MS;
        while (!c->over && env_now_ms() < next_ms)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static void compactor_start(compactor *c) {
    *c = (compactor){0};
    ew_options *o = env_options("");
    assert_int_equal(ew_client_open(&c->client, o, NULL), EW_OK);
    ew_options_free(o);
    assert_int_equal(pthread_create(&c->thread, NULL, compact_again, c), 0);
}

static unsigned compactor_end(compactor *c) {
    c->over = true;
    pthread_join(c->thread, NULL);
    ew_client_close(c->client);
    return c->compactions;
}

static void fill_for_a_load(void) {
    ew_error err = {0};
    char value[100];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < LOAD_KEYS; i += 100) {
        ew_txn *t = ew_txn_new();
        for (int k = i; k < i + 100; k++) {
            char key[64];
            snprintf(key, sizeof key, "/load/%06d", k);
            ew_txn_put(t, EW_THEN, ew_str(key), (ew_slice){value, sizeof value}, NULL);
        }
        assert_int_equal(ew_client_txn(client_handle(), t, NULL, &err), EW_OK);
        ew_txn_free(t);
    }
}

/* Opens a worker with so small pages and so slow a connection that a compaction comes long before all pages are loaded.
 */
static fault_proxy *fixture_on_a_slow_connection(worker_fixture *f) {
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    fault_proxy_delay(proxy, 30);
    worker_fixture_open(f, "/load");
    worker_fixture_set(f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(f, "page_bytes", "65536");
    worker_fixture_set(f, "session_ttl_s", "60");
    return proxy;
}

static int count_keys(worker_fixture *f, ew_tick *t) {
    EXPECT(f, ew_tick_count(t) == LOAD_KEYS);
    return EW_OK;
}

/* SEMANTICS 13: pages grow until the load is faster than the compactions. */
static void test_compactions_while_loading(void **state) {
    (void)state;
    worker_fixture f;
    compactor c;
    fill_for_a_load();
    fault_proxy *proxy = fixture_on_a_slow_connection(&f);
    compactor_start(&c);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    assert_true(compactor_end(&c) > 1);
    worker_fixture_do(&f, count_keys);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

static int sees_the_last(worker_fixture *f, ew_tick *t) {
    ew_entry e;
    EXPECT(f, ew_tick_get(t, EW_STR(CHANGING), &e) == EW_OK && ew_slice_equal(e.value, ew_str(f->arg)));
    return count_keys(f, t);
}

/* A page and the start of the watch after it take longer than the time to the next compaction, whatever the size of the
 * page: the watch is opened first, and changes during the load are not lost. */
static void test_compactions_faster_than_any_load(void **state) {
    (void)state;
    worker_fixture f;
    compactor c;
    fill_for_a_load();
    fault_proxy *proxy = fixture_on_a_slow_connection(&f);
    fault_proxy_delay(proxy, 300);
    compactor_start(&c);
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    assert_true(compactor_end(&c) > 2);
    worker_fixture_await_tick(&f, c.revision);
    f.arg = c.last;
    worker_fixture_do(&f, sees_the_last);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
}

static atomic_uint missing_said;

static void take_record(void *arg, const ew_log_record *record) {
    (void)arg;
    if (strstr(record->message, "is missing") || strstr(record->message, "is still missing"))
        missing_said++;
}

/* If no page may be large enough, the error names what keeps the prefix from being loaded. etcd answers all the time,
 * and is not reported as missing. */
static void test_compactions_that_never_let_it_load(void **state) {
    (void)state;
    worker_fixture f;
    compactor c;
    fault_proxy *proxy = fixture_on_a_slow_connection(&f);
    fault_proxy_delay(proxy, 300);
    worker_fixture_set(&f, "max_receive_bytes", "1048576"); /* the prefix is larger */
    worker_fixture_set(&f, "exactly_once", "off");
    worker_fixture_set(&f, "start_timeout_ms", "8000");
    missing_said = 0;
    compactor_start(&c);
    worker_fixture_start(&f);
    assert_string_equal(ew_errname(worker_fixture_await_end(&f)), "EW_ERR_COMPACTED");
    assert_non_null(strstr(f.err.detail, "within start_timeout_ms: a compaction of etcd interrupted it"));
    assert_int_equal(missing_said, 0);
    compactor_end(&c);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_COMPACTED);
    fault_proxy_close(proxy);
    client_delete_prefix("/load/");
}

/* ---- the server stops and restarts ---- */

static int raise_by_one(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t number = 0;
    if (current && !ew_slice_int(current->value, &number))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, number + 1);
}

static int count(worker_fixture *f, ew_tick *t) {
    int *made = f->arg;
    ++*made;
    return ew_group_modify(ew_tick_group(t), EW_STR("/restart/n"), raise_by_one, NULL, NULL);
}

/* SEMANTICS 14: reconnects never end the run; `ready` shows them. Commits go on, each exactly once. */
static void test_etcd_restarts_under_a_running_worker(void **state) {
    (void)state;
    int made = 0;
    worker_fixture f;
    worker_fixture_open(&f, "/restart");
    f.every = count;
    f.arg = &made;
    worker_fixture_start(&f);
    for (int i = 0; i < 3; i++) {
        worker_fixture_await_ready(&f, true);
        worker_fixture_await_ticks(&f, 20);
        env_kill_etcd();
        worker_fixture_await_ready(&f, false);
        env_start_etcd();
    }
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_ticks(&f, 20);
    int64_t in_etcd = 0;
    ew_worker_stats stats = worker_fixture_stats(&f);
    assert_true(stats.reconnects >= 3);
    assert_int_equal(stats.snapshots, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_true(ew_slice_int(ew_str(client_get("/restart/n").value), &in_etcd));
    assert_true(in_etcd == made || in_etcd == made - 1); /* the stop may have interrupted the last one */
}

/* SEMANTICS 14: a server that is reachable but does not answer is detected, and waited for. */
static void test_etcd_is_frozen_under_a_running_worker(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/frozen");
    worker_fixture_set(&f, "session_ttl_s", "60");
    worker_fixture_set(&f, "watch_silence_ms", "500");
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    env_pause_etcd();
    worker_fixture_await_ready(&f, false);
    env_resume_etcd();
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_tick(&f, client_put("/frozen/a", "1"));
    worker_fixture_assert_event(&f, 0, EW_EVENT_PUT, false, "/frozen/a", "1");
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

static bool is_loaded_again(void *arg) {
    return worker_fixture_stats(arg).histories_rewritten == 1 && worker_fixture_stats(arg).keys == 0;
}

/* SEMANTICS 14: a server that lost its data, whose revision is below what was seen, is loaded as it is. */
static void test_etcd_lost_its_data(void **state) {
    (void)state;
    worker_fixture f;
    for (int i = 0; i < 20; i++)
        client_put("/lost/a", "1");
    worker_fixture_open(&f, "/lost");
    worker_fixture_set(&f, "exactly_once", "off"); /* without a session, whose lease is lost as well */
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_total(&f, 1);
    env_kill_etcd();
    env_wipe_etcd();
    env_start_etcd();
    assert_true(env_until(is_loaded_again, &f)); /* the same member has the same cluster id */
    worker_fixture_await_ready(&f, true);
    worker_fixture_await_tick(&f, client_put("/lost/a", "2"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_backlog_of_a_slow_reactor),
        env_test(test_backlog_of_a_slow_reactor_and_a_broken_connection),
        env_test(test_backlog_after_a_cut_connection),
        env_test(test_a_model_that_falls_too_far_behind),
        env_test(test_compaction_while_disconnected),
        env_test(test_compaction_hides_the_counters_deletion),
        env_test(test_compactions_while_loading),
        env_test(test_compactions_faster_than_any_load),
        env_test(test_compactions_that_never_let_it_load),
        env_test(test_etcd_restarts_under_a_running_worker),
        env_test(test_etcd_is_frozen_under_a_running_worker),
        env_test(test_etcd_lost_its_data),
    };
    ew_log_set(take_record, NULL, EW_LOG_WARN);
    return cmocka_run_group_tests(tests, env_open, env_close);
}
