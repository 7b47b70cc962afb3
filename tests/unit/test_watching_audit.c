/* The watching core: loading again when it is asked to, and reading for an audit (ETCD P6). */
#include "unit/watching_fixture.h"

static int set_up_audit(void **state) {
    watching_config config = fixture_config;
    config.audit_revision = 10;
    if (set_up(state) != 0)
        return -1;
    fixture *f = *state;
    watching_free(f->core);
    f->core = watching_new(&config);
    return f->core ? 0 : -1;
}

/* The keys of one revision, page by page, without their values; then it is over. */
static void it_reads_the_keys_of_its_revision(void **state) {
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

static void it_does_not_believe_another_revision(void **state) {
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

static void it_outlasts_an_etcd_that_is_away(void **state) {
    fixture *f = *state;
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_SYNCING);
    deadline_passes(f, 50);
    page_comes(f, (page){.header = {10}});
    ends_with(f, EW_OK);
}

/* No other revision will do, so there is no loading anew. */
static void it_fails_without_its_revision(void **state) {
    fixture *f = *state;
    starts(f);
    page_comes(f, (page){.header = {17}, .keys = {"/a/1"}, .mod_revision = 9, .more = true});
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_COMPACTED);
    ends_with(f, EW_ERR_COMPACTED);
}

static void it_fails_where_its_member_is_behind(void **state) {
    fixture *f = *state;
    starts(f);
    failed(f, WATCHING_PAGE_FAILED, EW_ERR_FUTURE_REVISION);
    ends_with(f, EW_ERR_FUTURE_REVISION);
}

static void it_is_stopped(void **state) {
    fixture *f = *state;
    starts(f);
    told(f, WATCHING_STOP);
    assert_non_null(wants(f, WATCHING_DO_CANCEL_RANGE));
    ends_with(f, EW_OK);
}

/* ---- loading again ---- */

static void a_watch_is_left(void **state) {
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

static void a_broken_watch_need_not_come_back(void **state) {
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

static void what_is_being_loaded_goes_on(void **state) {
    fixture *f = *state;
    told(f, WATCHING_RESYNC); /* before the start, too */
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

#define audit(f) cmocka_unit_test_setup_teardown(f, set_up_audit, tear_down)
#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        audit(it_reads_the_keys_of_its_revision),
        audit(it_does_not_believe_another_revision),
        audit(it_outlasts_an_etcd_that_is_away),
        audit(it_fails_without_its_revision),
        audit(it_fails_where_its_member_is_behind),
        audit(it_is_stopped),
        test(a_watch_is_left),
        test(a_broken_watch_need_not_come_back),
        test(what_is_being_loaded_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
