/* The shell's I/O in a unit test. The test decides when a call is answered and when a stream delivers; the answers come
 * from the simulator's model of etcd. Each request can fail as if memory ran out. The messages to the reactor are
 * recorded. */
#ifndef UNIT_SHELL_IO_H
#define UNIT_SHELL_IO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etcd.pb-c.h"
#include "shell/io.h"
#include "sim/etcd_model.h"

#include <stdio.h>
#include <string.h>

enum { TEST_CALLS = 2, TEST_MESSAGES = 16 };

/* The operations that fail as if memory ran out while they are set in test_io.refused. */
enum { REFUSE_CALL = 1, REFUSE_STREAM = 2, REFUSE_REQUEST = 4, REFUSE_SEND = 8, REFUSE_RELEASE = 16 };

struct io_call {
    io_answer_fn fn; /* NULL: no call */
    void *arg;
    io_method method;
    uint8_t request[8192];
    size_t request_len;
    int64_t timeout_ms;
    bool cancelled;
};

struct io_stream {
    etcd_model_stream *watch; /* NULL: no stream */
    io_stream_callbacks callbacks;
    void *arg;
    bool paused, cancelled;
};

typedef struct test_io {
    shell_io io; /* must be first */
    int64_t now_ms;
    etcd_model *etcd;
    unsigned refused;
    bool busy;
    io_call calls[TEST_CALLS]; /* in the order in which they were started */
    io_stream stream;
    size_t opened; /* number of opened streams */
    Msg__Message *messages[TEST_MESSAGES];
    io_mode modes[TEST_MESSAGES];
    size_t count;
    size_t releases, rounds_due, bad_messages, logs;
    char why[128]; /* why the last bad message was dropped */
} test_io;

/* ---- the table ---- */

static inline bool test_io_refuses(shell_io *io, unsigned what) {
    return (((test_io *)io)->refused & what) != 0;
}

static inline int64_t test_io_now_ms(shell_io *io) {
    return ((test_io *)io)->now_ms;
}

static inline io_call *test_io_call(shell_io *io, io_method method, ew_slice request, int64_t timeout_ms,
                                    io_answer_fn fn, void *arg) {
    io_call *c = ((test_io *)io)->calls;
    if (test_io_refuses(io, REFUSE_CALL))
        return NULL;
    c += c->fn != NULL;
    assert_null(c->fn);
    assert_true(request.len <= sizeof c->request);
    *c = (io_call){.fn = fn, .arg = arg, .method = method, .request_len = request.len, .timeout_ms = timeout_ms};
    memcpy(c->request, request.data, request.len);
    return c;
}

static inline void test_io_call_cancel(shell_io *io, io_call *call) {
    (void)io;
    assert_non_null(call->fn);
    call->cancelled = true;
}

static inline io_stream *test_io_stream_open(shell_io *io, io_stream_callbacks callbacks, void *arg) {
    test_io *t = (test_io *)io;
    if (test_io_refuses(io, REFUSE_STREAM))
        return NULL;
    assert_null(t->stream.watch);
    t->stream = (io_stream){etcd_model_stream_open(t->etcd), callbacks, arg, false, false};
    t->opened++;
    return &t->stream;
}

static inline int test_io_stream_send(shell_io *io, io_stream *stream, ew_slice request) {
    if (test_io_refuses(io, REFUSE_REQUEST))
        return EW_ERR_NO_MEMORY;
    assert_int_equal(etcd_model_stream_request(stream->watch, request), EW_OK);
    return EW_OK;
}

static inline void test_io_stream_pause(shell_io *io, io_stream *stream, bool paused) {
    (void)io;
    assert_int_equal(stream->paused, !paused);
    stream->paused = paused;
}

static inline void test_io_stream_cancel(shell_io *io, io_stream *stream) {
    (void)io;
    assert_non_null(stream->watch);
    stream->cancelled = true;
}

/* Sends a message. Never fails for DOWN, for which there is always memory. */
static inline int test_io_send(shell_io *io, const Msg__Message *message, io_mode mode) {
    test_io *t = (test_io *)io;
    if (test_io_refuses(io, REFUSE_SEND) && !message->down)
        return EW_ERR_NO_MEMORY;
    size_t len = msg__message__get_packed_size(message);
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    msg__message__pack(message, bytes);
    assert_true(t->count < TEST_MESSAGES);
    t->modes[t->count] = mode;
    t->messages[t->count] = msg__message__unpack(NULL, len, bytes);
    assert_non_null(t->messages[t->count++]);
    free(bytes);
    return EW_OK;
}

static inline int test_io_release(shell_io *io) {
    ((test_io *)io)->releases++;
    return test_io_refuses(io, REFUSE_RELEASE) ? EW_ERR_NO_MEMORY : EW_OK;
}

static inline bool test_io_busy(shell_io *io) {
    return ((test_io *)io)->busy;
}

static inline void test_io_due(shell_io *io) {
    ((test_io *)io)->rounds_due++;
}

static inline void test_io_bad_message(shell_io *io, const char *why) {
    test_io *t = (test_io *)io;
    t->bad_messages++;
    snprintf(t->why, sizeof t->why, "%s", why);
}

static inline void test_io_log(shell_io *io, const char *area, int level, const char *message, int64_t revision) {
    (void)level;
    (void)revision;
    assert_true(area && message);
    ((test_io *)io)->logs++;
}

/* ---- life ---- */

static inline test_io *test_io_new(void) {
    static const io_ops ops = {
        .now_ms = test_io_now_ms,
        .call = test_io_call,
        .call_cancel = test_io_call_cancel,
        .stream_open = test_io_stream_open,
        .stream_send = test_io_stream_send,
        .stream_pause = test_io_stream_pause,
        .stream_cancel = test_io_stream_cancel,
        .send = test_io_send,
        .release = test_io_release,
        .busy = test_io_busy,
        .due = test_io_due,
        .bad_message = test_io_bad_message,
        .log = test_io_log,
    };
    test_io *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->io.ops = &ops;
    t->now_ms = 1000;
    t->etcd = etcd_model_new(&etcd_model_defaults);
    return t;
}

static inline void forget_messages(test_io *t) {
    while (t->count > 0)
        msg__message__free_unpacked(t->messages[--t->count], NULL);
}

/* Frees the I/O. No call and no stream may be open. */
static inline void test_io_free(test_io *t) {
    assert_null(t->calls[0].fn);
    assert_null(t->stream.watch);
    forget_messages(t);
    etcd_model_free(t->etcd);
    free(t);
}

/* ---- the operations of a test ---- */

/* Another client puts a key, with a value of `size` bytes. */
static inline void another_puts(test_io *t, const char *key, size_t size) {
    static uint8_t value[70000], bytes[sizeof value + 100];
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    put.value = (ProtobufCBinaryData){size, value};
    assert_true(size <= sizeof value);
    size_t len = pb__put_request__pack(&put, bytes);
    assert_int_equal(etcd_model_call(t->etcd, ETCD_MODEL_PUT, (ew_slice){bytes, len}).status, EW_OK);
}

/* Removes and returns the oldest call. There must be one. */
static inline io_call take_call(test_io *t) {
    io_call call = t->calls[0];
    assert_non_null(call.fn);
    t->calls[0] = t->calls[1];
    t->calls[1].fn = NULL;
    return call;
}

/* Makes the oldest call fail. */
static inline void call_fails(test_io *t, int status) {
    io_call call = take_call(t);
    call.fn(call.arg, status, "as the test says", (ew_slice){0});
}

/* Answers the oldest call from the model of etcd; a cancelled call ends with EW_ERR_CANCELLED. */
static inline void call_is_answered(test_io *t) {
    if (t->calls[0].cancelled) {
        call_fails(t, EW_ERR_CANCELLED);
        return;
    }
    io_call call = take_call(t);
    const etcd_model_answer a = etcd_model_call(t->etcd, call.method == IO_TXN ? ETCD_MODEL_TXN : ETCD_MODEL_RANGE,
                                                (ew_slice){call.request, call.request_len});
    call.fn(call.arg, a.status, a.detail, a.bytes);
}

/* Delivers all responses that the stream has. Returns their number. */
static inline size_t stream_delivers(test_io *t) {
    size_t delivered = 0;
    ew_slice response;
    assert_non_null(t->stream.watch);
    while (etcd_model_stream_behind(t->stream.watch))
        etcd_model_stream_sync(t->stream.watch);
    while (!t->stream.paused && !t->stream.cancelled && etcd_model_stream_take(t->stream.watch, &response)) {
        t->stream.callbacks.message(t->stream.arg, response);
        free((void *)(uintptr_t)response.data);
        delivered++;
    }
    return delivered;
}

static inline void stream_ends(test_io *t, int status) {
    io_stream stream = t->stream;
    assert_non_null(stream.watch);
    etcd_model_stream_close(stream.watch);
    t->stream.watch = NULL;
    stream.callbacks.ended(stream.arg, status, "as the test says");
}

/* Checks that exactly one message was recorded, and that it was sent in `mode`. Returns it. */
static inline const Msg__Message *only_message(const test_io *t, io_mode mode) {
    assert_int_equal(t->count, 1);
    assert_int_equal(t->modes[0], mode);
    return t->messages[0];
}

/* Checks that the last message is the DOWN of `actor`, and that no other message is a DOWN. */
static inline void assert_down(const test_io *t, Msg__Actor actor, int status, const char *detail) {
    for (size_t i = 0; i < t->count; i++)
        assert_int_equal(t->messages[i]->down != NULL, i == t->count - 1);
    assert_true(t->count > 0);
    const Msg__Down *down = t->messages[t->count - 1]->down;
    assert_int_equal(down->actor, actor);
    assert_string_equal(ew_errname(down->status), ew_errname(status));
    assert_string_equal(down->detail, detail);
    assert_int_equal(t->modes[t->count - 1], IO_SEND);
}

#endif
