/* Audits against a real etcd (ETCD P6). The reactor is told of events that never were, on its mailbox, at a revision
 * that shows nothing below the prefix: nothing that comes later contradicts them. */
#include "actors/mailbox.h"
#include "etcd.pb-c.h"
#include "lib/scenario.h"

#include <inttypes.h>
#include <stdio.h>

static void open_audited(stage *s, const char *interval_s) {
    stage_open(s, "/audit");
    stage_set(s, "audit_interval_s", interval_s);
    s->updates = true;
}

static void tell(stage *s, int64_t revision, const Pb__WatchResponse *response) {
    char url[300];
    uint8_t bytes[512];
    outbox *way;
    snprintf(url, sizeof url, "%s/%s/reactor", ew_options_text(s->options, "url_prefix"),
             ew_options_text(s->options, "name"));
    assert_int_equal(outbox_open(&way, url, 2, NULL, NULL, NULL), EW_OK);
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    assert_true(pb__watch_response__get_packed_size(response) <= sizeof bytes);
    events.response = (ProtobufCBinaryData){pb__watch_response__pack(response, bytes), bytes};
    events.revision = revision;
    m.epoch = 1;
    m.events = &events;
    assert_int_equal(outbox_send(way, &m), EW_OK);
    while (stage_stats(s).revision < revision)
        stage_await_ticks(s, 1);
    outbox_close(way);
}

/* One key is said to be changed, one to be deleted, one to be new. */
static void mislead(stage *s, int64_t revision) {
    static const char *const keys[] = {"/audit/changed", "/audit/deleted", "/audit/new"};
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
    tell(s, revision, &response);
}

static bool is_audited(void *arg) {
    return stage_stats(arg).audits > 0;
}

static bool is_repaired(void *arg) {
    ew_worker_stats stats = stage_stats(arg);
    return stats.audit_repairs > 0 && stats.snapshots > 1;
}

static int look_for_keys(stage *s, ew_tick *t) {
    ew_entry e;
    EXPECT(s, ew_tick_get(t, EW_STR("/audit/changed"), &e) == EW_OK && ew_slice_equal(e.value, EW_STR("1")));
    EXPECT(s, ew_tick_get(t, EW_STR("/audit/deleted"), &e) == EW_OK);
    EXPECT(s, ew_tick_get(t, EW_STR("/audit/new"), &e) == EW_ERR_NOT_FOUND);
    return EW_OK;
}

/* What differs is found, counted and repaired; the worker goes on as if nothing had been. */
static void test_lost_events_are_repaired(void **state) {
    (void)state;
    stage s;
    hand_put("/audit/changed", "1");
    hand_put("/audit/deleted", "1");
    int64_t revision = hand_put("/audit/kept", "1");
    open_audited(&s, "1");
    stage_start(&s);
    stage_await_tick(&s, revision);
    stage_await_ready(&s, true);
    mislead(&s, hand_put("/elsewhere", "1"));
    int64_t heard = hand_put("/audit/heard", "1");
    stage_await_tick(&s, heard);
    assert_true(scene_until(is_repaired, &s));
    ew_worker_stats stats = stage_stats(&s);
    print_message("%" PRIu64 " audits, %" PRIu64 " repairs\n", stats.audits, stats.audit_repairs);
    assert_int_equal(stats.audit_repairs, 3);
    stage_do(&s, look_for_keys);
    int64_t again = hand_put("/audit/kept", "2");
    stage_await_tick(&s, again);
    uint64_t audits = stage_stats(&s).audits;
    while (stage_stats(&s).audits == audits)
        stage_await_ticks(&s, 1);
    assert_int_equal(stage_stats(&s).audit_repairs, 3); /* nothing is left to repair */
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete_prefix("/audit");
}

/* Where nothing is lost nothing is found, however much changes meanwhile, in any number of pages. */
static int churn(stage *s, ew_tick *t) {
    (void)s;
    static unsigned n; /* one stage at a time */
    char key[64];
    ew_group *g = ew_tick_group(t);
    snprintf(key, sizeof key, "/audit/%04u", n % 1000);
    ew_group_put(g, ew_str(key), EW_STR("own"));
    snprintf(key, sizeof key, "/audit/%04u", (n + 500) % 1000);
    ew_group_delete(g, ew_str(key));
    n++;
    return EW_OK;
}

static bool three_audits(void *arg) {
    return stage_stats(arg).audits >= 3;
}

static void test_what_changes_is_not_lost(void **state) {
    (void)state;
    stage s;
    for (int i = 0; i < 1000; i++) {
        char key[64];
        snprintf(key, sizeof key, "/audit/%04d", i);
        hand_put(key, "1");
    }
    open_audited(&s, "1");
    stage_set(&s, "page_bytes", "65536");
    stage_set(&s, "tick_interval_ms", "1");
    s.every = churn;
    stage_start(&s);
    assert_true(scene_until(three_audits, &s));
    ew_worker_stats stats = stage_stats(&s);
    print_message("%" PRIu64 " commits, %" PRIu64 " audits\n", stats.groups_committed, stats.audits);
    assert_int_equal(stats.audit_repairs, 0);
    assert_int_equal(stats.snapshots, 1);
    assert_int_equal(stats.bad_messages, 0);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete_prefix("/audit");
}

/* The revision that was observed is compacted: the audit waits for a newer one. */
static void test_a_compacted_revision(void **state) {
    (void)state;
    stage s;
    int64_t revision = hand_put("/audit/a", "1");
    open_audited(&s, "3");
    stage_start(&s);
    stage_await_tick(&s, revision);
    hand_compact(hand_put("/elsewhere", "1"));
    int64_t start_ms = scene_now_ms();
    while (scene_now_ms() - start_ms < 3500) /* the audit is due, and finds its revision compacted */
        stage_await_ticks(&s, 1);
    assert_int_equal(stage_stats(&s).audits, 0);
    hand_put("/audit/a", "2");
    assert_true(scene_until(is_audited, &s));
    assert_true(scene_now_ms() - start_ms < 5900); /* at once, not at the next interval */
    assert_int_equal(stage_stats(&s).audit_repairs, 0);
    assert_int_equal(stage_stats(&s).snapshots, 1);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete_prefix("/audit");
}

/* A stop in the middle of audits ends the run in time; etcd may be away. */
static void test_a_stop(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        stage s;
        open_audited(&s, "1");
        stage_start(&s);
        assert_true(scene_until(is_audited, &s));
        if (i == 1)
            scene_kill_etcd();
        int64_t start_ms = scene_now_ms();
        while (i == 1 && scene_now_ms() - start_ms < 1500) /* one begins, and is not answered */
            stage_await_ticks(&s, 1);
        assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
        if (i == 1)
            scene_start_etcd();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        scene_test(test_lost_events_are_repaired),
        scene_test(test_what_changes_is_not_lost),
        scene_test(test_a_compacted_revision),
        scene_test(test_a_stop),
    };
    return cmocka_run_group_tests(tests, scene_open, scene_close);
}
