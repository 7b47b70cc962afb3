/* The watching core's life: its moves, retries and ends. */
#include "unit/watching_fixture.h"

#include <etcdworker/log.h>

/* SEMANTICS 1: making it does nothing. */
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

/* SEMANTICS 3: the snapshot comes first, the watch starts one revision behind it. */
static void the_plain_path(void **state) {
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
    assert_ptr_equal(e->bytes.data, f->bytes); /* etcd's bytes go on as they came */
    Pb__WatchCreateRequest *create = f->watch->create_request;
    assert_memory_equal(create->key.data, "/a", 2);
    assert_memory_equal(create->range_end.data, "/a0", 3);
    assert_int_equal(create->start_revision, 11);
    assert_true(create->progress_notify && create->fragment); /* ETCD P2, P3 */
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH));

    completes(f); /* who writes now is seen by a watch that stands */
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

/* SEMANTICS 14, DESIGN: from the last whole revision, with backoff and jitter, for ever. */
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
        int64_t whole = i < 5 ? 50ll << i : 1000; /* it doubles up to the maximum; jitter takes up to a half off */
        assert_true(waited >= whole / 2 && waited <= whole);
        if (i >= 5 && waited < least)
            least = waited;
        if (i >= 5 && waited > most)
            most = waited;
        assert_int_equal(f->watch->create_request->start_revision, 14); /* which must come again */
        assert_int_equal(watching_reconnects(f->core), i + 1);
    }
    assert_true(most - least > 300);
    is_created(f, 14);
    response_comes(f, (response){.header = {14}, .watch_id = 7, .events = {{"/a/2", 14}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
}

static void a_watch_that_stood_long_starts_the_backoff_anew(void **state) {
    fixture *f = *state;
    watches(f, 10);
    for (unsigned i = 0; i < 8; i++)
        reopens_behind(f, 10);
    connects(f);
    f->now_ms += 1000;
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    assert_true(deadline_passes(f, 50) <= 50);
}

static void a_timer_that_comes_early_changes_nothing(void **state) {
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

/* ETCD P2, P9: a silent stream is asked for a sign of life, and left if there is none. */
static void a_silent_stream_is_asked_and_then_left(void **state) {
    fixture *f = *state;
    watches(f, 10);
    assert_int_equal(deadline_passes(f, 5000), 5000);
    assert_non_null(wants(f, WATCHING_DO_REQUEST));
    assert_int_equal(f->watch->request_union_case, PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST);
    is_in(f, WATCHING_WATCHING);
    assert_int_equal(deadline_passes(f, 5000), 5000);
    is_in(f, WATCHING_BROKEN);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH)); /* some releases never answer */
    never_due(f);                                   /* the old stream must have ended before there is another */
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    assert_int_equal(f->out.count, 0); /* it was left: whatever it still says is late */
    f->now_ms += 60000;
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    is_in(f, WATCHING_WATCHING);
    assert_int_equal(f->watch->create_request->start_revision, 11);
}

/* What is not read is silent for no fault of its own. */
static void silence_counts_from_where_reading_goes_on(void **state) {
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
    assert_int_equal(deadline_passes(f, 5000), 5000); /* it may yet be confirmed */
    is_in(f, WATCHING_BROKEN);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    deadline_passes(f, 1000);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    f->now_ms += 60000;
    told(f, WATCHING_READ_ON);
    assert_int_equal(deadline_passes(f, 10000), 10000); /* a connection is made first */
}

static void any_answer_is_a_sign_of_life(void **state) {
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

/* Goes on with a silent stream until the one in its place is open: it is asked after so long, and left after as long
 * again. */
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

/* ETCD P2: on releases that never answer a quiet worker stays ready. What is silent for a large message on a slow wire
 * gets more time with each try. */
static void silence_alone_is_no_lost_connection(void **state) {
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
    assert_int_equal(effects(f), 0); /* as it was */
    response_comes(f, (response){.header = {12}, .watch_id = -1});
    is_renewed(f, 5000);
}

static void a_silent_stream_that_is_not_replaced_is_a_lost_connection(void **state) {
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

static void a_stream_that_is_never_confirmed_is_left_too(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    assert_int_equal(deadline_passes(f, 10000), 10000); /* a connection and a token may have to be made for it */
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_SEND_HEALTH)); /* it was not connected */
    f->now_ms += 1000;
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
}

/* ---- what cannot heal ---- */

/* SEMANTICS 14: the run ends on what cannot heal, and on nothing else. */
static void what_cannot_heal_ends_it(void **state) {
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

static void what_can_heal_does_not_end_it(void **state) {
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

/* Tokens expire: a few refusals in a row are the client's chance to get another. */
static void authentication_is_tried_a_few_times(void **state) {
    fixture *f = *state;
    starts(f);
    for (int i = 0; i < 3; i++) {
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAUTHENTICATED);
        is_in(f, WATCHING_SYNCING);
        deadline_passes(f, 1000);
    }
    loads(f, 10); /* a success in between: the count starts anew */
    connects(f);
    for (int i = 0; i < 3; i++) {
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAUTHENTICATED);
        reopens_behind(f, 10);
    }
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAUTHENTICATED);
    ends_with(f, EW_ERR_UNAUTHENTICATED);
}

static void another_cluster_ends_it(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {11, .cluster = 0xc2}, .watch_id = 7, .events = {{"/a/1", 11}}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_null(wants(f, WATCHING_DO_END)); /* not before the stream has ended */
    told(f, WATCHING_STOP);                 /* too late to be a stop */
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
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}}); /* the answer was faster than the cancel */
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

static void a_stop_while_a_left_stream_ends_closes_it_once(void **state) {
    fixture *f = *state;
    watches(f, 10);
    deadline_passes(f, 5000);
    deadline_passes(f, 5000);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    told(f, WATCHING_STOP);
    assert_null(wants(f, WATCHING_DO_CLOSE));
    ends_with(f, EW_OK);
}

/* After a compaction the old stream may still be ending while the snapshot loads: both must be over first. */
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

static void times_at_the_end_of_the_clock_do_not_overflow(void **state) {
    fixture *f = *state;
    f->now_ms = INT64_MAX - 10;
    watches(f, 10);
    never_due(f);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_BROKEN);
    watching_free(NULL);
}

static void no_backoff_is_a_backoff_too(void **state) {
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
        TEST(the_plain_path),
        TEST(every_move_is_logged),
        TEST(a_broken_stream_is_opened_again_without_end),
        TEST(a_watch_that_stood_long_starts_the_backoff_anew),
        TEST(a_timer_that_comes_early_changes_nothing),
        TEST(a_silent_stream_is_asked_and_then_left),
        TEST(silence_counts_from_where_reading_goes_on),
        TEST(any_answer_is_a_sign_of_life),
        TEST(silence_alone_is_no_lost_connection),
        TEST(a_silent_stream_that_is_not_replaced_is_a_lost_connection),
        TEST(a_stream_that_is_never_confirmed_is_left_too),
        TEST(what_cannot_heal_ends_it),
        TEST(what_can_heal_does_not_end_it),
        TEST(authentication_is_tried_a_few_times),
        TEST(another_cluster_ends_it),
        TEST(a_stop_before_the_start_ends_at_once),
        TEST(a_stop_while_loading_waits_for_the_call),
        TEST(a_stop_while_watching_waits_for_the_stream),
        TEST(a_stop_while_broken_ends_at_once),
        TEST(a_stop_while_a_left_stream_ends_closes_it_once),
        TEST(a_stop_waits_for_call_and_stream),
        TEST(times_at_the_end_of_the_clock_do_not_overflow),
        TEST(no_backoff_is_a_backoff_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
