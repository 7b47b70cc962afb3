/* The snapshot: pages at one revision, page sizes, invalid answers. */
#include "unit/watching_fixture.h"

/* SEMANTICS 3: the snapshot is read in pages at one pinned revision, in order. */
static void all_pages_are_at_the_revision_of_the_first(void **state) {
    fixture *f = *state;
    starts(f);
    assert_int_equal(f->range->revision, 0);
    assert_int_equal(f->range->limit, 500);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1", "/a/2"}, .more = true});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(e->first && !e->last);
    assert_int_equal(e->revision, 10);
    assert_int_equal(f->range->revision, 10);
    assert_int_equal(f->range->key.len, 5);
    assert_memory_equal(f->range->key.data, "/a/2\0", 5);
    assert_memory_equal(f->range->range_end.data, "/a0", 3);
    is_in(f, WATCHING_SYNCING);
    page_comes(f, (page){.header = {13}, .keys = {"/a/3"}, .mod_revision = 9, .more = true});
    e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(!e->first && !e->last);
    assert_int_equal(e->revision, 10);
    page_comes(f, (page){.header = {15}}); /* no key was left */
    e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(!e->first && !e->last);
    assert_int_equal(e->revision, 10);
    assert_int_equal(f->watch->create_request->start_revision, 11);
    completes(f);
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->revision, 10);
}

/* The end of the snapshot is sent once, when a stream's watch is created. */
static void a_stream_that_breaks_before_the_watch_is_created(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    for (int i = 0; i < 3; i++)
        reopens_behind(f, 10);
    completes(f);
    reopens_behind(f, 10);
    connects(f);
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
}

static void a_watch_that_is_compacted_before_it_is_created(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    response_comes(f, (response){.header = {0}, .created = true, .canceled = true, .compact_revision = 20});
    is_in(f, WATCHING_SYNCING);
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    loads(f, 21);
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 2);
    completes(f);
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 2);
}

static void an_empty_prefix_is_one_page(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {1}});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(e->first && !e->last);
    assert_int_equal(f->watch->create_request->start_revision, 2);
    completes(f);
}

static void a_failed_page_is_requested_again(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_SYNCING);
    assert_null(wants(f, WATCHING_DO_RANGE));
    deadline_passes(f, 50);
    assert_int_equal(f->range->revision, 10);
    assert_memory_equal(f->range->key.data, "/a/1\0", 5);
    page_comes(f, (page){.header = {10}, .keys = {"/a/2"}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 1);
}

/* ---- page sizes ---- */

/* etcd counts the whole rest of the range for each page, so pages are few and as large as `page_bytes`. */
static void the_limit_follows_the_bytes(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    int64_t small = f->range->limit;
    assert_true(small > 50 && small < 500); /* 4000 bytes with entries of about 20 bytes */
    page_comes(f, (page){.header = {10}, .keys = {"/a/2"}, .value_bytes = 1000, .more = true});
    assert_int_equal(f->range->limit, 50); /* not below the minimum */
}

static void the_limit_grows_at_most_fourfold(void **state) {
    fixture *f = *state;
    watching_config config = fixture_config;
    config.page_bytes = 64 << 20;
    watching_free(f->core);
    f->core = watching_new(&config);
    assert_non_null(f->core);
    starts(f);
    static const int64_t limits[] = {2000, 8000, 32000, 50000, 50000};
    char key[] = "/a/0";
    for (size_t i = 0; i < 5; i++, key[3]++) {
        page_comes(f, (page){.header = {10}, .keys = {key}, .more = true});
        assert_int_equal(f->range->limit, limits[i]);
    }
}

static void a_page_that_is_too_large_is_halved(void **state) {
    fixture *f = *state;
    starts(f);
    static const int64_t limits[] = {250, 125, 62, 31, 15, 7, 3, 1};
    for (size_t i = 0; i < 8; i++) {
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_TOO_LARGE);
        assert_non_null(wants(f, WATCHING_DO_RANGE)); /* at once: etcd itself works */
        assert_int_equal(f->range->limit, limits[i]);
    }
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .value_bytes = 5000, .more = true});
    assert_int_equal(f->range->limit, 1); /* by the size of the entries, even below the minimum */
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_TOO_LARGE);
    ends_with(f, EW_ERR_TOO_LARGE);
}

/* ---- compaction ---- */

/* SEMANTICS 13: compaction is not an error. */
static void a_compaction_starts_a_new_epoch(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_RANGE)); /* at once, the first time */
    assert_int_equal(f->range->revision, 0);
    assert_int_equal(f->range->key.len, 2);
    page_comes(f, (page){.header = {20}, .keys = {"/a/1"}, .more = true});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_int_equal(e->epoch, 2);
    assert_int_equal(e->revision, 20);
    assert_true(e->first);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    assert_null(wants(f, WATCHING_DO_RANGE)); /* the second time after a wait */
    assert_true(deadline_passes(f, 50) > 0);
    page_comes(f, (page){.header = {30}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 3);
}

/* Makes a new core that accepts answers of `receive_bytes`, and starts it. */
static void accepts(fixture *f, int64_t receive_bytes) {
    watching_config config = fixture_config;
    config.receive_bytes = receive_bytes;
    watching_free(f->core);
    f->core = watching_new(&config);
    assert_non_null(f->core);
    starts(f);
}

/* If compactions interrupt load after load, the next load starts at once with pages up to four times as large, until a
 * page is as large as an answer may be. Then the watch is opened first. */
static void pages_grow_while_compactions_interrupt(void **state) {
    fixture *f = *state;
    accepts(f, 1 << 20);
    bool grows = true;
    int64_t revision = 10;
    for (unsigned i = 1; i < 20 && grows; i++, revision += 10) {
        page_comes(f, (page){.header = {revision}, .keys = {"/a/1", "/a/2", "/a/3"}, .more = true});
        int64_t limit = f->range->limit;
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
        const watching_effect *health = wants(f, WATCHING_DO_SEND_HEALTH);
        assert_int_equal(health->interruptions, i);
        assert_false(health->connected);
        grows = wants(f, WATCHING_DO_RANGE);
        if (grows) {
            assert_true(f->range->limit > limit && f->range->limit <= 4 * limit);
        } else {
            assert_non_null(wants(f, WATCHING_DO_OPEN));
            assert_true(limit > 10000 && limit < (1 << 20) / 13); /* with entries of about 14 bytes */
        }
    }
    assert_false(grows);
    response_comes(f, (response){.header = {revision}, .watch_id = 7, .created = true});
    page_comes(f, (page){.header = {revision + 10}, .keys = {"/a/1"}});
    assert_true(f->witness.connected && !f->witness.loading);
    /* After a watch that has shown events, pages have their configured size again. */
    response_comes(f, (response){.header = {revision + 20}, .watch_id = 7, .events = {{"/a/1", revision + 20}}});
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = revision + 50});
    assert_int_equal(wants(f, WATCHING_DO_SEND_HEALTH)->interruptions, 0);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {revision + 60}, .keys = {"/a/1"}, .more = true});
    assert_true(f->range->limit < 500);
}

/* If the watch after the snapshot starts below a compaction, the load was interrupted, too. */
static void a_watch_that_is_compacted_at_once_makes_pages_grow(void **state) {
    fixture *f = *state;
    accepts(f, 1 << 20);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}});
    response_comes(f, (response){.header = {0}, .created = true, .canceled = true, .compact_revision = 20});
    assert_int_equal(wants(f, WATCHING_DO_SEND_HEALTH)->interruptions, 1);
    is_in(f, WATCHING_SYNCING);
    assert_int_equal(f->range->limit, 2000);
}

/* etcd may create a watch and find only then that its revision is compacted: an interrupted load. After
 * `backoff_max_ms` it is a normal end of the watch. */
static void a_watch_that_is_confirmed_and_compacted(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        accepts(f, 1 << 20);
        loads(f, 10);
        completes(f);
        f->now_ms += i == 0 ? 999 : 1000; /* backoff_max_ms */
        response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 20});
        is_in(f, WATCHING_SYNCING);
        assert_int_equal(f->range->limit, i == 0 ? 2000 : 500);
        tear_down(state);
        set_up(state);
        f = *state;
    }
}

/* A grown page that is too large is halved. */
/* If history is compacted after a lost watch, no load was interrupted, and the number starts again. It must be
 * reported, because the next interrupted load has the number 1 again. */
static void interruptions_start_again_after_a_watch(void **state) {
    fixture *f = *state;
    accepts(f, 1 << 20);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    assert_int_equal(f->witness.interruptions, 1);
    loads(f, 10);
    completes(f);
    assert_int_equal(f->witness.interruptions, 1);
    f->now_ms += 1000; /* backoff_max_ms: the watch is not new */
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    deadline_passes(f, 1000);
    is_in(f, WATCHING_WATCHING);
    response_comes(f, (response){.header = {0}, .created = true, .canceled = true, .compact_revision = 20});
    is_in(f, WATCHING_SYNCING);
    assert_int_equal(wants(f, WATCHING_DO_SEND_HEALTH)->interruptions, 0);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    assert_int_equal(wants(f, WATCHING_DO_SEND_HEALTH)->interruptions, 1);
}

static void a_page_that_grew_too_large_is_halved(void **state) {
    fixture *f = *state;
    accepts(f, 1 << 20);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    assert_int_equal(f->range->limit, 2000);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_TOO_LARGE);
    assert_int_equal(f->range->limit, 1000);
}

/* ETCD P4: a compacted watch is cancelled, and the prefix is loaded again. */
static void a_compacted_watch_loads_again(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    connects(f);
    response_comes(f, (response){.header = {0}, .watch_id = 7, .canceled = true, .compact_revision = 20});
    is_in(f, WATCHING_SYNCING);
    assert_false(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    assert_int_equal(f->range->revision, 0);
    /* The snapshot may be complete before the old stream has ended: the new stream waits for that. */
    page_comes(f, (page){.header = {30}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 2);
    is_in(f, WATCHING_WATCHING);
    assert_null(wants(f, WATCHING_DO_OPEN));
    never_due(f);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    assert_int_equal(f->watch->create_request->start_revision, 31);
    assert_int_equal(watching_reconnects(f->core), 1);
    connects(f);
}

static void a_stream_that_ends_as_compacted_loads_again(void **state) {
    fixture *f = *state;
    watches(f, 10);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_COMPACTED);
    is_in(f, WATCHING_SYNCING);
    assert_null(wants(f, WATCHING_DO_CLOSE));
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

/* ---- the revision falls ---- */

/* ETCD P7: a snapshot below what was seen is refused, since the member may lag; after several tries it is accepted. */
static void a_snapshot_below_what_was_seen_is_refused(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {25}, .watch_id = 7, .events = {{"/a/1", 25}}});
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_COMPACTED);
    for (int i = 0; i < 5; i++) {
        page_comes(f, (page){.header = {24}});
        assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
        is_in(f, WATCHING_SYNCING);
        deadline_passes(f, 1000);
        assert_non_null(wants(f, WATCHING_DO_RANGE));
    }
    page_comes(f, (page){.header = {24}});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    assert_non_null(wants(f, WATCHING_DO_RANGE)); /* etcd's loss of data is accepted now */
    page_comes(f, (page){.header = {24}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->revision, 24);
    assert_true(wants(f, WATCHING_DO_SEND_SNAPSHOT)->rewritten);
    completes(f);
}

static void a_stale_member_is_outlasted(void **state) {
    fixture *f = *state;
    watches(f, 10);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_COMPACTED);
    for (int i = 0; i < 5; i++) {
        page_comes(f, (page){.header = {9}});
        deadline_passes(f, 1000);
    }
    page_comes(f, (page){.header = {10}});
    assert_non_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    completes(f);
}

static void a_pinned_revision_in_the_future_loads_again(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_FUTURE_REVISION);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    page_comes(f, (page){.header = {9}}); /* revisions of earlier pages count, too */
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    is_in(f, WATCHING_SYNCING);
}

/* ---- invalid answers ---- */

static void is_refused(fixture *f, page p) {
    page_comes(f, p);
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    is_in(f, WATCHING_SYNCING);
    deadline_passes(f, 1000);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

static void an_invalid_page_is_requested_again(void **state) {
    fixture *f = *state;
    starts(f);
    is_refused(f, (page){.header = {10, .absent = true}});
    is_refused(f, (page){.header = {10, .without_cluster = true}});
    is_refused(f, (page){.header = {-1}});
    is_refused(f, (page){.header = {0}});
    is_refused(f, (page){.header = {INT64_MAX}});
    is_refused(f, (page){.header = {10}, .more = true}); /* "more", but no key to continue from */
    is_refused(f, (page){.header = {10}, .keys = {"/a/2", "/a/1"}});
    is_refused(f, (page){.header = {10}, .keys = {"/a/1", "/a/1"}});
    is_refused(f, (page){.header = {10}, .keys = {"/a"}, .mod_revision = 11});
    page_comes(f, (page){.header = {10}, .keys = {"/a", "/a/1"}, .more = true});
    assert_non_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    is_refused(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true}); /* not after the last page */
    is_refused(f, (page){.header = {9}, .keys = {"/a/3"}, .mod_revision = 5});
    is_refused(f, (page){.header = {10}, .keys = {"/a/3"}, .mod_revision = -5});
    page_comes(f, (page){.header = {10}, .keys = {"/a/2"}});
    assert_non_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    completes(f);
}

static void truncated_pages_are_refused_at_every_length(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    size_t size = f->event.bytes.len;
    uint8_t whole[256];
    assert_true(size <= sizeof whole);
    memcpy(whole, f->bytes, size);
    for (size_t len = 1; len < size; len++) {
        tear_down(state);
        assert_int_equal(set_up(state), 0);
        f = *state;
        starts(f);
        uint8_t *exact = malloc(len); /* so that the sanitizer finds a read beyond it */
        assert_non_null(exact);
        memcpy(exact, whole, len);
        happens(f, (watching_event){.type = WATCHING_PAGE, .bytes = {exact, len}});
        free(exact);
        /* A cut between two fields leaves a shorter message, which may be valid. */
        assert_true(watching_get_state(f->core) == WATCHING_SYNCING || wants(f, WATCHING_DO_SEND_SNAPSHOT));
    }
}

static void invalid_answers_without_end_end_the_run(void **state) {
    fixture *f = *state;
    starts(f);
    for (int i = 0; i < 10; i++)
        is_refused(f, (page){.header = {-1}});
    page_comes(f, (page){.header = {-1}});
    ends_with(f, EW_ERR_BAD_ANSWER);
}

static void a_page_of_another_cluster_ends_the_run(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {10}, .keys = {"/a/1"}, .more = true});
    page_comes(f, (page){.header = {10, .cluster = 0xbad}, .keys = {"/a/2"}});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    assert_string_equal(wants(f, WATCHING_DO_END)->detail, "cluster bad answered instead of c1");
    ends_with(f, EW_ERR_WRONG_CLUSTER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(all_pages_are_at_the_revision_of_the_first),
        TEST(a_stream_that_breaks_before_the_watch_is_created),
        TEST(a_watch_that_is_compacted_before_it_is_created),
        TEST(an_empty_prefix_is_one_page),
        TEST(a_failed_page_is_requested_again),
        TEST(the_limit_follows_the_bytes),
        TEST(the_limit_grows_at_most_fourfold),
        TEST(a_page_that_is_too_large_is_halved),
        TEST(a_compaction_starts_a_new_epoch),
        TEST(pages_grow_while_compactions_interrupt),
        TEST(a_watch_that_is_compacted_at_once_makes_pages_grow),
        TEST(a_watch_that_is_confirmed_and_compacted),
        TEST(interruptions_start_again_after_a_watch),
        TEST(a_page_that_grew_too_large_is_halved),
        TEST(a_compacted_watch_loads_again),
        TEST(a_stream_that_ends_as_compacted_loads_again),
        TEST(a_snapshot_below_what_was_seen_is_refused),
        TEST(a_stale_member_is_outlasted),
        TEST(a_pinned_revision_in_the_future_loads_again),
        TEST(an_invalid_page_is_requested_again),
        TEST(truncated_pages_are_refused_at_every_length),
        TEST(invalid_answers_without_end_end_the_run),
        TEST(a_page_of_another_cluster_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
