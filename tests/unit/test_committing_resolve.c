/* Unknown outcomes: if a message is lost, late or duplicated, an atomic unit is still applied exactly once, and its
 * reported outcome is true. The numbers of the cases are those in src/core/committing_resolve.c. */
#include "unit/committing_fixture.h"
#include "unit/nested.h"

static world *w;

static int setup(void **state) {
    (void)state;
    w = world_new(&plain_config);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    world_free(w);
    return 0;
}

static void give_one(const char *key, int64_t mod, const char *value) {
    static uint64_t number = 100;
    batch *b = batch_new(++number, 0);
    batch_put(b, key, mod, value);
    give(w, b);
}

/* Case 1: the first attempt never arrived; the second one is applied. */
static void test_first_attempt_lost(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    sent first = w->last;
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    assert_true(w->txn); /* sent again at once */
    assert_memory_equal(w->last.bytes, first.bytes, first.len);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.txns, 2);
    assert_int_equal(w->outcome.resolved, 1);
    assert_int_equal(w->outcome.barrier_revision, 2);
}

/* Case 1, and the first attempt arrives late: it changes nothing. */
static void test_first_attempt_late_after_success(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    sent *copy = delayed(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    tiny_delete(&w->etcd, "/a/x"); /* its other compare would hold again */
    assert_false(late(w, copy));
    assert_null(tiny_value(&w->etcd, "/a/x"));
}

/* Case 2: the first attempt was applied; its revision is the barrier revision. */
static void test_answer_lost(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied_lost(w);
    tiny_put(&w->etcd, "/elsewhere", "1");
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, 2);
    assert_int_equal(w->revisions[0], 2);
    assert_int_equal(w->outcome.resolved, 1);
    give_one("/a/y", 0, "1"); /* the next transaction compares that receipt */
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* Case 2, and another writer has changed the key since: the transaction was applied. */
static void test_answer_lost_then_overwritten(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied_lost(w);
    tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_string_equal(tiny_value(&w->etcd, "/a/x"), "external");
}

/* ETCD P11: with receipts the first time limits are shorter than etcd's own, and grow with each attempt. An answer,
 * even one that says "not applied", resets them. Without receipts there is one attempt, with the whole
 * `call_timeout_ms`. */
static void test_time_limits_of_attempts(void **state) {
    (void)state;
    static const int64_t timeouts[] = {2000, 2000, 4000, 4000, 8000, 8000, 10000, 10000};
    give_one("/a/x", 0, "1");
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        assert_int_equal(w->timeout_ms, timeouts[i]);
        answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
        while (!w->txn)
            wait_timer(w);
    }
    answer_status(w, EW_ERR_BUSY);
    wait_timer(w);
    assert_int_equal(w->timeout_ms, 2000);
    committing_config config = plain_config;
    config.exactly_once = false;
    world_free(w);
    w = world_new(&config);
    give_one("/a/x", 0, "1");
    assert_int_equal(w->timeout_ms, 10000);
}

/* SEMANTICS 27: for a resolved transaction the core computes from its operations whether the watch shows events of
 * it. */
static void test_resolved_commit_without_events(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.counter = false;
    world_free(w);
    w = world_new(&config);
    give_one("/a/none", 0, NULL);
    applied_lost(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, 0);
    int64_t mod = tiny_put(&w->etcd, "/a/some", "1");
    give_one("/a/some", mod, NULL);
    applied_lost(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, mod + 1);
}

static void test_resolved_commit_with_counter(void **state) {
    (void)state;
    int64_t mod = tiny_put(&w->etcd, "/a/x", "1");
    give_one("/a/x", mod, NULL);
    applied_lost(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, mod + 1);
    assert_string_equal(tiny_value(&w->etcd, COUNTER), "1");
}

/* Case 3a: the transaction was refused. A receipt bump makes that final before the outcome is reported. */
static void test_refused_then_fenced(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    sent *copy = delayed(w);
    int64_t revision = tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    assert_false(w->has_outcome);
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    applied(w); /* the receipt bump */
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.conflict_revision, revision);
    assert_string_equal(tiny_value(&w->etcd, RECEIPT), "2");
    tiny_delete(&w->etcd, "/a/x"); /* the compare would hold again */
    assert_false(late(w, copy));
    assert_null(tiny_value(&w->etcd, "/a/x"));
    give_one("/a/x", 0, "2");
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* Case 3a, with atomic units before the one that conflicts: they are sent again, once. */
static void test_fenced_then_units_before_it(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    batch_put(b, "/a/y", 0, "1");
    tiny_put(&w->etcd, "/a/y", "external");
    give(w, b);
    sent *copy = delayed(w);
    applied(w);
    applied(w); /* the receipt bump */
    assert_int_equal(committing_get_state(w->c), COMMITTING_IN_FLIGHT);
    tiny_delete(&w->etcd, "/a/y");
    assert_false(late(w, copy));
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 1);
    assert_string_equal(tiny_value(&w->etcd, "/a/x"), "1");
    assert_null(tiny_value(&w->etcd, "/a/y"));
}

/* Cases 3e, 3b: the receipt bump is applied, and its answer is lost. */
static void test_fence_answer_lost(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    applied_lost(w); /* the receipt bump */
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    give_one("/a/y", 0, "1");
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* Case 3c: the first attempt is applied between the refusal and the receipt bump. */
static void test_first_attempt_late_before_the_fence(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    sent *copy = delayed(w);
    tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    tiny_delete(&w->etcd, "/a/x");
    assert_true(late(w, copy));
    int64_t revision = w->etcd.revision;
    applied(w); /* the receipt bump */
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, revision);
    assert_string_equal(tiny_value(&w->etcd, "/a/x"), "1");
}

/* Case 3e: a late copy of the receipt bump changes nothing. */
static void test_fence_late(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    sent *fence = delayed(w);
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_false(late(w, fence));
}

/* Case 4b: the receipt is missing, so the outcome stays unknown. */
static void test_receipt_gone_while_resolving(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied(w);
    give_one("/a/y", 0, "1");
    applied_lost(w);
    tiny_delete(&w->etcd, RECEIPT);
    applied(w);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
    assert_non_null(strstr(w->detail, RECEIPT));
    assert_non_null(strstr(w->detail, "receipt_ttl_s"));
}

/* Case 4a: a written key that still has its old revision proves that the transaction was not applied. */
static void test_receipt_gone_and_a_key_untouched(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied(w);
    int64_t x = tiny_mod(&w->etcd, "/a/x");
    give_one("/a/x", x, "2");
    sent *copy = delayed(w);
    tiny_delete(&w->etcd, RECEIPT);
    applied(w); /* sent again: the receipt is missing, /a/x is unchanged */
    assert_int_equal(committing_get_state(w->c), COMMITTING_CLAIMING);
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.resolved, 1);
    assert_false(late(w, copy));
    assert_string_equal(tiny_value(&w->etcd, "/a/x"), "2");
}

/* Case 4b: no proof if the key was only compared, or has changed. */
static void test_receipt_gone_and_no_written_key_untouched(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        world_free(w);
        w = world_new(&plain_config);
        give_one("/a/x", 0, "1");
        applied(w);
        int64_t x = tiny_mod(&w->etcd, "/a/x");
        batch *b = batch_new(2, 0);
        batch_unit(b);
        batch_key(b, "/a/x", x, kind == 0 ? "?" : "2");
        batch_key(b, "/a/y", 0, "1");
        give(w, b);
        applied_lost(w);
        tiny_delete(&w->etcd, RECEIPT);
        applied(w);
        assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
        assert_true(w->outcome.unknown);
    }
}

static void test_receipt_gone_before_the_fence(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied(w);
    give_one("/a/y", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    tiny_put(&w->etcd, "/a/y", "external");
    applied(w);
    tiny_delete(&w->etcd, RECEIPT);
    applied(w); /* the receipt bump */
    applied(w); /* the transaction again, whose refusal reads its keys */
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
}

/* The lease expired while the very first transaction was unknown: the second attempt cannot be applied. */
static void test_lease_gone_while_resolving(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    w->etcd.dead_lease = LEASE;
    applied(w);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
}

/* The receipt exists, so its lease lives: the lease that etcd does not know is that of a put. */
static void test_lease_of_a_put_gone_while_resolving(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied(w);
    give_one("/a/y", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    answer_status(w, EW_ERR_NOT_FOUND);
    assert_outcome(w, EW_ERR_SESSION_DONE, 0);
}

/* Cases 5 and 4b: another worker uses this worker's id, as the lease shows; or the receipt has a lease of ours with an
 * unknown sequence number, as a late claim puts it. */
static void test_external_receipt_while_resolving(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        world_free(w);
        w = world_new(&plain_config);
        give_one("/a/x", 0, "1");
        answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
        if (kind == 0) {
            tiny_put(&w->etcd, RECEIPT, "1"); /* our sequence number, not our lease */
        } else {
            tiny_set(&w->etcd, 2, RECEIPT, strlen(RECEIPT), "9", 1, LEASE);
            w->etcd.revision = 2;
        }
        applied(w);
        assert_outcome(w, kind == 0 ? EW_ERR_FENCED : EW_ERR_UNKNOWN_OUTCOME, 0);
        assert_true(w->outcome.unknown);
    }
}

/* Case 3f: the same, found by the receipt bump. */
static void test_external_receipt_during_a_bump(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        world_free(w);
        w = world_new(&plain_config);
        give_one("/a/x", 0, "1");
        applied(w);
        give_one("/a/y", 0, "1");
        tiny_put(&w->etcd, "/a/y", "another's");
        answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
        applied(w); /* refused: the bump is sent */
        assert_true(w->txn);
        tiny_set(&w->etcd, ++w->etcd.revision, RECEIPT, strlen(RECEIPT), "9", 1, kind == 0 ? LEASE + 9 : LEASE);
        applied(w);
        assert_outcome(w, kind == 0 ? EW_ERR_FENCED : EW_ERR_UNKNOWN_OUTCOME, 0);
        assert_true(w->outcome.unknown);
    }
}

/* Case 7a: a record was to be put with the lease that was replaced meanwhile. It is certain that no copy is applied. */
static void test_replaced_lease_gone_while_resolving(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied(w);
    give_one("/a/y", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    replace_lease(w, LEASE + 1);
    answer_status(w, EW_ERR_NOT_FOUND);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_false(w->outcome.unknown);
}

/* Case 9: etcd was restored from an older state while the outcome was unknown, also during a receipt bump. */
static void test_older_receipt_while_resolving(void **state) {
    (void)state;
    for (int fencing = 0; fencing < 2; fencing++) {
        world_free(w);
        w = world_new(&plain_config);
        w->etcd.revision = 20;
        give_one("/a/w", 0, "1");
        applied(w);
        give_one("/a/x", 0, "1");
        if (fencing)
            tiny_put(&w->etcd, "/a/x", "another's");
        answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
        if (fencing) { /* refused, but a copy may still arrive */
            applied(w);
            assert_true(w->txn);
        }
        tiny_set(&w->etcd, 9, RECEIPT, strlen(RECEIPT), "7", 1, LEASE);
        tiny_delete(&w->etcd, "/a/x");
        w->etcd.revision = 10;
        applied(w);
        assert_outcome(w, EW_ERR_REFUSED, 0);
        assert_true(w->outcome.rewritten);
        assert_false(w->outcome.unknown);
        give_one("/a/x", 0, "1");
        applied(w); /* takes over the receipt that was found */
        assert_false(w->has_outcome);
        applied(w);
        assert_outcome(w, EW_OK, 1);
    }
}

/* Case 7: after an answer that says nothing about the transaction it is sent again, with growing waits, without end. */
static void test_resolving_takes_long(void **state) {
    (void)state;
    static const int statuses[] = {EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE, EW_ERR_BUSY, EW_ERR_TIMEOUT,
                                   EW_ERR_CANCELLED};
    give_one("/a/x", 0, "1");
    applied_lost(w);
    for (int i = 0; i < 50; i++) {
        answer_status(w, statuses[i % 5]);
        assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
        assert_in_range(committing_deadline_ms(w->c) - w->now, i < 5 ? 1 : 500, 1000);
        wait_timer(w);
        assert_true(w->txn);
    }
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, 2);
}

static void test_resolving_denied(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied_lost(w);
    answer_status(w, EW_ERR_DENIED);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
}

/* A lack of memory in the worker is temporary, and says nothing about whether the transaction was applied. */
static void test_resolving_without_memory(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied_lost(w);
    answer_status(w, EW_ERR_NO_MEMORY);
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* Answers with 1 MB of nested transactions. */
static void answer_deep(void) {
    static uint8_t bytes[NESTED_BYTES];
    ew_slice deep = nested_txn(bytes, sizeof bytes, NESTED_RESPONSE, NESTED_LEAST);
    answer_bytes(w, deep.data, deep.len);
}

/* An invalid answer says nothing about whether the transaction was applied. */
static void test_malformed_answers(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    answer_bytes(w, "\xff\xff\xff", 3);
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    answer_bytes(w, "", 0); /* refused, without reads */
    wait_timer(w);
    answer_bytes(w, "\x10\x01", 2); /* succeeded, without a header */
    wait_timer(w);
    answer_deep();
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.resolved, 1);
}

/* Answers that `count` operations were done at `revision`. */
static void answer_done(int64_t revision, Pb__ResponseOp **ops, size_t count) {
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__TxnResponse answer = PB__TXN_RESPONSE__INIT;
    header.revision = revision;
    answer.header = &header;
    answer.succeeded = 1;
    answer.responses = ops;
    answer.n_responses = count;
    uint8_t bytes[128];
    assert_true(pb__txn_response__get_packed_size(&answer) <= sizeof bytes);
    answer_bytes(w, bytes, pb__txn_response__pack(&answer, bytes));
}

/* A success with a revision at or below that of the last receipt is an invalid answer. */
static void test_success_at_an_old_revision(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied(w);
    give_one("/a/y", 0, "1");
    Pb__PutResponse put = PB__PUT_RESPONSE__INIT;
    Pb__ResponseOp op = PB__RESPONSE_OP__INIT, *ops[] = {&op, &op};
    op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    op.response_put = &put;
    answer_done(2, ops, 2);
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
}

/* An answer whose operations are not those of the request is invalid. If its revision were taken as the barrier or as
 * "no event", the gate could open too soon. */
static void test_success_of_other_operations(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    Pb__DeleteRangeResponse deleted = PB__DELETE_RANGE_RESPONSE__INIT;
    Pb__ResponseOp none = PB__RESPONSE_OP__INIT, deletion = none, *ops[] = {&none, &none, &none};
    deletion.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
    deletion.response_delete_range = &deleted;
    for (int kind = 0; kind < 4; kind++) {
        static const size_t counts[] = {1, 2, 2, 3}; /* two is the right number */
        ops[0] = kind == 1 ? &deletion : &none;
        answer_done(1000, ops, counts[kind]);
        assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
        if (kind > 0)
            wait_timer(w);
    }
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_true(w->outcome.barrier_revision > 0 && w->outcome.barrier_revision < 1000);
}

/* After an invalid answer the receipt bump is sent again. */
static void test_malformed_fence_answers(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    answer_bytes(w, "\xff", 1);
    wait_timer(w);
    answer_deep();
    wait_timer(w);
    answer_bytes(w, "", 0);
    wait_timer(w);
    /* Refused, although its only compare holds. */
    Pb__RangeResponse none = PB__RANGE_RESPONSE__INIT;
    Pb__ResponseOp op = PB__RESPONSE_OP__INIT, *ops[] = {&op};
    Pb__TxnResponse refusal = PB__TXN_RESPONSE__INIT;
    op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    op.response_range = &none;
    refusal.responses = ops;
    refusal.n_responses = 1;
    uint8_t bytes[64];
    answer_bytes(w, bytes, pb__txn_response__pack(&refusal, bytes));
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
}

static void refuse_without_reason(void) {
    Pb__RangeResponse none = PB__RANGE_RESPONSE__INIT;
    Pb__ResponseOp op = PB__RESPONSE_OP__INIT, *ops[] = {&op, &op, &op};
    Pb__TxnResponse refusal = PB__TXN_RESPONSE__INIT;
    op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    op.response_range = &none;
    refusal.responses = ops;
    refusal.n_responses = 3;
    uint8_t bytes[64];
    answer_bytes(w, bytes, pb__txn_response__pack(&refusal, bytes));
}

/* A refusal that no read explains is an invalid answer. If it repeats, a receipt bump excludes late copies, and the
 * batch ends. */
static void test_refused_without_a_reason(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    refuse_without_reason();
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    refuse_without_reason();
    applied(w); /* the receipt bump */
    assert_outcome(w, EW_ERR_BAD_ANSWER, 0);
    assert_false(w->outcome.unknown);
}

/* EW_ERR_UNAVAILABLE, but the transaction was applied: the receipt shows it. */
static void test_unavailable_but_applied(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    answer_status(w, EW_ERR_UNAVAILABLE);
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, 2);
}

/* SEMANTICS 28: without receipts an unknown outcome cannot be resolved, and ends the batch. */
static void test_without_receipts(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.exactly_once = false;
    world_free(w);
    w = world_new(&config);
    give_one("/a/x", 0, "1");
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_null(tiny_value(&w->etcd, RECEIPT));
    give_one("/a/y", 0, "1");
    applied_lost(w);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
    give_one("/a/z", 0, "1");
    answer_bytes(w, "\xff", 1);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
}

/* SEMANTICS 7: a stop waits until the outcome is resolved. */
static void test_stop_while_resolving(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    applied_lost(w);
    stop_committing(w, 10000);
    assert_false(w->has_outcome);
    answer_status(w, EW_ERR_UNAVAILABLE);
    wait_timer(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_true(w->ended);
}

/* SEMANTICS 7: an answer that is lost during a stop is resolved, too, and a refusal gets its receipt bump. */
static void test_stop_then_lost(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    stop_committing(w, 10000);
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    tiny_put(&w->etcd, "/a/x", "external");
    applied(w);
    applied(w); /* the receipt bump */
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_false(w->outcome.unknown);
    assert_true(w->ended);
}

/* SEMANTICS 7: resolving during a stop ends at the stop's time limit. */
static void test_stop_runs_out_while_resolving(void **state) {
    (void)state;
    give_one("/a/x", 0, "1");
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    answer_status(w, EW_ERR_UNAVAILABLE);
    stop_committing(w, 0);
    wait_timer(w);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
    assert_true(w->ended);
}

/* ---- corrupted answers ---- */

/* Makes a new core that waits for an answer, and puts etcd's true answer into `w->answer`. `kind` of the answer: 0 a
 * success, 1 a refusal, 2 a refusal while resolving, 3 the success of a receipt bump. */
static void until_answer(int kind) {
    world_free(w);
    w = world_new(&plain_config);
    int64_t mod = tiny_put(&w->etcd, "/a/x", "1");
    tiny_put(&w->etcd, COUNTER, "1");
    batch *b = batch_new(1, 1);
    batch_put(b, "/a/x", mod, "2");
    batch_put(b, "/a/y", 0, NULL);
    if (kind >= 1)
        tiny_put(&w->etcd, "/a/x", "external");
    give(w, b);
    if (kind >= 2)
        answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    if (kind >= 3)
        applied(w); /* waits for the answer of the receipt bump */
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
}

/* Whatever bit of an answer is changed, and wherever it is cut off, the core stays consistent and can be stopped. */
static void test_corrupted_answers(void **state) {
    (void)state;
    static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};
    for (int kind = 0; kind < 4; kind++) {
        until_answer(kind);
        const size_t len = w->answer.len;
        for (size_t at = 0; at < len; at++) {
            for (size_t f = 0; f <= sizeof flips; f++) {
                until_answer(kind);
                if (f < sizeof flips)
                    w->answer.bytes[at] ^= flips[f];
                answer_bytes(w, w->answer.bytes, f < sizeof flips ? len : at);
                bool told = w->has_outcome;
                stop_committing(w, 0);
                if (!w->ended)
                    wait_timer(w);
                assert_true(w->ended && (told || w->has_outcome));
            }
        }
    }
}

static Pb__ResponseOp *read_of(Pb__ResponseOp *op, Pb__RangeResponse *range, Pb__KeyValue *kv, const char *key,
                               int64_t mod) {
    pb__response_op__init(op);
    pb__range_response__init(range);
    pb__key_value__init(kv);
    kv->key = (ProtobufCBinaryData){strlen(key), (uint8_t *)key};
    kv->mod_revision = mod;
    static Pb__KeyValue *list[16];
    static size_t used;
    Pb__KeyValue **slot = &list[used++ % 16];
    *slot = kv;
    range->kvs = slot;
    range->n_kvs = mod != 0;
    op->response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    op->response_range = range;
    return op;
}

/* Well-formed reads that do not match the request. */
static void test_reads_of_other_keys(void **state) {
    (void)state;
    static const char *const asked[] = {"/a/x", COUNTER, RECEIPT};
    for (int wrong = 0; wrong < 3; wrong++) {
        for (int how = 0; how < 3; how++) {
            world_free(w);
            w = world_new(&plain_config);
            give_one("/a/x", 0, "1");
            Pb__ResponseOp ops[3], *list[3];
            Pb__RangeResponse ranges[3];
            Pb__KeyValue kvs[3], *two[2] = {&kvs[0], &kvs[0]};
            Pb__PutResponse put = PB__PUT_RESPONSE__INIT;
            Pb__TxnResponse refusal = PB__TXN_RESPONSE__INIT;
            for (int i = 0; i < 3; i++)
                list[i] = read_of(&ops[i], &ranges[i], &kvs[i], asked[i], i == wrong && how == 0 ? -5 : 0);
            if (how == 1) {
                ranges[wrong].kvs = two;
                ranges[wrong].n_kvs = 2;
            } else if (how == 2) {
                ops[wrong].response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
                ops[wrong].response_put = &put;
            }
            refusal.responses = list;
            refusal.n_responses = 3;
            uint8_t bytes[512];
            answer_bytes(w, bytes, pb__txn_response__pack(&refusal, bytes));
            assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
            applied(w);
            assert_outcome(w, EW_OK, 1);
        }
    }
}

/* ---- random runs ---- */

static uint64_t chance_state;

static unsigned chance(unsigned n) {
    chance_state = chance_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)((chance_state >> 33) % n);
}

#define KEYS 4

static char key_names[KEYS][8] = {"/a/0", "/a/1", "/a/2", "/a/3"};

static void external(void) {
    const char *key = key_names[chance(KEYS)];
    if (chance(3) == 0)
        tiny_delete(&w->etcd, key);
    else
        tiny_put(&w->etcd, key, "f");
}

#define COPIES 8

/* Runs one batch with an atomic unit for each key, with lost answers, late copies and external writes. Each atomic unit
 * puts a value that no other writer puts; `seen` counts how often it was put. */
static void random_batch(unsigned number) {
    sent *copies[COPIES] = {0};
    unsigned copy_count = 0, seen[KEYS] = {0};
    char values[KEYS][16];
    batch *b = batch_new(number, 0);
    for (int i = 0; i < KEYS; i++) {
        snprintf(values[i], sizeof values[i], "%u.%d", number, i);
        batch_put(b, key_names[i], tiny_mod(&w->etcd, key_names[i]), values[i]);
    }
    if (chance(2))
        external();
    give(w, b);
    bool done = w->has_outcome;
    Msg__Outcome outcome = w->outcome;
    while (!done) {
        int64_t mods[KEYS];
        for (int i = 0; i < KEYS; i++)
            mods[i] = tiny_mod(&w->etcd, key_names[i]);
        switch (chance(w->txn ? 7 : 3)) {
        case 0:
            external();
            break;
        case 1:
            if (copy_count > 0)
                late(w, copies[--copy_count]);
            break;
        case 2:
            if (!w->txn)
                wait_timer(w);
            break;
        case 3:
            applied_lost(w);
            break;
        case 4:
            if (copy_count < COPIES)
                copies[copy_count++] = delayed(w);
            break;
        default:
            applied(w);
        }
        for (int i = 0; i < KEYS; i++) {
            const char *now = tiny_value(&w->etcd, key_names[i]);
            seen[i] += tiny_mod(&w->etcd, key_names[i]) != mods[i] && now && strcmp(now, values[i]) == 0;
        }
        done = w->has_outcome;
        outcome = w->outcome;
    }
    /* Copies that have not arrived yet arrive now, when all keys are absent again: none may be applied. */
    assert_true(outcome.status == EW_OK || outcome.status == EW_ERR_REFUSED);
    for (int i = 0; i < KEYS; i++)
        tiny_delete(&w->etcd, key_names[i]);
    while (copy_count > 0)
        assert_false(late(w, copies[--copy_count]));
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(seen[i], i < outcome.units ? 1 : 0);
}

/* Each atomic unit is applied exactly once, over many random orders of events. */
static void test_exactly_once_in_random_runs(void **state) {
    (void)state;
    for (unsigned run = 0; run < 300; run++) {
        committing_config config = plain_config;
        config.max_keys = 1 + run % 4;
        world_free(w);
        w = world_new(&config);
        chance_state = run;
        for (unsigned number = 1; number <= 40; number++)
            random_batch(number);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_attempt_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_attempt_late_after_success, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_lost_then_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_limits_of_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resolved_commit_without_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resolved_commit_with_counter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_then_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fenced_then_units_before_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence_answer_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_attempt_late_before_the_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_gone_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_gone_and_a_key_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_gone_and_no_written_key_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_gone_before_the_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_gone_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_of_a_put_gone_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_external_receipt_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_external_receipt_during_a_bump, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_lease_gone_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_receipt_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resolving_takes_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resolving_denied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_success_at_an_old_revision, setup, teardown),
        cmocka_unit_test_setup_teardown(test_success_of_other_operations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_fence_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_without_a_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unavailable_but_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_receipts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_then_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_runs_out_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resolving_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_corrupted_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_of_other_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exactly_once_in_random_runs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
