/* The watch: the effects of its responses, including those that etcd should not send (ETCD P1 to P10). */
#include "unit/watching_fixture.h"

static void sends_up_to(const fixture *f, int64_t revision) {
    const watching_effect *e = wants(f, WATCHING_DO_SEND_EVENTS);
    assert_non_null(e);
    assert_int_equal(e->revision, revision);
}

/* ETCD P1, SEMANTICS 11: all responses of a backlog have the newest revision in their header. */
static void a_backlog_counts_by_its_events(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {2502}, .watch_id = 7, .events = {{"/a/1", 11}, {"/a/1", 1010}}});
    sends_up_to(f, 1010);
    response_comes(f, (response){.header = {2502}, .watch_id = 7, .events = {{"/a/1", 1011}, {"/a/1", 2010}}});
    sends_up_to(f, 2010);
    reopens_at(f, 2010); /* not after 2502 */
    is_created(f, 2502);
    response_comes(
        f, (response){.header = {2502}, .watch_id = 7, .events = {{"/a/1", 2010}, {"/a/1", 2011}, {"/a/1", 2502}}});
    sends_up_to(f, 2502);
}

/* ---- progress ---- */

static void a_progress_notification_without_a_revision_breaks_the_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {0}, .watch_id = 7});
    assert_null(wants(f, WATCHING_DO_SEND_PROGRESS));
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    is_in(f, WATCHING_BROKEN);
    reopens_behind(f, 10);
}

/* ETCD P2, SEMANTICS 12: the answer to a progress request may overtake events. */
static void an_answer_to_a_progress_request_raises_nothing(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {500}, .watch_id = -1});
    assert_int_equal(f->out.count, 0);
    reopens_behind(f, 10);
}

static void a_notification_of_the_watch_raises_the_revision(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {40}, .watch_id = 7});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_PROGRESS);
    assert_int_equal(e->revision, 40);
    assert_int_equal(e->epoch, 1);
    response_comes(f, (response){.header = {40}, .watch_id = 7}); /* the same revision */
    assert_int_equal(f->out.count, 0);
    reopens_behind(f, 40);
}

static void created_raises_nothing(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    response_comes(f, (response){.header = {99}, .watch_id = 0, .created = true});
    assert_int_equal(effects(f), 2); /* health, and the end of the snapshot */
    assert_int_equal(wants(f, WATCHING_DO_SEND_SNAPSHOT)->revision, 10);
    response_comes(f, (response){.header = {99}, .watch_id = 0, .created = true});
    is_in(f, WATCHING_BROKEN); /* etcd never creates a watch twice */
    reopens_behind(f, 10);
}

/* ---- fragments ---- */

/* ETCD P3: the core passes on whole revisions only. */
static void fragments_are_joined(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f,
                   (response){.header = {12}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 11}, {"/a/2", 12}}});
    assert_int_equal(f->out.count, 0);
    response_comes(f, (response){.header = {12}, .watch_id = 7, .fragment = true, .events = {{"/a/3", 12}}});
    assert_int_equal(f->out.count, 0);
    response_comes(f,
                   (response){.header = {12}, .watch_id = 7, .events = {{"/a/4", 12, PB__EVENT__EVENT_TYPE__DELETE}}});
    sends_up_to(f, 12);
    const watching_effect *e = wants(f, WATCHING_DO_SEND_EVENTS);
    Pb__WatchResponse *r = pb__watch_response__unpack(NULL, e->bytes.len, e->bytes.data);
    assert_non_null(r);
    assert_int_equal(r->n_events, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(((char *)r->events[i]->kv->key.data)[3], '1' + (int)i);
    assert_int_equal(r->events[3]->type, PB__EVENT__EVENT_TYPE__DELETE);
    assert_false(r->fragment);
    assert_int_equal(r->watch_id, 7);
    assert_int_equal(r->header->revision, 12);
    pb__watch_response__free_unpacked(r, NULL);
    response_comes(f, (response){.header = {13}, .watch_id = 7, .events = {{"/a/5", 13}}});
    sends_up_to(f, 13);
    assert_ptr_equal(wants(f, WATCHING_DO_SEND_EVENTS)->bytes.data, f->bytes); /* nothing of the fragments is left */
}

static void fragments_of_a_broken_stream_are_dropped(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 11}}});
    reopens_behind(f, 10);
    connects(f);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}, {"/a/2", 11}}});
    sends_up_to(f, 11);
    assert_ptr_equal(wants(f, WATCHING_DO_SEND_EVENTS)->bytes.data, f->bytes);
}

static void a_last_fragment_may_have_no_events(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {90}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 11}}});
    response_comes(f, (response){.header = {90}, .watch_id = 7});
    sends_up_to(f, 11); /* and it is no progress notification */
}

static void joined_replays_are_dropped(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {10}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 9}}});
    response_comes(f, (response){.header = {10}, .watch_id = 7, .events = {{"/a/1", 10}}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    reopens_behind(f, 10);
    connects(f);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 11}}});
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/2", 11}}});
    sends_up_to(f, 11);
    Pb__WatchResponse *r = pb__watch_response__unpack(NULL, wants(f, WATCHING_DO_SEND_EVENTS)->bytes.len,
                                                      wants(f, WATCHING_DO_SEND_EVENTS)->bytes.data);
    assert_non_null(r);
    assert_int_equal(r->n_events, 2);
    pb__watch_response__free_unpacked(r, NULL);
}

static void fragments_without_end_load_again(void **state) {
    fixture *f = *state;
    watches(f, 10);
    char key[4001] = "/a/";
    memset(key + 3, 'k', sizeof key - 4);
    int sent = 0;
    while (watching_get_state(f->core) == WATCHING_WATCHING) {
        response_comes(f, (response){.header = {11}, .watch_id = 7, .fragment = true, .events = {{key, 11}}});
        sent++;
    }
    assert_int_equal(sent, 32); /* 32 x page_bytes, and each response is a little larger than page_bytes */
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

static void memory_of_joined_fragments_is_freed(void **state) {
    fixture *f = *state;
    watches(f, 10);
    char key[3001] = "/a/";
    memset(key + 3, 'k', sizeof key - 4);
    for (int64_t revision = 11; revision < 20; revision++) {
        for (int i = 0; i < 8; i++)
            response_comes(f, (response){.header = {20}, .watch_id = 7, .fragment = true, .events = {{key, revision}}});
        response_comes(f, (response){.header = {20}, .watch_id = 7, .events = {{key, revision}}});
        sends_up_to(f, revision);
    }
}

static void a_response_that_is_too_large_loads_again(void **state) {
    fixture *f = *state;
    watches(f, 10);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_TOO_LARGE); /* it would be too large again */
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

/* ---- revisions that are not newer ---- */

/* ETCD P5: an old event in a stream that goes on. Or a revision was corrupted, and the event that belongs to it is
 * lost. So the stream is replaced. */
static void events_that_are_not_newer_replace_the_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 8}, {"/a/1", 10}}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    reopens_behind(f, 10);
    connects(f);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 9}, {"/a/1", 11}}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    reopens_behind(f, 10);
    connects(f);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    sends_up_to(f, 11);
    for (int i = 0; i < 20; i++) { /* the run goes on, however often */
        response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 5}}});
        reopens_at(f, 11);
        is_created(f, 11);
        response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 5}}}); /* before the start */
        assert_int_equal(effects(f), 0);
        response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
        assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    }
}

/* ---- responses for another watch ---- */

/* There is one watch for each stream. So a response for another watch id is ours, with a corrupted id. */
static void a_response_for_another_watch_breaks_the_stream(void **state) {
    static const response others[] = {
        {.header = {11}, .watch_id = 8, .events = {{"/a/1", 11}}},
        {.header = {11}, .watch_id = 8, .canceled = true, .reason = "not ours"},
    };
    fixture *f = *state;
    watches(f, 10);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        response_comes(f, others[i]);
        is_in(f, WATCHING_BROKEN);
        assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
        reopens_behind(f, 10);
        connects(f);
    }
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    sends_up_to(f, 11);
}

static void nothing_counts_before_created(void **state) {
    fixture *f = *state;
    starts(f);
    loads(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 0, .events = {{"/a/1", 11}}});
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    reopens_behind(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = -3, .created = true});
    assert_false(f->witness.connected);
    reopens_behind(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 0, .created = true, .events = {{"/a/1", 11}}});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    sends_up_to(f, 11);
}

/* ---- cancelled ---- */

static void a_cancelled_watch_is_created_again(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {10}, .watch_id = 7, .canceled = true, .reason = "because"});
    is_in(f, WATCHING_BROKEN);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    is_in(f, WATCHING_BROKEN);
    assert_null(wants(f, WATCHING_DO_OPEN)); /* the backoff goes on */
    reopens_behind(f, 10);
}

/* ETCD P10: created and canceled, with watch id -1 and a reason; etcd 3.4 sends watch id 0. After each refusal the core
 * makes a range call, which gets a new token or shows that the permission is missing. */
static void is_denied(fixture *f, int64_t watch_id, const char *reason, int status) {
    starts(f);
    loads(f, 10);
    connects(f);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    for (int i = 0;; i++) {
        if (f->witness.stream_out)
            failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
        while (!f->witness.stream_out) {
            if (f->witness.range_out)
                page_comes(f, (page){.header = {10}});
            else
                deadline_passes(f, 1000);
        }
        response_comes(
            f, (response){.header = {10}, .watch_id = watch_id, .created = true, .canceled = true, .reason = reason});
        if (i == 3)
            break;
        is_in(f, WATCHING_SYNCING);
    }
    ends_with(f, status);
}

static void a_denied_watch_ends_the_run(void **state) {
    is_denied(*state, -1, "rpc error: code = PermissionDenied desc = etcdserver: permission denied", EW_ERR_DENIED);
}

static void a_denied_watch_of_etcd_3_4_ends_the_run(void **state) {
    is_denied(*state, 0, "rpc error: code = PermissionDenied desc = etcdserver: permission denied", EW_ERR_DENIED);
}

static void a_watch_with_a_bad_token_ends_the_run(void **state) {
    is_denied(*state, -1, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
              EW_ERR_UNAUTHENTICATED);
}

static void a_watch_without_a_user_ends_the_run(void **state) {
    is_denied(*state, -1, "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
              EW_ERR_UNAUTHENTICATED);
}

static void an_expired_token_is_replaced(void **state) {
    fixture *f = *state;
    watches(f, 10);
    for (int round = 0; round < 10; round++) {
        reopens_behind(f, 10);
        response_comes(f, (response){.header = {10},
                                     .watch_id = -1,
                                     .created = true,
                                     .canceled = true,
                                     .reason = "etcdserver: invalid auth token"});
        is_in(f, WATCHING_SYNCING);
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
        while (!f->witness.range_out)
            deadline_passes(f, 1000);
        page_comes(f, (page){.header = {10}});
        connects(f);
    }
}

/* ---- invalid responses ---- */

static void is_refused(fixture *f, response r) {
    int64_t revision = f->witness.revision;
    response_comes(f, r);
    is_in(f, WATCHING_BROKEN);
    assert_null(wants(f, WATCHING_DO_SEND_EVENTS));
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    reopens_behind(f, revision);
    connects(f);
}

/* unit/watch_stream has all that makes a response invalid. */
static void an_invalid_response_breaks_the_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    is_refused(f, (response){.header = {11, .absent = true}, .watch_id = 7, .events = {{"/a/1", 11}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 12}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/b", 11}}});
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    sends_up_to(f, 11);
}

static void truncated_responses_never_crash(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}, {"/a/2", 11}}});
    size_t size = f->event.bytes.len;
    uint8_t whole[256];
    assert_true(size <= sizeof whole);
    memcpy(whole, f->bytes, size);
    for (size_t len = 0; len < size; len++) {
        tear_down(state);
        assert_int_equal(set_up(state), 0);
        f = *state;
        watches(f, 10);
        uint8_t *exact = malloc(len + 1); /* so that the sanitizer finds a read beyond it */
        assert_non_null(exact);
        memcpy(exact, whole, len);
        happens(f, (watching_event){.type = WATCHING_RESPONSE, .bytes = {exact, len}});
        free(exact);
        /* A cut between two fields leaves a shorter message that may be valid: a notification, or one event. */
        assert_true(f->witness.revision == 10 || f->witness.revision == 11);
    }
}

static void invalid_responses_without_end_end_the_run(void **state) {
    fixture *f = *state;
    watches(f, 10);
    for (int i = 0; i < 10; i++)
        is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", -4}}});
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", -4}}});
    ends_with(f, EW_ERR_BAD_ANSWER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_backlog_counts_by_its_events),
        TEST(a_progress_notification_without_a_revision_breaks_the_stream),
        TEST(an_answer_to_a_progress_request_raises_nothing),
        TEST(a_notification_of_the_watch_raises_the_revision),
        TEST(created_raises_nothing),
        TEST(fragments_are_joined),
        TEST(fragments_of_a_broken_stream_are_dropped),
        TEST(a_last_fragment_may_have_no_events),
        TEST(joined_replays_are_dropped),
        TEST(fragments_without_end_load_again),
        TEST(memory_of_joined_fragments_is_freed),
        TEST(a_response_that_is_too_large_loads_again),
        TEST(events_that_are_not_newer_replace_the_stream),
        TEST(a_response_for_another_watch_breaks_the_stream),
        TEST(nothing_counts_before_created),
        TEST(a_cancelled_watch_is_created_again),
        TEST(a_denied_watch_ends_the_run),
        TEST(a_denied_watch_of_etcd_3_4_ends_the_run),
        TEST(a_watch_with_a_bad_token_ends_the_run),
        TEST(a_watch_without_a_user_ends_the_run),
        TEST(an_expired_token_is_replaced),
        TEST(an_invalid_response_breaks_the_stream),
        TEST(truncated_responses_never_crash),
        TEST(invalid_responses_without_end_end_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
