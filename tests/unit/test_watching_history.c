/* The watching core: whether etcd's history is still the one that was seen. */
#include "unit/watching_fixture.h"

#include <etcdworker/log.h>

#include <string.h>

/* Watches, and has seen two keys at revision 20; etcd has told that nothing happened up to `seen`. */
static void has_seen(fixture *f, int64_t seen) {
    watches(f, 10);
    response_comes(f, (response){.header = {20},
                                 .watch_id = 7,
                                 .events = {{"/a/0", 15, .value = "w"}, {"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}}});
    if (seen > 20)
        response_comes(f, (response){.header = {seen}, .watch_id = 7});
    assert_int_equal(f->witness.revision, seen);
}

/* The log says that the history was rewritten, the prefix is loaded at `revision`, and the snapshot says so too. */
static void loads_rewritten(fixture *f, const char *why, int64_t revision) {
    bool said = false;
    for (size_t i = 0; i < f->out.count; i++)
        if (f->out.list[i].type == WATCHING_DO_LOG && f->out.list[i].status == EW_LOG_ERROR)
            said = strstr(f->out.list[i].detail, why) != NULL;
    assert_true(said);
    is_in(f, WATCHING_SYNCING);
    assert_false(f->witness.connected);
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    uint64_t epoch = f->witness.epoch;
    if (f->witness.stream_out)
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    while (!f->witness.range_out)
        deadline_passes(f, 1000);
    page_comes(f, (page){.header = {revision}, .keys = {"/a/1"}});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(e->rewritten && e->first && e->epoch > epoch);
    assert_int_equal(e->revision, revision);
    completes(f);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure); /* it has just been read */
    response_comes(f, (response){.header = {revision + 1}, .watch_id = 7, .events = {{"/a/1", revision + 1}}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, revision + 1);
    told(f, WATCHING_RESYNC);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    while (!f->witness.range_out)
        deadline_passes(f, 1000);
    page_comes(f, (page){.header = {revision + 1}});
    assert_false(wants(f, WATCHING_DO_SEND_SNAPSHOT)->rewritten); /* that was the one before */
}

static void resumes(fixture *f, int64_t etcd_revision) {
    reopens_at(f, 20);
    is_created(f, etcd_revision);
}

/* ---- the same again ---- */

static void what_was_seen_comes_again(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 41);
    response_comes(f,
                   (response){.header = {41}, .watch_id = 7, .events = {{"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure);
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    response_comes(f, (response){.header = {41}, .watch_id = 7, .events = {{"/a/3", 41}}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, 41);
}

static void what_is_new_comes_with_it(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    resumes(f, 41);
    response_comes(f, (response){.header = {41},
                                 .watch_id = 7,
                                 .events = {{"/a/2", 20, 1}, {"/a/1", 20, .value = "v"}, {"/a/3", 41}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, 41);
    reopens_at(f, 41); /* the newest one counts from now on */
}

static void it_may_come_in_fragments(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    resumes(f, 21);
    response_comes(f,
                   (response){.header = {21}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 20, .value = "v"}}});
    assert_int_equal(effects(f), 0);
    response_comes(f, (response){.header = {21}, .watch_id = 7, .events = {{"/a/2", 20, 1}, {"/a/3", 21}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, 21);
}

/* ---- another history ---- */

static void comes_differently(void **state, response r, const char *why) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 60);
    r.header.revision = 60;
    r.watch_id = 7;
    response_comes(f, r);
    loads_rewritten(f, why, 60);
}

static void another_value(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 20, .value = "V"}, {"/a/2", 20, 1}}},
                      "as they were seen before");
}

static void another_key(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 20, .value = "v"}, {"/a/3", 20, 1}}},
                      "as they were seen before");
}

static void a_put_in_place_of_a_deletion(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 20, .value = "v"}, {"/a/2", 20}}},
                      "as they were seen before");
}

/* A key that is put with the same value again and again. */
static void another_number(void **state) {
    const change others[] = {{"/a/1", 20, .value = "v", .create_revision = 3},
                             {"/a/1", 20, .value = "v", .version = 2},
                             {"/a/1", 20, .value = "v", .lease = 5}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        comes_differently(state, (response){.events = {others[i], {"/a/2", 20, 1}}}, "as they were seen before");
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

static void one_event_less(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 20, .value = "v"}}}, "as they were seen before");
}

static void one_event_more(void **state) {
    comes_differently(state,
                      (response){.events = {{"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}, {"/a/3", 20, .value = "v"}}},
                      "as they were seen before");
}

/* Restored behind the last event: what others wrote then lies below what a progress notification said. */
static void something_where_nothing_was(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}, {"/a/3", 29}}},
                      "revisions 20 to 30");
}

static void nothing_of_it_but_newer_ones(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 31}}}, "revision 20, the last one seen");
}

static void a_progress_notification_in_its_place(void **state) {
    comes_differently(state, (response){0}, "revision 20, the last one seen");
}

/* A quiet prefix: etcd answers, so it has nothing to show. */
static void silence_in_its_place(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 60);
    response_comes(f, (response){.header = {60}, .watch_id = -1}); /* not asked for: may have overtaken it (ETCD P2) */
    assert_int_equal(effects(f), 0);
    deadline_passes(f, 5000);
    assert_non_null(wants(f, WATCHING_DO_REQUEST));
    response_comes(f, (response){.header = {60}, .watch_id = -1});
    loads_rewritten(f, "revision 20, the last one seen", 60);
}

/* ETCD P2: where no progress report is answered, three silent streams say the same. */
static void silence_without_an_answer(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 60);
    for (int i = 0; i < 2; i++) {
        deadline_passes(f, 5000 << i);
        assert_non_null(wants(f, WATCHING_DO_REQUEST));
        deadline_passes(f, 5000 << i);
        is_in(f, WATCHING_BROKEN);
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
        assert_int_equal(f->watch->create_request->start_revision, 20);
        is_created(f, 60);
    }
    deadline_passes(f, 20000);
    deadline_passes(f, 20000);
    loads_rewritten(f, "revision 20, the last one seen", 60);
}

/* The history was found to be another one, but the member that answers has not all of it: no older snapshot is taken at
 * once. */
static void a_rewritten_history_may_be_read_from_a_stale_member(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 60);
    response_comes(f, (response){.header = {60}, .watch_id = 7, .events = {{"/a/1", 31}}});
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {29}});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    deadline_passes(f, 1000);
    page_comes(f, (page){.header = {60}});
    assert_true(wants(f, WATCHING_DO_SEND_SNAPSHOT)->rewritten);
}

/* ---- nothing that could come again ---- */

/* Another history may well have the same deletion at the same revision: the keys themselves must tell. */
static void only_deletions_come_again(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    response_comes(f, (response){.header = {25}, .watch_id = 7, .events = {{"/a/1", 25, 1}, {"/a/0", 25, 1}}});
    reopens_at(f, 25);
    is_created(f, 41);
    response_comes(
        f, (response){.header = {41}, .watch_id = 7, .events = {{"/a/1", 25, 1}, {"/a/0", 25, 1}, {"/a/3", 41}}});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_HEALTH);
    assert_true(e->connected && e->unsure);
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, 41);
    reopens_at(f, 41);
    is_created(f, 41);
    response_comes(f, (response){.header = {41}, .watch_id = 7, .events = {{"/a/3", 41}}});
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure); /* a put is as good as the keys */
}

/* Compacted meanwhile, though nothing that is new is: the keys themselves must tell. */
static void what_was_seen_is_compacted(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 41);
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 30});
    is_in(f, WATCHING_BROKEN);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_int_equal(f->watch->create_request->start_revision, 31);
    response_comes(f, (response){.header = {41}, .watch_id = 7, .created = true});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_HEALTH);
    assert_true(e->connected && e->unsure);
    response_comes(f, (response){.header = {41}, .watch_id = 7, .events = {{"/a/3", 41}}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, 41);
    reopens_at(f, 41);
}

/* ETCD P4, P6: what is new may be compacted, too, or a watch from there loses events. */
static void what_is_new_is_compacted(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 41);
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 31});
    is_in(f, WATCHING_SYNCING);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {41}});
    assert_false(wants(f, WATCHING_DO_SEND_SNAPSHOT)->rewritten);
}

static void no_events_since_the_snapshot(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {30}, .watch_id = 7});
    reopens_at(f, 31);
    response_comes(f, (response){.header = {41}, .watch_id = 7, .created = true});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->unsure);
    response_comes(f, (response){.header = {41}, .watch_id = 7}); /* it goes on as any other */
    assert_int_equal(wants(f, WATCHING_DO_SEND_PROGRESS)->revision, 41);
}

static void the_first_stream_of_a_snapshot_is_sure_if_it_is_prompt(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    f->now_ms += 999;
    connects(f);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure);
    told(f, WATCHING_RESYNC);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {10}});
    f->now_ms += 1000;
    connects(f);
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->unsure);
}

/* etcd may have been restored between two pages. */
static void a_snapshot_that_was_interrupted_is_not_sure(void **state) {
    fixture *f = *state;
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE); /* before it began */
    deadline_passes(f, 1000);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    page_comes(f, (page){.header = {10}});
    connects(f);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure);
    told(f, WATCHING_RESYNC);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    deadline_passes(f, 1000);
    page_comes(f, (page){.header = {10}});
    connects(f);
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->unsure);
}

/* ---- a revision below what was seen ---- */

static void is_asking(fixture *f) {
    is_in(f, WATCHING_ASKING);
    assert_false(f->witness.connected);
    if (f->witness.stream_out)
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    is_in(f, WATCHING_ASKING);
    if (!f->witness.range_out)
        deadline_passes(f, 1000);
    assert_non_null(f->range);
    assert_int_equal(f->range->range_end.len, 0);
    assert_int_equal(f->range->revision, 0);
    assert_false(f->range->serializable);
}

static void answers_all(fixture *f, int64_t revision) {
    for (int i = 0; i < 5; i++) {
        is_asking(f);
        page_comes(f, (page){.header = {revision}});
    }
    is_asking(f);
    page_comes(f, (page){.header = {revision}});
}

static void a_fall_is_found_by_created(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    reopens_at(f, 20);
    response_comes(f, (response){.header = {12}, .watch_id = 7, .created = true});
    answers_all(f, 12);
    loads_rewritten(f, "etcd is at revision 12, but revision 30 was seen before", 12);
}

static void a_fall_is_found_by_a_notification(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    response_comes(f, (response){.header = {12}, .watch_id = 7});
    answers_all(f, 12);
    loads_rewritten(f, "revision 30 was seen", 12);
}

static void a_fall_is_found_by_a_requested_reply(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    response_comes(f, (response){.header = {12}, .watch_id = -1});
    answers_all(f, 12);
    loads_rewritten(f, "revision 30 was seen", 12);
}

/* A notification of a revision that never was, changed on the way: the next event shows it. */
static void a_revision_that_never_was(void **state) {
    fixture *f = *state;
    has_seen(f, INT64_C(1) << 40);
    response_comes(f, (response){.header = {31}, .watch_id = 7, .events = {{"/a/1", 31}}});
    answers_all(f, 31);
    loads_rewritten(f, "etcd is at revision 31, but revision 1099511627776 was seen before", 31);
}

static void only_the_member_was_behind(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    for (int i = 0; i < 20; i++) {
        response_comes(f, (response){.header = {29}, .watch_id = i % 2 ? -1 : 7, .created = !f->witness.connected});
        is_asking(f);
        page_comes(f, (page){.header = {29}}); /* also stale (ETCD P7) */
        is_asking(f);
        page_comes(f, (page){.header = {30}});
        resumes(f, 30);
        response_comes(
            f, (response){.header = {30}, .watch_id = 7, .events = {{"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}}});
        assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    }
    response_comes(f, (response){.header = {0}, .watch_id = -1}); /* says nothing */
    assert_int_equal(effects(f), 0);
    assert_int_equal(f->witness.epoch, 1);
}

static void asking_outlasts_an_etcd_that_is_away(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    response_comes(f, (response){.header = {12}, .watch_id = 7});
    for (int i = 0; i < 20; i++) {
        is_asking(f);
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    }
    is_asking(f);
    happens(f, (watching_event){.type = WATCHING_PAGE, .bytes = {"\xff", 1}});
    is_asking(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_DENIED);
    ends_with(f, EW_ERR_DENIED);
}

static void a_resync_while_asking(void **state) {
    fixture *f = *state;
    for (int answered = 0; answered < 2; answered++) {
        if (answered) {
            tear_down(state);
            assert_int_equal(set_up(state), 0);
            f = *state;
        }
        has_seen(f, 30);
        response_comes(f, (response){.header = {12}, .watch_id = 7});
        is_asking(f);
        told(f, WATCHING_RESYNC);
        is_in(f, WATCHING_SYNCING);
        if (answered)
            page_comes(f, (page){.header = {40}}); /* of the question, and no page */
        else
            failed(f, WATCHING_PAGE_FAILED, EW_ERR_DENIED);
        assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
        assert_non_null(wants(f, WATCHING_DO_RANGE));
        assert_memory_equal(f->range->range_end.data, "/a0", 3);
        page_comes(f, (page){.header = {40}});
        assert_non_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    }
}

/* ---- what the reactor finds ---- */

static void the_reactor_may_have_found_it(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 25, .rewritten = true});
    loads_rewritten(f, "detected by the reactor", 30);
}

/* The barrier of a commit that etcd does not have any more, or that never was. */
static void the_reactor_may_have_seen_more(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 77});
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    for (int i = 0; i < 5; i++) {
        page_comes(f, (page){.header = {31}});
        assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
        deadline_passes(f, 1000);
    }
    page_comes(f, (page){.header = {31}});
    loads_rewritten(f, "etcd is at revision 31, but revision 77 was seen before", 31);
}

/* It asks while the prefix is being loaded: what was read before does not count. */
static void the_reactor_has_seen_more_than_is_being_loaded(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    told(f, WATCHING_RESYNC);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {31}, .keys = {"/a/1"}, .more = true});
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 31}); /* it is no newer */
    assert_int_equal(effects(f), 0);
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 32});
    page_comes(f, (page){.header = {31}, .keys = {"/a/2"}}); /* of the load before */
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    if (!f->witness.range_out)
        deadline_passes(f, 1000);
    assert_int_equal(f->range->revision, 0);
    page_comes(f, (page){.header = {32}});
    assert_true(wants(f, WATCHING_DO_SEND_SNAPSHOT)->first);
    completes(f);
}

/* ---- changed on the way ---- */

/* Between the pieces of one revision etcd says nothing else: a flag was changed, and the piece was the last. */
static void a_reply_in_the_middle_of_a_revision(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    response_comes(f, (response){.header = {21}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 21}}});
    response_comes(f, (response){.header = {21}, .watch_id = -1});
    is_in(f, WATCHING_BROKEN);
    reopens_at(f, 20);
}

static void pieces_whose_revisions_fall(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    response_comes(f, (response){.header = {22}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 22}}});
    response_comes(f, (response){.header = {22}, .watch_id = 7, .events = {{"/a/2", 21}}});
    is_in(f, WATCHING_BROKEN);
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    reopens_at(f, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_seen_comes_again),
        TEST(what_is_new_comes_with_it),
        TEST(it_may_come_in_fragments),
        TEST(another_value),
        TEST(another_number),
        TEST(only_deletions_come_again),
        TEST(another_key),
        TEST(a_put_in_place_of_a_deletion),
        TEST(one_event_less),
        TEST(one_event_more),
        TEST(something_where_nothing_was),
        TEST(nothing_of_it_but_newer_ones),
        TEST(a_progress_notification_in_its_place),
        TEST(silence_in_its_place),
        TEST(silence_without_an_answer),
        TEST(a_rewritten_history_may_be_read_from_a_stale_member),
        TEST(what_was_seen_is_compacted),
        TEST(what_is_new_is_compacted),
        TEST(no_events_since_the_snapshot),
        TEST(the_first_stream_of_a_snapshot_is_sure_if_it_is_prompt),
        TEST(a_snapshot_that_was_interrupted_is_not_sure),
        TEST(a_fall_is_found_by_created),
        TEST(a_fall_is_found_by_a_notification),
        TEST(a_fall_is_found_by_a_requested_reply),
        TEST(a_revision_that_never_was),
        TEST(only_the_member_was_behind),
        TEST(asking_outlasts_an_etcd_that_is_away),
        TEST(a_resync_while_asking),
        TEST(the_reactor_may_have_found_it),
        TEST(the_reactor_may_have_seen_more),
        TEST(the_reactor_has_seen_more_than_is_being_loaded),
        TEST(a_reply_in_the_middle_of_a_revision),
        TEST(pieces_whose_revisions_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
