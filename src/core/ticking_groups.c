/* Pending groups: evaluated together, committed as a batch, and evaluated again until each is decided. */
#include "core/ticking_private.h"

#include "core/backoff.h"
#include "core/bug.h"
#include "core/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void ticking_append(ticking_list *list, ticking_list *behind) {
    if (!behind->first)
        return;
    if (list->last)
        list->last->next = behind->first;
    else
        list->first = behind->first;
    list->last = behind->last;
    *behind = (ticking_list){NULL, NULL};
}

static ew_group *pop(ticking_list *list) {
    ew_group *g = list->first;
    list->first = g->next;
    if (!list->first)
        list->last = NULL;
    return g;
}

void ticking_decide_group(ticking *t, ew_group *g, int status, int64_t revision, const char *detail) {
    if (g->submitted)
        ticking_answer_submit(t, g, status, revision, detail);
    else if (g->done)
        g->done(g->done_arg, status, revision);
    group_free(g);
}

static void decide_first(ticking *t, int status, int64_t revision, const char *detail) {
    ticking_decide_group(t, pop(&t->pending), status, revision, detail);
}

/* The run ends before the first batch: this worker has written nothing of the group. */
static void abandon_first(ticking *t, ticking_list *list, int status, const char *detail) {
    ew_group *g = pop(list);
    ticking_decide_group(t, g, g->submit ? ticking_abandoned_status(true) : status, 0, detail);
}

void ticking_give_up(ticking *t, ticking_list *list) {
    while (list->first)
        abandon_first(t, list, list->first->error.code != EW_OK ? list->first->error.code : EW_ERR_CANCELLED,
                      "the worker ended before the group was decided");
}

/* ---- when ---- */

static int64_t conflict_backoff_ms(ticking *t, uint32_t failures) {
    return backoff_ms(t->config.conflict_backoff_min_ms, t->config.conflict_backoff_max_ms, failures, &t->random);
}

/* On a cache without the worker's own last commit, or without the change that refused a group, the group would only be
 * refused again. */
int64_t ticking_evaluate_due_ms(const ticking *t) {
    if (!t->pending.first || t->observed < t->barrier || t->observed < t->wait_revision)
        return INT64_MAX;
    if (t->again && t->observed <= t->again_revision)
        return t->again_ms;
    return t->retry_ms;
}

/* ---- evaluation ---- */

static void ask_again(ticking *t) {
    int64_t wait = conflict_backoff_ms(t, t->agains++);
    t->again = true;
    t->again_revision = t->observed;
    t->again_ms = t->now_ms + (wait > 0 ? wait : 1);
}

/* SEMANTICS 16: if a group was not committed, the run does not end with success. */
static void fail_run(ticking *t, int status, const char *detail) {
    t->finished = false;
    ticking_end(t, status, "%s", detail);
}

/* SEMANTICS 20, 26: an error ends the run, unless it is the size of a group that has a callback or a reply. */
static void group_failed(ticking *t, const ew_error *err) {
    const ew_group *g = t->pending.first;
    bool goes_on = err->code == EW_ERR_TOO_LARGE && (g->done || g->submitted);
    if (!goes_on) {
        fail_run(t, err->code, err->detail);
        abandon_first(t, &t->pending, err->code, err->detail);
    } else {
        decide_first(t, err->code, 0, err->detail);
    }
}

/* SEMANTICS 20: a submit's compare, or a patch, refuses the group on this state. */
static void group_refused(ticking *t, const ew_error *err) {
    t->stats.groups_dropped += !t->pending.first->submitted;
    ticking_note_decision(t->pending.first, EW_ERR_REFUSED, t->observed);
    decide_first(t, EW_ERR_REFUSED, t->observed, err->detail);
}

/* SEMANTICS 36: the state on which the tick decided has changed; this includes its decision to finish. */
static void group_stale(ticking *t) {
    t->stats.groups_dropped++;
    t->dirty = true;
    t->finished = false;
    decide_first(t, EW_ERR_STALE, t->observed, NULL);
}

/* The refusal is decided when its record is committed. */
static void submit_refused(ew_group *g, const ew_error *err) {
    g->submit->refused = true;
    snprintf(g->submit->refusal, sizeof g->submit->refusal, "%s", err->detail);
}

/* Evaluates from the first pending group on, until one must wait. Groups that need no commit are decided here. */
static void evaluate_pending(ticking *t, evaluate_batch *b) {
    for (ew_group *g = t->pending.first, *next; g && !t->ending; g = next) {
        ew_error err = {0};
        ticking_reply known;
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
        t->agains = 0;
        if (result == EVALUATE_UNCHANGED)
            decide_first(t, EW_OK, t->observed, NULL);
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
    evaluate_patches_fini(&t->patches);
    if (!evaluate_pack(b, &t->patches)) {
        ticking_no_memory(t);
        return;
    }
    Msg__Patches *message = &t->patches.message;
    message->batch = ++t->batch;
    message->base_revision = t->observed;
    t->base_revision = t->observed < INT64_MAX ? t->observed : INT64_MAX - 1;
    message->delete_counter = t->counter;
    ticking_emit(t, TICKING_DO_COMMIT)->patches = message;
    ticking_move(t, TICKING_COMMITTING);
}

void ticking_evaluate(ticking *t) {
    CHECK(t->loaded && !ticking_batch_is_out(t) && t->observed >= t->barrier);
    ticking_append(&t->pending, &t->submits);
    if (!t->pending.first)
        return;
    ticking_apply_all(t); /* SEMANTICS 21: on the newest cache */
    t->again = false;
    const evaluate_limits limits = {.serializable = t->config.serializable,
                                    .glue = !t->no_glue,
                                    .max_keys = t->config.max_txn_keys,
                                    .max_bytes = t->config.max_txn_bytes,
                                    .overhead_bytes = t->config.txn_overhead_bytes,
                                    .record_lease = t->config.record_lease};
    evaluate_batch b;
    evaluate_init(&b, t->mirror, &t->scope, &limits);
    evaluate_pending(t, &b);
    if (b.unit_count > 0 && !t->ending)
        commit(t, &b);
    evaluate_fini(&b);
}

/* ---- outcomes ---- */

static void units_committed(ticking *t, const Msg__Outcome *o) {
    for (uint32_t u = 0; u < o->units; u++) {
        if (EW_BUG(evaluated_twice) && u > 0 && u + 1 == t->patches.message.n_units)
            break;
        int64_t revision = u < o->n_revisions ? o->revisions[u] : o->barrier_revision;
        for (uint32_t i = 0; i < t->patches.units[u].groups; i++) {
            ticking_reply reply;
            ticking_submit_committed(t, t->pending.first, revision, &reply);
            decide_first(t, reply.status, reply.revision, reply.detail);
        }
    }
    if (o->barrier_revision > t->barrier && !EW_BUG(no_barrier)) {
        t->barrier = o->barrier_revision;
        t->barrier_since_ms = t->now_ms;
    }
    if (o->units > 0) {
        t->refusals = 0;
        t->committed_here = true;
    }
}

/* A refusal by a change that the cache already had when the group was evaluated: the cache differs from etcd. A refusal
 * by an absent key may be newer; if it repeats, a consistency check decides. */
static void doubt_mirror(ticking *t, const Msg__Outcome *o) {
    enum { ABSENT_MAX = 5 };
    if (o->rewritten && t->committed_here)
        ticking_load_again(t, t->observed, true);
    else if (o->rewritten) /* the load came first: the batch was evaluated on the present history */
        t->wait_revision = 0;
    else if (o->conflict_revision > 0 && o->conflict_revision <= t->base_revision)
        ticking_load_again(t, t->observed, false);
    else if (o->conflict_revision <= 0 && t->refusals % ABSENT_MAX == 0 && !t->auditing && t->loaded)
        ticking_want_audit(t, 0);
}

/* SEMANTICS 21: evaluates again on newer state, with backoff after repeated refusals, so that no worker starves. */
static void unit_refused(ticking *t, const Msg__Outcome *o) {
    t->stats.groups_refused += t->patches.units[o->units].groups;
    t->no_glue = true;
    t->wait_revision = o->conflict_revision;
    if (ticking_learn_records(t, o)) /* with these records it will not be refused for them again */
        return;
    if (o->conflict_revision <= 0) /* refused by a deletion, which is newer than the state of the evaluation */
        t->wait_revision = EW_BUG(waits_for_ever) ? INT64_MAX : t->base_revision + 1;
    t->retry_ms = ++t->refusals > 1 ? t->now_ms + conflict_backoff_ms(t, t->refusals - 2) : 0;
    doubt_mirror(t, o);
}

/* The server's limits are lower than configured. Groups that were merged are first evaluated one by one. */
static void server_takes_less(ticking *t, const Msg__Outcome *o) {
    if (t->patches.units[o->units].groups > 1 && !t->no_glue) {
        t->no_glue = true;
        return;
    }
    ew_error err;
    char title[96];
    ew_fail(&err, EW_ERR_TOO_LARGE, "%s: %zu bytes: %s", group_title(t->pending.first, title, sizeof title),
            t->patches.units[o->units].txn.len, o->detail ? o->detail : "");
    group_failed(t, &err);
}

static void unit_failed(ticking *t, const Msg__Outcome *o, uint32_t from) {
    const char *detail = o->detail ? o->detail : "";
    fail_run(t, o->status, detail);
    if (o->unknown || o->status == EW_ERR_UNKNOWN_OUTCOME) {
        for (size_t u = from; u < t->patches.message.n_units; u++) {
            for (uint32_t i = 0; i < t->patches.units[u].groups; i++)
                decide_first(t, EW_ERR_UNKNOWN_OUTCOME, 0, detail);
        }
    } else {
        abandon_first(t, &t->pending, o->status, detail);
    }
}

static void contradicts(ticking *t, const Msg__Outcome *o) {
    char detail[128];
    snprintf(detail, sizeof detail,
             "OUTCOME: %" PRIu32 " of %zu units with status %" PRId32 " and %zu revisions is contradictory", o->units,
             t->patches.message.n_units, o->status, o->n_revisions);
    Msg__Outcome answer = MSG__OUTCOME__INIT;
    answer.status = EW_ERR_BAD_MESSAGE;
    answer.unknown = true;
    answer.detail = detail;
    t->stats.bad_messages++;
    unit_failed(t, &answer, 0);
}

void ticking_take_outcome(ticking *t, const Msg__Outcome *o) {
    if (!ticking_batch_is_out(t) || o->batch != t->batch) {
        ticking_breach_outcome(t, "OUTCOME: batch %" PRIu64 ", but %s: %s", o->batch,
                               ticking_batch_is_out(t) ? "another one is undecided" : "no batch is undecided",
                               o->detail ? o->detail : "");
        return;
    }
    const size_t units = t->patches.message.n_units;
    t->wait_revision = t->retry_ms = 0;
    ticking_move(t, TICKING_AWAITING);
    if (o->units > units || (o->units == units) != (o->status == EW_OK) || o->status > 0 ||
        (o->n_revisions != o->units && o->n_revisions != 0)) {
        contradicts(t, o);
        return;
    }
    units_committed(t, o);
    if (o->status == EW_OK)
        t->no_glue = false;
    else if (o->status == EW_ERR_REFUSED)
        unit_refused(t, o);
    else if (o->status == EW_ERR_TOO_LARGE && !o->unknown)
        server_takes_less(t, o);
    else
        unit_failed(t, o, o->units);
}
