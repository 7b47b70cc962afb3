/* Liveness and readiness of the worker, derived from its statistics.
 *
 * Alive: the worker's threads make progress. A worker with a tick that does not end, or with a thread that hangs, is
 * not alive, so that a supervisor restarts the process. A worker that waits for etcd, for its election or for a
 * transaction is alive.
 * Ready: alive, connected to etcd, and the prefix is loaded and watched. */
#ifndef SERVICE_HEALTH_H
#define SERVICE_HEALTH_H

#include <etcdworker/worker.h>

typedef struct health {
    bool alive, ready;
    char reason[200]; /* why it is not alive or not ready, or what it waits for; "": none */
} health;

/* Fills `out`. `waiting` is the reason why the worker does not run yet, or NULL. The worker is not alive if a tick runs
 * for longer than `liveness_ms`, or a thread is late with its progress by more than that. */
void health_look(health *out, const ew_worker_stats *s, const char *waiting, int64_t liveness_ms);

#endif
