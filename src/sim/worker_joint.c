/* How watcher and committer share their way to the reactor, as src/actors has it: events that come together are one
 * message (a burst), and an outcome and the events of its revision, whichever comes first, travel in one (the joint).
 * Some lives do without: then the two send for themselves, and what they send may arrive in any order. */
#include "core/watching_letter.h"
#include "sim/worker.h"

#include <stdlib.h>

enum { HOLD_MS = 3, BURST_BYTES = 65536 };

static void send_held(sim_worker *w) {
    sim_joint *j = &w->joint;
    if (!j->held.data)
        return;
    sim_pass(&w->watcher_to_reactor, j->held, j->holds_outcome, j->holds_events);
    j->held = (ew_slice){0};
    j->holds_outcome = j->holds_events = false;
}

static void append(sim_joint *j, const Msg__Message *m) {
    uint8_t *bytes = sim_unconst(j->held.data);
    sim_reserve(bytes, j->held_capacity, j->held.len + msg__message__get_packed_size(m));
    j->held = (ew_slice){bytes, j->held.len + msg__message__pack(m, bytes + j->held.len)};
    j->holds_outcome |= m->outcome != NULL;
    j->holds_events |= m->events != NULL;
}

static void due(void *arg) {
    sim_worker *w = arg;
    if (w->joint.until_ms > sim_now(w->sim))
        return;
    w->joint.until_ms = INT64_MAX;
    w->joint.awaited = 0;
    send_held(w);
}

static void hold(sim_worker *w, const Msg__Message *m) {
    send_held(w);
    w->joint.held_capacity = 0;
    append(&w->joint, m);
    w->joint.until_ms = sim_now(w->sim) + HOLD_MS;
    sim_at(w->sim, w->joint.until_ms, due, w, w);
}

static void join(sim_worker *w, const Msg__Message *m) {
    if (w->joint.holds_events && m->events) /* of two only the second would be left */
        send_held(w);
    if (!w->joint.held.data)
        w->joint.held_capacity = 0;
    append(&w->joint, m);
    w->joint.until_ms = INT64_MAX;
    send_held(w);
}

/* ---- events ---- */

static void send_events(sim_worker *w, const Msg__Message *m, int64_t revision, size_t bytes) {
    sim_joint *j = &w->joint;
    if (bytes > BURST_BYTES) {
        send_held(w);
        sim_send(&w->watcher_to_reactor, m, false, true);
    } else if (j->in_flight) {
        hold(w, m);
    } else {
        join(w, m);
    }
    j->revision = revision;
    j->awaited = 0;
}

void sim_joint_flush(sim_worker *w) {
    sim_joint *j = &w->joint;
    if (j->burst.len == 0)
        return;
    const watching_effect all = {
        .type = WATCHING_DO_SEND_EVENTS, .epoch = j->burst_epoch, .revision = j->burst_revision, .bytes = j->burst};
    watching_letter letter;
    watching_letter_write(&letter, &all);
    send_events(w, &letter.message, all.revision, all.bytes.len);
    j->burst.len = 0;
    sim_watcher_sent(w);
}

static void flush_due(void *arg) {
    sim_joint_flush(arg);
}

static void send_awaited(sim_worker *w) {
    if (w->joint.awaited > 0 && w->joint.burst.len > 0 && w->joint.burst_revision >= w->joint.awaited)
        sim_joint_flush(w);
}

void sim_joint_events(sim_worker *w, const watching_effect *e) {
    sim_joint *j = &w->joint;
    if (j->burst.len + e->bytes.len > BURST_BYTES || (j->burst.len > 0 && j->burst_epoch != e->epoch))
        sim_joint_flush(w);
    bool first = j->burst.len == 0;
    uint8_t *bytes = sim_unconst(j->burst.data);
    sim_reserve(bytes, j->burst_capacity, j->burst.len + e->bytes.len);
    memcpy(bytes + j->burst.len, e->bytes.data, e->bytes.len);
    j->burst = (ew_slice){bytes, j->burst.len + e->bytes.len};
    j->burst_revision = e->revision;
    j->burst_epoch = e->epoch;
    if (first) /* what else comes until then is one with it */
        sim_at(w->sim, sim_now(w->sim) + sim_between(&w->sim->random, 0, 1), flush_due, w, w);
    send_awaited(w);
}

/* ---- the rest ---- */

void sim_joint_other(sim_worker *w) {
    sim_joint_flush(w);
    send_held(w);
}

void sim_joint_batch(sim_worker *w) {
    w->joint.in_flight = true;
}

void sim_joint_outcome(sim_worker *w, const Msg__Message *m) {
    sim_joint *j = &w->joint;
    j->in_flight = false;
    j->awaited = 0;
    if (m->outcome->status != EW_OK || m->outcome->barrier_revision <= j->revision || w->watcher_down) {
        join(w, m);
        return;
    }
    j->awaited = m->outcome->barrier_revision;
    hold(w, m);
    send_awaited(w);
}

void sim_joint_fini(sim_joint *j) {
    free(sim_unconst(j->held.data));
    free(sim_unconst(j->burst.data));
    *j = (sim_joint){0};
}
