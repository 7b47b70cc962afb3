/* Tests the shell's committer on an I/O whose operations fail on demand: each batch is decided, and DOWN comes after
 * the outcome. The source is compiled into this program with allocations that fail on demand. */
#include "shell/committer.h"

#include "unit/failing_memory.h"

#define step                   committer_step /* the fixture also has a function `step` */
#define calloc(count, size)    failing_calloc(count, size)
#define committing_new(config) (fails_now() ? NULL : committing_new(config))
#include "shell/committer.c"
#undef step
#undef calloc
#undef committing_new

#include "unit/committing_fixture.h"
#include "unit/shell_io.h"

enum { STOP_TIMEOUT_MS = 4000 };

typedef struct bed {
    test_io *t;
    piggyback piggyback;
    committing_config config;
    committer *c;
    size_t lease_checks;
    size_t sought; /* how often send_awaited was called */
} bed;

static void check_lease(void *arg) {
    ((bed *)arg)->lease_checks++;
}

static void send_awaited(void *arg) {
    ((bed *)arg)->sought++;
}

static void make(bed *b, bool of_worker) {
    b->c = committer_new(&(committer_config){.io = &b->t->io,
                                             .piggyback = of_worker ? &b->piggyback : NULL,
                                             .core = &b->config,
                                             .stop_timeout_ms = STOP_TIMEOUT_MS,
                                             .check_lease = of_worker ? check_lease : NULL,
                                             .check_arg = b});
}

static int set_up_kind(void **state, bool of_worker) {
    bed *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    b->t = test_io_new();
    b->config = plain_config;
    b->config.counter = false;
    b->config.exactly_once = false;
    b->config.lease = 0;
    piggyback_init(&b->piggyback);
    b->piggyback.io = &b->t->io;
    b->piggyback.send_awaited = send_awaited;
    b->piggyback.watcher = b;
    make(b, of_worker);
    assert_non_null(b->c);
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
    committer_free(b->c);
    test_io_free(b->t);
    free(b);
    return 0;
}

/* Runs a round at the time that the committer requested, which must be at most `most_ms` from now. */
static void play_round(bed *b, int64_t most_ms) {
    int64_t next_ms = committer_next_ms(b->c);
    assert_true(next_ms <= b->t->now_ms + most_ms);
    if (next_ms > b->t->now_ms)
        b->t->now_ms = next_ms;
    assert_true(committer_round(b->c, b->t->now_ms) == committer_next_ms(b->c));
}

/* Gives the committer a batch of the reactor that puts a new key. */
static void gives(bed *b, uint64_t number, const char *key) {
    Msg__Message m = MSG__MESSAGE__INIT;
    batch *made = batch_new(number, 0);
    batch_put(made, key, 0, "value");
    m.patches = &made->patches;
    committer_take(b->c, &m);
    free(made);
}

static bool is_in_etcd(const bed *b, const char *key) {
    return etcd_model_get(b->t->etcd, ew_str(key), etcd_model_revision(b->t->etcd)) != NULL;
}

static void assert_decided(const Msg__Outcome *o, uint64_t number, int status, const char *detail) {
    assert_non_null(o);
    assert_int_equal(o->batch, number);
    assert_string_equal(ew_errname(o->status), ew_errname(status));
    assert_string_equal(o->detail, detail);
}

/* Checks that the committer ends in the next round, which is due now. */
static void ends(bed *b, int status, const char *detail) {
    int ended_with;
    const char *ended_detail;
    assert_false(committer_ended(b->c, &ended_with, &ended_detail));
    play_round(b, 0);
    assert_true(committer_ended(b->c, &ended_with, &ended_detail));
    assert_int_equal(ended_with, status);
    assert_string_equal(ended_detail, detail);
    assert_down(b->t, MSG__ACTOR__COMMITTER, status, detail);
    assert_true(committer_next_ms(b->c) == INT64_MAX);
}

static void takes_stop(bed *b, int64_t timeout_ms) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop wants_stop = MSG__STOP__INIT;
    wants_stop.timeout_ms = timeout_ms;
    m.stop = &wants_stop;
    committer_take(b->c, &m);
}

/* ---- batches ---- */

static void a_batch_is_committed(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    assert_int_equal(b->t->calls[0].method, IO_TXN);
    assert_int_equal(b->t->calls[0].timeout_ms, b->config.call_timeout_ms);
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 1, EW_OK, "");
    assert_true(is_in_etcd(b, "/a/1"));
    forget_messages(b->t);
    takes_stop(b, 0);
    ends(b, EW_OK, "");
}

/* If there is a watcher, the outcome of a commit waits for the event, and the outcome of a refusal is sent at once. */
static void an_outcome_waits_for_its_event(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    assert_true(atomic_load(&b->piggyback.in_flight));
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_HOLD)->outcome, 1, EW_OK, "");
    assert_int_equal(b->sought, 1);
    assert_int_equal(piggyback_awaited(&b->piggyback), etcd_model_revision(b->t->etcd));
    forget_messages(b->t);

    gives(b, 2, "/a/1"); /* the key exists now, so the put is refused */
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_JOIN)->outcome, 2, EW_ERR_REFUSED, "");
    assert_int_equal(piggyback_awaited(&b->piggyback), 0);
    forget_messages(b->t);
    takes_stop(b, 1);
    ends(b, EW_OK, "");
}

static void a_message_for_another_actor_is_counted(void **state) {
    bed *b = *state;
    Msg__Message m = MSG__MESSAGE__INIT;
    committer_take(b->c, &m);
    assert_int_equal(b->t->bad_messages, 1);
    assert_string_equal(b->t->why, "not for a committer");
}

static void space_is_reported(void **state) {
    bed *b = *state;
    assert_false(committer_has_no_space(b->c));
    etcd_model_set_full(b->t->etcd, true);
    gives(b, 1, "/a/1");
    call_is_answered(b->t);
    assert_true(committer_has_no_space(b->c));
    assert_true(b->t->logs > 0);
    etcd_model_set_full(b->t->etcd, false);
    play_round(b, b->config.backoff_max_ms);
    call_is_answered(b->t);
    assert_false(committer_has_no_space(b->c));
    assert_decided(only_message(b->t, IO_SEND)->outcome, 1, EW_OK, "");
}

/* ---- leases ---- */

static void a_lost_receipt_lease_is_checked_and_replaced(void **state) {
    bed *b = *state;
    committer_free(b->c);
    b->config.exactly_once = true;
    b->config.lease = LEASE; /* etcd does not know it */
    make(b, true);
    gives(b, 1, "/a/1");
    call_is_answered(b->t);
    assert_int_equal(b->lease_checks, 0);
    call_is_answered(b->t); /* the transaction that claims the receipt */
    assert_int_equal(b->lease_checks, 1);
    assert_int_equal(b->t->count, 0);

    static uint8_t bytes[64];
    Pb__LeaseGrantRequest grant = PB__LEASE_GRANT_REQUEST__INIT;
    grant.id = LEASE + 1;
    grant.ttl = 60;
    size_t len = pb__lease_grant_request__pack(&grant, bytes);
    assert_int_equal(etcd_model_call(b->t->etcd, ETCD_MODEL_LEASE_GRANT, (ew_slice){bytes, len}).status, EW_OK);
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = LEASE + 1;
    m.session = &session;
    committer_take(b->c, &m);
    for (int i = 0; i < 8 && b->t->count == 0; i++) {
        if (b->t->calls[0].fn)
            call_is_answered(b->t);
        else
            play_round(b, b->config.backoff_max_ms);
    }
    assert_decided(only_message(b->t, IO_HOLD)->outcome, 1, EW_OK, "");
    assert_int_equal(etcd_model_get(b->t->etcd, ew_str(RECEIPT), etcd_model_revision(b->t->etcd))->lease, LEASE + 1);
}

/* ---- a second batch ---- */

/* It is unknown which of the two batches came from the reactor: the first is decided, and the committer of a worker
 * ends. */
static void a_second_batch_ends_the_committer_of_a_worker(void **state) {
    bed *b = *state;
    static const char why[] = "PATCHES: batch 9, while another one is undecided";
    gives(b, 1, "/a/1");
    gives(b, 9, "/a/9");
    assert_int_equal(b->t->bad_messages, 1);
    assert_string_equal(b->t->why, why);
    play_round(b, 0);
    assert_int_equal(b->t->count, 0);
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_HOLD)->outcome, 1, EW_OK, "");
    ends(b, EW_ERR_BAD_MESSAGE, why);
    assert_false(is_in_etcd(b, "/a/9"));
}

static void a_second_batch_is_dropped_without_a_worker(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    gives(b, 9, "/a/9");
    assert_int_equal(b->t->bad_messages, 1);
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 1, EW_OK, "");
    forget_messages(b->t);
    gives(b, 2, "/a/2");
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 2, EW_OK, "");
    assert_false(is_in_etcd(b, "/a/9"));
}

/* ---- bodies that are not a Message ---- */

static void a_malformed_body_is_reported_to_the_reactor(void **state) {
    bed *b = *state;
    committer_take_malformed(b->c);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 0, EW_ERR_BAD_MESSAGE,
                   "the committer has got a body that is not a Message");
    forget_messages(b->t);
    takes_stop(b, 1);
    ends(b, EW_OK, "");
    forget_messages(b->t);
    committer_take_malformed(b->c); /* nothing is sent after DOWN */
    assert_int_equal(b->t->count, 0);
}

static void a_malformed_body_changes_nothing_without_a_worker(void **state) {
    bed *b = *state;
    committer_take_malformed(b->c);
    assert_int_equal(b->t->count, 0);
    assert_true(committer_next_ms(b->c) == INT64_MAX);
}

/* ---- out of memory ---- */

static void no_memory_for_a_transaction(void **state) {
    bed *b = *state;
    b->t->refused = REFUSE_CALL;
    gives(b, 1, "/a/1");
    assert_int_equal(b->t->count, 0); /* reported in the next round, not inside the step */
    play_round(b, 0);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 1, EW_ERR_NO_MEMORY, "starting a call");
    forget_messages(b->t);
    b->t->refused = 0;
    gives(b, 2, "/a/2"); /* nothing was written, so the committer continues */
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 2, EW_OK, "");
    assert_false(is_in_etcd(b, "/a/1"));
}

static void no_memory_for_an_outcome(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    b->t->refused = REFUSE_SEND;
    call_is_answered(b->t);
    ends(b, EW_ERR_NO_MEMORY, "sending an outcome");
}

static void no_memory_to_report_a_malformed_body(void **state) {
    bed *b = *state;
    b->t->refused = REFUSE_SEND;
    committer_take_malformed(b->c);
    ends(b, EW_ERR_NO_MEMORY, "sending an outcome");
}

/* A message is lost while a transaction is in flight: the call is cancelled, and DOWN waits for its answer. */
static void a_message_is_lost(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    committer_fail(b->c);
    committer_fail(b->c); /* has no further effect */
    assert_true(b->t->calls[0].cancelled);
    assert_true(committer_next_ms(b->c) == INT64_MAX);
    assert_true(committer_round(b->c, b->t->now_ms) == INT64_MAX);
    assert_int_equal(b->t->count, 0);
    call_is_answered(b->t);
    ends(b, EW_ERR_NO_MEMORY, "handling a message");
}

static void no_memory_for_a_committer(void **state) {
    bed *b = *state;
    committer_free(b->c);
    for (long n = 0; n < 2; n++) {
        fail_in = n;
        make(b, true);
        assert_null(b->c);
        assert_int_equal(fail_in, -1);
    }
    committer_free(NULL);
}

/* ---- stops ---- */

static void a_stop_waits_for_the_answer(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    takes_stop(b, STOP_TIMEOUT_MS);
    play_round(b, 0);
    assert_int_equal(b->t->count, 0);
    assert_int_equal(committing_get_state(committer_core(b->c)), COMMITTING_IN_FLIGHT);
    call_is_answered(b->t);
    assert_decided(only_message(b->t, IO_SEND)->outcome, 1, EW_OK, "");
    ends(b, EW_OK, "");
}

/* The answer does not come within the timeout of the stop: the outcome is unknown, and DOWN waits until the cancelled
 * call has ended. */
static void a_stop_runs_out(void **state) {
    bed *b = *state;
    gives(b, 1, "/a/1");
    takes_stop(b, STOP_TIMEOUT_MS);
    play_round(b, 0);
    play_round(b, STOP_TIMEOUT_MS);
    const Msg__Outcome *o = only_message(b->t, IO_SEND)->outcome;
    assert_non_null(o);
    assert_true(o->unknown);
    assert_true(b->t->calls[0].cancelled);
    call_is_answered(b->t);
    ends(b, EW_OK, "");
}

#define ALONE(test)     cmocka_unit_test_setup_teardown(test, alone, tear_down)
#define OF_WORKER(test) cmocka_unit_test_setup_teardown(test, of_worker, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        ALONE(a_batch_is_committed),
        OF_WORKER(an_outcome_waits_for_its_event),
        ALONE(a_message_for_another_actor_is_counted),
        ALONE(space_is_reported),
        OF_WORKER(a_lost_receipt_lease_is_checked_and_replaced),
        OF_WORKER(a_second_batch_ends_the_committer_of_a_worker),
        ALONE(a_second_batch_is_dropped_without_a_worker),
        OF_WORKER(a_malformed_body_is_reported_to_the_reactor),
        ALONE(a_malformed_body_changes_nothing_without_a_worker),
        ALONE(no_memory_for_a_transaction),
        ALONE(no_memory_for_an_outcome),
        OF_WORKER(no_memory_to_report_a_malformed_body),
        ALONE(a_message_is_lost),
        ALONE(no_memory_for_a_committer),
        ALONE(a_stop_waits_for_the_answer),
        ALONE(a_stop_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
