/* Detached threads. */
#ifndef ETCD_DETACHED_H
#define ETCD_DETACHED_H

#include <stdbool.h>

/* Starts a detached thread with all signals blocked. False if it cannot be started. */
bool detached_start(void *(*run)(void *arg), void *arg);

#endif
