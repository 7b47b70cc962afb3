/* Unpacking distinguishes a malformed message from a lack of memory. */
#include <stdbool.h>
#include <stdlib.h>

static bool out_of_memory;

static void *failing_malloc(size_t size) {
    return out_of_memory ? NULL : malloc(size);
}

#define malloc(size) failing_malloc(size)
#include "core/unpack.c"
#undef malloc

#include "actors.pb-c.h"
#include "etcd.pb-c.h"
#include "unit/nested.h"

#include <etcdworker/client.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_each_result(void **state) {
    (void)state;
    const uint8_t bytes[] = {0x08, 0x07}; /* number 7 */
    int status = EW_ERR_STATE;
    Msg__TickNote *m = unpack_message(&msg__tick_note__descriptor, (ew_slice){bytes, 2}, &status);
    assert_non_null(m);
    assert_int_equal(status, EW_OK);
    assert_int_equal(m->number, 7);
    msg__tick_note__free_unpacked(m, NULL);
    assert_null(unpack_message(&msg__tick_note__descriptor, (ew_slice){bytes, 1}, &status));
    assert_int_equal(status, EW_ERR_BAD_MESSAGE);
    out_of_memory = true;
    assert_null(unpack_message(&msg__tick_note__descriptor, (ew_slice){bytes, 2}, &status));
    assert_int_equal(status, EW_ERR_NO_MEMORY);
}

static uint8_t bytes_[NESTED_BYTES];

static int unpacks(unsigned operation, size_t depth) {
    bool asks = operation == NESTED_REQUEST;
    const ProtobufCMessageDescriptor *type = asks ? &pb__txn_request__descriptor : &pb__txn_response__descriptor;
    int status = EW_ERR_STATE;
    ProtobufCMessage *m = unpack_message(type, nested_txn(bytes_, sizeof bytes_, operation, depth), &status);
    assert_int_equal(m != NULL, status == EW_OK);
    protobuf_c_message_free_unpacked(m, NULL);
    return status;
}

/* Messages with the depth that clients and etcd use are unpacked. Messages that would overflow the stack are
 * malformed. */
static void test_nested(void **state) {
    (void)state;
    out_of_memory = false;
    const unsigned operations[] = {NESTED_REQUEST, NESTED_RESPONSE};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(unpacks(operations[i], 0), EW_OK);
        assert_int_equal(unpacks(operations[i], EW_TXN_DEPTH_MAX), EW_OK);
        assert_int_equal(unpacks(operations[i], (UNPACK_DEPTH_MAX - 1) / 2), EW_OK);
        assert_int_equal(unpacks(operations[i], UNPACK_DEPTH_MAX / 2), EW_ERR_BAD_MESSAGE);
        assert_int_equal(unpacks(operations[i], NESTED_LEAST), EW_ERR_BAD_MESSAGE);
    }
}

/* Only submessages count: a value may have any bytes, also those of a nested message. */
static void test_bytes_are_not_messages(void **state) {
    (void)state;
    out_of_memory = false;
    ew_slice deep = nested_txn(bytes_, sizeof bytes_, NESTED_RESPONSE, UNPACK_DEPTH_MAX);
    uint8_t *at = nested_head((uint8_t *)(uintptr_t)deep.data, 5, deep.len); /* KeyValue.value */
    ew_slice kv = {at, deep.len + (size_t)((const uint8_t *)deep.data - at)};
    int status;
    Pb__KeyValue *m = unpack_message(&pb__key_value__descriptor, kv, &status);
    assert_non_null(m);
    assert_int_equal(m->value.len, deep.len);
    pb__key_value__free_unpacked(m, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_result),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_bytes_are_not_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
