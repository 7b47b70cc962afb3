/* The ticking core: consistency checks (ETCD P6). */
#include "unit/ticking_fixture.h"

static life *l;

static ticking_config check_config(void) {
    ticking_config config = plain_config;
    config.check_interval_ms = 60000;
    config.tick_interval_ms = 86400000;
    return config;
}

static int setup(void **state) {
    (void)state;
    const ticking_config config = check_config();
    l = life_new(&config);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    life_free(l);
    return 0;
}

static ticking_stats stats(void) {
    ticking_stats s;
    ticking_get_stats(l->t, &s);
    return s;
}

#define page_of(number, last, ...)                                                                                     \
    do {                                                                                                               \
        const kv page_list_[] = {__VA_ARGS__};                                                                         \
        send_checked(l, (number), (last), EW_OK, page_list_, sizeof page_list_ / sizeof page_list_[0]);                \
    } while (0)

/* Waits for the check that is due, which must be at `revision`. Returns its number. */
static uint64_t check_begins(int64_t revision) {
    int before = l->checks;
    wait_timer(l);
    assert_int_equal(l->checks, before + 1);
    assert_int_equal(l->check_revision, revision);
    return l->check_number;
}

static void loaded(void) {
    load(l, 9, {"/a/b", 2, "1"}, {"/a/d", 3, "1"}, {COUNTER, 8, "4"}, {"/a/x", 5, "1"}, {"/ab", 4, "a sibling"});
    settle(l);
    look(l);
}

#define AS_LOADED                                                                                                      \
    {"/a/b", 2, ""}, {"/a/d", 3, ""}, {COUNTER, 8, ""}, {"/a/x", 5, ""}, {                                             \
        "/ab", 4, ""                                                                                                   \
    }

static void assert_found(uint64_t checks, uint64_t repairs) {
    assert_int_equal(stats().checks, checks);
    assert_int_equal(stats().check_repairs, repairs);
    assert_int_equal(l->resyncs, repairs > 0);
}

/* Without an interval there is no check. */
static void test_off(void **state) {
    (void)state;
    ticking_config config = check_config();
    config.check_interval_ms = 0;
    life_free(l);
    l = life_new(&config);
    loaded();
    assert_true(ticking_deadline_ms(l->t) > l->now + 86000000);
}

/* The interval counts from the load, and from the end of the check before. */
static void test_nothing_differs(void **state) {
    (void)state;
    loaded();
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
    uint64_t number = check_begins(9);
    assert_true(ticking_deadline_ms(l->t) > l->now + 60000); /* no second check at the same time */
    page_of(number, false, {"/a/b", 2, ""}, {"/a/d", 3, ""});
    send_checked(l, number, false, EW_OK, NULL, 0);
    page_of(number, true, {COUNTER, 8, ""}, {"/a/x", 5, ""}, {"/ab", 4, ""});
    assert_found(1, 0);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
    assert_int_equal(l->ticks, 0);
    assert_true(check_begins(9) > number);
}

/* Changes that the watch has shown since the check began are newer than its revision, and no difference. */
static void test_newer_changes_are_no_difference(void **state) {
    (void)state;
    loaded();
    uint64_t number = check_begins(9);
    events(l, {"/a/a", 10, "new"}, {"/a/b", 11, NULL}, {"/a/d", 12, "2"}, {COUNTER, 13, "5"});
    page_of(number, false, {"/a/b", 2, ""}, {"/a/d", 3, ""}, {COUNTER, 8, ""});
    events(l, {"/a/x", 14, NULL}, {"/a/z", 15, "new"}, {"/a/b", 16, "again"}, {COUNTER, 17, NULL});
    page_of(number, true, {"/a/x", 5, ""}, {"/ab", 4, ""});
    assert_found(1, 0);
}

/* While the watch is disconnected no check begins, and the result of one under way is ignored: a load may have
 * begun. */
static void test_no_check_without_the_watch(void **state) {
    (void)state;
    loaded();
    health(l, true, true);
    uint64_t number = check_begins(9);
    health(l, false, false);
    send_checked(l, number, true, EW_ERR_COMPACTED, NULL, 0);
    assert_true(ticking_deadline_ms(l->t) > l->now + 86000000);
    assert_int_equal(l->resyncs, 0);
    health(l, true, true);
    check_begins(9);
}

/* Another history may have other versions of the keys at the same revisions. */
static void test_the_same_revision_of_another_history(void **state) {
    const kv others[] = {
        {"/a/b", 2, "", .create_revision = 1}, {"/a/b", 2, "", .version = 1}, {"/a/b", 2, "", .lease = 1}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        loaded();
        uint64_t number = check_begins(9);
        page_of(number, true, others[i], {"/a/d", 3, ""}, {COUNTER, 8, ""}, {"/a/x", 5, ""}, {"/ab", 4, ""});
        assert_found(1, 1);
        teardown(state);
        setup(state);
    }
}

/* Lost puts: of a new key, of existing keys, and of the counter. */
static void test_lost_puts(void **state) {
    (void)state;
    loaded();
    events(l, {"/a/x", 20, "2"});
    settle(l);
    uint64_t number = check_begins(20);
    page_of(number, true, {"/a/b", 2, ""}, {"/a/c", 15, ""}, {"/a/d", 16, ""}, {COUNTER, 17, ""}, {"/a/x", 20, ""},
            {"/ab", 18, ""});
    assert_found(1, 3);
}

/* Lost deletions: of the first key, of one in the middle, of the counter, and of the last key. */
static void test_lost_deletions(void **state) {
    (void)state;
    load(l, 9, {"/a/b", 2, "1"}, {"/a/d", 3, "1"}, {"/a/f", 4, "1"}, {COUNTER, 8, "4"}, {"/a/x", 5, "1"});
    events(l, {"/a/g", 20, "2"});
    settle(l);
    uint64_t number = check_begins(20);
    page_of(number, false, {"/a/d", 3, ""});
    page_of(number, true, {"/a/g", 20, ""});
    assert_found(1, 4);
}

/* All deletions were lost, and no page has a key. */
static void test_an_empty_etcd(void **state) {
    (void)state;
    loaded();
    send_checked(l, check_begins(9), true, EW_OK, NULL, 0);
    assert_found(1, 4);
}

/* A key was deleted and created again, and only the deletion was seen. */
static void test_lost_recreation(void **state) {
    (void)state;
    loaded();
    events(l, {"/a/b", 10, NULL}, {COUNTER, 10, NULL}, {"/a/x", 12, "2"});
    settle(l);
    uint64_t number = check_begins(12);
    page_of(number, true, {"/a/b", 11, ""}, {"/a/d", 3, ""}, {COUNTER, 11, ""}, {"/a/x", 12, ""});
    assert_found(1, 2);
}

/* The repair is a load: lost changes arrive as puts and deletions. */
static void test_repair(void **state) {
    (void)state;
    loaded();
    uint64_t number = check_begins(9);
    page_of(number, true, {"/a/c", 7, ""}, {"/a/d", 3, ""}, {COUNTER, 8, ""}, {"/a/x", 6, ""});
    assert_found(1, 3);
    assert_non_null(strstr(l->logs, "the consistency check found 3 keys that differ"));
    look(l);
    load(l, 10, {"/a/c", 7, "lost"}, {"/a/d", 3, "1"}, {COUNTER, 8, "4"}, {"/a/x", 6, "2"});
    settle(l);
    assert_string_equal(l->shown, "-/a/b@10 +/a/c=lost@7 +/a/x=2@6 ");
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
    number = check_begins(10);
    page_of(number, true, {"/a/c", 7, ""}, {"/a/d", 3, ""}, {COUNTER, 8, ""}, {"/a/x", 6, ""});
    assert_int_equal(stats().checks, 2);
    assert_int_equal(stats().check_repairs, 3);
}

/* If the revision was compacted, the next check begins as soon as a newer revision is observed. */
static void test_compacted(void **state) {
    (void)state;
    loaded();
    send_checked(l, check_begins(9), true, EW_ERR_COMPACTED, NULL, 0);
    assert_found(0, 0);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
    progress(l, 30);
    assert_int_equal(ticking_deadline_ms(l->t), 0);
    uint64_t number = check_begins(30);
    page_of(number, true, AS_LOADED);
    assert_found(1, 0);
}

/* If no newer revision comes, the prefix is loaded again. */
static void test_compacted_and_nothing_new(void **state) {
    (void)state;
    loaded();
    send_checked(l, check_begins(9), true, EW_ERR_COMPACTED, NULL, 0);
    int checks = l->checks;
    wait_timer(l);
    assert_int_equal(l->checks, checks);
    assert_int_equal(l->resyncs, 1);
    assert_int_equal(stats().check_repairs, 0);
    load(l, 40, {"/a/b", 2, "1"});
    settle(l);
    check_begins(40);
}

static void test_failed(void **state) {
    (void)state;
    loaded();
    uint64_t number = check_begins(9);
    send_checked(l, number, true, EW_ERR_DENIED, NULL, 0);
    assert_found(0, 0);
    assert_non_null(strstr(l->logs, "permission denied"));
    progress(l, 30);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
    page_of(number, true, {"/a/b", 2, ""}); /* late: its check is over */
    assert_found(0, 0);
    assert_true(check_begins(30) > number);
}

/* A load ends a check, and serves as one. */
static void test_a_load_comes_first(void **state) {
    (void)state;
    loaded();
    uint64_t number = check_begins(9);
    l->epoch++;
    page(l, 30, true, false, NULL, 0);
    page_of(number, true, {"/a/q", 7, ""});
    assert_found(0, 0);
    l->now += 70000;
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);
    page(l, 30, false, true, NULL, 0);
    settle(l);
    assert_found(0, 0);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
}

/* An invalid page is dropped and ends its check. */
static void test_malformed_pages(void **state) {
    (void)state;
    loaded();
    const kv wrong[][2] = {{{"/a/d", 3, ""}, {"/a/b", 2, ""}},  /* out of order */
                           {{"/a/b", 2, ""}, {"/a/b", 2, ""}},  /* twice */
                           {{"/a/b", 2, ""}, {"/a/d", 99, ""}}, /* above the check's revision */
                           {{"/a/b", 2, ""}, {"/a/d", 0, ""}}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint64_t bad = stats().bad_messages;
        send_checked(l, check_begins(9), true, EW_OK, wrong[i], 2);
        assert_int_equal(stats().bad_messages, bad + 1);
        assert_found(0, 0);
        assert_int_equal(ticking_deadline_ms(l->t), l->now + 60000);
    }
    Msg__Checked checked = MSG__CHECKED__INIT;
    checked.number = check_begins(9);
    checked.page = binary("\xff\xff");
    checked.last = true;
    Msg__Message m = MSG__MESSAGE__INIT;
    m.checked = &checked;
    send_message(l, &m);
    assert_found(0, 0);
}

/* A check ends if there are more deletions meanwhile than may be kept. */
static void test_too_many_deletions(void **state) {
    (void)state;
    ticking_config config = check_config();
    config.max_pending_update_bytes = 300;
    config.wants_updates = false;
    life_free(l);
    l = life_new(&config);
    loaded();
    uint64_t number = check_begins(9);
    events(l, {"/a/b", 10, NULL}, {"/a/d", 11, NULL}, {"/a/x", 12, NULL}, {"/a/1", 13, "1"}, {"/a/2", 14, "1"});
    events(l, {"/a/1", 15, NULL}, {"/a/2", 16, NULL});
    assert_non_null(strstr(l->logs, "consistency check cancelled"));
    page_of(number, true, {"/a/q", 2, ""});
    assert_found(0, 0);
}

/* With `coalesce` off the cache may be older than what was received: the check uses the revision of the cache. */
static void test_changes_that_wait(void **state) {
    (void)state;
    ticking_config config = check_config();
    config.coalesce = false;
    config.max_ticks_per_second = 1;
    life_free(l);
    l = life_new(&config);
    loaded();
    l->now += 59999;
    events(l, {"/a/b", 10, "2"});
    settle(l); /* uses up the tick of this second */
    events(l, {"/a/b", 11, NULL}, {"/a/d", 12, "2"});
    l->now += 1;
    uint64_t number = check_begins(10);
    assert_int_equal(stats().revision, 10);
    page_of(number, true, {"/a/b", 10, ""}, {"/a/d", 3, ""}, {COUNTER, 8, ""}, {"/a/x", 5, ""});
    assert_found(1, 0);
    wait_ms(l, 5000);
    wait_ms(l, 5000);
    assert_int_equal(stats().revision, 12);
}

static int put_y(life *self, ew_tick *t) {
    (void)self;
    return ew_group_put(ew_tick_group(t), EW_STR("/a/y"), EW_STR("mine"));
}

/* A check may begin while a batch is undecided, however long that takes. */
static void test_while_a_batch_is_undecided(void **state) {
    (void)state;
    l->on_tick = put_y;
    load(l, 9, {"/a/b", 2, "1"});
    settle(l);
    assert_int_equal(ticking_get_state(l->t), TICKING_COMMITTING);
    uint64_t number = check_begins(9);
    events(l, {"/a/y", 10, "mine"});
    page_of(number, true, {"/a/b", 2, ""});
    assert_found(1, 0);
    assert_int_equal(ticking_get_state(l->t), TICKING_COMMITTING);
}

static int put_and_finish(life *self, ew_tick *t) {
    put_y(self, t);
    return EW_FINISHED;
}

/* Checks go on after EW_FINISHED, as long as groups are undecided: if the cache lacked a key, these would be refused
 * without end. */
static void test_after_finished(void **state) {
    (void)state;
    l->on_tick = put_and_finish;
    load(l, 9, {"/a/b", 2, "1"});
    settle(l);
    refused(l, 0, 0, 8); /* by a key that was lost before the load; no newer revision will come */
    assert_int_equal(l->resyncs, 1);
    look(l);
    settle(l);
    assert_int_equal(ticking_get_state(l->t), TICKING_COMMITTING);
    uint64_t number = check_begins(9);
    page_of(number, true, {"/a/b", 2, ""}, {"/a/y", 8, ""});
    assert_found(1, 1);
    assert_false(l->ended);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(test_off),
        test(test_nothing_differs),
        test(test_newer_changes_are_no_difference),
        test(test_no_check_without_the_watch),
        test(test_the_same_revision_of_another_history),
        test(test_lost_puts),
        test(test_lost_deletions),
        test(test_an_empty_etcd),
        test(test_lost_recreation),
        test(test_repair),
        test(test_compacted),
        test(test_compacted_and_nothing_new),
        test(test_failed),
        test(test_a_load_comes_first),
        test(test_malformed_pages),
        test(test_too_many_deletions),
        test(test_changes_that_wait),
        test(test_while_a_batch_is_undecided),
        test(test_after_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
