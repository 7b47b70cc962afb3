/* Interrupts a thread that waits in calls, watches and sleeps: another thread cancels it, or its session ends. */
#ifndef ETCD_INTERRUPTION_H
#define ETCD_INTERRUPTION_H

#include <etcdworker/client.h>

#include <pthread.h>

typedef struct interruption {
    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t moved;
    bool cancelled, session_done; /* never become false again */
    ew_watch *watch;              /* the watch that the thread waits for */
} interruption;

int interruption_init(interruption *i); /* returns EW_OK or EW_ERR_SYSTEM */
void interruption_fini(interruption *i);

/* Any thread. */
void interruption_cancel(interruption *i);
void interruption_session_done(interruption *i);
int interruption_status(interruption *i); /* EW_OK, EW_ERR_SESSION_DONE or EW_ERR_CANCELLED */

/* Registers the watch that the thread waits for: an interruption cancels it; an earlier one cancels it at once. NULL
 * removes it. */
void interruption_use(interruption *i, ew_watch *watch);

/* Sleeps for `ms`, or until an interruption. */
void interruption_sleep(interruption *i, int64_t ms);

#endif
