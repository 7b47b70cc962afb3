#include "service/health.h"

#include <inttypes.h>
#include <stdio.h>

enum { TURN_MS = 5000, LONG_TXN_MS = 1000 }; /* a thread reports progress every TURN_MS: <etcdworker/worker.h> */

static bool is_stuck(health *out, const ew_worker_stats *s, int64_t liveness_ms) {
    if (s->tick_running_ms > liveness_ms)
        snprintf(out->reason, sizeof out->reason, "tick %" PRIu64 " has been running for %" PRId64 " s", s->ticks + 1,
                 s->tick_running_ms / 1000);
    else if (s->progress_age_ms > liveness_ms + TURN_MS)
        snprintf(out->reason, sizeof out->reason, "the %s's thread has made no progress for %" PRId64 " s",
                 s->slowest_thread ? s->slowest_thread : "worker", s->progress_age_ms / 1000);
    else
        return false;
    return true;
}

/* Writes what keeps the worker from being ready, or from its next tick, to `out->reason`. */
static void say_what_it_waits_for(health *out, const ew_worker_stats *s) {
    const char *why = s->ready ? NULL : s->snapshots == 0 ? "the prefix is not loaded yet" : "not connected to etcd";
    bool slow = s->txn_waiting_ms > LONG_TXN_MS;
    snprintf(out->reason, sizeof out->reason, "%s", why ? why : "");
    if (!slow)
        return;
    size_t len = strlen(out->reason);
    snprintf(out->reason + len, sizeof out->reason - len, "%stransaction outcome pending for %" PRId64 " s%s",
             why ? "; " : "", s->txn_waiting_ms / 1000, s->no_space ? ": etcd is out of space" : "");
}

void health_look(health *out, const ew_worker_stats *s, const char *waiting, int64_t liveness_ms) {
    *out = (health){0};
    if (waiting) {
        out->alive = true;
        snprintf(out->reason, sizeof out->reason, "%s", waiting);
        return;
    }
    out->alive = !is_stuck(out, s, liveness_ms);
    out->ready = out->alive && s->ready;
    if (out->alive)
        say_what_it_waits_for(out, s);
}
