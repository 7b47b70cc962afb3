/* The queues: a list and a condition variable, on which a thread sleeps as it would in a gRPC completion queue. */
#include "memory_etcd.h"
#include "sim/memory.h"

#include <stdlib.h>
#include <time.h>

pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;

struct etcd_queue {
    pthread_cond_t filled; /* the members below: under the lock */
    memory_notice *first, **last;
    bool woken;
};

int64_t etcd_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

etcd_queue *etcd_queue_new(void) {
    etcd_queue *q = sim_alloc(sizeof *q);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->filled, &attr);
    pthread_condattr_destroy(&attr);
    q->last = &q->first;
    return q;
}

void etcd_queue_free(etcd_queue *q) {
    if (!q)
        return;
    pthread_cond_destroy(&q->filled);
    free(q);
}

void queue_post(etcd_queue *q, memory_notice *n) {
    n->next = NULL;
    n->posted = true;
    *q->last = n;
    q->last = &n->next;
}

void queue_signal(etcd_queue *q) {
    pthread_cond_signal(&q->filled);
}

void etcd_queue_wake(etcd_queue *q) {
    pthread_mutex_lock(&memory_lock);
    q->woken = true;
    pthread_mutex_unlock(&memory_lock);
    queue_signal(q);
}

/* Needs the lock. Sleeps until there is a notice or a wake-up, or until the deadline. */
static void await(etcd_queue *q, int64_t deadline_ms) {
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    while (!q->first && !q->woken) {
        if (deadline_ms == INT64_MAX)
            pthread_cond_wait(&q->filled, &memory_lock);
        else if (deadline_ms <= 0 || pthread_cond_timedwait(&q->filled, &memory_lock, &until) != 0)
            return;
    }
}

static memory_notice *take(etcd_queue *q) {
    memory_notice *n = q->first;
    if (!n)
        return NULL;
    q->first = n->next;
    if (!q->first)
        q->last = &q->first;
    n->posted = false;
    return n;
}

void etcd_queue_run(etcd_queue *q, int64_t deadline_ms) {
    enum { MOST = 256 }; /* as in etcd/queue.c: a busy stream must not delay the caller's deadlines */
    pthread_mutex_lock(&memory_lock);
    await(q, deadline_ms);
    q->woken = false;
    memory_notice *n;
    for (int i = 0; i < MOST && (n = take(q)); i++) {
        pthread_mutex_unlock(&memory_lock);
        n->run(n);
        pthread_mutex_lock(&memory_lock);
    }
    pthread_mutex_unlock(&memory_lock);
}
