/* Options: one table, and errors that say which values are allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/options_internal.h"

static int set_up(void **state) {
    *state = ew_options_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state) {
    ew_options_free(*state);
    return 0;
}

static void refused(ew_options *o, const char *name, const char *value, const char *words) {
    ew_error err = {0};
    int64_t before = ew_options_int(o, name);
    assert_int_equal(ew_options_set(o, name, value, &err), EW_ERR_INVALID);
    assert_int_equal(err.code, EW_ERR_INVALID);
    if (name)
        assert_non_null(strstr(err.detail, name));
    assert_non_null(strstr(err.detail, words));
    assert_int_equal(ew_options_int(o, name), before);
}

static void number_becomes(ew_options *o, const char *name, const char *value, int64_t expected) {
    assert_int_equal(ew_options_set(o, name, value, NULL), EW_OK);
    assert_int_equal(ew_options_int(o, name), expected);
}

static void every_row_of_the_table_is_valid(void **state) {
    ew_options *o = *state;
    size_t rows = 0;
    for (const ew_option_info *i; (i = ew_option_at(rows)); rows++) {
        assert_true(strlen(i->help) > 10);
        for (size_t j = 0; j < rows; j++)
            assert_string_not_equal(ew_option_at(j)->name, i->name);
        if (i->kind == EW_OPTION_TEXT) {
            assert_string_equal(ew_options_text(o, i->name), i->default_text);
            assert_int_equal(ew_options_int(o, i->name), -1);
            continue;
        }
        assert_int_equal(ew_options_int(o, i->name), i->default_number);
        assert_null(ew_options_text(o, i->name));
        /* The default must be allowed, in text and as a number. */
        if (i->kind != EW_OPTION_CHOICE)
            assert_int_equal(ew_options_set_int(o, i->name, i->default_number, NULL), EW_OK);
        else
            assert_non_null(i->choices);
    }
    assert_true(rows > 30);
    assert_null(ew_option_at(rows + 1));
}

static void numbers_are_decimal_and_in_range(void **state) {
    ew_options *o = *state;
    number_becomes(o, "max_txn_ops", "10000", 10000); /* SEMANTICS 26 */
    number_becomes(o, "max_txn_ops", "16", 16);
    number_becomes(o, "max_txn_ops", "0128", 128);
    refused(o, "max_txn_ops", "10001", "'10001' is not a decimal number from 16 to 10000");
    refused(o, "max_txn_ops", "15", "from 16 to 10000");
    number_becomes(o, "max_txn_keys", "10000", 10000);
    number_becomes(o, "max_txn_keys", "0", 0);
    number_becomes(o, "max_txn_keys", "007", 7);
    static const char *const malformed[] = {
        "", " 5", "5 ", "+5", "0x10", "5.0", "1e3", "five", "-", "--5", "5ms", "99999999999999999999", "-5",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        refused(o, "max_txn_keys", malformed[i], malformed[i]);
}

static void switches_take_the_usual_words(void **state) {
    ew_options *o = *state;
    static const char *const words[][2] = {{"off", "on"}, {"false", "true"}, {"no", "yes"}, {"0", "1"}, {"OFF", "On"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        number_becomes(o, "coalesce", words[i][0], 0);
        number_becomes(o, "coalesce", words[i][1], 1);
    }
    refused(o, "coalesce", "maybe", "'maybe' is neither on nor off");
    refused(o, "coalesce", "", "on nor off");
    refused(o, "coalesce", "2", "on nor off");
}

static void choices_take_their_words_and_read_as_positions(void **state) {
    ew_options *o = *state;
    number_becomes(o, "prefix_match", "textual", OPTIONS_PREFIX_TEXTUAL);
    number_becomes(o, "prefix_match", "path", OPTIONS_PREFIX_PATH);
    number_becomes(o, "isolation", "serializable", OPTIONS_ISOLATION_SERIALIZABLE);
    number_becomes(o, "isolation", "snapshot", OPTIONS_ISOLATION_SNAPSHOT);
    number_becomes(o, "delete_counter", "off", OPTIONS_COUNTER_OFF);
    number_becomes(o, "delete_counter", "compat", OPTIONS_COUNTER_COMPAT);
    refused(o, "delete_counter", "on", "'on' is not one of off|compat");
    refused(o, "delete_counter", "off|compat", "not one of");
    refused(o, "delete_counter", "comp", "not one of");
    refused(o, "delete_counter", "", "not one of");
}

static void texts_are_copied(void **state) {
    ew_options *o = *state;
    char value[] = "/app";
    assert_int_equal(ew_options_set(o, "prefix", value, NULL), EW_OK);
    value[1] = 'x';
    assert_string_equal(ew_options_text(o, "prefix"), "/app");
    assert_int_equal(ew_options_set(o, "prefix", "", NULL), EW_OK);
    assert_string_equal(ew_options_text(o, "prefix"), "");
}

static void unknown_options_are_named(void **state) {
    ew_options *o = *state;
    refused(o, "tick_interval", "5", "there is no option 'tick_interval'");
    refused(o, NULL, "5", "there is no option ''");
    refused(o, "prefix", NULL, "a value is missing");
    ew_error err;
    assert_int_equal(ew_options_set_int(o, "nothing", 1, &err), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "'nothing'"));
    assert_int_equal(ew_options_int(o, "nothing"), -1);
    assert_null(ew_options_text(o, "nothing"));
}

static void set_int_takes_numbers_and_switches_only(void **state) {
    ew_options *o = *state;
    ew_error err;
    assert_int_equal(ew_options_set_int(o, "tick_interval_ms", 5, NULL), EW_OK);
    assert_int_equal(o->tick_interval_ms, 5);
    assert_int_equal(ew_options_set_int(o, "submit", 1, NULL), EW_OK);
    assert_int_equal(o->submit, 1);
    assert_int_equal(ew_options_set_int(o, "submit", 2, &err), EW_ERR_INVALID);
    assert_int_equal(ew_options_set_int(o, "tick_interval_ms", 0, &err), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "from 1 to 86400000"));
    assert_int_equal(ew_options_set_int(o, "isolation", 1, &err), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "snapshot|serializable"));
    assert_int_equal(ew_options_set_int(o, "prefix", 1, &err), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "prefix"));
    assert_int_equal(o->tick_interval_ms, 5);
    assert_int_equal(o->isolation, OPTIONS_ISOLATION_SNAPSHOT);
}

static void a_copy_is_independent(void **state) {
    ew_options *o = *state;
    assert_int_equal(ew_options_set(o, "name", "first", NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "max_submits", "3", NULL), EW_OK);
    ew_options *copy = options_copy(o);
    assert_non_null(copy);
    assert_int_equal(ew_options_set(o, "name", "second", NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "max_submits", "4", NULL), EW_OK);
    assert_string_equal(copy->name, "first");
    assert_int_equal(copy->max_submits, 3);
    assert_string_equal(copy->endpoints, "127.0.0.1:2379");
    ew_options_free(copy);
    ew_options_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_of_the_table_is_valid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_are_decimal_and_in_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(switches_take_the_usual_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(choices_take_their_words_and_read_as_positions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(texts_are_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_options_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(set_int_takes_numbers_and_switches_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_is_independent, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
