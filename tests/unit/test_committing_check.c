/* Batches that a committer must refuse: keys outside the prefix, operations that no reactor sends, invalid numbers. */
#include "unit/committing_fixture.h"
#include "unit/nested.h"

#include <stdlib.h>

static world *w;

static void use(const char *prefix, const char *receipt_prefix) {
    committing_config config = plain_config;
    config.prefix = ew_str(prefix);
    config.receipt_prefix = ew_str(receipt_prefix);
    if (w)
        world_free(w);
    w = world_new(&config);
}

static int teardown(void **state) {
    (void)state;
    world_free(w);
    w = NULL;
    return 0;
}

/* Checks that the atomic unit of this key is refused with an error that names the key, and that nothing is sent. */
static void refused(const char *key, const char *value, const char *why) {
    batch *b = batch_new(1, 0);
    batch_put(b, key, 0, value);
    give(w, b);
    assert_false(w->txn);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 0);
    assert_false(w->outcome.unknown);
    assert_non_null(strstr(w->detail, "PATCHES: unit 0 "));
    if (!strstr(w->detail, why) || !strstr(w->detail, key))
        fail_msg("\"%s\" does not say \"%s\"", w->detail, why);
}

static void accepted(const char *key, const char *value) {
    batch *b = batch_new(1, 0);
    batch_put(b, key, 0, value);
    give(w, b);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

static void test_keys_outside_the_prefix(void **state) {
    (void)state;
    use("/a", "/receipts");
    refused("/b", "x", "puts a key outside the prefix");
    refused("/ab", "x", "puts a key outside the prefix");
    refused("/b", NULL, "deletes a key outside the prefix");
    refused(COUNTER, "7", "puts a key outside the prefix");
    refused("/receipts/w", "7", "puts a key outside the prefix");
    refused("/receipts/submit/", "7", "puts a key outside the prefix");
    refused("/receipts/submit/x", NULL, "deletes a key outside the prefix");
    accepted("/a", "1");
    accepted("/a/b", "1");
    accepted("/receipts/submit/x", "a client's record");
    accepted("/a/b2", NULL);
}

static void test_the_whole_keyspace(void **state) {
    (void)state;
    use("", "");
    accepted("anything", "1");
    accepted("/receipts/submit/x", "1");
    use("", "/receipts");
    refused("/receipts/x", "1", "puts a key outside the prefix");
    accepted("/other", "1");
}

/* SEMANTICS 25: the atomic units before it are committed, in order. */
static void test_units_before_it_are_committed(void **state) {
    (void)state;
    use("/a", "");
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    batch_put(b, "/b", 0, "1");
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 1);
    assert_non_null(strstr(w->detail, "unit 1 puts a key outside the prefix: /b"));
    assert_string_equal(tiny_value(&w->etcd, "/a/x"), "1");
    assert_int_equal(tiny_mod(&w->etcd, "/b"), 0);
    assert_int_equal(tiny_mod(&w->etcd, "/a/y"), 0);
}

/* ---- atomic units that no reactor packs ---- */

static void give_txn(Pb__TxnRequest *txn) {
    batch *b = batch_new(1, 0);
    batch_unit(b);
    b->units[0].txn.len = pb__txn_request__pack(txn, b->bytes);
    give(w, b);
}

static void refused_txn(Pb__TxnRequest *txn, const char *why) {
    give_txn(txn);
    assert_false(w->txn);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 0);
    if (!strstr(w->detail, why))
        fail_msg("\"%s\" does not say \"%s\"", w->detail, why);
}

static void test_operations_that_no_reactor_sends(void **state) {
    (void)state;
    use("/a", "");
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT, nested = PB__TXN_REQUEST__INIT;
    Pb__RequestOp op = PB__REQUEST_OP__INIT, *ops[] = {&op};
    Pb__RangeRequest range = PB__RANGE_REQUEST__INIT;
    Pb__DeleteRangeRequest removal = PB__DELETE_RANGE_REQUEST__INIT;
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    txn.success = ops;
    txn.n_success = 1;
    refused_txn(&txn, "neither a put nor a delete");
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op.request_range = &range;
    refused_txn(&txn, "neither a put nor a delete");
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op.request_txn = &nested;
    refused_txn(&txn, "neither a put nor a delete");
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &removal;
    removal.key = (ProtobufCBinaryData){2, (uint8_t *)"/a"};
    removal.range_end = (ProtobufCBinaryData){1, (uint8_t *)"0"};
    refused_txn(&txn, "deletes a range");
    txn.n_success = 0;
    txn.failure = ops;
    txn.n_failure = 1;
    removal.range_end.len = 0;
    refused_txn(&txn, "operation other than a read in its else branch");
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    put.key = removal.key;
    refused_txn(&txn, "operation other than a read in its else branch");
    static uint8_t deep[NESTED_BYTES];
    batch *b = batch_new(1, 0);
    batch_unit(b);
    ew_slice txn_bytes = nested_txn(deep, sizeof deep, NESTED_REQUEST, NESTED_LEAST);
    b->units[0].txn = (ProtobufCBinaryData){txn_bytes.len, (uint8_t *)(uintptr_t)txn_bytes.data};
    give(w, b);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 0);
    assert_non_null(strstr(w->detail, "is not a TxnRequest"));
    b = batch_new(1, 0);
    batch_unit(b);
    b->bytes[0] = 0xff;
    b->units[0].txn.len = 1;
    give(w, b);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 0);
    assert_non_null(strstr(w->detail, "is not a TxnRequest"));
}

/* ---- numbers ---- */

static void expect_number(uint64_t number, bool good) {
    batch *b = batch_new(number, 0);
    batch_put(b, "/a/x", w->etcd.revision > 1 ? tiny_mod(&w->etcd, "/a/x") : 0, "1");
    give(w, b);
    assert_int_equal(w->txn, good);
    if (good)
        applied(w);
    assert_outcome(w, good ? EW_OK : EW_ERR_BAD_MESSAGE, good);
    assert_int_equal(w->outcome.batch, number);
    assert_int_equal(committing_get_state(w->c), COMMITTING_IDLE);
}

static void test_numbers(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.numbered = true;
    w = world_new(&config);
    expect_number(0, false);
    expect_number(2, false);
    expect_number(1, true);
    expect_number(1, false);
    assert_non_null(strstr(w->detail, "PATCHES: batch 1 after batch 1"));
    expect_number(3, false);
    expect_number(2, true);
    expect_number(UINT64_MAX, false);
    expect_number(3, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_keys_outside_the_prefix, teardown),
        cmocka_unit_test_teardown(test_the_whole_keyspace, teardown),
        cmocka_unit_test_teardown(test_units_before_it_are_committed, teardown),
        cmocka_unit_test_teardown(test_operations_that_no_reactor_sends, teardown),
        cmocka_unit_test_teardown(test_numbers, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
