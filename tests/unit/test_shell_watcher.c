/* Tests the shell's watcher on an I/O whose operations fail on demand: how the watcher ends, what it sends, and that it
 * continues a paused or lost read. The sources are compiled into this program with allocations that fail on demand. */
#include "shell/page_read.h"
#include "shell/watcher.h"
#include "shell/watcher_check.h"
#include "shell/watching_message.h"

#include "unit/failing_memory.h"

#define malloc(size)         failing_malloc(size)
#define calloc(count, size)  failing_calloc(count, size)
#define watching_new(config) (fails_now() ? NULL : watching_new(config))
#include "shell/page_read.c"
#include "shell/watcher.c"
#undef malloc
#undef calloc
#undef watching_new

#include "unit/shell_io.h"

enum { CALL_TIMEOUT_MS = 10000, SILENCE_MS = 5000 };

typedef struct bed {
    test_io *t;
    piggyback piggyback;
    watching_config config;
    watcher *w;
    int64_t next_ms; /* what the last round returned */
} bed;

static void make(bed *b, bool of_worker) {
    b->w = watcher_new(&(watcher_config){.io = &b->t->io,
                                         .piggyback = of_worker ? &b->piggyback : NULL,
                                         .core = &b->config,
                                         .call_timeout_ms = CALL_TIMEOUT_MS});
}

static int set_up_kind(void **state, bool of_worker) {
    bed *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    b->t = test_io_new();
    another_puts(b->t, "/a/1", 10);
    b->config = (watching_config){.key = {"/a", 2},
                                  .range_end = {"/a0", 3},
                                  .page_bytes = 1 << 20,
                                  .receive_bytes = 1 << 26,
                                  .backoff_min_ms = 50,
                                  .backoff_max_ms = 1000,
                                  .silence_ms = SILENCE_MS};
    piggyback_init(&b->piggyback);
    make(b, of_worker);
    assert_non_null(b->w);
    return 0;
}

static int alone(void **state) {
    return set_up_kind(state, false);
}

static int of_worker(void **state) {
    return set_up_kind(state, true);
}

static int tear_down(void **state) {
    bed *b = *state;
    watcher_free(b->w);
    test_io_free(b->t);
    free(b);
    return 0;
}

static void play_round(bed *b) {
    b->next_ms = watcher_round(b->w, b->t->now_ms);
}

/* Loads the prefix and watches it. Forgets the messages. */
static void watches(bed *b) {
    watcher_start(b->w);
    call_is_answered(b->t);
    stream_delivers(b->t);
    play_round(b);
    assert_int_equal(watching_get_state(watcher_core(b->w)), WATCHING_WATCHING);
    forget_messages(b->t);
}

/* Checks that the watcher ends with this status when its call and its stream, if there are any, have ended. */
static void ends(bed *b, int status, const char *detail) {
    int ended_with;
    const char *ended_detail;
    if (b->t->calls[0].fn || b->t->stream.watch) {
        play_round(b);
        assert_false(watcher_ended(b->w, &ended_with, &ended_detail));
    }
    if (b->t->stream.watch) {
        assert_true(b->t->stream.cancelled);
        stream_ends(b->t, EW_ERR_CANCELLED);
    }
    while (b->t->calls[0].fn) {
        assert_true(b->t->calls[0].cancelled);
        call_is_answered(b->t);
    }
    play_round(b);
    assert_true(watcher_ended(b->w, &ended_with, &ended_detail));
    assert_int_equal(ended_with, status);
    assert_string_equal(ended_detail, detail);
    assert_down(b->t, MSG__ACTOR__WATCHER, status, detail);
    assert_true(b->next_ms == INT64_MAX);
}

static void take(bed *b, Msg__Check *check, Msg__Stop *wants_stop) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.check = check;
    m.stop = wants_stop;
    watcher_take(b->w, &m);
}

/* ---- when nothing fails ---- */

static void a_load_then_events_then_a_stop(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    watcher_start(b->w);
    assert_int_equal(t->calls[0].method, IO_RANGE);
    assert_int_equal(t->calls[0].timeout_ms, CALL_TIMEOUT_MS);
    call_is_answered(t);
    assert_true(only_message(t, IO_SEND)->snapshot->page.len > 0);
    assert_false(t->messages[0]->snapshot->last);
    assert_int_equal(stream_delivers(t), 1);
    assert_true(t->rounds_due > 0);
    play_round(b);
    assert_int_equal(t->count, 3);
    assert_true(t->messages[1]->snapshot->last);
    assert_true(t->messages[2]->health->connected);
    assert_true(t->logs > 0);
    forget_messages(t);

    another_puts(t, "/a/2", 10);
    another_puts(t, "/a/3", 10);
    assert_int_equal(stream_delivers(t), 2);
    assert_int_equal(t->count, 0);
    play_round(b); /* both revisions are one message */
    assert_int_equal(only_message(t, IO_SEND)->events->revision, etcd_model_revision(t->etcd));
    Pb__WatchResponse *r =
        pb__watch_response__unpack(NULL, t->messages[0]->events->response.len, t->messages[0]->events->response.data);
    assert_int_equal(r->n_events, 2);
    pb__watch_response__free_unpacked(r, NULL);

    Msg__Stop wants_stop = MSG__STOP__INIT;
    take(b, NULL, &wants_stop);
    ends(b, EW_OK, "");
    watcher_fail(b->w); /* has no further effect */
    watcher_stop(b->w);
    play_round(b);
    assert_down(t, MSG__ACTOR__WATCHER, EW_OK, "");
}

static void a_silent_stream_is_probed(void **state) {
    bed *b = *state;
    watches(b);
    assert_true(b->next_ms == b->t->now_ms + SILENCE_MS);
    b->t->now_ms += SILENCE_MS;
    play_round(b);
    assert_int_equal(stream_delivers(b->t), 1); /* the reply to the probe */
    assert_int_equal(watcher_get_reconnects(b->w), 0);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

/* Events that do not fit into one message with the events before them are sent after these. A response that is too
 * large to be joined is sent in a message of its own. */
static void large_events_keep_their_order(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    watches(b);
    static const size_t sizes[] = {40000, 40000, PIGGYBACK_HOLD_BYTES + 1, 10};
    for (size_t i = 0; i < 4; i++)
        another_puts(t, "/a/1", sizes[i]);
    const int64_t revision = etcd_model_revision(t->etcd);
    assert_int_equal(stream_delivers(t), 4);
    play_round(b);
    assert_int_equal(t->count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(t->messages[i]->events->revision, revision - 3 + i);
        assert_true(t->messages[i]->events->response.len > sizes[i]);
        assert_int_equal(t->modes[i], sizes[i] > PIGGYBACK_HOLD_BYTES ? IO_SEND : IO_JOIN);
    }
    forget_messages(t);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

static void a_message_for_another_actor_is_counted(void **state) {
    bed *b = *state;
    take(b, NULL, NULL);
    assert_int_equal(b->t->bad_messages, 1);
    assert_string_equal(b->t->why, "not for a watcher");
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

/* ---- bodies that are not a Message ---- */

static void a_malformed_body_makes_a_workers_watcher_load(void **state) {
    bed *b = *state;
    watches(b);
    watcher_take_malformed(b->w);
    assert_int_equal(watching_get_state(watcher_core(b->w)), WATCHING_SYNCING);
    assert_int_equal(b->t->calls[0].method, IO_RANGE);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

static void a_malformed_body_changes_nothing_without_a_worker(void **state) {
    bed *b = *state;
    watches(b);
    watcher_take_malformed(b->w);
    assert_int_equal(watching_get_state(watcher_core(b->w)), WATCHING_WATCHING);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

/* ---- the receiver has no capacity ---- */

static void a_busy_receiver_gets_no_page(void **state) {
    bed *b = *state;
    b->t->busy = true;
    watcher_start(b->w);
    play_round(b);
    assert_null(b->t->calls[0].fn);
    b->t->busy = false;
    watcher_resume(b->w);
    assert_non_null(b->t->calls[0].fn);
    watcher_resume(b->w); /* starts no second call */
    call_is_answered(b->t);
    assert_int_equal(b->t->count, 1);
    stream_delivers(b->t);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

static void a_page_that_waits_ends_with_the_watcher(void **state) {
    bed *b = *state;
    b->t->busy = true;
    watcher_start(b->w);
    watcher_stop(b->w); /* starts the call and cancels it, so that it ends */
    ends(b, EW_OK, "");
}

static void a_page_is_not_kept_without_memory(void **state) {
    bed *b = *state;
    b->t->busy = true;
    fail_in = 0;
    watcher_start(b->w);
    assert_int_equal(fail_in, -1);
    assert_true(b->t->rounds_due > 0);
    ends(b, EW_ERR_NO_MEMORY, "starting a call");
}

static void a_page_that_waits_is_freed(void **state) {
    bed *b = *state;
    b->t->busy = true;
    watcher_start(b->w); /* the tear-down frees the waiting page */
}

static void a_paused_stream_is_read_again(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    watches(b);
    t->busy = true;
    another_puts(t, "/a/2", 10);
    stream_delivers(t);
    play_round(b); /* sends the event, and pauses */
    assert_true(t->stream.paused);
    assert_int_equal(t->count, 1);
    another_puts(t, "/a/3", 10);
    assert_int_equal(stream_delivers(t), 0);
    t->now_ms += 100 * SILENCE_MS; /* a paused stream is silent, but is not probed */
    play_round(b);
    assert_true(b->next_ms == INT64_MAX);
    t->busy = false;
    watcher_resume(b->w);
    assert_false(t->stream.paused);
    assert_int_equal(stream_delivers(t), 1);
    play_round(b);
    assert_int_equal(t->count, 2);
    assert_int_equal(t->opened, 1);
    forget_messages(t);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

static void a_stream_that_breaks_while_paused_is_replaced(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    watches(b);
    t->busy = true;
    another_puts(t, "/a/2", 10);
    stream_delivers(t);
    play_round(b);
    assert_true(t->stream.paused);
    stream_ends(t, EW_ERR_UNAVAILABLE);
    play_round(b);
    assert_true(b->next_ms > t->now_ms && b->next_ms != INT64_MAX); /* there is a deadline again */
    t->now_ms = b->next_ms;
    play_round(b);
    assert_int_equal(t->opened, 2);
    assert_true(t->stream.paused);
    assert_int_equal(watcher_get_reconnects(b->w), 1);
    t->busy = false;
    watcher_resume(b->w);
    assert_int_equal(stream_delivers(t), 2); /* created, and the last event again */
    forget_messages(t);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

/* ---- out of memory ---- */

static void no_memory_for_a_call(void **state) {
    bed *b = *state;
    b->t->refused = REFUSE_CALL;
    watcher_start(b->w);
    assert_true(b->t->rounds_due > 0);
    assert_int_equal(b->t->count, 0); /* reported in the next round, not inside the step */
    ends(b, EW_ERR_NO_MEMORY, "starting a call");
}

static void no_memory_for_a_stream(void **state) {
    bed *b = *state;
    b->t->refused = REFUSE_STREAM;
    watcher_start(b->w);
    size_t due = b->t->rounds_due;
    call_is_answered(b->t);
    assert_true(b->t->rounds_due > due + 1);
    assert_int_equal(b->t->opened, 0);
    ends(b, EW_ERR_NO_MEMORY, "starting a stream");
}

static void a_stream_without_its_request_is_replaced(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    t->refused = REFUSE_REQUEST;
    watcher_start(b->w);
    call_is_answered(t);
    assert_true(t->stream.cancelled);
    t->refused = 0;
    stream_ends(t, EW_ERR_CANCELLED);
    play_round(b);
    t->now_ms = b->next_ms;
    play_round(b);
    assert_int_equal(t->opened, 2);
    assert_int_equal(stream_delivers(t), 1);
    forget_messages(t);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

static void no_memory_for_a_message(void **state) {
    bed *b = *state;
    watches(b);
    b->t->refused = REFUSE_SEND;
    another_puts(b->t, "/a/2", 10);
    stream_delivers(b->t);
    play_round(b);
    assert_int_equal(b->t->count, 0);
    ends(b, EW_ERR_NO_MEMORY, "taking or sending a message");
}

/* Nothing that would end later, like a call or a stream, makes the next round come. */
static void no_memory_while_nothing_is_in_flight(void **state) {
    bed *b = *state;
    watches(b);
    Msg__Check check = MSG__CHECK__INIT;
    check.number = 1;
    check.revision = etcd_model_revision(b->t->etcd);
    take(b, &check, NULL);
    play_round(b);
    call_fails(b->t, EW_ERR_UNAVAILABLE); /* the check is tried again later */
    b->t->refused = REFUSE_SEND;
    another_puts(b->t, "/a/2", 10);
    stream_delivers(b->t);
    stream_ends(b->t, EW_ERR_UNAVAILABLE);
    size_t due = b->t->rounds_due;
    play_round(b);
    assert_true(b->t->rounds_due > due);
    ends(b, EW_ERR_NO_MEMORY, "taking or sending a message");
}

static void no_memory_to_release_a_message(void **state) {
    bed *b = *state;
    watches(b);
    b->t->refused = REFUSE_RELEASE;
    piggyback_begin_batch(&b->piggyback);
    another_puts(b->t, "/a/2", 10);
    stream_delivers(b->t);
    play_round(b);
    assert_non_null(only_message(b->t, IO_HOLD)->events);
    assert_true(b->next_ms == b->t->now_ms + PIGGYBACK_HOLD_MS);
    assert_int_equal(b->t->releases, 0);
    b->t->now_ms = b->next_ms;
    ends(b, EW_ERR_NO_MEMORY, "taking or sending a message");
    assert_int_equal(b->t->releases, 1);
    assert_true(atomic_load(&b->piggyback.unwatched));
}

/* A message to the watcher is lost while it reads a page: the call is cancelled, and its answer is ignored. */
static void a_message_is_lost_during_the_load(void **state) {
    bed *b = *state;
    watcher_start(b->w);
    watcher_fail(b->w);
    ends(b, EW_ERR_NO_MEMORY, "taking or sending a message");
}

static void a_message_is_lost_while_a_page_waits(void **state) {
    bed *b = *state;
    b->t->busy = true;
    watcher_start(b->w);
    b->t->refused = REFUSE_CALL;
    watcher_fail(b->w);
    ends(b, EW_ERR_NO_MEMORY, "taking or sending a message");
}

static void no_memory_for_a_watcher(void **state) {
    bed *b = *state;
    watcher_free(b->w);
    for (long n = 0; n < 2; n++) {
        fail_in = n;
        make(b, true);
        assert_null(b->w);
        assert_int_equal(fail_in, -1);
    }
    watcher_free(NULL);
}

/* ---- consistency checks ---- */

static void a_check_runs_beside_the_watch(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    watches(b);
    Msg__Check check = MSG__CHECK__INIT;
    check.number = 7;
    check.revision = etcd_model_revision(t->etcd);
    take(b, &check, NULL);
    play_round(b);
    call_is_answered(t);
    const Msg__Checked *checked = only_message(t, IO_SEND)->checked;
    assert_int_equal(checked->number, 7);
    assert_true(checked->last && checked->status == EW_OK && checked->page.len > 0);
    forget_messages(t);

    take(b, &check, NULL); /* another check, which the end of the watcher cancels */
    play_round(b);
    play_round(b);
    assert_non_null(t->calls[0].fn);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
    take(b, &check, NULL); /* no check after the end */
    play_round(b);
    assert_null(t->calls[0].fn);
}

static void a_check_that_fails_is_reported(void **state) {
    bed *b = *state;
    test_io *t = b->t;
    watches(b);
    Msg__Check check = MSG__CHECK__INIT;
    check.number = 1;
    check.revision = etcd_model_revision(t->etcd);
    take(b, &check, NULL);
    play_round(b);
    call_fails(t, EW_ERR_DENIED);
    const Msg__Checked *checked = only_message(t, IO_SEND)->checked;
    assert_true(checked->last);
    assert_int_equal(checked->status, EW_ERR_DENIED);
    assert_string_equal(checked->detail, "as the test says");
    forget_messages(t);

    play_round(b); /* the watch continues */
    take(b, &check, NULL);
    play_round(b);
    t->refused = REFUSE_SEND;
    call_is_answered(t);
    t->refused = 0;
    ends(b, EW_ERR_NO_MEMORY, "taking or sending a message");
}

static void a_load_is_requested(void **state) {
    bed *b = *state;
    watches(b);
    Msg__Check check = MSG__CHECK__INIT;
    check.resync = true;
    take(b, &check, NULL);
    assert_int_equal(watching_get_state(watcher_core(b->w)), WATCHING_SYNCING);
    watcher_stop(b->w);
    ends(b, EW_OK, "");
}

#define ALONE(test)     cmocka_unit_test_setup_teardown(test, alone, tear_down)
#define OF_WORKER(test) cmocka_unit_test_setup_teardown(test, of_worker, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        ALONE(a_load_then_events_then_a_stop),
        ALONE(a_silent_stream_is_probed),
        OF_WORKER(large_events_keep_their_order),
        ALONE(a_message_for_another_actor_is_counted),
        OF_WORKER(a_malformed_body_makes_a_workers_watcher_load),
        ALONE(a_malformed_body_changes_nothing_without_a_worker),
        ALONE(a_busy_receiver_gets_no_page),
        ALONE(a_page_that_waits_ends_with_the_watcher),
        ALONE(a_page_is_not_kept_without_memory),
        ALONE(a_page_that_waits_is_freed),
        ALONE(a_paused_stream_is_read_again),
        ALONE(a_stream_that_breaks_while_paused_is_replaced),
        ALONE(no_memory_for_a_call),
        ALONE(no_memory_for_a_stream),
        ALONE(a_stream_without_its_request_is_replaced),
        ALONE(no_memory_for_a_message),
        ALONE(no_memory_while_nothing_is_in_flight),
        OF_WORKER(no_memory_to_release_a_message),
        ALONE(a_message_is_lost_during_the_load),
        ALONE(a_message_is_lost_while_a_page_waits),
        ALONE(no_memory_for_a_watcher),
        ALONE(a_check_runs_beside_the_watch),
        ALONE(a_check_that_fails_is_reported),
        ALONE(a_load_is_requested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
