/* Calls: a request may reach etcd late, twice or never, and its response may be late or lost. */
#include "sim/network_internal.h"

#include <stdlib.h>

struct sim_call {
    sim_call *next;
    ew_sim *sim;
    sim_worker *worker; /* NULL once it is killed */
    sim_author author;
    etcd_model_method method;
    ew_slice request;
    io_answer_fn fn;
    void *arg;
    bool answered;
    unsigned tasks; /* scheduled tasks that refer to the call */
    bool timed;     /* its deadline is one of them */
    bool swallow, corrupt, applied;
    bool lost;   /* by sim_calls_lose: the request or the response does not arrive */
    bool coming; /* the first copy of the request is in flight */
    bool heard;  /* the response to the first copy was delivered */
    int status;
    const char *detail;
    ew_slice bytes;
};

static bool writes(etcd_model_method method) {
    return method == ETCD_MODEL_TXN || method == ETCD_MODEL_PUT || method == ETCD_MODEL_DELETE_RANGE ||
           method == ETCD_MODEL_LEASE_REVOKE || method == ETCD_MODEL_LEASE_GRANT;
}

static void call_free(sim_call *c) {
    sim_call **link = &c->sim->calls;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    free(sim_unconst(c->request.data));
    free(sim_unconst(c->bytes.data));
    free(c);
}

static void call_after(sim_call *c, int64_t at_ms, sim_task_fn fn) {
    c->tasks++;
    sim_at(c->sim, at_ms, fn, c, NULL);
}

/* Every task calls this last. */
static void call_left(sim_call *c) {
    if (--c->tasks == 0 && (c->answered || !c->worker))
        call_free(c);
}

static void call_answer(sim_call *c, int status, const char *detail, ew_slice bytes) {
    if (c->answered || !c->worker)
        return;
    c->answered = true;
    if (c->timed) {
        sim_schedule_drop(&c->sim->schedule, c);
        c->tasks--;
    }
    sim_note(c->sim, "answer", status, (int64_t)bytes.len);
    c->fn(c->arg, status, detail, bytes);
}

static void call_lost(void *arg) {
    sim_call *c = arg;
    bool write = writes(c->method);
    call_answer(c, write ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_UNAVAILABLE, "simulated: the connection was lost",
                (ew_slice){0});
    call_left(c);
}

static void call_timed_out(void *arg) {
    ((sim_call *)arg)->timed = false;
    call_lost(arg);
}

static void call_refused(void *arg) {
    sim_call *c = arg;
    call_answer(c, c->status, c->detail, (ew_slice){0});
    call_left(c);
}

static void call_answered(void *arg) {
    sim_call *c = arg;
    if (c->lost) {
        call_lost(c);
        return;
    }
    c->heard = !c->answered;
    call_answer(c, c->status, c->detail, c->bytes);
    call_left(c);
}

/* Returns whether a lagging member answers this read (ETCD P7): at most STALE_MAX reads of a worker in a row. */
static bool is_stale(sim_call *c) {
    enum { STALE_MAX = 4 };
    ew_sim *s = c->sim;
    bool stale = sim_happens(s, s->sampled.stale_read) && (!c->worker || c->worker->stale_reads < STALE_MAX);
    if (c->worker)
        c->worker->stale_reads = stale ? c->worker->stale_reads + 1 : 0;
    return stale;
}

/* Sets `*wrote` if the call itself made a revision, not a lease that expired before it. */
static etcd_model_answer apply(sim_call *c, bool *wrote) {
    ew_sim *s = c->sim;
    etcd_model_advance(s->etcd, sim_now(s));
    sim_network_changed(s, (sim_author){0});
    int64_t before = etcd_model_revision(s->etcd);
    *wrote = false;
    if (c->method == ETCD_MODEL_RANGE && is_stale(c)) {
        int64_t newest = etcd_model_revision(s->etcd), oldest = newest - 20;
        if (oldest < etcd_model_compacted(s->etcd))
            oldest = etcd_model_compacted(s->etcd);
        return etcd_model_stale_range(s->etcd, c->request, sim_between(&s->random, oldest < 1 ? 1 : oldest, newest));
    }
    etcd_model_set_full(s->etcd, sim_now(s) < s->full_until_ms);
    etcd_model_answer a = etcd_model_call(s->etcd, c->method, c->request);
    *wrote = etcd_model_revision(s->etcd) > before;
    etcd_model_set_full(s->etcd, false); /* external clients can still write */
    return a;
}

static void call_repeated(void *arg) {
    sim_call *c = arg;
    /* A refused request is not repeated, neither before nor after the response arrives: one attempt is one copy,
     * because gRPC's own retries are off. */
    bool told = c->answered ? c->heard : !c->swallow;
    bool refused = told && !c->applied && (c->status != EW_OK || c->bytes.data);
    if (!sim_away(c->sim) && !c->lost && !refused && !c->coming) {
        sim_note(c->sim, "repeated", c->method, 0);
        bool again;
        apply(c, &again);
        sim_network_changed(c->sim, c->author);
    }
    call_left(c);
}

static const ProtobufCMessageDescriptor *answer_kind(etcd_model_method method) {
    switch (method) {
    case ETCD_MODEL_TXN:
        return &pb__txn_response__descriptor;
    case ETCD_MODEL_RANGE:
        return &pb__range_response__descriptor;
    default:
        return NULL;
    }
}

static void call_arrived(void *arg) {
    sim_call *c = arg;
    ew_sim *s = c->sim;
    c->coming = false;
    if (sim_away(s) || c->lost) {
        if (!c->answered)
            call_after(c, sim_now(s) + sim_delay(s), call_lost);
        call_left(c);
        return;
    }
    etcd_model_answer a = apply(c, &c->applied);
    sim_note(s, "applied", c->method, etcd_model_revision(s->etcd));
    c->status = a.status;
    c->detail = a.detail;
    c->bytes = sim_copy(a.bytes);
    sim_network_changed(s, c->author);
    if (c->corrupt)
        sim_spoil(s, answer_kind(c->method), &c->bytes);
    call_after(c, sim_now(s) + sim_delay(s), c->swallow ? call_lost : call_answered);
    call_left(c);
}

sim_call *sim_call_start(sim_worker *w, etcd_model_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn,
                         void *arg) {
    ew_sim *s = w->sim;
    sim_call *c = sim_alloc(sizeof *c);
    *c = (sim_call){.next = s->calls,
                    .sim = s,
                    .worker = w,
                    /* keys that a lease's end deletes have no author */
                    .author = method == ETCD_MODEL_TXN ? (sim_author){w->number + 1, w->life} : (sim_author){0},
                    .method = method,
                    .request = sim_copy(request),
                    .fn = fn,
                    .arg = arg};
    s->calls = c;
    int64_t now = sim_now(s), arrives = now + sim_delay(s);
    c->swallow = sim_happens(s, s->sampled.lose_answer);
    c->corrupt = sim_happens(s, s->sampled.bad_answer);
    c->timed = true;
    c->tasks++;
    /* A longer timeout is for a response that takes etcd long; a lost request is noticed by this time. */
    int64_t patience_ms = w->options->call_timeout_ms;
    sim_at(s, now + (timeout_ms < patience_ms ? timeout_ms : patience_ms), call_timed_out, c, c);
    bool busy = sim_happens(s, s->sampled.busy);
    if (busy || sim_happens(s, s->sampled.refuse_user)) {
        w->user_refused |= !busy;
        c->status = busy ? EW_ERR_BUSY : EW_ERR_UNAUTHENTICATED;
        c->detail = busy ? "etcdserver: too many requests" : "etcdserver: invalid auth token";
        call_after(c, arrives, call_refused);
        return c;
    }
    if (sim_happens(s, s->sampled.lose_request)) {
        if (sim_chance(&s->random, 500)) /* otherwise only the deadline ends the call */
            call_after(c, arrives, call_lost);
    } else if (sim_happens(s, s->sampled.late_request)) {
        c->coming = true;
        call_after(c, arrives, call_lost);
        call_after(c, arrives + sim_between(&s->random, 0, s->sampled.late_ms), call_arrived);
    } else {
        c->coming = true;
        call_after(c, arrives, call_arrived);
    }
    if (w->options->exactly_once && sim_happens(s, s->sampled.repeat_request))
        call_after(c, arrives + sim_between(&s->random, 0, s->sampled.late_ms), call_repeated);
    return c;
}

void sim_call_forget(sim_call *c) {
    c->worker = NULL;
}

static void call_cancelled(void *arg) {
    sim_call *c = arg;
    call_answer(c, writes(c->method) ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_CANCELLED, "simulated: cancelled",
                (ew_slice){0});
    call_left(c);
}

void sim_call_cancel(sim_call *c) {
    call_after(c, sim_now(c->sim), call_cancelled);
}

void sim_calls_forget(sim_worker *w) {
    for (sim_call *c = w->sim->calls; c; c = c->next)
        if (c->worker == w)
            c->worker = NULL;
}

void sim_calls_lose(ew_sim *s) {
    for (sim_call *c = s->calls; c; c = c->next)
        c->lost = true;
}

void sim_calls_free(ew_sim *s) {
    while (s->calls)
        call_free(s->calls);
}
