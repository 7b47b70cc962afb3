/* Signs that the cache is wrong: etcd was restored from an older state, or a response was corrupted in transit.
 *
 * The watcher finds a rewritten history when it resumes its stream (watch_stream.c), and requests a consistency
 * check if it cannot decide. This file handles what the watcher cannot see:
 *  - a commit that the watch never shows: its revision is not of this history, or an event was lost;
 *  - a refusal because of a change that the cache should have, or repeated refusals because a key is absent: the cache
 *    differs from etcd.
 * Each of these causes a load. If the sign alone proves nothing, a consistency check comes first. */
#include "core/ticking_private.h"

#include "core/deadline.h"

#include <inttypes.h>

void ticking_history_init(ticking *t) {
    t->history.barrier = -1; /* SEMANTICS 1 */
    t->history.committed_here = true;
}

/* ---- the barrier ---- */

int64_t ticking_barrier(const ticking *t) {
    return t->history.barrier;
}

bool ticking_barrier_is_open(const ticking *t) {
    return ticking_observed(t) >= t->history.barrier;
}

void ticking_note_commit(ticking *t, int64_t barrier_revision) {
    ticking_history *h = &t->history;
    h->committed_here = true;
    if (barrier_revision <= h->barrier)
        return;
    h->barrier = barrier_revision;
    h->barrier_since_ms = t->now_ms;
}

static void ask_for_barrier(ticking *t) {
    t->history.barrier_asked = t->history.barrier;
    ticking_load_again(t, t->history.barrier, false);
}

/* ---- when the cache may be wrong ---- */

static int64_t barrier_due_ms(const ticking *t) {
    const ticking_history *h = &t->history;
    if (t->config.barrier_patience_ms <= 0 || h->watch != TICKING_WATCH_CONNECTED || ticking_batch_is_out(t) ||
        ticking_barrier_is_open(t))
        return INT64_MAX;
    return h->barrier_since_ms + t->config.barrier_patience_ms;
}

/* While the watch is lost there is no consistency check: the watcher resumes the watch or loads the prefix. */
static int64_t check_due_ms(const ticking *t) {
    return t->history.watch == TICKING_WATCH_LOST ? INT64_MAX : ticking_check_due_ms(t);
}

/* True also after EW_FINISHED: undecided groups are evaluated on the cache until they are committed. */
static bool may_doubt(const ticking *t) {
    return ticking_is_loaded(t) && !ticking_is_ending(t);
}

int64_t ticking_doubt_due_ms(const ticking *t) {
    return may_doubt(t) ? deadline_earlier(check_due_ms(t), barrier_due_ms(t)) : INT64_MAX;
}

static void take_barrier_time(ticking *t) {
    ticking_log_text(t, EW_LOG_WARN,
                     "the watch is at revision %" PRId64 " and does not show the worker's own commit at %" PRId64
                     ": loading the prefix again",
                     ticking_observed(t), t->history.barrier);
    t->history.barrier_since_ms = t->now_ms;
    ask_for_barrier(t);
}

void ticking_take_doubt_time(ticking *t) {
    if (may_doubt(t) && t->now_ms >= check_due_ms(t))
        ticking_take_check_time(t);
    if (may_doubt(t) && t->now_ms >= barrier_due_ms(t))
        take_barrier_time(t);
}

/* ---- signs ---- */

void ticking_take_health(ticking *t, uint64_t epoch, const Msg__Health *m) {
    ticking_history *h = &t->history;
    if (m->connected && h->watch != TICKING_WATCH_CONNECTED)
        h->barrier_since_ms = t->now_ms;
    h->watch = m->connected ? TICKING_WATCH_CONNECTED : TICKING_WATCH_LOST;
    if (m->unsure && epoch == ticking_epoch(t) && ticking_is_loaded(t))
        ticking_set_unsure(t);
}

/* If the conflicting change was already in the cache when the group was evaluated, the cache differs from etcd. If the
 * conflict is an absent key, the deletion may be newer than the evaluation; if it repeats, a consistency check
 * decides. */
bool ticking_doubt_refusal(ticking *t, const Msg__Outcome *o, int64_t base, uint32_t refusals) {
    enum { ABSENT_MAX = 5 };
    if (o->rewritten && !t->history.committed_here)
        return false;
    if (o->rewritten || (o->conflict_revision > 0 && o->conflict_revision <= base))
        ticking_load_again(t, ticking_observed(t), o->rewritten);
    else if (o->conflict_revision <= 0 && refusals % ABSENT_MAX == 0 && ticking_check_revision(t) == 0 &&
             ticking_is_loaded(t))
        ticking_want_check(t);
    return true;
}

static void forget_history(ticking *t, int64_t revision) {
    ticking_history *h = &t->history;
    h->committed_here = false;
    t->stats.rewritten++;
    ticking_log_text(t, EW_LOG_ERROR, "etcd's history was rewritten: the prefix is now at revision %" PRId64, revision);
    if (h->barrier <= revision)
        return;
    /* The commit may be of the lost history, or of this one and newer than the snapshot. So the core requests a load of
     * at least that revision. The watcher does it unless etcd's revision is below the commit's. */
    if (ticking_get_state(t) == TICKING_READY)
        ticking_move(t, TICKING_AWAITING);
    if (h->barrier_asked == h->barrier)
        h->barrier = revision;
    else
        ask_for_barrier(t);
}

void ticking_history_loaded(ticking *t, int64_t revision, bool rewritten) {
    t->history.barrier_since_ms = t->now_ms;
    if (rewritten)
        forget_history(t, revision);
}
