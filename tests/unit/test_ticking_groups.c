/* Pending groups: commits, refusals, repeated evaluation, outcomes; and groups that other applications submit. */
#include "unit/submit_fixture.h"

static life *l;

static int setup(void **state) {
    (void)state;
    l = life_new(&plain_config);
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

static ew_slice s(const char *text) {
    return ew_str(text);
}

static done_note notes[8];

static int increment(void *arg, const ew_entry *current, ew_value *next) {
    int64_t number = 0;
    (void)arg;
    assert_true(!current || ew_slice_int(current->value, &number));
    return ew_value_set_int(next, number + 1);
}

/* Makes three groups of one key each, with notes. */
static int three(life *self, ew_tick *t) {
    (void)self;
    static const char *const keys[] = {"/a/0", "/a/1", "/a/2"};
    memset(notes, 0, sizeof notes);
    done_count = 0;
    for (int i = 0; i < 3; i++) {
        ew_group *g = ew_tick_group(t);
        ew_group_modify(g, s(keys[i]), increment, NULL, NULL);
        ew_group_on_done(g, note_done, &notes[i]);
    }
    return EW_OK;
}

static int three_and_finish(life *self, ew_tick *t) {
    three(self, t);
    return EW_FINISHED;
}

static void start(int (*on_tick)(life *, ew_tick *)) {
    load(l, 9, {"/a/0", 2, "1"}, {"/a/1", 3, "1"}, {"/a/2", 4, "1"});
    l->on_tick = on_tick;
    settle(l);
    l->on_tick = NULL;
    look(l);
}

/* SEMANTICS 17, 25: groups commit right after the tick, in order; each callback gets the revision of its own
 * transaction. */
static void test_committed(void **state) {
    (void)state;
    start(three);
    assert_int_equal(l->patches->n_units, 3);
    Msg__Outcome o = outcome_of(l, EW_OK, 3, 12);
    o.revisions[0] = 10;
    take_outcome(l, o);
    assert_done(&notes[0], EW_OK, 10);
    assert_done(&notes[1], EW_OK, 12);
    assert_done(&notes[2], EW_OK, 12);
    assert_int_equal(notes[2].order, 3);
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.groups_committed, 3);
    assert_int_equal(stats.groups_refused, 0);
}

/* An outcome without a list of revisions (from another committer): each callback gets the barrier revision. */
static void test_committed_without_revisions(void **state) {
    (void)state;
    start(three);
    Msg__Outcome o = outcome_of(l, EW_OK, 3, 12);
    o.n_revisions = 0;
    take_outcome(l, o);
    assert_done(&notes[0], EW_OK, 12);
}

/* SEMANTICS 21: a refused group and those after it keep their order, and are evaluated again on a newer cache. */
static void test_refused(void **state) {
    (void)state;
    start(three);
    refused(l, 1, 11, 12);
    assert_done(&notes[0], EW_OK, 11);
    assert_int_equal(notes[1].calls, 0);
    assert_int_equal(ticking_get_state(l->t), TICKING_AWAITING);
    events(l, {"/a/0", 11, "2"});
    wait_ms(l, 5000);
    assert_int_equal(l->commits, 0); /* the conflicting change has not been seen yet */
    events(l, {"/a/1", 12, "5"});
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_int_equal(l->patches->n_units, 2);
    assert_string_equal(unit_text(l, 0), "/a/1?12 /a/1=6 ");
    assert_string_equal(unit_text(l, 1), "/a/2?4 /a/2=2 ");
    assert_int_equal(l->patches->batch, 2);
    assert_int_equal(l->ticks, 0); /* SEMANTICS 8: no update while a group is undecided */
    committed(l, 13);
    events(l, {"/a/1", 13, "6"}, {"/a/2", 13, "2"});
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_string_equal(l->shown, "+/a/0=2@11 +/a/1=5@12 +/a/1=6@13 +/a/2=2@13 ");
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.groups_refused, 1);
}

/* A refusal by a deletion has no revision to wait for: any newer revision will do. */
static void test_refused_by_deletion(void **state) {
    (void)state;
    start(three);
    refused(l, 0, 0, 0);
    settle(l);
    assert_int_equal(l->commits, 0);
    progress(l, 9);
    settle(l);
    assert_int_equal(l->commits, 0);
    events(l, {"/a/0", 10, NULL});
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_string_equal(unit_text(l, 0), "/a/0?0 /a/0=1 ");
}

/* If the conflicting change was seen before the outcome came, the groups are evaluated again at once. */
static void test_refused_by_a_change_already_seen(void **state) {
    (void)state;
    start(three);
    events(l, {"/a/0", 10, "7"});
    refused(l, 0, 0, 10);
    assert_int_equal(ticking_deadline_ms(l->t), 0);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/0?10 /a/0=8 ");
}

/* SEMANTICS 21: backoff begins with the second refusal in a row, grows, and ends with the first success. */
static void test_conflict_backoff(void **state) {
    (void)state;
    start(three);
    int64_t waits[8], revision = 10;
    for (int i = 0; i < 8; i++) {
        refused(l, 0, 0, revision);
        events(l, {"/a/0", revision, "7"});
        revision++;
        waits[i] = ticking_deadline_ms(l->t) - l->now;
        settle(l);
        if (waits[i] > 0) {
            assert_int_equal(l->patches->batch, (uint64_t)i + 1); /* not yet */
            wait_timer(l);
        }
        assert_int_equal(l->patches->batch, (uint64_t)i + 2);
    }
    assert_true(waits[0] <= 0);
    assert_in_range(waits[1], 2, 4);
    assert_in_range(waits[2], 4, 8);
    assert_in_range(waits[5], 32, 64);
    assert_in_range(waits[7], 32, 64);
    refused(l, 1, revision, revision + 1);
    events(l, {"/a/0", revision, "8"}, {"/a/1", revision + 1, "9"});
    assert_true(ticking_deadline_ms(l->t) <= l->now);
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.groups_refused, 9);
}

/* The wait never exceeds `conflict_backoff_max_ms`. */
static void test_conflict_backoff_is_capped(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.conflict_backoff_min_ms = 50;
    use(&config);
    start(three);
    for (int64_t revision = 10; revision < 14; revision++) {
        refused(l, 0, 0, revision);
        events(l, {"/a/0", revision, "7"});
        wait_timer(l);
    }
    refused(l, 0, 0, 14);
    events(l, {"/a/0", 14, "7"});
    assert_in_range(ticking_deadline_ms(l->t) - l->now, 32, 64);
}

/* SEMANTICS 21: waits have jitter, so that workers that refuse each other do not all retry at the same time. */
static void test_conflict_backoff_has_jitter(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.conflict_backoff_min_ms = config.conflict_backoff_max_ms = 1000;
    int64_t least = INT64_MAX, most = 0;
    for (config.seed = 0; config.seed < 50; config.seed++) {
        use(&config);
        start(three);
        refused(l, 0, 0, 10);
        events(l, {"/a/0", 10, "7"});
        settle(l);
        refused(l, 0, 0, 11);
        events(l, {"/a/0", 11, "8"});
        int64_t wait = ticking_deadline_ms(l->t) - l->now;
        assert_in_range(wait, 500, 1000);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_true(most - least > 300);
}

/* A refusal at the highest revision that etcd can have. */
static void test_refused_at_the_highest_revision(void **state) {
    (void)state;
    load(l, INT64_MAX, {"/a/0", 2, "1"});
    l->on_tick = three;
    settle(l);
    refused(l, 0, 0, 0);
    assert_int_equal(ticking_deadline_ms(l->t), 0);
}

static int hot(life *self, ew_tick *t) {
    (void)self;
    for (int i = 0; i < 3; i++)
        ew_group_modify(ew_tick_group(t), s("/a/0"), increment, NULL, NULL);
    ew_group_put(ew_tick_group(t), s("/a/1"), s("v"));
    return EW_OK;
}

/* Groups of a retry are not merged, so that one contended key does not refuse other groups again. After a success they
 * are merged again. */
static void test_no_merge_on_a_retry(void **state) {
    (void)state;
    start(hot);
    assert_int_equal(l->patches->n_units, 2);
    assert_int_equal(l->patches->units[0]->groups, 3);
    refused(l, 0, 0, 10);
    events(l, {"/a/0", 10, "7"});
    settle(l);
    assert_int_equal(l->patches->n_units, 1);
    assert_int_equal(l->patches->units[0]->groups, 1);
    assert_string_equal(unit_text(l, 0), "/a/0?10 /a/0=8 ");
    committed(l, 11);
    events(l, {"/a/0", 11, "8"});
    settle(l);
    assert_int_equal(l->patches->n_units, 2);
    assert_int_equal(l->patches->units[0]->groups, 2);
    assert_string_equal(unit_text(l, 0), "/a/0?11 /a/0=10 ");
}

/* SEMANTICS 15: groups are not evaluated before the cache has the worker's own last commit. */
static void test_retry_waits_for_the_barrier(void **state) {
    (void)state;
    start(three);
    refused(l, 2, 20, 10);
    events(l, {"/a/2", 10, "7"});
    wait_ms(l, 5000);
    assert_int_equal(l->commits, 0);
    events(l, {"/a/0", 20, "2"}, {"/a/1", 20, "2"});
    settle(l);
    assert_int_equal(l->commits, 1);
}

/* If a load begins while a batch is undecided or a group waits, groups are evaluated only on the complete snapshot. */
static void test_resync_while_undecided(void **state) {
    (void)state;
    start(three);
    const kv one[] = {{"/a/0", 12, "5"}}, two[] = {{"/a/1", 3, "1"}};
    l->epoch++;
    page(l, 30, true, false, one, 1);
    refused(l, 0, 0, 12);
    settle(l);
    assert_int_equal(l->commits, 0);
    page(l, 30, false, true, two, 1);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/0?12 /a/0=6 ");
    assert_string_equal(unit_text(l, 2), "/a/2?0 /a/2=1 ");
}

/* A lost deletion (ETCD P6) refuses a batch that was evaluated without it. If the prefix was loaded again before the
 * refusal arrives, at no newer revision, the retry waits for nothing else. */
static void test_resync_before_refused_by_deletion(void **state) {
    (void)state;
    start(three);
    const kv one[] = {{"/a/1", 3, "1"}};
    l->epoch++;
    page(l, 9, true, true, one, 1);
    settle(l);
    assert_int_equal(l->commits, 0);
    refused(l, 0, 0, 0);
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_string_equal(unit_text(l, 0), "/a/0?0 /a/0=1 ");
}

/* SEMANTICS 16: after EW_FINISHED the groups are still committed, however long it takes; then the run ends with
 * success, and no tick comes. */
static void test_finished(void **state) {
    (void)state;
    start(three_and_finish);
    assert_false(l->ended);
    refused(l, 1, 11, 12);
    assert_false(l->ended);
    events(l, {"/a/0", 11, "2"}, {"/a/1", 12, "5"});
    settle(l);
    committed(l, 13); /* the run does not wait for its event */
    assert_ended(l, EW_OK, "");
    assert_int_equal(l->ticks, 0);
    assert_done(&notes[2], EW_OK, 13);
}

/* SEMANTICS 7, 16: a stop after EW_FINISHED, while the last batch is in flight: if all groups are committed, the run
 * ends with success. */
static void test_finished_and_stopped(void **state) {
    (void)state;
    start(three_and_finish);
    stop_ticking(l, EW_ERR_CANCELLED);
    committed(l, 13);
    assert_ended(l, EW_OK, "");

    use(&plain_config);
    start(three_and_finish);
    stop_ticking(l, EW_ERR_SESSION_DONE);
    committed(l, 13);
    assert_ended(l, EW_ERR_SESSION_DONE, "");

    use(&plain_config);
    start(three_and_finish);
    stop_ticking(l, EW_ERR_CANCELLED);
    refused(l, 1, 13, 0);
    assert_ended(l, EW_ERR_CANCELLED, "");
    assert_done(&notes[0], EW_OK, 13);
    assert_done(&notes[1], EW_ERR_CANCELLED, 0);
}

/* SEMANTICS 16: the run does not end with success if a group was not committed, even if no group is pending after
 * it. */
static void end_of_the_last_group(int status) {
    use(&plain_config);
    start(three_and_finish);
    stop_ticking(l, EW_ERR_CANCELLED);
    Msg__Outcome o = outcome_of(l, status, 2, 13);
    take_outcome(l, o);
    assert_done(&notes[1], EW_OK, 13);
    assert_done(&notes[2], status, 0);
    assert_ended(l, EW_ERR_CANCELLED, "told to");
}

static void test_finished_but_not_committed(void **state) {
    (void)state;
    end_of_the_last_group(EW_ERR_CANCELLED);
    end_of_the_last_group(EW_ERR_UNKNOWN_OUTCOME);
    end_of_the_last_group(EW_ERR_DENIED);
}

/* SEMANTICS 7: a stop waits for the batch in flight. Groups that are not in flight get EW_ERR_CANCELLED. */
static void test_stop_while_committing(void **state) {
    (void)state;
    start(three);
    stop_ticking(l, EW_ERR_CANCELLED);
    assert_false(l->ended);
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);
    events(l, {"/a/x", 10, "1"}); /* no longer needed */
    Msg__Outcome o = outcome_of(l, EW_ERR_CANCELLED, 1, 12);
    o.detail = "stopped";
    take_outcome(l, o);
    assert_ended(l, EW_ERR_CANCELLED, "told to");
    assert_done(&notes[0], EW_OK, 12);
    assert_done(&notes[1], EW_ERR_CANCELLED, 0);
    assert_done(&notes[2], EW_ERR_CANCELLED, 0);
}

static void test_stop_while_awaiting(void **state) {
    (void)state;
    start(three);
    refused(l, 0, 0, 50);
    stop_ticking(l, EW_ERR_SESSION_DONE);
    assert_ended(l, EW_ERR_SESSION_DONE, "told to");
    assert_done(&notes[0], EW_ERR_CANCELLED, 0);
}

/* An unknown outcome: all groups of the batch that are not committed get EW_ERR_UNKNOWN_OUTCOME. */
static void test_unknown_outcome(void **state) {
    (void)state;
    for (int flag = 0; flag < 2; flag++) {
        use(&plain_config);
        start(three);
        Msg__Outcome o = outcome_of(l, flag ? EW_ERR_SESSION_DONE : EW_ERR_UNKNOWN_OUTCOME, 1, 12);
        o.unknown = flag;
        o.detail = "lost";
        take_outcome(l, o);
        assert_ended(l, flag ? EW_ERR_SESSION_DONE : EW_ERR_UNKNOWN_OUTCOME, "lost");
        assert_done(&notes[0], EW_OK, 12);
        assert_done(&notes[1], EW_ERR_UNKNOWN_OUTCOME, 0);
        assert_done(&notes[2], EW_ERR_UNKNOWN_OUTCOME, 0);
    }
}

/* The group that met an error which ends the run gets that error. The others were not written and get
 * EW_ERR_CANCELLED. */
static void test_failed_outcome(void **state) {
    (void)state;
    start(three);
    Msg__Outcome o = outcome_of(l, EW_ERR_DENIED, 1, 12);
    o.detail = "permission denied";
    take_outcome(l, o);
    assert_ended(l, EW_ERR_DENIED, "permission denied");
    assert_done(&notes[1], EW_ERR_DENIED, 0);
    assert_done(&notes[2], EW_ERR_CANCELLED, 0);
}

/* SEMANTICS 26: if the server finds a group too large, its callback gets the error and the run goes on. Without a
 * callback the run ends. */
static void test_too_large_for_the_server(void **state) {
    (void)state;
    start(three);
    Msg__Outcome o = outcome_of(l, EW_ERR_TOO_LARGE, 1, 12);
    o.detail = "etcd said so";
    take_outcome(l, o);
    assert_done(&notes[1], EW_ERR_TOO_LARGE, 0);
    assert_false(l->ended);
    events(l, {"/a/0", 12, "2"});
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/2?4 /a/2=2 ");

    use(&plain_config);
    start(hot); /* merged: first evaluated one by one */
    take_outcome(l, outcome_of(l, EW_ERR_TOO_LARGE, 0, 0));
    assert_false(l->ended);
    settle(l);
    assert_int_equal(l->patches->units[0]->groups, 1);
    o = outcome_of(l, EW_ERR_TOO_LARGE, 0, 0);
    o.detail = "etcd said so";
    take_outcome(l, o);
    assert_ended(l, EW_ERR_TOO_LARGE, "group 1: ");
}

/* An outcome of another batch is a breach: a message may be lost. While a batch is undecided the core stops the watcher
 * and the committer, so that the outcome comes, or never will. */
static void test_outcomes_of_other_batches(void **state) {
    (void)state;
    ticking_stats stats;
    start(three);
    Msg__Outcome o = outcome_of(l, EW_OK, 3, 12);
    o.batch = 9;
    o.detail = "why";
    take_outcome(l, o);
    assert_int_equal(ticking_get_state(l->t), TICKING_COMMITTING);
    assert_int_equal(l->peer_stops, 1);
    assert_int_equal(l->resyncs, 0);
    take_outcome(l, o); /* stopped only once */
    step(l, (ticking_event){.type = TICKING_BROKEN, .detail = "a body"});
    assert_int_equal(l->peer_stops, 1);
    committed(l, 12);
    assert_ended(l, EW_ERR_BAD_MESSAGE, "OUTCOME: batch 9, but another one is undecided: why");
    assert_done(&notes[0], EW_OK, 12);

    use(&plain_config);
    start(three);
    committed(l, 12);
    committed(l, 12); /* again */
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.breaches, 1);
    assert_int_equal(l->resyncs, 1);
    assert_false(l->ended);
}

/* A message that cannot be decoded may have been the outcome. */
static void test_an_outcome_may_be_lost(void **state) {
    (void)state;
    start(three);
    step(l, (ticking_event){.type = TICKING_BROKEN, .detail = "a body of 2 bytes is not a Message"});
    assert_int_equal(l->peer_stops, 1);
    assert_false(l->ended);
    committed(l, 12);
    assert_ended(l, EW_ERR_BAD_MESSAGE, "a body of 2 bytes is not a Message");
    assert_done(&notes[0], EW_OK, 12);
}

/* An outcome that contradicts itself ends the run; the groups get EW_ERR_UNKNOWN_OUTCOME. */
static void test_bad_outcomes(void **state) {
    (void)state;
    static const int statuses[] = {EW_OK, EW_ERR_REFUSED, EW_OK, 5, EW_OK};
    static const uint32_t units[] = {2, 3, 4, 1, 3};
    for (int i = 0; i < 5; i++) {
        use(&plain_config);
        start(three);
        Msg__Outcome o = outcome_of(l, statuses[i], units[i], 12);
        o.n_revisions -= i == 4;
        take_outcome(l, o);
        assert_ended(l, EW_ERR_BAD_MESSAGE, "OUTCOME: ");
        assert_ended(l, EW_ERR_BAD_MESSAGE, "is contradictory");
        assert_done(&notes[0], EW_ERR_UNKNOWN_OUTCOME, 0);
    }
}

static int bad_group(life *self, ew_tick *t) {
    three(self, t);
    ew_group_put(ew_tick_group(t), s("/outside"), s("1"));
    return EW_FINISHED;
}

/* SEMANTICS 22: a tick with an invalid group ends the run; none of its groups is sent. */
static void test_failed_group(void **state) {
    (void)state;
    start(bad_group);
    assert_ended(l, EW_ERR_OUTSIDE_PREFIX, "group 4");
    assert_non_null(strstr(l->end_detail, "/outside"));
    assert_int_equal(l->commits, 0);
    assert_done(&notes[0], EW_ERR_CANCELLED, 0);
}

/* Freeing the core calls the callbacks of undecided groups: EW_ERR_UNKNOWN_OUTCOME if in flight, otherwise
 * EW_ERR_CANCELLED. */
static void test_free_calls_the_callbacks(void **state) {
    (void)state;
    start(three);
    use(&plain_config);
    assert_done(&notes[0], EW_ERR_UNKNOWN_OUTCOME, 0);
    start(three);
    refused(l, 0, 0, 50);
    use(&plain_config);
    assert_done(&notes[0], EW_ERR_CANCELLED, 0);
}

/* ---- expectations ---- */

static done_note expecting, beside;
static int expecting_answers;

/* Makes three groups; the second one expects /a/1. */
static int expects_one(life *self, ew_tick *t) {
    (void)self;
    memset(&expecting, 0, sizeof expecting);
    memset(&beside, 0, sizeof beside);
    ew_group_put(ew_tick_group(t), s("/a/0"), s("x"));
    ew_group *g = ew_tick_group(t);
    ew_group_expect(g, s("/a/1"));
    ew_group_put(g, s("/a/new"), s("x"));
    ew_group_on_done(g, note_done, &expecting);
    g = ew_tick_group(t);
    ew_group_put(g, s("/a/2"), s("x"));
    ew_group_on_done(g, note_done, &beside);
    return expecting_answers;
}

static void assert_dropped(uint64_t count) {
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.groups_dropped, count);
}

/* SEMANTICS 36: a refused group whose expectation does not hold is dropped, not evaluated again. The others go on, and
 * a tick follows. */
static void test_stale(void **state) {
    (void)state;
    expecting_answers = EW_OK;
    start(expects_one);
    assert_string_equal(unit_text(l, 1), "/a/1?3 /a/new?0 /a/new=x ");
    refused(l, 1, 10, 11);
    events(l, {"/a/0", 10, "x"}, {"/a/1", 11, NULL});
    settle(l);
    assert_done(&expecting, EW_ERR_STALE, 11);
    assert_string_equal(unit_text(l, 0), "/a/2?4 /a/2=x ");
    assert_dropped(1);
    assert_int_equal(l->ticks, 0); /* not before all are decided */
    committed(l, 12);
    assert_done(&beside, EW_OK, 12);
    progress(l, 12);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->tick_revision, 12);
}

/* A key that was deleted and created again, or absent and then created, is not as the tick saw it. */
static void test_stale_by_a_recreated_key(void **state) {
    (void)state;
    expecting_answers = EW_OK;
    start(expects_one);
    refused(l, 1, 10, 12);
    events(l, {"/a/0", 10, "x"}, {"/a/1", 11, NULL}, {"/a/1", 12, "1"});
    settle(l);
    assert_done(&expecting, EW_ERR_STALE, 12);
}

/* A group that was refused for another reason is evaluated again as long as its expectation holds. */
static void test_expectation_that_holds_is_kept(void **state) {
    (void)state;
    expecting_answers = EW_OK;
    start(expects_one);
    refused(l, 1, 10, 11);
    events(l, {"/a/0", 10, "x"}, {"/a/new", 11, "another's"});
    settle(l);
    assert_int_equal(expecting.calls, 0);
    assert_string_equal(unit_text(l, 0), "/a/1?3 /a/new?11 /a/new=x ");
    committed(l, 12);
    assert_done(&expecting, EW_OK, 12);
    assert_dropped(0);
}

/* SEMANTICS 16, 36: a stale group also cancels the EW_FINISHED of its tick, since the tick saw an old state. */
static void test_stale_after_finished(void **state) {
    (void)state;
    expecting_answers = EW_FINISHED;
    start(expects_one);
    refused(l, 1, 10, 11);
    events(l, {"/a/0", 10, "x"}, {"/a/1", 11, "2"});
    settle(l);
    assert_done(&expecting, EW_ERR_STALE, 11);
    committed(l, 12);
    assert_false(l->ended);
    l->on_tick = expects_one;
    events(l, {"/a/2", 12, "x"});
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_string_equal(unit_text(l, 1), "/a/1?11 /a/new?0 /a/new=x ");
    committed(l, 13);
    assert_done(&expecting, EW_OK, 13);
    assert_ended(l, EW_OK, "");
}

static int expects_an_own_write(life *self, ew_tick *t) {
    (void)self;
    memset(&expecting, 0, sizeof expecting);
    ew_group_put(ew_tick_group(t), s("/a/1"), s("x"));
    ew_group *g = ew_tick_group(t);
    ew_group_expect(g, s("/a/1"));
    ew_group_put(g, s("/a/1"), s("y"));
    ew_group_on_done(g, note_done, &expecting);
    return EW_OK;
}

/* A write of an earlier group of the same tick counts like one of another writer: the later group is not merged with it
 * and not evaluated on top of it. If the earlier group is refused, the expectation may still hold. */
static void test_stale_by_an_earlier_group(void **state) {
    (void)state;
    start(expects_an_own_write);
    assert_int_equal(l->patches->n_units, 1);
    assert_string_equal(unit_text(l, 0), "/a/1?3 /a/1=x ");
    committed(l, 10);
    assert_int_equal(expecting.calls, 0); /* not before the cache has that write */
    events(l, {"/a/1", 10, "x"});
    settle(l);
    assert_done(&expecting, EW_ERR_STALE, 10);
    assert_int_equal(l->ticks, 1);
}

/* With `coalesce` off, the cache may be newer than the tick when the tick's groups are evaluated. */
static void test_stale_before_the_commit(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load(l, 9, {"/a/0", 2, "1"}, {"/a/1", 3, "1"}, {"/a/2", 4, "1"});
    events(l, {"/a/9", 10, "1"}, {"/a/1", 11, "2"});
    expecting_answers = EW_OK;
    l->on_tick = expects_one;
    step(l, (ticking_event){.type = TICKING_TIMER});
    l->on_tick = NULL;
    assert_int_equal(l->tick_revision, 9);
    assert_int_equal(l->patches->n_units, 1); /* the one before it, which may still be refused */
    committed(l, 12);
    events(l, {"/a/0", 12, "x"});
    settle(l);
    assert_done(&expecting, EW_ERR_STALE, 12);
}

/* ---- submits ---- */

static void give(uint64_t id, submit *u) {
    step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &u->message, .submit_id = id});
}

static void give_put(uint64_t id, const char *key) {
    submit u;
    give(id, submit_put(submit_init(&u), key, "submitted"));
}

static void assert_reply(uint64_t id, int status, int64_t revision) {
    assert_int_equal(l->replies, 1);
    assert_int_equal(l->reply_id, id);
    assert_string_equal(ew_errname(l->reply_status), ew_errname(status));
    assert_int_equal(l->reply_revision, revision);
    l->replies = 0;
}

/* A submit is committed even if no tick is due. */
static void test_submit(void **state) {
    (void)state;
    start(NULL);
    submit u;
    submit_delete(submit_put(submit_init(&u), "/a/new", "1"), "/a/0");
    give(7, &u);
    assert_int_equal(l->replies, 0);
    assert_int_equal(ticking_deadline_ms(l->t), 0);
    settle(l);
    assert_int_equal(l->ticks, 0);
    assert_string_equal(unit_text(l, 0), "/a/new?0 /a/0?2 /a/new=1 -/a/0 ");
    committed(l, 12);
    assert_reply(7, EW_OK, 12);
}

/* A submit that comes during the load waits for it. */
static void test_submit_before_the_load(void **state) {
    (void)state;
    give_put(1, "/a/x");
    settle(l);
    assert_int_equal(l->replies, 0);
    load_empty(l, 9);
    settle(l); /* the first tick comes first; the submit follows its groups */
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->commits, 1);
    committed(l, 10);
    assert_reply(1, EW_OK, 10);
}

/* A submit is evaluated after the pending groups, and does not delay a due tick without end. */
static void test_submit_after_groups(void **state) {
    (void)state;
    start(three);
    give_put(1, "/a/x");
    committed(l, 10);
    assert_int_equal(l->replies, 0);
    l->on_tick = three;
    events(l, {"/a/0", 10, "2"}, {"/a/1", 10, "2"}, {"/a/2", 10, "2"});
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->patches->n_units, 4);
    assert_string_equal(unit_text(l, 3), "/a/x?0 /a/x=submitted ");

    use(&plain_config);
    start(three);
    refused(l, 0, 0, 10);
    give_put(2, "/a/x");
    events(l, {"/a/0", 10, "7"});
    settle(l);
    assert_int_equal(l->patches->n_units, 4);
}

/* Compares of a submit are evaluated on the cache. Those that hold become guards of the commit; one that does not hold
 * refuses the submit for good. */
static void test_submit_compares(void **state) {
    (void)state;
    start(NULL);
    submit u;
    give(1, submit_if(submit_put(submit_init(&u), "/a/x", "1"), "/a/0", "1"));
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/0?2 /a/x?0 /a/x=1 ");
    refused(l, 0, 0, 10);
    assert_int_equal(l->replies, 0); /* the guard did not hold; the compare may */
    events(l, {"/a/0", 10, "changed"});
    settle(l);
    assert_reply(1, EW_ERR_REFUSED, 10);
    assert_string_equal(l->reply_detail, "the compare of /a/0 does not hold: the key has another value");
    assert_int_equal(ticking_get_state(l->t), TICKING_READY);

    static const struct {
        const char *key, *value;
        bool holds;
        const char *why;
    } cases[] = {{"/a/1", "1", true, ""},
                 {"/a/1", "2", false, "the compare of /a/1 does not hold: the key has another value"},
                 {"/a/1", NULL, false, "the compare of /a/1 does not hold: the key exists"},
                 {"/a/none", NULL, true, ""},
                 {"/a/none", "", false, "the compare of /a/none does not hold: the key is absent"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        l->commits = 0;
        l->on_tick = NULL;
        give(2, submit_if(submit_put(submit_init(&u), "/a/x", "1"), cases[i].key, cases[i].value));
        settle(l);
        assert_int_equal(l->commits, cases[i].holds);
        if (cases[i].holds) {
            committed(l, 10);
            assert_reply(2, EW_OK, 10);
        } else {
            assert_reply(2, EW_ERR_REFUSED, 10);
        }
        assert_string_equal(l->reply_detail, cases[i].why);
    }
}

/* A compare that does not hold only because of an undecided group is evaluated again when that group is decided. */
static void test_submit_compare_after_a_group(void **state) {
    (void)state;
    start(three);
    submit u;
    give(1, submit_if(submit_put(submit_init(&u), "/a/x", "1"), "/a/0", "1"));
    refused(l, 0, 0, 10);
    events(l, {"/a/0", 10, "1"});
    settle(l);
    assert_int_equal(l->patches->n_units, 3); /* the submit waits: its compare would not hold after the first group */
    assert_int_equal(l->replies, 0);
    committed(l, 11);
    events(l, {"/a/0", 11, "2"}, {"/a/1", 11, "2"}, {"/a/2", 11, "2"});
    settle(l);
    assert_reply(1, EW_ERR_REFUSED, 11);
}

static void test_invalid_submits(void **state) {
    (void)state;
    start(NULL);
    submit u;
    give(1, submit_if(submit_init(&u), "/a/0", "1"));
    assert_reply(1, EW_ERR_BAD_MESSAGE, 0);
    give(2, submit_put(submit_init(&u), "/b", "1"));
    assert_reply(2, EW_ERR_OUTSIDE_PREFIX, 0);
    assert_non_null(strstr(l->reply_detail, "/b"));
    give(3, submit_delete(submit_init(&u), COUNTER));
    assert_reply(3, EW_ERR_OUTSIDE_PREFIX, 0);
    give(4, submit_if(submit_put(submit_init(&u), "/a/x", "1"), "/c", NULL));
    assert_reply(4, EW_ERR_OUTSIDE_PREFIX, 0);
    give(5, submit_if(submit_put(submit_init(&u), "/a/x", "1"), "/c", "1"));
    assert_reply(5, EW_ERR_OUTSIDE_PREFIX, 0);
    give(6, submit_delete(submit_put(submit_init(&u), "/a/x", "1"), "/a/x")); /* the same key twice is allowed */
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?0 -/a/x ");
}

static void test_submits_are_bounded(void **state) {
    (void)state;
    start(NULL);
    give_put(1, "/a/x");
    give_put(2, "/a/y");
    give_put(3, "/a/z");
    give_put(4, "/a/w");
    assert_reply(4, EW_ERR_BUSY, 0);
    settle(l);
    committed(l, 10);
    assert_int_equal(l->replies, 3);
    give_put(5, "/a/w");
    assert_int_equal(l->replies, 3);
}

static void test_submit_too_large(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.max_txn_bytes = 350;
    use(&config);
    start(NULL);
    give_put(1, "/a/a-key-that-takes-the-rest-of-what-is-left");
    settle(l);
    assert_reply(1, EW_ERR_TOO_LARGE, 0);
    assert_non_null(strstr(l->reply_detail, "a submitted group: 1 keys"));
    assert_false(l->ended);
}

/* When the run ends, every submit gets a reply. */
static void test_submits_at_the_end(void **state) {
    (void)state;
    start(three_and_finish);
    give_put(1, "/a/x");
    assert_reply(1, EW_ERR_CANCELLED, 0); /* no tick and no group comes any more */

    use(&plain_config);
    start(three);
    give_put(2, "/a/x");
    stop_ticking(l, EW_ERR_CANCELLED);
    give_put(3, "/a/x");
    assert_reply(3, EW_ERR_CANCELLED, 0);
    committed(l, 10);
    assert_reply(2, EW_ERR_CANCELLED, 0);
    assert_ended(l, EW_ERR_CANCELLED, "");

    use(&plain_config);
    start(NULL);
    give_put(4, "/a/x");
    settle(l);
    Msg__Outcome o = outcome_of(l, EW_ERR_UNKNOWN_OUTCOME, 0, 0);
    o.detail = "lost";
    take_outcome(l, o);
    assert_reply(4, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_string_equal(l->reply_detail, "lost");
}

/* A constant stream of submits does not prevent ticks. */
static void test_submits_do_not_starve_ticks(void **state) {
    (void)state;
    start(NULL);
    int64_t revision = 10;
    for (int i = 0; i < 20; i++) {
        give_put(100, "/a/x");
        settle(l);
        committed(l, revision);
        give_put(101, "/a/y"); /* waits already when the gate opens */
        events(l, {"/a/x", revision, "submitted"});
        settle(l);
        committed(l, ++revision);
        events(l, {"/a/y", revision, "submitted"});
        revision++;
        settle(l);
    }
    assert_int_equal(l->ticks, 40);
    assert_int_equal(l->replies, 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_committed_without_revisions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_by_deletion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_by_a_change_already_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conflict_backoff, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conflict_backoff_is_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conflict_backoff_has_jitter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_at_the_highest_revision, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_merge_on_a_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retry_waits_for_the_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resync_while_undecided, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resync_before_refused_by_deletion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finished_and_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finished_but_not_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_while_committing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_while_awaiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large_for_the_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_outcomes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outcomes_of_other_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_outcome_may_be_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_calls_the_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_by_a_recreated_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expectation_that_holds_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_after_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_by_an_earlier_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_before_the_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit_before_the_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit_after_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit_compares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit_compare_after_a_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invalid_submits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submits_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submits_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submits_do_not_starve_ticks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
