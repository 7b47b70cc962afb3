/* The watch: what its responses do, the ones that etcd should not send included (ETCD P1 to P10). */
#include "unit/watching_fixture.h"

static void sends_up_to(const fixture *f, int64_t revision) {
    const watching_effect *e = wants(f, WATCHING_DO_SEND_EVENTS);
    assert_non_null(e);
    assert_int_equal(e->revision, revision);
}

/* ETCD P1, SEMANTICS 11: three responses of a backlog, all with the header of the newest revision. */
static void a_backlog_is_measured_by_its_events(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {2502}, .watch_id = 7, .events = {{"/a/1", 11}, {"/a/1", 1010}}});
    sends_up_to(f, 1010);
    response_comes(f, (response){.header = {2502}, .watch_id = 7, .events = {{"/a/1", 1011}, {"/a/1", 2010}}});
    sends_up_to(f, 2010);
    reopens_at(f, 2010); /* not behind 2502 */
    is_created(f, 2502);
    response_comes(
        f, (response){.header = {2502}, .watch_id = 7, .events = {{"/a/1", 2010}, {"/a/1", 2011}, {"/a/1", 2502}}});
    sends_up_to(f, 2502);
}

/* ---- progress ---- */

/* ETCD P2, SEMANTICS 12: a requested reply overtakes events. */
static void a_requested_progress_reply_raises_nothing(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {500}, .watch_id = -1});
    assert_int_equal(f->out.count, 0);
    reopens_behind(f, 10);
}

static void the_watchs_own_notification_raises_the_revision(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {40}, .watch_id = 7});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_PROGRESS);
    assert_int_equal(e->revision, 40);
    assert_int_equal(e->epoch, 1);
    response_comes(f, (response){.header = {40}, .watch_id = 7}); /* no news */
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
    assert_int_equal(effects(f), 0); /* and a second one is nothing new */
    reopens_behind(f, 10);
}

/* ---- fragments ---- */

/* ETCD P3: whole revisions only. */
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
    assert_ptr_equal(wants(f, WATCHING_DO_SEND_EVENTS)->bytes.data, f->bytes); /* nothing sticks to the next one */
}

static void fragments_of_a_broken_stream_are_forgotten(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .fragment = true, .events = {{"/a/1", 11}}});
    reopens_behind(f, 10);
    connects(f);
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}, {"/a/2", 11}}});
    sends_up_to(f, 11);
    assert_ptr_equal(wants(f, WATCHING_DO_SEND_EVENTS)->bytes.data, f->bytes);
}

static void a_last_fragment_without_events_completes_too(void **state) {
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

static void fragments_without_end_load_anew(void **state) {
    fixture *f = *state;
    watches(f, 10);
    char key[4001] = "/a/";
    memset(key + 3, 'k', sizeof key - 4);
    int sent = 0;
    while (watching_get_state(f->core) == WATCHING_WATCHING) {
        response_comes(f, (response){.header = {11}, .watch_id = 7, .fragment = true, .events = {{key, 11}}});
        sent++;
    }
    assert_int_equal(sent, 32); /* 32 times page_bytes, and each is a little more than page_bytes */
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

static void what_was_joined_is_given_back(void **state) {
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

static void a_response_that_is_too_large_loads_anew(void **state) {
    fixture *f = *state;
    watches(f, 10);
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_TOO_LARGE); /* it would be too large again */
    is_in(f, WATCHING_SYNCING);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
}

/* ---- the past again ---- */

/* ETCD P5: told by a stream that goes on; or a revision was changed on its way, and what came with it is lost. */
static void the_past_is_left_for_another_stream(void **state) {
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
    for (int i = 0; i < 20; i++) { /* it ends nothing, however often */
        response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 5}}});
        reopens_at(f, 11);
        is_created(f, 11);
        response_comes(f,
                       (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 5}}}); /* a start in the future */
        assert_int_equal(effects(f), 0);
        response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
        assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
    }
}

/* ---- somebody else's ---- */

/* There is one watch a stream: what is said of another is ours, with its number changed on the way. */
static void a_response_for_another_watch_breaks_the_stream(void **state) {
    static const response others[] = {
        {.header = {11}, .watch_id = 8, .events = {{"/a/1", 11}}},
        {.header = {50}, .watch_id = 8},
        {.header = {11}, .watch_id = 8, .canceled = true, .reason = "not ours"},
        {.header = {11}, .watch_id = 8, .created = true},
        {.header = {11}, .watch_id = -1, .events = {{"/a/1", 11}}},
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

static void a_cancelled_watch_is_made_again(void **state) {
    fixture *f = *state;
    watches(f, 10);
    response_comes(f, (response){.header = {10}, .watch_id = 7, .canceled = true, .reason = "because"});
    is_in(f, WATCHING_BROKEN);
    assert_non_null(wants(f, WATCHING_DO_CLOSE));
    failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    is_in(f, WATCHING_BROKEN);
    assert_null(wants(f, WATCHING_DO_OPEN)); /* the backoff is not over */
    reopens_behind(f, 10);
}

/* ETCD P10: created and cancelled, watch -1, a text. etcd 3.4 gives watch 0. Each refusal is checked by a range call,
 * which gets a new token or tells that the permission is gone. */
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

static void a_denied_watch_ends_it(void **state) {
    is_denied(*state, -1, "rpc error: code = PermissionDenied desc = etcdserver: permission denied", EW_ERR_DENIED);
}

static void a_denied_watch_of_etcd_3_4_ends_it(void **state) {
    is_denied(*state, 0, "rpc error: code = PermissionDenied desc = etcdserver: permission denied", EW_ERR_DENIED);
}

static void a_watch_with_a_bad_token_ends_it(void **state) {
    is_denied(*state, -1, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
              EW_ERR_UNAUTHENTICATED);
}

static void a_watch_without_a_user_ends_it(void **state) {
    is_denied(*state, -1, "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
              EW_ERR_UNAUTHENTICATED);
}

static void an_expired_token_heals(void **state) {
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

/* ---- answers that make no sense ---- */

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

static void a_response_that_cannot_be_true_breaks_the_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    is_refused(f, (response){.header = {11, .absent = true}, .watch_id = 7, .events = {{"/a/1", 11}}});
    is_refused(f, (response){.header = {11, .without_cluster = true}, .watch_id = 7, .events = {{"/a/1", 11}}});
    is_refused(f, (response){.header = {-11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11, .without_kv = true}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"", 11}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 0}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", -4}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", INT64_MAX}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11, 2}}});
    response_comes(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 11}}});
    sends_up_to(f, 11);
}

/* Each looks as one of etcd's, and was changed on its way. */
static void events_that_contradict_their_response_break_the_stream(void **state) {
    fixture *f = *state;
    watches(f, 10);
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", INT64_C(1) << 40}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/a/1", 12}}});
    is_refused(f, (response){.header = {12}, .watch_id = 7, .events = {{"/a/1", 12}, {"/a/2", 11}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/b", 11}}});
    is_refused(f, (response){.header = {11}, .watch_id = 7, .events = {{"/Z", 11}}});
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
        uint8_t *exact = malloc(len + 1); /* so that a read behind it is seen */
        assert_non_null(exact);
        memcpy(exact, whole, len);
        happens(f, (watching_event){.type = WATCHING_RESPONSE, .bytes = {exact, len}});
        free(exact);
        /* A cut between two fields leaves a shorter message that may be a whole one: a notification, or one event. */
        assert_true(f->witness.revision == 10 || f->witness.revision == 11);
    }
}

static void senseless_responses_without_end_end_it(void **state) {
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
        TEST(a_backlog_is_measured_by_its_events),
        TEST(a_requested_progress_reply_raises_nothing),
        TEST(the_watchs_own_notification_raises_the_revision),
        TEST(created_raises_nothing),
        TEST(fragments_are_joined),
        TEST(fragments_of_a_broken_stream_are_forgotten),
        TEST(a_last_fragment_without_events_completes_too),
        TEST(joined_replays_are_dropped),
        TEST(fragments_without_end_load_anew),
        TEST(what_was_joined_is_given_back),
        TEST(a_response_that_is_too_large_loads_anew),
        TEST(the_past_is_left_for_another_stream),
        TEST(a_response_for_another_watch_breaks_the_stream),
        TEST(nothing_counts_before_created),
        TEST(a_cancelled_watch_is_made_again),
        TEST(a_denied_watch_ends_it),
        TEST(a_denied_watch_of_etcd_3_4_ends_it),
        TEST(a_watch_with_a_bad_token_ends_it),
        TEST(a_watch_without_a_user_ends_it),
        TEST(an_expired_token_heals),
        TEST(a_response_that_cannot_be_true_breaks_the_stream),
        TEST(events_that_contradict_their_response_break_the_stream),
        TEST(truncated_responses_never_crash),
        TEST(senseless_responses_without_end_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
