/* Waits double, with jitter, up to a maximum, and start again after a success. */
#include "etcd/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_waits_double_up_to_the_cap(void **state) {
    (void)state;
    backoff b;
    backoff_init(&b, 50, 1000);
    int64_t most = 50;
    for (int i = 0; i < 1000; i++) {
        int64_t wait_ms = backoff_next_ms(&b);
        assert_in_range(wait_ms, most / 2, most);
        most = most * 2 < 1000 ? most * 2 : 1000;
    }
    backoff_reset(&b);
    assert_in_range(backoff_next_ms(&b), 25, 50);
}

/* Clients that lose their server at the same time do not all reconnect at the same time. */
static void test_jitter(void **state) {
    (void)state;
    enum { CLIENTS = 50 };
    int different = 0;
    int64_t first = 0;
    for (int i = 0; i < CLIENTS; i++) {
        backoff b;
        backoff_init(&b, 10000, 10000);
        int64_t wait_ms = backoff_next_ms(&b);
        first = i == 0 ? wait_ms : first;
        different += wait_ms != first;
    }
    assert_true(different > CLIENTS / 2);
}

static void test_extreme_limits(void **state) {
    (void)state;
    backoff b;
    backoff_init(&b, 1, 1);
    for (int i = 0; i < 10; i++)
        assert_in_range(backoff_next_ms(&b), 0, 1);
    backoff_init(&b, INT64_MAX / 4, INT64_MAX / 2);
    for (int i = 0; i < 10; i++)
        assert_true(backoff_next_ms(&b) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_double_up_to_the_cap),
        cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_extreme_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
