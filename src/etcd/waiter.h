/* Threads that wait for an answer: each sleeps in a queue of its own, taken from a pool, so that any number of threads
 * may call at once and none runs another's callbacks. */
#ifndef ETCD_WAITER_H
#define ETCD_WAITER_H

#include "etcd/etcd.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct waiter {
    struct waiter *next, *previous; /* in one of the lists below */
    etcd_queue *queue;
    atomic_bool cancelled;
} waiter;

typedef struct waiters {
    pthread_mutex_t lock; /* of the lists */
    waiter *waiting;      /* those that a thread sleeps in now */
    waiter *idle;
    int idle_count;
} waiters;

void waiters_init(waiters *all);
void waiters_fini(waiters *all); /* nobody may be waiting */
void waiters_cancel(waiters *all);

waiter *waiter_take(waiters *all); /* NULL when out of memory */
void waiter_give(waiters *all, waiter *w);

/* When a wait of so long is over: a negative one never is. */
int64_t waiter_deadline_ms(int64_t timeout_ms);

/* Around a wait: only in between is a waiter seen by waiters_cancel. */
void waiter_begin(waiters *all, waiter *w);
void waiter_end(waiters *all, waiter *w);

#endif
