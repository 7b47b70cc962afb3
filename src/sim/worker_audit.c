/* The watcher's audits (ETCD P6): a second watching core, which only reads. Where etcd loses nothing, an audit that
 * finds a difference has found a mistake of the worker, or of the audit: see check_end. */
#include "sim/worker.h"

#include "core/slice.h"

#include <stdlib.h>

typedef struct sim_audit {
    sim_worker *worker;
    uint64_t number;
    watching_config config;
    watching *core;
    sim_call *range;
    ew_slice held_range; /* waits until the reactor has taken what was read before */
} sim_audit;

static void step(sim_audit *a, watching_event event);

static void range_answered(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_audit *a = arg;
    a->range = NULL;
    step(a, (watching_event){.type = status == EW_OK ? WATCHING_PAGE : WATCHING_PAGE_FAILED,
                             .bytes = bytes,
                             .status = status,
                             .detail = detail});
}

static void wake(void *arg) {
    step(arg, (watching_event){.type = WATCHING_TIMER});
}

static void start_page(sim_audit *a, ew_slice request) {
    sim_worker *w = a->worker;
    a->range = sim_call_start(w, ETCD_MODEL_RANGE, request, w->options->call_timeout_ms, range_answered, a);
}

static void read_page(sim_audit *a, ew_slice request) {
    if (sim_watcher_backlog(a->worker) >= (size_t)a->worker->options->mailbox_messages)
        a->held_range = sim_copy(request);
    else
        start_page(a, request);
}

static void send(sim_audit *a, const watching_effect *e, bool page) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Audited audited = MSG__AUDITED__INIT;
    audited.number = a->number;
    audited.last = page ? e->last : true;
    audited.status = page ? EW_OK : e->status;
    if (page)
        audited.page = slice_bytes(e->bytes);
    m.audited = &audited;
    sim_send(&a->worker->watcher_to_reactor, &m, false, true);
}

/* False when that was the end, and `a` is no more. */
static bool carry_out(sim_audit *a, const watching_effect *e) {
    sim_worker *w = a->worker;
    switch (e->type) {
    case WATCHING_DO_RANGE:
        read_page(a, e->bytes);
        return true;
    case WATCHING_DO_SEND_SNAPSHOT:
        send(a, e, true);
        return true;
    case WATCHING_DO_LOG:
        sim_trace(w->sim, "worker %u audit: %s (%lld)", w->number, e->detail, (long long)e->revision);
        return true;
    case WATCHING_DO_END:
        if (e->status != EW_OK)
            send(a, e, false);
        sim_audit_free(w);
        return false;
    default:
        ew_sim_fail(w->sim, "worker %u: an audit that is more than one", w->number);
        return true;
    }
}

static void step(sim_audit *a, watching_event event) {
    ew_sim *s = a->worker->sim;
    watching_effects effects;
    event.now_ms = sim_now(s);
    watching_step(a->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        if (!carry_out(a, &effects.list[i]))
            return;
    }
    int64_t deadline_ms = watching_deadline_ms(a->core);
    sim_schedule_drop(&s->schedule, a);
    if (deadline_ms != INT64_MAX)
        sim_at(s, deadline_ms, wake, a, a);
}

void sim_audit_start(sim_worker *w, const Msg__Audit *asked) {
    if (w->watcher_down)
        return;
    sim_note(w->sim, "audit", (int64_t)asked->number, asked->revision);
    sim_audit_free(w); /* one that still runs is waited for by nobody */
    sim_audit *a = sim_alloc(sizeof *a);
    *a = (sim_audit){.worker = w, .number = asked->number, .config = w->watching_config};
    a->config.audit_revision = asked->revision;
    a->config.seed += asked->number;
    a->core = watching_new(&a->config);
    w->audit = a;
    if (a->core)
        step(a, (watching_event){.type = WATCHING_START});
    else
        ew_sim_fail(w->sim, "a core could not be made");
}

void sim_audit_room(sim_worker *w) {
    sim_audit *a = w->audit;
    if (!a || !a->held_range.data)
        return;
    ew_slice request = a->held_range;
    a->held_range = (ew_slice){0};
    start_page(a, request);
    free(sim_unconst(request.data));
}

void sim_audit_free(sim_worker *w) {
    sim_audit *a = w->audit;
    if (!a)
        return;
    if (a->range)
        sim_call_forget(a->range);
    sim_schedule_drop(&w->sim->schedule, a);
    watching_free(a->core);
    free(sim_unconst(a->held_range.data));
    free(a);
    w->audit = NULL;
}
