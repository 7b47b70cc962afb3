/* The model of etcd behaves as docs/etcd.md says; tests/integration compares it with a real etcd. */
#include "etcd.pb-c.h"
#include "sim/etcd_model.h"
#include "sim/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static etcd_model *model;
static sim_arena arena;

static int setup(void **state) {
    (void)state;
    sim_arena_init(&arena);
    etcd_model_config config = etcd_model_defaults;
    config.batch_revisions = 10;
    config.fragment_bytes = 200;
    model = etcd_model_new(&config);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    etcd_model_free(model);
    sim_arena_fini(&arena);
    return 0;
}

#define BYTES(text) ((ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)(text)})

static etcd_model_answer call(etcd_model_method method, const ProtobufCMessage *request) {
    return etcd_model_call(model, method, sim_pack(&arena, request));
}

static int64_t put(const char *key, const char *value, int64_t lease) {
    Pb__PutRequest r = PB__PUT_REQUEST__INIT;
    r.key = BYTES(key);
    r.value = BYTES(value);
    r.lease = lease;
    assert_int_equal(call(ETCD_MODEL_PUT, &r.base).status, EW_OK);
    return etcd_model_revision(model);
}

static void delete (const char *key) {
    Pb__DeleteRangeRequest r = PB__DELETE_RANGE_REQUEST__INIT;
    r.key = BYTES(key);
    assert_int_equal(call(ETCD_MODEL_DELETE_RANGE, &r.base).status, EW_OK);
}

static Pb__RangeResponse *range(Pb__RangeRequest *r, const char *key, const char *end) {
    r->key = BYTES(key);
    r->range_end = BYTES(end);
    etcd_model_answer a = call(ETCD_MODEL_RANGE, &r->base);
    assert_int_equal(a.status, EW_OK);
    return pb__range_response__unpack(&arena.allocator, a.bytes.len, a.bytes.data);
}

static void test_range(void **state) {
    (void)state;
    put("/a/1", "x", 0);
    put("/a/2", "y", 0);
    int64_t before = put("/a/3", "z", 0);
    put("/a/2", "yy", 0);
    delete ("/a/1");

    Pb__RangeRequest r = PB__RANGE_REQUEST__INIT;
    Pb__RangeResponse *now = range(&r, "/a/", "/a0");
    assert_int_equal(now->n_kvs, 2);
    assert_int_equal(now->header->revision, 6);
    assert_int_equal(now->kvs[0]->version, 2);
    assert_int_equal(now->kvs[0]->create_revision, 3);
    assert_int_equal(now->kvs[0]->mod_revision, 5);

    r.revision = before;
    r.limit = 2;
    r.keys_only = 1;
    Pb__RangeResponse *then = range(&r, "/a/", "/a0");
    assert_int_equal(then->n_kvs, 2);
    assert_true(then->more);
    assert_int_equal(then->count, 3);            /* of the whole range */
    assert_int_equal(then->header->revision, 6); /* of the store, not of the read */
    assert_int_equal(then->kvs[0]->value.len, 0);

    r.revision = 99;
    assert_int_equal(call(ETCD_MODEL_RANGE, &r.base).status, EW_ERR_FUTURE_REVISION);
    Pb__CompactionRequest c = PB__COMPACTION_REQUEST__INIT;
    c.revision = 5;
    assert_int_equal(call(ETCD_MODEL_COMPACT, &c.base).status, EW_OK);
    r.revision = 4;
    assert_int_equal(call(ETCD_MODEL_RANGE, &r.base).status, EW_ERR_COMPACTED);
    r.revision = 5; /* the compacted revision itself can still be read */
    assert_int_equal(call(ETCD_MODEL_RANGE, &r.base).status, EW_OK);
}

/* Runs a transaction of one compare with one put in each branch. */
static Pb__TxnResponse *compare(Pb__Compare *c, int *status) {
    Pb__PutRequest p = PB__PUT_REQUEST__INIT;
    p.key = BYTES("/out");
    Pb__RequestOp op = PB__REQUEST_OP__INIT;
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &p;
    Pb__RequestOp *ops[] = {&op};
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.n_compare = 1;
    t.compare = &c;
    t.n_success = 1;
    t.success = ops;
    etcd_model_answer a = call(ETCD_MODEL_TXN, &t.base);
    *status = a.status;
    return a.status ? NULL : pb__txn_response__unpack(&arena.allocator, a.bytes.len, a.bytes.data);
}

static bool holds(const char *key, Pb__Compare__CompareTarget target, int64_t number, const char *value) {
    Pb__Compare c = PB__COMPARE__INIT;
    c.key = BYTES(key);
    c.target = target;
    c.target_union_case = (Pb__Compare__TargetUnionCase)(target + 4);
    if (value)
        c.value = BYTES(value);
    else
        c.version = number;
    int status;
    Pb__TxnResponse *t = compare(&c, &status);
    assert_int_equal(status, EW_OK);
    return t->succeeded;
}

/* ETCD P13: a VALUE compare on a missing key is always false; the other compares use 0. */
static void test_compare(void **state) {
    (void)state;
    put("/k", "v", 0);
    put("/k", "w", 0);
    assert_true(holds("/k", PB__COMPARE__COMPARE_TARGET__VERSION, 2, NULL));
    assert_true(holds("/k", PB__COMPARE__COMPARE_TARGET__CREATE, 2, NULL));
    assert_true(holds("/k", PB__COMPARE__COMPARE_TARGET__MOD, 3, NULL));
    assert_true(holds("/k", PB__COMPARE__COMPARE_TARGET__VALUE, 0, "w"));
    assert_false(holds("/k", PB__COMPARE__COMPARE_TARGET__VALUE, 0, "v"));
    assert_false(holds("/no", PB__COMPARE__COMPARE_TARGET__VALUE, 0, ""));
    assert_true(holds("/no", PB__COMPARE__COMPARE_TARGET__MOD, 0, NULL));
    assert_true(holds("/no", PB__COMPARE__COMPARE_TARGET__CREATE, 0, NULL));
    assert_true(holds("/no", PB__COMPARE__COMPARE_TARGET__LEASE, 0, NULL));
}

/* ETCD P13: 128 operations are accepted, 129 are not; a key may be put once; an empty transaction does not increment
 * the revision. */
static void test_txn_limits(void **state) {
    (void)state;
    enum { MOST = 129 };
    static char names[MOST][8];
    static Pb__PutRequest puts[MOST];
    static Pb__RequestOp ops[MOST];
    static Pb__RequestOp *list[MOST];
    for (int i = 0; i < MOST; i++) {
        snprintf(names[i], sizeof names[i], "/%d", i);
        pb__put_request__init(&puts[i]);
        puts[i].key = BYTES(names[i]);
        pb__request_op__init(&ops[i]);
        ops[i].request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
        list[i] = &ops[i];
    }
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.success = list;
    t.n_success = 128;
    assert_int_equal(call(ETCD_MODEL_TXN, &t.base).status, EW_OK);
    assert_int_equal(etcd_model_revision(model), 2);
    t.n_success = 129;
    assert_int_equal(call(ETCD_MODEL_TXN, &t.base).status, EW_ERR_TOO_LARGE);
    t.n_success = 2;
    puts[1].key = puts[0].key;
    assert_int_equal(call(ETCD_MODEL_TXN, &t.base).status, EW_ERR_INVALID);
    t.n_success = 0;
    assert_int_equal(call(ETCD_MODEL_TXN, &t.base).status, EW_OK);
    assert_int_equal(etcd_model_revision(model), 2);
}

static etcd_model_stream *watch(int64_t start, bool fragment) {
    etcd_model_stream *s = etcd_model_stream_open(model);
    Pb__WatchCreateRequest c = PB__WATCH_CREATE_REQUEST__INIT;
    c.key = BYTES("/w/");
    c.range_end = BYTES("/w0");
    c.start_revision = start;
    c.progress_notify = 1;
    c.fragment = fragment;
    Pb__WatchRequest r = PB__WATCH_REQUEST__INIT;
    r.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    r.create_request = &c;
    assert_int_equal(etcd_model_stream_request(s, sim_pack(&arena, &r.base)), EW_OK);
    return s;
}

static Pb__WatchResponse *take(etcd_model_stream *s) {
    ew_slice bytes;
    if (!etcd_model_stream_take(s, &bytes))
        return NULL;
    Pb__WatchResponse *r = pb__watch_response__unpack(&arena.allocator, bytes.len, bytes.data);
    free((void *)(uintptr_t)bytes.data);
    assert_non_null(r);
    return r;
}

static void test_watch_synced(void **state) {
    (void)state;
    put("/w/1", "a", 0);
    etcd_model_stream *s = watch(0, false);
    Pb__WatchResponse *r = take(s);
    assert_true(r->created);
    put("/w/1", "b", 0);
    put("/elsewhere", "c", 0);
    delete ("/w/1");
    r = take(s);
    assert_int_equal(r->header->revision, 3);
    assert_int_equal(r->events[0]->kv->version, 2);
    r = take(s);
    assert_int_equal(r->events[0]->type, PB__EVENT__EVENT_TYPE__DELETE);
    assert_int_equal(r->events[0]->kv->mod_revision, 5);
    assert_int_equal(r->events[0]->kv->create_revision, 0);
    assert_null(take(s));
    etcd_model_stream_progress(s);
    r = take(s);
    assert_int_equal(r->n_events, 0);
    assert_int_equal(r->header->revision, 5);
    etcd_model_stream_close(s);
}

/* ETCD P1: all batches of a backlog have the newest header. P2: a requested progress reply overtakes them. */
static void test_watch_backlog(void **state) {
    (void)state;
    for (int i = 0; i < 25; i++)
        put("/w/k", "v", 0);
    etcd_model_stream *s = watch(2, false);
    assert_true(take(s)->created);
    size_t sizes[] = {10, 10, 5};
    for (int i = 0; i < 3; i++)
        assert_int_equal(etcd_model_stream_sync(s), i < 2);
    Pb__WatchRequest p = PB__WATCH_REQUEST__INIT;
    Pb__WatchProgressRequest none = PB__WATCH_PROGRESS_REQUEST__INIT;
    p.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    p.progress_request = &none;
    assert_int_equal(etcd_model_stream_request(s, sim_pack(&arena, &p.base)), EW_OK);
    assert_int_equal(take(s)->watch_id, -1);
    int64_t next = 2;
    for (int i = 0; i < 3; i++) {
        Pb__WatchResponse *r = take(s);
        assert_int_equal(r->header->revision, 26);
        assert_int_equal(r->n_events, sizes[i]);
        for (size_t j = 0; j < r->n_events; j++)
            assert_int_equal(r->events[j]->kv->mod_revision, next++);
    }
    assert_null(take(s));
    etcd_model_stream_close(s);
}

/* ETCD P3: fragments of one response, all but the last marked. */
static void test_watch_fragments(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++)
        put("/w/k", "a value of some thirty bytes...", 0);
    etcd_model_stream *s = watch(2, true);
    assert_true(take(s)->created);
    etcd_model_stream_sync(s);
    size_t events = 0, pieces = 0;
    bool more = true;
    for (Pb__WatchResponse *r; more && (r = take(s)); pieces++) {
        assert_true(r->n_events > 0);
        events += r->n_events;
        more = r->fragment;
    }
    assert_false(more);
    assert_int_equal(events, 10);
    assert_true(pieces > 2);
    assert_null(take(s));
    etcd_model_stream_close(s);
}

/* ETCD P4: created, then cancelled with the compact revision and a header of revision 0. */
static void test_watch_compacted(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++)
        put("/w/k", "v", 0);
    Pb__CompactionRequest c = PB__COMPACTION_REQUEST__INIT;
    c.revision = 5;
    assert_int_equal(call(ETCD_MODEL_COMPACT, &c.base).status, EW_OK);
    etcd_model_stream *s = watch(2, false);
    assert_true(take(s)->created);
    etcd_model_stream_sync(s);
    Pb__WatchResponse *r = take(s);
    assert_true(r->canceled);
    assert_int_equal(r->compact_revision, 5);
    assert_int_equal(r->header->revision, 0);
    assert_int_equal(strlen(r->cancel_reason), 0);
    etcd_model_stream_close(s);
}

static void test_lease(void **state) {
    (void)state;
    Pb__LeaseGrantRequest g = PB__LEASE_GRANT_REQUEST__INIT;
    g.ttl = 5;
    g.id = 7;
    assert_int_equal(call(ETCD_MODEL_LEASE_GRANT, &g.base).status, EW_OK);
    put("/l/1", "v", 7);
    put("/l/2", "v", 7);
    put("/l/2", "w", 0); /* detached */
    etcd_model_advance(model, 4999);
    assert_true(etcd_model_lease_alive(model, 7));
    etcd_model_advance(model, 5000);
    assert_false(etcd_model_lease_alive(model, 7));
    assert_null(etcd_model_get(model, EW_STR("/l/1"), INT64_MAX));
    assert_non_null(etcd_model_get(model, EW_STR("/l/2"), INT64_MAX));
    assert_int_equal(etcd_model_revision(model), 5);
    Pb__PutRequest p = PB__PUT_REQUEST__INIT;
    p.key = BYTES("/l/3");
    p.lease = 7;
    assert_int_equal(call(ETCD_MODEL_PUT, &p.base).status, EW_ERR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compare, setup, teardown),
        cmocka_unit_test_setup_teardown(test_txn_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_backlog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_fragments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_compacted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
