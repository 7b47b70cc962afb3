/* A call that is waited for, and the first look at its answer. */
#ifndef ETCD_BLOCKING_H
#define ETCD_BLOCKING_H

#include "etcd/backoff.h"
#include "etcd/blocking_request.h"
#include "etcd/connection.h"

/* After an attempt that did nothing: waits a little. False: there is no time for another one, or it was cancelled. */
bool blocking_wait(waiter *w, backoff *pause, int64_t deadline_ms);

#endif
