/* Calls and streams: what a worker sends reaches etcd late, twice or never, and so do the answers. */
#include "sim/check.h"
#include "sim/worker.h"

#include <stdlib.h>

/* ---- calls ---- */

struct sim_call {
    sim_call *next;
    ew_sim *sim;
    sim_worker *worker; /* NULL once it is killed */
    sim_author author;
    etcd_model_method method;
    ew_slice request;
    sim_answer_fn fn;
    void *arg;
    bool answered;
    unsigned tasks; /* scheduled ones that know the call */
    bool timed;     /* its deadline is one of them */
    bool swallow, corrupt, applied;
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

/* To be called last by every task. */
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
    call_answer(c, EW_ERR_BUSY, "etcdserver: too many requests", (ew_slice){0});
    call_left(c);
}

static void call_answered(void *arg) {
    sim_call *c = arg;
    call_answer(c, c->status, c->detail, c->bytes);
    call_left(c);
}

/* An answer that no etcd sends: cut short, empty, or no message at all. */
static void spoil(ew_sim *s, ew_slice *bytes) {
    if (bytes->len == 0)
        return;
    int64_t how = sim_between(&s->random, 0, 2);
    if (how == 0)
        bytes->len = 0;
    else if (how == 1)
        bytes->len = 1; /* a field without its value */
    else
        *(uint8_t *)sim_unconst(bytes->data) = 0x07; /* a wire type that does not exist */
}

static etcd_model_answer apply(sim_call *c) {
    ew_sim *s = c->sim;
    etcd_model_advance(s->etcd, sim_now(s));
    sim_wire_changed(s, (sim_author){0});
    if (c->method == ETCD_MODEL_RANGE && sim_happens(s, s->drawn.stale_read)) {
        int64_t newest = etcd_model_revision(s->etcd), oldest = newest - 20;
        if (oldest < etcd_model_compacted(s->etcd))
            oldest = etcd_model_compacted(s->etcd);
        return etcd_model_stale_range(s->etcd, c->request, sim_between(&s->random, oldest < 1 ? 1 : oldest, newest));
    }
    return etcd_model_call(s->etcd, c->method, c->request);
}

static bool away(const ew_sim *s) {
    return sim_now(s) < s->away_until_ms;
}

static void call_repeated(void *arg) {
    sim_call *c = arg;
    /* What was answered as refused does not come again: one attempt is one copy, gRPC's own retries are off. */
    bool refused = c->answered && c->status == EW_OK && c->bytes.data && !c->applied;
    if (!away(c->sim) && !refused) {
        sim_note(c->sim, "repeated", c->method, 0);
        apply(c);
        sim_wire_changed(c->sim, c->author);
    }
    call_left(c);
}

static void call_arrived(void *arg) {
    sim_call *c = arg;
    ew_sim *s = c->sim;
    if (away(s)) {
        if (!c->answered)
            call_after(c, sim_now(s) + sim_delay(s), call_lost);
        call_left(c);
        return;
    }
    int64_t before = etcd_model_revision(s->etcd);
    etcd_model_answer a = apply(c);
    c->applied = etcd_model_revision(s->etcd) > before;
    sim_note(s, "applied", c->method, etcd_model_revision(s->etcd));
    c->status = a.status;
    c->detail = a.detail;
    c->bytes = sim_copy(a.bytes);
    sim_wire_changed(s, c->author);
    if (c->corrupt)
        spoil(s, &c->bytes);
    call_after(c, sim_now(s) + sim_delay(s), c->swallow ? call_lost : call_answered);
    call_left(c);
}

sim_call *sim_call_start(sim_worker *w, etcd_model_method method, ew_slice request, int64_t timeout_ms,
                         sim_answer_fn fn, void *arg) {
    ew_sim *s = w->sim;
    sim_call *c = sim_alloc(sizeof *c);
    *c = (sim_call){.next = s->calls,
                    .sim = s,
                    .worker = w,
                    /* what a lease takes with it, nobody has written */
                    .author = method == ETCD_MODEL_TXN ? (sim_author){w->number + 1, w->life} : (sim_author){0},
                    .method = method,
                    .request = sim_copy(request),
                    .fn = fn,
                    .arg = arg};
    s->calls = c;
    int64_t now = sim_now(s), arrives = now + sim_delay(s);
    c->swallow = sim_happens(s, s->drawn.lose_answer);
    c->corrupt = sim_happens(s, s->drawn.bad_answer);
    c->timed = true;
    c->tasks++;
    sim_at(s, now + timeout_ms, call_timed_out, c, c);
    if (sim_happens(s, s->drawn.busy)) {
        call_after(c, arrives, call_refused);
        return c;
    }
    if (sim_happens(s, s->drawn.lose_request)) {
        if (sim_chance(&s->random, 500)) /* otherwise only the deadline tells */
            call_after(c, arrives, call_lost);
    } else if (sim_happens(s, s->drawn.late_request)) {
        call_after(c, arrives, call_lost);
        call_after(c, arrives + sim_between(&s->random, 0, s->drawn.late_ms), call_arrived);
    } else {
        call_after(c, arrives, call_arrived);
    }
    if (w->options->exactly_once && sim_happens(s, s->drawn.repeat_request))
        call_after(c, arrives + sim_between(&s->random, 0, s->drawn.late_ms), call_repeated);
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

/* ---- streams ---- */

enum { WINDOW = 4 }; /* responses between etcd and the worker at once: flow control holds the rest back */

struct sim_stream {
    sim_stream *next;
    ew_sim *sim;
    sim_worker *worker; /* NULL once it is over */
    etcd_model_stream *server;
    sim_stream_callbacks callbacks;
    void *arg;
    unsigned tasks;
    bool paused;
    unsigned due; /* responses that have arrived while paused */
    int64_t stalled_until_ms, last_request_ms, last_response_ms;
    ew_slice requests[8], responses[WINDOW];
    unsigned request_count, response_count;
    bool syncing;
};

static void stream_free(sim_stream *st) {
    sim_stream **link = &st->sim->streams;
    while (*link != st)
        link = &(*link)->next;
    *link = st->next;
    free(st);
}

static void stream_after(sim_stream *st, int64_t at_ms, sim_task_fn fn) {
    st->tasks++;
    sim_at(st->sim, at_ms, fn, st, NULL);
}

static void stream_left(sim_stream *st) {
    if (--st->tasks == 0 && !st->worker)
        stream_free(st);
}

/* The connection is gone: nothing that is under way arrives any more. */
static void stream_cut(sim_stream *st) {
    etcd_model_stream_close(st->server);
    st->server = NULL;
    for (unsigned i = 0; i < st->request_count; i++)
        free(sim_unconst(st->requests[i].data));
    for (unsigned i = 0; i < st->response_count; i++)
        free(sim_unconst(st->responses[i].data));
    st->request_count = st->response_count = st->due = 0;
}

static void stream_over(sim_stream *st, int status, const char *detail) {
    if (st->server)
        stream_cut(st);
    if (!st->worker)
        return;
    st->worker = NULL;
    sim_note(st->sim, "stream over", status, 0);
    st->callbacks.ended(st->arg, status, detail);
}

static void response_arrives(void *arg);

static void pump(sim_stream *st) {
    ew_sim *s = st->sim;
    while (st->server && st->response_count < WINDOW &&
           etcd_model_stream_take(st->server, &st->responses[st->response_count])) {
        if (sim_happens(s, s->drawn.bad_answer / 4))
            spoil(s, &st->responses[st->response_count]);
        st->response_count++;
        int64_t at = sim_now(s) + sim_delay(s);
        st->last_response_ms = at > st->last_response_ms ? at : st->last_response_ms;
        stream_after(st, st->last_response_ms, response_arrives);
    }
}

static void response_arrives(void *arg) {
    sim_stream *st = arg;
    ew_sim *s = st->sim;
    if (st->server && st->response_count > 0) {
        if (sim_now(s) < st->stalled_until_ms) {
            stream_after(st, st->stalled_until_ms, response_arrives);
        } else if (st->paused) {
            st->due++;
        } else {
            ew_slice bytes = st->responses[0];
            memmove(st->responses, st->responses + 1, --st->response_count * sizeof *st->responses);
            sim_note(s, "response", (int64_t)bytes.len, 0);
            if (st->worker)
                st->callbacks.message(st->arg, bytes);
            free(sim_unconst(bytes.data));
            pump(st);
        }
    }
    stream_left(st);
}

static void look_after(sim_stream *st);

/* Etcd's loop for watches that are behind. */
static void sync_round(void *arg) {
    sim_stream *st = arg;
    st->syncing = false;
    if (st->server) {
        etcd_model_stream_sync(st->server);
        pump(st);
        look_after(st);
    }
    stream_left(st);
}

static void progress_round(void *arg) {
    sim_stream *st = arg;
    if (st->server) {
        etcd_model_stream_progress(st->server);
        pump(st);
        stream_after(st, sim_now(st->sim) + st->sim->drawn.progress_ms, progress_round);
    }
    stream_left(st);
}

static void look_after(sim_stream *st) {
    ew_sim *s = st->sim;
    if (st->syncing || !st->server || !etcd_model_stream_behind(st->server))
        return;
    st->syncing = true;
    stream_after(st, sim_now(s) + (s->faulty ? sim_between(&s->random, 1, 150) : 5), sync_round);
}

static void request_arrives(void *arg) {
    sim_stream *st = arg;
    if (st->server && st->request_count > 0) {
        ew_slice request = st->requests[0];
        memmove(st->requests, st->requests + 1, --st->request_count * sizeof *st->requests);
        if (away(st->sim)) {
            stream_over(st, EW_ERR_UNAVAILABLE, "simulated: no etcd");
        } else {
            etcd_model_advance(st->sim->etcd, sim_now(st->sim));
            sim_wire_changed(st->sim, (sim_author){0});
            if (etcd_model_stream_request(st->server, request) != EW_OK)
                ew_sim_fail(st->sim, "a watch request is malformed");
            pump(st);
            look_after(st);
        }
        free(sim_unconst(request.data));
    }
    stream_left(st);
}

sim_stream *sim_stream_open(sim_worker *w, sim_stream_callbacks callbacks, void *arg) {
    ew_sim *s = w->sim;
    sim_stream *st = sim_alloc(sizeof *st);
    *st = (sim_stream){.next = s->streams, .sim = s, .worker = w, .callbacks = callbacks, .arg = arg};
    st->server = etcd_model_stream_open(s->etcd);
    s->streams = st;
    if (s->drawn.progress_ms > 0)
        stream_after(st, sim_now(s) + s->drawn.progress_ms, progress_round);
    return st;
}

void sim_stream_send(sim_stream *st, ew_slice request) {
    if (!st->server || !st->worker)
        return;
    if (st->request_count == sizeof st->requests / sizeof *st->requests) {
        ew_sim_fail(st->sim, "the watcher has %u requests under way on one stream", st->request_count);
        return;
    }
    st->requests[st->request_count++] = sim_copy(request);
    int64_t at = sim_now(st->sim) + sim_delay(st->sim);
    at = at > st->stalled_until_ms ? at : st->stalled_until_ms;
    st->last_request_ms = at > st->last_request_ms ? at : st->last_request_ms;
    stream_after(st, st->last_request_ms, request_arrives);
}

void sim_stream_pause(sim_stream *st, bool paused) {
    st->paused = paused;
    if (paused)
        return;
    for (; st->due > 0; st->due--)
        stream_after(st, sim_now(st->sim), response_arrives);
}

static void stream_cancelled(void *arg) {
    sim_stream *st = arg;
    if (st->server)
        stream_cut(st);
    stream_over(st, EW_ERR_CANCELLED, "simulated: cancelled");
    stream_left(st);
}

/* What has arrived already may still be told before the end is. */
void sim_stream_cancel(sim_stream *st) {
    stream_after(st, sim_now(st->sim) + (st->sim->faulty ? sim_between(&st->sim->random, 0, 5) : 0), stream_cancelled);
}

/* ---- the world around ---- */

static void lease_expiry(void *arg) {
    ew_sim *s = arg;
    etcd_model_advance(s->etcd, sim_now(s));
    sim_wire_changed(s, (sim_author){0});
}

void sim_wire_changed(ew_sim *s, sim_author author) {
    int64_t newest = etcd_model_revision(s->etcd);
    sim_reserve(s->authors, s->author_capacity, (size_t)newest + 1);
    while (s->authored < newest) {
        s->authors[++s->authored] = author;
        check_revision(s, s->authored);
    }
    for (sim_stream *st = s->streams; st; st = st->next) {
        pump(st);
        look_after(st);
    }
    sim_schedule_drop(&s->schedule, &s->etcd);
    int64_t next = etcd_model_next_expiry_ms(s->etcd);
    if (next != INT64_MAX)
        sim_at(s, next, lease_expiry, s, &s->etcd);
}

void sim_wire_forget(sim_worker *w) {
    for (sim_call *c = w->sim->calls; c; c = c->next)
        if (c->worker == w)
            c->worker = NULL;
    for (sim_stream *st = w->sim->streams, *next; st; st = next) {
        next = st->next;
        if (st->worker != w)
            continue;
        st->worker = NULL;
        stream_cut(st);
        if (st->tasks == 0)
            stream_free(st);
    }
}

bool sim_wire_idle(const sim_worker *w) {
    for (const sim_call *c = w->sim->calls; c; c = c->next)
        if (c->worker == w && !c->answered)
            return false;
    for (const sim_stream *st = w->sim->streams; st; st = st->next)
        if (st->worker == w)
            return false;
    return true;
}

static void stream_breaks(sim_stream *st) {
    st->tasks++; /* the callback may look at it */
    stream_over(st, EW_ERR_UNAVAILABLE, "simulated: the stream broke");
    stream_left(st);
}

void sim_wire_break_all(ew_sim *s) {
    for (sim_stream *st = s->streams, *next; st; st = next) {
        next = st->next;
        if (st->worker)
            stream_breaks(st);
    }
}

void sim_wire_fault(sim_worker *w) {
    ew_sim *s = w->sim;
    sim_stream *st = s->streams;
    while (st && !(st->worker == w && st->server))
        st = st->next;
    if (!st)
        return;
    if (sim_happens(s, s->drawn.stall_stream))
        st->stalled_until_ms = sim_now(s) + sim_between(&s->random, 1, s->drawn.stall_ms + 1);
    if (sim_happens(s, s->drawn.lag_stream))
        etcd_model_stream_lag(st->server);
    if (sim_happens(s, s->drawn.replay_stream))
        etcd_model_stream_replay(st->server, etcd_model_revision(s->etcd) - sim_between(&s->random, 0, 30));
    if (sim_happens(s, s->drawn.lose_events))
        etcd_model_stream_lose(st->server, sim_between(&s->random, 1, 3));
    look_after(st);
    if (sim_happens(s, s->drawn.break_stream))
        stream_breaks(st);
}

void sim_wire_free(ew_sim *s) {
    while (s->calls)
        call_free(s->calls);
    while (s->streams) {
        if (s->streams->server)
            stream_cut(s->streams);
        stream_free(s->streams);
    }
}
