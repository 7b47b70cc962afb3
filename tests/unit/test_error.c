/* Errors and log records, which every module uses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"

#include <etcdworker/error.h>
#include <etcdworker/version.h>

static void every_code_has_a_name_and_a_text(void **state) {
    (void)state;
#define CHECK(name, value, text)                                                                                       \
    assert_int_equal(name, value);                                                                                     \
    assert_string_equal(ew_errname(name), #name);                                                                      \
    assert_string_equal(ew_strerror(name), text);
    EW_ERRORS(CHECK)
#undef CHECK
    assert_string_equal(ew_errname(EW_OK), "EW_OK");
    assert_string_equal(ew_strerror(EW_OK), "no error");
}

/* A return code in the wrong place is noticed only if no other code has the same number. */
static void return_codes_are_distinct(void **state) {
    (void)state;
    static const int answers[] = {
#define LIST(name, value) name,
        EW_ANSWERS(LIST)
#undef LIST
    };
    enum { COUNT = sizeof answers / sizeof *answers };
    for (int i = 0; i < COUNT; i++) {
        assert_true(answers[i] > 0);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(answers[i], answers[k]);
    }
#define CHECK(name, value)                                                                                             \
    assert_int_equal(name, value);                                                                                     \
    assert_string_equal(ew_errname(name), #name);
    EW_ANSWERS(CHECK)
#undef CHECK
}

static void unknown_codes_have_a_name(void **state) {
    (void)state;
    assert_string_equal(ew_errname(9999), "EW_ERR_?");
    assert_string_equal(ew_errname(-9999), "EW_ERR_?");
    assert_string_equal(ew_strerror(7), "unknown error");
}

/* ETCD P11: a write with an unknown outcome must never be repeated blindly. */
static void only_errors_that_changed_nothing_are_retryable(void **state) {
    (void)state;
    int retryable = 0;
    for (int code = 0; code > -100; code--)
        retryable += ew_is_retryable(code);
    assert_int_equal(retryable, 4);
    assert_true(ew_is_retryable(EW_ERR_TIMEOUT));
    assert_true(ew_is_retryable(EW_ERR_UNAVAILABLE));
    assert_true(ew_is_retryable(EW_ERR_BUSY));
    assert_true(ew_is_retryable(EW_ERR_NO_SPACE));
    assert_false(ew_is_retryable(EW_ERR_UNKNOWN_OUTCOME));
}

static void fail_fills_and_returns_the_code(void **state) {
    (void)state;
    ew_error err = {0};
    assert_int_equal(ew_fail(&err, EW_ERR_TIMEOUT, "key %s, %d ms", "/a", 5), EW_ERR_TIMEOUT);
    assert_int_equal(err.code, EW_ERR_TIMEOUT);
    assert_string_equal(err.detail, "key /a, 5 ms");
    assert_int_equal(ew_fail(NULL, EW_ERR_STATE, "nobody listens"), EW_ERR_STATE);
}

static void fail_cuts_a_long_detail(void **state) {
    (void)state;
    struct {
        ew_error err;
        char behind[8];
    } space;
    memset(&space, 0x7e, sizeof space);
    ew_fail(&space.err, EW_ERR_INVALID, "%0400d", 1);
    assert_int_equal(strlen(space.err.detail), sizeof space.err.detail - 1);
    assert_memory_equal(space.behind, "~~~~~~~~", 8);
}

static void fail_can_add_words_to_its_own_detail(void **state) {
    (void)state;
    ew_error err;
    ew_fail(&err, EW_ERR_INVALID, "bad port");
    ew_fail(&err, EW_ERR_INVALID, "endpoint x: %s", err.detail);
    assert_string_equal(err.detail, "endpoint x: bad port");
}

typedef struct seen {
    int records;
    ew_log_record last;
    ew_log_field first;
    char text[32]; /* the message */
} seen;

static void keep(void *arg, const ew_log_record *record) {
    seen *s = arg;
    s->records++;
    s->last = *record;
    snprintf(s->text, sizeof s->text, "%s", record->message);
    s->first = record->field_count > 0 ? record->fields[0] : (ew_log_field){0};
}

static void records_go_nowhere_until_a_callback_is_set(void **state) {
    (void)state;
    ew_log_set(NULL, NULL, EW_LOG_DEBUG);
    assert_false(log_on(NULL, EW_LOG_ERROR));
    log_write(EW_LOG_ERROR, NULL, "test", "lost", NULL, 0); /* must not crash */
}

static void records_up_to_the_level_arrive_whole(void **state) {
    (void)state;
    seen s = {0};
    ew_log_set(keep, &s, EW_LOG_INFO);
    log_fields(EW_LOG_INFO, LOG_NAMED("w1"), "watcher", "synced", {"key", "/a", 0}, {"revision", NULL, 7});
    assert_int_equal(s.records, 1);
    assert_int_equal(s.last.level, EW_LOG_INFO);
    assert_string_equal(s.last.worker, "w1");
    assert_string_equal(s.last.area, "watcher");
    assert_string_equal(s.last.message, "synced");
    assert_int_equal(s.last.field_count, 2);
    assert_string_equal(s.first.text, "/a");
    log_fields(EW_LOG_DEBUG, LOG_NAMED("w1"), "watcher", "too fine", {"ms", NULL, 1});
    log_write(EW_LOG_DEBUG, NULL, "watcher", "too fine", NULL, 0);
    assert_int_equal(s.records, 1);
    ew_log_set(NULL, NULL, EW_LOG_ERROR);
}

static void a_source_with_a_callback_has_its_own_level(void **state) {
    (void)state;
    seen process = {0}, own = {0};
    ew_log_set(keep, &process, EW_LOG_DEBUG);
    const log_source quiet = {"w1", {keep, &own, EW_LOG_WARN}};
    log_write(EW_LOG_WARN, &quiet, "watcher", "lost", NULL, 0);
    log_write(EW_LOG_INFO, &quiet, "watcher", "too fine", NULL, 0);
    assert_int_equal(own.records, 1);
    assert_string_equal(own.last.worker, "w1");
    log_set_source(&quiet);
    ew_log(EW_LOG_ERROR, "mine");
    ew_log(EW_LOG_DEBUG, "too fine");
    log_set_source(NULL);
    assert_int_equal(own.records, 2);
    assert_int_equal(process.records, 0);
    ew_log(EW_LOG_DEBUG, "the process's");
    assert_int_equal(process.records, 1);
    assert_null(process.last.worker);
    ew_log_set(NULL, NULL, EW_LOG_ERROR);
    log_write(EW_LOG_WARN, &quiet, "watcher", "lost", NULL, 0);
    assert_int_equal(own.records, 3);
}

/* A reactor's records have the worker of their thread and a valid level. */
static void records_of_a_reactor_name_its_worker(void **state) {
    (void)state;
    seen s = {0};
    ew_log_set(keep, &s, EW_LOG_INFO);
    log_set_source(LOG_NAMED("w1"));
    ew_log(EW_LOG_WARN, "%d tasks", 5);
    assert_int_equal(s.last.level, EW_LOG_WARN);
    assert_string_equal(s.last.worker, "w1");
    assert_string_equal(s.last.area, "app");
    assert_string_equal(s.text, "5 tasks");
    ew_log((ew_log_level)99, "below the level");
    assert_int_equal(s.records, 1);
    log_set_source(NULL);
    ew_log_set(keep, &s, EW_LOG_DEBUG);
    ew_log((ew_log_level)99, "a debug record");
    assert_int_equal(s.last.level, EW_LOG_DEBUG);
    assert_null(s.last.worker);
    ew_log((ew_log_level)-1, "another one");
    assert_int_equal(s.last.level, EW_LOG_DEBUG);
    assert_int_equal(s.records, 3);
    ew_log_set(NULL, NULL, EW_LOG_ERROR);
}

static void the_library_has_a_version(void **state) {
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", EW_VERSION_MAJOR, EW_VERSION_MINOR, EW_VERSION_PATCH);
    assert_string_equal(ew_version(), text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_and_a_text),
        cmocka_unit_test(return_codes_are_distinct),
        cmocka_unit_test(unknown_codes_have_a_name),
        cmocka_unit_test(only_errors_that_changed_nothing_are_retryable),
        cmocka_unit_test(fail_fills_and_returns_the_code),
        cmocka_unit_test(fail_cuts_a_long_detail),
        cmocka_unit_test(fail_can_add_words_to_its_own_detail),
        cmocka_unit_test(records_go_nowhere_until_a_callback_is_set),
        cmocka_unit_test(records_up_to_the_level_arrive_whole),
        cmocka_unit_test(a_source_with_a_callback_has_its_own_level),
        cmocka_unit_test(records_of_a_reactor_name_its_worker),
        cmocka_unit_test(the_library_has_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
