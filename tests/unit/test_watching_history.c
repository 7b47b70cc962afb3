/* The watching core: is etcd's history still the one that was seen? */
#include "unit/watching_fixture.h"

#include <etcdworker/log.h>

#include <string.h>

/* Watches until two events at revision 20 were seen, and a progress notification up to `seen`. */
static void has_seen(fixture *f, int64_t seen) {
    watches(f, 10);
    response_comes(f, (response){.header = {20},
                                 .watch_id = 7,
                                 .events = {{"/a/0", 15, .value = "w"}, {"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}}});
    if (seen > 20)
        response_comes(f, (response){.header = {seen}, .watch_id = 7});
    assert_int_equal(f->witness.revision, seen);
}

/* Checks that the log and the snapshot say that the history was rewritten, and that the prefix is loaded at
 * `revision`. */
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
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure); /* the prefix was just read */
    response_comes(f, (response){.header = {revision + 1}, .watch_id = 7, .events = {{"/a/1", revision + 1}}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, revision + 1);
    told(f, WATCHING_RESYNC);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    while (!f->witness.range_out)
        deadline_passes(f, 1000);
    page_comes(f, (page){.header = {revision + 1}});
    assert_false(wants(f, WATCHING_DO_SEND_SNAPSHOT)->rewritten); /* only the snapshot before was */
}

static void resumes(fixture *f, int64_t etcd_revision) {
    reopens_at(f, 20);
    is_created(f, etcd_revision);
}

/* ---- the same events again ---- */

static void the_last_events_come_again(void **state) {
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

static void new_events_come_with_the_last_ones(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    resumes(f, 41);
    response_comes(f, (response){.header = {41},
                                 .watch_id = 7,
                                 .events = {{"/a/2", 20, 1}, {"/a/1", 20, .value = "v"}, {"/a/3", 41}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, 41);
    reopens_at(f, 41); /* the newest event is the one to resume at */
}

static void the_last_events_come_in_fragments(void **state) {
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

/* The key was put with the same value by another number of writes. */
static void another_version_or_lease(void **state) {
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

/* etcd was restored to a state after the last event. The writes of others since then are below the revision of the
 * progress notification. */
static void an_event_below_the_progress_notification(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 20, .value = "v"}, {"/a/2", 20, 1}, {"/a/3", 29}}},
                      "revisions 20 to 30");
}

static void only_newer_events_come(void **state) {
    comes_differently(state, (response){.events = {{"/a/1", 31}}}, "revision 20, the last one seen");
}

static void a_progress_notification_comes_instead(void **state) {
    comes_differently(state, (response){0}, "revision 20, the last one seen");
}

/* In a quiet prefix etcd's answer to a progress request shows that there are no events. */
static void silence_and_an_answer_to_a_progress_request(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    resumes(f, 60);
    response_comes(f, (response){.header = {60}, .watch_id = -1}); /* may have overtaken events (ETCD P2) */
    assert_int_equal(effects(f), 0);
    deadline_passes(f, 5000);
    assert_non_null(wants(f, WATCHING_DO_REQUEST));
    response_comes(f, (response){.header = {60}, .watch_id = -1});
    loads_rewritten(f, "revision 20, the last one seen", 60);
}

/* ETCD P2: if etcd does not answer progress requests, three silent streams in a row have the same meaning. */
static void silence_without_an_answer_to_progress_requests(void **state) {
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

/* The history was rewritten, but the member that answers lags: an older snapshot is not taken at once. */
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

/* ---- no event that could come again ---- */

/* Another history may have the same deletion at the same revision, so the keys must be compared. */
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
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->unsure); /* a put identifies the history */
}

/* The last events were compacted, but nothing newer was, so the keys must be compared. */
static void the_last_events_are_compacted(void **state) {
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

/* ETCD P4, P6: newer events may have been compacted, too. A watch from there would lose them, so the prefix is
 * loaded. */
static void newer_events_are_compacted(void **state) {
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
    response_comes(f, (response){.header = {41}, .watch_id = 7}); /* the watch goes on as usual */
    assert_int_equal(wants(f, WATCHING_DO_SEND_PROGRESS)->revision, 41);
}

static void a_prompt_first_stream_is_sure(void **state) {
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
static void an_interrupted_snapshot_is_unsure(void **state) {
    fixture *f = *state;
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE); /* before the first page */
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

static void created_shows_a_fall(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    reopens_at(f, 20);
    response_comes(f, (response){.header = {12}, .watch_id = 7, .created = true});
    answers_all(f, 12);
    loads_rewritten(f, "etcd is at revision 12, but revision 30 was seen before", 12);
}

static void a_notification_shows_a_fall(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    response_comes(f, (response){.header = {12}, .watch_id = 7});
    answers_all(f, 12);
    loads_rewritten(f, "revision 30 was seen", 12);
}

static void an_answer_to_a_progress_request_shows_a_fall(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    response_comes(f, (response){.header = {12}, .watch_id = -1});
    answers_all(f, 12);
    loads_rewritten(f, "revision 30 was seen", 12);
}

/* A corrupted progress notification had a revision that never existed. The next event shows it. */
static void a_notification_of_a_wrong_revision(void **state) {
    fixture *f = *state;
    has_seen(f, INT64_C(1) << 40);
    response_comes(f, (response){.header = {31}, .watch_id = 7, .events = {{"/a/1", 31}}});
    answers_all(f, 31);
    loads_rewritten(f, "etcd is at revision 31, but revision 1099511627776 was seen before", 31);
}

static void a_member_that_lags(void **state) {
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
    response_comes(f, (response){.header = {0}, .watch_id = -1}); /* without a revision: ignored */
    assert_int_equal(effects(f), 0);
    assert_int_equal(f->witness.epoch, 1);
}

static void asking_outlasts_an_outage(void **state) {
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

static void a_load_request_while_asking(void **state) {
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
            page_comes(f, (page){.header = {40}}); /* the answer to the question, not a page */
        else
            failed(f, WATCHING_PAGE_FAILED, EW_ERR_DENIED);
        assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
        assert_non_null(wants(f, WATCHING_DO_RANGE));
        assert_memory_equal(f->range->range_end.data, "/a0", 3);
        page_comes(f, (page){.header = {40}});
        assert_non_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    }
}

/* ---- requests of the reactor ---- */

static void the_reactor_reports_another_history(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 25, .rewritten = true});
    loads_rewritten(f, "detected by the reactor", 30);
}

/* A commit's barrier that etcd does not have any more, or that was corrupted. */
static void the_reactor_has_a_higher_revision(void **state) {
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

/* The request comes during a load: pages that were read before do not count. */
static void the_reactor_has_a_higher_revision_than_the_load(void **state) {
    fixture *f = *state;
    has_seen(f, 30);
    told(f, WATCHING_RESYNC);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {31}, .keys = {"/a/1"}, .more = true});
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 31}); /* not newer than the load */
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

/* ---- corrupted responses ---- */

/* etcd sends nothing else between the fragments of one revision, so the fragment flag was corrupted, and the stream is
 * replaced. */
static void a_response_between_fragments_of_a_revision(void **state) {
    fixture *f = *state;
    has_seen(f, 20);
    response_comes(f, (response){.header = {21}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 21}}});
    response_comes(f, (response){.header = {21}, .watch_id = -1});
    is_in(f, WATCHING_BROKEN);
    reopens_at(f, 20);
}

static void fragments_whose_revisions_fall(void **state) {
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
        TEST(the_last_events_come_again),
        TEST(new_events_come_with_the_last_ones),
        TEST(the_last_events_come_in_fragments),
        TEST(another_value),
        TEST(another_version_or_lease),
        TEST(only_deletions_come_again),
        TEST(another_key),
        TEST(a_put_in_place_of_a_deletion),
        TEST(one_event_less),
        TEST(one_event_more),
        TEST(an_event_below_the_progress_notification),
        TEST(only_newer_events_come),
        TEST(a_progress_notification_comes_instead),
        TEST(silence_and_an_answer_to_a_progress_request),
        TEST(silence_without_an_answer_to_progress_requests),
        TEST(a_rewritten_history_may_be_read_from_a_stale_member),
        TEST(the_last_events_are_compacted),
        TEST(newer_events_are_compacted),
        TEST(no_events_since_the_snapshot),
        TEST(a_prompt_first_stream_is_sure),
        TEST(an_interrupted_snapshot_is_unsure),
        TEST(created_shows_a_fall),
        TEST(a_notification_shows_a_fall),
        TEST(an_answer_to_a_progress_request_shows_a_fall),
        TEST(a_notification_of_a_wrong_revision),
        TEST(a_member_that_lags),
        TEST(asking_outlasts_an_outage),
        TEST(a_load_request_while_asking),
        TEST(the_reactor_reports_another_history),
        TEST(the_reactor_has_a_higher_revision),
        TEST(the_reactor_has_a_higher_revision_than_the_load),
        TEST(a_response_between_fragments_of_a_revision),
        TEST(fragments_whose_revisions_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
