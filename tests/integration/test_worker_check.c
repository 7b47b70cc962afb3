/* Consistency checks against a real etcd (ETCD P6). The test sends events that never happened to the reactor's mailbox,
 * at a revision that changed nothing below the prefix, so no later event contradicts them. */
#include "actors/mailbox.h"
#include "etcd.pb-c.h"
#include "lib/scenario.h"

#include <inttypes.h>
#include <stdio.h>

static void open_checked(worker_fixture *f, const char *interval_s) {
    worker_fixture_open(f, "/check");
    worker_fixture_set(f, "check_interval_s", interval_s);
    f->updates = true;
}

static void tell(worker_fixture *f, int64_t revision, const Pb__WatchResponse *response) {
    char url[300];
    uint8_t bytes[512];
    outbox *way;
    snprintf(url, sizeof url, "%s/%s/reactor", ew_options_text(f->options, "url_prefix"),
             ew_options_text(f->options, "name"));
    assert_int_equal(outbox_open(&way, url, 2, NULL, NULL, NULL), EW_OK);
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    assert_true(pb__watch_response__get_packed_size(response) <= sizeof bytes);
    events.response = (ProtobufCBinaryData){pb__watch_response__pack(response, bytes), bytes};
    events.revision = revision;
    m.epoch = 1;
    m.events = &events;
    assert_int_equal(outbox_send(way, &m), EW_OK);
    while (worker_fixture_stats(f).revision < revision)
        worker_fixture_await_ticks(f, 1);
    outbox_close(way);
}

/* The events claim that one key was changed, one deleted, and one created. */
static void mislead(worker_fixture *f, int64_t revision) {
    static const char *const keys[] = {"/check/changed", "/check/deleted", "/check/new"};
    Pb__KeyValue kvs[3];
    Pb__Event events[3], *list[3];
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    for (size_t i = 0; i < 3; i++) {
        pb__key_value__init(&kvs[i]);
        pb__event__init(&events[i]);
        kvs[i].key = (ProtobufCBinaryData){strlen(keys[i]), (uint8_t *)(uintptr_t)keys[i]};
        kvs[i].value = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "never"};
        kvs[i].mod_revision = revision;
        events[i].type = i == 1 ? PB__EVENT__EVENT_TYPE__DELETE : PB__EVENT__EVENT_TYPE__PUT;
        events[i].kv = &kvs[i];
        list[i] = &events[i];
    }
    response.events = list;
    response.n_events = 3;
    tell(f, revision, &response);
}

static bool is_checked(void *arg) {
    return worker_fixture_stats(arg).checks > 0;
}

static bool is_repaired(void *arg) {
    ew_worker_stats stats = worker_fixture_stats(arg);
    return stats.check_repairs > 0 && stats.snapshots > 1;
}

static int look_for_keys(worker_fixture *f, ew_tick *t) {
    ew_entry e;
    EXPECT(f, ew_tick_get(t, EW_STR("/check/changed"), &e) == EW_OK && ew_slice_equal(e.value, EW_STR("1")));
    EXPECT(f, ew_tick_get(t, EW_STR("/check/deleted"), &e) == EW_OK);
    EXPECT(f, ew_tick_get(t, EW_STR("/check/new"), &e) == EW_ERR_NOT_FOUND);
    return EW_OK;
}

/* The differences are found, counted and repaired, and the worker goes on. */
static void test_lost_events_are_repaired(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/check/changed", "1");
    client_put("/check/deleted", "1");
    int64_t revision = client_put("/check/kept", "1");
    open_checked(&f, "1");
    worker_fixture_start(&f);
    worker_fixture_await_tick(&f, revision);
    worker_fixture_await_ready(&f, true);
    mislead(&f, client_put("/elsewhere", "1"));
    int64_t heard = client_put("/check/heard", "1");
    worker_fixture_await_tick(&f, heard);
    assert_true(env_until(is_repaired, &f));
    ew_worker_stats stats = worker_fixture_stats(&f);
    print_message("%" PRIu64 " checks, %" PRIu64 " repairs\n", stats.checks, stats.check_repairs);
    assert_int_equal(stats.check_repairs, 3);
    worker_fixture_do(&f, look_for_keys);
    int64_t again = client_put("/check/kept", "2");
    worker_fixture_await_tick(&f, again);
    uint64_t checks = worker_fixture_stats(&f).checks;
    while (worker_fixture_stats(&f).checks == checks)
        worker_fixture_await_ticks(&f, 1);
    assert_int_equal(worker_fixture_stats(&f).check_repairs, 3); /* nothing is left to repair */
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/check");
}

/* If no event was lost, no difference is found, however many changes there are meanwhile and however many pages. */
static int churn(worker_fixture *f, ew_tick *t) {
    (void)f;
    static unsigned n; /* one worker fixture at a time */
    char key[64];
    ew_group *g = ew_tick_group(t);
    snprintf(key, sizeof key, "/check/%04u", n % 1000);
    ew_group_put(g, ew_str(key), EW_STR("own"));
    snprintf(key, sizeof key, "/check/%04u", (n + 500) % 1000);
    ew_group_delete(g, ew_str(key));
    n++;
    return EW_OK;
}

static bool three_checks(void *arg) {
    return worker_fixture_stats(arg).checks >= 3;
}

static void test_changes_are_not_differences(void **state) {
    (void)state;
    worker_fixture f;
    for (int i = 0; i < 1000; i++) {
        char key[64];
        snprintf(key, sizeof key, "/check/%04d", i);
        client_put(key, "1");
    }
    open_checked(&f, "1");
    worker_fixture_set(&f, "page_bytes", "65536");
    worker_fixture_set(&f, "tick_interval_ms", "1");
    f.every = churn;
    worker_fixture_start(&f);
    assert_true(env_until(three_checks, &f));
    ew_worker_stats stats = worker_fixture_stats(&f);
    print_message("%" PRIu64 " commits, %" PRIu64 " checks\n", stats.groups_committed, stats.checks);
    assert_int_equal(stats.check_repairs, 0);
    assert_int_equal(stats.snapshots, 1);
    assert_int_equal(stats.bad_messages, 0);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/check");
}

/* The observed revision is compacted: the consistency check waits for a newer one. */
static void test_a_compacted_revision(void **state) {
    (void)state;
    worker_fixture f;
    int64_t revision = client_put("/check/a", "1");
    open_checked(&f, "3");
    worker_fixture_start(&f);
    worker_fixture_await_tick(&f, revision);
    client_compact(client_put("/elsewhere", "1"));
    int64_t start_ms = env_now_ms();
    while (env_now_ms() - start_ms < 3500) /* until the check is due and finds its revision compacted */
        worker_fixture_await_ticks(&f, 1);
    assert_int_equal(worker_fixture_stats(&f).checks, 0);
    client_put("/check/a", "2");
    assert_true(env_until(is_checked, &f));
    assert_true(env_now_ms() - start_ms < 5900); /* at once, not at the next interval */
    assert_int_equal(worker_fixture_stats(&f).check_repairs, 0);
    assert_int_equal(worker_fixture_stats(&f).snapshots, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/check");
}

/* A stop during consistency checks ends the run in time, also while etcd is away. */
static void test_a_stop(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        worker_fixture f;
        open_checked(&f, "1");
        worker_fixture_start(&f);
        assert_true(env_until(is_checked, &f));
        if (i == 1)
            env_kill_etcd();
        int64_t start_ms = env_now_ms();
        while (i == 1 && env_now_ms() - start_ms < 1500) /* until a check has begun, which is not answered */
            worker_fixture_await_ticks(&f, 1);
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
        if (i == 1)
            env_start_etcd();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_lost_events_are_repaired),
        env_test(test_changes_are_not_differences),
        env_test(test_a_compacted_revision),
        env_test(test_a_stop),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
