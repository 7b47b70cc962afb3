/* The sampled probabilities of faults, and the faults that need no message. */
#include "sim/worker.h"

enum { ROUND_MS = 100 };

/* Samples a probability: 0 for half of the faults, so that each fault also occurs without the others; small values are
 * more likely than large ones. */
static int64_t draw(sim_random *r, int64_t most) {
    if (sim_chance(r, 500))
        return 0;
    int64_t high = sim_between(r, 1, most);
    return sim_between(r, 1, high);
}

void sim_faults_draw(ew_sim *s) {
    sim_random *r = &s->random;
#define DRAW(name, most, help) s->sampled.name = draw(r, most);
    SIM_FAULTS(DRAW)
#undef DRAW
    /* Only consistency checks find lost events, so few promises hold with this fault: the scenario switches it on. */
    s->may_lose = s->sampled.lose_events;
    s->sampled.lose_events = 0;
    etcd_model_config *c = &s->etcd_config;
    *c = etcd_model_defaults;
    c->batch_revisions = (uint32_t)sim_between(r, 1, 20); /* small, so that small runs have batches and fragments */
    c->fragment_bytes = (size_t)sim_between(r, 100, 1500);
    c->queue_responses = (size_t)sim_between(r, 1, 32);
    c->progress_overtakes = sim_chance(r, 500);
    c->progress_unanswered = sim_chance(r, 200);
    c->silent_cancel_reason = sim_chance(r, 500);
}

void ew_sim_describe(const ew_sim *s, FILE *out) {
    if (!s || !out)
        return;
    fprintf(out, "seed %llu:", (unsigned long long)s->seed);
#define DESCRIBE(name, most, help) fprintf(out, " %s %lld", #name, (long long)s->sampled.name);
    SIM_FAULTS(DESCRIBE)
#undef DESCRIBE
    const etcd_model_config *c = &s->etcd_config;
    fprintf(out,
            "; etcd: batches of %u revisions, fragments of %zu bytes, %zu responses, progress %s%s, a compacted watch "
            "ends %s reason\n",
            c->batch_revisions, c->fragment_bytes, c->queue_responses, c->progress_overtakes ? "overtakes" : "in order",
            c->progress_unanswered ? ", never when asked for" : "", c->silent_cancel_reason ? "without" : "with a");
}

bool sim_happens(ew_sim *s, int64_t permille) {
    return s->faulty && sim_chance(&s->random, permille);
}

int64_t sim_delay(ew_sim *s) {
    if (sim_happens(s, s->sampled.slow))
        return sim_between(&s->random, 0, s->sampled.slow_ms);
    return sim_between(&s->random, 0, s->sampled.delay_ms);
}

static void befall_etcd(ew_sim *s) {
    sim_random *r = &s->random;
    int64_t revision = etcd_model_revision(s->etcd);
    if (sim_happens(s, s->sampled.outage)) {
        s->away_until_ms = sim_now(s) + sim_between(r, 1, s->sampled.outage_ms + 1);
        sim_note(s, "outage", s->away_until_ms, 0);
        sim_network_break_all(s);
    }
    if (sim_happens(s, s->sampled.no_space)) {
        s->full_until_ms = sim_now(s) + sim_between(r, 1, s->sampled.no_space_ms + 1);
        sim_note(s, "no space", s->full_until_ms, 0);
    }
    if (sim_happens(s, s->sampled.compact)) {
        int64_t at = revision - (sim_chance(r, 300) ? 0 : sim_between(r, 0, 40));
        if (at > etcd_model_compacted(s->etcd)) {
            sim_note(s, "compact", at, 0);
            sim_compact(s, at);
        }
    }
}

/* Deletes a receipt. All workers with the same worker_id have the same receipt. */
static void delete_receipt(ew_sim *s, const char *key) {
    for (size_t i = 0; i < s->worker_count; i++) {
        sim_worker *w = s->workers[i];
        w->receipt_deleted |= w->running && strcmp(w->receipt_key, key) == 0;
    }
    ew_sim_delete(s, ew_str(key));
}

static void lose_lease(ew_sim *s, const sim_lease *l) {
    if (!l->alive || !sim_happens(s, s->sampled.lose_lease))
        return;
    sim_note(s, "lease lost", l->worker->number, l->id);
    l->worker->records_lost |= l->kind == SIM_LEASE_RECORDS;
    etcd_model_lease_lose(s->etcd, l->id);
    sim_network_changed(s, (sim_author){0});
}

static void befall_worker(ew_sim *s, sim_worker *w) {
    sim_network_fault(w);
    lose_lease(s, &w->own);
    lose_lease(s, &w->records);
    if (w->options->exactly_once && w->reactor_of && sim_happens(s, s->sampled.delete_receipt))
        delete_receipt(s, w->receipt_key);
    if (w->leads && w->reactor_of && sim_happens(s, s->sampled.depose))
        ew_sim_delete(s, ew_str(w->leader_key));
    if (sim_happens(s, s->sampled.kill))
        sim_worker_kill(w);
    else if (sim_happens(s, s->sampled.stop) && !w->stop_wanted)
        sim_worker_stop(w);
}

static void fault_round(void *arg) {
    ew_sim *s = arg;
    if (s->faulty) {
        befall_etcd(s);
        for (size_t i = 0; i < s->worker_count; i++)
            if (s->workers[i]->running)
                befall_worker(s, s->workers[i]);
    }
    sim_at(s, sim_now(s) + ROUND_MS, fault_round, s, NULL);
}

void sim_faults_start(ew_sim *s) {
    sim_at(s, ROUND_MS, fault_round, s, NULL);
}
