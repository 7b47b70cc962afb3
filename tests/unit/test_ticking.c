/* The ticking core: the cache, the gate, and when it ticks the reactor. */
#include "unit/ticking_fixture.h"

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

static int put_x(life *self, ew_tick *t) {
    (void)self;
    return ew_group_put(ew_tick_group(t), EW_STR("/a/x"), EW_STR("mine"));
}

static int finish(life *self, ew_tick *t) {
    (void)self;
    (void)t;
    return EW_FINISHED;
}

/* SEMANTICS 1: a new core has no revision and no barrier, and nothing is due. */
static void test_new(void **state) {
    (void)state;
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.barrier_revision, -1);
    assert_int_equal(stats.revision, 0);
    assert_int_equal(ticking_get_state(l->t), TICKING_LOADING);
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);
}

/* SEMANTICS 3: the reactor gets the snapshot first, in key order, marked as initial; the first tick comes as soon as
 * the snapshot is complete. */
static void test_load_in_pages(void **state) {
    (void)state;
    const kv one[] = {{"/a", 3, "bare"}, {"/a/x", 2, "1"}}, two[] = {{"/a/y", 4, ""}};
    l->epoch = 1;
    page(l, 9, true, false, one, 2);
    settle(l);
    assert_int_equal(l->ticks, 0);
    page(l, 9, false, false, NULL, 0);
    page(l, 9, false, true, two, 1);
    assert_int_equal(ticking_deadline_ms(l->t), 0);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->resets, 1);
    assert_int_equal(l->tick_revision, 9);
    assert_int_equal(l->tick_number, 0);
    assert_string_equal(l->shown, "*/a=bare@3 */a/x=1@2 */a/y=@4 ");
    ew_event e;
    assert_false(ticking_take_update(l->t, &e)); /* only during a tick */
    assert_int_equal(ticking_get_state(l->t), TICKING_READY);
}

/* SEMANTICS 3: with `tick_on_load` off, the first tick waits for a change or the timer. */
static void test_no_tick_on_load(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.tick_on_load = false;
    use(&config);
    load(l, 9, {"/a/x", 2, "1"});
    settle(l);
    assert_int_equal(l->ticks, 0);
    events(l, {"/a/x", 10, "2"});
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_string_equal(l->shown, "*/a/x=1@2 +/a/x=2@10 ");
}

/* If the first load starts again (its revision was compacted), the reactor gets only the complete snapshot. */
static void test_first_load_starts_over(void **state) {
    (void)state;
    const kv half[] = {{"/a/gone", 2, "1"}, {"/a/x", 3, "1"}};
    l->epoch = 1;
    page(l, 9, true, false, half, 2);
    load(l, 12, {"/a/x", 11, "2"});
    settle(l);
    assert_string_equal(l->shown, "*/a/x=2@11 ");
    assert_int_equal(l->resets, 1);
    l->epoch = 5;
    page(l, 13, true, false, NULL, 0);
    page(l, 14, true, true, half, 1); /* the same epoch, from its start */
    settle(l);
    assert_int_equal(l->tick_revision, 14);
}

/* SEMANTICS 13: after a second load, keys that disappeared arrive as deletes and changed keys as puts; no tick comes in
 * between. */
static void test_resync(void **state) {
    (void)state;
    load(l, 9, {"/a/b", 2, "1"}, {"/a/d", 3, "1"}, {"/a/f", 4, "1"}, {"/a/h", 5, "1"});
    settle(l);
    look(l);
    const kv one[] = {{"/a/a", 20, "new"}, {"/a/d", 21, "2"}}, two[] = {{"/a/f", 4, "1"}, {"/a/g", 22, "new"}};
    l->epoch = 2;
    page(l, 30, true, false, one, 2);
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);
    wait_ms(l, 5000);
    assert_int_equal(l->ticks, 0);
    page(l, 30, false, true, two, 2);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->resets, 0);
    assert_int_equal(l->tick_revision, 30);
    assert_string_equal(l->shown, "+/a/a=new@20 -/a/b@30 +/a/d=2@21 +/a/g=new@22 -/a/h@30 ");
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.snapshots, 2);
    assert_int_equal(stats.keys, 4);
}

/* SEMANTICS 13: a second load that changes nothing makes no tick. */
static void test_resync_without_changes(void **state) {
    (void)state;
    load(l, 9, {"/a/b", 2, "1"});
    settle(l);
    look(l);
    load(l, 30, {"/a/b", 2, "1"});
    settle(l);
    assert_int_equal(l->ticks, 0);
}

static ticking_stats stats_now(void) {
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    return stats;
}

/* Every message carries the epoch of a snapshot. Messages of an earlier epoch are dropped and counted. */
static void test_epochs(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 2, "1"});
    load(l, 9, {"/a/x", 2, "1"}); /* epoch 2 */
    l->epoch = 1;
    events(l, {"/a/x", 10, "2"});
    progress(l, 50);
    page(l, 60, true, true, NULL, 0);
    page(l, 60, false, true, NULL, 0);
    assert_int_equal(stats_now().bad_messages, 4);
    assert_int_equal(stats_now().breaches, 0);
    assert_int_equal(stats_now().revision, 9);
    assert_int_equal(l->resyncs, 0);
    assert_true(stats_now().synced);
    assert_false(l->ended);
}

/* Checks that a breach was counted, that the core asked for a load, and that it is not synced until then. Starts again
 * with a new core. */
static void expect_breach(const char *names) {
    assert_int_equal(stats_now().breaches, 1);
    assert_int_equal(stats_now().bad_messages, 1);
    assert_int_equal(l->resyncs, 1);
    assert_false(stats_now().synced);
    if (!strstr(l->logs, names))
        fail_msg("\"%s\" does not say \"%s\"", l->logs, names);
    l->epoch = 8;
    load(l, 90, {"/a/x", 80, "healed"});
    settle(l);
    assert_int_equal(l->resyncs, 1);
    assert_true(stats_now().synced);
    assert_int_equal(stats_now().revision, 90);
    assert_false(l->ended);
    use(&plain_config);
    load(l, 9, {"/a/x", 2, "1"});
    settle(l);
    look(l);
}

/* A message that cannot follow the messages before it is a breach. */
static void test_breaches(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 2, "1"});
    settle(l);
    look(l);
    page(l, 9, true, true, NULL, 0); /* of an epoch that is complete */
    expect_breach("SNAPSHOT: a page of epoch 1, revision 9");
    page(l, 9, false, true, NULL, 0); /* the same epoch, a later page */
    expect_breach("SNAPSHOT: ");
    l->epoch = 3;
    page(l, 20, false, true, NULL, 0); /* its first page did not come */
    expect_breach("SNAPSHOT: a page of epoch 3, revision 20, does not follow epoch 1");
    page(l, 0, true, true, NULL, 0); /* without a revision */
    expect_breach("SNAPSHOT: ");
    l->epoch = 3;
    events(l, {"/a/x", 10, "2"}); /* of a snapshot that did not come */
    expect_breach("EVENTS: epoch 3");
    l->epoch = 3;
    progress(l, 10);
    expect_breach("PROGRESS: epoch 3");
    progress(l, 8); /* below the observed revision */
    expect_breach("PROGRESS: revision 8 is below 9");
    events(l, {"/a/x", 9, "2"});
    expect_breach("EVENTS: revision 9 is not above 9");
    send_checked(l, 7, true, EW_OK, NULL, 0);
    expect_breach("CHECKED: check 7, but the last one is 0");
    step(l, (ticking_event){.type = TICKING_BROKEN, .detail = "a body of 2 bytes is not a Message"});
    expect_breach("a body of 2 bytes is not a Message");
    Msg__Outcome o = MSG__OUTCOME__INIT;
    o.batch = 7;
    take_outcome(l, o);
    expect_breach("OUTCOME: batch 7, but no batch is undecided");
}

/* After a breach the core forgets the revision that it received: a load below it is not reported as a fall of etcd's
 * revision. */
static void test_a_breach_forgets_the_received_revision(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 2, "1"});
    settle(l);
    look(l);
    progress(l, 1000);
    events(l, {"/a/y", 1000, "phantom"});
    assert_int_equal(l->resyncs, 1);
    load(l, 12, {"/a/x", 11, "2"});
    settle(l);
    assert_false(l->ended);
    assert_int_equal(stats_now().revision, 12);
    events(l, {"/a/x", 13, "3"});
    settle(l);
    assert_string_equal(l->shown, "+/a/x=2@11 +/a/x=3@13 ");
    load_empty(l, 10);
    assert_ended(l, EW_ERR_REVISION_FELL, "10");
}

/* One load repairs several breaches. A breach during a load may have been a lost page, so another load follows. */
static void test_breaches_while_loading(void **state) {
    (void)state;
    l->epoch = 1;
    page(l, 9, true, false, NULL, 0);
    for (int i = 0; i < 3; i++)
        step(l, (ticking_event){.type = TICKING_BROKEN, .detail = "broken"});
    events(l, {"/a/x", 30, "2"});     /* in the middle of a snapshot */
    page(l, 8, false, true, NULL, 0); /* of another revision */
    assert_int_equal(stats_now().breaches, 5);
    assert_int_equal(l->resyncs, 0);
    page(l, 9, false, true, NULL, 0);
    settle(l);
    assert_int_equal(l->resyncs, 1);
    assert_false(stats_now().synced);
    step(l, (ticking_event){.type = TICKING_BROKEN, .detail = "broken"});
    assert_int_equal(l->resyncs, 1);
    load(l, 10, {"/a/x", 5, "1"});
    assert_true(stats_now().synced);
    assert_int_equal(l->resyncs, 1);
}

/* If the snapshot of a new epoch never completes while messages of the old one go on, the run ends. */
static void test_an_epoch_that_is_never_loaded(void **state) {
    (void)state;
    load_empty(l, 9);
    l->epoch = 1000;
    page(l, 9, true, false, NULL, 0);
    assert_false(stats_now().synced);
    l->epoch = 1;
    for (int i = 0; i < 1000; i++)
        progress(l, 10 + i);
    assert_false(l->ended); /* they may be late */
    l->now += 60001;
    l->epoch = 0;
    progress(l, 2000); /* without an epoch */
    assert_false(l->ended);
    l->epoch = 1;
    progress(l, 2000);
    assert_ended(l, EW_ERR_BAD_MESSAGE, "PROGRESS: epoch 1, but epoch 1000 was never loaded");
}

/* Events that were read before the contradiction was found are not shown to the reactor. */
static void test_events_that_contradict_themselves(void **state) {
    (void)state;
    const kv two[] = {{"/a/x", 10, "1"}, {"/a/y", 12, "1"}};
    for (int i = 0; i < 2; i++) {
        use(&plain_config);
        load_empty(l, 9);
        settle(l);
        look(l);
        Msg__Events e = pack_events(two, 2);
        Msg__Message m = MSG__MESSAGE__INIT;
        e.revision = i == 0 ? 11 : INT64_MAX;
        m.epoch = l->epoch;
        m.events = &e;
        send_message(l, &m);
        free(e.response.data);
        assert_ended(l, EW_ERR_BAD_MESSAGE, "EVENTS: revision ");
        assert_ended(l, EW_ERR_BAD_MESSAGE, "the highest mod_revision of its events is 12");
        assert_string_equal(l->shown, "");
    }
}

/* ETCD P7: a snapshot below the observed revision means that etcd lost data. */
static void test_revision_fell(void **state) {
    (void)state;
    load_empty(l, 9);
    load_empty(l, 8);
    assert_ended(l, EW_ERR_REVISION_FELL, "8");
}

static void send_raw_page(const char *bytes, size_t len) {
    Msg__Snapshot s = MSG__SNAPSHOT__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    s.revision = 9;
    s.first = s.last = true;
    s.page = (ProtobufCBinaryData){len, (uint8_t *)bytes};
    m.epoch = ++l->epoch;
    m.snapshot = &s;
    send_message(l, &m);
}

/* A page that cannot be decoded ends the run, since without it the cache would be wrong. */
static void test_pages_that_cannot_be_read(void **state) {
    (void)state;
    send_raw_page("\xff\xff", 2);
    assert_ended(l, EW_ERR_BAD_MESSAGE, "9");

    use(&plain_config);
    load(l, 9, {"/a/y", 2, "1"}, {"/a/x", 2, "1"}); /* not in order */
    assert_ended(l, EW_ERR_BAD_MESSAGE, "9");

    use(&plain_config);
    load(l, 9, {"/a/y", 0, "1"});
    assert_ended(l, EW_ERR_BAD_MESSAGE, "9");
}

static void test_events_that_cannot_be_read(void **state) {
    (void)state;
    load_empty(l, 9);
    Msg__Events e = MSG__EVENTS__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    e.revision = 10;
    e.response = binary("\xff\xff");
    m.epoch = l->epoch;
    m.events = &e;
    send_message(l, &m);
    assert_ended(l, EW_ERR_BAD_MESSAGE, "10");

    use(&plain_config);
    load_empty(l, 9);
    events(l, {"/a/x", 10, "1"}, {"/a/y", 0, "1"});
    assert_ended(l, EW_ERR_BAD_MESSAGE, "10");
}

/* SEMANTICS 2, 9, 22: the reactor sees neither sibling keys nor the counter nor receipts. */
static void test_hidden_keys(void **state) {
    (void)state;
    load(l, 9, {"/a-b/x", 2, "1"}, {"/a/meta/ticdc-delete-etcd-key-count", 3, "7"}, {"/a/receipts", 4, "1"},
         {"/a/receipts/w", 4, "1"}, {"/a/x", 5, "1"});
    settle(l);
    assert_string_equal(l->shown, "*/a/x=1@5 ");
    look(l);
    events(l, {"/a-b/x", 10, "2"}, {COUNTER, 11, "8"}, {"/a/receipts/w", 12, "2"}, {"/a/receipts/w", 13, NULL});
    settle(l);
    assert_int_equal(l->ticks, 0); /* no change that the reactor sees */
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 13); /* but the revisions were observed */
    assert_int_equal(stats.keys, 1);
    l->on_tick = put_x;
    events(l, {"/a/x", 14, "2"});
    settle(l);
    assert_int_equal(l->patches->delete_counter, 8);
}

/* SEMANTICS 2: the empty prefix is the whole keyspace. */
static void test_empty_prefix(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.prefix = EW_STR("");
    config.counter_key = EW_STR("/meta/ticdc-delete-etcd-key-count");
    config.receipt_prefix = EW_STR("/receipts");
    use(&config);
    load(l, 9, {"/meta/ticdc-delete-etcd-key-count", 3, "7"}, {"/receipts/w", 3, "1"}, {"x", 2, "1"});
    settle(l);
    assert_string_equal(l->shown, "*x=1@2 ");
}

static int64_t counter_now(void) {
    l->on_tick = put_x;
    l->now += 1000;
    settle(l);
    assert_int_equal(l->commits, 1);
    return l->patches->delete_counter;
}

/* SEMANTICS 9: if the counter's key is deleted, the count is 0 again: by an event, or if a snapshot does not have
 * it. */
static void test_counter_reset(void **state) {
    (void)state;
    load(l, 9, {COUNTER, 3, "7"});
    settle(l);
    events(l, {COUNTER, 10, NULL});
    assert_int_equal(counter_now(), 0);

    use(&plain_config);
    load(l, 9, {COUNTER, 3, "7"});
    settle(l);
    load_empty(l, 10);
    assert_int_equal(counter_now(), 0);
}

/* SEMANTICS 4: an invalid counter is an error that names the key. */
static void test_bad_counter(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "0", "-1", "+1", "07", "1x", " 1", "9223372036854775808", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        use(&plain_config);
        load(l, 9, {COUNTER, 3, bad[i]});
        assert_ended(l, EW_ERR_BAD_COUNTER, COUNTER);
        use(&plain_config);
        load_empty(l, 9);
        events(l, {COUNTER, 10, bad[i]});
        assert_ended(l, EW_ERR_BAD_COUNTER, COUNTER);
    }
    ticking_config config = plain_config;
    config.counter = false;
    use(&config);
    load(l, 9, {COUNTER, 3, "rubbish"});
    assert_false(l->ended);
    assert_int_equal(counter_now(), 0);
}

/* SEMANTICS 8: one update for each event, in order, never merged. SEMANTICS 5: one tick for changes that are ready
 * together. */
static void test_updates(void **state) {
    (void)state;
    load_empty(l, 9);
    settle(l);
    look(l);
    events(l, {"/a/x", 10, "1"}, {"/a/y", 10, "1"}, {"/a/x", 11, "2"});
    events(l, {"/a/x", 12, NULL}, {"/a/x", 13, "3"});
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->tick_revision, 13);
    assert_string_equal(l->shown, "+/a/x=1@10 +/a/y=1@10 +/a/x=2@11 -/a/x@12 +/a/x=3@13 ");
}

/* SEMANTICS 10: a put of an empty value is a put. */
static void test_empty_value(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 2, "1"});
    settle(l);
    look(l);
    events(l, {"/a/x", 10, ""});
    settle(l);
    assert_string_equal(l->shown, "+/a/x=@10 ");
}

/* Without an `update` function no event is kept for the reactor; ticks come as usual. */
static void test_no_updates_wanted(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.wants_updates = false;
    use(&config);
    load(l, 9, {"/a/x", 2, "1"});
    settle(l);
    events(l, {"/a/x", 10, NULL}, {"/a/y", 11, "2"});
    settle(l);
    assert_int_equal(l->ticks, 2);
    assert_string_equal(l->shown, "");
}

/* SEMANTICS 11: replayed events are dropped one by one, by mod_revision; a replayed put does not restore a deleted
 * key. */
static void test_replays(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 5, "1"});
    settle(l);
    events(l, {"/a/x", 10, "2"}, {"/a/y", 11, "1"}, {"/a/y", 12, NULL});
    settle(l);
    look(l);
    events(l, {"/a/x", 4, "0"}, {"/a/x", 10, "2"}, {"/a/y", 11, "1"}, {"/a/y", 12, NULL}, {"/a/z", 13, "1"},
           {"/a/x", 10, "2"}, {"/a/y", 11, "1"});
    settle(l);
    assert_string_equal(l->shown, "+/a/z=1@13 ");
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.events, 4);
}

/* A second event of the same key and revision, and a deletion of an absent key, change nothing. */
static void test_events_without_effect(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 5, "1"});
    settle(l);
    look(l);
    events(l, {"/a/x", 10, "2"}, {"/a/x", 10, "2"}, {"/a/none", 10, NULL}, {"/a/x", 10, NULL});
    settle(l);
    assert_string_equal(l->shown, "+/a/x=2@10 ");
}

/* SEMANTICS 5: without changes the timer ticks; missed timer ticks are not made up. */
static void test_timer(void **state) {
    (void)state;
    load_empty(l, 9);
    settle(l);
    look(l);
    assert_int_equal(ticking_deadline_ms(l->t), 6000);
    wait_ms(l, 999);
    step(l, (ticking_event){.type = TICKING_TIMER}); /* early */
    assert_int_equal(l->ticks, 0);
    wait_ms(l, 1);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(ticking_deadline_ms(l->t), 7000);
    wait_ms(l, 5500);
    assert_int_equal(l->ticks, 2);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 1000);
}

/* SEMANTICS 5: a change and the timer that are ready together make one tick. */
static void test_timer_and_event(void **state) {
    (void)state;
    load_empty(l, 9);
    settle(l);
    look(l);
    l->now += 1000;
    events(l, {"/a/x", 10, "1"});
    settle(l);
    assert_int_equal(l->ticks, 1);
}

/* SEMANTICS 6: changes are applied at once, ticks are merged. */
static void test_rate_limit(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.max_ticks_per_second = 10;
    use(&config);
    load_empty(l, 9);
    settle(l);
    look(l);
    for (int i = 1; i <= 10; i++) {
        events(l, {"/a/x", 9 + i, "1"});
        wait_ms(l, 9);
    }
    assert_int_equal(l->ticks, 0);
    assert_int_equal(ticking_deadline_ms(l->t), 5100);
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 19);
    wait_ms(l, 10);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->tick_revision, 19);
}

/* A limit of more than one tick per millisecond holds on average. */
static void test_rate_limit_above_the_clock(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.max_ticks_per_second = 5000;
    use(&config);
    load_empty(l, 9);
    settle(l);
    look(l);
    int64_t revision = 10;
    for (int ms = 0; ms < 100; ms++) {
        l->now++;
        for (int i = 0; i < 50; i++) {
            events(l, {"/a/x", revision++, "1"});
            settle(l);
        }
    }
    assert_in_range(l->ticks, 490, 510);
}

/* SEMANTICS 5: with `coalesce` off, one tick for each revision with a change that the reactor sees. */
static void test_coalesce_off(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load_empty(l, 9);
    events(l, {"/a/x", 10, "1"}); /* before the first tick */
    settle(l);
    assert_int_equal(l->ticks, 2);
    look(l);
    events(l, {"/a/x", 11, "1"}, {"/a/y", 11, "1"}, {"/b", 12, "hidden"}, {"/a/x", 13, NULL}, {"/a/x", 14, "2"});
    step(l, (ticking_event){.type = TICKING_TIMER});
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->tick_revision, 11);
    assert_string_equal(l->shown, "+/a/x=1@11 +/a/y=1@11 ");
    look(l);
    step(l, (ticking_event){.type = TICKING_TIMER});
    assert_int_equal(l->tick_revision, 13);
    assert_string_equal(l->shown, "-/a/x@13 ");
    look(l);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(l->tick_revision, 14);
}

static void test_coalesce_off_progress(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load_empty(l, 9);
    settle(l);
    ticking_stats stats;
    events(l, {"/a/x", 10, "1"}, {"/b", 11, "hidden"});
    progress(l, 20);
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 9); /* waiting changes are not observed yet */
    settle(l);
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 20);
    assert_int_equal(l->tick_revision, 10);
    events(l, {"/b", 21, "hidden"});
    look(l);
    settle(l);
    assert_int_equal(l->ticks, 0);
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 21);
}

/* SEMANTICS 8: while a group is undecided, revisions change the cache at once, and one tick shows them together. */
static void test_coalesce_off_while_committing(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load_empty(l, 9);
    l->on_tick = put_x;
    settle(l);
    l->on_tick = NULL;
    look(l);
    events(l, {"/a/y", 10, "1"}, {"/a/y", 11, "2"});
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 11);
    committed(l, 13);
    events(l, {"/a/z", 12, "1"}, {"/a/x", 13, "mine"}, {"/a/z", 14, "2"});
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 13);
    step(l, (ticking_event){.type = TICKING_TIMER});
    assert_int_equal(l->tick_revision, 13);
    settle(l);
    assert_int_equal(l->tick_revision, 14);
    assert_int_equal(l->ticks, 2);
}

/* With `coalesce` off, changes that exceed `max_pending_update_bytes` are shown together. */
static void test_coalesce_off_is_bounded(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    config.max_pending_update_bytes = 2000;
    use(&config);
    load_empty(l, 9);
    settle(l);
    look(l);
    for (int i = 0; i < 100; i++)
        events(l, {"/a/x", 10 + i, "value"});
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_true(stats.revision > 80);
    settle(l);
    assert_int_equal(l->tick_revision, 109);
    assert_int_equal(l->resets, 1);
}

/* With `coalesce` off, new changes queue after those that wait, in order, however many there are. */
static void test_coalesce_off_queue(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load_empty(l, 9);
    settle(l);
    int64_t sent = 10, ticked = 10;
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 5; i++)
            events(l, {"/a/x", sent++, "1"});
        for (int i = 0; i < 3; i++) {
            step(l, (ticking_event){.type = TICKING_TIMER});
            assert_int_equal(l->tick_revision, ticked++);
        }
    }
    settle(l);
    assert_int_equal(l->tick_revision, sent - 1);
    assert_int_equal(l->ticks, 1 + 150);
}

/* A second load while revisions wait: their updates are kept, and the load is compared with the state after them. */
static void test_coalesce_off_resync(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load_empty(l, 9);
    settle(l);
    look(l);
    events(l, {"/a/x", 10, "1"}, {"/a/y", 11, "1"});
    load(l, 20, {"/a/y", 11, "1"});
    settle(l);
    assert_string_equal(l->shown, "+/a/x=1@10 +/a/y=1@11 -/a/x@20 ");
}

/* SEMANTICS 12, 15: the gate opens when the worker's last commit is observed, by events or by a progress
 * notification. */
static void test_gate(void **state) {
    (void)state;
    load_empty(l, 9);
    l->on_tick = put_x;
    settle(l);
    assert_int_equal(ticking_get_state(l->t), TICKING_COMMITTING);
    assert_true(ticking_wants_outcome_only(l->t));
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);
    l->on_tick = NULL;
    look(l);
    events(l, {"/a/other", 10, "1"});
    committed(l, 12);
    assert_int_equal(ticking_get_state(l->t), TICKING_AWAITING);
    assert_false(ticking_wants_outcome_only(l->t));
    wait_ms(l, 3000); /* no tick, neither by the timer nor by the change */
    assert_int_equal(l->ticks, 0);
    progress(l, 11);
    settle(l);
    assert_int_equal(l->ticks, 0);
    progress(l, 12);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_string_equal(l->shown, "+/a/other=1@10 ");
    progress(l, 5); /* an old one */
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.revision, 12);
    assert_int_equal(stats.barrier_revision, 12);
}

/* If the commit's event comes before or with its outcome, the gate opens at once. */
static void test_event_before_outcome(void **state) {
    (void)state;
    load_empty(l, 9);
    l->on_tick = put_x;
    settle(l);
    l->on_tick = NULL;
    look(l);
    const kv mine = {"/a/x", 10, "mine"};
    Msg__Events e = pack_events(&mine, 1);
    Msg__Outcome o = outcome_of(l, EW_OK, 1, 10);
    Msg__Message m = MSG__MESSAGE__INIT;
    m.epoch = l->epoch;
    m.events = &e;
    m.outcome = &o; /* piggyback: one wake-up */
    send_message(l, &m);
    free(e.response.data);
    assert_int_equal(ticking_get_state(l->t), TICKING_READY);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_string_equal(l->shown, "+/a/x=mine@10 ");
}

/* If more updates wait than `max_pending_update_bytes` allows, the reactor is reset and gets the whole cache. */
static void test_updates_overflow(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.max_pending_update_bytes = 2000;
    use(&config);
    load(l, 9, {"/a/x", 5, "1"});
    l->on_tick = put_x;
    settle(l);
    assert_int_equal(l->resets, 1);
    l->on_tick = NULL;
    look(l);
    for (int i = 0; i < 50; i++)
        events(l, {"/a/y", 10 + i, "value"});
    assert_non_null(strstr(l->logs, "updates exceed"));
    events(l, {"/a/z", 70, "z"});
    committed(l, 71);
    events(l, {"/a/x", 71, "mine"});
    settle(l);
    assert_int_equal(l->resets, 1);
    assert_string_equal(l->shown, "*/a/x=mine@71 */a/y=value@59 */a/z=z@70 ");
    look(l);
    events(l, {"/a/z", 72, NULL}); /* then as usual */
    settle(l);
    assert_int_equal(l->resets, 0);
    assert_string_equal(l->shown, "-/a/z@72 ");
}

/* SEMANTICS 7: an error of the reactor's tick or update ends the run. */
static int fail_tick(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), EW_STR("/a/x"), EW_STR("1"));
    return EW_ERR_REACTOR;
}

static int odd_answer;

static int odd_tick(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), EW_STR("/a/x"), EW_STR("1"));
    return odd_answer;
}

/* A code that is not valid for a tick, such as one of another function, is an error, never success. */
static void test_invalid_codes_of_a_tick(void **state) {
    (void)state;
    static const struct {
        int answer;
        const char *detail;
    } cases[] = {{EW_UNCHANGED, "EW_UNCHANGED (1)"},
                 {EW_REMOVE, "EW_REMOVE (2)"},
                 {EW_IGNORE, "EW_IGNORE (3)"},
                 {EW_AGAIN, "EW_AGAIN (4)"},
                 {EW_DROP, "EW_DROP (5)"},
                 {EW_END, "EW_END (7)"},
                 {17, "EW_ERR_? (17)"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        use(&plain_config);
        odd_answer = cases[i].answer;
        l->on_tick = odd_tick;
        load_empty(l, 9);
        settle(l);
        assert_ended(l, EW_ERR_REACTOR, cases[i].detail);
        assert_int_equal(l->commits, 0);
    }
}

static int explained_status, explained_answer;

static int explained_tick(life *self, ew_tick *t) {
    (void)self;
    assert_true(ew_slice_equal(ew_tick_prefix(t), EW_STR("/a")));
    const int wanted = explained_status < 0 ? explained_status : EW_ERR_INVALID;
    assert_int_equal(ew_tick_fail(t, explained_status, "%d members, %s", 0, "which is not enough"), wanted);
    assert_int_equal(ew_tick_fail(t, EW_ERR_STATE, "not the first"), EW_ERR_STATE);
    assert_int_equal(ew_tick_fail(t, EW_OK, "not the first"), EW_ERR_INVALID);
    return explained_answer;
}

/* ew_tick_fail() sets the error text, and the run fails whatever the tick returns. */
static void test_tick_fail(void **state) {
    (void)state;
    static const int answers[] = {EW_ERR_REACTOR, EW_OK, EW_FINISHED, EW_ERR_NOT_FOUND};
    explained_status = EW_ERR_REACTOR;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        use(&plain_config);
        explained_answer = answers[i];
        l->on_tick = explained_tick;
        load_empty(l, 9);
        settle(l);
        assert_ended(l, EW_ERR_REACTOR, "");
        assert_string_equal(l->end_detail, "0 members, which is not enough");
    }
    use(&plain_config);
    explained_status = EW_FINISHED;
    l->on_tick = explained_tick;
    load_empty(l, 9);
    settle(l);
    assert_ended(l, EW_ERR_INVALID, "EW_FINISHED (6)");
}

static void test_reactor_fails(void **state) {
    (void)state;
    load_empty(l, 9);
    l->on_tick = fail_tick;
    settle(l);
    assert_ended(l, EW_ERR_REACTOR, "reactor");
    assert_int_equal(l->commits, 0);
    assert_int_equal(ticking_get_state(l->t), TICKING_DONE);
    events(l, {"/a/x", 10, "1"});
    assert_int_equal(l->effects.count, 0);
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);

    use(&plain_config);
    l->update_status = EW_ERR_INVALID;
    load(l, 9, {"/a/x", 2, "1"}, {"/a/y", 2, "1"});
    settle(l);
    assert_ended(l, EW_ERR_INVALID, "reactor");
    assert_string_equal(l->shown, "*/a/x=1@2 ");
}

/* SEMANTICS 16: EW_FINISHED without groups ends the run with success; no tick follows. */
static void test_finished(void **state) {
    (void)state;
    load_empty(l, 9);
    l->on_tick = finish;
    settle(l);
    assert_ended(l, EW_OK, "");
    assert_non_null(strstr(l->logs, "awaiting -> done"));
}

/* SEMANTICS 7: a stop ends the run. */
static void test_stop(void **state) {
    (void)state;
    stop_ticking(l, EW_ERR_CANCELLED); /* while loading */
    assert_ended(l, EW_ERR_CANCELLED, "told to");

    use(&plain_config);
    load_empty(l, 9);
    settle(l);
    stop_ticking(l, EW_ERR_SESSION_DONE);
    assert_ended(l, EW_ERR_SESSION_DONE, "told to");

    use(&plain_config);
    load_empty(l, 9);
    stop_ticking(l, EW_OK); /* before the first tick, without a status */
    assert_ended(l, EW_ERR_CANCELLED, "");
    assert_int_equal(l->ticks, 0);
}

static int stop_inside(life *self, ew_tick *t) {
    (void)t;
    step(self, (ticking_event){.type = TICKING_STOP, .status = EW_ERR_CANCELLED});
    assert_false(self->ended);
    return EW_OK;
}

static void test_stop_inside_a_tick(void **state) {
    (void)state;
    load_empty(l, 9);
    l->on_tick = stop_inside;
    settle(l);
    assert_ended(l, EW_ERR_CANCELLED, "");
}

/* ---- the reactor's view of a tick ---- */

static int read_all(life *self, ew_tick *t) {
    ew_entry e = {0};
    assert_int_equal(ew_tick_count(t), 5);
    assert_int_equal(ticking_tick_groups(t), 0);
    ew_tick_group(t);
    assert_int_equal(ticking_tick_groups(t), 1);
    assert_int_equal(ew_tick_get(t, EW_STR("/a/b"), &e), EW_OK);
    assert_int_equal(e.mod_revision, 3);
    assert_true(ew_slice_equal(e.value, EW_STR("2")));
    assert_int_equal(ew_tick_get(t, EW_STR("/a/none"), &e), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_tick_get(t, EW_STR(COUNTER), &e), EW_ERR_NOT_FOUND);
    e = (ew_entry){0};
    while (ew_tick_scan(t, EW_STR("/a/b"), &e))
        append(self->shown, sizeof self->shown, "%.*s ", (int)e.key.len, (const char *)e.key.data);
    ew_entry none = {0}, all = {0};
    assert_false(ew_tick_scan(t, EW_STR("/a/z"), &none));
    assert_false(ew_tick_scan(t, EW_STR("/b"), &none));
    int n = 0;
    while (ew_tick_scan(t, EW_STR(""), &all))
        n++;
    assert_int_equal(n, 5);
    /* Two scans in parallel: the second one is a step behind, and a third one resumes from a copy of the key. */
    ew_entry first = {0}, second = {0};
    while (ew_tick_scan(t, EW_STR("/a"), &first)) {
        char copy[8];
        memcpy(copy, first.key.data, first.key.len);
        ew_entry ahead = {.key = {copy, first.key.len}};
        bool more = ew_tick_scan(t, EW_STR("/a"), &ahead);
        assert_true(ew_tick_scan(t, EW_STR("/a"), &second));
        assert_true(ew_slice_equal(first.key, second.key));
        assert_true(more == (n > 1));
        n--;
    }
    assert_int_equal(n, 0);
    ew_entry one = {0}, other = {.key = EW_STR("/a/b")};
    assert_true(ew_tick_scan(t, EW_STR("/a"), &one));
    assert_true(ew_tick_scan(t, EW_STR("/a"), &other)); /* a key as long as the last one that was returned */
    assert_true(ew_slice_equal(other.key, EW_STR("/a/b/c")));
    /* A scan may resume from a key that does not exist. */
    ew_entry from = {.key = EW_STR("/a/ba")};
    assert_true(ew_tick_scan(t, EW_STR("/a/b"), &from));
    assert_true(ew_slice_equal(from.key, EW_STR("/a/bb")));
    return EW_FINISHED;
}

static void test_reads_of_a_tick(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.wants_updates = false;
    use(&config);
    load(l, 9, {"/a/a", 2, "1"}, {"/a/b", 3, "2"}, {"/a/b/c", 4, "3"}, {"/a/bb", 5, "4"}, {"/a/c", 6, "5"},
         {COUNTER, 7, "1"});
    l->on_tick = read_all;
    settle(l);
    assert_string_equal(l->shown, "/a/b /a/b/c /a/bb ");
}

/* No leak, whatever state the core is freed in (checked by the sanitizers). */
static void test_free_in_any_state(void **state) {
    (void)state;
    load(l, 9, {"/a/x", 2, "1"});
    use(&plain_config);
    const kv one = {"/a/x", 2, "1"};
    l->epoch = 1;
    page(l, 9, true, false, &one, 1);
    ticking_config config = plain_config;
    config.coalesce = false;
    use(&config);
    load(l, 9, {"/a/x", 2, "1"});
    events(l, {"/a/x", 10, "1"}, {"/a/x", 11, "2"});
    ticking_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_in_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_tick_on_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_load_starts_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resync_without_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_epochs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_breaches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_breach_forgets_the_received_revision, setup, teardown),
        cmocka_unit_test_setup_teardown(test_breaches_while_loading, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_epoch_that_is_never_loaded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_that_contradict_themselves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revision_fell, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages_that_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_that_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hidden_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_counter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_updates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_updates_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_without_effect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_and_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_limit_above_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalesce_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalesce_off_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalesce_off_while_committing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalesce_off_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalesce_off_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coalesce_off_resync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event_before_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(test_updates_overflow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reactor_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invalid_codes_of_a_tick, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tick_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_inside_a_tick, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_of_a_tick, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_in_any_state, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
