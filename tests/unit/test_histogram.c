/* bench/histogram.c: percentiles within 3%, sums, and JSON. */
#include "bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static histogram h, other;

static int begin(void **state) {
    (void)state;
    h = other = (histogram){0};
    return 0;
}

static void assert_near(uint64_t is, uint64_t should) {
    double off = (double)is - (double)should;
    assert_true(off <= 0.03 * (double)should && -off <= 0.03 * (double)should);
}

static void an_empty_histogram_has_no_percentiles(void **state) {
    (void)state;
    assert_int_equal(histogram_percentile(&h, 50), 0);
    assert_int_equal(histogram_percentile(&h, 100), 0);
}

/* With one value all percentiles are that value, within 3%. The largest number is in the last bucket. */
static void every_size_is_within_three_percent(void **state) {
    (void)state;
    for (int bit = 0; bit < 63; bit++) {
        for (uint64_t value = (1ull << bit) - 1; value <= (1ull << bit) + 1; value++) {
            h = (histogram){0};
            histogram_add(&h, value);
            assert_near(histogram_percentile(&h, 50), value);
            assert_true(histogram_percentile(&h, 100) <= value);
        }
    }
    histogram_add(&h, UINT64_MAX);
    assert_true(h.max_ns == UINT64_MAX);
    assert_int_equal(h.total, 2);
}

static void percentiles_are_of_all_values(void **state) {
    (void)state;
    for (uint64_t us = 1; us <= 1000; us++)
        histogram_add(&h, us * 1000);
    assert_near(histogram_percentile(&h, 50), 500000);
    assert_near(histogram_percentile(&h, 90), 900000);
    assert_near(histogram_percentile(&h, 99), 990000);
    assert_int_equal(histogram_percentile(&h, 100), 1000000);
    assert_near(histogram_percentile(&h, 0), 1000);
}

static void a_sum_has_the_values_of_both(void **state) {
    (void)state;
    for (int i = 0; i < 99; i++)
        histogram_add(&h, 1000);
    histogram_add(&other, 5000000);
    histogram_merge(&h, &other);
    assert_int_equal(h.total, 100);
    assert_int_equal(h.max_ns, 5000000);
    assert_near(histogram_percentile(&h, 99), 1000);
    assert_near(histogram_percentile(&h, 99.5), 5000000);
}

static void json_keeps_everything(void **state) {
    (void)state;
    for (uint64_t value = 1; value < 1ull << 40; value *= 3)
        histogram_add(&h, value);
    json_t *buckets = histogram_to_json(&h);
    assert_true(histogram_from_json(&other, buckets, h.max_ns));
    json_decref(buckets);
    assert_memory_equal(&h, &other, sizeof h);
}

static void invalid_json_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"{}", "[1]", "[[0]]", "[[-1, 1]]", "[[1920, 1]]", "[[0, -1]]", "[[\"0\", 1]]"};
    assert_false(histogram_from_json(&h, NULL, 0));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *buckets = json_loads(bad[i], 0, NULL);
        assert_non_null(buckets);
        assert_false(histogram_from_json(&h, buckets, 0));
        json_decref(buckets);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_histogram_has_no_percentiles, begin),
        cmocka_unit_test_setup(every_size_is_within_three_percent, begin),
        cmocka_unit_test_setup(percentiles_are_of_all_values, begin),
        cmocka_unit_test_setup(a_sum_has_the_values_of_both, begin),
        cmocka_unit_test_setup(json_keeps_everything, begin),
        cmocka_unit_test_setup(invalid_json_is_refused, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
