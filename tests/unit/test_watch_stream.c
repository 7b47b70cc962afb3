/* Tests the watch protocol: what each response of a stream means, including responses that etcd never sends (ETCD P1 to
 * P10), which events must come again, and when a stream is silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/slice.h"
#include "core/watch_events.h"
#include "core/watch_stream.h"
#include "watch_message.h"

enum { NOW_MS = 1000, SILENCE_MS = 100, PATIENCE_MS = 70 };

static watch_stream s;
static void all_at(int64_t revision) {
    for (int i = 0; i < 4; i++)
        kvs[i].mod_revision = kvs[i].create_revision = revision;
}

/* Gives the message to the stream. Its bytes are valid until the next call. */
static watch_stream_news take(void) {
    static uint8_t bytes[4096];
    assert_true(pb__watch_response__get_packed_size(&message) <= sizeof bytes);
    return watch_stream_take(&s, (ew_slice){bytes, pb__watch_response__pack(&message, bytes)}, NOW_MS);
}

static watch_stream_news takes(watch_stream_kind kind) {
    const watch_stream_news n = take();
    assert_int_equal(n.kind, kind);
    assert_int_equal(n.header_revision, header.revision);
    return n;
}

static int set_up(void **state) {
    (void)state;
    s = (watch_stream){.joined_max = 600, .silence_ms = SILENCE_MS};
    pb__watch_create_request__init(&s.create);
    s.create.key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    watch_stream_fini(&s);
    return 0;
}

static int64_t opens(int64_t from) {
    Pb__WatchRequest request;
    watch_stream_open(&s, &request, from, NOW_MS, PATIENCE_MS);
    assert_int_equal(request.request_union_case, PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST);
    assert_true(request.create_request->fragment);
    assert_string_equal(request.create_request->key.data, "k");
    return request.create_request->start_revision;
}

/* Opens a stream and creates its watch, with the id 3. */
static void is_created(int64_t from) {
    opens(from);
    good_message(0);
    message.created = true;
    message.watch_id = 3;
    assert_true(takes(WATCH_STREAM_NOTHING).created);
}

static void own_message(size_t count) {
    good_message(count);
    message.watch_id = 3;
}

static size_t count_of(ew_slice bytes) {
    watch_event e;
    size_t count = 0;
    for (watch_events left = watch_events_of(bytes); watch_events_next(&left, &e);)
        count++;
    return count;
}

/* ---- events and progress ---- */

static void events_count_by_their_own_revisions(void **state) {
    (void)state;
    is_created(1);
    own_message(4);
    const watch_stream_news n = takes(WATCH_STREAM_EVENTS);
    assert_false(n.created);
    assert_false(n.confirmed);
    assert_int_equal(n.revision, 13); /* not the header's 20 (P1) */
    assert_int_equal(n.lowest, 10);
    assert_int_equal(n.highest, 13);
    assert_int_equal(n.count, 4);
    assert_int_equal(count_of(n.bytes), 4);
    assert_int_equal(count_of(n.newest), 1);
    assert_int_equal(s.seen, 0); /* not accepted yet */
    watch_stream_accept(&s, &n);
    assert_int_equal(s.seen, 13);
    assert_int_equal(s.last, 13);
    assert_true(s.last_proves);
    own_message(1);
    events[0].type = PB__EVENT__EVENT_TYPE__DELETE;
    all_at(14);
    const watch_stream_news deletion = takes(WATCH_STREAM_EVENTS);
    watch_stream_accept(&s, &deletion);
    assert_int_equal(s.last, 14);
    assert_false(s.last_proves);
}

static void earlier_news_are_read_again(void **state) {
    (void)state;
    is_created(1);
    own_message(4);
    const watch_stream_news n = takes(WATCH_STREAM_EVENTS), again = watch_stream_read(&s, n.bytes);
    assert_int_equal(again.kind, WATCH_STREAM_EVENTS);
    assert_int_equal(again.revision, 13);
    own_message(2);
    kvs[1].mod_revision = 9;
    uint8_t bytes[256];
    const watch_stream_news bad = watch_stream_read(&s, (ew_slice){bytes, pb__watch_response__pack(&message, bytes)});
    assert_int_equal(bad.kind, WATCH_STREAM_INVALID);
    assert_int_equal(bad.status, EW_ERR_BAD_ANSWER);
}

static void only_the_watchs_own_notification_is_progress(void **state) {
    (void)state;
    is_created(1);
    good_message(0);
    message.watch_id = -1; /* the reply to a progress request may have overtaken events (P2) */
    takes(WATCH_STREAM_NOTHING);
    own_message(0);
    const watch_stream_news n = takes(WATCH_STREAM_PROGRESS);
    assert_int_equal(n.revision, 20);
    watch_stream_accept(&s, &n);
    assert_int_equal(s.seen, 20);
    assert_int_equal(s.last, 0); /* there are no events that could come again */
    takes(WATCH_STREAM_NOTHING); /* progress to the same revision is no news */
    header.revision = 0;
    assert_int_equal(takes(WATCH_STREAM_INVALID).status, EW_ERR_BAD_ANSWER);
    assert_int_equal(opens(21), 21);
}

static void the_watch_has_a_range(void **state) {
    (void)state;
    static const struct {
        const char *key, *end;
        size_t end_len;
        const char *inside, *outside;
    } rows[] = {
        {"k", "", 0, "k", "k1"},
        {"k", "l", 1, "k1", "l"},
        {"k", "l", 1, "k", "j"},
        {"k", "\0", 1, "z", "j"}, /* in etcd a range end of "\0" means the end of the keyspace */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.create.key = slice_bytes(ew_str(rows[i].key));
        s.create.range_end = (ProtobufCBinaryData){rows[i].end_len, (uint8_t *)(uintptr_t)rows[i].end};
        is_created(1);
        own_message(1);
        kvs[0].key = slice_bytes(ew_str(rows[i].inside));
        takes(WATCH_STREAM_EVENTS);
        kvs[0].key = slice_bytes(ew_str(rows[i].outside));
        assert_int_equal(takes(WATCH_STREAM_INVALID).status, EW_ERR_BAD_ANSWER);
    }
}

/* ---- fragments ---- */

/* P3: fragments are held until the last one has come, also if the response is split within a revision. */
static void fragments_are_joined(void **state) {
    (void)state;
    is_created(1);
    own_message(2);
    all_at(10);
    message.fragment = true;
    takes(WATCH_STREAM_NOTHING);
    own_message(1);
    const watch_stream_news n = takes(WATCH_STREAM_EVENTS);
    assert_int_equal(n.revision, 10);
    assert_int_equal(count_of(n.newest), 3);
    Pb__WatchResponse *whole = pb__watch_response__unpack(NULL, n.bytes.len, n.bytes.data);
    assert_non_null(whole);
    assert_int_equal(whole->n_events, 3);
    assert_false(whole->fragment);
    assert_int_equal(whole->header->revision, 20);
    pb__watch_response__free_unpacked(whole, NULL);
    watch_stream_take_back(&s);
    assert_null(s.joined.data);
    watch_stream_take_back(&s);

    own_message(1); /* the last fragment may have no events; it is not a progress notification */
    message.fragment = true;
    takes(WATCH_STREAM_NOTHING);
    own_message(0);
    assert_int_equal(takes(WATCH_STREAM_EVENTS).revision, 10);
    own_message(0); /* a fragmented response may have no events at all */
    message.fragment = true;
    takes(WATCH_STREAM_NOTHING);
    own_message(0);
    takes(WATCH_STREAM_NOTHING);
    assert_int_equal(takes(WATCH_STREAM_PROGRESS).revision, 20);
}

static void fragments_of_a_lost_stream_are_forgotten(void **state) {
    (void)state;
    is_created(1);
    own_message(4);
    all_at(10);
    message.fragment = true;
    takes(WATCH_STREAM_NOTHING);
    watch_stream_drop(&s);
    is_created(1);
    own_message(1);
    assert_int_equal(count_of(takes(WATCH_STREAM_EVENTS).bytes), 1);
}

static void fragments_that_contradict_each_other(void **state) {
    (void)state;
    is_created(1);
    own_message(1);
    all_at(12);
    message.fragment = true;
    takes(WATCH_STREAM_NOTHING);
    own_message(1);
    all_at(11);
    assert_int_equal(takes(WATCH_STREAM_INVALID).status, EW_ERR_BAD_ANSWER);
    is_created(1);
    own_message(1);
    message.fragment = true;
    takes(WATCH_STREAM_NOTHING);
    good_message(0); /* etcd sends the fragments of a response one after the other */
    message.watch_id = -1;
    assert_int_equal(takes(WATCH_STREAM_INVALID).status, EW_ERR_BAD_ANSWER);
}

static void fragments_without_events_and_without_end(void **state) {
    (void)state;
    is_created(1);
    watch_stream_news n = {0};
    for (int fragments = 0; n.kind == WATCH_STREAM_NOTHING && fragments < 1000; fragments++) {
        own_message(0);
        message.fragment = true;
        n = take();
    }
    assert_int_equal(n.kind, WATCH_STREAM_INVALID);
    assert_int_equal(n.status, EW_ERR_BAD_ANSWER);
}

/* Fragments without end must not use all memory: the whole revisions are delivered, the rest comes again on the next
 * stream. */
static void fragments_without_end(void **state) {
    (void)state;
    is_created(1);
    watch_stream_news n = {0};
    int64_t fragments = 0;
    for (; n.kind == WATCH_STREAM_NOTHING && fragments < 100; fragments++) {
        own_message(3); /* revisions 10 10 10, 11 11 11, ... */
        all_at(10 + fragments);
        header.revision = 200;
        message.fragment = true;
        n = take();
    }
    assert_int_equal(n.kind, WATCH_STREAM_FULL);
    assert_true(n.bytes.len > 600);
    assert_int_equal(count_of(n.bytes), 3 * fragments);
    assert_int_equal(n.highest, 10 + fragments - 1);
    assert_int_equal(n.revision, n.highest - 1); /* more events of the highest may follow */
    assert_int_equal(count_of(n.newest), 6);
    watch_stream_accept(&s, &n);
    assert_int_equal(opens(n.revision + 1), n.revision); /* its events must come again */

    watch_stream_seek(&s, 0);
    s.joined_max = 50;
    is_created(1);
    own_message(4); /* a single revision that is too large is not whole */
    all_at(20);
    message.fragment = true;
    assert_int_equal(takes(WATCH_STREAM_FULL).revision, 0);
}

static void copies_are_valid_until_they_are_taken_back(void **state) {
    (void)state;
    s.copies = true;
    is_created(1);
    own_message(1);
    const watch_stream_news n = takes(WATCH_STREAM_EVENTS);
    own_message(4); /* these bytes overwrite those of the first message */
    uint8_t bytes[256];
    pb__watch_response__pack(&message, bytes);
    assert_ptr_equal(n.bytes.data, s.joined.data);
    assert_int_equal(count_of(n.bytes), 1);
    watch_stream_take_back(&s);
    assert_null(s.joined.data);
    own_message(0); /* not copied, because there are no events */
    takes(WATCH_STREAM_PROGRESS);
}

/* ---- invalid responses ---- */

/* Begins a case: opens a new stream and makes a valid message, which the case makes invalid. */
static void begins(size_t count) {
    is_created(1);
    own_message(count);
}

static void is_refused(int status) {
    const watch_stream_news n = take();
    assert_int_equal(n.kind, WATCH_STREAM_INVALID);
    assert_int_equal(n.status, status);
    assert_true(n.detail[0] != '\0');
}

static void invalid_headers(void **state) {
    (void)state;
    static const uint8_t garbage[] = {0x0a, 0xff, 0x01}, malformed_id[] = {0x10};
    is_created(1);
    assert_int_equal(watch_stream_take(&s, (ew_slice){garbage, sizeof garbage}, NOW_MS).status, EW_ERR_BAD_ANSWER);
    assert_int_equal(watch_stream_take(&s, (ew_slice){malformed_id, 1}, NOW_MS).status, EW_ERR_BAD_ANSWER);
    assert_int_equal(watch_stream_take(&s, (ew_slice){NULL, 0}, NOW_MS).status, EW_ERR_BAD_ANSWER); /* no header */
    begins(1);
    header.cluster_id = 0;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    header.revision = -1;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    header.revision = INT64_MAX;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    header.cluster_id = 2;
    is_refused(EW_ERR_WRONG_CLUSTER);
    assert_string_equal(s.detail, "cluster 2 answered instead of 1");
    begins(1);
    message.compact_revision = -3;
    message.canceled = true;
    is_refused(EW_ERR_BAD_ANSWER);
}

static void invalid_events(void **state) {
    (void)state;
    begins(1);
    events[0].kv = NULL;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    kvs[0].key.len = 0;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    kvs[0].mod_revision = -5;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    kvs[0].mod_revision = INT64_MAX;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    kvs[0].mod_revision = 21; /* above the header's */
    is_refused(EW_ERR_BAD_ANSWER);
    begins(2);
    kvs[1].mod_revision = 9; /* below the event before it */
    is_refused(EW_ERR_BAD_ANSWER);
    begins(1);
    events[0].type = (Pb__Event__EventType)7;
    is_refused(EW_ERR_BAD_ANSWER);
}

/* A stream carries one watch. So a response with the id of another watch is ours, with a corrupted id. */
static void responses_of_other_watches(void **state) {
    (void)state;
    opens(1);
    own_message(1); /* before the watch was created */
    is_refused(EW_ERR_BAD_ANSWER);
    own_message(0);
    message.created = true;
    message.watch_id = -1;
    is_refused(EW_ERR_BAD_ANSWER);
    begins(0);
    message.created = true; /* the watch is created twice */
    is_refused(EW_ERR_BAD_ANSWER);
    for (size_t count = 0; count < 2; count++) {
        begins(count);
        message.watch_id = 4;
        is_refused(EW_ERR_BAD_ANSWER);
        message.canceled = true;
        is_refused(EW_ERR_BAD_ANSWER);
    }
    begins(1);
    message.watch_id = -1; /* events of no watch */
    is_refused(EW_ERR_BAD_ANSWER);
    opens(1);
    good_message(0); /* a reply to a progress request before the watch is created is ignored */
    message.watch_id = -1;
    assert_false(takes(WATCH_STREAM_NOTHING).created);
    good_message(1);
    message.created = true; /* together with events, which etcd does not send */
    assert_true(takes(WATCH_STREAM_EVENTS).created);
}

/* ---- cancellations ---- */

/* P4, P10: a refused watch has no gRPC status, only a text. */
static void cancellations(void **state) {
    (void)state;
    static const struct {
        const char *reason;
        bool created;
        int status;
    } rows[] = {
        {"rpc error: code = PermissionDenied desc = etcdserver: permission denied", true, EW_ERR_DENIED},
        {"etcdserver: invalid auth token", true, EW_ERR_UNAUTHENTICATED},
        {"rpc error: code = InvalidArgument desc = etcdserver: user name is empty", true, EW_ERR_UNAUTHENTICATED},
        {"etcdserver: no leader", false, EW_ERR_UNAVAILABLE},
        {"etcdserver: no leader", true, EW_ERR_UNAVAILABLE},
        {"", false, EW_ERR_UNAVAILABLE},
        {"range is empty", true, EW_ERR_INVALID},
        {"etcdserver: too many requests", true, EW_ERR_BUSY},
        {"etcdserver: mvcc: required revision has been compacted", false, EW_ERR_UNAVAILABLE}, /* P4 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        opens(1);
        good_message(0);
        message.canceled = true;
        message.created = rows[i].created;
        message.watch_id = -1;
        message.cancel_reason = (char *)(uintptr_t)rows[i].reason;
        const watch_stream_news n = takes(WATCH_STREAM_CANCELED);
        assert_int_equal(n.status, rows[i].status);
        assert_string_equal(n.detail, rows[i].reason[0] != '\0' ? rows[i].reason : "etcd canceled the watch");
        assert_false(n.created);
    }
    begins(0);
    message.canceled = true;
    takes(WATCH_STREAM_CANCELED);
    message.watch_id = -1; /* it can only be our watch */
    takes(WATCH_STREAM_CANCELED);
    message.compact_revision = 7;
    header.revision = 0;
    const watch_stream_news n = takes(WATCH_STREAM_CANCELED);
    assert_int_equal(n.status, EW_ERR_COMPACTED);
    assert_int_equal(n.revision, 7);
}

/* ---- rewritten history ---- */

/* Opens a second stream. On the first one the events of revisions 10 and 11 were accepted, and there was nothing else
 * up to 20. */
static void resumes(void) {
    set_up(NULL);
    is_created(1);
    own_message(2);
    watch_stream_news n = takes(WATCH_STREAM_EVENTS);
    watch_stream_accept(&s, &n);
    own_message(0);
    n = takes(WATCH_STREAM_PROGRESS);
    watch_stream_accept(&s, &n);
    assert_int_equal(opens(21), 11);
    own_message(0);
    message.created = true;
    assert_true(takes(WATCH_STREAM_NOTHING).created);
    assert_false(s.confirmed);
}

/* Builds a message of two events: the last accepted one, at revision 11, and one at `revision`. */
static void message_again(int64_t revision) {
    own_message(3);
    message.events = list + 1;
    message.n_events = 2;
    kvs[2].mod_revision = kvs[2].create_revision = revision;
    header.revision = 40;
}

static void is_rewritten(const char *why) {
    const watch_stream_news n = takes(WATCH_STREAM_REWRITTEN);
    assert_int_equal(n.status, EW_ERR_REVISION_FELL);
    assert_non_null(strstr(n.detail, why));
    assert_false(s.confirmed);
}

static void seen_events_come_again(void **state) {
    (void)state;
    resumes();
    own_message(1); /* P5: a replay of older events */
    header.revision = 40;
    takes(WATCH_STREAM_NOTHING);
    message_again(21);
    const watch_stream_news n = takes(WATCH_STREAM_EVENTS);
    assert_true(n.confirmed);
    assert_int_equal(n.revision, 21);
    watch_stream_accept(&s, &n);
    assert_int_equal(opens(22), 21);

    resumes();
    message_again(21);
    message.n_events = 1;
    assert_int_equal(takes(WATCH_STREAM_EVENTS).revision, 11);
    assert_true(s.confirmed);
    message_again(21); /* only the first events can confirm the stream */
    assert_false(takes(WATCH_STREAM_EVENTS).confirmed);
}

static void another_history(void **state) {
    (void)state;
    static const char changed[] = "revisions 11 to 20", missing[] = "revision 11";
    resumes(); /* another value */
    message_again(21);
    kvs[1].value = (ProtobufCBinaryData){1, (uint8_t *)"v"};
    is_rewritten(changed);
    resumes(); /* another lease */
    message_again(21);
    kvs[1].lease = 5;
    is_rewritten(changed);
    resumes(); /* a deletion */
    message_again(21);
    events[1].type = PB__EVENT__EVENT_TYPE__DELETE;
    is_rewritten(changed);
    resumes(); /* one more event, at a revision that was seen */
    message_again(20);
    is_rewritten(changed);
    resumes(); /* newer events instead of the ones seen before */
    message_again(21);
    message.events = list + 2;
    message.n_events = 1;
    is_rewritten(missing);
    resumes(); /* a progress notification instead of the events */
    own_message(0);
    is_rewritten(missing);
    resumes(); /* no events, then the reply to a liveness probe */
    good_message(0);
    message.watch_id = -1;
    takes(WATCH_STREAM_NOTHING); /* not requested on this stream: it may have overtaken the event (P2) */
    Pb__WatchRequest request;
    watch_stream_probe(&s, &request, NOW_MS);
    is_rewritten(missing);
}

static void seen_events_are_compacted(void **state) {
    (void)state;
    for (int64_t oldest = 11; oldest < 23; oldest++) {
        resumes();
        own_message(0);
        message.canceled = true;
        message.compact_revision = oldest;
        header.revision = 0;
        takes(oldest <= 20 ? WATCH_STREAM_UNPROVED : WATCH_STREAM_CANCELED); /* events are lost only above 20 */
        if (oldest > 20)
            continue;
        assert_int_equal(opens(21), 21);
        assert_true(s.confirmed);
    }
}

static void what_is_known_otherwise_need_not_come_again(void **state) {
    (void)state;
    resumes();
    watch_stream_seek(&s, 30);
    assert_int_equal(s.seen, 30);
    assert_int_equal(opens(31), 31);
    assert_true(s.confirmed);
}

static void a_revision_below_what_was_seen(void **state) {
    (void)state;
    resumes();
    own_message(0);
    header.revision = 19;
    assert_int_equal(takes(WATCH_STREAM_DOUBTED).revision, 19);
    opens(21);
    own_message(0);
    message.created = true;
    header.revision = 12;
    assert_false(takes(WATCH_STREAM_DOUBTED).created);
}

/* ---- silence ---- */

static void is_after(int64_t ms, watch_stream_silence silence) {
    assert_int_equal(s.silent_at_ms, NOW_MS + ms);
    assert_int_equal(watch_stream_check_silence(&s, NOW_MS + ms - 1), WATCH_STREAM_ALIVE);
    assert_int_equal(watch_stream_check_silence(&s, NOW_MS + ms), silence);
}

static void probes(void) {
    Pb__WatchRequest request;
    watch_stream_probe(&s, &request, NOW_MS);
    assert_int_equal(request.request_union_case, PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST);
    assert_non_null(request.progress_request);
}

static void a_silent_stream_is_probed_and_then_replaced(void **state) {
    (void)state;
    opens(1);
    is_after(PATIENCE_MS, WATCH_STREAM_UNCREATED);
    watch_stream_listen(&s, NOW_MS + 5);
    is_after(PATIENCE_MS + 5, WATCH_STREAM_UNCREATED);
    is_created(1);
    is_after(SILENCE_MS, WATCH_STREAM_UNASKED);
    probes();
    is_after(SILENCE_MS, WATCH_STREAM_SILENT);
    watch_stream_listen(&s, NOW_MS + 5); /* the probe is still unanswered */
    is_after(SILENCE_MS + 5, WATCH_STREAM_SILENT);
    good_message(0);
    message.watch_id = -1;
    takes(WATCH_STREAM_NOTHING);
    is_after(SILENCE_MS, WATCH_STREAM_UNASKED);
    for (int64_t i = 1, times = 2; i < 7; i++, times = times < 16 ? times * 2 : 16) {
        watch_stream_renew(&s);
        is_created(1);
        is_after(SILENCE_MS * times, WATCH_STREAM_UNASKED);
    }
    own_message(1);
    message.fragment = true; /* the rest of a large message may still come */
    takes(WATCH_STREAM_NOTHING);
    assert_true(s.renewals > 0);
    own_message(0);
    takes(WATCH_STREAM_EVENTS);
    assert_int_equal(s.renewals, 0);
}

static void what_does_not_come_again_in_silence_is_missing(void **state) {
    (void)state;
    resumes();
    probes();
    is_after(SILENCE_MS, WATCH_STREAM_SILENT);
    watch_stream_renew(&s);
    watch_stream_renew(&s);
    is_after(SILENCE_MS, WATCH_STREAM_MISSING);
    assert_int_equal(watch_stream_miss(&s).kind, WATCH_STREAM_REWRITTEN);
    message_again(21); /* the events come after all */
    const watch_stream_news n = takes(WATCH_STREAM_EVENTS);
    watch_stream_accept(&s, &n);
    assert_int_equal(s.renewals, 0);
    assert_true(watch_stream_after(NOW_MS, INT64_MAX) == INT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(events_count_by_their_own_revisions),
        TEST(earlier_news_are_read_again),
        TEST(only_the_watchs_own_notification_is_progress),
        TEST(the_watch_has_a_range),
        TEST(fragments_are_joined),
        TEST(fragments_of_a_lost_stream_are_forgotten),
        TEST(fragments_that_contradict_each_other),
        TEST(fragments_without_end),
        TEST(fragments_without_events_and_without_end),
        TEST(copies_are_valid_until_they_are_taken_back),
        TEST(invalid_headers),
        TEST(invalid_events),
        TEST(responses_of_other_watches),
        TEST(cancellations),
        TEST(seen_events_come_again),
        TEST(another_history),
        TEST(seen_events_are_compacted),
        TEST(what_is_known_otherwise_need_not_come_again),
        TEST(a_revision_below_what_was_seen),
        TEST(a_silent_stream_is_probed_and_then_replaced),
        TEST(what_does_not_come_again_in_silence_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
