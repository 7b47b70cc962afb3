/* What wakes the reactor and what ends the run: coalescing, the rate limit, stop, and the order of events (SEMANTICS
 * 5-8). */
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>

static const char LONG_MS[] = "3600000";
enum { CHANGES = 50 };

static int hold(stage *s, ew_tick *t) {
    (void)t;
    stage_hold(s);
    return EW_OK;
}

/* Changes a key `CHANGES` times while the reactor is in a tick: the last revision. */
static int64_t change_while_held(stage *s) {
    int64_t revision = 0;
    stage_begin(s, hold);
    hand_put("/wake/a", "go");
    stage_await_held(s);
    for (int i = 0; i < CHANGES; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        revision = hand_put("/wake/a", number);
    }
    return revision;
}

static bool has_all_events(void *arg) {
    return stage_stats(arg).events >= CHANGES + 1;
}

/* SEMANTICS 5: events that are there together are one tick. The last of them may still be on the way when the tick
 * ends, and then come one by one. */
static void test_coalesce(void **state) {
    (void)state;
    stage s;
    stage_open(&s, "/wake");
    stage_set(&s, "tick_interval_ms", LONG_MS);
    s.updates = true;
    stage_start(&s);
    stage_await_total(&s, 1);
    int64_t revision = change_while_held(&s);
    uint64_t before = stage_ticks(&s);
    stage_release(&s);
    stage_await_tick(&s, revision);
    assert_true(stage_ticks(&s) - before <= CHANGES / 5);
    assert_int_equal(s.event_count, 1 + CHANGES); /* SEMANTICS 8: ticks are merged, updates are not */
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete("/wake/a");
}

/* SEMANTICS 5: `coalesce = off` ticks once for each revision. */
static void test_coalesce_off(void **state) {
    (void)state;
    stage s;
    stage_open(&s, "/wake");
    stage_set(&s, "tick_interval_ms", LONG_MS);
    stage_set(&s, "coalesce", "off");
    stage_start(&s);
    stage_await_total(&s, 1);
    int64_t revision = change_while_held(&s);
    uint64_t before = stage_ticks(&s);
    stage_release(&s);
    stage_await_tick(&s, revision);
    assert_int_equal(stage_ticks(&s) - before, CHANGES);
    assert_true(scene_until(has_all_events, &s));
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete("/wake/a");
}

static bool is_past(void *arg) {
    return scene_now_ms() >= *(int64_t *)arg;
}

/* SEMANTICS 5: the timer's missed ticks are not made up. */
static void test_timer_coalesces(void **state) {
    (void)state;
    enum { INTERVAL_MS = 100, MISSED = 10 };
    stage s;
    stage_open(&s, "/wake");
    stage_set(&s, "tick_interval_ms", "100");
    stage_start(&s);
    stage_begin(&s, hold);
    stage_await_held(&s);
    int64_t until_ms = scene_now_ms() + MISSED * INTERVAL_MS;
    assert_true(scene_until(is_past, &until_ms));
    uint64_t before = stage_ticks(&s);
    int64_t released_ms = scene_now_ms();
    stage_release(&s);
    stage_await_ticks(&s, 4);
    /* One may be due at once; the other three take their time, as the tick before them has to. */
    assert_true(scene_now_ms() - released_ms >= 3 * INTERVAL_MS - 20);
    assert_true(stage_ticks(&s) - before >= 4);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
}

/* SEMANTICS 6: ticks beyond the limit are merged; the state is still applied. */
static void test_rate_limit(void **state) {
    (void)state;
    enum { RATE = 20, LENGTH_MS = 1500 };
    stage s;
    stage_open(&s, "/wake");
    stage_set(&s, "tick_interval_ms", LONG_MS);
    stage_set(&s, "max_ticks_per_second", "20");
    stage_start(&s);
    stage_await_total(&s, 1);
    int64_t began_ms = scene_now_ms(), revision = 0;
    unsigned puts = 0;
    for (; scene_now_ms() < began_ms + LENGTH_MS; puts++)
        revision = hand_put("/wake/a", "x");
    stage_await_tick(&s, revision);
    uint64_t ticks = stage_ticks(&s), allowed = (uint64_t)(scene_now_ms() - began_ms) * RATE / 1000 + 2;
    print_message("%u puts, %u ticks of %u allowed\n", puts, (unsigned)ticks, (unsigned)allowed);
    assert_true(ticks <= allowed);
    assert_true(ticks >= allowed / 4);
    assert_int_equal(stage_stats(&s).events, puts);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete("/wake/a");
}

/* ---- the end ---- */

static int write_all_the_time(stage *s, ew_tick *t) {
    (void)s;
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)ew_tick_number(t));
    return ew_group_put(ew_tick_group(t), EW_STR("/wake/stream"), ew_str(number));
}

/* SEMANTICS 7: a stop never loses against events that keep coming. */
static void test_stop_wins_against_events(void **state) {
    (void)state;
    stage writer, s;
    stage_open(&writer, "/wake/stream");
    writer.every = write_all_the_time;
    stage_start(&writer);
    stage_open(&s, "/wake");
    stage_start(&s);
    stage_await_total(&s, 50);
    int64_t before_ms = scene_now_ms();
    ew_worker_stop(s.worker);
    assert_int_equal(stage_await_end(&s), EW_ERR_CANCELLED);
    assert_true(scene_now_ms() - before_ms < 5000);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    assert_int_equal(stage_close(&writer), EW_ERR_CANCELLED);
}

typedef struct verdict {
    _Atomic int calls, status;
    _Atomic int64_t revision;
} verdict;

static void judged(void *arg, int status, int64_t revision) {
    verdict *v = arg;
    v->status = status;
    v->revision = revision;
    v->calls++;
}

static int put_and_hold(stage *s, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/wake/flight"), EW_STR("landed"));
    ew_group_on_done(g, judged, s->arg);
    stage_hold(s);
    return EW_OK;
}

static bool is_idle(void *arg) {
    stage *s = arg;
    pthread_mutex_lock(&s->lock);
    bool idle = s->act == NULL;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

/* SEMANTICS 7: a stop waits until the commit in flight is decided, and tells. */
static void test_stop_waits_for_the_commit_in_flight(void **state) {
    (void)state;
    verdict v = {0};
    stage s;
    stage_open(&s, "/wake");
    s.arg = &v;
    stage_start(&s);
    stage_begin(&s, put_and_hold);
    stage_await_held(&s);
    scene_pause_etcd();
    stage_release(&s);
    assert_true(scene_until(is_idle, &s));
    ew_worker_stop(s.worker);
    scene_resume_etcd();
    assert_int_equal(stage_await_end(&s), EW_ERR_CANCELLED);
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status, EW_OK);
    assert_int_equal(hand_get("/wake/flight").mod_revision, v.revision);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    hand_delete("/wake/flight");
}

/* SEMANTICS 7: but no longer than `stop_timeout_ms`; then nobody knows, and that is what is told. */
static void test_stop_gives_up(void **state) {
    (void)state;
    verdict v = {0};
    stage s;
    stage_open(&s, "/wake");
    stage_set(&s, "stop_timeout_ms", "1000");
    s.arg = &v;
    stage_start(&s);
    stage_begin(&s, put_and_hold);
    stage_await_held(&s);
    scene_pause_etcd();
    int64_t before_ms = scene_now_ms();
    stage_release(&s);
    assert_true(scene_until(is_idle, &s));
    ew_worker_stop(s.worker);
    int status = stage_await_end(&s);
    int64_t took_ms = scene_now_ms() - before_ms;
    scene_resume_etcd();
    print_message("stopped after %d ms: %s, %s\n", (int)took_ms, ew_errname(status), ew_errname(v.status));
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status, EW_ERR_UNKNOWN_OUTCOME);
    assert_true(took_ms < 6000);
    stage_close(&s);
    hand_delete("/wake/flight");
}

static int give_up_the_rest(stage *s, ew_tick *t) {
    verdict *v = s->arg;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/wake/flight"), EW_STR("never"));
    ew_group_on_done(g, judged, v);
    return EW_ERR_REACTOR;
}

/* SEMANTICS 7: an error of the reactor ends the run with that error; what its tick asked for is not committed. */
static void test_error_of_the_tick(void **state) {
    (void)state;
    verdict v = {0};
    stage s;
    stage_open(&s, "/wake");
    s.arg = &v;
    s.every = give_up_the_rest;
    stage_start(&s);
    assert_int_equal(stage_await_end(&s), EW_ERR_REACTOR);
    assert_non_null(strstr(s.err.detail, "tick"));
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status, EW_ERR_CANCELLED); /* the run ended first */
    assert_int_equal(stage_close(&s), EW_ERR_REACTOR);
    assert_false(hand_get("/wake/flight").present);
}

/* ---- the order of events ---- */

typedef struct order {
    stage *s;
    _Atomic size_t events_at_decision;
    _Atomic uint64_t ticks_at_decision;
} order;

static void note_decision(void *arg, int status, int64_t revision) {
    order *o = arg;
    (void)revision;
    EXPECT(o->s, status == EW_OK);
    o->events_at_decision = o->s->event_count; /* only this thread adds */
    o->ticks_at_decision = o->s->ticks;
}

static int append_x(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    char text[64];
    snprintf(text, sizeof text, "%.*sx", current != NULL ? (int)current->value.len : 0,
             current != NULL ? (const char *)current->value.data : "");
    return ew_value_set(next, ew_str(text));
}

static int modify_and_hold(stage *s, ew_tick *t) {
    order *o = s->arg;
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/order/a"), append_x, NULL, NULL);
    ew_group_on_done(g, note_decision, o);
    stage_hold(s);
    return EW_OK;
}

/* SEMANTICS 8, 21: while a group is undecided events move the mirror, on which it is evaluated again, but the reactor
 * is shown them only when it is decided: one call each, in order, never merged. */
static void test_updates_wait_for_the_decision(void **state) {
    (void)state;
    stage s;
    order o = {.s = &s};
    stage_open(&s, "/order");
    stage_set(&s, "tick_interval_ms", LONG_MS);
    s.updates = true;
    s.arg = &o;
    stage_begin(&s, modify_and_hold);
    stage_start(&s);
    stage_await_held(&s);
    for (int i = 0; i < 5; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        hand_put("/order/a", number);
    }
    hand_delete("/order/a");
    hand_put("/order/a", "5");
    stage_release(&s);
    stage_await_events(&s, 8);
    assert_int_equal(o.events_at_decision, 0);
    assert_int_equal(o.ticks_at_decision, 1);
    for (size_t i = 0; i < 5; i++) {
        char number[16];
        snprintf(number, sizeof number, "%zu", i);
        stage_assert_event(&s, i, EW_EVENT_PUT, false, "/order/a", number);
    }
    stage_assert_event(&s, 5, EW_EVENT_DELETE, false, "/order/a", "");
    stage_assert_event(&s, 6, EW_EVENT_PUT, false, "/order/a", "5");
    stage_assert_event(&s, 7, EW_EVENT_PUT, false, "/order/a", "5x");
    for (size_t i = 1; i < 8; i++)
        assert_true(s.events[i].mod_revision > s.events[i - 1].mod_revision);
    assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        scene_test(test_coalesce),
        scene_test(test_coalesce_off),
        scene_test(test_timer_coalesces),
        scene_test(test_rate_limit),
        scene_test(test_stop_wins_against_events),
        scene_test(test_stop_waits_for_the_commit_in_flight),
        scene_test(test_stop_gives_up),
        scene_test(test_error_of_the_tick),
        scene_test(test_updates_wait_for_the_decision),
    };
    return cmocka_run_group_tests(tests, scene_open, scene_close);
}
