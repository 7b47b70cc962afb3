/* TiCDC's smaller tests (SEMANTICS, scenarios): Finished, Cover, EmptyTxn, EmptyOrNil, ModifyAfterDelete. */
#include "lib/scenario.h"

#include <stdio.h>

/* Appends the text in `arg` to the value. */
static int append(void *arg, const ew_entry *current, ew_value *next) {
    char text[128];
    int len = current ? (int)current->value.len : 0;
    snprintf(text, sizeof text, "%.*s%s", len, len > 0 ? (const char *)current->value.data : "", (const char *)arg);
    return ew_value_set(next, ew_str(text));
}

static void append_to(ew_group *g, const char *key, char *text) {
    ew_group_modify(g, ew_str(key), append, text, NULL);
}

/* ---- Finished ---- */

static int finish(worker_fixture *f, ew_tick *t) {
    (void)f;
    append_to(ew_tick_group(t), "/finished/a", "1");
    append_to(ew_tick_group(t), "/finished/b", "2");
    return EW_FINISHED;
}

/* SEMANTICS 16: the patches of the last tick are committed, the run ends with success, and no tick follows. */
static void test_finished(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/finished");
    f.every = finish;
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_OK);
    assert_int_equal(f.ticks, 1);
    assert_string_equal(client_get("/finished/a").value, "1");
    assert_string_equal(client_get("/finished/b").value, "2");
    assert_int_equal(worker_fixture_close(&f), EW_OK);
}

static int finish_when_released(worker_fixture *f, ew_tick *t) {
    finish(f, t);
    worker_fixture_hold(f);
    return EW_FINISHED;
}

/* SEMANTICS 16: success is not returned while a group is undecided: a refused group is retried after the last tick. */
static void test_finished_with_a_conflict(void **state) {
    (void)state;
    worker_fixture f;
    client_delete_prefix("/finished/");
    worker_fixture_open(&f, "/finished");
    f.every = finish_when_released;
    worker_fixture_start(&f);
    worker_fixture_await_held(&f);
    client_put("/finished/a", "0");
    worker_fixture_release(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_OK);
    assert_int_equal(f.ticks, 1);
    assert_true(worker_fixture_stats(&f).groups_refused >= 1);
    assert_string_equal(client_get("/finished/a").value, "01");
    assert_string_equal(client_get("/finished/b").value, "2");
    assert_int_equal(worker_fixture_close(&f), EW_OK);
}

/* ---- Cover ---- */

static int cover_within_a_group(worker_fixture *f, ew_tick *t) {
    (void)f;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/cover/a"), EW_STR("x"));
    ew_group_put(g, EW_STR("/cover/b"), EW_STR("1"));
    ew_group_put(g, EW_STR("/cover/a"), EW_STR("y"));
    append_to(g, "/cover/a", "z");
    ew_group_delete(g, EW_STR("/cover/b"));
    ew_group_put(g, EW_STR("/cover/c"), EW_STR("gone"));
    ew_group_delete(g, EW_STR("/cover/c"));
    ew_group_delete(g, EW_STR("/cover/d"));
    append_to(g, "/cover/d", "back");
    return EW_OK;
}

/* SEMANTICS 19: the final value of each key is committed; a later patch sees the result of an earlier one. */
static void test_cover_within_a_group(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/cover/b", "old");
    client_put("/cover/d", "old");
    worker_fixture_open(&f, "/cover");
    worker_fixture_start(&f);
    worker_fixture_do(&f, cover_within_a_group);
    client_kv a = client_get("/cover/a"), d = client_get("/cover/d");
    assert_string_equal(a.value, "yz");
    assert_int_equal(a.version, 1); /* written once */
    assert_false(client_get("/cover/b").present);
    assert_false(client_get("/cover/c").present);
    assert_string_equal(d.value, "back");
    assert_int_equal(d.version, 2); /* changed in place, never deleted */
    assert_int_equal(a.mod_revision, d.mod_revision);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

static int cover_across_groups(worker_fixture *f, ew_tick *t) {
    static char digits[10][2] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    for (size_t i = 0; i < 10; i++) {
        ew_group *g = ew_tick_group(t);
        append_to(g, "/cover/order", digits[i]);
        ew_group_put(g, EW_STR("/cover/last"), ew_str(digits[i]));
    }
    if (f->arg)
        worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 19, 25: several groups of one tick write one key; all are applied, in order. */
static void test_cover_across_groups(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/cover");
    worker_fixture_start(&f);
    worker_fixture_do(&f, cover_across_groups);
    assert_string_equal(client_get("/cover/order").value, "0123456789");
    assert_string_equal(client_get("/cover/last").value, "9");
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* SEMANTICS 21: the same when an external writer has changed the key meanwhile. */
static void test_cover_across_groups_with_a_conflict(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/cover");
    f.arg = &f;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, cover_across_groups);
    worker_fixture_await_held(&f);
    client_put("/cover/order", "external ");
    worker_fixture_release(&f);
    worker_fixture_await_ticks(&f, 1);
    assert_string_equal(client_get("/cover/order").value, "external 0123456789");
    assert_string_equal(client_get("/cover/last").value, "9");
    assert_true(worker_fixture_stats(&f).groups_refused >= 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* ---- EmptyTxn ---- */

static int leave_out(void *arg, ew_view *view) {
    (void)arg;
    ew_view_put(view, EW_STR("/empty/never"), EW_STR("x"));
    return EW_IGNORE;
}

static int leave_unchanged(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg, (void)current, (void)next;
    return EW_UNCHANGED;
}

static int change_nothing(worker_fixture *f, ew_tick *t) {
    ew_tick_group(t);
    ew_group_patch(ew_tick_group(t), leave_out, NULL, NULL);
    ew_group_modify(ew_tick_group(t), EW_STR("/empty/a"), leave_unchanged, NULL, NULL);
    if (f->arg)
        ew_group_delete(ew_tick_group(t), EW_STR("/empty/missing"));
    worker_fixture_hold(f);
    return EW_OK;
}

enum { SOON_MS = 1500 }; /* TiCDC waits for a progress notification, two seconds or more */

static void check_the_next_tick_comes_soon(const char *delete_counter, bool delete_missing) {
    worker_fixture f;
    client_put("/empty/a", "1");
    worker_fixture_open(&f, "/empty");
    worker_fixture_set(&f, "delete_counter", delete_counter);
    worker_fixture_set(&f, "tick_interval_ms", "20");
    f.arg = delete_missing ? &f : NULL;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, change_nothing);
    worker_fixture_await_held(&f);
    uint64_t txns = worker_fixture_stats(&f).txns;
    for (int i = 0; i < 5; i++)
        client_put("/elsewhere", "x"); /* raises etcd's revision above everything that the watch will show */
    int64_t before_ms = env_now_ms();
    worker_fixture_release(&f);
    worker_fixture_await_ticks(&f, 2);
    assert_true(env_now_ms() - before_ms < SOON_MS);
    ew_worker_stats stats = worker_fixture_stats(&f);
    if (!delete_missing) {
        assert_int_equal(stats.txns, txns);
        assert_int_equal(stats.barrier_revision, -1);
    }
    assert_false(client_get("/empty/never").present);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* SEMANTICS 27: a group that changes nothing sends nothing and sets no barrier. */
static void test_empty_txn(void **state) {
    (void)state;
    check_the_next_tick_comes_soon("compat", false);
    check_the_next_tick_comes_soon("off", false);
}

/* SEMANTICS 27: deleting a key that does not exist creates no revision below the prefix that the watch could show. */
static void test_delete_of_a_missing_key(void **state) {
    (void)state;
    check_the_next_tick_comes_soon("compat", true);
    check_the_next_tick_comes_soon("off", true);
}

/* ---- EmptyOrNil ---- */

static int look_at_the_absent(void *arg, ew_view *view) {
    ew_entry e;
    EXPECT((worker_fixture *)arg, ew_view_get(view, EW_STR("/nil/absent"), &e) == EW_ERR_NOT_FOUND);
    EXPECT((worker_fixture *)arg, ew_view_get(view, EW_STR("/nil/empty"), &e) == EW_OK && e.value.len == 0);
    EXPECT((worker_fixture *)arg, ew_view_get(view, EW_STR("/nil/full"), &e) == EW_OK && e.value.len == 4);
    return ew_view_put(view, EW_STR("/nil/by-patch"), (ew_slice){0});
}

static int empty_of_empty(void *arg, const ew_entry *current, ew_value *next) {
    (void)next; /* `next` stays empty: an empty value */
    EXPECT((worker_fixture *)arg, current && current->value.len == 0);
    return EW_OK;
}

static int empty_of_absent(void *arg, const ew_entry *current, ew_value *next) {
    EXPECT((worker_fixture *)arg, !current);
    return ew_value_set(next, EW_STR(""));
}

static int write_empty(worker_fixture *f, ew_tick *t) {
    ew_entry e;
    EXPECT(f, ew_tick_get(t, EW_STR("/nil/empty"), &e) == EW_OK && e.value.len == 0 && e.mod_revision > 0);
    EXPECT(f, ew_tick_get(t, EW_STR("/nil/absent"), &e) == EW_ERR_NOT_FOUND);
    ew_group *g = ew_tick_group(t);
    ew_group_patch(g, look_at_the_absent, f, NULL);
    ew_group_modify(g, EW_STR("/nil/empty"), empty_of_empty, f, NULL);
    ew_group_modify(g, EW_STR("/nil/new"), empty_of_absent, f, NULL);
    ew_group_put(g, EW_STR("/nil/full"), EW_STR(""));
    return EW_OK;
}

/* SEMANTICS 10, 19: an empty value is a value, and absent is absent, in tick, view, modify and update. */
static void test_empty_or_nil(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/nil/empty", "");
    client_put("/nil/full", "full");
    worker_fixture_open(&f, "/nil");
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_do(&f, write_empty);
    assert_int_equal(f.event_count, 2 + 4);
    worker_fixture_assert_event(&f, 0, EW_EVENT_PUT, true, "/nil/empty", "");
    worker_fixture_assert_event(&f, 1, EW_EVENT_PUT, true, "/nil/full", "full");
    const char *keys[] = {"/nil/by-patch", "/nil/empty", "/nil/full", "/nil/new"};
    for (size_t i = 0; i < 4; i++) {
        bool found = false;
        for (size_t j = 2; j < f.event_count; j++)
            found |=
                strcmp(f.events[j].key, keys[i]) == 0 && f.events[j].kind == EW_EVENT_PUT && f.events[j].value_len == 0;
        assert_true(found);
        client_kv kv = client_get(keys[i]);
        assert_true(kv.present && kv.len == 0);
    }
    client_delete("/nil/empty");
    worker_fixture_await_events(&f, 7);
    worker_fixture_assert_event(&f, 6, EW_EVENT_DELETE, false, "/nil/empty", "");
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* ---- ModifyAfterDelete ---- */

static int append_and_hold(worker_fixture *f, ew_tick *t) {
    append_to(ew_tick_group(t), "/mad/key", "+");
    worker_fixture_hold(f);
    return EW_OK;
}

static int delete_key(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_delete(ew_tick_group(t), EW_STR("/mad/key"));
}

static int create_key(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/mad/key"), EW_STR("new"));
}

static void check_modify_after_delete(const char *delete_counter, bool recreate) {
    worker_fixture blocked, other;
    client_put("/mad/key", "old");
    worker_fixture_open(&blocked, "/mad");
    worker_fixture_set(&blocked, "delete_counter", delete_counter);
    worker_fixture_start(&blocked);
    worker_fixture_open(&other, "/mad");
    worker_fixture_set(&other, "delete_counter", delete_counter);
    worker_fixture_start(&other);
    worker_fixture_await_total(&other, 1);
    worker_fixture_begin(&blocked, append_and_hold);
    worker_fixture_await_held(&blocked);
    worker_fixture_do(&other, delete_key);
    if (recreate)
        worker_fixture_do(&other, create_key);
    worker_fixture_release(&blocked);
    worker_fixture_await_ticks(&blocked, 1);
    assert_string_equal(client_get("/mad/key").value, recreate ? "new+" : "+");
    assert_true(worker_fixture_stats(&blocked).groups_refused >= 1);
    assert_int_equal(worker_fixture_close(&other), EW_ERR_CANCELLED);
    assert_int_equal(worker_fixture_close(&blocked), EW_ERR_CANCELLED);
    client_delete_prefix("/mad/");
}

/* SEMANTICS 24: while a worker is held in its tick, another worker deletes the key, and perhaps creates it again. */
static void test_modify_after_delete(void **state) {
    (void)state;
    check_modify_after_delete("compat", false);
    check_modify_after_delete("compat", true);
    check_modify_after_delete("off", false);
    check_modify_after_delete("off", true);
}

static int expect_absent_and_hold(worker_fixture *f, ew_tick *t) {
    append_to(ew_tick_group(t), "/mad/ghost", "+");
    worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 24: a key that was absent, created and deleted again looks unchanged by mod_revision. With the delete
 * counter the group is refused and evaluated again. Without it, the group commits: the key is absent, as the group saw
 * it. */
static void check_made_and_deleted(const char *delete_counter, bool refused) {
    worker_fixture blocked, other;
    worker_fixture_open(&blocked, "/mad");
    worker_fixture_set(&blocked, "delete_counter", delete_counter);
    worker_fixture_start(&blocked);
    worker_fixture_open(&other, "/mad");
    worker_fixture_set(&other, "delete_counter", delete_counter);
    client_put("/mad/key", "x");
    worker_fixture_start(&other);
    worker_fixture_await_total(&other, 1);
    worker_fixture_begin(&blocked, expect_absent_and_hold);
    worker_fixture_await_held(&blocked);
    client_put("/mad/ghost", "boo");
    client_delete("/mad/ghost");
    worker_fixture_do(&other, delete_key); /* by a worker, so that the delete counter changes */
    worker_fixture_release(&blocked);
    worker_fixture_await_ticks(&blocked, 1);
    assert_string_equal(client_get("/mad/ghost").value, "+");
    assert_int_equal(worker_fixture_stats(&blocked).groups_refused >= 1, refused);
    assert_int_equal(worker_fixture_close(&other), EW_ERR_CANCELLED);
    assert_int_equal(worker_fixture_close(&blocked), EW_ERR_CANCELLED);
    client_delete_prefix("/mad/");
}

static void test_made_and_deleted_in_between(void **state) {
    (void)state;
    check_made_and_deleted("compat", true);
    check_made_and_deleted("off", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_finished),
        env_test(test_finished_with_a_conflict),
        env_test(test_cover_within_a_group),
        env_test(test_cover_across_groups),
        env_test(test_cover_across_groups_with_a_conflict),
        env_test(test_empty_txn),
        env_test(test_delete_of_a_missing_key),
        env_test(test_empty_or_nil),
        env_test(test_modify_after_delete),
        env_test(test_made_and_deleted_in_between),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
