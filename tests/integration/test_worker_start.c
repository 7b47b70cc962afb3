/* The start of a worker: which keys it sees, the first snapshot, the first tick, the delete counter (SEMANTICS 1-4, 9).
 */
#include "lib/scenario.h"

#include <stdio.h>
#include <stdlib.h>

static const char COUNTER[] = "/meta/ticdc-delete-etcd-key-count";
static const char LONG_MS[] = "3600000";

/* ---- the prefix ---- */

/* Records the keys that a tick sees, separated by spaces. */
static int list_keys(worker_fixture *f, ew_tick *t) {
    char *out = f->arg;
    ew_entry e = {0};
    size_t count = 0;
    out[0] = '\0';
    for (; ew_tick_scan(t, EW_STR(""), &e); count++) {
        size_t at = strlen(out);
        snprintf(out + at, 1024 - at, "%s%.*s", at > 0 ? " " : "", (int)e.key.len, (const char *)e.key.data);
    }
    EXPECT(f, count == ew_tick_count(t));
    return EW_OK;
}

static void check_keys(const char *prefix, const char *match, const char *expected, const char *expected_later) {
    char keys[1024];
    worker_fixture f;
    client_put("/a", "bare");
    client_put("/a/x", "1");
    client_put("/a/y", "2");
    client_put("/a-b", "sibling");
    client_put("/ab", "sibling");
    client_put("/a0", "sibling");
    worker_fixture_open(&f, prefix);
    worker_fixture_set(&f, "prefix_match", match);
    f.arg = keys;
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_do(&f, list_keys);
    assert_string_equal(keys, expected);
    client_put("/a-c", "sibling"); /* in etcd's range of the watch, but not of the prefix */
    client_put("/ac", "sibling");
    worker_fixture_await_tick(&f, client_put("/a/z", "3"));
    worker_fixture_do(&f, list_keys);
    assert_string_equal(keys, expected_later);
    assert_int_equal(f.event_count, worker_fixture_stats(&f).keys);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/a");
}

/* SEMANTICS 2: the bare key and everything below it, never a sibling, however the prefix is written. */
static void test_path_prefix(void **state) {
    (void)state;
    check_keys("a", "path", "/a /a/x /a/y", "/a /a/x /a/y /a/z");
    check_keys("a/", "path", "/a /a/x /a/y", "/a /a/x /a/y /a/z");
    check_keys("/a/", "path", "/a /a/x /a/y", "/a /a/x /a/y /a/z");
}

/* SEMANTICS 2: `textual` matches as TiCDC does. */
static void test_textual_prefix(void **state) {
    (void)state;
    check_keys("/a", "textual", "/a /a-b /a/x /a/y /a0 /ab", "/a /a-b /a-c /a/x /a/y /a/z /a0 /ab /ac");
}

static int write_something(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/own"), EW_STR("1"));
}

/* SEMANTICS 2, 9, 22: an empty prefix is the whole keyspace, except for etcdworker's own keys. */
static void test_whole_keyspace(void **state) {
    (void)state;
    char keys[1024];
    worker_fixture f;
    client_put("/z", "1");
    client_put("no-slash", "1");
    worker_fixture_open(&f, "");
    f.arg = keys;
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_do(&f, write_something);
    worker_fixture_do(&f, list_keys);
    assert_string_equal(keys, "/own /z no-slash");
    assert_int_equal(client_count("/etcdworker/receipts/"), 1);
    for (size_t i = 0; i < f.event_count; i++)
        assert_null(strstr(f.events[i].key, "receipts"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/z");
    client_delete("/own");
    client_delete("no-slash");
}

/* ---- the snapshot ---- */

enum { MANY = 2000 };

static void put_many(size_t value_size) {
    char *value = malloc(value_size);
    assert_non_null(value);
    memset(value, 'v', value_size);
    for (int i = 0; i < MANY; i++) {
        char key[64];
        int number = i * 7919 % MANY; /* not in order */
        snprintf(key, sizeof key, "/load/%05d", number);
        client_put_slice(ew_str(key), (ew_slice){value, value_size}, 0);
    }
    free(value);
}

/* SEMANTICS 3: the snapshot comes first, as initial puts in key order, whatever its size; later events are not initial;
 * the model is reset once, before all of it. */
static void test_snapshot_in_pages(void **state) {
    (void)state;
    worker_fixture f;
    put_many(500);
    worker_fixture_open(&f, "/load");
    worker_fixture_set(&f, "page_bytes", "65536");
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    assert_int_equal(f.event_count, MANY);
    client_put("/load/00000", "new");
    worker_fixture_await_events(&f, MANY + 1);
    for (size_t i = 0; i < MANY; i++) {
        char key[64];
        snprintf(key, sizeof key, "/load/%05zu", i);
        assert_string_equal(f.events[i].key, key);
        assert_true(f.events[i].initial && f.events[i].kind == EW_EVENT_PUT && f.events[i].ticks == 0);
        assert_int_equal(f.events[i].value_len, 500);
    }
    worker_fixture_assert_event(&f, MANY, EW_EVENT_PUT, false, "/load/00000", "new");
    assert_int_equal(f.resets, 1);
    assert_int_equal(worker_fixture_stats(&f).snapshots, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/load/");
}

/* SEMANTICS 3: the first tick comes as soon as the snapshot is complete, however long the timer. */
static void test_first_tick_does_not_wait_for_the_timer(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/first");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    /* the tick for an event does not wait for the timer either */
    worker_fixture_await_tick(&f, client_put("/first/a", "1"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

static bool is_loaded(void *arg) {
    ew_worker_stats stats = worker_fixture_stats(arg);
    return stats.ready && stats.snapshots == 1;
}

/* SEMANTICS 3: with `tick_on_load = off` the first tick comes with the first change. */
static void test_tick_on_load_off(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/first/a", "0");
    worker_fixture_open(&f, "/first");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "tick_on_load", "off");
    worker_fixture_start(&f);
    assert_true(env_until(is_loaded, &f));
    assert_int_equal(worker_fixture_ticks(&f), 0);
    int64_t revision = client_put("/first/a", "1");
    worker_fixture_await_tick(&f, revision);
    assert_int_equal(f.ticks, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* ---- the delete counter ---- */

static void check_corrupt_counter(const char *value, bool while_running) {
    char key[64];
    worker_fixture f;
    snprintf(key, sizeof key, "/corrupt%s", COUNTER);
    worker_fixture_open(&f, "/corrupt");
    if (!while_running)
        client_put(key, value);
    worker_fixture_start(&f);
    if (while_running) {
        worker_fixture_await_ticks(&f, 1);
        client_put(key, value);
    }
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_BAD_COUNTER);
    assert_non_null(strstr(f.err.detail, key));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_BAD_COUNTER);
    client_delete(key);
}

/* SEMANTICS 4: a counter that is not a decimal number above 0 is an error that names the key. */
static void test_corrupt_counter(void **state) {
    (void)state;
    const char *const values[] = {"abc", "0", "-3", "12x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        check_corrupt_counter(values[i], false);
        check_corrupt_counter(values[i], true);
    }
}

static int delete_one(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_delete(ew_tick_group(t), EW_STR("/count/a"));
}

static int put_one(worker_fixture *f, ew_tick *t) {
    ew_entry e;
    EXPECT(f, ew_tick_get(t, EW_STR("/count/meta/ticdc-delete-etcd-key-count"), &e) == EW_ERR_NOT_FOUND);
    return ew_group_put(ew_tick_group(t), EW_STR("/count/a"), EW_STR("1"));
}

/* SEMANTICS 9, 24: each transaction with a deletion increments the counter by one. The reactor never sees it. After an
 * external deletion it starts at 0 again. */
static void test_counter_is_hidden_and_reset(void **state) {
    (void)state;
    char counter[64], keys[1024];
    worker_fixture f;
    snprintf(counter, sizeof counter, "/count%s", COUNTER);
    worker_fixture_open(&f, "/count");
    f.updates = true;
    f.arg = keys;
    worker_fixture_start(&f);
    for (int i = 1; i <= 3; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        worker_fixture_do(&f, put_one);
        worker_fixture_do(&f, delete_one);
        assert_string_equal(client_get(counter).value, number);
    }
    worker_fixture_await_tick(&f, client_put("/count/b", "1"));
    worker_fixture_do(&f, list_keys);
    assert_string_equal(keys, "/count/b");
    client_delete(counter);
    worker_fixture_do(&f, put_one);
    worker_fixture_do(&f, delete_one);
    assert_string_equal(client_get(counter).value, "1");
    for (size_t i = 0; i < f.event_count; i++)
        assert_null(strstr(f.events[i].key, COUNTER));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* SEMANTICS 9: the counter is not part of the snapshot; a worker that starts later continues from it. */
static void test_counter_in_the_snapshot(void **state) {
    (void)state;
    char counter[64];
    worker_fixture f;
    snprintf(counter, sizeof counter, "/count%s", COUNTER);
    client_put(counter, "41");
    client_put("/count/a", "1");
    worker_fixture_open(&f, "/count");
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_do(&f, delete_one);
    assert_string_equal(client_get(counter).value, "42");
    for (size_t i = 0; i < f.event_count; i++)
        assert_null(strstr(f.events[i].key, COUNTER));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* SEMANTICS 9: TiCDC 6.2 and newer keep the counter elsewhere. The old counter's key is then an ordinary key. */
static void test_counter_of_newer_ticdc(void **state) {
    (void)state;
    static const char newer[] = "/count/__cdc_meta__/meta/ticdc-delete-etcd-key-count";
    char keys[1024];
    worker_fixture f;
    client_delete_prefix("/count");
    client_put(newer, "41");
    client_put("/count/a", "1");
    client_put("/count/meta/ticdc-delete-etcd-key-count", "no number");
    worker_fixture_open(&f, "/count");
    worker_fixture_set(&f, "delete_counter_key", "__cdc_meta__/meta/ticdc-delete-etcd-key-count");
    f.arg = keys;
    worker_fixture_start(&f);
    worker_fixture_do(&f, delete_one);
    assert_string_equal(client_get(newer).value, "42");
    worker_fixture_do(&f, list_keys);
    assert_string_equal(keys, "/count/meta/ticdc-delete-etcd-key-count");
    client_put(newer, "no number");
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_BAD_COUNTER);
    assert_non_null(strstr(f.err.detail, newer));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_BAD_COUNTER);
    client_delete_prefix("/count");
}

static int no_tick(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_OK;
}

/* Options that contradict each other are refused when the worker is created, and named. */
static void test_options_that_contradict(void **state) {
    (void)state;
    static const char *const cases[][5] = {
        {"max_txn_keys", "127", NULL, NULL, "max_txn_keys = 127: max_txn_ops = 128 leaves 126 keys"},
        {"max_txn_keys", "20", "max_txn_ops", "21", "max_txn_ops = 21 leaves 19 keys"},
        {"max_txn_keys", "21", "max_txn_ops", "23", NULL},
        {"delete_counter_key", "", NULL, NULL, "delete_counter_key = \"\""},
        {"delete_counter_key", "/count/meta", NULL, NULL, "delete_counter_key = \"/count/meta\""},
        {"delete_counter_key", "meta/", NULL, NULL, "without '/' at its start or end"},
        {"delete_counter_key", "etcdworker/receipts/x", "prefix", "", "lies below receipt_prefix"},
        {"delete_counter_key", "x", "prefix", "", NULL},
        {"worker_id", "submit/63", NULL, NULL, "worker_id = \"submit/63\": must not contain '/'"},
        {"worker_id", "/", NULL, NULL, "worker_id = \"/\""},
        {"worker_id", "submit", NULL, NULL, NULL},
    };
    static const ew_reactor reactor = EW_REACTOR(.tick = no_tick);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ew_worker *w;
        ew_error err = {0};
        ew_options *o = env_options("/count");
        assert_int_equal(ew_options_set(o, cases[i][0], cases[i][1], &err), EW_OK);
        if (cases[i][2])
            assert_int_equal(ew_options_set(o, cases[i][2], cases[i][3], &err), EW_OK);
        int status = ew_worker_open(&w, o, &reactor, NULL, &err);
        assert_int_equal(status, cases[i][4] ? EW_ERR_INVALID : EW_OK);
        if (cases[i][4] && !strstr(err.detail, cases[i][4]))
            fail_msg("case %zu: %s", i, err.detail);
        ew_worker_close(w);
        ew_options_free(o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_path_prefix),
        env_test(test_textual_prefix),
        env_test(test_whole_keyspace),
        env_test(test_snapshot_in_pages),
        env_test(test_first_tick_does_not_wait_for_the_timer),
        env_test(test_tick_on_load_off),
        env_test(test_corrupt_counter),
        env_test(test_counter_is_hidden_and_reset),
        env_test(test_counter_in_the_snapshot),
        env_test(test_counter_of_newer_ticdc),
        env_test(test_options_that_contradict),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
