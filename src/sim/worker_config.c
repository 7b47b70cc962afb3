/* Configures the cores from the options, as src/actors does, and from the state of the life. */
#include "sim/worker.h"

#include "core/slice.h"

static Pb__Compare *fence_compare(Pb__Compare *c, ew_slice key, Pb__Compare__CompareTarget target) {
    pb__compare__init(c);
    c->key = slice_bytes(key);
    c->target = target;
    c->target_union_case = (Pb__Compare__TargetUnionCase)(target + 4); /* etcd numbers both enums in the same order */
    return c;
}

/* Makes the fence conditions of this life: the session key has its lease, the leader's key is the elected one
 * (SEMANTICS 30, 31). */
static void make_fence(sim_worker *w) {
    Pb__Compare list[2], *pointers[2];
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.compare = pointers;
    if (w->options->fence_session) {
        Pb__Compare *c = fence_compare(&list[0], ew_str(w->session_key), PB__COMPARE__COMPARE_TARGET__LEASE);
        c->lease = w->lease;
        pointers[t.n_compare++] = c;
    }
    if (w->leads) {
        ew_sim_delete(w->sim, ew_str(w->leader_key));
        w->leader_revision = ew_sim_put(w->sim, ew_str(w->leader_key), EW_STR(""));
        Pb__Compare *c = fence_compare(&list[1], ew_str(w->leader_key), PB__COMPARE__COMPARE_TARGET__CREATE);
        c->create_revision = w->leader_revision;
        pointers[t.n_compare++] = c;
    }
    size_t size = pb__txn_request__get_packed_size(&t);
    uint8_t *bytes = sim_alloc(size);
    w->fence = (ew_slice){bytes, pb__txn_request__pack(&t, bytes)};
    w->committing_config.fence = w->fence;
    w->committing_config.fence_compares = (uint32_t)t.n_compare;
}

/* One of this many runs loads with the watch opened first. */
enum { WATCH_FIRST_OF = 8 };

void sim_worker_configure(sim_worker *w) {
    const ew_options *o = w->options;
    const sim_bend *bend = &w->sim->bend;
    int64_t max_txn_bytes = bend->max_txn_bytes ? bend->max_txn_bytes : o->max_txn_bytes;
    w->watching_config = (watching_config){
        .key = w->range_key,
        .range_end = w->range_end,
        .page_bytes = bend->page_bytes ? bend->page_bytes : o->page_bytes,
        .receive_bytes = o->max_receive_bytes,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms,
        .silence_ms = o->watch_silence_ms,
        .seed = sim_next(&w->sim->random),
    };
    w->watching_config.watch_first = w->watching_config.seed % WATCH_FIRST_OF == 0;
    w->committing_config = (committing_config){
        .counter = o->delete_counter == OPTIONS_COUNTER_COMPAT,
        .counter_key = ew_str(w->counter_key),
        .max_ops = (uint32_t)o->max_txn_ops,
        .max_keys = (uint32_t)o->max_txn_keys,
        .max_bytes = max_txn_bytes,
        .exactly_once = o->exactly_once,
        .receipt_key = ew_str(w->receipt_key),
        .lease = w->claimed.receipt_lease,
        .receipt_revision = w->claimed.receipt_revision,
        .sequence = w->claimed.sequence,
        .call_timeout_ms = o->call_timeout_ms,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms,
        .seed = sim_next(&w->sim->random),
        .prefix = ew_str(w->prefix),
        .textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL,
        .receipt_prefix = ew_str(o->receipt_prefix),
        .numbered = true,
    };
    make_fence(w);
    w->ticking_config = (ticking_config){
        .prefix = ew_str(w->prefix),
        .textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL,
        .counter = o->delete_counter == OPTIONS_COUNTER_COMPAT,
        .counter_key = ew_str(w->counter_key),
        .receipt_prefix = ew_str(o->receipt_prefix),
        .wants_updates = w->table.update != NULL,
        .track_reads = w->table.track_reads,
        .tick_interval_ms = o->tick_interval_ms,
        .tick_on_load = o->tick_on_load,
        .coalesce = o->coalesce,
        .max_ticks_per_second = o->max_ticks_per_second,
        .serializable = o->isolation == OPTIONS_ISOLATION_SERIALIZABLE,
        .max_txn_keys = committing_max_keys(&w->committing_config),
        .max_txn_bytes = max_txn_bytes,
        .txn_overhead_bytes = committing_overhead(&w->committing_config),
        .conflict_backoff_min_ms = o->conflict_backoff_min_ms,
        .conflict_backoff_max_ms = o->conflict_backoff_max_ms,
        .max_pending_update_bytes =
            bend->max_pending_update_bytes ? bend->max_pending_update_bytes : o->max_pending_update_bytes,
        .max_submits = (uint32_t)o->max_submits,
        .session_lease = w->lease,
        .record_lease = sim_record_lease(w->sim),
        .check_interval_ms = bend->check_interval_ms,
        .barrier_patience_ms = o->watch_silence_ms,
        .seed = sim_next(&w->sim->random),
    };
}
