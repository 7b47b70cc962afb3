/* Message bodies: which of them wake a waiting actor at once, and what other applications send and receive. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/message.h"
#include "core/slice.h"

#include <etcdworker/nng.h>

/* Returns the packed message; valid until the next call. */
static ew_slice packed(const Msg__Message *m) {
    static uint8_t body[256];
    assert_true(msg__message__get_packed_size(m) <= sizeof body);
    return (ew_slice){body, msg__message__pack(m, body)};
}

static void events_and_pages_are_not_urgent(void **state) {
    (void)state;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    Msg__Snapshot snapshot = MSG__SNAPSHOT__INIT;
    Msg__Health health = MSG__HEALTH__INIT;
    m.epoch = 3;
    m.events = &events;
    events.revision = 77;
    events.response = slice_bytes(EW_STR("\x32\x32\x32")); /* bytes that look like the tag of an outcome */
    assert_false(message_is_urgent(packed(&m)));
    m.snapshot = &snapshot;
    assert_false(message_is_urgent(packed(&m)));
    Msg__Checked checked = MSG__CHECKED__INIT;
    m.checked = &checked;
    assert_false(message_is_urgent(packed(&m)));
    m.health = &health; /* `ready` must not wait for an outcome that an outage of etcd delays (SEMANTICS 14) */
    assert_true(message_is_urgent(packed(&m)));
    m.health = NULL;

    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    m.outcome = &outcome; /* piggyback: with the events */
    assert_true(message_is_urgent(packed(&m)));
    Msg__Message stop = MSG__MESSAGE__INIT;
    Msg__Stop s = MSG__STOP__INIT;
    stop.stop = &s;
    assert_true(message_is_urgent(packed(&stop)));
}

static void invalid_messages_are_urgent(void **state) {
    (void)state;
    assert_true(message_is_urgent(EW_STR("\x1a\xff\xff\xff\xff\x0f")));                     /* longer than the body */
    assert_true(message_is_urgent(EW_STR("\x1a")));                                         /* ends in the tag */
    assert_true(message_is_urgent(EW_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))); /* a number without end */
    assert_true(message_is_urgent(EW_STR("\x1d\x01\x02\x03\x04")));                         /* events as a fixed32 */
    assert_true(message_is_urgent(EW_STR("hello")));
    assert_false(message_is_urgent(EW_STR("")));
}

static void down_is_found_without_unpacking(void **state) {
    (void)state;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    m.epoch = 3;
    m.events = &events;
    events.response = slice_bytes(EW_STR("\x52\x00")); /* bytes that look like DOWN */
    assert_int_equal(message_down_actor(packed(&m)), MSG__ACTOR__NONE);
    Msg__Down down = MSG__DOWN__INIT;
    down.status = -3;
    m.down = &down; /* after the events */
    assert_int_equal(message_down_actor(packed(&m)), MSG__ACTOR__NONE);
    down.actor = MSG__ACTOR__COMMITTER;
    assert_int_equal(message_down_actor(packed(&m)), MSG__ACTOR__COMMITTER);
    Msg__Message alone = MSG__MESSAGE__INIT;
    alone.down = &down;
    down.detail = (char *)(uintptr_t) "the end";
    assert_int_equal(message_down_actor(packed(&alone)), MSG__ACTOR__COMMITTER);
    assert_int_equal(message_down_actor(EW_STR("")), MSG__ACTOR__NONE);
    assert_int_equal(message_down_actor(EW_STR("\x1a\xff\x52\x00")),
                     MSG__ACTOR__NONE); /* events longer than the body */
    assert_int_equal(message_down_actor(EW_STR("\x52\x02\x10\x01")), MSG__ACTOR__NONE); /* only a status */
    assert_int_equal(message_down_actor(EW_STR("\x52\x05")), MSG__ACTOR__NONE);         /* DOWN longer than the body */
}

static void a_submit_has_all_its_content(void **state) {
    (void)state;
    ew_submit *s = ew_submit_new();
    assert_non_null(s);
    assert_int_equal(ew_submit_put(s, EW_STR("/a"), EW_STR("")), EW_OK);
    assert_int_equal(ew_submit_put(s, EW_STR("/b\0c"), EW_STR("2")), EW_OK);
    assert_int_equal(ew_submit_delete(s, EW_STR("/d")), EW_OK);
    assert_int_equal(ew_submit_if_absent(s, EW_STR("/e")), EW_OK);
    assert_int_equal(ew_submit_if_value(s, EW_STR("/f"), EW_STR("v")), EW_OK);
    void *body;
    size_t size;
    assert_int_equal(ew_submit_pack(s, &body, &size), EW_OK);
    ew_submit_free(s);

    Msg__Submit *m = msg__submit__unpack(NULL, size, body);
    free(body);
    assert_non_null(m);
    assert_int_equal(m->n_puts, 2);
    assert_int_equal(m->puts[0]->value.len, 0);
    assert_true(ew_slice_equal(slice_of(m->puts[1]->key), EW_STR("/b\0c")));
    assert_int_equal(m->n_deletes, 1);
    assert_true(ew_slice_equal(slice_of(m->deletes[0]), EW_STR("/d")));
    assert_int_equal(m->n_compares, 2);
    assert_true(m->compares[0]->absent);
    assert_false(m->compares[1]->absent);
    assert_true(ew_slice_equal(slice_of(m->compares[1]->value), EW_STR("v")));
    assert_int_equal(m->client.len, 17); /* generated */
    assert_int_equal(m->sequence, 1);
    msg__submit__free_unpacked(m, NULL);
}

static void invalid_replies_and_notes_are_refused(void **state) {
    (void)state;
    ew_submit_reply reply = {.size = sizeof reply};
    ew_tick_note note = {.size = sizeof note};
    assert_int_equal(ew_submit_reply_unpack("\xff", 1, &reply), EW_ERR_BAD_MESSAGE);
    assert_int_equal(ew_tick_note_unpack("\xff", 1, &note), EW_ERR_BAD_MESSAGE);
    reply.size = note.size = 0;
    assert_int_equal(ew_submit_reply_unpack("", 0, &reply), EW_ERR_INVALID);
    assert_int_equal(ew_tick_note_unpack("", 0, &note), EW_ERR_INVALID);
}

/* A program that was compiled with a shorter struct gets the members that it knows, and nothing after them changes. */
static void replies_and_notes_are_as_long_as_the_program_knows(void **state) {
    (void)state;
    static const uint8_t body[] = {0x08, 0x09, 0x10, 0x07, 0x18, 0x02}; /* number 9, revision 7, groups 2 */
    ew_tick_note note = {.size = offsetof(ew_tick_note, groups), .groups = 77};
    assert_int_equal(ew_tick_note_unpack(body, sizeof body, &note), EW_OK);
    assert_int_equal(note.size, offsetof(ew_tick_note, groups));
    assert_int_equal(note.number, 9);
    assert_int_equal(note.revision, 7);
    assert_int_equal(note.groups, 77);
    note.size = sizeof note;
    assert_int_equal(ew_tick_note_unpack(body, sizeof body, &note), EW_OK);
    assert_int_equal(note.groups, 2);
    ew_submit_reply reply = {.size = offsetof(ew_submit_reply, detail), .detail = "untouched"};
    static const uint8_t stale[] = {0x08, 0x3b, 0x10, 0x05, 0x1a, 0x01, 'x'}; /* status -30, revision 5, detail "x" */
    assert_int_equal(ew_submit_reply_unpack(stale, sizeof stale, &reply), EW_OK);
    assert_int_equal(reply.status, EW_ERR_STALE);
    assert_int_equal(reply.revision, 5);
    assert_string_equal(reply.detail, "untouched");
}

/* ---- identities of submits ---- */

static Msg__Submit *submit_of(ew_submit *s) {
    void *body;
    size_t size;
    assert_int_equal(ew_submit_pack(s, &body, &size), EW_OK);
    Msg__Submit *m = msg__submit__unpack(NULL, size, body);
    assert_non_null(m);
    free(body);
    return m;
}

/* A new ew_submit has an identity of its own; the same ew_submit always packs with the same one. */
static void a_submit_keeps_its_identity(void **state) {
    (void)state;
    ew_submit *s = ew_submit_new(), *other = ew_submit_new();
    Msg__Submit *first = submit_of(s), *again = submit_of(s), *another = submit_of(other);
    assert_true(ew_slice_equal(slice_of(first->client), slice_of(again->client)));
    assert_int_equal(first->sequence, again->sequence);
    assert_false(ew_slice_equal(slice_of(first->client), slice_of(another->client)));
    msg__submit__free_unpacked(first, NULL);
    msg__submit__free_unpacked(again, NULL);
    msg__submit__free_unpacked(another, NULL);
    ew_submit_free(s);
    ew_submit_free(other);
}

/* 64 submits of one thread in parallel have 64 clients. Later submits reuse these clients with the next sequence
 * numbers. */
static void sequences_of_parallel_submits(void **state) {
    (void)state;
    enum { CLIENTS = 64 };
    uint8_t clients[CLIENTS][17];
    uint64_t sequences[CLIENTS];
    for (int i = 0; i < 2 * CLIENTS; i++) {
        ew_submit *s = ew_submit_new();
        Msg__Submit *m = submit_of(s);
        assert_int_equal(m->client.len, sizeof clients[0]);
        for (int k = 0; k < i && k < CLIENTS; k++) {
            bool same = memcmp(clients[k], m->client.data, sizeof clients[0]) == 0;
            assert_int_equal(same, i >= CLIENTS && k == i - CLIENTS);
        }
        if (i < CLIENTS) {
            memcpy(clients[i], m->client.data, sizeof clients[0]);
            sequences[i] = m->sequence;
        } else {
            assert_int_equal(m->sequence, sequences[i - CLIENTS] + 1);
        }
        msg__submit__free_unpacked(m, NULL);
        ew_submit_free(s);
    }
}

static void *one_identity(void *out) {
    ew_submit *s = ew_submit_new();
    Msg__Submit *m = submit_of(s);
    memcpy(out, m->client.data, m->client.len);
    msg__submit__free_unpacked(m, NULL);
    ew_submit_free(s);
    return NULL;
}

/* Two threads are different clients, and so are a process and its child. */
static void identities_are_not_shared(void **state) {
    (void)state;
    uint8_t ours[17], theirs[17], childs[17] = {0};
    pthread_t thread;
    int fds[2], status;
    one_identity(ours);
    assert_int_equal(pthread_create(&thread, NULL, one_identity, theirs), 0);
    pthread_join(thread, NULL);
    assert_memory_not_equal(ours, theirs, 16);
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        one_identity(childs);
        _exit(write(fds[1], childs, sizeof childs) == (ssize_t)sizeof childs ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(read(fds[0], childs, sizeof childs), sizeof childs);
    assert_memory_not_equal(ours, childs, 16);
    close(fds[0]);
    close(fds[1]);
}

static void an_identity_can_be_given(void **state) {
    (void)state;
    char longest[65];
    memset(longest, 'x', sizeof longest);
    ew_submit *s = ew_submit_new();
    assert_int_equal(ew_submit_identity(s, (ew_slice){longest, 64}, UINT64_MAX), EW_OK);
    Msg__Submit *m = submit_of(s);
    assert_int_equal(m->client.len, 64);
    assert_true(m->sequence == UINT64_MAX);
    msg__submit__free_unpacked(m, NULL);
    assert_int_equal(ew_submit_identity(s, EW_STR(""), 0), EW_OK);
    m = submit_of(s);
    assert_int_equal(m->client.len + m->sequence, 0);
    msg__submit__free_unpacked(m, NULL);
    ew_submit_free(s);
    const struct {
        ew_slice client;
        uint64_t sequence;
    } wrong[] = {{{longest, 65}, 1}, {{longest, 1}, 0}, {{NULL, 0}, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        void *body;
        size_t size;
        s = ew_submit_new();
        assert_int_equal(ew_submit_identity(s, wrong[i].client, wrong[i].sequence), EW_ERR_INVALID);
        assert_int_equal(ew_submit_pack(s, &body, &size), EW_ERR_INVALID); /* the error stays */
        ew_submit_free(s);
    }
    assert_int_equal(ew_submit_identity(NULL, EW_STR("c"), 1), EW_ERR_NO_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_and_pages_are_not_urgent),
        cmocka_unit_test(invalid_messages_are_urgent),
        cmocka_unit_test(down_is_found_without_unpacking),
        cmocka_unit_test(a_submit_has_all_its_content),
        cmocka_unit_test(a_submit_keeps_its_identity),
        cmocka_unit_test(sequences_of_parallel_submits),
        cmocka_unit_test(identities_are_not_shared),
        cmocka_unit_test(an_identity_can_be_given),
        cmocka_unit_test(invalid_replies_and_notes_are_refused),
        cmocka_unit_test(replies_and_notes_are_as_long_as_the_program_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
