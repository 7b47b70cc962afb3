/* The inner layer of the client against a real etcd: the queue, and calls and streams that do not block. */
#include "core/slice.h"
#include "etcd.pb-c.h"
#include "etcd/etcd.h"
#include "lib/etcd_server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static etcd_server *server;
static ew_client *client;
static etcd_queue *queue;

static int set_up(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    etcd_server_free(server);
    return 0;
}

static int set_up_client(void **state) {
    (void)state;
    client = etcd_server_client(server);
    queue = etcd_queue_new();
    return queue ? 0 : -1;
}

/* After each test gRPC must hold nothing: no call, no stream, no thread. */
static int tear_down_client(void **state) {
    (void)state;
    etcd_queue_free(queue);
    ew_client_close(client);
    return etcd_all_released(5000) ? 0 : -1;
}

typedef struct answer {
    bool here;
    int status;
    char detail[256];
    uint8_t *bytes;
    size_t len;
} answer;

static void on_answer(void *arg, int status, const char *detail, ew_slice bytes) {
    answer *a = arg;
    assert_false(a->here);
    a->here = true;
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s", detail);
    a->bytes = malloc(bytes.len + 1);
    if (bytes.len > 0)
        memcpy(a->bytes, bytes.data, bytes.len);
    a->len = bytes.len;
}

static void wait_for(answer *a) {
    int64_t end_ms = etcd_now_ms() + 30000;
    while (!a->here && etcd_now_ms() < end_ms)
        etcd_queue_run(queue, end_ms);
    assert_true(a->here);
}

static etcd_call *start_put(const char *key, ew_slice value, int64_t timeout_ms, answer *a) {
    Pb__PutRequest r = PB__PUT_REQUEST__INIT;
    r.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    r.value = slice_bytes(value);
    size_t len = pb__put_request__get_packed_size(&r);
    uint8_t *bytes = malloc(len);
    pb__put_request__pack(&r, bytes);
    *a = (answer){0};
    etcd_call *c = etcd_call_start(client, queue, ETCD_PUT, (ew_slice){bytes, len}, timeout_ms, on_answer, a);
    free(bytes); /* the request was copied */
    assert_non_null(c);
    return c;
}

static int64_t put(const char *key, const char *value) {
    answer a;
    start_put(key, ew_str(value), 10000, &a);
    wait_for(&a);
    assert_int_equal(a.status, EW_OK);
    Pb__PutResponse *r = pb__put_response__unpack(NULL, a.len, a.bytes);
    assert_non_null(r);
    int64_t revision = r->header->revision;
    pb__put_response__free_unpacked(r, NULL);
    free(a.bytes);
    return revision;
}

static void test_call_is_answered(void **state) {
    (void)state;
    int64_t first = put("/q/a", "1");
    assert_int_equal(put("/q/a", "2"), first + 1);
}

static void test_many_calls_at_once(void **state) {
    (void)state;
    enum { COUNT = 200 };
    answer *list = calloc(COUNT, sizeof *list);
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        snprintf(key, sizeof key, "/q/many/%d", i);
        start_put(key, ew_str("x"), 10000, &list[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        wait_for(&list[i]);
        assert_int_equal(list[i].status, EW_OK);
        free(list[i].bytes);
    }
    free(list);
}

static void test_run_returns_at_its_deadline(void **state) {
    (void)state;
    int64_t start_ms = etcd_now_ms();
    etcd_queue_run(queue, start_ms + 50);
    assert_in_range(etcd_now_ms() - start_ms, 50, 5000);
    etcd_queue_run(queue, 0); /* a deadline in the past does not block */
}

static void *wake_later(void *arg) {
    for (int i = 0; i < 1000; i++)
        etcd_queue_wake(arg);
    return NULL;
}

/* Wake-ups from other threads may be merged but are not lost: a run without a deadline returns. */
static void test_wake(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, wake_later, queue), 0);
        etcd_queue_run(queue, INT64_MAX);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        etcd_queue_run(queue, 0);
    }
    etcd_queue_wake(queue);
    etcd_queue_run(queue, INT64_MAX);
}

/* ETCD P13: etcd refuses requests above 1.5 MiB, gRPC above 2 MiB. Neither is an unknown outcome. */
static void test_too_large(void **state) {
    (void)state;
    static const size_t sizes[] = {1600000, 3000000};
    for (int i = 0; i < 2; i++) {
        answer a;
        void *value = calloc(1, sizes[i]);
        start_put("/q/large", (ew_slice){value, sizes[i]}, 10000, &a);
        wait_for(&a);
        assert_int_equal(a.status, EW_ERR_TOO_LARGE);
        assert_true(strlen(a.detail) > 0);
        free(value);
        free(a.bytes);
    }
}

static int cancel_outcome(etcd_method method) {
    answer a = {0};
    uint8_t key[] = {0x0a, 1, 'k'}; /* field 1: the key of a range and of a put */
    etcd_server_pause(server);
    etcd_call *c = etcd_call_start(client, queue, method, (ew_slice){key, sizeof key}, 20000, on_answer, &a);
    etcd_queue_run(queue, etcd_now_ms() + 100);
    assert_false(a.here);
    etcd_call_cancel(c);
    wait_for(&a);
    etcd_server_resume(server);
    free(a.bytes);
    return a.status;
}

/* A write that was cancelled in flight may have been applied (ETCD P11); a read has had no effect. */
static void test_cancel(void **state) {
    (void)state;
    put("/q/connected", "1");
    assert_int_equal(cancel_outcome(ETCD_RANGE), EW_ERR_CANCELLED);
    assert_int_equal(cancel_outcome(ETCD_PUT), EW_ERR_UNKNOWN_OUTCOME);
}

static void test_deadline_against_a_stopped_server(void **state) {
    (void)state;
    answer a;
    put("/q/connected", "1");
    etcd_server_pause(server);
    int64_t start_ms = etcd_now_ms();
    start_put("/q/late", ew_str("x"), 300, &a);
    wait_for(&a);
    assert_in_range(etcd_now_ms() - start_ms, 299, 3000);
    etcd_server_resume(server);
    assert_int_equal(a.status, EW_ERR_UNKNOWN_OUTCOME);
    free(a.bytes);
}

/* A write that never reached a connection was certainly not applied. */
static void test_no_server(void **state) {
    (void)state;
    answer a;
    etcd_server_kill(server);
    start_put("/q/nobody", ew_str("x"), 300, &a);
    wait_for(&a);
    etcd_server_restart(server);
    assert_int_equal(a.status, EW_ERR_UNAVAILABLE);
    assert_non_null(strstr(a.detail, server->endpoint));
    free(a.bytes);
    put("/q/back", "1"); /* and the client reconnects by itself */
}

/* ---- streams ---- */

typedef struct watcher {
    etcd_stream *stream;
    int messages, events, ended, status;
    int64_t last_revision;
    bool pause_at_first, created;
    char detail[256];
} watcher;

static void on_message(void *arg, ew_slice bytes) {
    watcher *w = arg;
    Pb__WatchResponse *r = pb__watch_response__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(r);
    w->messages++;
    w->created |= r->created;
    w->events += (int)r->n_events;
    for (size_t i = 0; i < r->n_events; i++)
        w->last_revision = r->events[i]->kv->mod_revision;
    pb__watch_response__free_unpacked(r, NULL);
    if (w->pause_at_first)
        etcd_stream_pause(w->stream);
}

static void on_ended(void *arg, int status, const char *detail) {
    watcher *w = arg;
    w->ended++;
    w->status = status;
    snprintf(w->detail, sizeof w->detail, "%s", detail);
}

static const etcd_stream_callbacks callbacks = {on_message, on_ended};

static void open_watch(watcher *w, const char *key, int64_t from) {
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    Pb__WatchCreateRequest create = PB__WATCH_CREATE_REQUEST__INIT;
    char end[64];
    snprintf(end, sizeof end, "%s", key);
    end[strlen(end) - 1]++;
    create.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    create.range_end = (ProtobufCBinaryData){strlen(end), (uint8_t *)end};
    create.start_revision = from;
    request.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    uint8_t bytes[256];
    size_t len = pb__watch_request__pack(&request, bytes);
    w->stream = etcd_stream_open(client, queue, ETCD_WATCH, callbacks, w);
    assert_non_null(w->stream);
    assert_int_equal(etcd_stream_send(w->stream, (ew_slice){bytes, len}), EW_OK);
}

#define WAIT_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        int64_t end_ms_ = etcd_now_ms() + 30000;                                                                       \
        while (!(condition) && etcd_now_ms() < end_ms_)                                                                \
            etcd_queue_run(queue, end_ms_);                                                                            \
        assert_true(condition);                                                                                        \
    } while (0)

static void test_stream(void **state) {
    (void)state;
    watcher w = {0};
    open_watch(&w, "/q/watched/", 0);
    WAIT_UNTIL(w.created);
    int64_t revision = put("/q/watched/a", "1");
    WAIT_UNTIL(w.events == 1);
    assert_int_equal(w.last_revision, revision);
    etcd_stream_cancel(w.stream);
    WAIT_UNTIL(w.ended);
    assert_int_equal(w.status, EW_ERR_CANCELLED);
    assert_int_equal(w.ended, 1);
}

/* ETCD P1: a backlog of more than 1,000 revisions comes in several messages, also with pauses. */
static void test_pause_and_resume(void **state) {
    (void)state;
    watcher w = {.pause_at_first = true};
    int64_t first = put("/q/backlog/a", "0");
    for (int i = 0; i < 1500; i++)
        put("/q/backlog/a", "x");
    open_watch(&w, "/q/backlog/", first);
    WAIT_UNTIL(w.messages == 1);
    etcd_queue_run(queue, etcd_now_ms() + 100);
    assert_int_equal(w.messages, 1); /* nothing while paused */
    etcd_stream_resume(w.stream);
    WAIT_UNTIL(w.messages == 2);
    w.pause_at_first = false;
    etcd_stream_resume(w.stream);
    WAIT_UNTIL(w.events == 1501);
    etcd_stream_cancel(w.stream);
    WAIT_UNTIL(w.ended);
}

/* A stream that is paused while it opens has already started a read when the connection is made; that message is kept.
 */
static void test_paused_as_it_opens(void **state) {
    (void)state;
    watcher warm = {0}, w = {0}, cancelled = {0};
    int64_t revision = put("/q/watched/a", "1");
    open_watch(&warm, "/q/watched/", 0);
    WAIT_UNTIL(warm.created);
    open_watch(&w, "/q/watched/", revision);
    etcd_stream_pause(w.stream);
    open_watch(&cancelled, "/q/watched/", revision);
    etcd_stream_pause(cancelled.stream);
    put("/q/watched/a", "2");
    WAIT_UNTIL(warm.events == 1);
    etcd_queue_run(queue, etcd_now_ms() + 100);
    assert_int_equal(w.messages, 0);
    etcd_stream_resume(w.stream);
    WAIT_UNTIL(w.created && w.events == 2);
    etcd_stream_cancel(cancelled.stream);
    etcd_stream_cancel(w.stream);
    etcd_stream_cancel(warm.stream);
    WAIT_UNTIL(cancelled.ended && w.ended && warm.ended);
    assert_int_equal(cancelled.messages, 0);
}

static void test_cancel_before_connected(void **state) {
    (void)state;
    watcher w = {0};
    etcd_server_kill(server);
    open_watch(&w, "/q/never/", 0);
    etcd_queue_run(queue, etcd_now_ms() + 50);
    etcd_stream_cancel(w.stream);
    WAIT_UNTIL(w.ended);
    etcd_server_restart(server);
    assert_int_equal(w.status, EW_ERR_CANCELLED);
}

static void test_stream_ends_with_its_server(void **state) {
    (void)state;
    watcher w = {0};
    open_watch(&w, "/q/watched/", 0);
    WAIT_UNTIL(w.created);
    etcd_server_kill(server);
    WAIT_UNTIL(w.ended);
    assert_int_equal(w.status, EW_ERR_UNAVAILABLE);
    etcd_server_restart(server);
    w = (watcher){0};
    open_watch(&w, "/q/watched/", 0);
    WAIT_UNTIL(w.created);
    etcd_stream_cancel(w.stream);
    WAIT_UNTIL(w.ended);
}

/* gRPC's keepalive detects a server that is stopped but not dead: 6 s + 1 s by default. */
static void test_silent_server_is_noticed(void **state) {
    (void)state;
    watcher w = {0};
    open_watch(&w, "/q/watched/", 0);
    WAIT_UNTIL(w.created);
    etcd_server_pause(server);
    int64_t start_ms = etcd_now_ms();
    WAIT_UNTIL(w.ended);
    etcd_server_resume(server);
    assert_int_equal(w.status, EW_ERR_UNAVAILABLE);
    assert_in_range(etcd_now_ms() - start_ms, 0, 12000);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_client, tear_down_client)
    const struct CMUnitTest tests[] = {
        TEST(test_call_is_answered),
        TEST(test_many_calls_at_once),
        TEST(test_run_returns_at_its_deadline),
        TEST(test_wake),
        TEST(test_too_large),
        TEST(test_cancel),
        TEST(test_deadline_against_a_stopped_server),
        TEST(test_no_server),
        TEST(test_stream),
        TEST(test_pause_and_resume),
        TEST(test_paused_as_it_opens),
        TEST(test_cancel_before_connected),
        TEST(test_stream_ends_with_its_server),
        TEST(test_silent_server_is_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
