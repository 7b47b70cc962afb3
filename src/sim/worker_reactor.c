/* The reactor of a worker: the one of src/shell, with a mailbox. A tick takes time, in which messages pile up. */
#include "sim/check.h"
#include "sim/worker.h"

#include <stdlib.h>

/* After each call of the reactor. */
static void look(sim_worker *w) {
    int64_t lease = ticking_session_lease(reactor_core(w->reactor_of));
    check_stepped(w);
    w->seen.session_used = ticking_uses_session(reactor_core(w->reactor_of));
    if (lease != w->lease) {
        w->lease = lease;
        w->session_lost = false;
    }
}

/* ---- the user's functions, and checks of what they see ---- */

static int reset(void *worker) {
    sim_worker *w = worker;
    check_reset(w);
    return w->table.reset ? w->table.reset(w->self) : EW_OK;
}

static int update(void *worker, const ew_event *event) {
    sim_worker *w = worker;
    check_update(w, event);
    return w->table.update(w->self, event);
}

static int call_tick(void *worker, ew_tick *tick) {
    sim_worker *w = worker;
    check_tick(w, tick);
    int status = w->table.tick(w->self, tick);
    check_ticked(w, tick);
    return status;
}

/* ---- what the reactor needs ---- */

static int send_message(shell_io *io, Msg__Actor to, const Msg__Message *m) {
    sim_worker *w = sim_io_worker(io);
    if (m->patches)
        check_patches(w, m->patches);
    if (m->stop)
        w->cut_short = !reactor_is_over(w->reactor_of);
    sim_send(to == MSG__ACTOR__WATCHER ? &w->reactor_to_watcher : &w->reactor_to_committer, m, true, false);
    return EW_OK;
}

static void end_tick(void *arg) {
    sim_worker *w = arg;
    reactor_end_tick(w->reactor_of);
    look(w);
    sim_actor_wake(&w->reactor, sim_now(w->sim));
}

static void tick(shell_io *io, const ew_tick *t) {
    sim_worker *w = sim_io_worker(io);
    ew_sim *s = w->sim;
    (void)t;
    check_stepped(w);
    reactor_call(w->reactor_of);
    int64_t took = sim_happens(s, s->sampled.slow_tick) ? sim_between(&s->random, 0, s->sampled.slow_tick_ms) : 0;
    sim_at(s, sim_now(s) + took, end_tick, w, w);
}

static void reply(shell_io *io, uint64_t request, int status, int64_t revision, const char *detail) {
    (void)detail;
    sim_worker_replied(sim_io_worker(io), request, status, revision);
}

static bool is_session_lost(shell_io *io) {
    const sim_worker *w = sim_io_worker(io);
    return session_is_lost(&w->session, reactor_core(w->reactor_of));
}

static bool stop_is_wanted(shell_io *io) {
    return sim_io_worker(io)->stop_wanted;
}

bool sim_reactor_start(sim_worker *w) {
    static const reactor_ops ops = {
        .send = send_message,
        .tick = tick,
        .reply = reply,
        .session_is_lost = is_session_lost,
        .stop_is_wanted = stop_is_wanted,
    };
    sim_io_init(&w->reactor_io, &w->reactor, NULL);
    w->reactor_of = reactor_new(&(reactor_config){
        .io = &w->reactor_io.io,
        .ops = &ops,
        .table = {.size = sizeof(ew_reactor), .reset = reset, .update = update, .tick = call_tick},
        .self = w,
        .core = &w->ticking_config,
        .start_timeout_ms = w->options->start_timeout_ms,
        .stop_timeout_ms = w->options->stop_timeout_ms,
    });
    return w->reactor_of;
}

void sim_reactor_free(sim_worker *w) {
    reactor_free(w->reactor_of);
    w->reactor_of = NULL;
    sim_io_fini(&w->reactor_io);
}

/* ---- submits ---- */

/* Runs between two ticks, as the actor takes its messages then. */
bool sim_worker_takes_submits(const sim_worker *w) {
    return w->running && w->reactor_of && !reactor_is_ticking(w->reactor_of) && !reactor_is_over(w->reactor_of);
}

void sim_worker_submit(sim_worker *w, const Msg__Submit *submit, uint64_t id) {
    sim_note(w->sim, "submit", w->number, (int64_t)id);
    w->seen.wrote = true;
    reactor_submit(w->reactor_of, submit, id);
    look(w);
    sim_actor_wake(&w->reactor, sim_now(w->sim));
}

/* ---- rounds ---- */

static void take_all(sim_worker *w) {
    sim_message raw;
    while (sim_fifo_take(&w->reactor.box, &raw)) {
        Msg__Message *m = msg__message__unpack(NULL, raw.bytes.len, raw.bytes.data);
        free(sim_unconst(raw.bytes.data));
        if (!m) {
            ew_sim_fail(w->sim, "worker %u: a malformed message for the reactor", w->number);
            return;
        }
        check_message(w, m);
        reactor_take(w->reactor_of, m);
        look(w);
        msg__message__free_unpacked(m, NULL);
    }
}

void sim_reactor_round(void *actor) {
    sim_actor *a = actor;
    sim_worker *w = a->worker;
    int status;
    const char *detail;
    a->wake_ms = INT64_MAX;
    if (reactor_is_ticking(w->reactor_of))
        return; /* its end wakes the actor */
    take_all(w);
    sim_watcher_space(w);
    int64_t next_ms = reactor_round(w->reactor_of, sim_now(w->sim));
    look(w);
    if (reactor_ended(w->reactor_of, &status, &detail))
        sim_worker_over(w, status, detail);
    else
        sim_actor_wake(a, next_ms);
}
