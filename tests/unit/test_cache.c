/* The cache: an exact ordered map, shared entries, and a bounded use of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>

#include "core/cache.h"

static int set_up(void **state) {
    *state = cache_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state) {
    cache_free(*state);
    return 0;
}

static cache_entry *entry(ew_slice key, ew_slice value, int64_t mod_revision) {
    return cache_entry_new(&(ew_entry){.key = key, .value = value, .mod_revision = mod_revision});
}

static void put(cache *m, ew_slice key, ew_slice value, int64_t mod_revision) {
    cache_entry *e = entry(key, value, mod_revision);
    assert_non_null(e);
    cache_put(m, e);
}

static void holds(const cache *m, ew_slice key, ew_slice value, int64_t mod_revision) {
    cache_entry *e = cache_get(m, key);
    assert_non_null(e);
    ew_entry view = cache_entry_view(e);
    assert_true(ew_slice_equal(view.key, key));
    assert_true(ew_slice_equal(view.value, value));
    assert_int_equal(view.mod_revision, mod_revision);
}

static void an_empty_cache(void **state) {
    cache *m = *state;
    assert_int_equal(cache_count(m), 0);
    assert_null(cache_get(m, EW_STR("a")));
    assert_null(cache_seek(m, EW_STR("")));
    assert_false(cache_delete(m, EW_STR("a")));
    cache_entry_unref(NULL);
    cache_free(NULL);
}

static void a_put_replaces_and_a_delete_removes(void **state) {
    cache *m = *state;
    put(m, EW_STR("/a"), EW_STR("1"), 5);
    put(m, EW_STR("/a"), EW_STR("22"), 6);
    assert_int_equal(cache_count(m), 1);
    holds(m, EW_STR("/a"), EW_STR("22"), 6);
    assert_true(cache_delete(m, EW_STR("/a")));
    assert_false(cache_delete(m, EW_STR("/a")));
    assert_int_equal(cache_count(m), 0);
}

static void an_entry_has_all_fields_of_etcd(void **state) {
    cache *m = *state;
    const ew_entry first = {EW_STR("/a"), EW_STR("1"), 5, 4, 2, 77}, second = {EW_STR("/a"), EW_STR("2"), 9, 8, 1, 0};
    cache_entry *e = cache_replace(m, NULL, &first);
    for (int i = 0; i < 2; i++) { /* made new, then overwritten */
        const ew_entry *want = i == 0 ? &first : &second, view = cache_entry_view(e);
        assert_int_equal(view.mod_revision, want->mod_revision);
        assert_int_equal(view.create_revision, want->create_revision);
        assert_int_equal(view.version, want->version);
        assert_int_equal(view.lease, want->lease);
        assert_ptr_equal(cache_replace(m, e, &second), e);
    }
}

static cache_entry *replace(cache *m, cache_entry *old, ew_slice value, int64_t mod_revision) {
    return cache_replace(m, old, &(ew_entry){.key = EW_STR("/a"), .value = value, .mod_revision = mod_revision});
}

/* All pairs of sizes of the old and the new value, with and without another reference to the old entry. */
static void a_value_is_overwritten_without_other_references(void **state) {
    enum { SIZES = 40 };
    static const char text[SIZES + 1] = "0123456789012345678901234567890123456789";
    cache *m = *state;
    const size_t empty = cache_bytes(m);
    for (size_t i = 0; i < SIZES * SIZES; i++) {
        const ew_slice before = {text, i / SIZES}, after = {text + 1, i % SIZES};
        cache_entry *old = replace(m, cache_get(m, EW_STR("/a")), before, 1);
        holds(m, EW_STR("/a"), before, 1);
        const bool kept = i % 3 == 0;
        if (kept)
            cache_entry_ref(old);
        cache_entry *now = replace(m, old, after, 2);
        holds(m, EW_STR("/a"), after, 2);
        assert_ptr_equal(now, cache_get(m, EW_STR("/a")));
        assert_int_equal(cache_bytes(m) - empty, cache_entry_bytes(now));
        if (kept) {
            assert_ptr_not_equal(now, old);
            assert_true(ew_slice_equal(cache_entry_view(old).value, before));
            assert_int_equal(cache_entry_view(old).mod_revision, 1);
            cache_entry_unref(old);
        } else if (before.len == after.len) {
            assert_ptr_equal(now, old);
        }
        assert_int_equal(cache_count(m), 1);
    }
}

/* SEMANTICS 10: an empty value is a value. Keys are bytes. */
static void keys_and_values_are_bytes_of_any_length(void **state) {
    cache *m = *state;
    put(m, EW_STR("a\0b"), EW_STR(""), 1);
    put(m, EW_STR("a"), EW_STR("\0"), 2);
    put(m, EW_STR("a\0"), EW_STR("x\0y"), 3);
    put(m, (ew_slice){NULL, 0}, (ew_slice){NULL, 0}, 4);
    holds(m, EW_STR("a\0b"), EW_STR(""), 1);
    holds(m, EW_STR("a"), EW_STR("\0"), 2);
    holds(m, EW_STR("a\0"), EW_STR("x\0y"), 3);
    holds(m, EW_STR(""), EW_STR(""), 4);
    assert_int_equal(cache_count(m), 4);
    assert_null(cache_get(m, EW_STR("a\0b\0")));
}

/* etcd's order: bytes are unsigned, and a prefix of a key comes before the key. */
static void a_scan_is_in_etcds_order(void **state) {
    cache *m = *state;
    static const ew_slice keys[] = {{"", 0},   {"\0", 1}, {"a", 1}, {"a\0", 2},
                                    {"a/", 2}, {"a0", 2}, {"b", 1}, {"\xff", 1}};
    static const size_t order[] = {4, 7, 0, 6, 2, 5, 1, 3};
    for (size_t i = 0; i < 8; i++)
        put(m, keys[order[i]], EW_STR("v"), 1);
    size_t seen = 0;
    for (cache_entry *e = cache_seek(m, EW_STR("")); e; e = cache_next(m, e), seen++)
        assert_true(ew_slice_equal(cache_entry_view(e).key, keys[seen]));
    assert_int_equal(seen, 8);
    assert_true(ew_slice_equal(cache_entry_view(cache_seek(m, EW_STR("a\0\0"))).key, EW_STR("a/")));
    assert_null(cache_seek(m, EW_STR("\xff\0")));
}

static void a_reference_outlives_the_put_and_delete(void **state) {
    cache *m = *state;
    put(m, EW_STR("/a"), EW_STR("old"), 1);
    cache_entry *e = cache_entry_ref(cache_get(m, EW_STR("/a")));
    put(m, EW_STR("/a"), EW_STR("new"), 2);
    assert_true(ew_slice_equal(cache_entry_view(e).value, EW_STR("old")));
    cache_entry_unref(e);
    e = cache_entry_ref(cache_get(m, EW_STR("/a")));
    assert_true(cache_delete(m, EW_STR("/a")));
    assert_true(ew_slice_equal(cache_entry_view(e).value, EW_STR("new")));
    cache_entry_unref(e);
}

static void a_put_of_the_same_entry_changes_nothing(void **state) {
    cache *m = *state;
    put(m, EW_STR("/a"), EW_STR("1"), 1);
    size_t bytes = cache_bytes(m);
    cache_put(m, cache_entry_ref(cache_get(m, EW_STR("/a"))));
    holds(m, EW_STR("/a"), EW_STR("1"), 1);
    assert_int_equal(cache_count(m), 1);
    assert_int_equal(cache_bytes(m), bytes);
}

static void lengths_above_32_bits_are_refused(void **state) {
    (void)state;
    assert_null(entry((ew_slice){"", (size_t)UINT32_MAX + 1}, EW_STR(""), 1));
    assert_null(entry(EW_STR(""), (ew_slice){"", (size_t)UINT32_MAX + 1}, 1));
}

static void bytes_are_counted(void **state) {
    cache *m = *state;
    size_t empty = cache_bytes(m);
    char value[1000] = {0};
    for (size_t len = 0; len < sizeof value; len += 37)
        put(m, (ew_slice){value, len}, (ew_slice){value, len}, 1);
    size_t sum = 0;
    for (cache_entry *e = cache_seek(m, EW_STR("")); e; e = cache_next(m, e))
        sum += cache_entry_bytes(e);
    assert_int_equal(cache_bytes(m), empty + sum);
    put(m, EW_STR(""), (ew_slice){value, sizeof value}, 2); /* grows in place */
    assert_true(cache_bytes(m) > empty + sum);
    for (size_t len = 0; len < sizeof value; len += 37)
        assert_true(cache_delete(m, (ew_slice){value, len}));
    assert_int_equal(cache_bytes(m), empty);
}

/* The counted bytes must be those that malloc uses, since a limit is set on them. */
static void bytes_are_those_of_malloc(void **state) {
    (void)state;
    if (getenv("EW_VALGRIND")) /* valgrind has its own malloc */
        return;
#ifdef EW_SANITIZED
    skip(); /* sanitizers have their own malloc */
#endif
    char value[600] = {0};
    for (size_t len = 0; len < sizeof value; len++) {
        cache_entry *e = entry(EW_STR("/key"), (ew_slice){value, len}, 1);
        assert_non_null(e);
        assert_int_equal(cache_entry_bytes(e), malloc_usable_size(e) + sizeof(size_t));
        cache_entry_unref(e);
    }
}

static long resident_bytes(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
    fclose(f);
    return pages * 4096;
}

/* A million keys with values of 256 bytes use at most 1.5 times their size in resident memory. */
static void memory_of_a_million_keys(void **state) {
    if (getenv("EW_VALGRIND")) /* would count valgrind's memory, too */
        return;
    cache *m = *state;
#ifdef EW_SANITIZED
    skip();
#endif
    const size_t keys = 1000000;
    char value[256], key[32];
    memset(value, 'v', sizeof value);
    long before = resident_bytes();
    size_t raw = 0;
    for (size_t i = 0; i < keys; i++) {
        size_t len = (size_t)snprintf(key, sizeof key, "/app/tasks/%09zu", i);
        put(m, (ew_slice){key, len}, (ew_slice){value, sizeof value}, (int64_t)i + 1);
        raw += len + sizeof value;
    }
    assert_int_equal(cache_count(m), keys);
    assert_true((double)cache_bytes(m) <= 1.5 * (double)raw);
    assert_true((double)(resident_bytes() - before) <= 1.5 * (double)raw);
}

/* ---- against a naive sorted array ---- */

typedef struct naive {
    struct {
        char key[8];
        size_t len;
        int64_t revision;
    } row[4096];
    size_t count;
} naive;

static int order(const void *a, size_t a_len, const void *b, size_t b_len) {
    int bytes = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return bytes != 0 ? bytes : (a_len > b_len) - (a_len < b_len);
}

/* Returns the index of the first row at or after the key. */
static size_t naive_seek(const naive *n, ew_slice key) {
    size_t i = 0;
    while (i < n->count && order(n->row[i].key, n->row[i].len, key.data, key.len) < 0)
        i++;
    return i;
}

static bool naive_has(const naive *n, size_t i, ew_slice key) {
    return i < n->count && order(n->row[i].key, n->row[i].len, key.data, key.len) == 0;
}

static void naive_put(naive *n, ew_slice key, int64_t revision) {
    size_t i = naive_seek(n, key);
    if (!naive_has(n, i, key)) {
        assert_true(n->count < 4096);
        memmove(&n->row[i + 1], &n->row[i], (n->count - i) * sizeof n->row[0]);
        n->count++;
    }
    memcpy(n->row[i].key, key.data, key.len);
    n->row[i].len = key.len;
    n->row[i].revision = revision;
}

static bool naive_delete(naive *n, ew_slice key) {
    size_t i = naive_seek(n, key);
    if (!naive_has(n, i, key))
        return false;
    n->count--;
    memmove(&n->row[i], &n->row[i + 1], (n->count - i) * sizeof n->row[0]);
    return true;
}

static void same(const cache *m, const naive *n, ew_slice from) {
    size_t i = naive_seek(n, from);
    cache_entry *e = cache_seek(m, from);
    for (; e && i < n->count; e = cache_next(m, e), i++) {
        ew_entry view = cache_entry_view(e);
        assert_int_equal(order(view.key.data, view.key.len, n->row[i].key, n->row[i].len), 0);
        assert_int_equal(view.mod_revision, n->row[i].revision);
    }
    assert_null(e);
    assert_int_equal(i, n->count);
    assert_int_equal(cache_count(m), n->count);
}

static void the_cache_equals_a_naive_array(void **state) {
    cache *m = *state;
    static naive n;
    n.count = 0;
    unsigned seed = 7;
    for (int64_t round = 1; round <= 40000; round++) {
        char bytes[6];
        ew_slice key = {bytes, (size_t)rand_r(&seed) % 6};
        for (size_t i = 0; i < key.len; i++)
            bytes[i] = (char)("\0a\xff/"[rand_r(&seed) % 4]);
        switch (rand_r(&seed) % 3) {
        case 0:
            assert_int_equal(cache_delete(m, key), naive_delete(&n, key));
            break;
        default:
            put(m, key, key, round);
            naive_put(&n, key, round);
        }
        cache_entry *e = cache_get(m, key);
        assert_int_equal(e != NULL, naive_has(&n, naive_seek(&n, key), key));
        assert_ptr_equal(cache_find(m, key), e);
        e = e ? cache_next(m, e) : NULL;
        if (e)
            assert_ptr_equal(cache_find(m, cache_entry_view(e).key), e);
        if (round % 400 == 0)
            same(m, &n, key);
    }
    same(m, &n, EW_STR(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_put_replaces_and_a_delete_removes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_has_all_fields_of_etcd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_value_is_overwritten_without_other_references, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_and_values_are_bytes_of_any_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_scan_is_in_etcds_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reference_outlives_the_put_and_delete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_put_of_the_same_entry_changes_nothing, set_up, tear_down),
        cmocka_unit_test(lengths_above_32_bits_are_refused),
        cmocka_unit_test_setup_teardown(bytes_are_counted, set_up, tear_down),
        cmocka_unit_test(bytes_are_those_of_malloc),
        cmocka_unit_test_setup_teardown(memory_of_a_million_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_cache_equals_a_naive_array, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
