/* The public client against a real etcd: each call, and the meaning of its errors (ETCD P11, P13). */
#include "etcd/etcd.h"
#include "lib/client_test.h"
#include "lib/etcd_server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static etcd_server *server;
static ew_client *client;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start((const char *const[]){"--quota-backend-bytes=67108864", NULL});
    client = etcd_server_client(server);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ew_client_close(client);
    etcd_server_free(server);
    return etcd_all_released(5000) ? 0 : -1;
}

/* For calls that must succeed: a failure shows the error's text instead of a number. */
static void assert_text(ew_slice s, const char *text) {
    if (!ew_slice_equal(s, ew_str(text)))
        fail_msg("\"%.*s\", expected \"%s\"", (int)s.len, (const char *)s.data, text);
}

static int64_t put(const char *key, const char *value) {
    ew_result *r;
    must(ew_client_put(client, ew_str(key), ew_str(value), NULL, &r, &err));
    int64_t revision = ew_result_revision(r);
    ew_result_free(r);
    return revision;
}

static void test_put_and_get(void **state) {
    (void)state;
    ew_result *r;
    int64_t first = put("/kv/a", "1"), second = put("/kv/a", "2");
    assert_int_equal(second, first + 1);
    must(ew_client_get(client, ew_keys_one(EW_STR("/kv/a")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 1);
    assert_int_equal(ew_result_total(r), 1);
    assert_int_equal(ew_result_revision(r), second);
    const ew_kv *kv = ew_result_at(r, 0);
    assert_text(kv->key, "/kv/a");
    assert_text(kv->value, "2");
    assert_int_equal(kv->create_revision, first);
    assert_int_equal(kv->mod_revision, second);
    assert_int_equal(kv->version, 2);
    assert_int_equal(kv->lease, 0);
    assert_null(ew_result_at(r, 1));
    ew_result_free(r);

    must(ew_client_get(client, ew_keys_one(EW_STR("/kv/a")), &EW_GET_OPTIONS(.revision = first), &r, &err));
    assert_text(ew_result_at(r, 0)->value, "1");
    ew_result_free(r);

    must(ew_client_get(client, ew_keys_one(EW_STR("/kv/none")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 0);
    ew_result_free(r);
}

static void test_bytes_and_empty_values(void **state) {
    (void)state;
    ew_result *r;
    ew_slice key = {"/kv/\0\xff", 6}, value = {"\0\x01\xff", 3};
    must(ew_client_put(client, key, value, NULL, NULL, &err));
    must(ew_client_get(client, ew_keys_one(key), NULL, &r, &err));
    assert_true(ew_slice_equal(ew_result_at(r, 0)->key, key));
    assert_true(ew_slice_equal(ew_result_at(r, 0)->value, value));
    ew_result_free(r);
    must(ew_client_put(client, key, (ew_slice){NULL, 0}, NULL, NULL, &err));
    must(ew_client_get(client, ew_keys_one(key), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 1); /* an empty value is a value */
    assert_int_equal(ew_result_at(r, 0)->value.len, 0);
    ew_result_free(r);
}

static void fill_ranges(void) {
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/r")), NULL, NULL, &err));
    put("/r/a", "3");
    put("/r/b", "1");
    put("/r/c", "2");
    put("/r0", "sibling");
}

static void test_ranges(void **state) {
    (void)state;
    ew_result *r;
    fill_ranges();
    must(ew_client_get(client, ew_keys_prefix(EW_STR("/r/")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 3);
    assert_text(ew_result_at(r, 0)->key, "/r/a");
    assert_text(ew_result_at(r, 2)->key, "/r/c");
    ew_result_free(r);

    must(ew_client_get(client, ew_keys_between(EW_STR("/r/a"), EW_STR("/r/c")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 2);
    ew_result_free(r);

    must(ew_client_get(client, ew_keys_from(EW_STR("/r/b")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 3);
    ew_result_free(r);

    /* A prefix whose last bytes cannot be incremented. */
    ew_slice high = {"\xff\xff", 2};
    must(ew_client_put(client, (ew_slice){"\xff\xff\x01", 3}, EW_STR("x"), NULL, NULL, &err));
    must(ew_client_get(client, ew_keys_prefix(high), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 1);
    ew_result_free(r);

    /* The empty prefix means all keys. */
    must(ew_client_get(client, ew_keys_prefix((ew_slice){NULL, 0}), &EW_GET_OPTIONS(.count_only = true), &r, &err));
    assert_true(ew_result_total(r) >= 5);
    assert_int_equal(ew_result_count(r), 0);
    ew_result_free(r);
}

static void test_get_options(void **state) {
    (void)state;
    ew_result *r;
    fill_ranges();
    ew_keys keys = ew_keys_prefix(EW_STR("/r/"));
    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.limit = 2), &r, &err));
    assert_int_equal(ew_result_count(r), 2);
    assert_int_equal(ew_result_total(r), 3);
    assert_true(ew_result_more(r));
    ew_result_free(r);

    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.keys_only = true, .serializable = true), &r, &err));
    assert_int_equal(ew_result_count(r), 3);
    assert_int_equal(ew_result_at(r, 0)->value.len, 0);
    ew_result_free(r);

    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.sort_by = EW_SORT_VALUE), &r, &err));
    assert_text(ew_result_at(r, 0)->key, "/r/b");
    assert_text(ew_result_at(r, 2)->key, "/r/a");
    int64_t middle = ew_result_at(r, 0)->mod_revision;
    ew_result_free(r);

    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.descending = true, .limit = 1), &r, &err));
    assert_text(ew_result_at(r, 0)->key, "/r/c");
    ew_result_free(r);

    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.min_mod_revision = middle), &r, &err));
    assert_int_equal(ew_result_count(r), 2);
    ew_result_free(r);
    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.max_create_revision = middle - 1), &r, &err));
    assert_int_equal(ew_result_count(r), 1);
    ew_result_free(r);
    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.min_create_revision = middle), &r, &err));
    assert_int_equal(ew_result_count(r), 2);
    ew_result_free(r);
    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.max_mod_revision = middle), &r, &err));
    assert_int_equal(ew_result_count(r), 2);
    ew_result_free(r);
    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.revision = middle), &r, &err));
    assert_int_equal(ew_result_count(r), 2);
    ew_result_free(r);
    must(ew_client_get(client, keys, &EW_GET_OPTIONS(.count_only = true), &r, &err));
    assert_int_equal(ew_result_count(r), 0);
    assert_int_equal(ew_result_total(r), 3);
    ew_result_free(r);
}

/* Sorts by version, by each revision, by key; ascending and descending. */
static void test_sort(void **state) {
    (void)state;
    static const struct {
        ew_sort by;
        const char *up[3];
    } sorts[] = {{EW_SORT_KEY, {"/sort/a", "/sort/b", "/sort/c"}},
                 {EW_SORT_CREATE, {"/sort/c", "/sort/b", "/sort/a"}},
                 {EW_SORT_MOD, {"/sort/b", "/sort/a", "/sort/c"}},
                 {EW_SORT_VERSION, {"/sort/a", "/sort/c", "/sort/b"}}};
    static const char *const puts[] = {"/sort/c", "/sort/b", "/sort/b", "/sort/b", "/sort/a", "/sort/c"};
    for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++)
        must(ew_client_put(client, ew_str(puts[i]), EW_STR("x"), NULL, NULL, &err));
    for (size_t i = 0; i < 2 * sizeof sorts / sizeof sorts[0]; i++) {
        bool down = i % 2 == 1;
        ew_result *r;
        must(ew_client_get(client, ew_keys_prefix(EW_STR("/sort/")),
                           &EW_GET_OPTIONS(.sort_by = sorts[i / 2].by, .descending = down), &r, &err));
        assert_int_equal(ew_result_count(r), 3);
        for (size_t k = 0; k < 3; k++)
            assert_text(ew_result_at(r, k)->key, sorts[i / 2].up[down ? 2 - k : k]);
        ew_result_free(r);
    }
}

static void test_invalid_arguments(void **state) {
    (void)state;
    ew_result *r;
    ew_keys none = ew_keys_one((ew_slice){NULL, 0}), key = ew_keys_one(EW_STR("/kv/a"));
    assert_int_equal(ew_client_get(client, none, NULL, &r, &err), EW_ERR_INVALID);
    assert_null(r);
    assert_int_equal(ew_client_get(client, key, NULL, NULL, &err), EW_ERR_INVALID);
    assert_int_equal(ew_client_get(client, key, &(ew_get_options){.limit = 1}, &r, &err), EW_ERR_INVALID);
    assert_int_equal(ew_client_get(client, key, &EW_GET_OPTIONS(.limit = -1), &r, &err), EW_ERR_INVALID);
    assert_int_equal(ew_client_get(client, ew_keys_between(EW_STR("a"), (ew_slice){NULL, 0}), NULL, &r, &err),
                     EW_ERR_INVALID);
    assert_int_equal(ew_client_put(client, (ew_slice){NULL, 0}, EW_STR("x"), NULL, NULL, &err), EW_ERR_INVALID);
    assert_int_equal(ew_client_put(client, EW_STR("k"), EW_STR("x"), &EW_PUT_OPTIONS(.keep_value = true), NULL, &err),
                     EW_ERR_INVALID);
    assert_int_equal(ew_client_delete(client, none, NULL, NULL, NULL), EW_ERR_INVALID);
    assert_int_equal(ew_client_delete(client, key, &(ew_delete_options){.previous = true}, NULL, &err), EW_ERR_INVALID);
    assert_int_equal(ew_client_compact(client, 1, &(ew_compact_options){.physical = true}, &err), EW_ERR_INVALID);
    ew_txn *t = ew_txn_new();
    assert_int_equal(ew_txn_delete(t, EW_THEN, key, &(ew_delete_options){.previous = true}), EW_ERR_INVALID);
    ew_txn_free(t);
}

/* etcd reads the range end "\0" as "no end". So a range that is empty in byte order must not be sent, in any call. */
static void check_empty_range(ew_keys keys) {
    ew_result *r;
    ew_watch *w;
    ew_scan *s;
    assert_int_equal(ew_client_get(client, keys, NULL, &r, &err), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "is empty"));
    assert_int_equal(ew_client_delete(client, keys, NULL, NULL, &err), EW_ERR_INVALID);
    assert_int_equal(ew_watch_open(&w, client, keys, NULL, &err), EW_ERR_INVALID);
    assert_int_equal(ew_scan_open(&s, client, keys, NULL, &err), EW_ERR_INVALID);
    for (int i = 0; i < 4; i++) {
        ew_txn *t = ew_txn_new();
        ew_txn_put(t, EW_THEN, EW_STR("/empty/b"), EW_STR("changed"), NULL);
        int status = i == 0   ? ew_txn_get(t, EW_THEN, keys, NULL)
                     : i == 1 ? ew_txn_delete(t, EW_THEN, keys, NULL)
                     : i == 2 ? ew_txn_if(t, keys, EW_VERSION_OF, EW_EQUAL, 0)
                              : ew_txn_if_value(t, keys, EW_EQUAL, EW_STR("x"));
        assert_int_equal(status, EW_ERR_INVALID);
        assert_int_equal(ew_client_txn(client, t, NULL, &err), EW_ERR_INVALID);
        ew_txn_free(t);
    }
}

static void test_empty_ranges(void **state) {
    (void)state;
    ew_result *r;
    static const ew_slice zero = {"\0", 1}, zeros = {"\0\0", 2}, none = {NULL, 0};
    must(ew_client_put(client, EW_STR("/empty/b"), EW_STR("1"), NULL, NULL, &err));
    check_empty_range(ew_keys_between(EW_STR("/empty/b"), zero));
    check_empty_range(ew_keys_between(EW_STR("/empty/b"), zeros));
    check_empty_range(ew_keys_between(EW_STR("/empty/b"), EW_STR("/empty/b")));
    check_empty_range(ew_keys_between(EW_STR("/empty/b"), EW_STR("/empty/a")));
    check_empty_range(ew_keys_between(EW_STR("/empty/b"), EW_STR("/empty/")));
    check_empty_range(ew_keys_between(none, zero));
    check_empty_range(ew_keys_between(zero, zero));
    must(ew_client_get(client, ew_keys_between(none, zeros), NULL, &r, &err)); /* only the key "\0" could be in it */
    assert_int_equal(ew_result_count(r), 0);
    ew_result_free(r);
    must(ew_client_get(client, ew_keys_between(none, EW_STR("/empty/c")), NULL, &r, &err));
    assert_text(ew_result_at(r, ew_result_count(r) - 1)->key, "/empty/b");
    assert_text(ew_result_at(r, ew_result_count(r) - 1)->value, "1");
    ew_result_free(r);
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/empty/")), NULL, NULL, &err));
}

static void test_put_options(void **state) {
    (void)state;
    ew_result *r;
    int64_t lease = 0;
    must(ew_client_lease_grant(client, 60, &lease, NULL, &err));
    put("/kv/p", "old");
    must(ew_client_put(client, EW_STR("/kv/p"), EW_STR("new"), &EW_PUT_OPTIONS(.lease = lease, .previous = true), &r,
                       &err));
    assert_text(ew_result_at(r, 0)->value, "old");
    ew_result_free(r);
    must(ew_client_put(client, EW_STR("/kv/p"), EW_STR("newer"), &EW_PUT_OPTIONS(.keep_lease = true), NULL, &err));
    must(ew_client_put(client, EW_STR("/kv/p"), (ew_slice){NULL, 0},
                       &EW_PUT_OPTIONS(.keep_value = true, .keep_lease = true), NULL, &err));
    must(ew_client_get(client, ew_keys_one(EW_STR("/kv/p")), NULL, &r, &err));
    assert_text(ew_result_at(r, 0)->value, "newer");
    assert_int_equal(ew_result_at(r, 0)->lease, lease);
    ew_result_free(r);
    assert_int_equal(
        ew_client_put(client, EW_STR("/kv/absent"), EW_STR("x"), &EW_PUT_OPTIONS(.keep_lease = true), NULL, &err),
        EW_ERR_NOT_FOUND);
    assert_int_equal(ew_client_put(client, EW_STR("/kv/p"), EW_STR("x"), &EW_PUT_OPTIONS(.lease = 12345), NULL, &err),
                     EW_ERR_NOT_FOUND);
    must(ew_client_lease_revoke(client, lease, &err));
}

static void test_delete(void **state) {
    (void)state;
    ew_result *r;
    fill_ranges();
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/r/")), &EW_DELETE_OPTIONS(.previous = true), &r, &err));
    assert_int_equal(ew_result_total(r), 3);
    assert_int_equal(ew_result_count(r), 3);
    assert_text(ew_result_at(r, 0)->value, "3");
    int64_t revision = ew_result_revision(r);
    ew_result_free(r);
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/r/")), NULL, &r, &err));
    assert_int_equal(ew_result_total(r), 0);
    assert_int_equal(ew_result_revision(r), revision); /* deleting nothing does not increment it */
    ew_result_free(r);
}

static void test_compact(void **state) {
    (void)state;
    ew_result *r;
    int64_t first = put("/kv/c", "1"), second = put("/kv/c", "2");
    must(ew_client_compact(client, second, &EW_COMPACT_OPTIONS(.physical = true), &err));
    assert_int_equal(ew_client_get(client, ew_keys_one(EW_STR("/kv/c")), &EW_GET_OPTIONS(.revision = first), &r, &err),
                     EW_ERR_COMPACTED);
    assert_int_equal(ew_client_compact(client, first, NULL, &err), EW_ERR_COMPACTED);
    assert_int_equal(
        ew_client_get(client, ew_keys_one(EW_STR("/kv/c")), &EW_GET_OPTIONS(.revision = second + 100), &r, &err),
        EW_ERR_FUTURE_REVISION);
    assert_true(strlen(err.detail) > 0);
}

/* ---- transactions ---- */

static bool run_txn(ew_txn *t, ew_result **r) {
    must(ew_client_txn(client, t, r, &err));
    ew_txn_free(t);
    return ew_result_succeeded(*r);
}

static void test_txn(void **state) {
    (void)state;
    ew_result *r;
    ew_slice key = EW_STR("/txn/a");
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/txn/")), NULL, NULL, &err));

    ew_txn *t = ew_txn_new();
    ew_txn_if(t, ew_keys_one(key), EW_CREATE_REVISION, EW_EQUAL, 0);
    ew_txn_put(t, EW_THEN, key, EW_STR("1"), NULL);
    ew_txn_put(t, EW_THEN, EW_STR("/txn/b"), EW_STR("2"), &EW_PUT_OPTIONS(.previous = true));
    ew_txn_get(t, EW_ELSE, ew_keys_one(key), NULL);
    assert_true(run_txn(t, &r));
    int64_t revision = ew_result_revision(r);
    assert_non_null(ew_result_op(r, 1));
    assert_int_equal(ew_result_count(ew_result_op(r, 1)), 0);
    assert_null(ew_result_op(r, 2));
    ew_result_free(r);

    t = ew_txn_new();
    ew_txn_if(t, ew_keys_one(key), EW_CREATE_REVISION, EW_EQUAL, 0);
    ew_txn_put(t, EW_THEN, key, EW_STR("no"), NULL);
    ew_txn_get(t, EW_ELSE, ew_keys_one(key), NULL);
    assert_false(run_txn(t, &r));
    assert_text(ew_result_at(ew_result_op(r, 0), 0)->value, "1");
    assert_int_equal(ew_result_revision(r), revision);
    ew_result_free(r);

    t = ew_txn_new();
    ew_txn_if(t, ew_keys_one(key), EW_VERSION_OF, EW_GREATER, 0);
    ew_txn_if(t, ew_keys_one(key), EW_MOD_REVISION, EW_EQUAL, revision);
    ew_txn_if(t, ew_keys_one(key), EW_LEASE_OF, EW_EQUAL, 0);
    ew_txn_if(t, ew_keys_prefix(EW_STR("/txn/")), EW_MOD_REVISION, EW_LESS, revision + 1);
    ew_txn_if_value(t, ew_keys_one(key), EW_EQUAL, EW_STR("1"));
    ew_txn_delete(t, EW_THEN, ew_keys_prefix(EW_STR("/txn/")), &EW_DELETE_OPTIONS(.previous = true));
    assert_true(run_txn(t, &r));
    assert_int_equal(ew_result_total(ew_result_op(r, 0)), 2);
    assert_int_equal(ew_result_count(ew_result_op(r, 0)), 2);
    ew_result_free(r);

    t = ew_txn_new(); /* ETCD P13: a compare with the value of a missing key is always false */
    ew_txn_if_value(t, ew_keys_one(key), EW_NOT_EQUAL, EW_STR("1"));
    assert_false(run_txn(t, &r));
    ew_result_free(r);
}

static void test_nested_txn(void **state) {
    (void)state;
    ew_result *r;
    ew_txn *inner = ew_txn_new(), *t = ew_txn_new();
    ew_txn_if(inner, ew_keys_one(EW_STR("/nest/a")), EW_CREATE_REVISION, EW_EQUAL, 0);
    ew_txn_put(inner, EW_THEN, EW_STR("/nest/a"), EW_STR("1"), NULL);
    ew_txn_nest(t, EW_THEN, inner);
    ew_txn_free(inner);
    assert_true(run_txn(t, &r));
    assert_true(ew_result_succeeded(ew_result_op(r, 0)));
    assert_non_null(ew_result_op(ew_result_op(r, 0), 0));
    ew_result_free(r);
}

/* Returns a transaction that puts `key`, nested `depth` deep. */
static ew_txn *txn_nested(int depth, const char *key) {
    ew_txn *t = ew_txn_new();
    ew_txn_put(t, EW_THEN, ew_str(key), EW_STR("deep"), NULL);
    for (int i = 0; i < depth; i++) {
        ew_txn *outer = ew_txn_new();
        ew_txn_nest(outer, EW_THEN, t);
        ew_txn_free(t);
        t = outer;
    }
    return t;
}

/* A transaction up to the depth limit is applied and its answer read, down to the innermost operation. A deeper one is
 * not sent. */
static void test_txn_depth(void **state) {
    (void)state;
    static const int depths[] = {16, 17, EW_TXN_DEPTH_MAX};
    for (size_t i = 0; i < 3; i++) {
        ew_result *r;
        assert_true(run_txn(txn_nested(depths[i], "/nest/deep"), &r));
        const ew_result *op = r;
        for (int k = 0; k < depths[i]; k++)
            assert_non_null(op = ew_result_op(op, 0));
        assert_int_equal(ew_result_total(ew_result_op(op, 0)), 1);
        ew_result_free(r);
    }
    ew_txn *t = txn_nested(EW_TXN_DEPTH_MAX + 1, "/nest/too deep");
    assert_int_equal(ew_client_txn(client, t, NULL, &err), EW_ERR_TOO_LARGE);
    assert_string_equal(err.detail, "transaction: nested 65 deep, at most 64 are allowed");
    ew_txn_free(t);
    ew_result *r;
    must(ew_client_get(client, ew_keys_one(EW_STR("/nest/too deep")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 0);
    ew_result_free(r);
}

static ew_txn *txn_of(int puts, int compares) {
    ew_txn *t = ew_txn_new();
    char key[32];
    for (int i = 0; i < compares; i++) {
        snprintf(key, sizeof key, "/limit/%d", i);
        ew_txn_if(t, ew_keys_one(ew_str(key)), EW_VERSION_OF, EW_GREATER, -1);
    }
    for (int i = 0; i < puts; i++) {
        snprintf(key, sizeof key, "/limit/%d", i);
        ew_txn_put(t, EW_THEN, ew_str(key), EW_STR("x"), NULL);
    }
    return t;
}

static int txn_status(ew_txn *t) {
    int status = ew_client_txn(client, t, NULL, &err);
    ew_txn_free(t);
    return status;
}

/* ETCD P13: 128 compares and operations are accepted, 129 are not. What was certainly not applied is not an unknown
 * outcome (P11). */
static void test_txn_limits(void **state) {
    (void)state;
    must(txn_status(txn_of(128, 128)));
    assert_int_equal(txn_status(txn_of(129, 0)), EW_ERR_TOO_LARGE);
    assert_int_equal(txn_status(txn_of(0, 129)), EW_ERR_TOO_LARGE);
    assert_non_null(strstr(err.detail, "too many operations"));

    ew_txn *t = ew_txn_new();
    ew_txn_put(t, EW_THEN, EW_STR("/limit/twice"), EW_STR("1"), NULL);
    ew_txn_put(t, EW_THEN, EW_STR("/limit/twice"), EW_STR("2"), NULL);
    assert_int_equal(txn_status(t), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "duplicate key"));

    t = ew_txn_new(); /* a lease that does not exist: the whole transaction is refused */
    ew_txn_put(t, EW_THEN, EW_STR("/limit/lease"), EW_STR("1"), &EW_PUT_OPTIONS(.lease = 77));
    assert_int_equal(txn_status(t), EW_ERR_NOT_FOUND);

    static const size_t sizes[] = {1600000, 3000000}; /* over etcd's limit, over gRPC's */
    for (int i = 0; i < 2; i++) {
        void *value = calloc(1, sizes[i]);
        t = ew_txn_new();
        ew_txn_put(t, EW_THEN, EW_STR("/limit/large"), (ew_slice){value, sizes[i]}, NULL);
        assert_int_equal(txn_status(t), EW_ERR_TOO_LARGE);
        free(value);
    }
    must(txn_status(ew_txn_new())); /* an empty one is valid */
}

static void test_txn_errors_stick(void **state) {
    (void)state;
    ew_txn *t = ew_txn_new();
    assert_int_equal(ew_txn_put(t, EW_THEN, (ew_slice){NULL, 0}, EW_STR("1"), NULL), EW_ERR_INVALID);
    assert_int_equal(ew_txn_put(t, EW_THEN, EW_STR("/ok"), EW_STR("1"), NULL), EW_ERR_INVALID);
    ew_txn *outer = ew_txn_new();
    assert_int_equal(ew_txn_nest(outer, EW_ELSE, t), EW_ERR_INVALID);
    assert_int_equal(txn_status(t), EW_ERR_INVALID);
    assert_int_equal(txn_status(outer), EW_ERR_INVALID);
    assert_int_equal(ew_txn_put(NULL, EW_THEN, EW_STR("/ok"), EW_STR("1"), NULL), EW_ERR_NO_MEMORY);
    assert_int_equal(txn_status(NULL), EW_ERR_NO_MEMORY);
}

/* ---- leases and the cluster ---- */

static void test_leases(void **state) {
    (void)state;
    int64_t lease = 0, granted = 0, left = 0;
    ew_result *keys;
    must(ew_client_lease_grant(client, 100, &lease, &granted, &err));
    assert_int_not_equal(lease, 0);
    assert_int_equal(granted, 100);
    must(ew_client_put(client, EW_STR("/lease/a"), EW_STR("x"), &EW_PUT_OPTIONS(.lease = lease), NULL, &err));
    must(ew_client_lease_info(client, lease, &left, &granted, &keys, &err));
    assert_in_range(left, 90, 100);
    assert_int_equal(granted, 100);
    assert_int_equal(ew_result_count(keys), 1);
    assert_text(ew_result_at(keys, 0)->key, "/lease/a");
    ew_result_free(keys);
    must(ew_client_lease_keepalive(client, lease, &left, &err));
    assert_int_equal(left, 100);
    must(ew_client_lease_revoke(client, lease, &err));
    ew_result *r;
    must(ew_client_get(client, ew_keys_one(EW_STR("/lease/a")), NULL, &r, &err));
    assert_int_equal(ew_result_count(r), 0);
    ew_result_free(r);

    assert_int_equal(ew_client_lease_revoke(client, lease, &err), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_client_lease_keepalive(client, lease, NULL, &err), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_client_lease_info(client, lease, NULL, NULL, NULL, &err), EW_ERR_NOT_FOUND);

    lease = 4711; /* an id that the user chose, once */
    must(ew_client_lease_grant(client, 100, &lease, NULL, &err));
    assert_int_equal(lease, 4711);
    assert_int_equal(ew_client_lease_grant(client, 100, &lease, NULL, &err), EW_ERR_INVALID);
    must(ew_client_lease_revoke(client, lease, &err));
    assert_int_equal(ew_client_lease_grant(client, 0, &lease, NULL, &err), EW_ERR_INVALID);
}

static void test_cluster(void **state) {
    (void)state;
    ew_member_status s = {.size = sizeof s};
    int64_t revision = put("/kv/status", "x");
    must(ew_client_status(client, &s, &err));
    assert_int_equal(s.version[0], '3');
    assert_true(s.db_bytes > 0);
    assert_false(s.has_errors);

    /* One of several members may be behind, and need not be the leader. */
    bool alone = etcd_server_nodes() == 1, found = false;
    assert_true(s.revision >= revision || !alone);
    assert_true(alone ? s.leader_id == s.member_id : s.leader_id != 0);

    ew_members *m;
    must(ew_client_members(client, &m, &err));
    const ew_member *one;
    int count = 0;
    for (; (one = ew_members_at(m, (size_t)count)); count++) {
        assert_non_null(strstr(server->endpoint, one->client_urls[0] + strlen("http://")));
        assert_null(one->client_urls[1]);
        assert_non_null(one->peer_urls[0]);
        assert_true(one->name[0] != '\0');
        assert_true(strcmp(one->name, server->name) == 0 || !alone);
        found = found || one->id == s.member_id;
    }
    assert_int_equal(count, etcd_server_nodes());
    assert_true(found);
    ew_members_free(m);
}

/* ---- scans ---- */

#define SCAN_KEYS 25000

static void *write_on(void *arg) {
    atomic_bool *stop = arg;
    char key[64];
    for (int i = 0; !atomic_load(stop); i++) {
        snprintf(key, sizeof key, "/scan/%06d-late", i * 7 % SCAN_KEYS);
        if (ew_client_put(client, ew_str(key), EW_STR("late"), NULL, NULL, NULL) != EW_OK)
            return arg;
    }
    return NULL;
}

/* 25,000 keys at one revision in many pages, while another thread writes into the same range. */
static void test_scan(void **state) {
    (void)state;
    char key[64];
    for (int i = 0; i < SCAN_KEYS;) {
        ew_txn *t = ew_txn_new();
        for (int n = 0; n < 125; n++, i++) {
            snprintf(key, sizeof key, "/scan/%06d", i);
            ew_txn_put(t, EW_THEN, ew_str(key), ew_str(key), NULL);
        }
        must(txn_status(t));
    }
    atomic_bool stop = false;
    pthread_t thread;
    ew_scan *s;
    ew_kv kv;
    int status, count = 0;
    must(ew_scan_open(&s, client, ew_keys_prefix(EW_STR("/scan/")), &EW_SCAN_OPTIONS(.page_bytes = 100000), &err));
    assert_int_equal(ew_scan_revision(s), 0);
    must(ew_scan_next(s, &kv, &err)); /* pins the revision */
    count = 1;
    int64_t revision = ew_scan_revision(s);
    assert_true(revision > 0);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &stop), 0);
    while ((status = ew_scan_next(s, &kv, &err)) == EW_OK) {
        snprintf(key, sizeof key, "/scan/%06d", count++);
        if (!ew_slice_equal(kv.key, ew_str(key)) || kv.mod_revision > revision)
            break;
    }
    atomic_store(&stop, true);
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(status, EW_END);
    assert_int_equal(count, SCAN_KEYS);
    assert_int_equal(ew_scan_revision(s), revision);
    assert_int_equal(ew_scan_next(s, &kv, &err), EW_END); /* stays at the end */
    ew_scan_close(s);
}

static void test_scan_small_things(void **state) {
    (void)state;
    ew_scan *s;
    ew_kv kv;
    put("/one", "1");
    must(ew_scan_open(&s, client, ew_keys_one(EW_STR("/one")), &EW_SCAN_OPTIONS(.keys_only = true), &err));
    must(ew_scan_next(s, &kv, &err));
    assert_text(kv.key, "/one");
    assert_int_equal(kv.value.len, 0);
    assert_int_equal(ew_scan_next(s, &kv, &err), EW_END);
    ew_scan_close(s);
    must(ew_scan_open(&s, client, ew_keys_prefix(EW_STR("/no such/")), NULL, &err));
    assert_int_equal(ew_scan_next(s, &kv, &err), EW_END);
    ew_scan_close(s);
    int64_t then = put("/old", "1"); /* the old state, from every member */
    put("/old", "2");
    must(ew_scan_open(&s, client, ew_keys_one(EW_STR("/old")), &EW_SCAN_OPTIONS(.revision = then, .serializable = true),
                      &err));
    must(ew_scan_next(s, &kv, &err));
    assert_text(kv.value, "1");
    assert_int_equal(ew_scan_revision(s), then);
    ew_scan_close(s);
    ew_scan_close(NULL);
    assert_int_equal(ew_scan_open(&s, client, ew_keys_one((ew_slice){NULL, 0}), NULL, &err), EW_ERR_INVALID);
    assert_null(s);
}

/* Pages that do not fit into max_receive_bytes are requested again, smaller. */
static void test_scan_of_large_values(void **state) {
    (void)state;
    ew_options *o = etcd_server_options(server);
    ew_client *small;
    ew_scan *s;
    ew_kv kv;
    char key[32];
    static char value[100000];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "/large/%02d", i);
        must(ew_client_put(client, ew_str(key), (ew_slice){value, sizeof value}, NULL, NULL, &err));
    }
    ew_options_set_int(o, "max_receive_bytes", 1 << 20, NULL);
    must(ew_client_open(&small, o, &err));
    ew_result *r;
    assert_int_equal(ew_client_get(small, ew_keys_prefix(EW_STR("/large/")), NULL, &r, &err), EW_ERR_TOO_LARGE);
    must(ew_scan_open(&s, small, ew_keys_prefix(EW_STR("/large/")), NULL, &err));
    int count = 0;
    while (ew_scan_next(s, &kv, &err) == EW_OK)
        count++;
    assert_int_equal(count, 40);
    ew_scan_close(s);
    ew_client_close(small);
    ew_options_free(o);
    must(ew_client_delete(client, ew_keys_prefix(EW_STR("/large/")), NULL, NULL, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_bytes_and_empty_values),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_get_options),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_invalid_arguments),
        cmocka_unit_test(test_put_options),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_txn),
        cmocka_unit_test(test_nested_txn),
        cmocka_unit_test(test_txn_depth),
        cmocka_unit_test(test_empty_ranges),
        cmocka_unit_test(test_txn_limits),
        cmocka_unit_test(test_txn_errors_stick),
        cmocka_unit_test(test_leases),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_small_things),
        cmocka_unit_test(test_scan_of_large_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
