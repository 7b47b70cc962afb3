/* Ticks: when one is due, and its result. */
#include "core/ticking_private.h"

#include "core/check.h"

/* The rate limit, in microseconds: several ticks may come within one millisecond, which is the resolution of the
 * clock. */
static int64_t allowed_ms(const ticking *t) {
    return t->config.max_ticks_per_second > 0 ? (t->next_allowed_us + 999) / 1000 : 0;
}

static void use_allowance(ticking *t) {
    if (t->config.max_ticks_per_second <= 0)
        return;
    const int64_t spacing_us = 1000000 / t->config.max_ticks_per_second;
    const int64_t burst_us = spacing_us < 1000 ? 1000 - spacing_us : 0;
    const int64_t floor_us = t->now_ms * 1000 - burst_us;
    t->next_allowed_us = (t->next_allowed_us > floor_us ? t->next_allowed_us : floor_us) + spacing_us;
}

static int64_t tick_due_ms(const ticking *t) {
    bool wanted = t->dirty || t->first_due || ticking_changes_wait(t);
    int64_t due = wanted ? 0 : t->next_timer_ms;
    int64_t allowed = allowed_ms(t);
    return due > allowed ? due : allowed;
}

/* SEMANTICS 5: a timer that fires late, or while the gate is closed, fires once. */
static void take_timer(ticking *t) {
    if (t->now_ms < t->next_timer_ms)
        return;
    t->next_timer_ms += t->config.tick_interval_ms;
    if (t->next_timer_ms <= t->now_ms)
        t->next_timer_ms = t->now_ms + t->config.tick_interval_ms;
}

/* With `coalesce` off a tick takes one more revision, unless there is already something to show. A revision without
 * visible changes causes no tick. */
static bool take_revision(ticking *t) {
    while (!t->dirty && !t->first_due && ticking_changes_wait(t))
        ticking_apply_revision(t);
    return !t->ending && (t->dirty || t->first_due || t->now_ms >= t->next_timer_ms);
}

static void tick(ticking *t) {
    if (!take_revision(t))
        return;
    take_timer(t);
    use_allowance(t);
    t->dirty = t->first_due = false;
    t->tick = (ew_tick){.core = t, .revision = t->observed, .number = t->stats.ticks++, .now_ms = t->now_ms};
    if (t->config.track_reads) {
        t->tick.reads = reads_new(t->config.max_txn_keys, t->observed);
        t->tick.no_memory = !t->tick.reads;
    }
    ticking_show_begin(t);
    ticking_move(t, TICKING_TICKING);
    ticking_effect *e = ticking_emit(t, TICKING_DO_TICK); /* the last effect: handling it steps the core again */
    e->tick = &t->tick;
    e->reset = t->reset;
    e->revision = t->observed;
}

/* Starts the next tick, or evaluation. */
static int64_t work_due_ms(const ticking *t) {
    if (ticking_batch_is_out(t) || !t->loaded)
        return INT64_MAX;
    if (t->pending.first)
        return ticking_evaluate_due_ms(t);
    if (t->observed < t->barrier)
        return INT64_MAX;
    return t->submits.first ? 0 : tick_due_ms(t);
}

int64_t ticking_deadline_ms(const ticking *t) {
    if (t->lost)
        return 0;
    if (t->state == TICKING_DONE || t->state == TICKING_TICKING)
        return INT64_MAX;
    int64_t work = work_due_ms(t), audit = ticking_audit_due_ms(t), barrier = ticking_barrier_due_ms(t);
    work = work < audit ? work : audit;
    return work < barrier ? work : barrier;
}

/* A tick that is due comes before submitted groups, which then follow the tick's own groups. So neither can starve the
 * other. */
void ticking_take_time(ticking *t) {
    if (t->now_ms >= ticking_audit_due_ms(t))
        ticking_take_audit_time(t);
    if (t->now_ms >= ticking_barrier_due_ms(t))
        ticking_take_barrier_time(t);
    if (t->ending || t->now_ms < work_due_ms(t))
        return;
    if (t->state == TICKING_READY && t->now_ms >= tick_due_ms(t))
        tick(t);
    else
        ticking_evaluate(t);
}

static const ew_group *failed_group(const ew_group *g) {
    while (g && g->error.code == EW_OK)
        g = g->next;
    return g;
}

/* Gives the tick's reads to the groups that expect them unchanged. */
static void hand_out_reads(ticking *t) {
    reads *r = t->tick.reads;
    bool sealed = false;
    for (ew_group *g = t->tick.first; r && g; g = g->next) {
        if (!g->expects_reads)
            continue;
        if (!sealed)
            reads_seal(r, &t->scope);
        sealed = true;
        t->tick.no_memory |= r->failed;
        g->reads = reads_ref(r);
    }
    reads_unref(r);
    t->tick.reads = NULL;
}

void ticking_take_ticked(ticking *t, const ticking_event *event) {
    CHECK(t->state == TICKING_TICKING);
    ticking_show_end(t);
    hand_out_reads(t);
    const ew_group *bad = failed_group(t->tick.first);
    if (t->tick.error.code != EW_OK)
        ticking_end(t, t->tick.error.code, "%s", t->tick.error.detail);
    else if (event->status < 0)
        ticking_end(t, event->status, "%s", event->detail && event->detail[0] ? event->detail : "the reactor failed");
    else if (event->status > 0 && event->status != EW_FINISHED)
        ticking_end(t, EW_ERR_REACTOR, "the reactor's tick returned %s (%d), which is not valid for a tick",
                    ew_errname(event->status), event->status);
    else if (bad)
        ticking_end(t, bad->error.code, "%s", bad->error.detail);
    else if (t->tick.no_memory)
        ticking_no_memory(t);
    ticking_list made = {t->tick.first, t->tick.last};
    t->tick.first = t->tick.last = NULL;
    ticking_append(&t->pending, &made);
    if (!t->ending) {
        t->finished = event->status == EW_FINISHED;
        t->wait_revision = t->retry_ms = 0;
        t->no_glue = false;
        t->refusals = 0;
        ticking_evaluate(t); /* SEMANTICS 17 */
    }
    if (t->state == TICKING_TICKING && (t->ending || t->pending.first || t->finished))
        ticking_move(t, TICKING_AWAITING);
    else if (t->state == TICKING_TICKING)
        ticking_move(t, TICKING_READY);
}
