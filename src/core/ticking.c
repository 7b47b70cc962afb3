/* The ticking core: creation and steps. */
#include "core/ticking_private.h"

#include "core/bug.h"
#include "core/check.h"
#include "core/deadline.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- creation ---- */

ticking *ticking_new(const ticking_config *config) {
    ticking *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->config = *config;
    t->scope = (group_scope){.prefix = config->prefix,
                             .textual = config->textual,
                             .counter_key = config->counter_key,
                             .receipt_prefix = config->receipt_prefix,
                             .session_lease = config->session_lease,
                             .session_used = &t->session_used};
    ticking_check_init(t);
    ticking_history_init(t);
    ticking_groups_init(t);
    if (!ticking_cache_init(t)) {
        ticking_free(t);
        return NULL;
    }
    return t;
}

void ticking_free(ticking *t) {
    if (!t)
        return;
    ticking_abandon_tick(t);
    ticking_groups_fini(t);
    ticking_submits_fini(t);
    ticking_show_end(t);
    ticking_drop_updates(t);
    ticking_drop_changes(t);
    ticking_check_fini(t);
    ticking_drop_texts(t);
    ticking_load_fini(t);
    ticking_cache_fini(t);
    free(t);
}

int64_t ticking_session_lease(const ticking *t) {
    return t->scope.session_lease;
}

bool ticking_uses_session(const ticking *t) {
    return t->session_used;
}

void ticking_get_stats(const ticking *t, ticking_stats *out) {
    *out = t->stats;
    out->revision = ticking_observed(t);
    out->barrier_revision = ticking_barrier(t);
    out->keys = cache_count(ticking_get_cache(t));
    out->cache_bytes = cache_bytes(ticking_get_cache(t));
    out->update_bytes = ticking_update_bytes(t);
    out->unsure = ticking_is_unsure(t);
    out->synced = ticking_is_synced(t);
}

/* ---- steps ---- */

int64_t ticking_deadline_ms(const ticking *t) {
    const ticking_state state = ticking_get_state(t);
    if (t->lost)
        return 0;
    if (state == TICKING_DONE || state == TICKING_TICKING)
        return INT64_MAX;
    return deadline_earlier(ticking_work_due_ms(t), ticking_doubt_due_ms(t));
}

/* What must hold between two steps. Otherwise the core would tick on a wrong state, or lose a group. */
static void check_invariant(const ticking *t) {
    const ticking_state state = ticking_get_state(t);
    const bool pending = ticking_groups_pend(t), gate = !pending && ticking_barrier_is_open(t);
    const int64_t checked = ticking_check_revision(t);
    CHECK(state != TICKING_COMMITTING || pending);
    CHECK(state != TICKING_READY || gate);
    CHECK(state != TICKING_TICKING || (gate && ticking_is_loaded(t)));
    CHECK(state != TICKING_DONE || (!pending && !ticking_submits_wait(t)));
    CHECK(state != TICKING_LOADING || !ticking_is_loaded(t));
    CHECK(ticking_observed(t) <= ticking_received(t));
    CHECK(checked == 0 || (ticking_is_loaded(t) && ticking_observed(t) >= checked));
}

/* Transitions that need no event, made at the end of a step. SEMANTICS 16: success only when every group is decided. */
static void settle(ticking *t) {
    const ticking_state state = ticking_get_state(t);
    if (state == TICKING_COMMITTING || state == TICKING_TICKING || state == TICKING_DONE)
        return;
    const bool decided = EW_BUG(early_success) || (!ticking_groups_pend(t) && !ticking_submits_wait(t));
    if (ticking_is_ending(t) || (ticking_is_finished(t) && decided)) {
        ticking_give_up(t);
        ticking_leave(t, decided);
    } else if (state == TICKING_AWAITING && !ticking_groups_pend(t) && ticking_barrier_is_open(t)) {
        ticking_move(t, TICKING_READY);
    }
}

static void take_leases(ticking *t, const Msg__Session *session) {
    if (session->lease != 0)
        t->config.record_lease = session->lease;
    if (session->session_lease != 0)
        t->scope.session_lease = session->session_lease;
}

static void take_checked(ticking *t, const Msg__Checked *a) {
    if (a->number > ticking_check_number(t))
        ticking_breach(t, false, "CHECKED: check %" PRIu64 ", but the last one is %" PRIu64, a->number,
                       ticking_check_number(t));
    else
        ticking_take_checked(t, a);
}

static void take_message(ticking *t, const Msg__Message *m) {
    CHECK(ticking_get_state(t) != TICKING_TICKING); /* the tick holds slices of the cache */
    if (m->snapshot && !ticking_is_ending(t))
        ticking_take_snapshot(t, m->epoch, m->snapshot);
    if (m->events && !ticking_is_ending(t))
        ticking_take_events(t, m->epoch, m->events);
    if (m->progress && !ticking_is_ending(t))
        ticking_take_progress(t, m->epoch, m->progress);
    if (m->health && !ticking_is_ending(t))
        ticking_take_health(t, m->epoch, m->health);
    if (m->outcome)
        ticking_take_outcome(t, m->outcome);
    if (m->session && !m->session->done)
        take_leases(t, m->session);
    if (m->checked && !ticking_is_ending(t))
        take_checked(t, m->checked);
}

static void take(ticking *t, const ticking_event *event) {
    switch (event->type) {
    case TICKING_MESSAGE:
        take_message(t, event->message);
        break;
    case TICKING_BROKEN:
        ticking_breach(t, true, "%s", event->detail);
        break;
    case TICKING_TICKED:
        ticking_take_ticked(t, event);
        break;
    case TICKING_SUBMIT:
        ticking_take_submit(t, event->submit_id, event->submit);
        break;
    case TICKING_TIMER:
        ticking_take_doubt_time(t);
        ticking_take_work_time(t);
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
    if (ticking_get_state(t) == TICKING_TICKING) {
        ticking_abandon_tick(t);
        ticking_move(t, TICKING_AWAITING);
    } else if (ticking_batch_is_out(t)) {
        ticking_lose_outcome(t);
    }
}

/* Space for a reply to every waiting submit, one more refusal, and the log records of a few transitions. */
#define EFFECTS_BESIDE_REPLIES 24

void ticking_step(ticking *t, const ticking_event *event, ticking_effects *out) {
    out->count = 0;
    ticking_drop_texts(t);
    if (ticking_get_state(t) == TICKING_DONE)
        return;
    t->now_ms = event->now_ms;
    if (!ticking_output_open(t, out, ticking_submit_count(t) + EFFECTS_BESIDE_REPLIES)) {
        ticking_no_memory(t);
        t->lost = true; /* nothing can be emitted now; the next step is due at once */
        return;
    }
    if (t->lost)
        take_loss(t);
    else
        take(t, event);
    settle(t);
    check_invariant(t);
    ticking_output_close(t);
}
