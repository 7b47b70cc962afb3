/* An outage of etcd is logged once, then every 30 s of the clock, and once when etcd is back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/absence.h"

#include <etcdworker/log.h>

static char said[4096];

static void hear(void *arg, const ew_log_record *record) {
    size_t len = strlen(said);
    (void)arg;
    len += (size_t)snprintf(said + len, sizeof said - len, "%s", record->message);
    for (size_t i = 0; i < record->field_count; i++)
        if (!record->fields[i].text)
            len += (size_t)snprintf(said + len, sizeof said - len, " %lld", (long long)record->fields[i].number);
    snprintf(said + len, sizeof said - len, "; ");
}

static int setup(void **state) {
    (void)state;
    said[0] = '\0';
    ew_log_set(hear, NULL, EW_LOG_DEBUG);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    ew_log_set(NULL, NULL, EW_LOG_ERROR);
    return 0;
}

/* Notes a failure every 100 ms. */
static void miss(absence *a, int64_t from_ms, int64_t to_ms) {
    for (int64_t ms = from_ms; ms <= to_ms; ms += 100)
        absence_note(a, LOG_NAMED("w"), true, ms, "refused");
}

static void test_once_then_every_30_s(void **state) {
    (void)state;
    absence a = {0};
    absence_note(&a, LOG_NAMED("w"), false, 500, NULL);
    assert_int_equal(absence_deadline_ms(&a), INT64_MAX);
    miss(&a, 1000, 71000);
    assert_int_equal(absence_deadline_ms(&a), 92000);
    absence_note(&a, LOG_NAMED("w"), false, 71500, NULL);
    assert_int_equal(absence_deadline_ms(&a), INT64_MAX);
    absence_note(&a, LOG_NAMED("w"), false, 72000, NULL);
    assert_string_equal(said,
                        "etcd is missing 1; etcd is still missing 31; etcd is still missing 61; etcd is back 70; ");
}

/* A connection that is back at once is not logged, and the next outage starts from zero. */
static void test_a_short_outage(void **state) {
    (void)state;
    absence a = {0};
    for (int i = 0; i < 50; i++) {
        miss(&a, 10000 * (i + 1), 10000 * (i + 1) + 900);
        absence_note(&a, LOG_NAMED("w"), false, 10000 * (i + 1) + 950, NULL);
    }
    assert_string_equal(said, "");
    miss(&a, 600000, 602000);
    assert_string_equal(said, "etcd is missing 1; ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once_then_every_30_s, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_short_outage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
