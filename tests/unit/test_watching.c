/* The watching core: its moves, retries and ends. */
#include "unit/watching_fixture.h"

#include <etcdworker/log.h>

/* SEMANTICS 1: creating the core has no effect. */
static void nothing_happens_before_the_start(void **state) {
    fixture *f = *state;
    is_in(f, WATCHING_IDLE);
    never_due(f);
    told(f, WATCHING_TIMER);
    told(f, WATCHING_PAGE);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    told(f, WATCHING_RESPONSE);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_IDLE);
    assert_int_equal(f->out.count, 0);
    assert_int_equal(watching_reconnects(f->core), 0);
}

/* SEMANTICS 3: the snapshot comes first; the watch starts one revision after it. */
static void a_load_and_then_the_watch(void **state) {
    fixture *f = *state;
    starts(f);
    is_in(f, WATCHING_SYNCING);
    assert_int_equal(effects(f), 1);
    assert_memory_equal(f->range->key.data, "/a", 2);
    assert_memory_equal(f->range->range_end.data, "/a0", 3);
    assert_int_equal(f->range->revision, 0);
    never_due(f);

    page_comes(f, (page){.header = {10}, .keys = {"/a/1", "/a/2"}});
    is_in(f, WATCHING_WATCHING);
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_int_equal(e->epoch, 1);
    assert_int_equal(e->revision, 10);
    assert_true(e->first && !e->last);
    assert_ptr_equal(e->bytes.data, f->bytes); /* etcd's bytes are passed on unchanged */
    Pb__WatchCreateRequest *create = f->watch->create_request;
    assert_memory_equal(create->key.data, "/a", 2);
    assert_memory_equal(create->range_end.data, "/a0", 3);
    assert_int_equal(create->start_revision, 11);
    assert_true(create->progress_notify && create->fragment); /* ETCD P2, P3 */
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH));

    completes(f); /* the snapshot ends when the watch is created, so that no write after it is missed */
    assert_int_equal(effects(f), 2);
    e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_int_equal(e->epoch, 1);
    assert_int_equal(e->revision, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    e = wants(f, WATCHING_DO_SEND_EVENTS);
    assert_int_equal(e->epoch, 1);
    assert_int_equal(e->revision, 11);
    assert_ptr_equal(e->bytes.data, f->bytes);
    assert_int_equal(watching_reconnects(f->core), 0);
    told(f, WATCHING_START); /* a second start changes nothing */
    assert_int_equal(f->out.count, 0);
}

static void every_move_is_logged(void **state) {
    fixture *f = *state;
    told(f, WATCHING_START);
    const watching_effect *e = wants(f, WATCHING_DO_LOG);
    assert_int_equal(e->status, EW_LOG_DEBUG);
    assert_string_equal(e->detail, "idle -> syncing");
    loads(f, 10);
    e = wants(f, WATCHING_DO_LOG);
    assert_string_equal(e->detail, "syncing -> watching");
    assert_int_equal(e->revision, 10);
}

/* SEMANTICS 14: a broken stream is resumed at the last whole revision, with backoff and jitter, without end. */
static void a_broken_stream_is_opened_again_without_end(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {14}, .watch_id = 7, .events = {{"/a/1", 12}, {"/a/2", 14}}});
    int64_t least = INT64_MAX, most = 0;
    for (unsigned i = 0; i < 200; i++) {
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
        is_in(f, WATCHING_BROKEN);
        if (i == 0)
            assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
        int64_t waited = deadline_passes(f, 1000);
        int64_t whole = i < 5 ? 50ll << i : 1000; /* it doubles up to the maximum; jitter takes up to half of it off */
        assert_true(waited >= whole / 2 && waited <= whole);
        if (i >= 5 && waited < least)
            least = waited;
        if (i >= 5 && waited > most)
            most = waited;
        assert_int_equal(f->watch->create_request->start_revision, 14); /* its events must come again */
        assert_int_equal(watching_reconnects(f->core), i + 1);
    }
    assert_true(most - least > 300);
    is_created(f, 14);
    response_comes(f, (response){.header = {14}, .watch_id = 7, .events = {{"/a/2", 14}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
}

static void a_long_watch_resets_the_backoff(void **state) {
    fixture *f = *state;
    watches(f, 10);
    for (unsigned i = 0; i < 8; i++)
        reopens_behind(f, 10);
    connects(f);
    f->now_ms += 1000;
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    assert_true(deadline_passes(f, 50) <= 50);
}

static void an_early_timer_changes_nothing(void **state) {
    fixture *f = *state;
    watches(f, 10);
    told(f, WATCHING_TIMER);
    assert_int_equal(f->out.count, 0);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    told(f, WATCHING_TIMER);
    is_in(f, WATCHING_BROKEN);
    assert_int_equal(f->out.count, 0);
}

/* ---- silence ---- */

/* ETCD P2, P9: a silent stream gets a progress request as a liveness probe, and is closed if no answer comes. */
static void a_silent_stream_is_probed_and_then_closed(void **state) {
    fixture *f = *state;
    watches(f, 10);
    assert_int_equal(deadline_passes(f, 5000), 5000);
    assert_non_null(wants(f, WATCHING_DO_REQUEST));
    assert_int_equal(f->watch->request_union_case, PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST);
    is_in(f, WATCHING_WATCHING);
    assert_int_equal(deadline_passes(f, 5000), 5000);
    is_in(f, WATCHING_BROKEN);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH)); /* some releases of etcd never answer */
    never_due(f);                                   /* the old stream must end before the next one is opened */
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    assert_int_equal(f->out.count, 0); /* the stream was closed: a late message is ignored */
    f->now_ms += 60000;
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    is_in(f, WATCHING_WATCHING);
    assert_int_equal(f->watch->create_request->start_revision, 11);
}

/* The time of silence begins when reading goes on: while the watcher does not read, no message can arrive. */
static void silence_begins_when_reading_goes_on(void **state) {
    fixture *f = *state;
    watches(f, 10);
    deadline_passes(f, 5000);
    assert_non_null(wants(f, WATCHING_DO_REQUEST));
    f->now_ms += 60000; /* while the reactor is busy */
    told(f, WATCHING_READ_ON);
    assert_int_equal(f->out.count, 0);
    assert_int_equal(deadline_passes(f, 5000), 5000);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    f->now_ms += 60000;
    told(f, WATCHING_READ_ON);
    assert_int_equal(f->out.count, 0);
    assert_int_equal(deadline_passes(f, 5000), 5000); /* the new stream may still be confirmed */
    is_in(f, WATCHING_BROKEN);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    deadline_passes(f, 1000);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    f->now_ms += 60000;
    told(f, WATCHING_READ_ON);
    assert_int_equal(deadline_passes(f, 10000), 10000); /* there is time to connect first */
}

static void any_answer_resets_the_silence(void **state) {
    fixture *f = *state;
    watches(f, 10);
    for (int i = 0; i < 20; i++) {
        deadline_passes(f, 5000);
        assert_non_null(wants(f, WATCHING_DO_REQUEST));
        f->now_ms += 4999;
        response_comes(f, (response){.header = {10}, .watch_id = -1});
        assert_int_equal(f->out.count, 0);
        assert_int_equal(watching_deadline_ms(f->core), f->now_ms + 5000);
    }
    is_in(f, WATCHING_WATCHING);
}

/* Checks that a silent stream is replaced: a progress request after `ms`, and the next stream after `ms` more. */
static void is_renewed(fixture *f, int64_t ms) {
    assert_int_equal(deadline_passes(f, ms), ms);
    assert_non_null(wants(f, WATCHING_DO_REQUEST));
    assert_int_equal(deadline_passes(f, ms), ms);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH));
}

/* ETCD P2: with releases of etcd that never answer, a quiet worker stays connected. A stream may also be silent because
 * a large message is on a slow connection, so the interval doubles each time. */
static void silence_alone_does_not_disconnect(void **state) {
    fixture *f = *state;
    watches(f, 10);
    for (int i = 0; i < 6; i++) {
        is_renewed(f, 5000 << (i < 4 ? i : 4));
        response_comes(f, (response){.header = {10}, .watch_id = 7, .created = true});
        assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
        is_in(f, WATCHING_WATCHING);
    }
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    is_renewed(f, 5000);
    is_created(f, 12);
    response_comes(f, (response){.header = {12}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 11}}});
    is_renewed(f, 10000);
    is_created(f, 12);
    response_comes(f, (response){.header = {12}, .watch_id = 7, .events = {{"/a/1", 11}}});
    assert_int_equal(effects(f), 0); /* already connected */
    response_comes(f, (response){.header = {12}, .watch_id = -1});
    is_renewed(f, 5000);
}

static void a_silent_stream_without_replacement_disconnects(void **state) {
    fixture *f = *state;
    watches(f, 10);
    is_renewed(f, 5000);
    assert_int_equal(deadline_passes(f, 5000), 5000);
    const watching_effect *health = wants(f, WATCHING_DO_SEND_HEALTH);
    assert_non_null(health);
    assert_false(health->connected);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    deadline_passes(f, 1000);
    response_comes(f, (response){.header = {10}, .watch_id = 7, .created = true});
    health = wants(f, WATCHING_DO_SEND_HEALTH);
    assert_non_null(health);
    assert_true(health->connected);
    is_renewed(f, 10000);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    health = wants(f, WATCHING_DO_SEND_HEALTH);
    assert_non_null(health);
    assert_false(health->connected);
}

static void a_stream_that_is_never_confirmed_is_closed(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    assert_int_equal(deadline_passes(f, 10000), 10000); /* there is time for a connection and a token */
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH)); /* it was not connected */
    f->now_ms += 1000;
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
}

/* ---- permanent errors ---- */

/* SEMANTICS 14: only permanent errors end the run. */
static void permanent_errors_end_the_run(void **state) {
    static const int fatal[] = {EW_ERR_DENIED, EW_ERR_INVALID, EW_ERR_NO_MEMORY, EW_ERR_UNSUPPORTED,
                                EW_ERR_WRONG_CLUSTER};
    tear_down(state);
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        assert_int_equal(set_up(state), 0);
        fixture *f = *state;
        starts(f);
        failed(f, WATCHING_PAGE_FAILED, fatal[i]);
        assert_string_equal(wants(f, WATCHING_DO_END)->detail, "no luck");
        ends_with(f, fatal[i]);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
        f = *state;
        watches(f, 10);
        failed(f, WATCHING_STREAM_ENDED, fatal[i]);
        ends_with(f, fatal[i]);
        tear_down(state);
    }
    assert_int_equal(set_up(state), 0);
}

static void temporary_errors_do_not_end_the_run(void **state) {
    static const int heals[] = {EW_ERR_UNAVAILABLE, EW_ERR_TIMEOUT, EW_ERR_BUSY,      EW_ERR_NO_SPACE,
                                EW_ERR_CANCELLED,   EW_ERR_SYSTEM,  EW_ERR_BAD_ANSWER};
    fixture *f = *state;
    starts(f);
    for (size_t i = 0; i < sizeof heals / sizeof heals[0]; i++) {
        failed(f, WATCHING_PAGE_FAILED, heals[i]);
        is_in(f, WATCHING_SYNCING);
        deadline_passes(f, 1000);
        assert_non_null(wants(f, WATCHING_DO_RANGE));
    }
    loads(f, 10);
    for (size_t i = 0; i < sizeof heals / sizeof heals[0]; i++) {
        connects(f);
        failed(f, WATCHING_STREAM_ENDED, heals[i]);
        reopens_behind(f, 10);
    }
}

/* Tokens expire, so a few refusals in a row are allowed: the client gets another token meanwhile. */
static void authentication_is_tried_a_few_times(void **state) {
    fixture *f = *state;
    starts(f);
    for (int i = 0; i < 3; i++) {
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAUTHENTICATED);
        is_in(f, WATCHING_SYNCING);
        deadline_passes(f, 1000);
    }
    loads(f, 10); /* a success resets the count */
    connects(f);
    for (int i = 0; i < 3; i++) {
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAUTHENTICATED);
        reopens_behind(f, 10);
    }
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAUTHENTICATED);
    ends_with(f, EW_ERR_UNAUTHENTICATED);
}

static void another_cluster_ends_the_run(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {11, .cluster = 0xc2}, .watch_id = 7, .events = {{"/a/1", 11}}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_END)); /* not before the stream has ended */
    told(f, WATCHING_STOP);                 /* too late: the run ends with the error */
    ends_with(f, EW_ERR_WRONG_CLUSTER);
}

/* ---- stop ---- */

static void a_stop_before_the_start_ends_at_once(void **state) {
    fixture *f = *state;
    told(f, WATCHING_STOP);
    ends_with(f, EW_OK);
}

static void a_stop_while_loading_waits_for_the_call(void **state) {
    fixture *f = *state;
    starts(f);
    told(f, WATCHING_STOP);
    is_in(f, WATCHING_STOPPED);
    assert_non_null(wants(f, WATCHING_DO_CANCEL_RANGE));
    assert_null(wants(f, WATCHING_DO_END));
    never_due(f);
    told(f, WATCHING_STOP);
    assert_int_equal(f->out.count, 0);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}}); /* the answer came before the cancellation */
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    ends_with(f, EW_OK);
}

static void a_stop_while_watching_waits_for_the_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    told(f, WATCHING_STOP);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    assert_int_equal(f->out.count, 0);
    told(f, WATCHING_TIMER);
    assert_int_equal(f->out.count, 0);
    ends_with(f, EW_OK);
}

static void a_stop_while_broken_ends_at_once(void **state) {
    fixture *f = *state;
    watches(f, 10);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    told(f, WATCHING_STOP);
    ends_with(f, EW_OK);
}

static void a_stop_does_not_close_a_stream_twice(void **state) {
    fixture *f = *state;
    watches(f, 10);
    deadline_passes(f, 5000);
    deadline_passes(f, 5000);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    told(f, WATCHING_STOP);
    assert_null(wants(f, WATCHING_DO_CLOSE));
    ends_with(f, EW_OK);
}

/* After a compaction the old stream may still be open while the snapshot loads: a stop waits for both. */
static void a_stop_waits_for_call_and_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 20});
    assert_true(f->witness.range_out && f->witness.stream_out);
    told(f, WATCHING_STOP);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_null(wants(f, WATCHING_DO_END));
    ends_with(f, EW_OK);
}

static void deadlines_do_not_overflow(void **state) {
    fixture *f = *state;
    f->now_ms = INT64_MAX - 10;
    watches(f, 10);
    never_due(f);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_BROKEN);
    watching_free(NULL);
}

static void a_backoff_of_0_retries_at_once(void **state) {
    fixture *f = *state;
    watching_config config = fixture_config;
    config.backoff_min_ms = config.backoff_max_ms = 0;
    watching_free(f->core);
    f->core = watching_new(&config);
    assert_non_null(f->core);
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_happens_before_the_start),
        TEST(a_load_and_then_the_watch),
        TEST(every_move_is_logged),
        TEST(a_broken_stream_is_opened_again_without_end),
        TEST(a_long_watch_resets_the_backoff),
        TEST(an_early_timer_changes_nothing),
        TEST(a_silent_stream_is_probed_and_then_closed),
        TEST(silence_begins_when_reading_goes_on),
        TEST(any_answer_resets_the_silence),
        TEST(silence_alone_does_not_disconnect),
        TEST(a_silent_stream_without_replacement_disconnects),
        TEST(a_stream_that_is_never_confirmed_is_closed),
        TEST(permanent_errors_end_the_run),
        TEST(temporary_errors_do_not_end_the_run),
        TEST(authentication_is_tried_a_few_times),
        TEST(another_cluster_ends_the_run),
        TEST(a_stop_before_the_start_ends_at_once),
        TEST(a_stop_while_loading_waits_for_the_call),
        TEST(a_stop_while_watching_waits_for_the_stream),
        TEST(a_stop_while_broken_ends_at_once),
        TEST(a_stop_does_not_close_a_stream_twice),
        TEST(a_stop_waits_for_call_and_stream),
        TEST(deadlines_do_not_overflow),
        TEST(a_backoff_of_0_retries_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
