/* Ticks: when one is due, and its result. */
#include "core/ticking_private.h"

#include "core/check.h"

/* Returns when the rate limit allows the next tick. The limit is kept in microseconds, because several ticks may come
 * within one millisecond, the resolution of the clock. */
static int64_t allowed_ms(const ticking *t) {
    return t->config.max_ticks_per_second > 0 ? (t->ticks.next_allowed_us + 999) / 1000 : 0;
}

static void use_allowance(ticking *t) {
    if (t->config.max_ticks_per_second <= 0)
        return;
    const int64_t spacing_us = 1000000 / t->config.max_ticks_per_second;
    const int64_t burst_us = spacing_us < 1000 ? 1000 - spacing_us : 0;
    const int64_t floor_us = t->now_ms * 1000 - burst_us;
    int64_t *next_us = &t->ticks.next_allowed_us;
    *next_us = (*next_us > floor_us ? *next_us : floor_us) + spacing_us;
}

static int64_t tick_due_ms(const ticking *t) {
    int64_t due = ticking_tick_is_wanted(t) || ticking_changes_wait(t) ? 0 : t->ticks.next_timer_ms;
    int64_t allowed = allowed_ms(t);
    return due > allowed ? due : allowed;
}

void ticking_start_timer(ticking *t) {
    t->ticks.next_timer_ms = t->now_ms + t->config.tick_interval_ms;
    if (t->config.tick_on_load)
        ticking_want_tick(t);
}

/* SEMANTICS 5: a timer that is late by several intervals, or due while the gate is closed, causes one tick. */
static void take_timer(ticking *t) {
    int64_t *next_ms = &t->ticks.next_timer_ms;
    if (t->now_ms < *next_ms)
        return;
    *next_ms += t->config.tick_interval_ms;
    if (*next_ms <= t->now_ms)
        *next_ms = t->now_ms + t->config.tick_interval_ms;
}

/* Returns whether to tick. With `coalesce` off it first applies the next revision that has visible changes, unless
 * there are already changes to show. */
static bool take_revision(ticking *t) {
    while (!ticking_tick_is_wanted(t) && ticking_changes_wait(t))
        ticking_apply_revision(t);
    return !ticking_is_ending(t) && (ticking_tick_is_wanted(t) || t->now_ms >= t->ticks.next_timer_ms);
}

static void begin_tick(ticking *t) {
    ew_tick *tick = &t->ticks.tick;
    t->ticks.scanned = NULL;
    *tick = (ew_tick){.cache = ticking_get_cache(t),
                      .scope = &t->scope,
                      .revision = ticking_observed(t),
                      .number = t->stats.ticks++,
                      .now_ms = t->now_ms,
                      .groups_before = tick->groups_before + tick->groups,
                      .scanned = &t->ticks.scanned};
    if (t->config.track_reads) {
        tick->reads = reads_new(t->config.max_txn_keys, tick->revision);
        tick->no_memory = !tick->reads;
    }
}

static void tick(ticking *t) {
    if (!take_revision(t))
        return;
    take_timer(t);
    use_allowance(t);
    begin_tick(t);
    bool reset = ticking_show_begin(t);
    ticking_move(t, TICKING_TICKING);
    ticking_effect *e = ticking_emit(t, TICKING_DO_TICK); /* the last effect, because handling it steps the core */
    e->tick = &t->ticks.tick;
    e->reset = reset;
    e->revision = ticking_observed(t);
}

int64_t ticking_work_due_ms(const ticking *t) {
    if (ticking_batch_is_out(t) || !ticking_is_loaded(t))
        return INT64_MAX;
    if (ticking_groups_pend(t))
        return ticking_evaluate_due_ms(t);
    if (!ticking_barrier_is_open(t))
        return INT64_MAX;
    return ticking_submits_wait(t) ? 0 : tick_due_ms(t);
}

/* Runs the tick or the evaluation that is due. A due tick comes first, and submitted groups are committed after the
 * tick's own groups, so neither can starve the other. */
void ticking_take_work_time(ticking *t) {
    if (ticking_is_ending(t) || t->now_ms < ticking_work_due_ms(t))
        return;
    if (ticking_get_state(t) == TICKING_READY && t->now_ms >= tick_due_ms(t))
        tick(t);
    else
        ticking_evaluate(t);
}

/* ---- the result ---- */

static const ew_group *failed_group(const ew_group *g) {
    while (g && g->error.code == EW_OK)
        g = g->next;
    return g;
}

/* Gives the tick's reads to the groups that expect them unchanged. */
static void hand_out_reads(ticking *t) {
    ew_tick *tick = &t->ticks.tick;
    bool sealed = false;
    for (ew_group *g = tick->made.first; tick->reads && g; g = g->next) {
        if (!g->expects_reads)
            continue;
        if (!sealed)
            reads_seal(tick->reads, &t->scope);
        sealed = true;
        tick->no_memory |= tick->reads->failed;
        g->reads = reads_ref(tick->reads);
    }
}

static void end_for(ticking *t, int status, const char *detail) {
    const ew_tick *tick = &t->ticks.tick;
    const ew_group *bad = failed_group(tick->made.first);
    if (tick->error.code != EW_OK)
        ticking_end(t, tick->error.code, "%s", tick->error.detail);
    else if (status < 0)
        ticking_end(t, status, "%s", detail && detail[0] ? detail : "the reactor failed");
    else if (status > 0 && status != EW_FINISHED)
        ticking_end(t, EW_ERR_REACTOR, "the reactor's tick returned %s (%d), which is not valid for a tick",
                    ew_errname(status), status);
    else if (bad)
        ticking_end(t, bad->error.code, "%s", bad->error.detail);
    else if (tick->no_memory)
        ticking_no_memory(t);
}

void ticking_abandon_tick(ticking *t) {
    ew_tick *tick = &t->ticks.tick;
    reads_unref(tick->reads);
    tick->reads = NULL;
    ticking_add_groups(t, &tick->made);
}

void ticking_take_ticked(ticking *t, const ticking_event *event) {
    CHECK(ticking_get_state(t) == TICKING_TICKING);
    ticking_show_end(t);
    hand_out_reads(t);
    end_for(t, event->status, event->detail);
    ticking_abandon_tick(t);
    if (!ticking_is_ending(t)) {
        ticking_set_finished(t, event->status == EW_FINISHED);
        ticking_evaluate_first(t); /* SEMANTICS 17 */
    }
    if (ticking_get_state(t) != TICKING_TICKING)
        return;
    bool waits = ticking_is_ending(t) || ticking_groups_pend(t) || ticking_is_finished(t);
    ticking_move(t, waits ? TICKING_AWAITING : TICKING_READY);
}
