/* Blocking calls: retries, and the check of the response header. */
#ifndef ETCD_BLOCKING_H
#define ETCD_BLOCKING_H

#include "etcd/backoff.h"
#include "etcd/blocking_request.h"
#include "etcd/connection.h"

/* Waits before the next attempt. False: the deadline leaves no time for it, or the call was cancelled. */
bool blocking_wait(waiter *w, backoff *pause, int64_t deadline_ms);

#endif
