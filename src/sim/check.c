#include "sim/check.h"

#include "core/prefix.h"
#include "core/slice.h"
#include "etcd.pb-c.h"

#include <stdlib.h>

#define PRINT(slice) (int)(slice).len, (const char *)(slice).data

/* ---- which keys ---- */

static bool below(ew_slice root, ew_slice key) {
    return key.len > root.len && memcmp(key.data, root.data, root.len) == 0 &&
           ((const char *)key.data)[root.len] == '/';
}

bool check_visible(const sim_worker *w, ew_slice key) {
    bool textual = w->options->prefix_match == OPTIONS_PREFIX_TEXTUAL;
    return prefix_owns(w->names.prefix, textual, key) && !ew_slice_equal(key, w->names.counter) &&
           !below(w->names.receipts, key);
}

bool check_revision_visible(const sim_worker *w, int64_t revision) {
    size_t count;
    const etcd_model_record *r = etcd_model_records(w->sim->etcd, revision, &count);
    for (size_t i = 0; i < count; i++)
        if (check_visible(w, r[i].key))
            return true;
    return false;
}

bool check_is_up_to_date(const sim_worker *w) {
    ticking_stats stats;
    ticking_get_stats(reactor_core(w->reactor_of), &stats);
    for (int64_t r = etcd_model_revision(w->sim->etcd); r > stats.revision && r > 0; r--)
        if (check_revision_visible(w, r))
            return false;
    return true;
}

/* ---- what is written ---- */

static int64_t counter_before(const ew_sim *s, const sim_worker *w, int64_t revision) {
    const etcd_model_record *r = etcd_model_get(s->etcd, ew_str(w->counter_key), revision - 1);
    char text[32] = "0";
    if (r)
        snprintf(text, sizeof text, "%.*s", PRINT(r->value));
    return strtoll(text, NULL, 10);
}

/* Checks that the counter rises by one in a revision that deletes a key of the prefix. It also rises if there was
 * nothing to delete, which the transaction cannot know: check_txn checks the request. */
static void check_counter(ew_sim *s, const sim_worker *w, int64_t revision, bool deletes,
                          const etcd_model_record *counter) {
    if (w->options->delete_counter != OPTIONS_COUNTER_COMPAT) {
        if (counter)
            ew_sim_fail(s, "worker %u wrote the delete counter, which is off", w->number);
        return;
    }
    if (!counter && !deletes)
        return;
    if (!counter || counter->deleted) {
        ew_sim_fail(s, "worker %u, revision %lld: deletions, but the delete counter is %s", w->number,
                    (long long)revision, counter ? "deleted" : "not written");
        return;
    }
    char want[32];
    int length = snprintf(want, sizeof want, "%lld", (long long)counter_before(s, w, revision) + 1);
    if (!ew_slice_equal(counter->value, (ew_slice){want, (size_t)length}))
        ew_sim_fail(s, "worker %u, revision %lld: the delete counter became %.*s, not %s", w->number,
                    (long long)revision, PRINT(counter->value), want);
}

/* Checks that a worker writes nothing below the prefix after it has lost its session or leadership (SEMANTICS 30, 31),
 * in any of its lives. It may still write its receipt. */
static void check_fences(ew_sim *s, const sim_worker *w, sim_author author, int64_t revision) {
    size_t i = 0;
    while (i < w->fences_count && w->fences[i].life != author.life)
        i++;
    if (i == w->fences_count) {
        ew_sim_fail(s, "worker %u wrote at %lld in a life that does not exist", w->number, (long long)revision);
        return;
    }
    const sim_fences *fences = &w->fences[i];
    const etcd_model_record *r;
    if (fences->session_key) {
        r = etcd_model_get(s->etcd, ew_str(fences->session_key), revision - 1);
        if (!r || r->lease != fences->lease)
            ew_sim_fail(s, "worker %u wrote at %lld, although its session had ended", w->number, (long long)revision);
    }
    if (fences->leader_key) {
        r = etcd_model_get(s->etcd, ew_str(fences->leader_key), revision - 1);
        if (!r || r->create_revision != fences->leader_revision)
            ew_sim_fail(s, "worker %u wrote at %lld, although it was no longer the leader", w->number,
                        (long long)revision);
    }
}

/* A running worker finds that another one, which took its id, has put the session key with another lease, or has
 * deleted its own receipt at its end. */
static void note_taken_keys(ew_sim *s, const etcd_model_record *r, sim_author author) {
    for (size_t i = 0; i < s->worker_count; i++) {
        sim_worker *w = s->workers[i];
        bool by_other = author.worker != 0 && author.worker != w->number + 1;
        w->receipt_deleted |= w->running && by_other && r->deleted && ew_slice_equal(r->key, ew_str(w->receipt_key));
        w->session_key_taken |= w->running && w->reactor_of && w->options->fence_session && !r->deleted &&
                                r->lease != w->lease && ew_slice_equal(r->key, ew_str(w->session_key));
    }
}

void check_revision(ew_sim *s, int64_t revision) {
    sim_author author = s->authors[revision];
    sim_note(s, "revision", revision, author.worker);
    size_t count;
    const etcd_model_record *r = etcd_model_records(s->etcd, revision, &count);
    for (size_t i = 0; i < count; i++)
        note_taken_keys(s, &r[i], author);
    for (size_t i = 0; i < count && s->trace; i++)
        sim_trace(s, "revision %lld by %d.%u: %s %.*s = %.*s", (long long)revision, (int)author.worker - 1, author.life,
                  r[i].deleted ? "delete" : "put", PRINT(r[i].key), PRINT(r[i].value));
    if (author.worker == 0)
        return;
    sim_worker *w = s->workers[author.worker - 1];
    bool deletes = false, visible = false;
    const etcd_model_record *counter = NULL;
    for (size_t i = 0; i < count; i++) {
        if (ew_slice_equal(r[i].key, w->names.counter)) {
            counter = &r[i];
        } else if (check_visible(w, r[i].key)) {
            visible = true;
            deletes |= r[i].deleted;
        } else if (!below(w->names.receipts, r[i].key)) {
            ew_sim_fail(s, "worker %u wrote outside its prefix: %.*s", w->number, PRINT(r[i].key));
        }
    }
    check_counter(s, w, revision, deletes, counter);
    if (visible)
        check_fences(s, w, author, revision);
    if (visible && w->running && w->life == author.life)
        w->seen.own_revision = revision;
}

/* ---- messages between the actors ---- */

static void check_unit(sim_worker *w, const Msg__Unit *u) {
    sim_arena *a = &w->sim->arena;
    const Pb__TxnRequest *t = pb__txn_request__unpack(&a->allocator, u->txn.len, u->txn.data);
    if (!t) {
        ew_sim_fail(w->sim, "worker %u: an atomic unit is not a transaction", w->number);
        return;
    }
    bool deletes = false;
    for (size_t i = 0; i < t->n_success; i++)
        deletes |= t->success[i]->request_case == PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    if (u->groups == 0 || t->n_compare != u->compares || t->n_success != u->ops || t->n_failure != t->n_compare ||
        deletes != !!u->has_delete)
        ew_sim_fail(
            w->sim,
            "worker %u: an atomic unit of %u groups states %u compares, %u ops, deletion %d; it has %zu, %zu, %d",
            w->number, u->groups, u->compares, u->ops, u->has_delete, t->n_compare, t->n_success, deletes);
}

/* Returns whether the end of the session ends the run (SEMANTICS 30). */
static bool asked_for_session(const sim_worker *w) {
    return w->given.worker || w->options->fence_session || w->seen.session_used;
}

void check_patches(sim_worker *w, const Msg__Patches *patches) {
    ew_sim *s = w->sim;
    sim_note(s, "batch", (int64_t)patches->batch, (int64_t)patches->n_units);
    sim_trace(s, "worker %u batch %llu: %zu units on revision %lld, counter %lld", w->number,
              (unsigned long long)patches->batch, patches->n_units, (long long)patches->base_revision,
              (long long)patches->delete_counter);
    if (w->seen.batch_out)
        ew_sim_fail(s, "worker %u: a batch while another one is undecided", w->number);
    if (patches->batch <= w->seen.batch)
        ew_sim_fail(s, "worker %u: batch %llu after %llu", w->number, (unsigned long long)patches->batch,
                    (unsigned long long)w->seen.batch);
    if (asked_for_session(w) && session_is_lost(&w->session, reactor_core(w->reactor_of)))
        ew_sim_fail(s, "worker %u: batch %llu, although its session has ended", w->number,
                    (unsigned long long)patches->batch);
    w->seen.batch_out = w->seen.wrote = true;
    w->seen.batch = patches->batch;
    sim_arena_reset(&s->arena);
    for (size_t i = 0; i < patches->n_units; i++)
        check_unit(w, patches->units[i]);
}

void check_message(sim_worker *w, const Msg__Message *m) {
    if (m->snapshot && m->snapshot->first && m->epoch > w->seen.epoch) {
        w->seen.resynced |= m->epoch > 1;
        w->seen.epoch = m->epoch;
    }
    w->seen.loaded |= m->snapshot && m->snapshot->last;
    if (!m->outcome)
        return;
    if (!w->seen.batch_out || m->outcome->batch != w->seen.batch)
        ew_sim_fail(w->sim, "worker %u: an outcome of batch %llu, which is not undecided", w->number,
                    (unsigned long long)m->outcome->batch);
    w->seen.batch_out = false;
}

void check_stepped(sim_worker *w) {
    ticking_stats stats;
    ticking_get_stats(reactor_core(w->reactor_of), &stats);
    if ((int64_t)stats.update_bytes > w->ticking_config.max_pending_update_bytes)
        ew_sim_fail(w->sim, "worker %u: %llu bytes of updates are pending, at most %lld are allowed", w->number,
                    (unsigned long long)stats.update_bytes, (long long)w->ticking_config.max_pending_update_bytes);
    if (stats.breaches > 0)
        ew_sim_fail(w->sim, "worker %u: a message between its actors is a breach of the protocol", w->number);
}

void check_txn(sim_worker *w, ew_slice request) {
    ew_sim *s = w->sim;
    sim_arena_reset(&s->arena);
    const Pb__TxnRequest *t = pb__txn_request__unpack(&s->arena.allocator, request.len, request.data);
    sim_note(s, "txn", (int64_t)request.len, w->number);
    if (!t) {
        ew_sim_fail(s, "worker %u sends a malformed transaction", w->number);
        return;
    }
    size_t most = s->etcd_config.max_txn_ops;
    if (t->n_compare > most || t->n_success > most || t->n_failure > most ||
        (int64_t)request.len > w->committing_config.max_bytes)
        ew_sim_fail(s, "worker %u sends a transaction of %zu compares, %zu and %zu operations, %zu bytes", w->number,
                    t->n_compare, t->n_success, t->n_failure, request.len);
    bool deletes = false, counts = false;
    for (size_t i = 0; i < t->n_success; i++) {
        const Pb__RequestOp *op = t->success[i];
        deletes |= op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        counts |= op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT &&
                  ew_slice_equal(slice_of(op->request_put->key), w->names.counter);
    }
    if (counts != (deletes && w->options->delete_counter == OPTIONS_COUNTER_COMPAT))
        ew_sim_fail(s, "worker %u sends a transaction with deletions %d that puts the delete counter %d", w->number,
                    deletes, counts);
    sim_trace(s, "worker %u sends a transaction of %zu compares, %zu operations", w->number, t->n_compare,
              t->n_success);
    for (size_t i = 0; s->trace && i < t->n_compare; i++)
        sim_trace(
            s, "  on %.*s as of %lld", (int)t->compare[i]->key.len, (const char *)t->compare[i]->key.data,
            (long long)(t->compare[i]->target == PB__COMPARE__COMPARE_TARGET__MOD ? t->compare[i]->mod_revision : 0));
}

/* ---- the end of a life ---- */

void check_stop_asked(sim_worker *w) {
    enum { MARGIN_MS = 3000 }; /* the shutdown handshake, and a tick that has just begun */
    int64_t by = sim_now(w->sim) + w->options->stop_timeout_ms + w->sim->sampled.slow_tick_ms + MARGIN_MS;
    if (by < w->seen.stop_by_ms)
        w->seen.stop_by_ms = by;
}

/* Returns whether a session that the user asked for has ended, by etcd's clock or by ours. It also seems to have ended
 * if another worker of this id put its own session key and deleted it. */
static bool session_is_done(const sim_worker *w) {
    return asked_for_session(w) &&
           (w->session_lost || w->session_key_taken || !etcd_model_lease_alive(w->sim->etcd, w->lease));
}

/* Returns whether another worker has this worker's id, or a late copy from an earlier life may have put the receipt
 * while it was absent. */
static bool is_fenced(const sim_worker *w) {
    bool twin = false;
    for (size_t i = 0; i < w->sim->worker_count; i++)
        twin |= w->sim->workers[i] != w && strcmp(w->sim->workers[i]->options->worker_id, w->options->worker_id) == 0;
    return w->options->worker_id[0] != '\0' && (twin || !w->reactor_of || w->receipt_deleted || w->records_lost);
}

/* Returns whether the first load has exceeded its time, or the claim has, which does not begin an attempt after it. */
static bool is_start_late(const sim_worker *w) {
    const ew_options *o = w->options;
    int64_t most_ms = o->start_timeout_ms, now_ms = sim_now(w->sim);
    if (most_ms == 0 || w->seen.loaded)
        return false;
    return w->reactor_of ? now_ms >= w->began_ms + most_ms : now_ms + o->backoff_max_ms >= w->started_ms + most_ms;
}

static bool can_be_repeated(int status) {
    return ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME;
}

/* Returns whether the status of the run has a known cause, in the reactor or in the faults. */
static bool has_reason(const sim_worker *w) {
    const sim_faults *f = &w->sim->sampled;
    if (!w->reactor_of && can_be_repeated(w->status))
        return is_start_late(w);
    switch (w->status) {
    case EW_OK:
    case EW_ERR_REACTOR:
        return true;
    case EW_ERR_SESSION_DONE:
        return session_is_done(w);
    case EW_ERR_FENCED:
        return is_fenced(w);
    case EW_ERR_LEADERSHIP_LOST:
        return w->leads && !etcd_model_get(w->sim->etcd, ew_str(w->leader_key), INT64_MAX);
    case EW_ERR_CANCELLED:
        return w->stop_wanted;
    case EW_ERR_UNAVAILABLE:
    case EW_ERR_COMPACTED:
        return is_start_late(w);
    case EW_ERR_UNKNOWN_OUTCOME:
        return !w->options->exactly_once || w->cut_short || w->receipt_deleted || w->records_lost || w->user_refused ||
               w->sim->restores > 0; /* to a state before the receipt */
    case EW_ERR_BAD_ANSWER:
        return f->bad_answer > 0;
    case EW_ERR_WRONG_CLUSTER:
        return f->bad_answer > 0;
    case EW_ERR_DENIED:
    case EW_ERR_UNAUTHENTICATED:
        return w->user_refused;
    case EW_ERR_REVISION_FELL:
        return f->stale_read > 0 || f->bad_answer > 0;
    default:
        return false;
    }
}

/* Returns whether the run ended long after the last fault although neither the user nor the reactor ended it. */
static bool is_late(const sim_worker *w) {
    enum { ECHO_MS = 40000 }; /* late requests, stalled streams, leases and their consequences */
    const ew_sim *s = w->sim;
    bool refused = w->status == EW_ERR_FENCED && !w->reactor_of; /* its worker_id was held by another worker */
    bool by_will = w->status == EW_OK || w->status == EW_ERR_CANCELLED || w->status == EW_ERR_REACTOR || refused;
    return !s->faulty && !by_will && sim_now(s) > s->calm_since_ms + ECHO_MS;
}

void check_end(sim_worker *w) {
    ew_sim *s = w->sim;
    if (is_late(w))
        ew_sim_fail(s, "worker %u ended long after the last fault: %s (%s)", w->number, ew_strerror(w->status),
                    w->detail);
    if (!has_reason(w))
        ew_sim_fail(s, "worker %u ended without a known cause: %s (%s)", w->number, ew_strerror(w->status), w->detail);
    ticking_stats stats = {0};
    if (w->reactor_of)
        ticking_get_stats(reactor_core(w->reactor_of), &stats);
    if (stats.check_repairs > 0 && s->sampled.lose_events == 0 && s->restores == 0)
        ew_sim_fail(s, "worker %u: a consistency check found %llu differences although no event was lost", w->number,
                    (unsigned long long)stats.check_repairs);
    if (stats.rewritten > 0 && s->sampled.lose_events == 0 && s->sampled.bad_answer == 0 && s->restores == 0)
        ew_sim_fail(s, "worker %u found a rewritten history, although etcd was not restored", w->number);
    if (sim_io_calls(&w->watcher_io) || sim_io_calls(&w->committer_io) || w->watcher_io.stream_is_open)
        ew_sim_fail(s, "worker %u ended with %s in flight", w->number,
                    sim_io_calls(&w->watcher_io)     ? "a read"
                    : sim_io_calls(&w->committer_io) ? "a transaction"
                                                     : "a stream");
    if (w->seen.batch_out && w->status != EW_ERR_UNKNOWN_OUTCOME)
        ew_sim_fail(s, "worker %u ended (%s) with a batch undecided", w->number, ew_strerror(w->status));
    if (sim_fifo_count(&w->reactor.box) || sim_fifo_count(&w->watcher_to_reactor.passing) ||
        sim_fifo_count(&w->committer_to_reactor.passing))
        ew_sim_fail(s, "worker %u ended with messages for its reactor in flight", w->number);
    if (sim_now(s) > w->seen.stop_by_ms)
        ew_sim_fail(s, "worker %u exceeded the time for a stop by %lld ms", w->number,
                    (long long)(sim_now(s) - w->seen.stop_by_ms));
}
