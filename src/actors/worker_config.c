#include "actors/message.h"
#include "actors/worker_private.h"
#include "etcd.pb-c.h"

#include "core/slice.h"

#include <stdlib.h>

static Pb__Compare *add_compare(Pb__Compare *list, Pb__Compare **pointers, Pb__TxnRequest *to, ew_slice key) {
    Pb__Compare *c = &list[to->n_compare];
    pb__compare__init(c);
    c->key = slice_bytes(key);
    c->result = PB__COMPARE__COMPARE_RESULT__EQUAL;
    pointers[to->n_compare++] = c;
    return c;
}

/* SEMANTICS 30, 31: makes the fence conditions: the session key still has its lease, the leader's key is still the
 * elected one. */
static bool make_fence(ew_worker *w) {
    Pb__Compare list[2], *pointers[2];
    Pb__TxnRequest fence = PB__TXN_REQUEST__INIT;
    fence.compare = pointers;
    if (w->options->fence_session) {
        Pb__Compare *c = add_compare(list, pointers, &fence, ew_str(w->session_key));
        c->target = PB__COMPARE__COMPARE_TARGET__LEASE;
        c->target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
        c->lease = worker_session_lease(w);
    }
    if (w->election) {
        Pb__Compare *c = add_compare(list, pointers, &fence, ew_election_key(w->election));
        c->target = PB__COMPARE__COMPARE_TARGET__CREATE;
        c->target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
        c->create_revision = w->leader_revision;
    }
    if (fence.n_compare == 0)
        return true;
    size_t size = pb__txn_request__get_packed_size(&fence);
    w->fence = malloc(size);
    if (!w->fence)
        return false;
    w->committing.fence = (ew_slice){w->fence, pb__txn_request__pack(&fence, w->fence)};
    w->committing.fence_compares = (uint32_t)fence.n_compare;
    return true;
}

/* Configures the committing core. worker_ticking_config derives from it how much fits in a transaction. */
bool worker_configure_committing(ew_worker *w) {
    w->committing = committer_options(w->options);
    w->committing.counter_key = ew_str(w->counter_key);
    w->committing.prefix = ew_str(w->prefix);
    w->committing.receipt_prefix = ew_str(w->options->receipt_prefix);
    w->committing.numbered = true;
    w->committing.exactly_once = w->options->exactly_once;
    w->committing.receipt_key = ew_str(w->receipt_key);
    w->committing.lease = w->claimed.receipt_lease;
    w->committing.receipt_revision = w->claimed.receipt_revision;
    w->committing.sequence = w->claimed.sequence;
    return make_fence(w);
}

ticking_config worker_ticking_config(const ew_worker *w) {
    const ew_options *o = w->options;
    return (ticking_config){
        .prefix = ew_str(w->prefix),
        .textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL,
        .counter = w->committing.counter,
        .counter_key = ew_str(w->counter_key),
        .receipt_prefix = ew_str(o->receipt_prefix),
        .wants_updates = w->reactor.table.update != NULL,
        .track_reads = w->reactor.table.track_reads,
        .tick_interval_ms = o->tick_interval_ms,
        .tick_on_load = o->tick_on_load,
        .coalesce = o->coalesce,
        .max_ticks_per_second = o->max_ticks_per_second,
        .serializable = o->isolation == OPTIONS_ISOLATION_SERIALIZABLE,
        .max_txn_keys = committing_max_keys(&w->committing),
        .max_txn_bytes = w->committing.max_bytes,
        .txn_overhead_bytes = committing_overhead(&w->committing),
        .conflict_backoff_min_ms = o->conflict_backoff_min_ms,
        .conflict_backoff_max_ms = o->conflict_backoff_max_ms,
        .max_pending_update_bytes = o->max_pending_update_bytes,
        .max_submits = (uint32_t)o->max_submits,
        .session_lease = worker_session_lease(w),
        .record_lease = w->claimed.receipt_lease,
        .check_interval_ms = o->check_interval_s * 1000,
        .barrier_patience_ms = o->watch_silence_ms,
        .seed = (uint64_t)etcd_now_ms() ^ (uint64_t)(uintptr_t)w,
    };
}
