/* What a server could send and etcd never does: each answer is refused, none is used, nothing crashes. Needs no etcd.
 */
#include "etcd/method.h"
#include "etcd/result.h"
#include "etcd/watch_response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static ew_error err;

/* ---- watch messages ---- */

static Pb__ResponseHeader header;
static Pb__WatchResponse message;
static Pb__Event events[4];
static Pb__KeyValue kvs[4];
static Pb__Event *list[4] = {&events[0], &events[1], &events[2], &events[3]};

/* Builds a valid message of `count` puts at revisions 10, 11, ..., in which each test then makes something invalid. */
static void good_message(size_t count) {
    pb__response_header__init(&header);
    pb__watch_response__init(&message);
    header.cluster_id = 1;
    header.revision = 20;
    message.header = &header;
    for (size_t i = 0; i < 4; i++) {
        pb__event__init(&events[i]);
        pb__key_value__init(&kvs[i]);
        kvs[i].key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
        kvs[i].create_revision = 10;
        kvs[i].mod_revision = 10 + (int64_t)i;
        kvs[i].version = 1 + (int64_t)i;
        events[i].kv = &kvs[i];
    }
    message.events = list;
    message.n_events = count;
}

/* Returns the reader of a watch that has been created. */
static watch_reader created_reader(int64_t next_revision) {
    return (watch_reader){.next_revision = next_revision, .created = true, .max_bytes = 3000};
}

static watch_news take(watch_reader *r) {
    ew_slice bytes = blocking_pack(&message);
    watch_news news = watch_reader_take(r, bytes);
    free((void *)(uintptr_t)bytes.data);
    return news;
}

static void expect_over(int status) {
    watch_reader r = created_reader(1);
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, status);
    assert_true(strlen(r.detail) > 0);
    watch_reader_fini(&r);
}

static void test_good_message(void **state) {
    (void)state;
    watch_reader r = created_reader(1);
    good_message(4);
    assert_int_equal(take(&r), WATCH_EVENTS);
    assert_int_equal(r.event_count, 4);
    assert_int_equal(r.revision, 13); /* not the header's 20 (P1) */
    assert_int_equal(r.next_revision, 14);
    watch_reader_fini(&r);
}

static void test_bad_messages(void **state) {
    (void)state;
    watch_reader r = created_reader(1);
    static const uint8_t garbage[] = {0x0a, 0xff, 0x01};
    assert_int_equal(watch_reader_take(&r, (ew_slice){garbage, sizeof garbage}), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_BAD_ANSWER);
    assert_int_equal(watch_reader_take(&r, (ew_slice){NULL, 0}), WATCH_OVER); /* no header */

    good_message(1);
    message.header = NULL;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    header.revision = -1;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    events[0].kv = NULL;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    kvs[0].key.len = 0;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    kvs[0].mod_revision = -5;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    kvs[0].create_revision = 11; /* after its own mod_revision */
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    kvs[0].version = 0;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(2);
    kvs[1].mod_revision = 9; /* below the event before it */
    kvs[1].create_revision = 9;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    events[0].type = (Pb__Event__EventType)7;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    events[0].prev_kv = &kvs[1];
    kvs[1].mod_revision = 0;
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(1);
    message.watch_id = -1; /* events of no watch */
    expect_over(EW_ERR_BAD_ANSWER);
    good_message(0);
    message.created = true;
    header.revision = 0;
    r = (watch_reader){0}; /* a watch from now on, whose revision is not yet known */
    assert_int_equal(take(&r), WATCH_OVER);
    good_message(0);
    message.created = true;
    message.watch_id = -1;
    r = (watch_reader){0};
    assert_int_equal(take(&r), WATCH_OVER);
    good_message(0);
    message.compact_revision = -3;
    message.canceled = true;
    expect_over(EW_ERR_BAD_ANSWER);
}

/* A stream carries one watch: messages for another watch, or before the watch was created, are invalid. */
static void test_watch_ids(void **state) {
    (void)state;
    watch_reader r = {.max_bytes = 3000};
    good_message(1); /* before it was created */
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_BAD_ANSWER);
    good_message(0);
    message.created = true;
    message.watch_id = 3;
    assert_int_equal(take(&r), WATCH_CREATED);
    assert_int_equal(r.next_revision, 21);
    assert_int_equal(take(&r), WATCH_OVER); /* twice */
    for (size_t count = 0; count < 2; count++) {
        good_message(count);
        message.watch_id = 4;
        assert_int_equal(take(&r), WATCH_OVER);
        assert_int_equal(r.status, EW_ERR_BAD_ANSWER);
        message.canceled = true;
        assert_int_equal(take(&r), WATCH_OVER);
        assert_int_equal(r.status, EW_ERR_BAD_ANSWER);
    }
    good_message(1);
    kvs[0].mod_revision = kvs[0].create_revision = header.revision = 21;
    message.watch_id = 3;
    assert_int_equal(take(&r), WATCH_EVENTS);
    watch_reader_clear(&r);
    good_message(0);
    message.watch_id = 3;
    message.canceled = true;
    assert_int_equal(take(&r), WATCH_BROKEN);
    watch_reader_fini(&r);
}

/* P5: events older than the start are dropped one by one. */
static void test_old_events_are_dropped(void **state) {
    (void)state;
    watch_reader r = created_reader(12);
    good_message(4);
    assert_int_equal(take(&r), WATCH_EVENTS);
    assert_int_equal(r.event_count, 2);
    assert_int_equal(r.events[0].kv.mod_revision, 12);
    watch_reader_clear(&r);
    good_message(4); /* the same again */
    assert_int_equal(take(&r), WATCH_NOTHING);
    watch_reader_fini(&r);
}

/* P3: fragments are held until the last one, also when they split within a revision. */
static void test_fragments(void **state) {
    (void)state;
    watch_reader r = created_reader(1);
    good_message(2);
    kvs[1].mod_revision = kvs[1].create_revision = 10;
    message.fragment = true;
    assert_int_equal(take(&r), WATCH_NOTHING);
    good_message(1);
    assert_int_equal(take(&r), WATCH_EVENTS);
    assert_int_equal(r.event_count, 3);
    assert_int_equal(r.revision, 10);
    watch_reader_clear(&r);

    good_message(2); /* a message of no watch comes between, and does not end the batch */
    kvs[0].mod_revision = kvs[0].create_revision = kvs[1].mod_revision = kvs[1].create_revision = 11;
    message.fragment = true;
    assert_int_equal(take(&r), WATCH_NOTHING);
    good_message(0);
    message.watch_id = -1;
    assert_int_equal(take(&r), WATCH_NOTHING);
    good_message(1);
    kvs[0].mod_revision = kvs[0].create_revision = 11;
    assert_int_equal(take(&r), WATCH_EVENTS);
    assert_int_equal(r.event_count, 3);
    assert_int_equal(r.revision, 11);
    watch_reader_clear(&r);

    good_message(1);
    message.fragment = true;
    kvs[0].mod_revision = kvs[0].create_revision = 12;
    assert_int_equal(take(&r), WATCH_NOTHING);
    good_message(0);
    message.created = true; /* the watch was created before */
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_BAD_ANSWER);
    watch_reader_clear(&r);

    good_message(4); /* a stream that ends in the middle of a batch gives nothing; the next stream gives all of it */
    for (int i = 0; i < 4; i++)
        kvs[i].mod_revision = kvs[i].create_revision = header.revision = 30;
    message.fragment = true;
    assert_int_equal(take(&r), WATCH_NOTHING);
    watch_reader_clear(&r);
    assert_int_equal(r.next_revision, 12);
    message.fragment = false;
    assert_int_equal(take(&r), WATCH_EVENTS);
    assert_int_equal(r.event_count, 4);
    watch_reader_fini(&r);
}

/* Fragments without end must not use all memory: whole revisions are given, the rest comes again. */
static void test_fragments_without_end(void **state) {
    (void)state;
    watch_reader r = created_reader(1);
    watch_news news = WATCH_NOTHING;
    int fragments = 0;
    while (news == WATCH_NOTHING && fragments < 100) {
        good_message(3); /* revisions 10 10 10, 11 11 11, ... */
        for (int i = 0; i < 3; i++)
            kvs[i].mod_revision = kvs[i].create_revision = 10 + fragments;
        header.revision = 200;
        message.fragment = true;
        news = take(&r);
        fragments++;
    }
    assert_int_equal(news, WATCH_EVENTS);
    assert_in_range(fragments, 10, 30);
    assert_true(r.cut);
    assert_int_equal(r.event_count, 3 * (fragments - 1));
    assert_int_equal(r.revision, 10 + fragments - 2);
    assert_int_equal(r.next_revision, r.revision + 1);
    watch_reader_clear(&r);
    assert_false(r.cut);

    r.max_bytes = 50; /* a single revision that is larger cannot be given */
    good_message(4);
    for (int i = 0; i < 4; i++)
        kvs[i].mod_revision = kvs[i].create_revision = 100;
    header.revision = 200;
    message.fragment = true;
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_TOO_LARGE);
    watch_reader_fini(&r);

    r = created_reader(101); /* old events take room too */
    r.max_bytes = 50;
    kvs[3].mod_revision = kvs[3].create_revision = 101;
    assert_int_equal(take(&r), WATCH_BROKEN);
    watch_reader_clear(&r);
    assert_int_equal(r.next_revision, 101);
    watch_reader_fini(&r);
    kvs[3].mod_revision = kvs[3].create_revision = 100;

    r = created_reader(200); /* all events are old */
    r.max_bytes = 50;
    message.fragment = true;
    assert_int_equal(take(&r), WATCH_NOTHING);
    assert_int_equal(r.part_count, 0);
    watch_reader_fini(&r);
}

/* P2, P4, P10: the kinds of messages without events. */
static void test_messages_without_events(void **state) {
    (void)state;
    watch_reader r = created_reader(15);
    good_message(0);
    message.watch_id = -1; /* a requested progress reply may overtake events */
    assert_int_equal(take(&r), WATCH_NOTHING);
    assert_int_equal(r.next_revision, 15);
    good_message(0);
    assert_int_equal(take(&r), WATCH_PROGRESS);
    assert_int_equal(r.revision, 20);
    assert_int_equal(take(&r), WATCH_NOTHING); /* the same revision again is nothing new */

    good_message(0);
    message.canceled = true;
    message.compact_revision = 7;
    header.revision = 0;
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_COMPACTED);
    assert_int_equal(r.revision, 7);

    static const struct {
        const char *reason;
        bool created;
        watch_news news;
        int status;
    } canceled[] = {
        {"rpc error: code = PermissionDenied desc = etcdserver: permission denied", true, WATCH_OVER, EW_ERR_DENIED},
        {"etcdserver: invalid auth token", true, WATCH_OVER, EW_ERR_UNAUTHENTICATED},
        {"etcdserver: no leader", false, WATCH_BROKEN, EW_ERR_UNAVAILABLE},
        {"", false, WATCH_BROKEN, EW_ERR_UNAVAILABLE},
        {"range is empty", true, WATCH_OVER, EW_ERR_INVALID},
        {"etcdserver: too many requests", true, WATCH_BROKEN, EW_ERR_UNAVAILABLE},
        {"etcdserver: mvcc: required revision has been compacted", false, WATCH_BROKEN, EW_ERR_UNAVAILABLE}, /* P4 */
    };
    for (size_t i = 0; i < sizeof canceled / sizeof canceled[0]; i++) {
        good_message(0);
        message.canceled = true;
        message.created = canceled[i].created;
        message.watch_id = -1;
        message.cancel_reason = (char *)(uintptr_t)canceled[i].reason;
        assert_int_equal(take(&r), canceled[i].news);
        assert_int_equal(r.status, canceled[i].status);
    }
    good_message(1);
    header.cluster_id = 2;
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_WRONG_CLUSTER);
    watch_reader_fini(&r);
}

/* ---- rewritten history ---- */

/* Returns a reader that has given revisions 10 and 11 and has seen that nothing else happened up to `seen`; its stream
 * was opened again. */
static watch_reader resumed(int64_t seen) {
    watch_reader r = created_reader(1);
    good_message(2);
    assert_int_equal(take(&r), WATCH_EVENTS);
    watch_reader_clear(&r);
    good_message(0);
    header.revision = seen;
    assert_int_equal(take(&r), WATCH_PROGRESS);
    watch_reader_clear(&r);
    assert_int_equal(watch_reader_begin(&r), 11);
    good_message(0);
    header.revision = seen;
    message.created = true;
    assert_int_equal(take(&r), WATCH_CREATED);
    return r;
}

/* Builds a message of two events: the last one that was given, at revision 11, and one at `revision`. */
static void message_again(int64_t revision) {
    good_message(3);
    message.events = list + 1;
    message.n_events = 2;
    kvs[2].mod_revision = kvs[2].create_revision = revision;
    header.revision = 40;
}

static void ends_rewritten(watch_reader *r) {
    assert_int_equal(take(r), WATCH_OVER);
    assert_int_equal(r->status, EW_ERR_REVISION_FELL);
    assert_non_null(strstr(r->detail, "11 to 20"));
    watch_reader_fini(r);
}

static void test_seen_events_come_again(void **state) {
    (void)state;
    watch_reader r = resumed(20);
    good_message(1); /* P5: all events are older */
    header.revision = 40;
    assert_int_equal(take(&r), WATCH_NOTHING);
    message_again(21);
    assert_int_equal(take(&r), WATCH_EVENTS);
    assert_int_equal(r.event_count, 1); /* the event is not given twice */
    assert_int_equal(r.events[0].kv.mod_revision, 21);
    watch_reader_clear(&r);
    assert_int_equal(watch_reader_begin(&r), 21);
    watch_reader_fini(&r);

    r = resumed(20);
    message_again(21);
    message.n_events = 1;
    assert_int_equal(take(&r), WATCH_NOTHING);
    assert_false(r.unconfirmed);
    watch_reader_fini(&r);
}

static void test_another_history(void **state) {
    (void)state;
    watch_reader r = resumed(20); /* another value */
    message_again(21);
    kvs[1].value = (ProtobufCBinaryData){1, (uint8_t *)"v"};
    ends_rewritten(&r);
    r = resumed(20); /* a deletion */
    message_again(21);
    events[1].type = PB__EVENT__EVENT_TYPE__DELETE;
    ends_rewritten(&r);
    r = resumed(20); /* a key that did not exist */
    message_again(20);
    ends_rewritten(&r);
    r = resumed(20); /* missing, but newer events */
    message_again(21);
    message.events = list + 2;
    message.n_events = 1;
    ends_rewritten(&r);
    r = resumed(20); /* a progress notification instead */
    good_message(0);
    ends_rewritten(&r);
    r = resumed(20); /* no events, then the answer to a liveness probe */
    good_message(0);
    message.watch_id = -1;
    assert_int_equal(take(&r), WATCH_NOTHING); /* not requested: it may have overtaken the event (P2) */
    r.asked = true;
    ends_rewritten(&r);
}

static void test_seen_events_are_compacted(void **state) {
    (void)state;
    watch_reader r = resumed(20);
    good_message(0);
    message.canceled = true;
    message.compact_revision = 20;
    header.revision = 0;
    assert_int_equal(take(&r), WATCH_BROKEN);
    assert_int_equal(watch_reader_begin(&r), 21);
    assert_false(r.unconfirmed);
    watch_reader_fini(&r);
    r = resumed(20); /* and the new events */
    good_message(0);
    message.canceled = true;
    message.compact_revision = 21;
    header.revision = 0;
    assert_int_equal(take(&r), WATCH_OVER);
    assert_int_equal(r.status, EW_ERR_COMPACTED);
    watch_reader_fini(&r);
}

static void test_a_revision_below_what_was_seen(void **state) {
    (void)state;
    watch_reader r = resumed(20);
    good_message(0);
    header.revision = 19;
    assert_int_equal(take(&r), WATCH_DOUBTED);
    assert_int_equal(r.revision, 19);
    watch_reader_begin(&r);
    good_message(0);
    message.created = true;
    header.revision = 12;
    assert_int_equal(take(&r), WATCH_DOUBTED);
    watch_reader_fini(&r);
    r = created_reader(12); /* for a start in the future nothing was seen */
    good_message(0);
    header.revision = 5;
    assert_int_equal(take(&r), WATCH_NOTHING);
    watch_reader_fini(&r);
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
        cmocka_unit_test(test_good_message),
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_old_events_are_dropped),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_fragments_without_end),
        cmocka_unit_test(test_watch_ids),
        cmocka_unit_test(test_messages_without_events),
        cmocka_unit_test(test_seen_events_come_again),
        cmocka_unit_test(test_another_history),
        cmocka_unit_test(test_seen_events_are_compacted),
        cmocka_unit_test(test_a_revision_below_what_was_seen),
        cmocka_unit_test(test_bad_results),
        cmocka_unit_test(test_status_of_writes_and_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
