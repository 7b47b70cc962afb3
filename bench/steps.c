#include "steps.h"

#include "etcd/etcd.h"
#include "usage.h"

#include <stdatomic.h>
#include <stdlib.h>

static bool on;
static _Thread_local bool reactor;      /* this is the reactor's thread */
static _Atomic int64_t ended_ns[STEPS]; /* when the steps of the current tick ended; 0: not yet */
static atomic_bool met[STEPS];          /* the step has occurred: a worker that writes nothing has no commits */
static int64_t began_ns, total_ns[STEPS], ticks;

static const struct {
    const char *field, *title, *narrow;
} names[STEPS] = {
    [STEP_TICK] = {"step_tick_us", "tick", "tick"},
    [STEP_EVALUATE] = {"step_evaluate_us", "evaluate", "eval"},
    [STEP_HOP_OUT] = {"step_hop_out_us", "hop to committer", "hop out"},
    [STEP_COMMIT] = {"step_commit_us", "commit", "commit"},
    [STEP_WATCH] = {"step_watch_us", "watch", "watch"},
    [STEP_HOP_IN] = {"step_hop_in_us", "hop to reactor", "hop in"},
    [STEP_UPDATE] = {"step_update_us", "update", "update"},
};

const char *step_field(step s) {
    return names[s].field;
}

const char *step_title(step s) {
    return names[s].title;
}

const char *step_short(step s) {
    return names[s].narrow;
}

void steps_begin(void) {
    on = true;
}

void steps_ended(step s) {
    if (!on)
        return;
    atomic_store_explicit(&ended_ns[s], now_ns(), memory_order_relaxed);
    atomic_store_explicit(&met[s], true, memory_order_relaxed);
}

void steps_tick(int64_t now) {
    if (!on)
        return;
    reactor = true;
    int64_t at = began_ns;
    for (step s = 0; s < STEPS; s++) {
        int64_t end = atomic_exchange_explicit(&ended_ns[s], 0, memory_order_relaxed);
        if (began_ns == 0) /* before the first tick, the steps belong to the worker's start */
            atomic_store_explicit(&met[s], false, memory_order_relaxed);
        if (s == STEP_UPDATE)
            end = now;
        if (began_ns != 0 && end > at) {
            total_ns[s] += end - at;
            at = end;
        }
    }
    ticks += began_ns != 0;
    began_ns = now;
}

void steps_report(json_t *result) {
    for (step s = 0; on && ticks > 0 && s < STEPS; s++)
        if (met[s] || s == STEP_UPDATE) /* STEP_UPDATE ends with the next tick, without steps_ended */
            json_object_set_new(result, names[s].field, json_real((double)total_ns[s] / 1e3 / (double)ticks));
}

/* ---- wrappers: the linker redirects calls of NAME to __wrap_NAME, and calls of __real_NAME to NAME ---- */

etcd_call *__real_etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request,
                                  int64_t timeout_ms, etcd_answer_fn fn, void *arg);
etcd_call *__wrap_etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request,
                                  int64_t timeout_ms, etcd_answer_fn fn, void *arg);
etcd_stream *__real_etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method,
                                     etcd_stream_callbacks callbacks, void *arg);
etcd_stream *__wrap_etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method,
                                     etcd_stream_callbacks callbacks, void *arg);

typedef struct wrapped_call {
    etcd_answer_fn fn;
    void *arg;
} wrapped_call;

static void call_answered(void *arg, int status, const char *detail, ew_slice bytes) {
    wrapped_call c = *(wrapped_call *)arg;
    free(arg);
    steps_ended(STEP_COMMIT);
    c.fn(c.arg, status, detail, bytes);
}

etcd_call *__wrap_etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request,
                                  int64_t timeout_ms, etcd_answer_fn fn, void *arg) {
    if (!on || method != ETCD_TXN)
        return __real_etcd_call_start(client, q, method, request, timeout_ms, fn, arg);
    wrapped_call *c = malloc(sizeof *c);
    if (c == NULL)
        return NULL;
    *c = (wrapped_call){fn, arg};
    steps_ended(STEP_HOP_OUT);
    etcd_call *call = __real_etcd_call_start(client, q, method, request, timeout_ms, call_answered, c);
    if (call == NULL)
        free(c);
    return call;
}

typedef struct wrapped_stream {
    etcd_stream_callbacks callbacks;
    void *arg;
} wrapped_stream;

static void stream_message(void *arg, ew_slice bytes) {
    wrapped_stream *s = arg;
    steps_ended(STEP_WATCH);
    s->callbacks.message(s->arg, bytes);
}

static void stream_ended(void *arg, int status, const char *detail) {
    wrapped_stream s = *(wrapped_stream *)arg;
    free(arg);
    s.callbacks.ended(s.arg, status, detail);
}

struct mailbox;
struct mailbox_message;
bool __real_mailbox_take(struct mailbox *mb, struct mailbox_message *out);
bool __wrap_mailbox_take(struct mailbox *mb, struct mailbox_message *out);

bool __wrap_mailbox_take(struct mailbox *mb, struct mailbox_message *out) {
    bool any = __real_mailbox_take(mb, out);
    if (any && reactor)
        steps_ended(STEP_HOP_IN);
    return any;
}

etcd_stream *__wrap_etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method,
                                     etcd_stream_callbacks callbacks, void *arg) {
    if (!on || method != ETCD_WATCH)
        return __real_etcd_stream_open(client, q, method, callbacks, arg);
    wrapped_stream *s = malloc(sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (wrapped_stream){callbacks, arg};
    etcd_stream *stream =
        __real_etcd_stream_open(client, q, method, (etcd_stream_callbacks){stream_message, stream_ended}, s);
    if (stream == NULL)
        free(s);
    return stream;
}
