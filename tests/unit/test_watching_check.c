/* The watching core: loads that the reactor requests, and reads for a consistency check (ETCD P6). */
#include "unit/watching_fixture.h"

static int set_up_check(void **state) {
    watching_config config = fixture_config;
    config.check_revision = 10;
    if (set_up(state) != 0)
        return -1;
    fixture *f = *state;
    watching_free(f->core);
    f->core = watching_new(&config);
    return f->core ? 0 : -1;
}

/* A check reads the keys of one revision, page by page, without values; then the core ends. */
static void a_check_reads_the_keys_of_its_revision(void **state) {
    fixture *f = *state;
    starts(f);
    assert_int_equal(f->range->revision, 10);
    assert_true(f->range->keys_only);
    page_comes(f, (page){.header = {17}, .keys = {"/a/1", "/a/2"}, .mod_revision = 9, .more = true});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(e->first && !e->last);
    assert_int_equal(e->revision, 10);
    assert_int_equal(f->range->revision, 10);
    assert_true(f->range->keys_only);
    page_comes(f, (page){.header = {18}, .keys = {"/a/3"}, .mod_revision = 10});
    e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(!e->first && e->last);
    assert_null(wants(f, WATCHING_DO_OPEN));
    ends_with(f, EW_OK);
}

static void a_check_refuses_another_revision(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {17}, .keys = {"/a/1"}, .mod_revision = 11});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    deadline_passes(f, 50);
    assert_int_equal(f->range->revision, 10);
    page_comes(f, (page){.header = {9}, .keys = {"/a/1"}, .mod_revision = 9});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    deadline_passes(f, 100);
    page_comes(f, (page){.header = {10}});
    ends_with(f, EW_OK);
}

static void a_check_outlasts_an_outage(void **state) {
    fixture *f = *state;
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_SYNCING);
    deadline_passes(f, 50);
    page_comes(f, (page){.header = {10}});
    ends_with(f, EW_OK);
}

/* A check needs exactly its revision, so it does not start again at another one. */
static void a_check_fails_if_its_revision_is_compacted(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {17}, .keys = {"/a/1"}, .mod_revision = 9, .more = true});
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    ends_with(f, EW_ERR_COMPACTED);
}

static void a_check_fails_if_its_member_lags(void **state) {
    fixture *f = *state;
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_FUTURE_REVISION);
    ends_with(f, EW_ERR_FUTURE_REVISION);
}

static void a_check_is_stopped(void **state) {
    fixture *f = *state;
    starts(f);
    told(f, WATCHING_STOP);
    assert_non_null(wants(f, WATCHING_DO_CANCEL_RANGE));
    ends_with(f, EW_OK);
}

/* ---- loading again ---- */

static void a_load_request_closes_the_watch(void **state) {
    fixture *f = *state;
    watches(f, 10);
    told(f, WATCHING_RESYNC);
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    page_comes(f, (page){.header = {12}, .keys = {"/a/1"}});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_int_equal(e->epoch, 2);
    assert_true(e->first && !e->last);
    assert_int_equal(f->watch->create_request->start_revision, 13);
    completes(f);
}

static void a_load_request_while_the_stream_is_broken(void **state) {
    fixture *f = *state;
    watches(f, 10);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_BROKEN);
    told(f, WATCHING_RESYNC);
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    page_comes(f, (page){.header = {12}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 2);
    is_in(f, WATCHING_WATCHING);
}

static void a_load_request_during_a_load(void **state) {
    fixture *f = *state;
    told(f, WATCHING_RESYNC); /* also before the start */
    is_in(f, WATCHING_IDLE);
    starts(f);
    told(f, WATCHING_RESYNC);
    assert_int_equal(effects(f), 0);
    page_comes(f, (page){.header = {12}});
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->epoch, 1);
    told(f, WATCHING_STOP);
    told(f, WATCHING_RESYNC);
    ends_with(f, EW_OK);
}

#define check(f) cmocka_unit_test_setup_teardown(f, set_up_check, tear_down)
#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        check(a_check_reads_the_keys_of_its_revision),
        check(a_check_refuses_another_revision),
        check(a_check_outlasts_an_outage),
        check(a_check_fails_if_its_revision_is_compacted),
        check(a_check_fails_if_its_member_lags),
        check(a_check_is_stopped),
        test(a_load_request_closes_the_watch),
        test(a_load_request_while_the_stream_is_broken),
        test(a_load_request_during_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
