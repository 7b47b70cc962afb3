/* The bodies of mailbox messages: which of them wake a waiting actor, and what other applications send and receive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/message.h"

#include <etcdworker/nng.h>

/* Valid until the next call. */
static ew_slice packed(const Msg__Message *m) {
    static uint8_t body[256];
    assert_true(msg__message__get_packed_size(m) <= sizeof body);
    return (ew_slice){body, msg__message__pack(m, body)};
}

static void only_what_moves_the_reactor_on_is_urgent(void **state) {
    (void)state;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    Msg__Snapshot snapshot = MSG__SNAPSHOT__INIT;
    Msg__Health health = MSG__HEALTH__INIT;
    m.epoch = 3;
    m.events = &events;
    events.revision = 77;
    events.response = message_bytes(EW_STR("\x32\x32\x32")); /* bytes that look like an outcome's tag */
    assert_false(message_is_urgent(packed(&m)));
    m.snapshot = &snapshot;
    assert_false(message_is_urgent(packed(&m)));
    Msg__Audited audited = MSG__AUDITED__INIT;
    m.audited = &audited;
    assert_false(message_is_urgent(packed(&m)));
    m.health = &health; /* readiness must not wait for an outcome that etcd's end has taken along (SEMANTICS 14) */
    assert_true(message_is_urgent(packed(&m)));
    m.health = NULL;

    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    m.outcome = &outcome; /* joined with the events */
    assert_true(message_is_urgent(packed(&m)));
    Msg__Message stop = MSG__MESSAGE__INIT;
    Msg__Stop s = MSG__STOP__INIT;
    stop.stop = &s;
    assert_true(message_is_urgent(packed(&stop)));
}

static void what_is_no_message_is_urgent_so_that_it_is_dropped_soon(void **state) {
    (void)state;
    assert_true(message_is_urgent(EW_STR("\x1a\xff\xff\xff\xff\x0f")));                     /* longer than the body */
    assert_true(message_is_urgent(EW_STR("\x1a")));                                         /* ends in the tag */
    assert_true(message_is_urgent(EW_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))); /* a number without end */
    assert_true(message_is_urgent(EW_STR("\x1d\x01\x02\x03\x04")));                         /* events as a fixed32 */
    assert_true(message_is_urgent(EW_STR("hello")));
    assert_false(message_is_urgent(EW_STR("")));
}

static void an_actors_end_is_seen_without_unpacking(void **state) {
    (void)state;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    m.epoch = 3;
    m.events = &events;
    events.response = message_bytes(EW_STR("\x52\x00")); /* bytes that look like an actor's end */
    assert_false(message_is_down(packed(&m)));
    Msg__Down down = MSG__DOWN__INIT;
    m.down = &down; /* behind the events */
    assert_true(message_is_down(packed(&m)));
    Msg__Message alone = MSG__MESSAGE__INIT;
    alone.down = &down;
    down.detail = (char *)(uintptr_t) "the end";
    assert_true(message_is_down(packed(&alone)));
    assert_false(message_is_down(EW_STR("")));
    assert_false(message_is_down(EW_STR("\x1a\xff\x52\x00"))); /* events longer than the body */
    assert_false(message_is_down(EW_STR("\x52\x05")));         /* an end longer than the body */
}

static void a_submit_carries_all_that_was_put_into_it(void **state) {
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
    assert_true(ew_slice_equal(message_slice(m->puts[1]->key), EW_STR("/b\0c")));
    assert_int_equal(m->n_deletes, 1);
    assert_true(ew_slice_equal(message_slice(m->deletes[0]), EW_STR("/d")));
    assert_int_equal(m->n_compares, 2);
    assert_true(m->compares[0]->absent);
    assert_false(m->compares[1]->absent);
    assert_true(ew_slice_equal(message_slice(m->compares[1]->value), EW_STR("v")));
    msg__submit__free_unpacked(m, NULL);
}

static void a_reply_or_a_note_that_is_none_is_refused(void **state) {
    (void)state;
    ew_submit_reply reply;
    ew_tick_note note;
    assert_int_equal(ew_submit_reply_unpack("\xff", 1, &reply), EW_ERR_BAD_MESSAGE);
    assert_int_equal(ew_tick_note_unpack("\xff", 1, &note), EW_ERR_BAD_MESSAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_moves_the_reactor_on_is_urgent),
        cmocka_unit_test(what_is_no_message_is_urgent_so_that_it_is_dropped_soon),
        cmocka_unit_test(an_actors_end_is_seen_without_unpacking),
        cmocka_unit_test(a_submit_carries_all_that_was_put_into_it),
        cmocka_unit_test(a_reply_or_a_note_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
