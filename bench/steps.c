#include "steps.h"

#include "actors/observe.h"
#include "usage.h"

#include <stdatomic.h>

static bool on;
static _Thread_local bool reactor;      /* this is the reactor's thread */
static _Atomic int64_t ended_ns[STEPS]; /* when the steps of the current tick ended; 0: not yet */
static atomic_bool met[STEPS];          /* the step has occurred: a worker that writes nothing has no commits */
static int64_t began_ns, total_ns[STEPS], ticks;

static const struct {
    const char *field, *title, *narrow;
} names[STEPS] = {
    [STEP_TICK] = {"step_tick_us", "tick", "tick"},
    [STEP_EVALUATE] = {"step_evaluate_us", "evaluate", "eval"},
    [STEP_HOP_OUT] = {"step_hop_out_us", "hop to committer", "hop out"},
    [STEP_COMMIT] = {"step_commit_us", "commit", "commit"},
    [STEP_WATCH] = {"step_watch_us", "watch", "watch"},
    [STEP_HOP_IN] = {"step_hop_in_us", "hop to reactor", "hop in"},
    [STEP_UPDATE] = {"step_update_us", "update", "update"},
};

const char *step_field(step s) {
    return names[s].field;
}

const char *step_title(step s) {
    return names[s].title;
}

const char *step_short(step s) {
    return names[s].narrow;
}

void steps_ended(step s) {
    if (!on)
        return;
    atomic_store_explicit(&ended_ns[s], now_ns(), memory_order_relaxed);
    atomic_store_explicit(&met[s], true, memory_order_relaxed);
}

void steps_tick(int64_t now) {
    if (!on)
        return;
    reactor = true;
    int64_t at = began_ns;
    for (step s = 0; s < STEPS; s++) {
        int64_t end = atomic_exchange_explicit(&ended_ns[s], 0, memory_order_relaxed);
        if (began_ns == 0) /* before the first tick, the steps belong to the worker's start */
            atomic_store_explicit(&met[s], false, memory_order_relaxed);
        if (s == STEP_UPDATE)
            end = now;
        if (began_ns != 0 && end > at) {
            total_ns[s] += end - at;
            at = end;
        }
    }
    ticks += began_ns != 0;
    began_ns = now;
}

void steps_report(json_t *result) {
    for (step s = 0; on && ticks > 0 && s < STEPS; s++)
        if (met[s] || s == STEP_UPDATE) /* STEP_UPDATE ends with the next tick, without steps_ended */
            json_object_set_new(result, names[s].field, json_real((double)total_ns[s] / 1e3 / (double)ticks));
}

/* ---- what the actors' I/O and the mailboxes report ---- */

/* The table of one actor's I/O, which stamps and calls the former one. */
typedef struct stamping_io {
    io_ops ops; /* first: the ops of an observed shell_io are a stamping_io */
    const io_ops *former;
    io_answer_fn answer; /* of the transaction; the committer has one at a time */
    void *answer_arg;
    io_stream_callbacks callbacks; /* of the stream; the watcher has one at a time */
    void *stream_arg;
} stamping_io;

static stamping_io *stamping(shell_io *io) {
    return (stamping_io *)(uintptr_t)io->ops;
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    stamping_io *s = arg;
    steps_ended(STEP_COMMIT);
    s->answer(s->answer_arg, status, detail, bytes);
}

static io_call *call(shell_io *io, io_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn, void *arg) {
    stamping_io *s = stamping(io);
    if (method != IO_TXN)
        return s->former->call(io, method, request, timeout_ms, fn, arg);
    s->answer = fn;
    s->answer_arg = arg;
    steps_ended(STEP_HOP_OUT);
    return s->former->call(io, method, request, timeout_ms, answered, s);
}

static void stream_message(void *arg, ew_slice bytes) {
    stamping_io *s = arg;
    steps_ended(STEP_WATCH);
    s->callbacks.message(s->stream_arg, bytes);
}

static void stream_ended(void *arg, int status, const char *detail) {
    stamping_io *s = arg;
    s->callbacks.ended(s->stream_arg, status, detail);
}

static io_stream *stream_open(shell_io *io, io_stream_callbacks callbacks, void *arg) {
    stamping_io *s = stamping(io);
    s->callbacks = callbacks;
    s->stream_arg = arg;
    return s->former->stream_open(io, (io_stream_callbacks){stream_message, stream_ended}, s);
}

static void made(shell_io *io) {
    static stamping_io of[2]; /* of a worker's watcher and committer, which one thread makes */
    static size_t count;
    if (count == sizeof of / sizeof of[0])
        return;
    stamping_io *s = &of[count++];
    s->former = io->ops;
    s->ops = *io->ops;
    s->ops.call = call;
    s->ops.stream_open = stream_open;
    io->ops = &s->ops;
}

static void taken(void) {
    if (reactor)
        steps_ended(STEP_HOP_IN);
}

void steps_begin(void) {
    static const actors_observer observer = {made, taken};
    actors_observed = &observer;
    on = true;
}
