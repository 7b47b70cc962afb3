/* The committer actor: the committing core between the reactor and the wire. */
#include "sim/check.h"
#include "sim/worker.h"

#include <stdlib.h>

static void step(sim_worker *w, committing_event event);

static void go_down(sim_worker *w) {
    if (w->committer_down)
        return;
    w->committer_down = true;
    sim_send_down(w, MSG__ACTOR__COMMITTER, w->committer_status, w->committer_detail);
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    w->txn = NULL;
    if (w->committer_ended)
        go_down(w);
    step(w, (committing_event){.type = COMMITTING_ANSWER, .status = status, .detail = detail, .bytes = bytes});
}

static void carry_out(sim_worker *w, const committing_effect *e) {
    Msg__Message m = MSG__MESSAGE__INIT;
    switch (e->type) {
    case COMMITTING_DO_TXN:
        if (w->txn)
            ew_sim_fail(w->sim, "worker %u: two transactions at once", w->number);
        check_txn(w, e->bytes);
        w->txn = sim_call_start(w, ETCD_MODEL_TXN, e->bytes, e->timeout_ms, answered, w);
        break;
    case COMMITTING_DO_OUTCOME:
        m.outcome = sim_unconst(&e->outcome);
        sim_note(w->sim, "outcome", e->outcome.units, e->outcome.status);
        sim_trace(w->sim, "worker %u outcome of batch %llu: %u units, barrier %lld, status %d, %s", w->number,
                  (unsigned long long)e->outcome.batch, e->outcome.units, (long long)e->outcome.barrier_revision,
                  e->outcome.status, e->outcome.detail);
        if (w->joint.on)
            sim_joint_outcome(w, &m);
        else
            sim_send(&w->committer_to_reactor, &m, true, false);
        break;
    case COMMITTING_DO_LEASE:
        sim_lease_check(&w->records);
        break;
    case COMMITTING_DO_END:
        /* A call that is still out says nothing new, but nothing may be left behind. */
        w->committer_ended = true;
        w->committer_status = e->status;
        snprintf(w->committer_detail, sizeof w->committer_detail, "%s", e->detail ? e->detail : "");
        if (w->txn)
            sim_call_cancel(w->txn);
        else
            go_down(w);
        break;
    case COMMITTING_DO_LOG:
        sim_trace(w->sim, "worker %u committer: %s", w->number, e->detail);
        break;
    }
}

static void step(sim_worker *w, committing_event event) {
    if (w->committer_ended)
        return;
    committing_effects effects;
    event.now_ms = sim_now(w->sim);
    committing_step(w->committing, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(w, &effects.list[i]);
    if (!w->committer_ended)
        sim_actor_wake(&w->committer, committing_deadline_ms(w->committing));
}

static void take(sim_worker *w, const Msg__Message *m) {
    if (m->stop)
        step(w, (committing_event){.type = COMMITTING_STOP, .timeout_ms = m->stop->timeout_ms});
    else if (m->session && m->session->lease && !m->session->done)
        step(w, (committing_event){.type = COMMITTING_LEASE, .lease = m->session->lease});
    else if (!m->patches)
        ew_sim_fail(w->sim, "worker %u: a message that is not for a committer", w->number);
    else if (!w->committer_ended && committing_get_state(w->committing) != COMMITTING_IDLE)
        ew_sim_fail(w->sim, "worker %u: two batches between reactor and committer", w->number);
    else {
        sim_joint_batch(w);
        step(w, (committing_event){.type = COMMITTING_BATCH, .patches = m->patches});
    }
}

void sim_committer_round(void *actor) {
    sim_actor *a = actor;
    sim_worker *w = a->worker;
    a->wake_ms = INT64_MAX;
    sim_message raw;
    while (sim_fifo_take(&a->box, &raw)) {
        Msg__Message *m = msg__message__unpack(NULL, raw.bytes.len, raw.bytes.data);
        free(sim_unconst(raw.bytes.data));
        if (!m) {
            ew_sim_fail(w->sim, "worker %u: a malformed message for the committer", w->number);
            return;
        }
        take(w, m);
        msg__message__free_unpacked(m, NULL);
    }
    if (!w->committer_ended && committing_deadline_ms(w->committing) <= sim_now(w->sim))
        step(w, (committing_event){.type = COMMITTING_TIMER});
    if (!w->committer_ended)
        sim_actor_wake(a, committing_deadline_ms(w->committing));
}
