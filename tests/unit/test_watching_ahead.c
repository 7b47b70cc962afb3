/* The watching core: loads in which the watch is opened first, because compactions interrupt every other load. */
#include "unit/watching_fixture.h"

#include <string.h>

enum { RECEIVE_BYTES = 1 << 20, MOST_TRIES = 20 };

/* Interrupts loads in pages until pages cannot grow. Then the watch is opened first, from the present revision. */
static void goes_ahead(fixture *f) {
    watching_config config = fixture_config;
    config.receive_bytes = RECEIVE_BYTES;
    watching_free(f->core);
    assert_non_null(f->core = watching_new(&config));
    starts(f);
    for (int i = 0; i < MOST_TRIES && f->witness.range_out; i++)
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    is_in(f, WATCHING_WATCHING);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    assert_int_equal(f->watch->create_request->start_revision, 0);
}

/* etcd creates the watch at `revision`. Then the core requests the whole range, without a revision. */
static void stands(fixture *f, int64_t revision) {
    response_comes(f, (response){.header = {revision}, .watch_id = 7, .created = true});
    assert_int_equal(effects(f), 1);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    assert_true(wants(f, WATCHING_DO_RANGE)->whole); /* this call has a longer time limit */
    assert_int_equal(f->range->limit, 0);
    assert_int_equal(f->range->revision, 0);
    assert_false(f->range->serializable);
    assert_memory_equal(f->range->range_end.data, "/a0", 3);
}

static void changes(fixture *f, int64_t revision) {
    response_comes(f, (response){.header = {revision}, .watch_id = 7, .events = {{"/a/1", revision}}});
}

/* The snapshot at `revision` arrives. After it come the events that were kept, up to `highest`; 0: none is newer. */
static void arrives(fixture *f, int64_t revision, int64_t highest) {
    page_comes(f, (page){.header = {revision}, .keys = {"/a/1", "/a/2"}});
    assert_int_equal(effects(f), highest > 0 ? 4 : 3);
    const watching_effect *e = f->out.list;
    while (e->type == WATCHING_DO_LOG)
        e++;
    assert_true(e[0].type == WATCHING_DO_SEND_SNAPSHOT && e[0].first && !e[0].last && e[0].bytes.len > 0);
    assert_true(e[1].type == WATCHING_DO_SEND_SNAPSHOT && e[1].last && e[1].bytes.len == 0);
    assert_int_equal(e[1].revision, revision);
    assert_true(e[2].type == WATCHING_DO_SEND_HEALTH && e[2].connected && !e[2].unsure);
    if (highest > 0) {
        assert_int_equal(e[3].type, WATCHING_DO_SEND_EVENTS);
        assert_int_equal(e[3].revision, highest);
    }
}

static void goes_on(fixture *f, int64_t revision) {
    changes(f, revision);
    assert_int_equal(wants(f, WATCHING_DO_SEND_EVENTS)->revision, revision);
    reopens_at(f, revision);
}

static void changes_meanwhile_follow_the_snapshot(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    assert_int_equal(effects(f), 0);
    response_comes(f, (response){.header = {105}, .watch_id = 7, .fragment = true, .events = {{"/a/3", 104}}});
    response_comes(f, (response){.header = {105}, .watch_id = 7, .events = {{"/a/4", 104}, {"/a/5", 105, 1}}});
    response_comes(f, (response){.header = {105}, .watch_id = 7}); /* a notification: not about the snapshot */
    assert_int_equal(effects(f), 0);
    arrives(f, 103, 105);
    const watching_effect *events = wants(f, WATCHING_DO_SEND_EVENTS);
    Pb__WatchResponse *r = pb__watch_response__unpack(NULL, events->bytes.len, events->bytes.data);
    assert_non_null(r);
    assert_int_equal(r->n_events, 4); /* the reactor drops the first one by its revision */
    assert_int_equal(r->events[3]->kv->mod_revision, 105);
    pb__watch_response__free_unpacked(r, NULL);
    goes_on(f, 106);
}

static void changes_that_the_snapshot_has(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    arrives(f, 101, 0);
    goes_on(f, 102);
}

/* Both are started again: the snapshot must be read after the watch was created. */
static void the_stream_breaks(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    deadline_passes(f, 1000);
    assert_int_equal(f->watch->create_request->start_revision, 0);
    response_comes(f, (response){.header = {120}, .watch_id = 8, .created = true});
    assert_int_equal(effects(f), 0); /* the first call has not ended yet */
    page_comes(f, (page){.header = {102}, .keys = {"/a/1"}});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    arrives(f, 120, 0);
}

static void the_call_fails(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    deadline_passes(f, 1000);
    stands(f, 110);
    arrives(f, 110, 0);
}

/* ETCD P7: a read that is older than the watch lacks the events between them. */
static void an_answer_that_is_old_or_incomplete(void **state) {
    fixture *f = *state;
    const page pages[] = {{.header = {99}, .keys = {"/a/1"}}, {.header = {100}, .keys = {"/a/1"}, .more = true}};
    goes_ahead(f);
    for (size_t i = 0; i < 2; i++) {
        stands(f, 100);
        page_comes(f, pages[i]);
        assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
        deadline_passes(f, 1000);
    }
    stands(f, 100);
    arrives(f, 100, 0);
}

/* Each response is in order, but they are not in order together. */
static void kept_changes_that_contradict_each_other(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 105);
    changes(f, 103);
    page_comes(f, (page){.header = {101}, .keys = {"/a/1"}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    is_in(f, WATCHING_BROKEN);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    reopens_at(f, 102);
}

/* The watch was compacted before etcd could serve it. */
static void the_watch_is_compacted(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    unsigned before = f->witness.interruptions;
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 110});
    assert_int_equal(f->witness.interruptions, before + 1);
    is_in(f, WATCHING_SYNCING);
    never_due(f); /* not before the stream and the call have ended */
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    if (!f->witness.stream_out)
        deadline_passes(f, 1000);
    stands(f, 120);
    arrives(f, 121, 0);
}

/* Checks that the core loads in pages again, even if these loads are interrupted. */
static void loads_in_pages(fixture *f) {
    is_in(f, WATCHING_SYNCING);
    if (f->witness.stream_out)
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    if (f->witness.range_out && f->range->limit == 0)
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_CANCELLED);
    for (int i = 0; i < 3; i++) {
        if (!f->witness.range_out)
            deadline_passes(f, 1000);
        assert_true(f->range->limit > 0);
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
        assert_false(f->witness.stream_out);
    }
    if (!f->witness.range_out)
        deadline_passes(f, 1000);
    page_comes(f, (page){.header = {200}, .keys = {"/a/1"}});
    completes(f);
}

static void the_prefix_is_too_large_for_one_answer(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_TOO_LARGE);
    loads_in_pages(f);
}

/* On a slow connection pages arrive in time where the whole prefix does not; the pages may grow again. */
static void the_answer_is_late(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    for (int tries = 0; tries < 3; tries++) {
        stands(f, 100);
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_TIMEOUT);
        is_in(f, WATCHING_SYNCING);
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
        if (!f->witness.range_out)
            deadline_passes(f, 1000);
        assert_true(f->range->limit > 0 && f->range->limit <= 50000);
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED); /* they grow, time out, and are small again */
        int64_t limit = f->range->limit;
        if (!f->witness.range_out)
            deadline_passes(f, 1000);
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_TIMEOUT);
        if (!f->witness.range_out)
            deadline_passes(f, 1000);
        assert_true(f->range->limit <= 50000 && f->range->limit <= limit);
        for (int i = 0; i < MOST_TRIES && !f->witness.stream_out; i++) {
            if (!f->witness.range_out)
                deadline_passes(f, 1000);
            else
                failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
        }
    }
    stands(f, 120);
    arrives(f, 120, 0);
}

static void too_much_changes_meanwhile(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    for (int64_t revision = 101; f->witness.stream_out && !f->witness.closed; revision++) {
        assert_true(revision < 10000);
        changes(f, revision);
    }
    loads_in_pages(f);
}

static void a_stop(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    told(f, WATCHING_STOP);
    assert_non_null(wants(f, WATCHING_DO_CANCEL_RANGE));
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_CANCELLED);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_int_equal(wants(f, WATCHING_DO_END)->status, EW_OK);
}

static void the_reactor_asks_for_a_load(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    told(f, WATCHING_RESYNC); /* the load is already under way */
    assert_int_equal(effects(f), 0);
    happens(f, (watching_event){.type = WATCHING_RESYNC, .revision = 150});
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {149}, .keys = {"/a/1"}});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    if (!f->witness.stream_out)
        deadline_passes(f, 1000);
    stands(f, 150);
    arrives(f, 150, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(changes_meanwhile_follow_the_snapshot),
        TEST(changes_that_the_snapshot_has),
        TEST(the_stream_breaks),
        TEST(the_call_fails),
        TEST(an_answer_that_is_old_or_incomplete),
        TEST(kept_changes_that_contradict_each_other),
        TEST(the_watch_is_compacted),
        TEST(the_prefix_is_too_large_for_one_answer),
        TEST(the_answer_is_late),
        TEST(too_much_changes_meanwhile),
        TEST(a_stop),
        TEST(the_reactor_asks_for_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
