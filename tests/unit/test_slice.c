/* <etcdworker/types.h>: numbers in texts. */
#include <etcdworker/types.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t number;
    } good[] = {{"0", 0},
                {"7", 7},
                {"-7", -7},
                {"007", 7},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t number = 1;
        assert_true(ew_slice_int(ew_str(good[i].text), &number));
        assert_true(number == good[i].number);
    }
}

/* The whole text must be a number; otherwise nothing is written. */
static void invalid_numbers(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      " 7",
                                      "7 ",
                                      "+7",
                                      "-",
                                      "7x",
                                      "x7",
                                      "0x10",
                                      "1e3",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "000000000000000000000000007"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t number = 42;
        assert_false(ew_slice_int(ew_str(bad[i]), &number));
        assert_int_equal(number, 42);
    }
    int64_t number = 42;
    assert_false(ew_slice_int((ew_slice){"7\0", 2}, &number));
    assert_int_equal(number, 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(invalid_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
