/* Threads that end by themselves and are waited for by nobody. */
#ifndef ETCD_DETACHED_H
#define ETCD_DETACHED_H

#include <stdbool.h>

/* Starts a thread that takes none of the program's signals. False if it cannot be started. */
bool detached_start(void *(*run)(void *arg), void *arg);

#endif
