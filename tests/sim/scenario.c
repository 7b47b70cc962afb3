#include "scenario.h"

#include <stdlib.h>

static void set(ew_options *o, const char *name, int64_t value) {
    ew_error err = {0};
    if (ew_options_set_int(o, name, value, &err) != EW_OK) {
        fprintf(stderr, "%s\n", err.detail);
        abort();
    }
}

static void set_text(ew_options *o, const char *name, const char *value) {
    ew_error err = {0};
    if (ew_options_set(o, name, value, &err) != EW_OK) {
        fprintf(stderr, "%s\n", err.detail);
        abort();
    }
}

/* Samples the options of one worker. Options of the prefix (the delete counter) are the same for all workers. */
static ew_options *sample_options(scenario *sc, actor *a) {
    sim_random *r = &sc->random;
    ew_options *o = ew_options_new();
    if (!o)
        abort();
    set_text(o, "prefix", sim_chance(r, 500) ? "/app" : "app/");
    set_text(o, "prefix_match", sim_chance(r, 100) ? "textual" : "path");
    bool twin = sc->twins && a->worker < 2;
    if (twin) {
        set_text(o, "worker_id", "twin");
    } else if (sim_chance(r, 150)) {
        char name[16];
        snprintf(name, sizeof name, "fixed-%d", a->worker);
        set_text(o, "worker_id", name); /* the next run finds the receipt of this one */
    }
    set(o, "fence_session", sim_chance(r, 200));
    set_text(o, "delete_counter", sc->counter ? "compat" : "off");
    a->serializable = sc->serializable_all || sim_chance(r, 300);
    set_text(o, "isolation", a->serializable ? "serializable" : "snapshot");
    set(o, "exactly_once", sc->exactly_once_all || twin || sim_chance(r, 500));
    set(o, "tick_interval_ms", sim_between(r, 20, 1500));
    set(o, "tick_on_load", sim_chance(r, 800));
    bool coalesce = sim_chance(r, 700);
    set(o, "coalesce", coalesce);
    /* With a tick for each revision, a low rate of ticks would take too long. */
    set(o, "max_ticks_per_second", coalesce && sim_chance(r, 300) ? sim_between(r, 1, 50) : 0);
    a->max_keys = sim_chance(r, 500) ? 126 : (uint32_t)sim_between(r, 8, 20);
    set(o, "max_txn_keys", a->max_keys);
    set(o, "call_timeout_ms", sim_between(r, 500, 10000));
    set(o, "watch_silence_ms", sim_between(r, 500, 6000));
    set(o, "session_ttl_s", sim_between(r, 3, 15));
    set(o, "receipt_ttl_s", sim_between(r, 5, 40));
    set(o, "mailbox_messages", sim_between(r, 2, 64));
    set(o, "start_timeout_ms", sim_between(r, 5000, 60000));
    set(o, "stop_timeout_ms", sim_between(r, 500, 15000));
    set(o, "conflict_backoff_max_ms", sim_between(r, 1, 300));
    set(o, "max_submits", sim_between(r, 1, 8));
    return o;
}

static void add_actor(scenario *sc, int i) {
    actor *a = &sc->actors[i];
    *a = (actor){.scenario = sc, .worker = i, .life = 1};
    ew_options *o = sample_options(sc, a);
    a->updates = sim_chance(&sc->random, 500);
    a->finish_at = sim_chance(&sc->random, 200) ? sim_between(&sc->random, 1, 60) : 0;
    ew_error err = {0};
    if (ew_sim_add_worker(sc->sim, o, a->updates ? &scenario_reactor_with_updates : &scenario_reactor, a, &err) != i) {
        fprintf(stderr, "%s\n", err.detail);
        abort();
    }
    sim_worker *w = sc->sim->workers[i];
    w->leads = !sc->twins && sim_chance(&sc->random, 200);
    if (sc->twins && i == 1)
        w->lender = sc->sim->workers[0];
    ew_sim_on_end(sc->sim, i, scenario_ended);
    ew_options_free(o);
}

/* Writes what exists before the first worker starts. */
static void populate(scenario *sc) {
    char key[40];
    for (int i = 0; i < ACCOUNTS; i++) {
        snprintf(key, sizeof key, "/app/bank/%d", i);
        ew_sim_put(sc->sim, ew_str(key), EW_STR("0"));
    }
    for (int64_t i = 0; i < sc->old; i++) {
        snprintf(key, sizeof key, "/app/old/%lld", (long long)i);
        ew_sim_put(sc->sim, ew_str(key), EW_STR("some old value that takes a little space"));
    }
}

/* A few keys that all workers create and delete all the time, and late requests: what was refused may hold again when a
 * forgotten copy arrives. */
static void heat(scenario *sc) {
    sim_random *r = &sc->random;
    sc->junk = sim_between(r, 1, 2);
    sc->external_ms = sim_between(r, 20, 60);
    sc->sim->sampled.late_request = sim_between(r, 100, 300);
    sc->sim->sampled.late_ms = sim_between(r, 100, 2000);
}

void scenario_init(scenario *sc, uint64_t seed) {
    *sc = (scenario){.sim = ew_sim_new(seed), .random = {seed ^ UINT64_C(0x5ce7a210)}};
    sim_random *r = &sc->random;
    sc->counter = sim_chance(r, 600);
    sc->exactly_once_all = sim_chance(r, 800);
    sc->serializable_all = sim_chance(r, 300);
    sc->actor_count = (int)sim_between(r, 1, WORKERS_MAX);
    sc->external_ms = sim_chance(r, 800) ? sim_between(r, 20, 800) : 0;
    sc->fault_ms = sim_between(r, 500, sim_between(r, 1000, 14000)); /* more often short than long */
    sc->junk = sim_between(r, 2, JUNK);
    /* Sometimes more than fits one page of the first snapshot. */
    sc->old = sim_chance(r, 30) ? sim_between(r, 500, 800) : sim_between(r, 0, 25);
    sc->hot = sim_chance(r, 60);
    sc->twins = sc->actor_count > 1 && sim_chance(r, 60);
    sc->client_count = sim_chance(r, 500) ? (uint32_t)sim_between(r, 1, CLIENTS_MAX) : 0;
    if (sc->hot)
        heat(sc);
    sim_bend *bend = &sc->sim->bend;
    bend->page_bytes = sim_chance(r, 500) ? sim_between(r, 200, 4000) : 0;
    bend->max_pending_update_bytes = sim_chance(r, 300) ? sim_between(r, 500, 20000) : 0;
    bend->max_txn_bytes = sim_chance(r, 200) ? sim_between(r, 1500, 6000) : 0;
    /* A watch loses events only in runs with consistency checks. Often there are consistency checks without losses:
     * then they must find nothing. */
    bool lossy = sim_chance(r, 60);
    if (lossy) {
        sc->sim->sampled.lose_events = sc->sim->may_lose > 0 ? sc->sim->may_lose : 10;
        /* A consistency check compares what was observed. If the very last change is lost, only a progress notification
         * shows it. */
        sc->sim->sampled.progress_ms = sim_between(r, 500, 3000);
    }
    bend->check_interval_ms = lossy || sim_chance(r, 300) ? sim_between(r, 300, 5000) : 0;
    populate(sc);
    for (int i = 0; i < sc->actor_count; i++)
        add_actor(sc, i);
    external_start(sc);
}

void scenario_describe(const scenario *sc, FILE *out) {
    ew_sim_describe(sc->sim, out);
    fprintf(out,
            "  scenario: %s%sdelete counter %s, exactly once %s, all serializable %d, external writes every %lld ms, "
            "faults "
            "for %lld ms, %lld keys that come and go, %lld old ones, %u clients, pages of %lld bytes, %lld bytes of "
            "updates, %lld "
            "bytes a transaction (0: the default), consistency checks every %lld ms\n",
            sc->hot ? "hot, " : "", sc->twins ? "two workers with one id and session, " : "",
            sc->counter ? "on" : "off", sc->exactly_once_all ? "on" : "mixed", sc->serializable_all,
            (long long)sc->external_ms, (long long)sc->fault_ms, (long long)sc->junk, (long long)sc->old,
            sc->client_count, (long long)sc->sim->bend.page_bytes, (long long)sc->sim->bend.max_pending_update_bytes,
            (long long)sc->sim->bend.max_txn_bytes, (long long)sc->sim->bend.check_interval_ms);
    for (int i = 0; i < sc->actor_count; i++) {
        const ew_options *o = sc->sim->workers[i]->options;
        fprintf(
            out,
            "  worker %d: prefix %s %s, id \"%s\", leads %d, fenced %lld, updates %d, serializable %d, exactly once "
            "%lld, tick on load %lld, every %lld ms, coalesce %lld, at most %lld a second, %lld keys a transaction, "
            "call timeout %lld ms, start timeout %lld ms, stop timeout %lld ms, backoff %lld ms, silence %lld ms, "
            "lease %lld s, mailbox %lld, "
            "%lld submits, finishes at tick %lld\n",
            i, o->prefix, o->prefix_match == OPTIONS_PREFIX_TEXTUAL ? "textual" : "path", o->worker_id,
            sc->sim->workers[i]->leads, (long long)o->fence_session, sc->actors[i].updates, sc->actors[i].serializable,
            (long long)o->exactly_once, (long long)o->tick_on_load, (long long)o->tick_interval_ms,
            (long long)o->coalesce, (long long)o->max_ticks_per_second, (long long)o->max_txn_keys,
            (long long)o->call_timeout_ms, (long long)o->start_timeout_ms, (long long)o->stop_timeout_ms,
            (long long)o->conflict_backoff_max_ms, (long long)o->watch_silence_ms, (long long)o->session_ttl_s,
            (long long)o->mailbox_messages, (long long)o->max_submits, (long long)sc->actors[i].finish_at);
    }
}

/* Stops all workers. The accounting follows, when no worker can have anything in flight. */
static void stop_all(scenario *sc) {
    enum { LIMIT_MS = 60000 };
    sc->quiet_end = true;
    for (int i = 0; i < sc->actor_count; i++)
        ew_sim_stop_worker(sc->sim, i);
    ew_sim_run(sc->sim, LIMIT_MS);
    for (int i = 0; i < sc->actor_count; i++)
        if (ew_sim_is_running(sc->sim, i))
            ew_sim_fail(sc->sim, "worker %d has not stopped", i);
    size_t position = 0;
    const etcd_model_record *r; /* clients' records stay: they have another lease */
    while ((r = etcd_model_scan(sc->sim->etcd, &position, ew_sim_revision(sc->sim))))
        if (r->lease != sc->sim->record_lease &&
            (r->lease != 0 || (r->key.len > 12 && memcmp(r->key.data, "/etcdworker/", 12) == 0)))
            ew_sim_fail(sc->sim, "%.*s still exists after all workers have stopped", (int)r->key.len,
                        (const char *)r->key.data);
}

bool scenario_run(scenario *sc) {
    enum { LIMIT_MS = 90000 };
    ew_sim_run(sc->sim, sc->fault_ms);
    sc->quiet = true;
    ew_sim_settle(sc->sim, LIMIT_MS);
    if (!ew_sim_failure(sc->sim))
        clients_finish(sc);
    if (!ew_sim_failure(sc->sim))
        ew_sim_settle(sc->sim, LIMIT_MS); /* a run may have ended meanwhile and be about to start again */
    if (!ew_sim_failure(sc->sim))
        stop_all(sc);
    if (!ew_sim_failure(sc->sim))
        record_check(sc);
    if (!ew_sim_failure(sc->sim))
        clients_check(sc);
    return !ew_sim_failure(sc->sim);
}

void scenario_fini(scenario *sc) {
    ew_sim_free(sc->sim);
    for (size_t i = 0; i < sc->record_count; i++)
        free(sc->records[i]);
    free(sc->records);
    free(sc->client_submits);
}
