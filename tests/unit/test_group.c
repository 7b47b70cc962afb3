/* How groups are made: which errors stay, what is copied, which arguments are dropped. */
#include "core/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static group_scope scope = {
    .prefix = {"/a", 2},
    .counter_key = {"/a/meta/ticdc-delete-etcd-key-count", 35},
    .receipt_prefix = {"/a/receipts", 11},
};

static int drops;

static void drop(void *arg) {
    assert_ptr_equal(arg, &drops);
    drops++;
}

static int modify(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    (void)current;
    (void)next;
    return EW_OK;
}

static int patch(void *arg, ew_view *view) {
    (void)arg;
    (void)view;
    return EW_OK;
}

/* All functions accept a NULL group, and still drop their argument. */
static void test_null_group(void **state) {
    (void)state;
    drops = 0;
    assert_int_equal(ew_group_put(NULL, EW_STR("/a/x"), EW_STR("1")), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_put_lease(NULL, EW_STR("/a/x"), EW_STR("1"), EW_LEASE_KEEP), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_delete(NULL, EW_STR("/a/x")), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_modify(NULL, EW_STR("/a/x"), modify, &drops, drop), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_patch(NULL, patch, &drops, drop), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_guard(NULL, EW_STR("/a/x")), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_on_done(NULL, NULL, NULL), EW_ERR_NO_MEMORY);
    assert_int_equal(ew_group_name(NULL, "x"), EW_ERR_NO_MEMORY);
    assert_int_equal(drops, 2);
    group_free(NULL);
}

/* Each argument is dropped exactly once, whether its patch was accepted or not. */
static void test_drops(void **state) {
    (void)state;
    ew_group *g = group_new(&scope, 1);
    drops = 0;
    assert_int_equal(ew_group_modify(g, EW_STR("/a/x"), modify, &drops, drop), EW_OK);
    assert_int_equal(ew_group_patch(g, patch, &drops, drop), EW_OK);
    assert_int_equal(ew_group_modify(g, EW_STR("/a/x"), modify, &drops, NULL), EW_OK);
    assert_int_equal(drops, 0);
    assert_int_equal(ew_group_modify(g, EW_STR("/b"), modify, &drops, drop), EW_ERR_OUTSIDE_PREFIX);
    assert_int_equal(drops, 1);
    assert_int_equal(ew_group_modify(g, EW_STR("/a/x"), NULL, &drops, drop), EW_ERR_INVALID);
    assert_int_equal(ew_group_patch(g, NULL, &drops, drop), EW_ERR_INVALID);
    assert_int_equal(drops, 3);
    group_free(g);
    assert_int_equal(drops, 5);
}

/* SEMANTICS 22: a key outside the prefix, or a reserved one; the first error stays and names the key. */
static void test_keys(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "/b", "/ab", "/a-b/c", "/a/meta/ticdc-delete-etcd-key-count", "/a/receipts/1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ew_group *g = group_new(&scope, 4);
        assert_int_equal(ew_group_put(g, EW_STR("/a"), EW_STR("1")), EW_OK);
        assert_int_equal(g->error.code, EW_OK);
        assert_int_equal(ew_group_put(g, ew_str(bad[i]), EW_STR("1")), EW_ERR_OUTSIDE_PREFIX);
        assert_int_equal(ew_group_delete(g, ew_str(bad[i])), EW_ERR_OUTSIDE_PREFIX);
        assert_int_equal(ew_group_guard(g, EW_STR("/second")), EW_ERR_OUTSIDE_PREFIX);
        assert_int_equal(g->error.code, EW_ERR_OUTSIDE_PREFIX);
        assert_non_null(strstr(g->error.detail, "group 4"));
        assert_non_null(strstr(g->error.detail, bad[i]));
        assert_null(strstr(g->error.detail, "/second"));
        group_free(g);
    }
    ew_group *g = group_new(&scope, 1);
    assert_int_equal(ew_group_put(g, EW_STR("/a/meta"), EW_STR("1")), EW_OK);
    assert_int_equal(ew_group_put(g, EW_STR("/a/receiptsx"), EW_STR("1")), EW_OK);
    group_free(g);
}

/* A group expects what a tick saw, so a group that no tick made cannot expect. */
static void test_expectations(void **state) {
    (void)state;
    cache *m = cache_new();
    cache_put(m, cache_entry_new(&(ew_entry){.key = EW_STR("/a/x"), .mod_revision = 5}));
    assert_int_equal(ew_group_expect(NULL, EW_STR("/a/x")), EW_ERR_NO_MEMORY);
    ew_group *g = group_new(&scope, 1);
    assert_int_equal(ew_group_expect(g, EW_STR("/a/x")), EW_ERR_STATE);
    assert_non_null(strstr(g->error.detail, "/a/x"));
    group_free(g);
    g = group_new(&scope, 1);
    g->seen = m;
    char key[] = "/a/x";
    assert_int_equal(ew_group_expect(g, (ew_slice){key, 4}), EW_OK);
    key[3] = '?';
    assert_int_equal(ew_group_expect(g, EW_STR("/a/none")), EW_OK);
    assert_true(ew_slice_equal(g->expectations->key, EW_STR("/a/none")));
    assert_int_equal(g->expectations->mod_revision, 0);
    assert_true(ew_slice_equal(g->expectations->next->key, EW_STR("/a/x")));
    assert_int_equal(g->expectations->next->mod_revision, 5);
    assert_int_equal(ew_group_expect(g, EW_STR("/b")), EW_ERR_OUTSIDE_PREFIX);
    assert_int_equal(g->error.code, EW_ERR_OUTSIDE_PREFIX);
    group_free(g);
    cache_free(m);
}

static void test_leases(void **state) {
    (void)state;
    ew_group *g = group_new(&scope, 1);
    assert_int_equal(ew_group_put_lease(g, EW_STR("/a/x"), EW_STR("1"), (ew_put_lease)9), EW_ERR_INVALID);
    group_free(g);
    g = group_new(&scope, 1);
    assert_int_equal(ew_group_put_lease(g, EW_STR("/a/x"), EW_STR("1"), EW_LEASE_SESSION), EW_ERR_STATE);
    assert_int_equal(g->error.code, EW_ERR_STATE);
    group_free(g);
}

/* Keys and values are copied; they may hold a NUL. */
static void test_copies(void **state) {
    (void)state;
    char key[] = "/a/\0key", value[] = "va\0lue";
    ew_group *g = group_new(&scope, 1);
    assert_int_equal(ew_group_put(g, (ew_slice){key, 7}, (ew_slice){value, 6}), EW_OK);
    memset(key, 'x', sizeof key);
    memset(value, 'x', sizeof value);
    assert_true(ew_slice_equal(g->first->key, (ew_slice){"/a/\0key", 7}));
    assert_true(ew_slice_equal(g->first->value, (ew_slice){"va\0lue", 6}));
    group_free(g);
}

static void test_titles(void **state) {
    (void)state;
    char out[96], name[100];
    ew_group *g = group_new(&scope, 3);
    assert_string_equal(group_title(g, out, sizeof out), "group 3");
    assert_int_equal(ew_group_name(g, "count"), EW_OK);
    assert_string_equal(group_title(g, out, sizeof out), "group 3 (count)");
    memset(name, 'n', sizeof name);
    name[99] = '\0';
    assert_int_equal(ew_group_name(g, name), EW_OK);
    assert_int_equal(strlen(g->name), 63);
    assert_int_equal(ew_group_name(g, NULL), EW_OK);
    assert_string_equal(group_title(g, out, sizeof out), "group 3");
    g->submitted = true;
    assert_string_equal(group_title(g, out, sizeof out), "a submitted group");
    group_free(g);
}

/* Keys in error texts are printable, and are cut to the size of the buffer. */
static void test_key_text(void **state) {
    (void)state;
    char out[8];
    assert_string_equal(group_key_text((ew_slice){"a\0b\n\xff", 5}, out, sizeof out), "a?b??");
    assert_string_equal(group_key_text(EW_STR("1234567"), out, sizeof out), "1234567");
    assert_string_equal(group_key_text(EW_STR("12345678"), out, sizeof out), "1234...");
    assert_string_equal(group_key_text((ew_slice){NULL, 0}, out, sizeof out), "");
    assert_string_equal(group_key_text(EW_STR("1234"), out, 3), "12");
}

/* With textual match, and without receipts. */
static void test_scope(void **state) {
    (void)state;
    group_scope textual = {.prefix = {"/a", 2}, .textual = true, .counter_key = {"/a/c", 4}};
    assert_true(group_scope_owns(&textual, EW_STR("/ab")));
    assert_false(group_scope_owns(&textual, EW_STR("/a/c")));
    assert_false(group_scope_owns(&textual, EW_STR("/b")));
    group_scope all = {.prefix = {"", 0}, .counter_key = {"/c", 2}, .receipt_prefix = {"/r", 2}};
    assert_true(group_scope_owns(&all, EW_STR("anything")));
    assert_false(group_scope_owns(&all, EW_STR("/r/1")));
    assert_true(group_scope_owns(&all, EW_STR("/rr")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_group), cmocka_unit_test(test_drops),  cmocka_unit_test(test_keys),
        cmocka_unit_test(test_leases),     cmocka_unit_test(test_copies), cmocka_unit_test(test_titles),
        cmocka_unit_test(test_key_text),   cmocka_unit_test(test_scope),  cmocka_unit_test(test_expectations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
