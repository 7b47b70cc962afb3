#include "sim/worker.h"

#include "core/prefix.h"
#include "sim/check.h"

#include <stdio.h>
#include <stdlib.h>

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
    w->counter_key = w->prefix ? prefix_join(w->prefix, options->delete_counter_key) : NULL;
    if (!w->options || !w->counter_key || !prefix_range(ew_str(w->prefix), textual, &w->range_key, &w->range_end)) {
        sim_worker_free(w);
        return NULL;
    }
    w->names.prefix = ew_str(w->prefix);
    w->names.counter = ew_str(w->counter_key);
    w->names.receipts = ew_str(w->options->receipt_prefix);
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
    w->cut_short = w->stop_wanted = w->receipt_deleted = w->session_key_taken = w->user_refused = w->session_lost =
        w->records_lost = w->holds_id = false;
    w->own = w->given = w->records = (sim_lease){0};
    w->lease = 0;
    w->claimed = (claim_result){0};
    w->started_ms = sim_now(s);
    sim_session_init(w);
    w->status = EW_OK;
    w->detail[0] = '\0';
    w->seen = (sim_seen){.stop_by_ms = INT64_MAX};
    char id[64];
    snprintf(id, sizeof id, "w%u.%u.%llu", w->number, w->life, (unsigned long long)(sim_next(&s->random) & 0xffff));
    w->worker_id = text(w->options->worker_id[0] ? w->options->worker_id : id, "");
    char *root = text(w->options->receipt_prefix, "/");
    w->receipt_key = text(root, w->worker_id);
    free(root);
    w->session_key = text(w->receipt_key, "/session");
    w->owner_key = text(w->receipt_key, "/owner");
    w->holder = text(id, "");
    w->leader_key = text("/leaders/", w->worker_id);
    actor_init(&w->watcher, w, sim_watcher_round);
    actor_init(&w->reactor, w, sim_reactor_round);
    actor_init(&w->committer, w, sim_committer_round);
    channel_init(&w->watcher_to_reactor, &w->reactor);
    channel_init(&w->committer_to_reactor, &w->reactor);
    channel_init(&w->session_to_reactor, &w->reactor);
    channel_init(&w->reactor_to_watcher, &w->watcher);
    channel_init(&w->reactor_to_committer, &w->committer);
    sim_note(s, "start", w->number, w->life);
    if (w->lender && (w->options->exactly_once || w->options->fence_session))
        sim_session_borrow(w);
    else
        sim_worker_claim(w);
}

static void note_fences(sim_worker *w) {
    sim_reserve(w->fences, w->fences_capacity, w->fences_count + 1);
    w->fences[w->fences_count++] =
        (sim_fences){.life = w->life,
                     .session_key = w->options->fence_session ? text(w->session_key, "") : NULL,
                     .leader_key = w->leads ? text(w->leader_key, "") : NULL,
                     .lease = w->lease,
                     .leader_revision = w->leader_revision};
}

static bool session_key_is_taken(const sim_worker *w) {
    const etcd_model_record *r =
        etcd_model_get(w->sim->etcd, ew_str(w->session_key), etcd_model_revision(w->sim->etcd));
    return w->options->fence_session && (!r || r->lease != w->lease);
}

void sim_worker_begin(sim_worker *w) {
    w->lease = w->given.worker ? w->given.id : w->claimed.presence_lease;
    w->session_key_taken = session_key_is_taken(w);
    w->session_lost = w->given.worker ? !w->given.alive : sim_worker_lease(w, SESSION_PRESENCE) != w->lease;
    sim_worker_configure(w);
    note_fences(w);
    w->began_ms = sim_now(w->sim);
    /* Watcher and committer of a worker piggyback; without that, their messages may come in any order. */
    bool together = sim_chance(&w->sim->random, 700);
    sim_note(w->sim, together ? "outcomes joined" : "outcomes apart", w->number, w->life);
    if (!sim_peers_start(w, together) || !sim_reactor_start(w)) {
        ew_sim_fail(w->sim, "cannot create a core: out of memory");
        return;
    }
    watcher_start(w->watcher_of);
    sim_actor_wake(&w->watcher, sim_now(w->sim));
    session_begin(&w->session, w->claimed.presence_lease, w->claimed.receipt_lease);
    sim_actor_wake(&w->reactor, sim_now(w->sim));
}

/* Ends the life and frees its parts; its requests in flight still reach etcd. */
static void bury(sim_worker *w) {
    ew_sim *s = w->sim;
    sim_network_forget(w);
    sim_channel *channels[] = {&w->watcher_to_reactor, &w->committer_to_reactor, &w->session_to_reactor,
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
    sim_peers_free(w);
    sim_reactor_free(w);
    claim_free(w->claim);
    w->claim = NULL;
    check_forget(w);
    free(w->worker_id);
    free(w->receipt_key);
    free(w->session_key);
    free(w->leader_key);
    free(w->owner_key);
    free(w->holder);
    free(sim_unconst(w->fence.data));
    w->worker_id = w->receipt_key = w->session_key = w->leader_key = w->owner_key = w->holder = NULL;
    w->fence = (ew_slice){0};
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
    if (detail != w->detail)
        snprintf(w->detail, sizeof w->detail, "%s", detail ? detail : "");
    sim_note(w->sim, "end", w->number, status);
    sim_trace(w->sim, "worker %u ended: %s (%s)", w->number, ew_strerror(status), w->detail);
    check_end(w);
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
    if (!w->reactor_of) {
        sim_worker_over(w, EW_ERR_CANCELLED, "stopped");
        return;
    }
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    stop.timeout_ms = w->options->stop_timeout_ms;
    m.stop = &stop;
    sim_send(&w->session_to_reactor, &m, true, false);
    check_stop_asked(w);
}

bool sim_worker_settled(const sim_worker *w) {
    if (!w->running)
        return !w->starting;
    return w->reactor_of && ticking_get_state(reactor_core(w->reactor_of)) == TICKING_READY &&
           sim_fifo_count(&w->reactor.box) == 0 && sim_fifo_count(&w->watcher_to_reactor.passing) == 0 &&
           committing_get_state(committer_core(w->committer_of)) == COMMITTING_IDLE && check_is_up_to_date(w) &&
           !w->seen.wrong && !w->seen.adrift;
}

void sim_worker_replied(sim_worker *w, uint64_t submit, int status, int64_t revision) {
    sim_note(w->sim, "reply", (int64_t)submit, status);
    w->seen.wrote = true;
    if (!w->killed && w->sim->replied)
        w->sim->replied(w->sim->replied_arg, w->number, submit, status, revision);
}

const char *sim_worker_describe(const sim_worker *w) {
    static const char *const ticking_names[] = {"loading", "ready", "ticking", "committing", "awaiting", "done"};
    static const char *const watching_names[] = {"idle", "syncing", "watching", "broken", "stopped", "failed"};
    static const char *const committing_names[] = {"idle",      "in flight", "backing off",
                                                   "resolving", "claiming",  "ended"};
    ew_sim *s = w->sim;
    sim_arena_reset(&s->arena);
    size_t size = 256;
    char *out = sim_arena_alloc(&s->arena, size);
    if (!w->reactor_of) {
        snprintf(out, size, w->starting ? "about to start" : w->running ? "opening its session" : "not running");
        return out;
    }
    ticking_stats stats;
    ticking_get_stats(reactor_core(w->reactor_of), &stats);
    snprintf(out, size, "watching: %s, ticking: %s, committing: %s, revision %lld, barrier %lld, etcd %lld",
             watching_names[watching_get_state(watcher_core(w->watcher_of))],
             ticking_names[ticking_get_state(reactor_core(w->reactor_of))],
             committing_names[committing_get_state(committer_core(w->committer_of))], (long long)stats.revision,
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
    for (size_t i = 0; i < w->fences_count; i++) {
        free(w->fences[i].session_key);
        free(w->fences[i].leader_key);
    }
    free(w->fences);
    free(w);
}
