#include "etcd/interruption.h"

#include <errno.h>
#include <time.h>

int interruption_init(interruption *i) {
    pthread_condattr_t clock;
    *i = (interruption){0};
    if (pthread_mutex_init(&i->lock, NULL) != 0 || pthread_condattr_init(&clock) != 0)
        return EW_ERR_SYSTEM;
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    int problem = pthread_cond_init(&i->moved, &clock);
    pthread_condattr_destroy(&clock);
    return problem == 0 ? EW_OK : EW_ERR_SYSTEM;
}

void interruption_fini(interruption *i) {
    pthread_cond_destroy(&i->moved);
    pthread_mutex_destroy(&i->lock);
}

static void interrupt(interruption *i, bool *flag) {
    pthread_mutex_lock(&i->lock);
    *flag = true;
    if (i->watch)
        ew_watch_cancel(i->watch);
    pthread_cond_broadcast(&i->moved);
    pthread_mutex_unlock(&i->lock);
}

void interruption_cancel(interruption *i) {
    interrupt(i, &i->cancelled);
}

void interruption_session_done(interruption *i) {
    interrupt(i, &i->session_done);
}

/* The end of the session takes precedence, since it is final. */
int interruption_status(interruption *i) {
    pthread_mutex_lock(&i->lock);
    int status = i->session_done ? EW_ERR_SESSION_DONE : i->cancelled ? EW_ERR_CANCELLED : EW_OK;
    pthread_mutex_unlock(&i->lock);
    return status;
}

void interruption_use(interruption *i, ew_watch *watch) {
    pthread_mutex_lock(&i->lock);
    i->watch = watch;
    if (watch && (i->cancelled || i->session_done))
        ew_watch_cancel(watch);
    pthread_mutex_unlock(&i->lock);
}

void interruption_sleep(interruption *i, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&i->lock);
    while (!i->cancelled && !i->session_done && pthread_cond_timedwait(&i->moved, &i->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&i->lock);
}
