#include "etcd/detached.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

bool detached_start(void *(*run)(void *arg), void *arg) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, run, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        pthread_detach(thread);
    return started;
}
