/* The shell's I/O in the simulated world: calls and streams of the network, and the channel to the reactor. */
#include "sim/check.h"
#include "sim/worker.h"

#include <stdlib.h>

static sim_io *mine(shell_io *io) {
    return (sim_io *)io;
}

sim_worker *sim_io_worker(shell_io *io) {
    return mine(io)->actor->worker;
}

static int64_t now_ms(shell_io *io) {
    return sim_now(sim_io_worker(io)->sim);
}

/* ---- calls and streams ---- */

bool sim_io_calls(const sim_io *m) {
    return m->pending[0].io || m->pending[1].io;
}

static void hear(sim_io *m) {
    m->heard_revision = etcd_model_revision(m->actor->worker->sim->etcd);
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_pending *p = arg;
    sim_pending was = *p;
    p->io = NULL;
    hear(was.io);
    was.fn(was.arg, status, detail, bytes);
    sim_actor_wake(was.io->actor, now_ms(&was.io->io));
}

static io_call *call(shell_io *io, io_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn, void *arg) {
    sim_worker *w = sim_io_worker(io);
    sim_pending *p = &mine(io)->pending[mine(io)->pending[0].io != NULL];
    if (p->io) {
        ew_sim_fail(w->sim, "worker %u: more calls at once than an actor may make", w->number);
        return NULL;
    }
    if (method == IO_TXN)
        check_txn(w, request);
    *p = (sim_pending){mine(io), fn, arg};
    return (io_call *)sim_call_start(w, method == IO_TXN ? ETCD_MODEL_TXN : ETCD_MODEL_RANGE, request, timeout_ms,
                                     answered, p);
}

static void call_cancel(shell_io *io, io_call *call) {
    (void)io;
    sim_call_cancel((sim_call *)call);
}

static void stream_message(void *arg, ew_slice bytes) {
    sim_io *m = arg;
    hear(m);
    m->callbacks.message(m->stream_arg, bytes);
}

static void stream_ended(void *arg, int status, const char *detail) {
    sim_io *m = arg;
    m->stream_is_open = false;
    m->callbacks.ended(m->stream_arg, status, detail);
}

static io_stream *stream_open(shell_io *io, io_stream_callbacks callbacks, void *arg) {
    sim_worker *w = sim_io_worker(io);
    sim_io *m = mine(io);
    if (m->stream_is_open)
        ew_sim_fail(w->sim, "worker %u: two streams at once", w->number);
    m->stream_is_open = true;
    m->callbacks = callbacks;
    m->stream_arg = arg;
    return (io_stream *)sim_stream_open(w, (io_stream_callbacks){stream_message, stream_ended}, m);
}

static int stream_send(shell_io *io, io_stream *stream, ew_slice request) {
    (void)io;
    sim_stream_send((sim_stream *)stream, request);
    return EW_OK;
}

static void stream_pause(shell_io *io, io_stream *stream, bool paused) {
    (void)io;
    sim_stream_pause((sim_stream *)stream, paused);
}

static void stream_cancel(shell_io *io, io_stream *stream) {
    (void)io;
    sim_stream_cancel((sim_stream *)stream);
}

/* ---- messages to the reactor ---- */

size_t sim_watcher_backlog(const sim_worker *w) {
    size_t count = sim_fifo_count(&w->watcher_to_reactor.passing);
    for (size_t i = w->reactor.box.head; i < w->reactor.box.tail; i++)
        count += w->reactor.box.list[i].bulk;
    return count;
}

static bool busy(shell_io *io) {
    sim_worker *w = sim_io_worker(io);
    bool full = sim_watcher_backlog(w) >= (size_t)w->options->mailbox_messages;
    w->watcher_waits |= full;
    return full;
}

static void check_bound(sim_worker *w) {
    /* Messages that may come after the mailbox is full: two for one response, the events held before them, and, after a
     * break of the stream, a page of a consistency check that was requested before. */
    enum { SPARE = 4 };
    size_t bound = (size_t)w->options->mailbox_messages, count = sim_watcher_backlog(w);
    if (count > bound + SPARE)
        ew_sim_fail(w->sim, "worker %u: %zu messages wait for the reactor, the bound is %zu", w->number, count, bound);
}

static int release(shell_io *io) {
    enum { JITTER_MS = 2 }; /* of the round that releases it */
    sim_io *m = mine(io);
    sim_worker *w = sim_io_worker(io);
    if (!m->held.data)
        return EW_OK;
    int64_t for_ms = sim_now(w->sim) - m->held_ms;
    if (for_ms > PIGGYBACK_HOLD_MS + JITTER_MS)
        ew_sim_fail(w->sim, "worker %u: a message was held for %lld ms", w->number, (long long)for_ms);
    sim_pass(m->channel, m->held, m->holds_outcome, m->holds_events);
    m->held = (ew_slice){0};
    m->held_capacity = 0;
    m->holds_outcome = m->holds_events = false;
    return EW_OK;
}

static void append(sim_io *m, const Msg__Message *message) {
    uint8_t *bytes = sim_unconst(m->held.data);
    sim_reserve(bytes, m->held_capacity, m->held.len + msg__message__get_packed_size(message));
    m->held = (ew_slice){bytes, m->held.len + msg__message__pack(message, bytes + m->held.len)};
    m->holds_outcome |= message->outcome != NULL;
    m->holds_events |= message->events != NULL;
}

static void note(sim_worker *w, const Msg__Message *m) {
    const Msg__Outcome *o = m->outcome;
    if (m->snapshot || m->events || m->progress || m->health)
        sim_note(w->sim, "watcher sends", (int64_t)m->epoch, m->events ? m->events->revision : 0);
    if (!o)
        return;
    sim_note(w->sim, "outcome", o->units, o->status);
    sim_trace(w->sim, "worker %u outcome of batch %llu: %u units, barrier %lld, status %d, %s", w->number,
              (unsigned long long)o->batch, o->units, (long long)o->barrier_revision, o->status, o->detail);
}

static int send_message(shell_io *io, const Msg__Message *message, io_mode mode) {
    sim_io *m = mine(io);
    sim_worker *w = sim_io_worker(io);
    bool urgent = message->outcome || message->down;
    note(w, message);
    if (mode != IO_JOIN || (m->holds_events && message->events))
        release(io);
    if (mode == IO_SEND) {
        sim_send(m->channel, message, urgent, !urgent);
    } else {
        if (!m->held.data)
            m->held_ms = sim_now(w->sim);
        append(m, message);
        if (mode == IO_JOIN)
            release(io);
    }
    check_bound(w);
    return EW_OK;
}

/* ---- the rest ---- */

/* Messages of this millisecond and the next one may be merged into one message. */
static void due(shell_io *io) {
    sim_worker *w = sim_io_worker(io);
    sim_actor_wake(mine(io)->actor, sim_now(w->sim) + sim_between(&w->sim->random, 0, 1));
}

static void bad_message(shell_io *io, const char *why) {
    sim_worker *w = sim_io_worker(io);
    ew_sim_fail(w->sim, "worker %u: a message %s", w->number, why);
}

static void write_log(shell_io *io, const char *area, int level, const char *message, int64_t revision) {
    sim_worker *w = sim_io_worker(io);
    (void)level;
    sim_trace(w->sim, "worker %u %s: %s (%lld)", w->number, area, message, (long long)revision);
}

void sim_io_init(sim_io *m, sim_actor *actor, sim_channel *channel) {
    static const io_ops ops = {
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
    *m = (sim_io){.io.ops = &ops, .actor = actor, .channel = channel};
}

void sim_io_fini(sim_io *m) {
    free(sim_unconst(m->held.data));
    *m = (sim_io){0};
}
