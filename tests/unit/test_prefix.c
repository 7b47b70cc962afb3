/* SEMANTICS 2: the normal form of a prefix, its range in etcd, and which keys belong to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/prefix.h"

static void normal_form_is(const char *text, const char *expected) {
    char *normal = prefix_normalise(text);
    assert_non_null(normal);
    assert_string_equal(normal, expected);
    free(normal);
}

/* The examples of SEMANTICS 2. */
static void a_prefix_starts_with_a_slash_and_loses_one_at_its_end(void **state) {
    (void)state;
    normal_form_is("aaa", "/aaa");
    normal_form_is("aaa/", "/aaa");
    normal_form_is("/aaa", "/aaa");
    normal_form_is("/aaa/", "/aaa");
    normal_form_is("", "");
    normal_form_is("/", "");
    normal_form_is("//", "/");
    normal_form_is("a//", "/a/");
    normal_form_is("a/b/c", "/a/b/c");
}

static void range_is(ew_slice prefix, bool textual, ew_slice first, ew_slice last) {
    ew_slice key, range_end;
    assert_true(prefix_range(prefix, textual, &key, &range_end));
    assert_true(ew_slice_equal(key, first));
    assert_true(ew_slice_equal(range_end, last));
    free((void *)key.data);
    free((void *)range_end.data);
}

static void the_range_of_a_path_ends_after_its_slash(void **state) {
    (void)state;
    range_is(EW_STR("/a"), false, EW_STR("/a"), EW_STR("/a0"));
    range_is(EW_STR("/"), false, EW_STR("/"), EW_STR("/0"));
}

static void the_textual_range_is_etcds_with_prefix(void **state) {
    (void)state;
    range_is(EW_STR("/a"), true, EW_STR("/a"), EW_STR("/b"));
    range_is(EW_STR("/a\xff\xff"), true, EW_STR("/a\xff\xff"), EW_STR("/b"));
    range_is(EW_STR("\xff"), true, EW_STR("\xff"), EW_STR("\0"));
}

static void an_empty_prefix_is_the_whole_keyspace(void **state) {
    (void)state;
    range_is(EW_STR(""), false, EW_STR("\0"), EW_STR("\0"));
    range_is(EW_STR(""), true, EW_STR("\0"), EW_STR("\0"));
    assert_true(prefix_owns(EW_STR(""), false, EW_STR("anything")));
}

/* SEMANTICS 2: a path never owns a sibling. */
static void a_path_owns_itself_and_what_is_below_it(void **state) {
    (void)state;
    assert_true(prefix_owns(EW_STR("/a"), false, EW_STR("/a")));
    assert_true(prefix_owns(EW_STR("/a"), false, EW_STR("/a/")));
    assert_true(prefix_owns(EW_STR("/a"), false, EW_STR("/a/b\0c")));
    assert_false(prefix_owns(EW_STR("/a"), false, EW_STR("/ab")));
    assert_false(prefix_owns(EW_STR("/a"), false, EW_STR("/a-b"))); /* although it is inside the range */
    assert_false(prefix_owns(EW_STR("/a"), false, EW_STR("/")));
    assert_false(prefix_owns(EW_STR("/a"), false, EW_STR("/b/a")));
}

static void a_textual_prefix_owns_whatever_starts_with_it(void **state) {
    (void)state;
    assert_true(prefix_owns(EW_STR("/a"), true, EW_STR("/ab")));
    assert_true(prefix_owns(EW_STR("/a"), true, EW_STR("/a")));
    assert_false(prefix_owns(EW_STR("/a"), true, EW_STR("/b")));
}

static int order(ew_slice a, ew_slice b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int bytes = memcmp(a.data, b.data, common);
    return bytes != 0 ? bytes : (int)a.len - (int)b.len;
}

/* Every key that a prefix owns must be in the range that is read and watched. */
static void all_that_is_owned_is_inside_the_range(void **state) {
    (void)state;
    static const char alphabet[] = {'/', 'a', '-', '0', (char)0xff, '\0'};
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char prefix[5] = "/", key[6];
        size_t prefix_len = 1 + (size_t)rand_r(&seed) % 3, key_len = 1 + (size_t)rand_r(&seed) % 5;
        for (size_t i = 1; i < prefix_len; i++)
            prefix[i] = alphabet[(size_t)rand_r(&seed) % 5];
        for (size_t i = 0; i < key_len; i++)
            key[i] = i < prefix_len && rand_r(&seed) % 8 > 0 ? prefix[i] : alphabet[(size_t)rand_r(&seed) % 6];
        bool textual = rand_r(&seed) % 2;
        ew_slice whole = {prefix, prefix_len}, k = {key, key_len}, first, last;
        assert_true(prefix_range(whole, textual, &first, &last));
        bool inside = order(k, first) >= 0 && order(k, last) < 0;
        if (prefix_owns(whole, textual, k))
            assert_true(inside);
        else if (textual)
            assert_false(inside);
        free((void *)first.data);
        free((void *)last.data);
    }
}

static void a_key_below_a_prefix(void **state) {
    (void)state;
    static const char *const good[] = {"a", "meta/count", "a//b", "__cdc_meta__/meta/x"};
    static const char *const bad[] = {"", "/", "/a", "a/", "/a/"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(prefix_is_below(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(prefix_is_below(bad[i]));
    char *key = prefix_join("/aaa", "meta/count");
    assert_string_equal(key, "/aaa/meta/count");
    free(key);
    key = prefix_join("", "a");
    assert_string_equal(key, "/a");
    free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_below_a_prefix),
        cmocka_unit_test(a_prefix_starts_with_a_slash_and_loses_one_at_its_end),
        cmocka_unit_test(the_range_of_a_path_ends_after_its_slash),
        cmocka_unit_test(the_textual_range_is_etcds_with_prefix),
        cmocka_unit_test(an_empty_prefix_is_the_whole_keyspace),
        cmocka_unit_test(a_path_owns_itself_and_what_is_below_it),
        cmocka_unit_test(a_textual_prefix_owns_whatever_starts_with_it),
        cmocka_unit_test(all_that_is_owned_is_inside_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
