/* What wakes the reactor and what ends the run: coalescing, the rate limit, stop, and the order of events (SEMANTICS
 * 5-8). */
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>

static const char LONG_MS[] = "3600000";
enum { CHANGES = 50 };

static int hold(worker_fixture *f, ew_tick *t) {
    (void)t;
    worker_fixture_hold(f);
    return EW_OK;
}

/* Changes a key `CHANGES` times while the reactor is in a tick. Returns the last revision. */
static int64_t change_while_held(worker_fixture *f) {
    int64_t revision = 0;
    worker_fixture_begin(f, hold);
    client_put("/wake/a", "go");
    worker_fixture_await_held(f);
    for (int i = 0; i < CHANGES; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        revision = client_put("/wake/a", number);
    }
    return revision;
}

static bool has_all_events(void *arg) {
    return worker_fixture_stats(arg).events >= CHANGES + 1;
}

/* SEMANTICS 5: events that are ready together make one tick. The last of them may still be on the way when the tick
 * ends, and then come one by one. */
static void test_coalesce(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    f.updates = true;
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    int64_t revision = change_while_held(&f);
    uint64_t before = worker_fixture_ticks(&f);
    worker_fixture_release(&f);
    worker_fixture_await_tick(&f, revision);
    assert_true(worker_fixture_ticks(&f) - before <= CHANGES / 5);
    assert_int_equal(f.event_count, 1 + CHANGES); /* SEMANTICS 8: ticks are merged, updates are not */
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/wake/a");
}

/* SEMANTICS 5: `coalesce = off` ticks once for each revision. */
static void test_coalesce_off(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "coalesce", "off");
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    int64_t revision = change_while_held(&f);
    uint64_t before = worker_fixture_ticks(&f);
    worker_fixture_release(&f);
    worker_fixture_await_tick(&f, revision);
    assert_int_equal(worker_fixture_ticks(&f) - before, CHANGES);
    assert_true(env_until(has_all_events, &f));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/wake/a");
}

static bool is_past(void *arg) {
    return env_now_ms() >= *(int64_t *)arg;
}

/* SEMANTICS 5: missed ticks of the timer are not made up. */
static void test_timer_coalesces(void **state) {
    (void)state;
    enum { INTERVAL_MS = 100, MISSED = 10 };
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    worker_fixture_set(&f, "tick_interval_ms", "100");
    worker_fixture_start(&f);
    worker_fixture_begin(&f, hold);
    worker_fixture_await_held(&f);
    int64_t until_ms = env_now_ms() + MISSED * INTERVAL_MS;
    assert_true(env_until(is_past, &until_ms));
    uint64_t before = worker_fixture_ticks(&f);
    int64_t released_ms = env_now_ms();
    worker_fixture_release(&f);
    worker_fixture_await_ticks(&f, 4);
    /* One may be due at once; the other three come at their intervals. */
    assert_true(env_now_ms() - released_ms >= 3 * INTERVAL_MS - 20);
    assert_true(worker_fixture_ticks(&f) - before >= 4);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* SEMANTICS 6: ticks beyond the limit are merged; the state is still applied. */
static void test_rate_limit(void **state) {
    (void)state;
    enum { RATE = 20, LENGTH_MS = 1500 };
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "max_ticks_per_second", "20");
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    int64_t began_ms = env_now_ms(), revision = 0;
    unsigned puts = 0;
    for (; env_now_ms() < began_ms + LENGTH_MS; puts++)
        revision = client_put("/wake/a", "x");
    worker_fixture_await_tick(&f, revision);
    uint64_t ticks = worker_fixture_ticks(&f), allowed = (uint64_t)(env_now_ms() - began_ms) * RATE / 1000 + 2;
    print_message("%u puts, %u ticks of %u allowed\n", puts, (unsigned)ticks, (unsigned)allowed);
    assert_true(ticks <= allowed);
    assert_true(ticks >= allowed / 4);
    assert_int_equal(worker_fixture_stats(&f).events, puts);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/wake/a");
}

/* ---- the end ---- */

static int write_all_the_time(worker_fixture *f, ew_tick *t) {
    (void)f;
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)ew_tick_number(t));
    return ew_group_put(ew_tick_group(t), EW_STR("/wake/stream"), ew_str(number));
}

/* SEMANTICS 7: a stop has priority over events that keep coming. */
static void test_stop_wins_against_events(void **state) {
    (void)state;
    worker_fixture writer, f;
    worker_fixture_open(&writer, "/wake/stream");
    writer.every = write_all_the_time;
    worker_fixture_start(&writer);
    worker_fixture_open(&f, "/wake");
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 50);
    int64_t before_ms = env_now_ms();
    ew_worker_stop(f.worker);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
    assert_true(env_now_ms() - before_ms < 5000);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_int_equal(worker_fixture_close(&writer), EW_ERR_CANCELLED);
}

typedef struct verdict {
    _Atomic int calls, status;
    _Atomic int64_t revision;
} verdict;

static void judged(void *arg, ew_status status, int64_t revision) {
    verdict *v = arg;
    v->status = status;
    v->revision = revision;
    v->calls++;
}

static int put_and_hold(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/wake/flight"), EW_STR("landed"));
    ew_group_on_done(g, judged, f->arg);
    worker_fixture_hold(f);
    return EW_OK;
}

static bool is_idle(void *arg) {
    worker_fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    bool idle = !f->action;
    pthread_mutex_unlock(&f->lock);
    return idle;
}

/* SEMANTICS 7: a stop waits until the commit in flight is decided, and reports it. */
static void test_stop_waits_for_the_commit_in_flight(void **state) {
    (void)state;
    verdict v = {0};
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    f.arg = &v;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, put_and_hold);
    worker_fixture_await_held(&f);
    env_pause_etcd();
    worker_fixture_release(&f);
    assert_true(env_until(is_idle, &f));
    ew_worker_stop(f.worker);
    env_resume_etcd();
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_CANCELLED);
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status, EW_OK);
    assert_int_equal(client_get("/wake/flight").mod_revision, v.revision);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/wake/flight");
}

/* SEMANTICS 7: but no longer than `stop_timeout_ms`; then the outcome is reported as unknown. */
static void test_stop_gives_up(void **state) {
    (void)state;
    verdict v = {0};
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    worker_fixture_set(&f, "stop_timeout_ms", "1000");
    f.arg = &v;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, put_and_hold);
    worker_fixture_await_held(&f);
    env_pause_etcd();
    int64_t before_ms = env_now_ms();
    worker_fixture_release(&f);
    assert_true(env_until(is_idle, &f));
    ew_worker_stop(f.worker);
    int status = worker_fixture_await_end(&f);
    int64_t took_ms = env_now_ms() - before_ms;
    env_resume_etcd();
    print_message("stopped after %d ms: %s, %s\n", (int)took_ms, ew_errname(status), ew_errname(v.status));
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status, EW_ERR_UNKNOWN_OUTCOME);
    assert_true(took_ms < 6000);
    worker_fixture_close(&f);
    client_delete("/wake/flight");
}

static int give_up_the_rest(worker_fixture *f, ew_tick *t) {
    verdict *v = f->arg;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/wake/flight"), EW_STR("never"));
    ew_group_on_done(g, judged, v);
    return EW_ERR_REACTOR;
}

/* SEMANTICS 7: an error of the reactor ends the run with that error; the groups of its tick are not committed. */
static void test_error_of_the_tick(void **state) {
    (void)state;
    verdict v = {0};
    worker_fixture f;
    worker_fixture_open(&f, "/wake");
    f.arg = &v;
    f.every = give_up_the_rest;
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_REACTOR);
    assert_non_null(strstr(f.err.detail, "tick"));
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status, EW_ERR_CANCELLED); /* the run ended first */
    assert_int_equal(worker_fixture_close(&f), EW_ERR_REACTOR);
    assert_false(client_get("/wake/flight").present);
}

/* ---- the order of events ---- */

typedef struct order {
    worker_fixture *fixture;
    _Atomic size_t events_at_decision;
    _Atomic uint64_t ticks_at_decision;
} order;

static void note_decision(void *arg, ew_status status, int64_t revision) {
    order *o = arg;
    (void)revision;
    EXPECT(o->fixture, status == EW_OK);
    o->events_at_decision = o->fixture->event_count; /* only this thread adds events */
    o->ticks_at_decision = o->fixture->ticks;
}

static int append_x(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    char text[64];
    snprintf(text, sizeof text, "%.*sx", current ? (int)current->value.len : 0,
             current ? (const char *)current->value.data : "");
    return ew_value_set(next, ew_str(text));
}

static int modify_and_hold(worker_fixture *f, ew_tick *t) {
    order *o = f->arg;
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/order/a"), append_x, NULL, NULL);
    ew_group_on_done(g, note_decision, o);
    worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 8, 21: while a group is undecided, events change the cache, on which the group is evaluated again. The
 * reactor is shown them only after the decision: one call each, in order, never merged. */
static void test_updates_wait_for_the_decision(void **state) {
    (void)state;
    worker_fixture f;
    order o = {.fixture = &f};
    worker_fixture_open(&f, "/order");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    f.updates = true;
    f.arg = &o;
    worker_fixture_begin(&f, modify_and_hold);
    worker_fixture_start(&f);
    worker_fixture_await_held(&f);
    for (int i = 0; i < 5; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        client_put("/order/a", number);
    }
    client_delete("/order/a");
    client_put("/order/a", "5");
    worker_fixture_release(&f);
    worker_fixture_await_events(&f, 8);
    assert_int_equal(o.events_at_decision, 0);
    assert_int_equal(o.ticks_at_decision, 1);
    for (size_t i = 0; i < 5; i++) {
        char number[16];
        snprintf(number, sizeof number, "%zu", i);
        worker_fixture_assert_event(&f, i, EW_EVENT_PUT, false, "/order/a", number);
    }
    worker_fixture_assert_event(&f, 5, EW_EVENT_DELETE, false, "/order/a", "");
    worker_fixture_assert_event(&f, 6, EW_EVENT_PUT, false, "/order/a", "5");
    worker_fixture_assert_event(&f, 7, EW_EVENT_PUT, false, "/order/a", "5x");
    for (size_t i = 1; i < 8; i++)
        assert_true(f.events[i].mod_revision > f.events[i - 1].mod_revision);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_coalesce),
        env_test(test_coalesce_off),
        env_test(test_timer_coalesces),
        env_test(test_rate_limit),
        env_test(test_stop_wins_against_events),
        env_test(test_stop_waits_for_the_commit_in_flight),
        env_test(test_stop_gives_up),
        env_test(test_error_of_the_tick),
        env_test(test_updates_wait_for_the_decision),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
