#include "etcd/waiter.h"
#include "etcd/queue.h"

#include <stdlib.h>

/* How many unused queues are kept for later calls; making one takes tens of microseconds. */
#define WAITERS_IDLE_MAX 16

void waiters_init(waiters *all) {
    *all = (waiters){0};
    pthread_mutex_init(&all->lock, NULL);
}

static void free_waiter(waiter *w) {
    etcd_queue_free(w->queue);
    free(w);
}

void waiters_fini(waiters *all) {
    etcd_must(!all->waiting);
    for (waiter *w = all->idle, *next; w; w = next) {
        next = w->next;
        free_waiter(w);
    }
    pthread_mutex_destroy(&all->lock);
}

void waiters_cancel(waiters *all) {
    pthread_mutex_lock(&all->lock);
    for (waiter *w = all->waiting; w; w = w->next) {
        atomic_store(&w->cancelled, true);
        etcd_queue_wake(w->queue);
    }
    pthread_mutex_unlock(&all->lock);
}

waiter *waiter_take(waiters *all) {
    pthread_mutex_lock(&all->lock);
    waiter *w = all->idle;
    if (w) {
        all->idle = w->next;
        all->idle_count--;
    }
    pthread_mutex_unlock(&all->lock);
    if (w)
        return w;
    w = calloc(1, sizeof *w);
    if (w && !(w->queue = etcd_queue_new())) {
        free(w);
        w = NULL;
    }
    return w;
}

void waiter_give(waiters *all, waiter *w) {
    pthread_mutex_lock(&all->lock);
    bool keep = all->idle_count < WAITERS_IDLE_MAX;
    if (keep) {
        w->next = all->idle;
        all->idle = w;
        all->idle_count++;
    }
    pthread_mutex_unlock(&all->lock);
    if (!keep)
        free_waiter(w);
}

void waiter_begin(waiters *all, waiter *w) {
    pthread_mutex_lock(&all->lock);
    atomic_store(&w->cancelled, false);
    w->previous = NULL;
    w->next = all->waiting;
    if (w->next)
        w->next->previous = w;
    all->waiting = w;
    pthread_mutex_unlock(&all->lock);
}

void waiter_end(waiters *all, waiter *w) {
    pthread_mutex_lock(&all->lock);
    if (w->previous)
        w->previous->next = w->next;
    else
        all->waiting = w->next;
    if (w->next)
        w->next->previous = w->previous;
    pthread_mutex_unlock(&all->lock);
}

int64_t waiter_deadline_ms(int64_t timeout_ms) {
    int64_t now_ms = etcd_now_ms();
    return timeout_ms < 0 || timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + timeout_ms;
}
