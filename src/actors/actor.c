#include "actors/actor.h"

#include "actors/observe.h"
#include "core/argument.h"
#include "core/deadline.h"
#include "core/options_internal.h"
#include "core/unpack.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLUSH_MS = 1000 }; /* a DOWN that nobody takes is given up after this long */

/* ---- the shell's I/O ---- */

ew_actor *actor_of(shell_io *io) {
    return (ew_actor *)((char *)io - offsetof(ew_actor, io));
}

static int64_t now_ms(shell_io *io) {
    (void)io;
    return etcd_now_ms();
}

static io_call *call(shell_io *io, io_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn, void *arg) {
    ew_actor *a = actor_of(io);
    return (io_call *)etcd_call_start(a->client, a->queue, method == IO_TXN ? ETCD_TXN : ETCD_RANGE, request,
                                      timeout_ms, fn, arg);
}

static void call_cancel(shell_io *io, io_call *call) {
    (void)io;
    etcd_call_cancel((etcd_call *)call);
}

static io_stream *stream_open(shell_io *io, io_stream_callbacks callbacks, void *arg) {
    ew_actor *a = actor_of(io);
    return (io_stream *)etcd_stream_open(a->client, a->queue, ETCD_WATCH,
                                         (etcd_stream_callbacks){callbacks.message, callbacks.ended}, arg);
}

static int stream_send(shell_io *io, io_stream *stream, ew_slice request) {
    (void)io;
    return etcd_stream_send((etcd_stream *)stream, request);
}

static void stream_pause(shell_io *io, io_stream *stream, bool paused) {
    (void)io;
    if (paused)
        etcd_stream_pause((etcd_stream *)stream);
    else
        etcd_stream_resume((etcd_stream *)stream);
}

static void stream_cancel(shell_io *io, io_stream *stream) {
    (void)io;
    etcd_stream_cancel((etcd_stream *)stream);
}

static int send_message(shell_io *io, const Msg__Message *message, io_mode mode) {
    outbox *ob = actor_of(io)->outbox;
    switch (mode) {
    case IO_HOLD:
        return outbox_hold(ob, message);
    case IO_JOIN:
        return outbox_join(ob, message);
    case IO_SEND:
        break;
    }
    return outbox_send(ob, message);
}

static int release(shell_io *io) {
    return outbox_release(actor_of(io)->outbox);
}

static bool busy(shell_io *io) {
    return outbox_busy(actor_of(io)->outbox);
}

static void due(shell_io *io) {
    etcd_task_due(&actor_of(io)->task);
}

static void bad_message(shell_io *io, const char *why) {
    ew_actor *a = actor_of(io);
    atomic_fetch_add_explicit(&a->bad_messages, 1, memory_order_relaxed);
    uint64_t left_out;
    if (log_limit_passes(&a->bad_limit, etcd_now_ms(), &left_out))
        log_fields(EW_LOG_WARN, &a->log, a->ops->name, "message dropped", {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
}

void actor_log(const log_source *from, const char *area, int level, const char *message, int64_t revision) {
    ew_log_level l = level < EW_LOG_ERROR || level > EW_LOG_DEBUG ? EW_LOG_DEBUG : (ew_log_level)level;
    if (revision != 0)
        log_fields(l, from, area, message, {"revision", NULL, revision});
    else
        log_write(l, from, area, message, NULL, 0);
}

static void write_log(shell_io *io, const char *area, int level, const char *message, int64_t revision) {
    actor_log(&actor_of(io)->log, area, level, message, revision);
}

const io_ops actor_io_ops = {
    .now_ms = now_ms,
    .call = call,
    .call_cancel = call_cancel,
    .stream_open = stream_open,
    .stream_send = stream_send,
    .stream_pause = stream_pause,
    .stream_cancel = stream_cancel,
    .send = send_message,
    .release = release,
    .busy = busy,
    .due = due,
    .bad_message = bad_message,
    .log = write_log,
};

actor_taken actor_take(ew_actor *a, Msg__Message **out) {
    mailbox_message raw;
    int status;
    char why[64];
    if (!mailbox_take(a->mailbox, &raw))
        return ACTOR_EMPTY;
    size_t len = raw.body.len;
    *out = unpack_message(&msg__message__descriptor, raw.body, &status);
    mailbox_message_free(&raw);
    if (*out)
        return ACTOR_TAKEN;
    if (status == EW_ERR_NO_MEMORY)
        return ACTOR_NO_MEMORY;
    snprintf(why, sizeof why, "a body of %zu bytes is not a Message", len);
    a->io.ops->bad_message(&a->io, why);
    return ACTOR_MALFORMED;
}

/* ---- rounds ---- */

static int64_t actor_round(etcd_task *t, int64_t now_ms) {
    ew_actor *a = (ew_actor *)t;
    int status;
    const char *detail;
    if (!a->started)
        a->ops->start(a);
    a->started = true;
    int64_t deadline_ms = a->ops->ended(a, &status, &detail) ? INT64_MAX : a->ops->round(a, now_ms);
    int64_t look_ms = listening_look(mailbox_listened(a->mailbox), now_ms);
    if (!a->ops->ended(a, &status, &detail))
        return deadline_earlier(deadline_ms, look_ms);
    return a->ops->needed && a->ops->needed(a) ? INT64_MAX : ETCD_TASK_OVER;
}

static void wake(void *arg) {
    ew_actor *a = arg;
    etcd_task_wake(&a->task);
}

/* ---- life ---- */

bool actor_arguments_missing(ew_actor **out, const ew_client *client, const ew_options *options,
                             const char *mailbox_url, const char *peer_url, const char *function, ew_error *err) {
    if (argument_missing(out, "out", function, err))
        return true;
    *out = NULL;
    return argument_missing(client, "client", function, err) || argument_missing(options, "options", function, err) ||
           argument_missing(mailbox_url, "mailbox_url", function, err) ||
           argument_missing(peer_url, "peer_url", function, err);
}

int actor_init(ew_actor *a, const actor_ops *ops, ew_client *client, const ew_options *options, const char *mailbox_url,
               const char *peer_url, ew_error *err) {
    int status = etcd_check_process(client, err);
    if (status != EW_OK)
        return status;
    a->ops = ops;
    a->client = client;
    a->task.round = actor_round;
    if (actors_observed)
        actors_observed->made(&a->io);
    a->log = (log_source){strdup(options->name), options->log};
    status = a->log.worker ? etcd_loop_take(&a->task.loop, client, ops->loop) : EW_ERR_NO_MEMORY;
    if (status == EW_OK) {
        a->queue = etcd_loop_queue(a->task.loop);
        status = outbox_open(&a->outbox, peer_url, 2, ops->capacity ? ops->capacity : wake, a, err);
    } else {
        ew_fail(err, status, "starting the %s", ops->name);
    }
    if (status == EW_OK)
        status = mailbox_open(&a->mailbox, mailbox_url, (size_t)options->mailbox_messages, ops->arrived, a, err);
    if (status == EW_OK)
        listening_set_log(mailbox_listened(a->mailbox), &a->log);
    if (status != EW_OK) {
        outbox_close(a->outbox);
        etcd_loop_give(a->task.loop);
        free((char *)(uintptr_t)a->log.worker);
    }
    return status;
}

void actor_launch(ew_actor *a) {
    etcd_task_start(&a->task);
}

void actor_free(ew_actor *a) {
    if (!a)
        return;
    mailbox_close(a->mailbox); /* first: its callbacks use the rest */
    outbox_close(a->outbox);
    a->ops->fini(a);
    etcd_loop_give(a->task.loop);
    free((char *)(uintptr_t)a->log.worker);
    free(a);
}

ew_status ew_actor_close(ew_actor *a, ew_error *err) {
    int status = EW_OK;
    const char *detail = NULL;
    if (ARGUMENT_MISSING(a, err))
        return EW_ERR_INVALID;
    if (etcd_check_process(a->client, err) != EW_OK)
        return EW_ERR_STATE;
    atomic_store(&a->stop_timeout_ms, 1000);
    a->ops->arrived(a);
    etcd_task_wait(&a->task);
    outbox_flush(a->outbox, etcd_now_ms() + FLUSH_MS);
    a->ops->ended(a, &status, &detail);
    if (status != EW_OK)
        ew_fail(err, status, "%s", detail);
    actor_free(a);
    return status;
}

uint64_t ew_actor_bad_messages(const ew_actor *a) {
    if (!a)
        return 0;
    return atomic_load_explicit(&a->bad_messages, memory_order_relaxed);
}
