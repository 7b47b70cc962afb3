/* Signs that the cache is wrong: etcd was restored from an older state, or a response was changed on its way.
 *
 * The watcher finds a rewritten history when it resumes its stream (watching_history.c), and requests a consistency
 * check if it cannot decide. This file handles what the watcher cannot see:
 *  - a commit that the watch never shows: its revision is not of this history, or an event was lost;
 *  - a refusal by a change that the cache should have, or repeated refusals by an absent key: the cache differs from
 *    etcd.
 * All of these lead to a load, or first to a consistency check if the sign alone proves nothing. */
#include "core/ticking_private.h"

#include <inttypes.h>
#include <stdio.h>

void ticking_load_again(ticking *t, int64_t revision, bool rewritten) {
    ticking_drop_audit(t);
    ticking_effect *e = ticking_emit(t, TICKING_DO_RESYNC);
    e->revision = revision;
    e->rewritten = rewritten;
}

void ticking_take_health(ticking *t, uint64_t epoch, const Msg__Health *h) {
    if (h->connected && !t->connected)
        t->barrier_since_ms = t->now_ms;
    t->connected = h->connected;
    t->away = !h->connected;
    if (!h->unsure || epoch != t->epoch || !t->loaded)
        return;
    t->unsure = true;
    t->unsure_revision = t->received;
    ticking_drop_audit(t); /* a running check says nothing about later changes */
    ticking_want_audit(t, 0);
}

int64_t ticking_barrier_due_ms(const ticking *t) {
    bool waits = t->connected && t->loaded && !ticking_batch_is_out(t) && !t->ending && t->observed < t->barrier;
    if (!waits || t->config.barrier_patience_ms <= 0)
        return INT64_MAX;
    return t->barrier_since_ms + t->config.barrier_patience_ms;
}

void ticking_take_barrier_time(ticking *t) {
    char text[160];
    snprintf(text, sizeof text,
             "the watch is at revision %" PRId64 " and does not show the worker's own commit at %" PRId64
             ": loading the prefix again",
             t->observed, t->barrier);
    ticking_log(t, EW_LOG_WARN, ticking_keep_text(t, text));
    t->barrier_since_ms = t->now_ms;
    ticking_load_again(t, t->barrier_asked = t->barrier, false);
}
