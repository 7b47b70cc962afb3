/* Unpacking tells apart what is malformed and what there is no memory for. */
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

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_each_way(void **state) {
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
