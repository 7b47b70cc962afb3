/* What a tick has read: SEMANTICS 37. */
#include "core/reads.h"

#include "unit/ticking_fixture.h"

static ticking_config tracking;
static life *l;
static done_note note;
static int (*reader)(ew_tick *t);

static int setup(void **state) {
    (void)state;
    tracking = plain_config;
    tracking.track_reads = true;
    l = life_new(&tracking);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    life_free(l);
    return 0;
}

static void use(const ticking_config *config) {
    life_free(l);
    l = life_new(config);
}

/* Makes one group that expects everything that `reader` reads after the group was made. */
static int stand(life *self, ew_tick *t) {
    (void)self;
    memset(&note, 0, sizeof note);
    ew_group *g = ew_tick_group(t);
    ew_group_expect_reads(g);
    ew_group_put(g, EW_STR("/a/own"), EW_STR("1"));
    ew_group_on_done(g, note_done, &note);
    return reader(t);
}

static void run(int (*read)(ew_tick *t)) {
    reader = read;
    load(l, 9, {"/a/b/1", 2, "1"}, {"/a/b/2", 3, "2"}, {"/a/c", 4, "3"});
    l->on_tick = stand;
    settle(l);
    l->on_tick = NULL;
}

#define UNIT(text) assert_string_equal(unit_text(l, 0), text)

/* ---- what is recorded ---- */

static int read_keys(ew_tick *t) {
    ew_entry e;
    char key[] = "/a/none";
    ew_tick_get(t, EW_STR("/a/c"), &e);
    ew_tick_get(t, ew_str(key), &e);
    memset(key, '?', sizeof key);
    ew_tick_get(t, EW_STR("/a/c"), NULL);   /* again */
    ew_tick_get(t, EW_STR("/outside"), &e); /* not visible to the reactor */
    ew_tick_get(t, EW_STR(COUNTER), &e);
    return EW_OK;
}

static void test_keys(void **state) {
    (void)state;
    run(read_keys);
    UNIT("/a/c?4 /a/none?0 /a/own?0 /a/own=1 ");
}

static int read_all_of_b(ew_tick *t) {
    ew_entry e = {0};
    while (ew_tick_scan(t, EW_STR("/a/b/"), &e))
        ;
    return EW_OK;
}

/* The group compares the keys that the scan returned, and that the range has nothing newer. */
static void test_scan(void **state) {
    (void)state;
    run(read_all_of_b);
    UNIT("/a/b/1?2 /a/b/2?3 /a/own?0 [/a/b/../a/b0)<10 /a/own=1 ");
}

static int read_first_of_b(ew_tick *t) {
    ew_entry e = {0};
    ew_tick_scan(t, EW_STR("/a/b/"), &e);
    return EW_OK;
}

/* A scan that stops early counts up to the last key that it returned; the range ends at the next possible key. */
static void test_scan_broken_off(void **state) {
    (void)state;
    run(read_first_of_b);
    UNIT("/a/b/1?2 /a/own?0 [/a/b/../a/b/1\\0)<10 /a/own=1 ");
}

static int read_nothing(ew_tick *t) {
    ew_entry e = {0};
    ew_tick_scan(t, EW_STR("/a/none/"), &e);
    ew_tick_scan(t, EW_STR("/a/none/"), &e);
    ew_tick_scan(t, EW_STR("/elsewhere"), &e);
    return EW_OK;
}

static void test_empty_scan(void **state) {
    (void)state;
    run(read_nothing);
    UNIT("/a/own?0 [/a/none/../a/none0)<10 /a/own=1 ");
}

static int read_side_by_side(ew_tick *t) {
    ew_entry a = {0}, b = {0}, from = {.key = EW_STR("/a/b/15")}, before = {.key = EW_STR("/a/a")};
    bool more = true;
    while (more) {
        more = ew_tick_scan(t, EW_STR("/a/b/"), &a);
        more |= ew_tick_scan(t, EW_STR("/a/c"), &b);
    }
    ew_tick_scan(t, EW_STR("/a/b/"), &from);
    ew_tick_scan(t, EW_STR("/a/c"), &before); /* resumes before its prefix: reads the gap before the next key */
    return EW_OK;
}

static void test_scans_side_by_side(void **state) {
    (void)state;
    run(read_side_by_side);
    UNIT("/a/b/1?2 /a/b/2?3 /a/c?4 /a/own?0 [/a/a\\0../a/b0)<10 [/a/c../a/d)<10 /a/own=1 ");
}

static int count(ew_tick *t) {
    assert_int_equal(ew_tick_count(t), 3);
    return EW_OK;
}

/* A count reads the whole prefix: the bare key and all keys below it, except the delete counter and the receipts. */
static void test_count(void **state) {
    (void)state;
    run(count);
    UNIT("/a?0 /a/b/1?2 /a/b/2?3 /a/c?4 /a/own?0 [/a/../a/meta/ticdc-delete-etcd-key-count)<10 "
         "[/a/meta/ticdc-delete-etcd-key-count\\0../a/receipts)<10 [/a/receipts\\0../a/receipts/)<10 "
         "[/a/receipts0../a0)<10 /a/own=1 ");
    tracking.textual = true;
    tracking.receipt_prefix = (ew_slice){"", 0};
    use(&tracking);
    run(count);
    UNIT("/a/b/1?2 /a/b/2?3 /a/c?4 /a/own?0 [/a../a/meta/ticdc-delete-etcd-key-count)<10 "
         "[/a/meta/ticdc-delete-etcd-key-count\\0../b)<10 /a/own=1 ");
    tracking.textual = false;
    tracking.prefix = (ew_slice){"", 0};
    tracking.counter_key = EW_STR("/meta/ticdc-delete-etcd-key-count");
    use(&tracking);
    run(count);
    UNIT("/a/b/1?2 /a/b/2?3 /a/c?4 /a/own?0 [\\0../meta/ticdc-delete-etcd-key-count)<10 "
         "[/meta/ticdc-delete-etcd-key-count\\0..\\0)<10 /a/own=1 ");
}

static int read_what_is_behind(ew_tick *t) {
    ew_entry from = {.key = EW_STR("/a/c/1")};
    ew_tick_scan(t, EW_STR("/a/b/"), &from); /* no key of the prefix can follow */
    return EW_OK;
}

static void test_scan_after_its_prefix(void **state) {
    (void)state;
    run(read_what_is_behind);
    UNIT("/a/own?0 /a/own=1 ");
}

static int read_everything(ew_tick *t) {
    ew_entry e = {0};
    while (ew_tick_scan(t, EW_STR(""), &e))
        ;
    return EW_OK;
}

/* The bare key exists: it is compared as it was read. */
static void test_the_bare_key_is_read(void **state) {
    (void)state;
    tracking.receipt_prefix = (ew_slice){"", 0};
    use(&tracking);
    reader = read_everything;
    load(l, 9, {"/a", 2, "1"}, {"/a/b", 3, "2"});
    l->on_tick = stand;
    settle(l);
    UNIT("/a?2 /a/b?3 /a/own?0 [/a/../a/meta/ticdc-delete-etcd-key-count)<10 "
         "[/a/meta/ticdc-delete-etcd-key-count\\0../a0)<10 /a/own=1 ");
}

static int read_again_and_again(ew_tick *t) {
    ew_entry e;
    for (int i = 0; i < 3000; i++) {
        read_all_of_b(t);
        ew_tick_get(t, EW_STR("/a/none"), &e);
    }
    return EW_OK;
}

/* Repeated reads of the same keys need no more memory. */
static void test_read_again_and_again(void **state) {
    (void)state;
    run(read_again_and_again);
    UNIT("/a/b/1?2 /a/b/2?3 /a/none?0 /a/own?0 [/a/b/../a/b0)<10 /a/own=1 ");
}

static int reads_left;

static int read_many(ew_tick *t) {
    char key[32];
    for (int i = 0; i < reads_left; i++) {
        snprintf(key, sizeof key, "/a/many/%d", i);
        ew_tick_get(t, ew_str(key), NULL);
    }
    return EW_OK;
}

static int scan_many(ew_tick *t) {
    char prefix[32];
    for (int i = 0; i < reads_left; i++) {
        ew_entry e = {0};
        snprintf(prefix, sizeof prefix, "/a/many/%d/", i);
        ew_tick_scan(t, ew_str(prefix), &e);
    }
    return EW_OK;
}

/* SEMANTICS 26: exactly at the limit, and far above it. */
static void test_too_many(void **state) {
    (void)state;
    static const int times[] = {125, 126, 127, 5000};
    for (size_t i = 0; i < 8; i++) {
        use(&tracking);
        reads_left = times[i % 4];
        run(i < 4 ? read_many : scan_many);
        assert_int_equal(l->commits, i % 4 == 0);
        assert_int_equal(note.status, i % 4 == 0 ? 0 : EW_ERR_TOO_LARGE);
        assert_false(l->ended);
    }
    tracking.max_txn_keys = 2;
    use(&tracking);
    run(count);
    assert_done(&note, EW_ERR_TOO_LARGE, 0);
}

/* ---- which changes make a group stale ---- */

static int scan_and_count(ew_tick *t) {
    read_all_of_b(t);
    read_keys(t);
    return EW_OK;
}

/* A key that is added, changed or deleted in what was read makes the group stale; a change elsewhere does not. */
static void test_stale(void **state) {
    (void)state;
    static const struct {
        kv change;
        int status;
    } cases[] = {{{"/a/b/15", 11, "new"}, EW_ERR_STALE},    {{"/a/b/", 11, "new"}, EW_ERR_STALE},
                 {{"/a/b/2", 11, "changed"}, EW_ERR_STALE}, {{"/a/b/1", 11, NULL}, EW_ERR_STALE},
                 {{"/a/none", 11, "there"}, EW_ERR_STALE},  {{"/a/b0", 11, "beside"}, EW_OK},
                 {{"/a/own", 11, "another's"}, EW_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        use(&tracking);
        run(scan_and_count);
        look(l);
        refused(l, 0, 0, 11);
        take_events(l, &cases[i].change, 1);
        settle(l);
        if (cases[i].status == EW_OK) {
            assert_int_equal(note.calls, 0);
            assert_int_equal(l->commits, 1);
            committed(l, 12);
        }
        assert_int_equal(note.status, cases[i].status);
        assert_int_equal(note.calls, 1);
    }
}

static int two_that_stand(life *self, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/a/b/3"), EW_STR("x"));
    return stand(self, t);
}

/* A key that an earlier group of the tick adds to a range also makes the group stale, whether it is committed or still
 * pending. */
static void test_stale_by_an_earlier_group(void **state) {
    (void)state;
    reader = read_all_of_b;
    load(l, 9, {"/a/b/1", 2, "1"});
    l->on_tick = two_that_stand;
    settle(l);
    l->on_tick = NULL;
    assert_int_equal(l->patches->n_units, 1);
    committed(l, 10);
    events(l, {"/a/b/3", 10, "x"});
    settle(l);
    assert_done(&note, EW_ERR_STALE, 10);
}

static int stands_and_is_overwritten(life *self, ew_tick *t) {
    stand(self, t);
    ew_group_put(ew_tick_group(t), EW_STR("/a/own"), EW_STR("2"));
    return EW_OK;
}

/* If the group is merged with a group without expectations, the atomic unit keeps its ranges. */
static void test_merged(void **state) {
    (void)state;
    reader = read_all_of_b;
    load(l, 9, {"/a/b/1", 2, "1"});
    l->on_tick = stands_and_is_overwritten;
    settle(l);
    assert_int_equal(l->patches->n_units, 1);
    UNIT("/a/b/1?2 /a/own?0 [/a/b/../a/b0)<10 /a/own=2 ");
}

static int wants_without_asking(life *self, ew_tick *t) {
    (void)self;
    ew_group_expect_reads(ew_tick_group(t));
    return EW_OK;
}

static void test_not_tracked(void **state) {
    (void)state;
    use(&plain_config);
    load_empty(l, 9);
    l->on_tick = wants_without_asking;
    settle(l);
    assert_ended(l, EW_ERR_STATE, "track_reads");
    assert_int_equal(ew_group_expect_reads(NULL), EW_ERR_NO_MEMORY);
}

/* The cache missed a key, and a load brought it back. Its revision is old, but the tick did not see it: stale. */
static void test_a_key_that_was_missed(void **state) {
    (void)state;
    run(read_all_of_b);
    refused(l, 0, 0, 11);
    load(l, 12, {"/a/b/1", 2, "1"}, {"/a/b/15", 5, "missed"}, {"/a/b/2", 3, "2"}, {"/a/c", 4, "3"});
    settle(l);
    assert_done(&note, EW_ERR_STALE, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan_broken_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_scan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scans_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan_after_its_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_bare_key_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_by_an_earlier_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_tracked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_that_was_missed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
