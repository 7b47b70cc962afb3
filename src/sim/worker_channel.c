/* Moves messages from one actor to another, and schedules the rounds of the actors. */
#include "sim/worker.h"

#include <stdlib.h>

void sim_fifo_push(sim_fifo *f, sim_message m) {
    if (f->head == f->tail)
        f->head = f->tail = 0;
    sim_reserve(f->list, f->capacity, f->tail + 1);
    f->list[f->tail++] = m;
}

bool sim_fifo_take(sim_fifo *f, sim_message *out) {
    if (f->head == f->tail)
        return false;
    *out = f->list[f->head++];
    return true;
}

size_t sim_fifo_count(const sim_fifo *f) {
    return f->tail - f->head;
}

void sim_fifo_fini(sim_fifo *f) {
    sim_message m;
    while (sim_fifo_take(f, &m))
        free(sim_unconst(m.bytes.data));
    free(f->list);
    *f = (sim_fifo){0};
}

void sim_actor_wake(sim_actor *a, int64_t at_ms) {
    ew_sim *s = a->worker->sim;
    if (at_ms >= a->wake_ms || at_ms == INT64_MAX)
        return;
    if (a->wake_ms != INT64_MAX)
        sim_schedule_drop(&s->schedule, a);
    a->wake_ms = at_ms > sim_now(s) ? at_ms : sim_now(s);
    sim_at(s, a->wake_ms, a->round, a, a);
}

static void arrive(void *arg) {
    sim_channel *c = arg;
    sim_message m;
    if (!sim_fifo_take(&c->passing, &m))
        return;
    sim_fifo_push(&c->to->box, m);
    sim_worker *w = c->to->worker;
    bool patient = c->to == &w->reactor && w->reactor_of && reactor_wants_outcome_only(w->reactor_of);
    if (!patient || m.urgent || sim_fifo_count(&c->to->box) >= (size_t)w->options->mailbox_messages)
        sim_actor_wake(c->to, sim_now(w->sim) + sim_between(&w->sim->random, 0, 1));
}

static void pass_on(sim_channel *c, sim_message m) {
    ew_sim *s = c->to->worker->sim;
    sim_fifo_push(&c->passing, m);
    int64_t at = sim_now(s) + (sim_chance(&s->random, 300) ? sim_between(&s->random, 1, 3) : 0);
    c->last_ms = at > c->last_ms ? at : c->last_ms;
    sim_at(s, c->last_ms, arrive, c, c);
}

/* Sends a page or events of an earlier epoch again: only the epoch shows that they are old. */
static void echo(sim_channel *c, const Msg__Message *m, ew_slice bytes) {
    ew_sim *s = c->to->worker->sim;
    if (c->kept.data && m->epoch > c->kept_epoch) {
        pass_on(c, (sim_message){c->kept, false, true});
        c->kept = (ew_slice){0};
    } else if (!c->kept.data && (m->snapshot ? s->sampled.echo > 0 : m->events && sim_happens(s, s->sampled.echo))) {
        c->kept = sim_copy(bytes);
        c->kept_epoch = m->epoch;
    }
}

void sim_send(sim_channel *c, const Msg__Message *m, bool urgent, bool bulk) {
    size_t size = msg__message__get_packed_size(m);
    uint8_t *bytes = sim_alloc(size);
    msg__message__pack(m, bytes);
    pass_on(c, (sim_message){{bytes, size}, urgent, bulk});
    if (bulk)
        echo(c, m, (ew_slice){bytes, size});
}

void sim_pass(sim_channel *c, ew_slice bytes, bool urgent, bool bulk) {
    pass_on(c, (sim_message){bytes, urgent, bulk});
}
