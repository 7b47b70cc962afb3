/* The completion queue, in which threads sleep and all callbacks of src/etcd run. */
#include "etcd/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__) /* gcc */
#define THREAD_SANITIZER 1
#elif defined(__has_feature) /* clang */
#define THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define THREAD_SANITIZER 0
#endif

#if THREAD_SANITIZER
/* gRPC is not instrumented, so without these TSan does not see that a tag passes from thread to thread in its queue. */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define tag_given(tag) __tsan_release(tag)
#define tag_taken(tag) __tsan_acquire(tag)
#else
#define tag_given(tag) ((void)(tag))
#define tag_taken(tag) ((void)(tag))
#endif

/* How many completions one run handles, so that a busy stream cannot make its caller miss deadlines. */
#define QUEUE_RUN_MAX 256

struct etcd_queue {
    queue_tag wake; /* first: the tag of the waker's empty batches */
    grpc_completion_queue *cq;
    grpc_channel *nowhere; /* a lame channel for the waker, since only a call can post an empty batch */
    grpc_call *waker;
    atomic_bool woken;    /* an empty batch has been posted and is not handled yet */
    pthread_mutex_t lock; /* protects the list */
    queue_background *background;
};

void etcd_must_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "etcdworker: broken invariant: %s (%s:%d)\n", condition, file, line);
    abort();
}

int64_t etcd_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

gpr_timespec queue_time(int64_t at_ms) {
    if (at_ms == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (at_ms <= 0)
        return gpr_inf_past(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){
        .tv_sec = at_ms / 1000, .tv_nsec = (int32_t)(at_ms % 1000) * 1000000, .clock_type = GPR_CLOCK_MONOTONIC};
}

static void on_wake(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_queue *q = (etcd_queue *)tag;
    atomic_store(&q->woken, false);
}

etcd_queue *etcd_queue_new(void) {
    etcd_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    grpc_init();
    q->wake.done = on_wake;
    pthread_mutex_init(&q->lock, NULL);
    q->cq = grpc_completion_queue_create_for_next(NULL);
    q->nowhere = grpc_lame_client_channel_create("nowhere", GRPC_STATUS_UNAVAILABLE, "no call is made here");
    q->waker = grpc_channel_create_call(q->nowhere, NULL, 0, q->cq, grpc_slice_from_static_string("/wake"), NULL,
                                        gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return q;
}

void queue_enter_background(etcd_queue *q, queue_background *work) {
    pthread_mutex_lock(&q->lock);
    work->previous = NULL;
    work->next = q->background;
    if (work->next)
        work->next->previous = work;
    q->background = work;
    pthread_mutex_unlock(&q->lock);
}

void queue_leave_background(etcd_queue *q, queue_background *work) {
    pthread_mutex_lock(&q->lock);
    if (work->previous)
        work->previous->next = work->next;
    else
        q->background = work->next;
    if (work->next)
        work->next->previous = work->previous;
    pthread_mutex_unlock(&q->lock);
}

/* To be called when no other thread uses the queue. */
static void end_background(etcd_queue *q) {
    for (queue_background *w = q->background; w; w = w->next)
        w->cancel(w);
    while (q->background)
        etcd_queue_run(q, INT64_MAX);
}

void etcd_queue_free(etcd_queue *q) {
    if (!q)
        return;
    end_background(q);
    grpc_completion_queue_shutdown(q->cq);
    for (;;) { /* a wake may still be queued; any other tag means that the caller has not waited for a call or stream */
        grpc_event e = grpc_completion_queue_next(q->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (e.type == GRPC_QUEUE_SHUTDOWN)
            break;
        etcd_must(e.type == GRPC_OP_COMPLETE && e.tag == &q->wake);
        tag_taken(e.tag);
    }
    pthread_mutex_destroy(&q->lock);
    grpc_call_unref(q->waker);
    grpc_channel_destroy(q->nowhere);
    grpc_completion_queue_destroy(q->cq);
    free(q);
    grpc_shutdown();
}

grpc_completion_queue *queue_of(etcd_queue *q) {
    return q->cq;
}

void queue_start(grpc_call *call, const grpc_op *ops, size_t count, queue_tag *tag) {
    tag_given(tag);
    etcd_must(grpc_call_start_batch(call, ops, count, tag, NULL) == GRPC_CALL_OK);
}

void queue_watch(etcd_queue *q, grpc_channel *channel, grpc_connectivity_state state, int64_t deadline_ms,
                 queue_tag *tag) {
    tag_given(tag);
    grpc_channel_watch_connectivity_state(channel, state, queue_time(deadline_ms), q->cq, tag);
}

void etcd_queue_run(etcd_queue *q, int64_t deadline_ms) {
    gpr_timespec until = queue_time(deadline_ms);
    for (int i = 0; i < QUEUE_RUN_MAX; i++) {
        grpc_event e = grpc_completion_queue_next(q->cq, until, NULL);
        if (e.type != GRPC_OP_COMPLETE)
            return;
        tag_taken(e.tag);
        queue_tag *tag = e.tag;
        tag->done(tag, e.success != 0);
        until = gpr_inf_past(GPR_CLOCK_MONOTONIC); /* handle what else is ready, without waiting */
    }
}

void etcd_queue_wake(etcd_queue *q) {
    if (!atomic_exchange(&q->woken, true))
        queue_start(q->waker, NULL, 0, &q->wake);
}

bool etcd_all_released(int64_t timeout_ms) {
    /* Every channel and call holds a reference on gRPC, so a leaked one keeps gRPC initialised. The last grpc_shutdown
     * ends gRPC's threads asynchronously, so this has to wait. */
    int64_t end_ms = etcd_now_ms() + timeout_ms;
    while (grpc_is_initialized()) {
        if (etcd_now_ms() >= end_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return true;
}
