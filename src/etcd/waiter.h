/* Threads in blocking calls. Each sleeps in a queue of its own, taken from a pool. So any number of threads may make
 * calls at the same time, and no thread runs another one's callbacks. */
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
    pthread_mutex_t lock; /* protects the lists */
    waiter *waiting;      /* in use by a thread */
    waiter *idle;
    int idle_count;
} waiters;

void waiters_init(waiters *all);
void waiters_fini(waiters *all); /* no thread may be waiting */
void waiters_cancel(waiters *all);

waiter *waiter_take(waiters *all); /* NULL when out of memory */
void waiter_give(waiters *all, waiter *w);

/* Returns the deadline of a wait of `timeout_ms`; INT64_MAX if that is negative. */
int64_t waiter_deadline_ms(int64_t timeout_ms);

/* Called before and after a wait. waiters_cancel cancels only waits between these calls. */
void waiter_begin(waiters *all, waiter *w);
void waiter_end(waiters *all, waiter *w);

#endif
