/* The watcher actor: the watching core between the wire and the reactor's mailbox. */
#include "core/watching_letter.h"
#include "sim/worker.h"

#include <stdlib.h>

static void step(sim_worker *w, watching_event event);

static void range_answered(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    w->range = NULL;
    step(w, (watching_event){.type = status == EW_OK ? WATCHING_PAGE : WATCHING_PAGE_FAILED,
                             .bytes = bytes,
                             .status = status,
                             .detail = detail});
}

static void stream_message(void *arg, ew_slice bytes) {
    step(arg, (watching_event){.type = WATCHING_RESPONSE, .bytes = bytes});
}

static void stream_ended(void *arg, int status, const char *detail) {
    sim_worker *w = arg;
    w->stream = NULL;
    w->paused = false;
    step(w, (watching_event){.type = WATCHING_STREAM_ENDED, .status = status, .detail = detail});
}

/* How many messages of the watcher the reactor has not taken. */
size_t sim_watcher_backlog(const sim_worker *w) {
    size_t count = sim_fifo_count(&w->watcher_to_reactor.passing);
    for (size_t i = w->reactor.box.head; i < w->reactor.box.tail; i++)
        count += w->reactor.box.list[i].bulk;
    return count;
}

static void send_effect(sim_worker *w, const watching_effect *e) {
    sim_note(w->sim, "watcher sends", e->type, e->revision);
    if (w->joint.on && e->type == WATCHING_DO_SEND_EVENTS) {
        sim_joint_events(w, e);
        return;
    }
    if (w->joint.on)
        sim_joint_other(w);
    watching_letter letter;
    watching_letter_write(&letter, e);
    sim_send(&w->watcher_to_reactor, &letter.message, false, true);
    sim_watcher_sent(w);
}

static void pause_if_full(sim_worker *w) {
    if (w->stream && !w->paused && sim_watcher_backlog(w) >= (size_t)w->options->mailbox_messages) {
        w->paused = true;
        sim_stream_pause(w->stream, true);
    }
}

void sim_watcher_sent(sim_worker *w) {
    /* The response that fills the mailbox may say two things, and events that were held go before them. Then the
     * stream may break, and an audit's page come that was asked for before. */
    enum { SPARE = 4 };
    size_t bound = (size_t)w->options->mailbox_messages;
    if (sim_watcher_backlog(w) > bound + SPARE)
        ew_sim_fail(w->sim, "worker %u: %zu messages wait for the reactor, the bound is %zu", w->number,
                    sim_watcher_backlog(w), bound);
    pause_if_full(w);
}

/* The next page is asked for when there is room for it. */
static void read_page(sim_worker *w, ew_slice request) {
    if (w->range || w->held_range.data)
        ew_sim_fail(w->sim, "worker %u: two range calls at once", w->number);
    if (sim_watcher_backlog(w) >= (size_t)w->options->mailbox_messages)
        w->held_range = sim_copy(request);
    else
        w->range = sim_call_start(w, ETCD_MODEL_RANGE, request, w->options->call_timeout_ms, range_answered, w);
}

static void release_page(sim_worker *w) {
    ew_slice request = w->held_range;
    w->held_range = (ew_slice){0};
    w->range = sim_call_start(w, ETCD_MODEL_RANGE, request, w->options->call_timeout_ms, range_answered, w);
    free(sim_unconst(request.data));
}

static void carry_out(sim_worker *w, const watching_effect *e) {
    static const sim_stream_callbacks callbacks = {stream_message, stream_ended};
    switch (e->type) {
    case WATCHING_DO_RANGE:
        read_page(w, e->bytes);
        break;
    case WATCHING_DO_CANCEL_RANGE:
        if (w->held_range.data)
            release_page(w);
        if (w->range)
            sim_call_cancel(w->range);
        break;
    case WATCHING_DO_OPEN:
        if (w->stream)
            ew_sim_fail(w->sim, "worker %u: two streams at once", w->number);
        w->stream = sim_stream_open(w, callbacks, w);
        sim_stream_send(w->stream, e->bytes);
        pause_if_full(w);
        break;
    case WATCHING_DO_REQUEST:
        if (w->stream)
            sim_stream_send(w->stream, e->bytes);
        break;
    case WATCHING_DO_CLOSE:
        if (w->stream)
            sim_stream_cancel(w->stream);
        break;
    case WATCHING_DO_SEND_SNAPSHOT:
    case WATCHING_DO_SEND_EVENTS:
    case WATCHING_DO_SEND_PROGRESS:
    case WATCHING_DO_SEND_HEALTH:
        send_effect(w, e);
        break;
    case WATCHING_DO_END:
        w->watcher_down = true;
        sim_audit_free(w);
        sim_send_down(w, MSG__ACTOR__WATCHER, e->status, e->detail);
        break;
    case WATCHING_DO_LOG:
        sim_trace(w->sim, "worker %u watcher: %s (%lld)", w->number, e->detail, (long long)e->revision);
        break;
    }
}

static void step(sim_worker *w, watching_event event) {
    if (w->watcher_down)
        return;
    watching_effects effects;
    event.now_ms = sim_now(w->sim);
    watching_step(w->watching, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(w, &effects.list[i]);
    if (!w->watcher_down)
        sim_actor_wake(&w->watcher, watching_deadline_ms(w->watching));
}

void sim_watcher_start(sim_worker *w) {
    step(w, (watching_event){.type = WATCHING_START});
}

void sim_watcher_room(sim_worker *w) {
    if (sim_watcher_backlog(w) >= (size_t)w->options->mailbox_messages)
        return;
    if (w->held_range.data)
        release_page(w);
    sim_audit_room(w);
    if (w->paused && w->stream) {
        w->paused = false;
        sim_stream_pause(w->stream, false);
        step(w, (watching_event){.type = WATCHING_READ_ON});
    }
}

void sim_watcher_round(void *actor) {
    sim_actor *a = actor;
    sim_worker *w = a->worker;
    a->wake_ms = INT64_MAX;
    sim_message raw;
    while (sim_fifo_take(&a->box, &raw)) {
        Msg__Message *m = msg__message__unpack(NULL, raw.bytes.len, raw.bytes.data);
        free(sim_unconst(raw.bytes.data));
        if (m && m->stop)
            step(w, (watching_event){.type = WATCHING_STOP});
        else if (m && m->audit && m->audit->resync)
            step(w, (watching_event){
                        .type = WATCHING_RESYNC, .revision = m->audit->revision, .rewritten = m->audit->rewritten});
        else if (m && m->audit && !w->watcher_down)
            sim_audit_start(w, m->audit);
        else if (!m || !m->audit)
            ew_sim_fail(w->sim, "worker %u: a message that is not for a watcher", w->number);
        if (m)
            msg__message__free_unpacked(m, NULL);
    }
    /* While the stream is not read, its silence is our own. */
    if (!w->watcher_down && !w->paused && watching_deadline_ms(w->watching) <= sim_now(w->sim))
        step(w, (watching_event){.type = WATCHING_TIMER});
    if (!w->watcher_down && !w->paused)
        sim_actor_wake(a, watching_deadline_ms(w->watching));
}
