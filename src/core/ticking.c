/* The ticking core: creation, steps and transitions. */
#include "core/ticking_private.h"

#include "core/bug.h"
#include "core/check.h"

#include <stdarg.h>
#include <stdlib.h>

/* The allowed transitions, with the text that logs each. */
static const char *const moves[TICKING_DONE + 1][TICKING_DONE + 1] = {
    [TICKING_LOADING] = {[TICKING_READY] = "loading -> ready", [TICKING_DONE] = "loading -> done"},
    [TICKING_READY] = {[TICKING_TICKING] = "ready -> ticking",
                       [TICKING_COMMITTING] = "ready -> committing",
                       [TICKING_AWAITING] = "ready -> awaiting",
                       [TICKING_DONE] = "ready -> done"},
    [TICKING_TICKING] = {[TICKING_READY] = "ticking -> ready",
                         [TICKING_COMMITTING] = "ticking -> committing",
                         [TICKING_AWAITING] = "ticking -> awaiting"},
    [TICKING_COMMITTING] = {[TICKING_AWAITING] = "committing -> awaiting"},
    [TICKING_AWAITING] = {[TICKING_COMMITTING] = "awaiting -> committing",
                          [TICKING_READY] = "awaiting -> ready",
                          [TICKING_DONE] = "awaiting -> done"},
};

/* ---- creation ---- */

ticking *ticking_new(const ticking_config *config) {
    ticking *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->mirror = mirror_new();
    if (!t->mirror) {
        ticking_free(t);
        return NULL;
    }
    t->config = *config;
    t->scope = (group_scope){.prefix = config->prefix,
                             .textual = config->textual,
                             .counter_key = config->counter_key,
                             .receipt_prefix = config->receipt_prefix,
                             .session_lease = config->session_lease,
                             .session_used = &t->session_used};
    t->barrier = -1; /* SEMANTICS 1 */
    t->committed_here = true;
    t->random = config->seed;
    t->tick.core = t;
    return t;
}

/* The groups of a batch in flight may have been written. */
static void drop_groups(ticking *t) {
    ticking_list of_tick = {t->tick.first, t->tick.last};
    t->out = NULL;
    if (ticking_batch_is_out(t)) {
        for (size_t u = 0; u < t->patches.message.n_units; u++) {
            for (uint32_t i = 0; i < t->patches.units[u].groups; i++) {
                ew_group *g = t->pending.first;
                t->pending.first = g->next;
                ticking_decide_group(t, g, EW_ERR_UNKNOWN_OUTCOME, 0, NULL);
            }
        }
    }
    ticking_give_up(t, &t->pending);
    ticking_give_up(t, &of_tick);
    reads_unref(t->tick.reads);
    t->tick.reads = NULL;
    ticking_give_up(t, &t->submits);
}

void ticking_free(ticking *t) {
    if (!t)
        return;
    drop_groups(t);
    evaluate_patches_fini(&t->patches);
    submit_clients_fini(&t->clients);
    ticking_drop_updates(t);
    ticking_drop_changes(t);
    ticking_drop_audit(t);
    free(t->audit_key);
    ticking_drop_texts(t);
    mirror_entry_unref(t->shown);
    mirror_free(t->mirror);
    free(t->load_key);
    free(t);
}

ticking_state ticking_get_state(const ticking *t) {
    return t->state;
}

int64_t ticking_session_lease(const ticking *t) {
    return t->scope.session_lease;
}

bool ticking_uses_session(const ticking *t) {
    return t->session_used;
}

bool ticking_wants_outcome_only(const ticking *t) {
    return ticking_batch_is_out(t);
}

void ticking_get_stats(const ticking *t, ticking_stats *out) {
    *out = t->stats;
    out->revision = t->observed;
    out->barrier_revision = t->barrier;
    out->keys = mirror_count(t->mirror);
    out->mirror_bytes = mirror_bytes(t->mirror);
    out->update_bytes = t->updates_bytes;
    out->unsure = t->unsure;
    out->synced = ticking_is_synced(t);
}

/* ---- transitions, and the end ---- */

void ticking_move(ticking *t, ticking_state to) {
    CHECK(moves[t->state][to]);
    ticking_log(t, EW_LOG_DEBUG, moves[t->state][to]);
    t->state = to;
}

/* What must hold between two steps. Otherwise the core would tick on a wrong state, or lose a group. */
static void check_invariant(const ticking *t) {
    CHECK(!ticking_batch_is_out(t) || t->pending.first);
    CHECK(t->state != TICKING_READY || (!t->pending.first && t->observed >= t->barrier));
    CHECK(t->state != TICKING_TICKING || (!t->pending.first && t->observed >= t->barrier && t->loaded));
    CHECK(t->state != TICKING_DONE || (!t->pending.first && !t->submits.first));
    CHECK(t->observed <= t->received);
    CHECK(!t->auditing || (t->loaded && t->audit_deleted && t->observed >= t->audit_revision));
    CHECK(t->loaded_once || t->state == TICKING_LOADING || t->state == TICKING_DONE);
}

/* The first reason to end is the one that is reported. */
void ticking_end(ticking *t, int status, const char *format, ...) {
    if (t->ending)
        return;
    t->ending = true;
    t->end_status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(t->end_detail, sizeof t->end_detail, format, args);
    va_end(args);
}

void ticking_no_memory(ticking *t) {
    ticking_end(t, EW_ERR_NO_MEMORY, "out of memory");
}

static void finish(ticking *t) {
    ticking_give_up(t, &t->pending);
    ticking_give_up(t, &t->submits);
    ticking_move(t, TICKING_DONE);
    ticking_effect *end = ticking_emit(t, TICKING_DO_END);
    end->status = t->end_status;
    end->detail = t->end_detail;
    end->revision = t->observed;
}

/* Transitions that need no event, made at the end of a step. SEMANTICS 16: success only when every group is decided;
 * then it takes precedence over a stop that came meanwhile. */
static void settle(ticking *t) {
    if (ticking_batch_is_out(t) || t->state == TICKING_TICKING || t->state == TICKING_DONE)
        return;
    bool failed = t->ending && t->end_status != EW_ERR_CANCELLED;
    if (t->finished && (EW_BUG(early_success) || (!t->pending.first && !t->submits.first)) && !failed) {
        t->ending = true;
        t->end_status = EW_OK;
        t->end_detail[0] = '\0';
    }
    if (t->ending)
        finish(t);
    else if (t->state == TICKING_AWAITING && !t->pending.first && t->observed >= t->barrier)
        ticking_move(t, TICKING_READY);
}

/* ---- steps ---- */

static void take_leases(ticking *t, const Msg__Session *session) {
    if (session->lease != 0)
        t->config.record_lease = session->lease;
    if (session->session_lease != 0)
        t->scope.session_lease = session->session_lease;
}

static void take_message(ticking *t, const Msg__Message *m) {
    CHECK(t->state != TICKING_TICKING); /* the tick holds slices of the cache */
    if (m->snapshot && !t->ending)
        ticking_take_snapshot(t, m->epoch, m->snapshot);
    if (m->events && !t->ending)
        ticking_take_events(t, m->epoch, m->events);
    if (m->progress && !t->ending)
        ticking_take_progress(t, m->epoch, m->progress);
    if (m->health && !t->ending)
        ticking_take_health(t, m->epoch, m->health);
    if (m->outcome)
        ticking_take_outcome(t, m->outcome);
    if (m->session && !m->session->done)
        take_leases(t, m->session);
    if (m->audited && !t->ending)
        ticking_take_audited(t, m->audited);
}

static void take(ticking *t, const ticking_event *event) {
    switch (event->type) {
    case TICKING_MESSAGE:
        take_message(t, event->message);
        break;
    case TICKING_BROKEN:
        ticking_breach_outcome(t, "%s", event->detail);
        break;
    case TICKING_TICKED:
        ticking_take_ticked(t, event);
        break;
    case TICKING_SUBMIT:
        ticking_take_submit(t, event->submit_id, event->submit);
        break;
    case TICKING_TIMER:
        ticking_take_time(t);
        break;
    case TICKING_STOP:
        ticking_end(t, event->status != EW_OK ? event->status : EW_ERR_CANCELLED, "%s",
                    event->detail ? event->detail : "");
        break;
    }
}

/* Memory ran out before an event could be taken, and its content is lost: the run ends, and the outcome of a batch in
 * flight is unknown. */
static void take_loss(ticking *t) {
    t->lost = false;
    if (t->state == TICKING_TICKING) {
        ticking_list made = {t->tick.first, t->tick.last};
        t->tick.first = t->tick.last = NULL;
        reads_unref(t->tick.reads);
        t->tick.reads = NULL;
        ticking_append(&t->pending, &made);
        ticking_move(t, TICKING_AWAITING);
    } else if (ticking_batch_is_out(t)) {
        Msg__Outcome unknown = MSG__OUTCOME__INIT;
        unknown.batch = t->batch;
        unknown.status = EW_ERR_UNKNOWN_OUTCOME;
        ticking_take_outcome(t, &unknown);
    }
}

/* Space for a reply to every waiting submit, one more refusal, and the log records of a few transitions. */
#define EFFECTS_BESIDE_REPLIES 24

void ticking_step(ticking *t, const ticking_event *event, ticking_effects *out) {
    out->count = 0;
    ticking_drop_texts(t);
    if (t->state == TICKING_DONE)
        return;
    t->now_ms = event->now_ms;
    if (!ticking_effects_reserve(out, t->submit_count + EFFECTS_BESIDE_REPLIES)) {
        ticking_no_memory(t);
        t->lost = true; /* nothing can be emitted now; the next step is due at once */
        return;
    }
    t->out = out;
    if (t->lost)
        take_loss(t);
    else
        take(t, event);
    settle(t);
    check_invariant(t);
    t->out = NULL;
}
