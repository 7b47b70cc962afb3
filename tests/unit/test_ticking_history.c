/* The ticking core: a rewritten history, and signs that the cache is wrong. */
#include "unit/ticking_fixture.h"

static life *l;

static int setup(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.barrier_patience_ms = 5000;
    config.tick_interval_ms = 86400000;
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

static done_note note;

static int put_y(life *life_, ew_tick *t) {
    life_->on_tick = NULL;
    ew_group *g = ew_tick_group(t);
    note = (done_note){0};
    assert_int_equal(ew_group_put(g, EW_STR("/a/y"), EW_STR("1")), EW_OK);
    ew_group_on_done(g, note_done, &note);
    return EW_OK;
}

static void loaded(void) {
    load(l, 50, {"/a/b", 20, "1"}, {"/a/d", 30, "1"}, {"/a/x", 50, "1"});
    health(l, true, false);
    settle(l);
    l->shown[0] = l->logs[0] = '\0';
    l->ticks = 0;
}

/* ---- a snapshot of another history ---- */

/* Revisions fall, keys of the lost history arrive as deletions, and a key of the same revision with another value as a
 * change. */
static void test_an_older_state(void **state) {
    (void)state;
    loaded();
    events(l, {"/a/future", 60, "phantom"}, {"/a/d", 70, "phantom"});
    settle(l);
    look(l);
    l->rewritten = true;
    load(l, 40, {"/a/b", 20, "2"}, {"/a/d", 30, "1"}, {"/a/n", 40, "1"});
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->tick_revision, 40);
    assert_string_equal(l->shown, "+/a/b=2@20 +/a/d=1@30 -/a/future@40 +/a/n=1@40 -/a/x@40 ");
    assert_non_null(strstr(l->logs, "rewritten"));
    assert_int_equal(stats().rewritten, 1);
    assert_int_equal(stats().revision, 40);
    look(l);
    l->rewritten = false;
    events(l, {"/a/b", 41, "3"}); /* new in this history, although revision 70 was seen before */
    settle(l);
    assert_string_equal(l->shown, "+/a/b=3@41 ");
    load(l, 41, {"/a/b", 41, "3"}, {"/a/d", 30, "1"}, {"/a/n", 40, "1"});
    settle(l);
    assert_int_equal(stats().rewritten, 1);
    assert_int_equal(stats().snapshots, 3);
}

/* A rewritten history may already be above the old revision. */
static void test_a_rewritten_history_above_the_old_revision(void **state) {
    (void)state;
    loaded();
    l->rewritten = true;
    load(l, 90, {"/a/b", 20, "1"}, {"/a/d", 30, "2"}, {"/a/x", 80, "1"});
    settle(l);
    assert_string_equal(l->shown, "+/a/d=2@30 +/a/x=1@80 ");
    assert_int_equal(stats().rewritten, 1);
}

/* If the worker's last commit is lost with the old history, nothing waits for it. */
static void test_the_barrier_falls(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    committed(l, 60);
    assert_done(&note, EW_OK, 60);
    assert_int_equal(stats().barrier_revision, 60);
    settle(l);
    assert_int_equal(ticking_get_state(l->t), TICKING_AWAITING);
    l->rewritten = true;
    look(l);
    load(l, 55, {"/a/b", 20, "1"});
    settle(l);
    assert_int_equal(l->ticks, 0); /* the commit may also be newer than this load */
    assert_int_equal(l->resyncs, 1);
    assert_int_equal(l->resync_revision, 60);
    load(l, 56, {"/a/b", 20, "1"});
    settle(l);
    assert_int_equal(l->resyncs, 1);
    assert_int_equal(stats().barrier_revision, 56);
    assert_int_equal(l->tick_revision, 56);
}

/* The worker's last commit belongs to the new history, and is newer than the load. */
static void test_the_barrier_is_newer_than_the_load(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    l->rewritten = true;
    committed(l, 42);
    look(l);
    load(l, 41, {"/a/b", 20, "1"});
    settle(l);
    assert_int_equal(stats().barrier_revision, 42);
    assert_int_equal(l->ticks, 0);
    l->rewritten = false;
    load(l, 43, {"/a/b", 20, "1"}, {"/a/y", 42, "1"});
    settle(l);
    assert_int_equal(l->tick_revision, 43);
}

/* The groups of an undecided batch are refused, and evaluated on the new state. */
static void test_an_undecided_batch(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    assert_string_equal(unit_text(l, 0), "/a/y?0 /a/y=1 ");
    l->rewritten = true;
    load(l, 40, {"/a/y", 35, "another's"});
    settle(l);
    look(l);
    l->rewritten = false;
    refused(l, 0, 0, 35);
    assert_int_equal(l->resyncs, 0); /* the batch was evaluated on the old history */
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_string_equal(unit_text(l, 0), "/a/y?35 /a/y=1 ");
    committed(l, 41);
    assert_done(&note, EW_OK, 41);
}

/* The committer has found that its receipt is older than it was. */
static void test_the_receipt_is_older(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    Msg__Outcome o = outcome_of(l, EW_ERR_REFUSED, 0, 0);
    o.rewritten = true;
    take_outcome(l, o);
    assert_int_equal(l->resyncs, 1);
    assert_true(l->resync_rewritten);
    assert_int_equal(l->resync_revision, 50);
    settle(l);
    look(l);
    l->rewritten = true;
    load(l, 40, {"/a/b", 20, "1"});
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_int_equal(l->patches->base_revision, 40);
    l->epoch++; /* the watcher found it, too, during the batch: there is only one load */
    page(l, 41, true, true, NULL, 0);
    look(l);
    o = outcome_of(l, EW_ERR_REFUSED, 0, 0);
    o.rewritten = true;
    take_outcome(l, o);
    assert_int_equal(l->resyncs, 0);
    wait_ms(l, 100); /* the retry does not wait for a newer revision */
    assert_int_equal(l->commits, 1);
}

/* ---- a commit that the watch never shows ---- */

static void test_a_commit_that_is_not_shown(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    committed(l, 9000000000);
    settle(l);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 5000);
    wait_ms(l, 2000);
    events(l, {"/a/y", 51, "1"}); /* a change of another writer, below the barrier */
    wait_ms(l, 2999);
    assert_int_equal(l->resyncs, 0);
    wait_ms(l, 1);
    assert_int_equal(l->resyncs, 1);
    assert_int_equal(l->resync_revision, 9000000000);
    assert_false(l->resync_rewritten);
    assert_non_null(strstr(l->logs, "9000000000"));
    wait_ms(l, 5000); /* again, as long as no load comes */
    assert_int_equal(l->resyncs, 2);
}

/* The time counts only while the watch is connected and no load is under way. */
static void test_no_timeout_without_a_connected_watch(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    committed(l, 60);
    health(l, false, false);
    wait_ms(l, 20000);
    health(l, true, false);
    wait_ms(l, 4999);
    health(l, true, false); /* unchanged */
    assert_int_equal(l->resyncs, 0);
    l->epoch++;
    page(l, 55, true, false, NULL, 0);
    wait_ms(l, 20000);
    assert_int_equal(l->resyncs, 0);
    page(l, 55, false, true, NULL, 0);
    wait_ms(l, 4999);
    assert_int_equal(l->resyncs, 0);
    events(l, {"/a/y", 60, "1"});
    wait_ms(l, 20000);
    assert_int_equal(l->resyncs, 0);
}

/* ---- refusals that contradict the cache ---- */

static void test_a_refusal_by_a_change_in_the_cache(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    refused(l, 0, 0, 51); /* newer than the state of the evaluation */
    assert_int_equal(l->resyncs, 0);
    events(l, {"/a/y", 51, "another's"});
    settle(l);
    refused(l, 0, 0, 51); /* the evaluation had that change */
    assert_int_equal(l->resyncs, 1);
    assert_false(l->resync_rewritten);
}

static void test_refusals_by_absent_keys(void **state) {
    (void)state;
    l->on_tick = put_y;
    loaded();
    for (int64_t i = 1; i <= 5; i++) {
        assert_int_equal(l->checks, 0);
        assert_int_equal(l->commits, (int)i);
        refused(l, 0, 0, 0);
        events(l, {"/a/b", 50 + i, "2"});
        wait_ms(l, 100);
    }
    assert_int_equal(l->checks, 1); /* after five: the cache may have keys that etcd does not have */
    assert_int_equal(l->check_revision, 55);
    assert_int_equal(l->resyncs, 0);
}

/* ---- unsure of the history ---- */

#define page_of(number, last, ...)                                                                                     \
    do {                                                                                                               \
        const kv page_list_[] = {__VA_ARGS__};                                                                         \
        send_checked(l, (number), (last), EW_OK, page_list_, sizeof page_list_ / sizeof page_list_[0]);                \
    } while (0)

static void is_unsure(void) {
    loaded();
    health(l, false, false);
    health(l, true, true);
    assert_true(stats().unsure);
    settle(l);
    assert_int_equal(l->checks, 1);
}

static void test_the_keys_are_the_same(void **state) {
    (void)state;
    is_unsure();
    assert_int_equal(l->check_revision, 50);
    page_of(l->check_number, true, {"/a/b", 20, ""}, {"/a/d", 30, ""}, {"/a/x", 50, ""});
    assert_false(stats().unsure);
    assert_int_equal(stats().checks, 1);
    assert_int_equal(l->resyncs, 0);
    assert_true(ticking_deadline_ms(l->t) > l->now + 80000000); /* no other check follows */
}

static void test_the_keys_differ(void **state) {
    (void)state;
    is_unsure();
    page_of(l->check_number, true, {"/a/b", 20, ""}, {"/a/d", 30, ""}, {"/a/n", 45, ""});
    assert_int_equal(l->resyncs, 1);
    assert_true(l->resync_rewritten);
    assert_true(stats().unsure);
    l->rewritten = true;
    load(l, 60, {"/a/b", 20, "1"}, {"/a/d", 30, "1"}, {"/a/n", 45, "1"});
    assert_false(stats().unsure);
    settle(l);
    assert_int_equal(l->checks, 1);
    assert_string_equal(l->shown, "+/a/n=1@45 -/a/x@60 ");
}

/* A check that began before the watcher became unsure proves nothing. */
static void test_a_check_that_began_before(void **state) {
    (void)state;
    is_unsure();
    uint64_t first = l->check_number;
    health(l, true, true);
    settle(l);
    assert_int_equal(l->checks, 2);
    page_of(first, true, {"/a/b", 20, ""}, {"/a/d", 30, ""}, {"/a/x", 50, ""});
    assert_true(stats().unsure);
    page_of(l->check_number, true, {"/a/b", 20, ""}, {"/a/d", 30, ""}, {"/a/x", 50, ""});
    assert_false(stats().unsure);
}

static void test_the_revision_is_compacted(void **state) {
    for (int newer = 0; newer < 2; newer++) {
        if (newer) {
            teardown(state);
            setup(state);
        }
        is_unsure();
        send_checked(l, l->check_number, true, EW_ERR_COMPACTED, NULL, 0);
        assert_true(stats().unsure);
        if (newer)
            progress(l, 51);
        else
            wait_ms(l, 999);
        assert_int_equal(l->resyncs, 0);
        wait_ms(l, 1);
        assert_int_equal(l->checks, newer ? 2 : 1);
        assert_int_equal(l->resyncs, newer ? 0 : 1); /* nothing newer came: a load needs no revision */
    }
}

/* etcd does not have the observed revision: the member lags, or data was lost. */
static void test_the_revision_is_in_the_future(void **state) {
    (void)state;
    is_unsure();
    send_checked(l, l->check_number, true, EW_ERR_FUTURE_REVISION, NULL, 0);
    assert_int_equal(l->resyncs, 1);
    assert_int_equal(l->resync_revision, 50);
    assert_false(l->resync_rewritten); /* the load will show which it is */
}

static void test_a_check_that_fails(void **state) {
    (void)state;
    is_unsure();
    send_checked(l, l->check_number, true, EW_ERR_BAD_ANSWER, NULL, 0);
    wait_ms(l, 1000);
    assert_int_equal(l->checks, 2);
    page_of(l->check_number, true, {"/a/d", 20, ""}, {"/a/b", 30, ""}); /* out of order */
    assert_true(stats().unsure);
    wait_ms(l, 1000);
    assert_int_equal(l->checks, 3);
}

/* With `coalesce` off the cache may be older than what was received. The check waits, since only the newest state can
 * be compared. */
static void test_changes_that_wait(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    config.tick_interval_ms = 86400000;
    config.max_ticks_per_second = 1;
    life_free(l);
    l = life_new(&config);
    loaded();
    events(l, {"/a/b", 51, "2"}, {"/a/d", 52, "2"});
    health(l, true, true);
    settle(l);
    assert_int_equal(stats().revision, 50);
    assert_int_equal(l->checks, 0);
    wait_ms(l, 1000);
    assert_int_equal(stats().revision, 51);
    assert_int_equal(l->checks, 0);
    wait_ms(l, 1000);
    assert_int_equal(l->checks, 1);
    assert_int_equal(l->check_revision, 52);
}

static void test_health_of_an_earlier_epoch(void **state) {
    (void)state;
    health(l, true, true); /* before the first snapshot */
    assert_false(stats().unsure);
    loaded();
    l->epoch--;
    health(l, true, true);
    assert_false(stats().unsure);
    l->epoch++;
    settle(l);
    assert_int_equal(l->checks, 0);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(test_an_older_state),
        test(test_a_rewritten_history_above_the_old_revision),
        test(test_the_barrier_falls),
        test(test_the_barrier_is_newer_than_the_load),
        test(test_an_undecided_batch),
        test(test_the_receipt_is_older),
        test(test_a_commit_that_is_not_shown),
        test(test_no_timeout_without_a_connected_watch),
        test(test_a_refusal_by_a_change_in_the_cache),
        test(test_refusals_by_absent_keys),
        test(test_the_keys_are_the_same),
        test(test_the_keys_differ),
        test(test_a_check_that_began_before),
        test(test_the_revision_is_compacted),
        test(test_the_revision_is_in_the_future),
        test(test_a_check_that_fails),
        test(test_changes_that_wait),
        test(test_health_of_an_earlier_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
