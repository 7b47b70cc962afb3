#include "actors/worker_private.h"

/* Returns the time since `since_ms`; 0 if it has not begun. */
static int64_t age_ms(int64_t now_ms, int64_t since_ms) {
    return since_ms == 0 || since_ms > now_ms ? 0 : now_ms - since_ms;
}

static int64_t since(const _Atomic int64_t *time, int64_t now_ms) {
    return age_ms(now_ms, atomic_load_explicit(time, memory_order_relaxed));
}

static void consider(ew_worker_stats *out, const char *name, int64_t thread_age_ms) {
    if (out->slowest_thread && thread_age_ms <= out->progress_age_ms)
        return;
    out->slowest_thread = name;
    out->progress_age_ms = thread_age_ms;
}

void worker_read_progress(const ew_worker *w, ew_worker_stats *out) {
    const reactor_counters *c = &w->reactor.counters;
    int64_t now_ms = etcd_now_ms();
    out->tick_running_ms = since(&c->tick_began_ms, now_ms);
    out->txn_waiting_ms = since(&c->batch_sent_ms, now_ms);
    if (!w->watcher || !w->committer) /* the run has not begun, or is ending */
        return;
    consider(out, "reactor", since(&c->turned_ms, now_ms));
    consider(out, "watcher", age_ms(now_ms, etcd_loop_turned_ms(w->watcher->task.loop)));
    consider(out, "committer", age_ms(now_ms, etcd_loop_turned_ms(w->committer->task.loop)));
}
