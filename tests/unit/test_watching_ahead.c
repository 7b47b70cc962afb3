/* The watching core: the load that begins with the watch, where compactions interrupt every other one. */
#include "unit/watching_fixture.h"

#include <string.h>

enum { RECEIVE_BYTES = 1 << 20, MOST_TRIES = 20 };

/* Loads in pages are interrupted until they cannot be larger; then the watch is opened, from now on. */
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

/* The watch stands at `revision`: the whole range is asked for, at no revision. */
static void stands(fixture *f, int64_t revision) {
    response_comes(f, (response){.header = {revision}, .watch_id = 7, .created = true});
    assert_int_equal(effects(f), 1);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    assert_true(wants(f, WATCHING_DO_RANGE)->whole); /* it gets more time */
    assert_int_equal(f->range->limit, 0);
    assert_int_equal(f->range->revision, 0);
    assert_false(f->range->serializable);
    assert_memory_equal(f->range->range_end.data, "/a0", 3);
}

static void changes(fixture *f, int64_t revision) {
    response_comes(f, (response){.header = {revision}, .watch_id = 7, .events = {{"/a/1", revision}}});
}

/* The snapshot at `revision` comes, and after it what the watch has shown, up to `highest`; 0: nothing newer. */
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

static void what_changes_meanwhile_comes_after_it(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    assert_int_equal(effects(f), 0);
    response_comes(f, (response){.header = {105}, .watch_id = 7, .fragment = true, .events = {{"/a/3", 104}}});
    response_comes(f, (response){.header = {105}, .watch_id = 7, .events = {{"/a/4", 104}, {"/a/5", 105, 1}}});
    response_comes(f, (response){.header = {105}, .watch_id = 7}); /* a notification says nothing of the snapshot */
    assert_int_equal(effects(f), 0);
    arrives(f, 103, 105);
    const watching_effect *events = wants(f, WATCHING_DO_SEND_EVENTS);
    Pb__WatchResponse *r = pb__watch_response__unpack(NULL, events->bytes.len, events->bytes.data);
    assert_non_null(r);
    assert_int_equal(r->n_events, 4); /* the reactor drops the first by its revision */
    assert_int_equal(r->events[3]->kv->mod_revision, 105);
    pb__watch_response__free_unpacked(r, NULL);
    goes_on(f, 106);
}

static void nothing_newer_changes(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    arrives(f, 101, 0);
    goes_on(f, 102);
}

/* Both are started again: a snapshot is good only with the watch before it. */
static void the_stream_breaks(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    deadline_passes(f, 1000);
    assert_int_equal(f->watch->create_request->start_revision, 0);
    response_comes(f, (response){.header = {120}, .watch_id = 8, .created = true});
    assert_int_equal(effects(f), 0); /* the call before it is still out */
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

/* ETCD P7: a read that is older than the watch lacks what came between. */
static void the_answer_is_wrong(void **state) {
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

/* A watch that etcd could not serve in time. */
static void the_watch_is_compacted(void **state) {
    fixture *f = *state;
    goes_ahead(f);
    stands(f, 100);
    changes(f, 101);
    unsigned before = f->witness.interruptions;
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 110});
    assert_int_equal(f->witness.interruptions, before + 1);
    is_in(f, WATCHING_SYNCING);
    never_due(f); /* before the stream and the call are over */
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    if (!f->witness.stream_out)
        deadline_passes(f, 1000);
    stands(f, 120);
    arrives(f, 121, 0);
}

/* Loads in pages again, also when these are interrupted. */
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

/* A slow wire: pages get through where the whole prefix does not, and may grow again. */
static void it_does_not_come_in_time(void **state) {
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
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED); /* so they grow, and time out, and are small again */
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

static void it_is_stopped(void **state) {
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
    told(f, WATCHING_RESYNC); /* it is being loaded */
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
        TEST(what_changes_meanwhile_comes_after_it),
        TEST(nothing_newer_changes),
        TEST(the_stream_breaks),
        TEST(the_call_fails),
        TEST(the_answer_is_wrong),
        TEST(the_watch_is_compacted),
        TEST(the_prefix_is_too_large_for_one_answer),
        TEST(it_does_not_come_in_time),
        TEST(too_much_changes_meanwhile),
        TEST(it_is_stopped),
        TEST(the_reactor_asks_for_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
