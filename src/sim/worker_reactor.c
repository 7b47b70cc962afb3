/* The reactor actor: the ticking core and the reactor under simulation. A tick takes time, in which messages pile up.
 */
#include "sim/check.h"
#include "sim/worker.h"

#include <stdlib.h>

static void step(sim_worker *w, ticking_event event);

static void stop_peers(sim_worker *w) {
    if (w->stopping)
        return;
    w->stopping = true;
    w->cut_short = !w->over;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    stop.timeout_ms = w->options->stop_timeout_ms;
    m.stop = &stop;
    sim_send(&w->reactor_to_watcher, &m, true, false);
    sim_send(&w->reactor_to_committer, &m, true, false);
}

/* ---- ticks ---- */

static int call_reactor(sim_worker *w, const ticking_effect *e, const char **what) {
    int status = EW_OK;
    *what = "reset";
    if (e->reset) {
        check_reset(w);
        if (w->table.reset)
            status = w->table.reset(w->self);
    }
    ew_event event;
    *what = "update";
    while (status == EW_OK && ticking_take_update(w->ticking, &event)) {
        check_update(w, &event);
        status = w->table.update(w->self, &event);
    }
    if (status != EW_OK)
        return status > 0 ? EW_ERR_REACTOR : status;
    *what = "tick";
    check_tick(w, e->tick);
    status = w->table.tick(w->self, e->tick);
    check_ticked(w, e->tick);
    return status;
}

/* Ends the tick. The core handles nothing else during a tick. */
static void ticked(void *arg) {
    sim_worker *w = arg;
    w->busy = false;
    step(w, (ticking_event){.type = TICKING_TICKED, .status = w->tick_status, .detail = w->tick_detail});
    sim_actor_wake(&w->reactor, sim_now(w->sim));
}

static void tick(sim_worker *w, const ticking_effect *e) {
    ew_sim *s = w->sim;
    const char *what;
    w->tick_status = call_reactor(w, e, &what);
    w->tick_detail = w->tick_status < 0 ? what : NULL;
    w->busy = true;
    int64_t took = sim_happens(s, s->drawn.slow_tick) ? sim_between(&s->random, 0, s->drawn.slow_tick_ms) : 0;
    sim_at(s, sim_now(s) + took, ticked, w, w);
}

/* ---- effects ---- */

static void commit(sim_worker *w, const Msg__Patches *patches) {
    Msg__Message m = MSG__MESSAGE__INIT;
    check_patches(w, patches);
    m.patches = sim_unconst(patches);
    sim_send(&w->reactor_to_committer, &m, true, false);
}

static void ask_watcher(sim_worker *w, const ticking_effect *e) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Audit audit = MSG__AUDIT__INIT;
    audit.number = e->audit;
    audit.revision = e->revision;
    audit.resync = e->type == TICKING_DO_RESYNC;
    audit.rewritten = e->rewritten;
    m.audit = &audit;
    sim_send(&w->reactor_to_watcher, &m, true, false);
}

static void carry_out(sim_worker *w, const ticking_effect *e) {
    switch (e->type) {
    case TICKING_DO_TICK:
        tick(w, e);
        break;
    case TICKING_DO_COMMIT:
        commit(w, e->patches);
        break;
    case TICKING_DO_AUDIT:
    case TICKING_DO_RESYNC:
        ask_watcher(w, e);
        break;
    case TICKING_DO_STOP:
        stop_peers(w);
        break;
    case TICKING_DO_REPLY:
        sim_worker_replied(w, e->submit_id, e->status, e->revision);
        break;
    case TICKING_DO_END:
        w->over = true;
        w->status = e->status;
        snprintf(w->detail, sizeof w->detail, "%s", e->detail ? e->detail : "");
        break;
    case TICKING_DO_LOG:
        sim_trace(w->sim, "worker %u reactor: %s (%lld)", w->number, e->detail, (long long)e->revision);
        break;
    }
}

static void step(sim_worker *w, ticking_event event) {
    if (w->over)
        return;
    /* A step inside a step has its own list of effects. */
    ticking_effects effects = w->spare;
    w->spare = (ticking_effects){0};
    event.now_ms = sim_now(w->sim);
    ticking_step(w->ticking, &event, &effects);
    check_stepped(w);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(w, &effects.list[i]);
    ticking_effects_fini(&w->spare);
    effects.count = 0;
    w->spare = effects;
}

static void fail(sim_worker *w, int status, const char *detail) {
    step(w, (ticking_event){.type = TICKING_STOP, .status = status, .detail = detail});
}

/* ---- submits ---- */

/* Runs between two ticks, as the actor takes its messages then. */
bool sim_worker_takes_submits(const sim_worker *w) {
    return w->running && w->ticking && !w->busy && !w->over;
}

void sim_worker_submit(sim_worker *w, const Msg__Submit *submit, uint64_t id) {
    sim_note(w->sim, "submit", w->number, (int64_t)id);
    w->seen.wrote = true;
    step(w, (ticking_event){.type = TICKING_SUBMIT, .submit = submit, .submit_id = id});
    sim_actor_wake(&w->reactor, sim_now(w->sim));
}

/* ---- messages ---- */

static void take_down(sim_worker *w, const Msg__Down *down) {
    w->peers_down++;
    if (w->stopping)
        return;
    stop_peers(w);
    fail(w, down->status != EW_OK ? down->status : EW_ERR_STATE, down->detail);
}

static void take_session(sim_worker *w, const Msg__Message *m) {
    const Msg__Session *session = m->session;
    bool used = ticking_uses_session(w->ticking);
    if (session->taken) {
        stop_peers(w);
        fail(w, EW_ERR_FENCED, "another worker has taken this worker_id");
    } else if (session->done || ((session->lost || session->session_lease != 0) && used)) {
        stop_peers(w);
        fail(w, EW_ERR_SESSION_DONE, "the session's lease expired or was revoked");
    } else {
        step(w, (ticking_event){.type = TICKING_MESSAGE, .message = m});
        if (session->session_lease != 0 && !w->over && !w->stopping) {
            w->lease = session->session_lease;
            w->session_lost = false;
        }
        if (session->lease != 0 && !session->lost && !w->stopping)
            sim_send(&w->reactor_to_committer, m, true, false);
    }
}

static void take_message(sim_worker *w, const Msg__Message *m) {
    check_message(w, m);
    if (m->snapshot || m->events || m->progress || m->health || m->outcome || m->audited)
        step(w, (ticking_event){.type = TICKING_MESSAGE, .message = m});
    if (m->stop) {
        stop_peers(w);
        fail(w, EW_ERR_CANCELLED, "stopped");
    }
    if (m->session)
        take_session(w, m);
    if (m->down)
        take_down(w, m->down);
}

static void take_all(sim_worker *w) {
    sim_message raw;
    while (sim_fifo_take(&w->reactor.box, &raw)) {
        Msg__Message *m = msg__message__unpack(NULL, raw.bytes.len, raw.bytes.data);
        free(sim_unconst(raw.bytes.data));
        if (!m) {
            ew_sim_fail(w->sim, "worker %u: a malformed message for the reactor", w->number);
            return;
        }
        take_message(w, m);
        msg__message__free_unpacked(m, NULL);
    }
}

void sim_reactor_round(void *actor) {
    enum { PEERS = 2 };
    sim_actor *a = actor;
    sim_worker *w = a->worker;
    a->wake_ms = INT64_MAX;
    if (w->busy)
        return; /* a tick is running; its end wakes the actor */
    take_all(w);
    sim_watcher_room(w);
    if (!w->over && ticking_deadline_ms(w->ticking) <= sim_now(w->sim))
        step(w, (ticking_event){.type = TICKING_TIMER});
    if (w->busy)
        return;
    if (w->over)
        stop_peers(w);
    if (w->peers_down == PEERS) {
        if (!w->over)
            sim_worker_over(w, EW_ERR_UNKNOWN_OUTCOME, "the committer ended before it decided the batch");
        else
            sim_worker_over(w, w->status, w->detail);
        return;
    }
    if (!w->over)
        sim_actor_wake(a, ticking_deadline_ms(w->ticking));
}
