/* Each allocation of the watching core, the options, the prefix and the cache fails in turn. Then there is an error,
 * never a crash, a leak or a lost revision. The sources are compiled into this program with an allocator that fails on
 * demand. */
#include "unit/failing_memory.h"

#undef strdup
#define malloc(size)        failing_malloc(size)
#define calloc(count, size) failing_calloc(count, size)
#define realloc(old, size)  failing_realloc(old, size)
#define strdup(text)        failing_strdup(text)
#include "core/arena.c"
#include "core/cache.c"
#include "core/options.c"
#include "core/prefix.c"
#include "core/watch_stream.c"
#include "core/watching.c"
#include "core/watching_ahead.c"
#include "core/watching_bounds.c"
#include "core/watching_pages.c"
#include "core/watching_stream.c"
#undef malloc
#undef calloc
#undef realloc
#undef strdup

#include "unit/watching_fixture.h"

/* Answers the second page of a snapshot, which is requested with a bound, as for a large prefix. */
static void bounded_page(fixture *f) {
    page_comes(f, (page){.header = {10}, .keys = {"/a/1", "/a/2"}, .more = true});
    if (watching_get_state(f->core) != WATCHING_SYNCING)
        return;
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    f->core->level = 4;
    f->core->left = 1000000;
    deadline_passes(f, 1000);
    f->core->left = 0; /* the third page without a bound */
    if (f->witness.range_out)
        page_comes(f, (page){.header = {10}, .keys = {"/a/22"}});
}

/* Returns a key that is too long for the stack buffer of an arena. */
static const char *long_key(void) {
    static char key[4000] = "/a/4";
    memset(key + 4, '4', sizeof key - 5);
    return key;
}

/* Runs a scenario with a snapshot of one page or three, events, fragments, a progress request and a reconnect, in which
 * allocation number `n` fails. Returns whether that allocation was reached. */
static bool life(long n, bool bounded) {
    fixture *f = NULL;
    fail_in = n;
    if (set_up((void **)&f) != 0) {
        free(f);
        return true;
    }
    told(f, WATCHING_START);
    if (f->witness.range_out && bounded)
        bounded_page(f);
    if (f->witness.range_out)
        page_comes(f, (page){.header = {10}, .keys = {"/a/3", long_key()}});
    if (f->witness.stream_out)
        response_comes(f, (response){.header = {10}, .watch_id = 7, .created = true});
    for (int64_t revision = 11; revision < 14 && watching_get_state(f->core) == WATCHING_WATCHING; revision++) {
        response_comes(
            f,
            (response){
                .header = {20}, .watch_id = 7, .fragment = true, .reason = long_key(), .events = {{"/a/1", revision}}});
        if (f->witness.stream_out && !f->witness.closed)
            response_comes(f, (response){.header = {20}, .watch_id = 7, .events = {{long_key(), revision}}});
    }
    if (watching_get_state(f->core) == WATCHING_WATCHING) {
        deadline_passes(f, 5000);
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    }
    if (watching_get_state(f->core) == WATCHING_BROKEN)
        deadline_passes(f, 1000);
    bool reached = fail_in < 0;
    fail_in = -1;
    if (reached) {
        ends_with(f, EW_ERR_NO_MEMORY);
    } else {
        is_in(f, WATCHING_WATCHING);
        assert_int_equal(f->witness.revision, 13);
    }
    tear_down((void **)&f);
    return reached;
}

/* The same for a load in which the watch is opened first, with changes meanwhile. */
static bool life_with_the_watch_first(long n) {
    fixture *f = NULL;
    fail_in = n;
    if (set_up((void **)&f) != 0) {
        free(f);
        return true;
    }
    f->core->config.watch_first = true;
    told(f, WATCHING_START);
    if (f->witness.stream_out)
        response_comes(f, (response){.header = {10}, .watch_id = 7, .created = true});
    for (int64_t revision = 11; revision < 14 && watching_get_state(f->core) == WATCHING_WATCHING; revision++)
        response_comes(f, (response){.header = {20}, .watch_id = 7, .events = {{long_key(), revision}}});
    if (watching_get_state(f->core) == WATCHING_WATCHING)
        page_comes(f, (page){.header = {12}, .keys = {"/a/3", long_key()}});
    bool reached = fail_in < 0;
    fail_in = -1;
    if (reached) {
        ends_with(f, EW_ERR_NO_MEMORY);
    } else {
        is_in(f, WATCHING_WATCHING);
        assert_int_equal(f->witness.revision, 13);
    }
    tear_down((void **)&f);
    return reached;
}

static void each_allocation_of_a_load_with_the_watch_first_may_fail(void **state) {
    (void)state;
    long n = 0;
    while (life_with_the_watch_first(n))
        n++;
    assert_true(n > 3);
}

static void each_allocation_of_the_watching_core_may_fail(void **state) {
    (void)state;
    for (int bounded = 0; bounded < 2; bounded++) {
        long n = 0;
        while (life(n, bounded))
            n++;
        assert_true(n > 8);
    }
}

/* Messages that do not fit the arena's stack buffer: a failed allocation is distinguished from a malformed message. */
static void the_arena_may_fail(void **state) {
    (void)state;
    static uint8_t value[5000], bytes[sizeof value + 16];
    Pb__KeyValue kv = PB__KEY_VALUE__INIT;
    kv.value = (ProtobufCBinaryData){sizeof value, value};
    size_t len = pb__key_value__pack(&kv, bytes);
    arena memory;
    fail_in = 0;
    arena_init(&memory);
    assert_null(pb__key_value__unpack(&memory.allocator, len, bytes));
    assert_true(memory.failed);
    arena_fini(&memory);
    fail_in = -1;
    arena_init(&memory);
    assert_null(memory.allocator.alloc(memory.allocator.allocator_data, SIZE_MAX)); /* more than can be rounded up */
    assert_true(memory.failed);
    arena_fini(&memory);
    arena_init(&memory);
    assert_null(pb__key_value__unpack(&memory.allocator, len - 1, bytes));
    assert_false(memory.failed);
    Pb__KeyValue *copy = pb__key_value__unpack(&memory.allocator, len, bytes);
    assert_int_equal(copy->value.len, sizeof value);
    assert_memory_equal(copy->value.data, value, sizeof value);
    arena_fini(&memory);
}

static void each_allocation_of_the_options_may_fail(void **state) {
    (void)state;
    ew_options *o = NULL, *copy = NULL;
    long n = 0;
    for (; !o; n++) {
        fail_in = n;
        o = ew_options_new();
    }
    assert_true(n > 5);
    for (n = 0; !copy; n++) {
        fail_in = n;
        copy = options_copy(o);
    }
    assert_true(n > 5);
    ew_error err;
    fail_in = 0;
    assert_int_equal(ew_options_set(o, "prefix", "/new", &err), EW_ERR_NO_MEMORY);
    assert_string_equal(err.detail, "option prefix: out of memory");
    assert_string_equal(o->prefix, ""); /* unchanged */
    fail_in = -1;
    ew_options_free(o);
    ew_options_free(copy);
}

static void each_allocation_of_prefix_and_cache_may_fail(void **state) {
    (void)state;
    ew_slice key, range_end;
    fail_in = 0;
    assert_null(prefix_normalise("/a"));
    fail_in = 0;
    assert_false(prefix_range(EW_STR("/a"), false, &key, &range_end));
    fail_in = 1;
    assert_false(prefix_range(EW_STR("/a"), false, &key, &range_end));
    fail_in = 0;
    assert_null(cache_new());
    fail_in = 0;
    assert_null(cache_entry_new(&(ew_entry){.key = EW_STR("/a"), .value = EW_STR("1"), .mod_revision = 1}));
    fail_in = -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_the_watching_core_may_fail),
        cmocka_unit_test(each_allocation_of_a_load_with_the_watch_first_may_fail),
        cmocka_unit_test(the_arena_may_fail),
        cmocka_unit_test(each_allocation_of_the_options_may_fail),
        cmocka_unit_test(each_allocation_of_prefix_and_cache_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
