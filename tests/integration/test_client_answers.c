/* What a server could send and etcd never does: each answer is refused, none is used, nothing crashes. Needs no etcd.
 */
#include "etcd/method.h"
#include "etcd/result.h"
#include "etcd/watch_private.h"
#include "watch_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static ew_error err;

/* ---- watch events ---- */

/* Reads the message's events from revision `first` to `last`. Returns their number, or the error. */
static int read_events(int64_t first, int64_t last) {
    watch_batch b = {0};
    ew_slice bytes = blocking_pack(&message);
    const watch_stream_news n = {.bytes = bytes, .count = message.n_events, .revision = last};
    int status = watch_batch_read(&b, &n, first);
    assert_true(b.count == 0 || status == EW_OK);
    for (size_t i = 0; i < b.count; i++) {
        assert_true(ew_slice_equal(b.events[i].kv.key, EW_STR("k")));
        assert_in_range(b.events[i].kv.mod_revision, first, last);
        assert_int_equal(b.events[i].kv.create_revision, 10);
        assert_int_equal(b.events[i].has_previous, events[i].prev_kv != NULL);
    }
    int result = status == EW_OK ? (int)b.count : status;
    free(b.events);
    free((void *)(uintptr_t)bytes.data);
    return result;
}

/* P5: events older than the start are dropped one by one. The last revision may be incomplete. */
static void test_events_of_other_revisions_are_left_out(void **state) {
    (void)state;
    good_message(4);
    assert_int_equal(read_events(1, 20), 4);
    assert_int_equal(read_events(12, 20), 2);
    assert_int_equal(read_events(12, 12), 1);
    assert_int_equal(read_events(14, 20), 0);
}

static void test_invalid_events(void **state) {
    (void)state;
    good_message(1);
    kvs[0].create_revision = 11; /* after its own mod_revision */
    assert_int_equal(read_events(1, 20), EW_ERR_BAD_ANSWER);
    assert_int_equal(read_events(11, 20), 0);       /* not looked at */
    events[0].type = PB__EVENT__EVENT_TYPE__DELETE; /* a deletion has only a key and a revision */
    kvs[0].create_revision = 10;
    kvs[0].version = 0;
    assert_int_equal(read_events(1, 20), 1);
    events[0].type = PB__EVENT__EVENT_TYPE__PUT;
    assert_int_equal(read_events(1, 20), EW_ERR_BAD_ANSWER);
    good_message(1);
    events[0].prev_kv = &kvs[1];
    assert_int_equal(read_events(1, 20), 1);
    kvs[1].mod_revision = 0;
    assert_int_equal(read_events(1, 20), EW_ERR_BAD_ANSWER);

    static const uint8_t malformed[] = {0x5a, 14, 0x12, 9, 0x0a, 1, 'k', 0x10, 10, 0x18, 10, 0x20, 1, 0x1a, 1, 0x0a};
    watch_batch b = {0};
    const watch_stream_news n = {.bytes = {malformed, sizeof malformed}, .count = 1, .revision = 20};
    assert_int_equal(watch_batch_read(&b, &n, 1), EW_ERR_BAD_ANSWER);
    free(b.events);
}

/* ---- answers of calls ---- */

static int take_result(const void *answer) {
    const ProtobufCMessage *m = answer;
    ew_slice bytes = blocking_pack(m);
    ProtobufCMessage *copy = protobuf_c_message_unpack(m->descriptor, NULL, bytes.len, bytes.data);
    ew_result *r = NULL;
    assert_non_null(copy);
    int status = result_take(&r, copy, &err);
    ew_result_free(r);
    free((void *)(uintptr_t)bytes.data);
    return status;
}

static void test_bad_results(void **state) {
    (void)state;
    Pb__RangeResponse range = PB__RANGE_RESPONSE__INIT;
    Pb__KeyValue *kv = &kvs[0];
    good_message(0);
    range.header = &header;
    range.kvs = &kv;
    range.n_kvs = 1;
    range.count = 1;
    assert_int_equal(take_result(&range), EW_OK);
    range.count = 0; /* the total is less than the number of keys */
    assert_int_equal(take_result(&range), EW_ERR_BAD_ANSWER);
    range.count = -1;
    assert_int_equal(take_result(&range), EW_ERR_BAD_ANSWER);
    range.count = 1;
    kv->mod_revision = -1;
    assert_int_equal(take_result(&range), EW_ERR_BAD_ANSWER);
    kv->mod_revision = 10;
    header.revision = 0;
    assert_int_equal(take_result(&range), EW_ERR_BAD_ANSWER);

    Pb__TxnResponse txn = PB__TXN_RESPONSE__INIT;
    Pb__ResponseOp op = PB__RESPONSE_OP__INIT, *ops = &op;
    header.revision = 20;
    txn.header = &header;
    txn.responses = &ops;
    txn.n_responses = 1;
    assert_int_equal(take_result(&txn), EW_ERR_BAD_ANSWER); /* an operation without a response */
    op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    op.response_range = &range;
    assert_int_equal(take_result(&txn), EW_OK);
    kv->version = -1;
    assert_int_equal(take_result(&txn), EW_ERR_BAD_ANSWER);

    /* Deeper than the limit. */
    enum { DEPTH = EW_TXN_DEPTH_MAX + 8 };
    Pb__TxnResponse deep[DEPTH];
    Pb__ResponseOp inner[DEPTH], *one[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
        pb__txn_response__init(&deep[i]);
        pb__response_op__init(&inner[i]);
        one[i] = &inner[i];
        if (i == 0)
            continue;
        inner[i].response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
        inner[i].response_txn = &deep[i - 1];
        deep[i].responses = &one[i];
        deep[i].n_responses = 1;
    }
    deep[DEPTH - 1].header = &header;
    assert_int_equal(take_result(&deep[DEPTH - 1]), EW_ERR_BAD_ANSWER);
}

/* ---- errors of calls ---- */

/* ETCD P11: which failures of a write certainly had no effect, and after which it may have been applied. */
static void test_status_of_writes_and_reads(void **state) {
    (void)state;
    static const struct {
        grpc_status_code code;
        const char *text;
        int write, read;
    } table[] = {
        {GRPC_STATUS_OK, "", EW_OK, EW_OK},
        {GRPC_STATUS_UNAVAILABLE, "Connection reset by peer", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_UNAVAILABLE, "etcdserver: request timed out", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_UNAVAILABLE, "etcdserver: leader changed", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_UNAVAILABLE, "etcdserver: server stopped", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_UNAVAILABLE, "etcdserver: no leader", EW_ERR_UNAVAILABLE, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_UNAVAILABLE, "etcdserver: rpc not supported for learner", EW_ERR_UNAVAILABLE, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_FAILED_PRECONDITION, "etcdserver: rpc not supported for learner", EW_ERR_UNAVAILABLE,
         EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_DEADLINE_EXCEEDED, "Deadline Exceeded", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_TIMEOUT},
        {GRPC_STATUS_CANCELLED, "context canceled", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_UNKNOWN, "raft proposal dropped", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_INTERNAL, "stream broken", EW_ERR_UNKNOWN_OUTCOME, EW_ERR_UNAVAILABLE},
        {GRPC_STATUS_RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)", EW_ERR_UNKNOWN_OUTCOME,
         EW_ERR_TOO_LARGE},
        {GRPC_STATUS_RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)", EW_ERR_TOO_LARGE,
         EW_ERR_TOO_LARGE},
        {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: request is too large", EW_ERR_TOO_LARGE, EW_ERR_TOO_LARGE},
        {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", EW_ERR_INVALID,
         EW_ERR_INVALID},
        {GRPC_STATUS_RESOURCE_EXHAUSTED, "etcdserver: too many requests", EW_ERR_BUSY, EW_ERR_BUSY},
        {GRPC_STATUS_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", EW_ERR_NO_SPACE, EW_ERR_NO_SPACE},
        {GRPC_STATUS_PERMISSION_DENIED, "etcdserver: permission denied", EW_ERR_DENIED, EW_ERR_DENIED},
        {GRPC_STATUS_UNAUTHENTICATED, "etcdserver: invalid auth token", EW_ERR_UNAUTHENTICATED, EW_ERR_UNAUTHENTICATED},
        {GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: revision of auth store is old", EW_ERR_UNAUTHENTICATED,
         EW_ERR_UNAUTHENTICATED},
        {GRPC_STATUS_UNIMPLEMENTED, "unknown method", EW_ERR_UNSUPPORTED, EW_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        method_end end = {.code = table[i].code, .text = table[i].text};
        assert_int_equal(method_status(ETCD_TXN, &end), table[i].write);
        assert_int_equal(method_status(ETCD_RANGE, &end), table[i].read);
    }
    method_end ours = {.code = GRPC_STATUS_CANCELLED, .text = "", .cancelled = true};
    assert_int_equal(method_status(ETCD_TXN, &ours), EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(method_status(ETCD_RANGE, &ours), EW_ERR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_of_other_revisions_are_left_out),
        cmocka_unit_test(test_invalid_events),
        cmocka_unit_test(test_bad_results),
        cmocka_unit_test(test_status_of_writes_and_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
