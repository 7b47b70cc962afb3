/* What a supervisor wants to know of the worker, judged from its statistics.
 *
 * Alive: its threads come round. A tick that does not end, or a thread that hangs, is found here, and a supervisor that
 * asks restarts the process; a worker that waits for etcd, for its election or for a transaction is alive.
 * Ready: alive, and the prefix is loaded, watched and connected. */
#ifndef SERVICE_HEALTH_H
#define SERVICE_HEALTH_H

#include <etcdworker/worker.h>

typedef struct health {
    bool alive, ready;
    char reason[200]; /* why not, or what it waits for; "" if there is nothing to say */
} health;

/* `waiting`: why the worker does not run yet, or NULL. A tick that takes longer than `liveness_ms`, or a thread that
 * should have come round that long ago, is stuck. */
void health_look(health *out, const ew_worker_stats *s, const char *waiting, int64_t liveness_ms);

#endif
