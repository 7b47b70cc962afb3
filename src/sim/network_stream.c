/* Watch streams: responses come in order, but late; streams break, stall and lag. */
#include "sim/network_internal.h"

#include <stdlib.h>

enum { WINDOW = 4 }; /* maximum responses in flight; flow control holds the rest back */

struct sim_stream {
    sim_stream *next;
    ew_sim *sim;
    sim_worker *worker; /* NULL after the stream has ended for it */
    etcd_model_stream *server;
    io_stream_callbacks callbacks;
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

/* Loses the connection: nothing that is in flight arrives any more. */
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

/* The place after the last response. */
static void send_response(sim_stream *st) {
    st->response_count++;
    int64_t at = sim_now(st->sim) + sim_delay(st->sim);
    st->last_response_ms = at > st->last_response_ms ? at : st->last_response_ms;
    stream_after(st, st->last_response_ms, response_arrives);
}

static void pump(sim_stream *st) {
    ew_sim *s = st->sim;
    while (st->server && st->response_count < WINDOW &&
           etcd_model_stream_take(st->server, &st->responses[st->response_count])) {
        if (sim_happens(s, s->sampled.bad_answer / 4))
            sim_spoil(s, &pb__watch_response__descriptor, &st->responses[st->response_count]);
        send_response(st);
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

/* etcd's loop for unsynced watches. */
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
        stream_after(st, sim_now(st->sim) + st->sim->sampled.progress_ms, progress_round);
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

/* A refused watch has no gRPC status, only a text (ETCD P10). */
static bool refuse_user(sim_stream *st, ew_slice request) {
    ew_sim *s = st->sim;
    if (st->response_count == WINDOW || !sim_happens(s, 4 * s->sampled.refuse_user))
        return false;
    sim_arena_reset(&s->scratch);
    const Pb__WatchRequest *asked = pb__watch_request__unpack(&s->scratch.allocator, request.len, request.data);
    if (!asked || asked->request_union_case != PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST)
        return false;
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    header.cluster_id = s->etcd_config.cluster_id;
    header.revision = etcd_model_revision(s->etcd);
    Pb__WatchResponse r = PB__WATCH_RESPONSE__INIT;
    r.header = &header;
    r.watch_id = -1;
    r.created = r.canceled = true;
    r.cancel_reason = sim_unconst(sim_chance(&s->random, 500) ? "rpc error: code = Unauthenticated desc = "
                                                                "etcdserver: invalid auth token"
                                                              : "etcdserver: permission denied");
    st->responses[st->response_count] = sim_copy(sim_pack(&s->scratch, &r.base));
    send_response(st);
    if (st->worker)
        st->worker->user_refused = true;
    return true;
}

static void request_arrives(void *arg) {
    sim_stream *st = arg;
    if (st->server && st->request_count > 0) {
        ew_slice request = st->requests[0];
        memmove(st->requests, st->requests + 1, --st->request_count * sizeof *st->requests);
        if (sim_away(st->sim)) {
            stream_over(st, EW_ERR_UNAVAILABLE, "simulated: no etcd");
        } else if (!refuse_user(st, request)) {
            etcd_model_advance(st->sim->etcd, sim_now(st->sim));
            sim_network_changed(st->sim, (sim_author){0});
            if (etcd_model_stream_request(st->server, request) != EW_OK)
                ew_sim_fail(st->sim, "a watch request is malformed");
            pump(st);
            look_after(st);
        }
        free(sim_unconst(request.data));
    }
    stream_left(st);
}

sim_stream *sim_stream_open(sim_worker *w, io_stream_callbacks callbacks, void *arg) {
    ew_sim *s = w->sim;
    sim_stream *st = sim_alloc(sizeof *st);
    *st = (sim_stream){.next = s->streams, .sim = s, .worker = w, .callbacks = callbacks, .arg = arg};
    st->server = etcd_model_stream_open(s->etcd);
    s->streams = st;
    if (s->sampled.progress_ms > 0)
        stream_after(st, sim_now(s) + s->sampled.progress_ms, progress_round);
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

/* Responses that have arrived may still be delivered before the end. */
void sim_stream_cancel(sim_stream *st) {
    stream_after(st, sim_now(st->sim) + (st->sim->faulty ? sim_between(&st->sim->random, 0, 5) : 0), stream_cancelled);
}

static void stream_breaks(sim_stream *st) {
    st->tasks++; /* the callback may use it */
    stream_over(st, EW_ERR_UNAVAILABLE, "simulated: the stream broke");
    stream_left(st);
}

void sim_network_break_all(ew_sim *s) {
    for (sim_stream *st = s->streams, *next; st; st = next) {
        next = st->next;
        if (st->worker)
            stream_breaks(st);
    }
}

void sim_network_fault(sim_worker *w) {
    ew_sim *s = w->sim;
    sim_stream *st = s->streams;
    while (st && !(st->worker == w && st->server))
        st = st->next;
    if (!st)
        return;
    if (sim_happens(s, s->sampled.stall_stream))
        st->stalled_until_ms = sim_now(s) + sim_between(&s->random, 1, s->sampled.stall_ms + 1);
    if (sim_happens(s, s->sampled.lag_stream))
        etcd_model_stream_lag(st->server);
    if (sim_happens(s, s->sampled.replay_stream))
        etcd_model_stream_replay(st->server, etcd_model_revision(s->etcd) - sim_between(&s->random, 0, 30));
    if (sim_happens(s, s->sampled.lose_events))
        etcd_model_stream_lose(st->server, sim_between(&s->random, 1, 3));
    look_after(st);
    if (sim_happens(s, s->sampled.break_stream))
        stream_breaks(st);
}

void sim_streams_look(ew_sim *s) {
    for (sim_stream *st = s->streams; st; st = st->next) {
        pump(st);
        look_after(st);
    }
}

void sim_streams_forget(sim_worker *w) {
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

void sim_streams_free(ew_sim *s) {
    while (s->streams) {
        if (s->streams->server)
            stream_cut(s->streams);
        stream_free(s->streams);
    }
}
