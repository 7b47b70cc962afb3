/* What makes a thread that waits in calls, watches and pauses come back: another thread's wish, or a session's end. */
#ifndef ETCD_INTERRUPTION_H
#define ETCD_INTERRUPTION_H

#include <etcdworker/client.h>

#include <pthread.h>

typedef struct interruption {
    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved;
    bool cancelled, session_done; /* stay true */
    ew_watch *watch;              /* the one that is being waited for */
} interruption;

int interruption_init(interruption *i); /* EW_OK or EW_ERR_SYSTEM */
void interruption_fini(interruption *i);

/* Any thread. */
void interruption_cancel(interruption *i);
void interruption_session_done(interruption *i);
int interruption_status(interruption *i); /* EW_OK, EW_ERR_SESSION_DONE or EW_ERR_CANCELLED */

/* Around the waits for a watch: it is cancelled if an interruption comes, or has come. NULL takes it back. */
void interruption_use(interruption *i, ew_watch *watch);

/* Sleeps for `ms`, or until an interruption comes. */
void interruption_sleep(interruption *i, int64_t ms);

#endif
