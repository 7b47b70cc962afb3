/* Mailboxes and outboxes: order, limits, wake-ups, requests, the end. Without etcd. */
#include "actors/mailbox.h"

#include "etcd/etcd.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef EW_FINDS_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

enum { WAIT_MS = 30000, SOME = 200 };

/* nng 1.5 leaks a message that is passing from one socket to another when one of them closes. Tests that close sockets
 * at such moments on purpose exclude the allocations of this thread. */
static void ignore_leaks(bool on) {
#ifdef EW_FINDS_LEAKS
    if (on)
        __lsan_disable();
    else
        __lsan_enable();
#else
    (void)on;
#endif
}

static unsigned urls;

/* Returns a URL that no other test has used. */
static const char *new_url(void) {
    static char url[64];
    snprintf(url, sizeof url, "inproc://mailbox-test/%u", ++urls);
    return url;
}

static int send_epoch(outbox *ob, uint64_t epoch) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Progress progress = MSG__PROGRESS__INIT;
    progress.revision = (int64_t)epoch;
    m.epoch = epoch;
    m.progress = &progress;
    return outbox_send(ob, &m);
}

static int send_outcome(outbox *ob) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    m.outcome = &outcome;
    return outbox_send(ob, &m);
}

/* Waits for the next message. */
static Msg__Message *receive(mailbox *mb) {
    mailbox_message raw;
    int64_t deadline_ms = etcd_now_ms() + WAIT_MS;
    while (!mailbox_take(mb, &raw)) {
        assert_true(etcd_now_ms() < deadline_ms);
        mailbox_wait(mb, deadline_ms, false);
    }
    Msg__Message *m = msg__message__unpack(NULL, raw.body.len, raw.body.data);
    mailbox_message_free(&raw);
    assert_non_null(m);
    return m;
}

static uint64_t receive_epoch(mailbox *mb) {
    Msg__Message *m = receive(mb);
    uint64_t epoch = m->epoch;
    msg__message__free_unpacked(m, NULL);
    return epoch;
}

static void open_pair(mailbox **mb, outbox **ob, size_t bound, size_t buffer) {
    const char *url = new_url();
    assert_int_equal(mailbox_open(mb, url, bound, NULL, NULL, NULL), EW_OK);
    assert_int_equal(outbox_open(ob, url, buffer, NULL, NULL, NULL), EW_OK);
}

static void test_messages_keep_their_order(void **state) {
    (void)state;
    mailbox *mb;
    outbox *ob;
    open_pair(&mb, &ob, 4, 2);
    for (uint64_t i = 1; i <= 10000; i++) {
        assert_int_equal(send_epoch(ob, i), EW_OK);
        if (i % 3 == 0)
            assert_int_equal(receive_epoch(mb), i / 3);
    }
    for (uint64_t i = 3334; i <= 10000; i++)
        assert_int_equal(receive_epoch(mb), i);
    outbox_close(ob);
    mailbox_close(mb);
}

static void test_a_mailbox_may_come_later(void **state) {
    (void)state;
    const char *url = new_url();
    mailbox *mb;
    outbox *ob;
    assert_int_equal(outbox_open(&ob, url, 2, NULL, NULL, NULL), EW_OK);
    for (uint64_t i = 1; i <= SOME; i++)
        assert_int_equal(send_epoch(ob, i), EW_OK);
    assert_true(outbox_busy(ob));
    assert_int_equal(mailbox_open(&mb, url, 4, NULL, NULL, NULL), EW_OK);
    for (uint64_t i = 1; i <= SOME; i++)
        assert_int_equal(receive_epoch(mb), i);
    outbox_close(ob);
    mailbox_close(mb);
}

static void count_up(void *arg) {
    ++*(atomic_uint *)arg;
}

/* Every queue has a limit: a receiver that does not take messages makes its sender busy, and gets no more messages than
 * it can hold. When it takes them, the sender is notified that there is space. */
static void test_bounds(void **state) {
    (void)state;
    enum { BOUND = 4 };
    const char *url = new_url();
    mailbox *mb;
    outbox *ob;
    atomic_uint arrived = 0, space = 0;
    assert_int_equal(mailbox_open(&mb, url, BOUND, count_up, &arrived, NULL), EW_OK);
    assert_int_equal(outbox_open(&ob, url, 2, count_up, &space, NULL), EW_OK);
    for (uint64_t i = 1; i <= SOME; i++)
        assert_int_equal(send_epoch(ob, i), EW_OK);
    assert_true(outbox_busy(ob));
    int64_t deadline_ms = etcd_now_ms() + WAIT_MS;
    while (arrived < BOUND && etcd_now_ms() < deadline_ms)
        usleep(1000);
    assert_int_equal(arrived, BOUND);
    outbox_flush(ob, etcd_now_ms() + 100); /* time for more messages to arrive, if they could */
    assert_int_equal(arrived, BOUND);
    assert_true(outbox_busy(ob));
    assert_int_equal(space, 0);
    for (uint64_t i = 1; i <= SOME; i++)
        assert_int_equal(receive_epoch(mb), i);
    outbox_flush(ob, etcd_now_ms() + WAIT_MS);
    while (arrived < SOME && etcd_now_ms() < deadline_ms) /* a message can be taken just before `arrived` is called */
        usleep(1000);
    assert_int_equal(arrived, SOME);
    while (space == 0 && etcd_now_ms() < deadline_ms)
        usleep(1000);
    assert_true(space >= 1);
    assert_false(outbox_busy(ob));
    outbox_close(ob);
    mailbox_close(mb);
}

/* ---- wake-ups ---- */

typedef struct sleeper {
    mailbox *mb;
    bool outcome_only;
    atomic_bool awake;
} sleeper;

static void *sleep_once(void *arg) {
    sleeper *s = arg;
    mailbox_wait(s->mb, etcd_now_ms() + WAIT_MS, s->outcome_only);
    s->awake = true;
    return NULL;
}

static void test_an_actor_is_not_woken_without_need(void **state) {
    (void)state;
    mailbox *mb, *quiet;
    outbox *ob;
    pthread_t thread;
    open_pair(&mb, &ob, 8, 2);
    assert_int_equal(mailbox_open(&quiet, new_url(), 2, NULL, NULL, NULL), EW_OK);
    sleeper s = {.mb = mb, .outcome_only = true};
    assert_int_equal(pthread_create(&thread, NULL, sleep_once, &s), 0);
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(send_epoch(ob, i), EW_OK);
    mailbox_wait(quiet, etcd_now_ms() + 200, false); /* while this thread sleeps, the other must sleep too */
    assert_false(s.awake);
    int64_t before_ms = etcd_now_ms();
    assert_int_equal(send_outcome(ob), EW_OK);
    pthread_join(thread, NULL);
    assert_true(etcd_now_ms() - before_ms < WAIT_MS / 2);
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(receive_epoch(mb), i);
    Msg__Message *m = receive(mb);
    assert_non_null(m->outcome);
    msg__message__free_unpacked(m, NULL);
    outbox_close(ob);
    mailbox_close(mb);
    mailbox_close(quiet);
}

static void test_a_full_mailbox_wakes_its_actor(void **state) {
    (void)state;
    mailbox *mb;
    outbox *ob;
    pthread_t thread;
    open_pair(&mb, &ob, 4, 2);
    sleeper s = {.mb = mb, .outcome_only = true};
    assert_int_equal(pthread_create(&thread, NULL, sleep_once, &s), 0);
    int64_t before_ms = etcd_now_ms();
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(send_epoch(ob, i), EW_OK);
    pthread_join(thread, NULL);
    assert_true(etcd_now_ms() - before_ms < WAIT_MS / 2);
    outbox_close(ob);
    mailbox_close(mb);
}

static void test_a_wait_ends_at_its_deadline(void **state) {
    (void)state;
    mailbox *mb;
    outbox *ob;
    open_pair(&mb, &ob, 4, 2);
    int64_t before_ms = etcd_now_ms();
    mailbox_wait(mb, before_ms + 50, false);
    assert_true(etcd_now_ms() >= before_ms + 49);
    mailbox_wait(mb, before_ms, false); /* returns at once if the deadline has passed */
    outbox_close(ob);
    mailbox_close(mb);
}

/* ---- outcomes that are held for piggyback ---- */

static int hold_outcome(outbox *ob, uint64_t batch) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    outcome.batch = batch;
    m.outcome = &outcome;
    return outbox_hold(ob, &m);
}

static int join_events(outbox *ob, int64_t revision) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    m.epoch = 1;
    events.revision = revision;
    m.events = &events;
    return outbox_join(ob, &m);
}

static int hold_events(outbox *ob, int64_t revision) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    m.epoch = 1;
    events.revision = revision;
    m.events = &events;
    return outbox_hold(ob, &m);
}

static void test_a_held_outcome_joins_the_next_events(void **state) {
    (void)state;
    mailbox *mb;
    outbox *ob;
    open_pair(&mb, &ob, 4, 2);
    assert_int_equal(hold_outcome(ob, 7), EW_OK);
    assert_int_equal(join_events(ob, 70), EW_OK);
    Msg__Message *m = receive(mb);
    assert_true(m->outcome && m->outcome->batch == 7);
    assert_true(m->events && m->events->revision == 70 && m->epoch == 1);
    msg__message__free_unpacked(m, NULL);

    assert_int_equal(hold_outcome(ob, 8), EW_OK);
    assert_int_equal(send_epoch(ob, 5), EW_OK); /* a message that cannot be added to it follows it */
    m = receive(mb);
    assert_true(m->outcome && m->outcome->batch == 8 && m->epoch == 0);
    msg__message__free_unpacked(m, NULL);
    assert_int_equal(receive_epoch(mb), 5);

    assert_int_equal(hold_outcome(ob, 9), EW_OK);
    assert_int_equal(hold_outcome(ob, 10), EW_OK);
    assert_int_equal(outbox_release(ob), EW_OK);
    assert_int_equal(outbox_release(ob), EW_OK); /* nothing is held any more */
    for (uint64_t batch = 9; batch <= 10; batch++) {
        m = receive(mb);
        assert_true(m->outcome && m->outcome->batch == batch);
        msg__message__free_unpacked(m, NULL);
    }
    assert_int_equal(join_events(ob, 80), EW_OK); /* without a held outcome */
    m = receive(mb);
    assert_true(!m->outcome && m->events->revision == 80);
    msg__message__free_unpacked(m, NULL);
    assert_int_equal(hold_outcome(ob, 11), EW_OK); /* discarded with the outbox */
    outbox_close(ob);
    mailbox_close(mb);
}

/* ---- requests ---- */

static nng_socket ask(const char *url, const char *text) {
    nng_socket req;
    assert_int_equal(nng_req0_open(&req), 0);
    assert_int_equal(nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, WAIT_MS), 0);
    assert_int_equal(nng_dial(req, url, NULL, 0), 0);
    assert_int_equal(nng_send(req, (void *)(uintptr_t)text, strlen(text), 0), 0);
    return req;
}

static void expect_reply(nng_socket req, const char *text) {
    nng_msg *m;
    assert_int_equal(nng_recvmsg(req, &m, 0), 0);
    assert_int_equal(nng_msg_len(m), strlen(text));
    assert_memory_equal(nng_msg_body(m), text, strlen(text));
    nng_msg_free(m);
    nng_close(req);
}

static mailbox_message take_request(mailbox *mb) {
    mailbox_message raw;
    int64_t deadline_ms = etcd_now_ms() + WAIT_MS;
    while (!mailbox_take(mb, &raw)) {
        assert_true(etcd_now_ms() < deadline_ms);
        mailbox_wait(mb, deadline_ms, false);
    }
    assert_int_not_equal(raw.request, 0);
    return raw;
}

/* SEMANTICS 8: in one body the second events would replace the first. */
static void test_events_are_never_merged_with_events(void **state) {
    (void)state;
    mailbox *mb;
    outbox *ob;
    open_pair(&mb, &ob, 4, 2);
    assert_int_equal(hold_events(ob, 70), EW_OK);
    assert_int_equal(join_events(ob, 71), EW_OK);
    for (int64_t revision = 70; revision <= 71; revision++) {
        Msg__Message *m = receive(mb);
        assert_true(m->events && m->events->revision == revision);
        msg__message__free_unpacked(m, NULL);
    }
    outbox_close(ob);
    mailbox_close(mb);
}

static void test_requests_are_answered_in_any_order(void **state) {
    (void)state;
    char url[64];
    mailbox *mb;
    assert_int_equal(mailbox_open(&mb, new_url(), 4, NULL, NULL, NULL), EW_OK);
    snprintf(url, sizeof url, "%s", new_url());
    assert_int_equal(mailbox_serve(mb, &(mailbox_place){.url = url, .max_bytes = 1024}, 2, NULL), EW_OK);
    for (int round = 0; round < SOME; round++) {
        nng_socket a = ask(url, "a"), b = ask(url, "b"), c = ask(url, "c"); /* the third waits for a free place */
        mailbox_message first = take_request(mb), second = take_request(mb);
        mailbox_message none;
        assert_false(mailbox_take(mb, &none));
        mailbox_reply(mb, second.request, second.body);
        mailbox_message third = take_request(mb);
        mailbox_reply(mb, first.request, first.body);
        mailbox_reply(mb, third.request, third.body);
        mailbox_message_free(&first);
        mailbox_message_free(&second);
        mailbox_message_free(&third);
        expect_reply(c, "c");
        expect_reply(b, "b");
        expect_reply(a, "a");
    }
    mailbox_close(mb);
}

static void test_a_requester_that_has_closed_does_no_harm(void **state) {
    (void)state;
    char url[64];
    mailbox *mb;
    assert_int_equal(mailbox_open(&mb, new_url(), 4, NULL, NULL, NULL), EW_OK);
    snprintf(url, sizeof url, "%s", new_url());
    assert_int_equal(mailbox_serve(mb, &(mailbox_place){.url = url, .max_bytes = 1024}, 1, NULL), EW_OK);
    ignore_leaks(true);
    for (int round = 0; round < SOME; round++) {
        nng_socket gone = ask(url, "gone");
        mailbox_message m = take_request(mb);
        nng_close(gone);
        mailbox_reply(mb, m.request, EW_STR("to nobody"));
        mailbox_message_free(&m);
        nng_socket here = ask(url, "here");
        m = take_request(mb);
        mailbox_reply(mb, m.request, m.body);
        mailbox_message_free(&m);
        expect_reply(here, "here");
    }
    nng_socket waits = ask(url, "unanswered");
    mailbox_message m = take_request(mb);
    mailbox_message_free(&m);
    mailbox_close(mb); /* while a request is open */
    nng_close(waits);
    ignore_leaks(false);
}

/* ---- the end ---- */

static void test_close_with_messages_on_the_way(void **state) {
    (void)state;
    ignore_leaks(true);
    for (int round = 0; round < SOME; round++) {
        mailbox *mb;
        outbox *ob;
        open_pair(&mb, &ob, 2, 2);
        for (uint64_t i = 0; i < (uint64_t)(round % 12); i++)
            assert_int_equal(send_epoch(ob, i), EW_OK);
        if (round % 2 == 0) {
            outbox_close(ob);
            mailbox_close(mb);
        } else {
            mailbox_close(mb);
            outbox_close(ob);
        }
    }
    outbox_close(NULL);
    mailbox_close(NULL);
    publisher_close(NULL);
    ignore_leaks(false);
}

static void *send_many(void *arg) {
    for (uint64_t i = 0; i < 1000; i++)
        if (send_epoch(arg, i) != EW_OK)
            return arg;
    return NULL;
}

static void test_several_threads_send(void **state) {
    (void)state;
    mailbox *mb;
    outbox *ob;
    pthread_t threads[4];
    unsigned seen[1000] = {0};
    open_pair(&mb, &ob, 4, 2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, ob), 0);
    for (int i = 0; i < 4000; i++)
        seen[receive_epoch(mb)]++;
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 4);
    outbox_close(ob);
    mailbox_close(mb);
}

static void test_invalid_urls(void **state) {
    (void)state;
    mailbox *mb, *other;
    outbox *ob;
    publisher *p;
    ew_error err = {0};
    char url[64];
    assert_int_equal(mailbox_open(&mb, "nonsense", 4, NULL, NULL, &err), EW_ERR_INVALID);
    assert_null(mb);
    assert_non_null(strstr(err.detail, "nonsense"));
    assert_int_not_equal(outbox_open(&ob, "nonsense", 4, NULL, NULL, &err), EW_OK);
    assert_null(ob);
    assert_int_not_equal(publisher_open(&p, &(mailbox_place){.url = "nonsense"}, &err), EW_OK);
    assert_null(p);
    snprintf(url, sizeof url, "%s", new_url());
    assert_int_equal(mailbox_open(&mb, url, 4, NULL, NULL, &err), EW_OK);
    assert_int_equal(mailbox_open(&other, url, 4, NULL, NULL, &err), EW_ERR_SYSTEM); /* another process listens there */
    assert_null(other);
    assert_non_null(strstr(err.detail, url));
    assert_int_not_equal(mailbox_serve(mb, &(mailbox_place){.url = "nonsense"}, 4, &err), EW_OK);
    mailbox_close(mb);
}

/* All transports of nng work. */
static void test_ipc_and_tcp(void **state) {
    (void)state;
    char urls_here[2][128];
    snprintf(urls_here[0], sizeof urls_here[0], "ipc:///tmp/etcdworker-mailbox-test-%d", (int)getpid());
    snprintf(urls_here[1], sizeof urls_here[1], "tcp://127.0.0.1:%d", 20000 + (int)getpid() % 12000);
    for (size_t i = 0; i < 2; i++) {
        mailbox *mb;
        outbox *ob;
        assert_int_equal(mailbox_open(&mb, urls_here[i], 4, NULL, NULL, NULL), EW_OK);
        assert_int_equal(outbox_open(&ob, urls_here[i], 2, NULL, NULL, NULL), EW_OK);
        for (uint64_t n = 1; n <= SOME; n++)
            assert_int_equal(send_epoch(ob, n), EW_OK);
        for (uint64_t n = 1; n <= SOME; n++)
            assert_int_equal(receive_epoch(mb), n);
        outbox_close(ob);
        mailbox_close(mb);
    }
}

static int end_nng(void **state) {
    (void)state;
    nng_fini();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_keep_their_order),
        cmocka_unit_test(test_a_mailbox_may_come_later),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_an_actor_is_not_woken_without_need),
        cmocka_unit_test(test_a_full_mailbox_wakes_its_actor),
        cmocka_unit_test(test_a_wait_ends_at_its_deadline),
        cmocka_unit_test(test_a_held_outcome_joins_the_next_events),
        cmocka_unit_test(test_events_are_never_merged_with_events),
        cmocka_unit_test(test_requests_are_answered_in_any_order),
        cmocka_unit_test(test_a_requester_that_has_closed_does_no_harm),
        cmocka_unit_test(test_close_with_messages_on_the_way),
        cmocka_unit_test(test_several_threads_send),
        cmocka_unit_test(test_invalid_urls),
        cmocka_unit_test(test_ipc_and_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, end_nng);
}
