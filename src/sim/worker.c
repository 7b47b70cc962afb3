#include "sim/worker.h"

#include "core/prefix.h"
#include "sim/check.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- messages ---- */

void sim_fifo_push(sim_fifo *f, sim_message m) {
    if (f->head == f->tail)
        f->head = f->tail = 0;
    sim_reserve(f->list, f->capacity, f->tail + 1);
    f->list[f->tail++] = m;
}

bool sim_fifo_take(sim_fifo *f, sim_message *out) {
    if (f->head == f->tail)
        return false;
    *out = f->list[f->head++];
    return true;
}

size_t sim_fifo_count(const sim_fifo *f) {
    return f->tail - f->head;
}

void sim_fifo_fini(sim_fifo *f) {
    sim_message m;
    while (sim_fifo_take(f, &m))
        free(sim_unconst(m.bytes.data));
    free(f->list);
    *f = (sim_fifo){0};
}

void sim_actor_wake(sim_actor *a, int64_t at_ms) {
    ew_sim *s = a->worker->sim;
    if (at_ms >= a->wake_ms || at_ms == INT64_MAX)
        return;
    if (a->wake_ms != INT64_MAX)
        sim_schedule_drop(&s->schedule, a);
    a->wake_ms = at_ms > sim_now(s) ? at_ms : sim_now(s);
    sim_at(s, a->wake_ms, a->round, a, a);
}

static void arrive(void *arg) {
    sim_channel *c = arg;
    sim_message m;
    if (!sim_fifo_take(&c->passing, &m))
        return;
    sim_fifo_push(&c->to->box, m);
    sim_worker *w = c->to->worker;
    bool patient = c->to == &w->reactor && w->ticking && ticking_wants_outcome_only(w->ticking);
    if (!patient || m.urgent || sim_fifo_count(&c->to->box) >= (size_t)w->options->mailbox_messages)
        sim_actor_wake(c->to, sim_now(w->sim) + sim_between(&w->sim->random, 0, 1));
}

static void pass_on(sim_channel *c, sim_message m) {
    ew_sim *s = c->to->worker->sim;
    sim_fifo_push(&c->passing, m);
    int64_t at = sim_now(s) + (sim_chance(&s->random, 300) ? sim_between(&s->random, 1, 3) : 0);
    c->last_ms = at > c->last_ms ? at : c->last_ms;
    sim_at(s, c->last_ms, arrive, c, c);
}

/* A page or events of an epoch that is over, told again: only the epoch says that they are old. */
static void echo(sim_channel *c, const Msg__Message *m, ew_slice bytes) {
    ew_sim *s = c->to->worker->sim;
    if (c->kept.data && m->epoch > c->kept_epoch) {
        pass_on(c, (sim_message){c->kept, false, true});
        c->kept = (ew_slice){0};
    } else if (!c->kept.data && (m->snapshot ? s->drawn.echo > 0 : m->events && sim_happens(s, s->drawn.echo))) {
        c->kept = sim_copy(bytes);
        c->kept_epoch = m->epoch;
    }
}

void sim_send(sim_channel *c, const Msg__Message *m, bool urgent, bool bulk) {
    size_t size = msg__message__get_packed_size(m);
    uint8_t *bytes = sim_alloc(size);
    msg__message__pack(m, bytes);
    pass_on(c, (sim_message){{bytes, size}, urgent, bulk});
    if (bulk)
        echo(c, m, (ew_slice){bytes, size});
}

void sim_send_down(sim_worker *w, Msg__Actor actor, int status, const char *detail) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Down down = MSG__DOWN__INIT;
    down.actor = actor;
    down.status = status;
    down.detail = sim_unconst(detail ? detail : "");
    m.down = &down;
    sim_send(actor == MSG__ACTOR__WATCHER ? &w->watcher_to_reactor : &w->committer_to_reactor, &m, true, false);
}

/* ---- a life ---- */

static char *text(const char *a, const char *b) {
    size_t size = strlen(a) + strlen(b) + 1;
    char *t = sim_alloc(size);
    snprintf(t, size, "%s%s", a, b);
    return t;
}

sim_worker *sim_worker_new(ew_sim *s, uint32_t number, const ew_options *options, const ew_reactor *table, void *self) {
    sim_worker *w = sim_alloc(sizeof *w);
    w->sim = s;
    w->number = number;
    w->options = options_copy(options);
    memcpy(&w->table, table, table->size < sizeof w->table ? table->size : sizeof w->table);
    w->self = self;
    w->prefix = prefix_normalise(options->prefix);
    bool textual = options->prefix_match == OPTIONS_PREFIX_TEXTUAL;
    if (!w->options || !w->prefix || !prefix_range(ew_str(w->prefix), textual, &w->range_key, &w->range_end)) {
        sim_worker_free(w);
        return NULL;
    }
    w->counter_key = text(w->prefix, PREFIX_COUNTER_SUFFIX);
    return w;
}

static void channel_init(sim_channel *c, sim_actor *to) {
    *c = (sim_channel){.to = to};
}

static void actor_init(sim_actor *a, sim_worker *w, sim_task_fn round) {
    *a = (sim_actor){.worker = w, .round = round, .wake_ms = INT64_MAX};
}

void sim_worker_start(sim_worker *w) {
    ew_sim *s = w->sim;
    w->life++;
    w->running = true;
    w->starting = false;
    w->cut_short = w->stop_wanted = w->watcher_down = w->committer_down = w->committer_ended = w->paused = w->busy =
        w->stopping = w->over = w->leased = w->keeping = false;
    w->peers_down = 0;
    w->lease = 0;
    w->range = w->txn = NULL;
    w->stream = NULL;
    w->status = EW_OK;
    w->detail[0] = '\0';
    w->seen = (sim_seen){.stop_by_ms = INT64_MAX};
    char id[64];
    snprintf(id, sizeof id, "w%u.%u.%llu", w->number, w->life, (unsigned long long)(sim_next(&s->random) & 0xffff));
    w->worker_id = text(w->options->worker_id[0] ? w->options->worker_id : id, "");
    char *root = text(w->options->receipt_prefix, "/");
    w->receipt_key = text(root, w->worker_id);
    free(root);
    w->marker_key = text(w->receipt_key, "/session");
    w->leader_key = text("/leaders/", w->worker_id);
    actor_init(&w->watcher, w, sim_watcher_round);
    actor_init(&w->reactor, w, sim_reactor_round);
    actor_init(&w->committer, w, sim_committer_round);
    channel_init(&w->watcher_to_reactor, &w->reactor);
    channel_init(&w->committer_to_reactor, &w->reactor);
    channel_init(&w->keeper_to_reactor, &w->reactor);
    channel_init(&w->reactor_to_watcher, &w->watcher);
    channel_init(&w->reactor_to_committer, &w->committer);
    sim_note(s, "start", w->number, w->life);
    if (w->options->exactly_once || w->options->fence_session)
        sim_session_open(w);
    else
        sim_worker_begin(w);
}

static Pb__Compare *fence_compare(Pb__Compare *c, ew_slice key, Pb__Compare__CompareTarget target) {
    pb__compare__init(c);
    c->key = sim_binary(key);
    c->target = target;
    c->target_union_case = (Pb__Compare__TargetUnionCase)(target + 4); /* etcd numbers both alike */
    return c;
}

/* What holds for every transaction of this life: the session's marker has its lease, the leader's key is the one that
 * was made (SEMANTICS 30, 31). */
static void make_fence(sim_worker *w) {
    Pb__Compare list[2], *pointers[2];
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.compare = pointers;
    if (w->options->fence_session) {
        sim_put(w->sim, ew_str(w->marker_key), EW_STR(""), w->lease);
        Pb__Compare *c = fence_compare(&list[0], ew_str(w->marker_key), PB__COMPARE__COMPARE_TARGET__LEASE);
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

static void configure(sim_worker *w) {
    const ew_options *o = w->options;
    const sim_bend *bend = &w->sim->bend;
    int64_t max_txn_bytes = bend->max_txn_bytes ? bend->max_txn_bytes : o->max_txn_bytes;
    w->watching_config = (watching_config){
        .key = w->range_key,
        .range_end = w->range_end,
        .page_bytes = bend->page_bytes ? bend->page_bytes : o->page_bytes,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms,
        .silence_ms = o->watch_silence_ms,
        .seed = sim_next(&w->sim->random),
    };
    w->committing_config = (committing_config){
        .counter = o->delete_counter == OPTIONS_COUNTER_COMPAT,
        .counter_key = ew_str(w->counter_key),
        .max_keys = (uint32_t)o->max_txn_keys,
        .max_bytes = max_txn_bytes,
        .exactly_once = o->exactly_once,
        .receipt_key = ew_str(w->receipt_key),
        .lease = w->lease,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms,
        .seed = sim_next(&w->sim->random),
    };
    make_fence(w);
    w->ticking_config = (ticking_config){
        .prefix = ew_str(w->prefix),
        .textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL,
        .counter = o->delete_counter == OPTIONS_COUNTER_COMPAT,
        .receipt_prefix = ew_str(o->receipt_prefix),
        .wants_updates = w->table.update != NULL,
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
        .audit_interval_ms = bend->audit_interval_ms,
        .seed = sim_next(&w->sim->random),
    };
}

void sim_worker_begin(sim_worker *w) {
    configure(w);
    w->watching = watching_new(&w->watching_config);
    w->ticking = ticking_new(&w->ticking_config);
    w->committing = committing_new(&w->committing_config);
    if (!w->watching || !w->ticking || !w->committing) {
        ew_sim_fail(w->sim, "a core could not be made");
        return;
    }
    sim_watcher_start(w);
    sim_actor_wake(&w->reactor, sim_now(w->sim));
}

/* Takes the life apart; what it has sent still arrives at etcd. */
static void bury(sim_worker *w) {
    ew_sim *s = w->sim;
    sim_audit_free(w);
    sim_wire_forget(w);
    sim_channel *channels[] = {&w->watcher_to_reactor, &w->committer_to_reactor, &w->keeper_to_reactor,
                               &w->reactor_to_watcher, &w->reactor_to_committer};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        sim_schedule_drop(&s->schedule, channels[i]);
        sim_fifo_fini(&channels[i]->passing);
        free(sim_unconst(channels[i]->kept.data));
        channels[i]->kept = (ew_slice){0};
    }
    sim_actor *actors[] = {&w->watcher, &w->reactor, &w->committer};
    for (size_t i = 0; i < sizeof actors / sizeof *actors; i++) {
        sim_schedule_drop(&s->schedule, actors[i]);
        sim_fifo_fini(&actors[i]->box);
    }
    sim_schedule_drop(&s->schedule, w);
    w->running = false;
    watching_free(w->watching);
    ticking_free(w->ticking);
    committing_free(w->committing);
    w->watching = NULL;
    w->ticking = NULL;
    w->committing = NULL;
    check_forget(w);
    free(w->worker_id);
    free(w->receipt_key);
    free(w->marker_key);
    free(w->leader_key);
    free(sim_unconst(w->fence.data));
    free(sim_unconst(w->held_range.data));
    w->worker_id = w->receipt_key = w->marker_key = w->leader_key = NULL;
    w->fence = w->held_range = (ew_slice){0};
}

void sim_worker_start_task(void *worker) {
    sim_worker_start(worker);
}

static void maybe_start_again(sim_worker *w, bool killed) {
    bool again = killed || (w->status != EW_OK && w->status != EW_ERR_CANCELLED);
    if (w->ended)
        again = w->ended(w->self, w->status, w->detail, killed);
    if (again)
        sim_at(w->sim, sim_now(w->sim) + sim_between(&w->sim->random, 1, 2000), sim_worker_start_task, w, w);
    w->starting = again;
}

void sim_worker_over(sim_worker *w, int status, const char *detail) {
    w->status = status;
    snprintf(w->detail, sizeof w->detail, "%s", detail ? detail : "");
    sim_note(w->sim, "end", w->number, status);
    sim_trace(w->sim, "worker %u ended: %s (%s)", w->number, ew_strerror(status), w->detail);
    check_end(w);
    if (w->leased)
        sim_session_close(w);
    bury(w);
    maybe_start_again(w, false);
}

void sim_worker_kill(sim_worker *w) {
    if (!w->running)
        return;
    sim_note(w->sim, "kill", w->number, w->life);
    w->killed = true;
    bury(w);
    w->killed = false;
    w->status = EW_ERR_CANCELLED;
    maybe_start_again(w, true);
}

void sim_worker_stop(sim_worker *w) {
    if (!w->running)
        return;
    w->stop_wanted = true;
    if (!w->ticking) {
        sim_worker_over(w, EW_ERR_CANCELLED, "stopped");
        return;
    }
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    stop.timeout_ms = w->options->stop_timeout_ms;
    m.stop = &stop;
    sim_send(&w->keeper_to_reactor, &m, true, false);
    check_stop_asked(w);
}

bool sim_worker_settled(const sim_worker *w) {
    if (!w->running)
        return !w->starting;
    return w->ticking && !w->busy && ticking_get_state(w->ticking) == TICKING_READY &&
           sim_fifo_count(&w->reactor.box) == 0 && sim_fifo_count(&w->watcher_to_reactor.passing) == 0 &&
           committing_get_state(w->committing) == COMMITTING_IDLE && check_is_up_to_date(w) && !w->seen.wrong;
}

void sim_worker_replied(sim_worker *w, uint64_t submit, int status, int64_t revision) {
    sim_note(w->sim, "reply", (int64_t)submit, status);
    w->seen.wrote = true;
    if (!w->killed && w->sim->replied)
        w->sim->replied(w->sim->replied_arg, w->number, submit, status, revision);
}

const char *sim_worker_describe(const sim_worker *w) {
    static const char *const ticking_names[] = {"loading",  "ready",     "ticking", "committing",
                                                "awaiting", "finishing", "done"};
    static const char *const watching_names[] = {"idle", "syncing", "watching", "broken", "stopped", "failed"};
    static const char *const committing_names[] = {"idle", "in flight", "backing off", "resolving", "ended"};
    ew_sim *s = w->sim;
    sim_arena_reset(&s->arena);
    size_t size = 256;
    char *out = sim_arena_alloc(&s->arena, size);
    if (!w->ticking) {
        snprintf(out, size, w->starting ? "about to start" : w->running ? "opening its session" : "not running");
        return out;
    }
    ticking_stats stats;
    ticking_get_stats(w->ticking, &stats);
    snprintf(out, size, "watching: %s, ticking: %s, committing: %s, revision %lld, barrier %lld, etcd %lld",
             watching_names[watching_get_state(w->watching)], ticking_names[ticking_get_state(w->ticking)],
             committing_names[committing_get_state(w->committing)], (long long)stats.revision,
             (long long)stats.barrier_revision, (long long)etcd_model_revision(s->etcd));
    return out;
}

void sim_worker_free(sim_worker *w) {
    if (w->running) {
        w->killed = true;
        bury(w);
    }
    sim_schedule_drop(&w->sim->schedule, w);
    ew_options_free(w->options);
    free(w->prefix);
    free(w->counter_key);
    free(sim_unconst(w->range_key.data));
    free(sim_unconst(w->range_end.data));
    free(w);
}
