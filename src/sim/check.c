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
    ticking_get_stats(w->ticking, &stats);
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

/* Anything of the prefix deleted: the counter rises by one, once. It also rises when there was nothing to delete, since
 * the transaction could not know: check_txn looks at what was asked for. */
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

/* Whoever has lost its session or leadership writes no more (SEMANTICS 30, 31), in no life of its; its receipt it may.
 */
static void check_standing(ew_sim *s, const sim_worker *w, sim_author author, int64_t revision) {
    size_t i = 0;
    while (i < w->standing_count && w->standings[i].life != author.life)
        i++;
    if (i == w->standing_count) {
        ew_sim_fail(s, "worker %u wrote at %lld in a life that never began", w->number, (long long)revision);
        return;
    }
    const sim_standing *standing = &w->standings[i];
    const etcd_model_record *r;
    if (standing->marker_key) {
        r = etcd_model_get(s->etcd, ew_str(standing->marker_key), revision - 1);
        if (!r || r->lease != standing->lease)
            ew_sim_fail(s, "worker %u wrote at %lld, though its session was over", w->number, (long long)revision);
    }
    if (standing->leader_key) {
        r = etcd_model_get(s->etcd, ew_str(standing->leader_key), revision - 1);
        if (!r || r->create_revision != standing->leader_revision)
            ew_sim_fail(s, "worker %u wrote at %lld, though it led no more", w->number, (long long)revision);
    }
}

void check_revision(ew_sim *s, int64_t revision) {
    sim_author author = s->authors[revision];
    sim_note(s, "revision", revision, author.worker);
    size_t count;
    const etcd_model_record *r = etcd_model_records(s->etcd, revision, &count);
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
        check_standing(s, w, author, revision);
    if (visible && w->running && w->life == author.life)
        w->seen.own_revision = revision;
}

/* ---- what passes between the actors ---- */

static void check_unit(sim_worker *w, const Msg__Unit *u) {
    sim_arena *a = &w->sim->arena;
    const Pb__TxnRequest *t = pb__txn_request__unpack(&a->allocator, u->txn.len, u->txn.data);
    if (!t) {
        ew_sim_fail(w->sim, "worker %u: a unit that is no transaction", w->number);
        return;
    }
    bool deletes = false;
    for (size_t i = 0; i < t->n_success; i++)
        deletes |= t->success[i]->request_case == PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    if (u->groups == 0 || t->n_compare != u->compares || t->n_success != u->ops || t->n_failure != t->n_compare ||
        deletes != !!u->has_delete)
        ew_sim_fail(w->sim, "worker %u: a unit of %u groups says %u compares, %u ops, deletion %d; it has %zu, %zu, %d",
                    w->number, u->groups, u->compares, u->ops, u->has_delete, t->n_compare, t->n_success, deletes);
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
    if (!m->outcome)
        return;
    if (!w->seen.batch_out || m->outcome->batch != w->seen.batch)
        ew_sim_fail(w->sim, "worker %u: an outcome of batch %llu, which is not out", w->number,
                    (unsigned long long)m->outcome->batch);
    w->seen.batch_out = false;
}

void check_stepped(sim_worker *w) {
    ticking_stats stats;
    ticking_get_stats(w->ticking, &stats);
    if ((int64_t)stats.update_bytes > w->ticking_config.max_pending_update_bytes)
        ew_sim_fail(w->sim, "worker %u: %llu bytes of updates wait, at most %lld may", w->number,
                    (unsigned long long)stats.update_bytes, (long long)w->ticking_config.max_pending_update_bytes);
    if (stats.breaches > 0)
        ew_sim_fail(w->sim, "worker %u: a message of its own actors broke their protocol", w->number);
}

void check_txn(sim_worker *w, ew_slice request) {
    ew_sim *s = w->sim;
    sim_arena_reset(&s->arena);
    const Pb__TxnRequest *t = pb__txn_request__unpack(&s->arena.allocator, request.len, request.data);
    sim_note(s, "txn", (int64_t)request.len, w->number);
    if (!t) {
        ew_sim_fail(s, "worker %u sends a transaction that is none", w->number);
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

/* ---- a life's end ---- */

void check_stop_asked(sim_worker *w) {
    enum { MARGIN_MS = 3000 }; /* the shutdown handshake, and a tick that has just begun */
    int64_t by = sim_now(w->sim) + w->options->stop_timeout_ms + w->sim->drawn.slow_tick_ms + MARGIN_MS;
    if (by < w->seen.stop_by_ms)
        w->seen.stop_by_ms = by;
}

/* Only the end of a session that was asked for ends a run: given, fenced, or with a key bound to it. By etcd's clock or
 * by ours, or taken for done: another worker of this id put its own marker, and took it away. */
static bool session_is_done(const sim_worker *w) {
    bool asked = w->given.worker || w->options->fence_session || (w->ticking && ticking_uses_session(w->ticking));
    return asked && (w->session_lost || w->marker_taken || !etcd_model_lease_alive(w->sim->etcd, w->lease));
}

/* Another worker has this one's id; or a late copy of what an earlier life put found the receipt missing. */
static bool is_fenced(const sim_worker *w) {
    bool twin = false;
    for (size_t i = 0; i < w->sim->worker_count; i++)
        twin |= w->sim->workers[i] != w && strcmp(w->sim->workers[i]->options->worker_id, w->options->worker_id) == 0;
    return w->options->worker_id[0] != '\0' && (twin || !w->ticking || w->receipt_deleted || w->records_lost);
}

/* What may end a run here, beside the reactor's own will. */
static bool has_reason(const sim_worker *w) {
    const sim_faults *f = &w->sim->drawn;
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
    case EW_ERR_UNKNOWN_OUTCOME:
        return !w->options->exactly_once || w->cut_short || w->receipt_deleted || w->records_lost || w->user_refused ||
               w->sim->restores > 0; /* to before there was a receipt */
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

/* Long after the last fault nothing ends by itself. */
static bool is_late(const sim_worker *w) {
    enum { ECHO_MS = 40000 }; /* late requests, stalled streams, leases and their consequences */
    const ew_sim *s = w->sim;
    bool refused = w->status == EW_ERR_FENCED && !w->ticking; /* it has waited for its worker_id */
    bool by_will = w->status == EW_OK || w->status == EW_ERR_CANCELLED || w->status == EW_ERR_REACTOR || refused;
    return !s->faulty && !by_will && sim_now(s) > s->calm_since_ms + ECHO_MS;
}

void check_end(sim_worker *w) {
    ew_sim *s = w->sim;
    if (is_late(w))
        ew_sim_fail(s, "worker %u ended long after the last fault: %s (%s)", w->number, ew_strerror(w->status),
                    w->detail);
    if (!has_reason(w))
        ew_sim_fail(s, "worker %u ended without a reason: %s (%s)", w->number, ew_strerror(w->status), w->detail);
    ticking_stats stats = {0};
    if (w->ticking)
        ticking_get_stats(w->ticking, &stats);
    if (stats.audit_repairs > 0 && s->drawn.lose_events == 0 && s->restores == 0)
        ew_sim_fail(s, "worker %u: an audit found %llu differences where nothing was lost", w->number,
                    (unsigned long long)stats.audit_repairs);
    if (stats.rewritten > 0 && s->drawn.lose_events == 0 && s->drawn.bad_answer == 0 && s->restores == 0)
        ew_sim_fail(s, "worker %u found another history, though nothing was restored", w->number);
    if (w->watcher_io.calls > 0 || w->committer_io.calls > 0 || w->watcher_io.stream_is_open)
        ew_sim_fail(s, "worker %u ended with %s under way", w->number,
                    w->watcher_io.calls > 0     ? "a read"
                    : w->committer_io.calls > 0 ? "a transaction"
                                                : "a stream");
    if (w->seen.batch_out && w->status != EW_ERR_UNKNOWN_OUTCOME)
        ew_sim_fail(s, "worker %u ended (%s) with a batch undecided", w->number, ew_strerror(w->status));
    if (sim_fifo_count(&w->reactor.box) || sim_fifo_count(&w->watcher_to_reactor.passing) ||
        sim_fifo_count(&w->committer_to_reactor.passing))
        ew_sim_fail(s, "worker %u ended with messages for its reactor under way", w->number);
    if (sim_now(s) > w->seen.stop_by_ms)
        ew_sim_fail(s, "worker %u needed %lld ms too long to stop", w->number,
                    (long long)(sim_now(s) - w->seen.stop_by_ms));
}
