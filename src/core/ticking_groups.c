/* Pending groups: evaluated together, committed as a batch, and evaluated again until each is decided. */
#include "core/ticking_private.h"

#include "core/backoff.h"
#include "core/bug.h"
#include "core/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void decide_first(ticking *t, int status, int64_t revision, const char *detail) {
    ew_group *g = group_list_pop(&t->groups.pending);
    if (g->submitted)
        ticking_answer_submit(t, g, status, revision, detail);
    else if (g->done)
        g->done(g->done_arg, status, revision);
    group_free(g);
}

/* Decides the first group when the run ends before the group was written: this worker has written nothing of it. */
static void abandon_first(ticking *t, int status, const char *detail) {
    const bool has_identity = t->groups.pending.first->submit != NULL;
    decide_first(t, has_identity ? ticking_abandoned_status(true) : status, 0, detail);
}

/* Decides the units of the batch from `from` on as unknown: they may have been written. */
static void decide_unknown(ticking *t, size_t from, const char *detail) {
    for (size_t u = from; u < t->groups.patches.message.n_units; u++) {
        for (uint32_t i = 0; i < t->groups.patches.units[u].groups; i++)
            decide_first(t, EW_ERR_UNKNOWN_OUTCOME, 0, detail);
    }
}

void ticking_give_up(ticking *t) {
    group_list *pending = &t->groups.pending;
    ticking_take_waiting(t, pending);
    while (pending->first)
        abandon_first(t, pending->first->error.code != EW_OK ? pending->first->error.code : EW_ERR_CANCELLED,
                      "the worker ended before the group was decided");
}

void ticking_groups_init(ticking *t) {
    t->groups.random = t->config.seed;
}

void ticking_groups_fini(ticking *t) {
    if (ticking_batch_is_out(t))
        decide_unknown(t, 0, NULL);
    ticking_give_up(t);
    evaluate_patches_fini(&t->groups.patches);
}

bool ticking_groups_pend(const ticking *t) {
    return t->groups.pending.first != NULL;
}

void ticking_add_groups(ticking *t, group_list *made) {
    group_list_append(&t->groups.pending, made);
}

/* ---- when to evaluate ---- */

static int64_t conflict_backoff_ms(ticking *t, uint32_t failures) {
    return backoff_ms(t->config.conflict_backoff_min_ms, t->config.conflict_backoff_max_ms, failures,
                      &t->groups.random);
}

/* Returns when the next evaluation is due. It waits until the cache has the worker's own last commit and the change
 * because of which a group was refused: without these the group would only be refused again. */
int64_t ticking_evaluate_due_ms(const ticking *t) {
    const ticking_groups *gs = &t->groups;
    const int64_t observed = ticking_observed(t);
    if (!gs->pending.first || !ticking_barrier_is_open(t) || observed < gs->wait_revision)
        return INT64_MAX;
    return observed <= gs->again_revision ? gs->again_ms : gs->retry_ms;
}

/* Stops waiting for the change because of which a group was refused. Its event may have been lost (ETCD P6), and the
 * load may have put it into the cache without a newer revision. The refusal of a batch that was evaluated before the
 * load may still come; clearing `base_revision` marks it. */
void ticking_groups_loaded(ticking *t) {
    t->groups.wait_revision = t->groups.base_revision = 0;
}

/* ---- evaluation ---- */

static void ask_again(ticking *t) {
    ticking_groups *gs = &t->groups;
    int64_t wait_ms = conflict_backoff_ms(t, gs->agains++);
    gs->again_revision = ticking_observed(t);
    gs->again_ms = t->now_ms + (wait_ms > 0 ? wait_ms : 1);
}

/* SEMANTICS 16: if a group was not committed, the run does not end with success. */
static void fail_run(ticking *t, int status, const char *detail) {
    ticking_set_finished(t, false);
    ticking_end(t, status, "%s", detail);
}

/* SEMANTICS 20, 26: an error ends the run. Exception: a group that is too large and has a callback or a reply. */
static void group_failed(ticking *t, const ew_error *err) {
    const ew_group *g = t->groups.pending.first;
    bool goes_on = err->code == EW_ERR_TOO_LARGE && (g->done || g->submitted);
    if (!goes_on) {
        fail_run(t, err->code, err->detail);
        abandon_first(t, err->code, err->detail);
    } else {
        decide_first(t, err->code, 0, err->detail);
    }
}

/* SEMANTICS 20: on this state a submit's compare does not hold, or a patch has returned EW_DROP. */
static void group_refused(ticking *t, const ew_error *err) {
    t->stats.groups_dropped += !t->groups.pending.first->submitted;
    ticking_note_decision(t->groups.pending.first, EW_ERR_REFUSED, ticking_observed(t));
    decide_first(t, EW_ERR_REFUSED, ticking_observed(t), err->detail);
}

/* SEMANTICS 36: the state that the tick read has changed. So its decisions are invalid, including EW_FINISHED. */
static void group_stale(ticking *t) {
    t->stats.groups_dropped++;
    ticking_want_tick(t);
    ticking_set_finished(t, false);
    decide_first(t, EW_ERR_STALE, ticking_observed(t), NULL);
}

/* Keeps the refusal until its record is committed, which decides it. */
static void submit_refused(ew_group *g, const ew_error *err) {
    g->submit->refused = true;
    snprintf(g->submit->refusal, sizeof g->submit->refusal, "%s", err->detail);
}

/* Evaluates pending groups, from the first one on, until one must wait. Decides those that need no commit. */
static void evaluate_pending(ticking *t, evaluate_batch *b) {
    for (ew_group *g = t->groups.pending.first, *next; g && !ticking_is_ending(t); g = next) {
        ew_error err = {0};
        ticking_outcome known;
        next = g->next;
        bool is_known = ticking_submit_is_known(g, &known);
        if (is_known && b->unit_count > 0)
            return;
        if (is_known) {
            t->stats.submit_repeats++;
            decide_first(t, known.status, known.revision, known.detail);
            continue;
        }
        ticking_prepare_submit(t, g);
        evaluate_result result = evaluate_group(b, g, &err);
        if (result == EVALUATE_LATER)
            return;
        if (result == EVALUATE_AGAIN) {
            ask_again(t);
            return;
        }
        t->groups.agains = 0;
        if (result == EVALUATE_UNCHANGED)
            decide_first(t, EW_OK, ticking_observed(t), NULL);
        else if (result == EVALUATE_RECORDED)
            submit_refused(g, &err);
        else if (result == EVALUATE_REFUSED)
            group_refused(t, &err);
        else if (result == EVALUATE_STALE)
            group_stale(t);
        else if (result == EVALUATE_FAILED)
            group_failed(t, &err);
    }
}

static void commit(ticking *t, const evaluate_batch *b) {
    ticking_groups *gs = &t->groups;
    const int64_t observed = ticking_observed(t);
    evaluate_patches_fini(&gs->patches);
    if (!evaluate_pack(b, &gs->patches)) {
        ticking_no_memory(t);
        return;
    }
    Msg__Patches *message = &gs->patches.message;
    message->batch = ++gs->batch;
    message->base_revision = observed;
    message->delete_counter = ticking_counter(t);
    gs->base_revision = observed < INT64_MAX ? observed : INT64_MAX - 1;
    ticking_emit(t, TICKING_DO_COMMIT)->patches = message;
    ticking_move(t, TICKING_COMMITTING);
}

void ticking_evaluate(ticking *t) {
    ticking_groups *gs = &t->groups;
    CHECK(ticking_is_loaded(t) && !ticking_batch_is_out(t) && ticking_barrier_is_open(t));
    ticking_take_waiting(t, &gs->pending);
    if (!gs->pending.first)
        return;
    ticking_apply_all(t); /* SEMANTICS 21: evaluate on the newest state */
    gs->again_revision = 0;
    const evaluate_limits limits = {.serializable = t->config.serializable,
                                    .merge = !gs->apart,
                                    .max_keys = t->config.max_txn_keys,
                                    .max_bytes = t->config.max_txn_bytes,
                                    .overhead_bytes = t->config.txn_overhead_bytes,
                                    .record_lease = t->config.record_lease};
    evaluate_batch b;
    evaluate_init(&b, ticking_get_cache(t), &t->scope, &limits);
    evaluate_pending(t, &b);
    if (b.unit_count > 0 && !ticking_is_ending(t))
        commit(t, &b);
    evaluate_fini(&b);
}

void ticking_evaluate_first(ticking *t) {
    ticking_groups *gs = &t->groups;
    gs->wait_revision = gs->retry_ms = 0;
    gs->apart = false;
    gs->refusals = 0;
    ticking_evaluate(t);
}

/* ---- outcomes ---- */

static void units_committed(ticking *t, const Msg__Outcome *o) {
    for (uint32_t u = 0; u < o->units; u++) {
        if (EW_BUG(evaluated_twice) && u > 0 && u + 1 == t->groups.patches.message.n_units)
            break;
        int64_t revision = u < o->n_revisions ? o->revisions[u] : o->barrier_revision;
        for (uint32_t i = 0; i < t->groups.patches.units[u].groups; i++) {
            ticking_outcome decision;
            ticking_submit_committed(t, t->groups.pending.first, revision, &decision);
            decide_first(t, decision.status, decision.revision, decision.detail);
        }
    }
    if (o->units == 0)
        return;
    ticking_note_commit(t, EW_BUG(no_barrier) ? -1 : o->barrier_revision);
    t->groups.refusals = 0;
}

/* SEMANTICS 21: the group is evaluated again on newer state, with backoff after repeated refusals, so that no worker
 * starves. */
static void unit_refused(ticking *t, const Msg__Outcome *o) {
    ticking_groups *gs = &t->groups;
    t->stats.groups_refused += gs->patches.units[o->units].groups;
    gs->apart = true;
    gs->wait_revision = o->conflict_revision;
    if (ticking_learn_records(t, o, &gs->patches, gs->pending.first))
        return;                    /* now the next evaluation compares the right records */
    if (o->conflict_revision <= 0) /* a deletion, which is newer than the evaluated state */
        gs->wait_revision = EW_BUG(waits_for_ever) ? INT64_MAX : gs->base_revision + 1;
    gs->refusals++;
    gs->retry_ms = gs->refusals > 1 ? t->now_ms + conflict_backoff_ms(t, gs->refusals - 2) : 0;
    if (!ticking_doubt_refusal(t, o, gs->base_revision, gs->refusals))
        gs->wait_revision = 0;
}

/* Handles EW_ERR_TOO_LARGE: the server's limits are lower than the configured ones. Merged groups are first evaluated
 * one by one. */
static void server_takes_less(ticking *t, const Msg__Outcome *o) {
    if (t->groups.patches.units[o->units].groups > 1 && !t->groups.apart) {
        t->groups.apart = true;
        return;
    }
    ew_error err;
    char title[96];
    ew_fail(&err, EW_ERR_TOO_LARGE, "%s: %zu bytes: %s", group_title(t->groups.pending.first, title, sizeof title),
            t->groups.patches.units[o->units].txn.len, o->detail ? o->detail : "");
    group_failed(t, &err);
}

static void unit_failed(ticking *t, const Msg__Outcome *o, uint32_t from) {
    const char *detail = o->detail ? o->detail : "";
    fail_run(t, o->status, detail);
    if (o->unknown || o->status == EW_ERR_UNKNOWN_OUTCOME)
        decide_unknown(t, from, detail);
    else
        abandon_first(t, o->status, detail);
}

static void contradicts(ticking *t, const Msg__Outcome *o) {
    char detail[128];
    snprintf(detail, sizeof detail,
             "OUTCOME: %" PRIu32 " of %zu units with status %" PRId32 " and %zu revisions is contradictory", o->units,
             t->groups.patches.message.n_units, o->status, o->n_revisions);
    Msg__Outcome answer = MSG__OUTCOME__INIT;
    answer.status = EW_ERR_BAD_MESSAGE;
    answer.unknown = true;
    answer.detail = detail;
    t->stats.bad_messages++;
    unit_failed(t, &answer, 0);
}

void ticking_take_outcome(ticking *t, const Msg__Outcome *o) {
    if (!ticking_batch_is_out(t) || o->batch != t->groups.batch) {
        ticking_breach(t, true, "OUTCOME: batch %" PRIu64 ", but %s: %s", o->batch,
                       ticking_batch_is_out(t) ? "another one is undecided" : "no batch is undecided",
                       o->detail ? o->detail : "");
        return;
    }
    const size_t units = t->groups.patches.message.n_units;
    t->groups.wait_revision = t->groups.retry_ms = 0;
    ticking_move(t, TICKING_AWAITING);
    if (o->units > units || (o->units == units) != (o->status == EW_OK) || o->status > 0 ||
        (o->n_revisions != o->units && o->n_revisions != 0)) {
        contradicts(t, o);
        return;
    }
    units_committed(t, o);
    if (o->status == EW_OK)
        t->groups.apart = false;
    else if (o->status == EW_ERR_REFUSED)
        unit_refused(t, o);
    else if (o->status == EW_ERR_TOO_LARGE && !o->unknown)
        server_takes_less(t, o);
    else
        unit_failed(t, o, o->units);
}

void ticking_lose_outcome(ticking *t) {
    Msg__Outcome unknown = MSG__OUTCOME__INIT;
    unknown.batch = t->groups.batch;
    unknown.status = EW_ERR_UNKNOWN_OUTCOME;
    ticking_take_outcome(t, &unknown);
}
