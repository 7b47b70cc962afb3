#include "restored.h"

#include "sim/check.h"

#include <inttypes.h>
#include <stdlib.h>

enum { WORKERS_MAX = 3, KEYS = 12, RESTORES_MAX = 2 };

typedef struct restored restored;

typedef struct writer {
    restored *world;
    int worker;
    bool watches; /* it writes nothing, so no transaction can show it the restore */
    uint64_t made, ticks;
    uint64_t committed_since; /* since the last restore was over */
} writer;

struct restored {
    ew_sim *sim;
    sim_random random;
    writer writers[WORKERS_MAX];
    int count;
    bool quiet;
    int64_t calm_ms; /* from this time on, everything that is reported as committed is in etcd */
};

typedef struct made {
    writer *w;
    char key[32], value[24];
} made;

/* ---- the workers ---- */

static void decided(void *arg, ew_status status, int64_t revision) {
    made *m = arg;
    restored *r = m->w->world;
    if (status == EW_OK && sim_now(r->sim) > r->calm_ms) {
        const etcd_model_record *kv = etcd_model_get(r->sim->etcd, ew_str(m->key), revision);
        if (revision > ew_sim_revision(r->sim) || !kv || kv->mod_revision != revision ||
            !ew_slice_equal(kv->value, ew_str(m->value)))
            ew_sim_fail(r->sim, "worker %d: group %s was reported at %lld, but is missing", m->w->worker, m->value,
                        (long long)revision);
        m->w->committed_since++;
    }
    free(m);
}

static int write_some(writer *w, ew_tick *tick) {
    restored *r = w->world;
    char key[32], value[24];
    ew_group *g = ew_tick_group(tick);
    made *m = sim_alloc(sizeof *m);
    m->w = w;
    snprintf(m->key, sizeof m->key, "/app/last/%d", w->worker);
    snprintf(m->value, sizeof m->value, "%" PRIu64, ++w->made);
    ew_group_on_done(g, decided, m);
    int status = ew_group_put(g, ew_str(m->key), ew_str(m->value));
    snprintf(key, sizeof key, "/app/key/%d", (int)sim_between(&r->random, 0, KEYS - 1));
    snprintf(value, sizeof value, "w%" PRIu64, w->made);
    if (status == EW_OK && sim_chance(&r->random, 300))
        status = ew_group_delete(g, ew_str(key));
    else if (status == EW_OK)
        status = ew_group_put(g, ew_str(key), ew_str(value));
    return status;
}

static int tick(void *self, ew_tick *t) {
    writer *w = self;
    w->ticks++;
    return !w->watches && sim_chance(&w->world->random, w->world->quiet ? 300 : 500) ? write_some(w, t) : EW_OK;
}

static ew_status update(void *self, const ew_event *event) {
    (void)self, (void)event; /* the simulator checks the events itself */
    return EW_OK;
}

static void set(ew_options *o, const char *name, int64_t value) {
    ew_error err;
    if (ew_options_set_int(o, name, value, &err) != EW_OK)
        abort();
}

static void add_worker(restored *r) {
    static const ew_reactor plain = {.size = sizeof plain, .tick = tick};
    static const ew_reactor updated = {.size = sizeof updated, .tick = tick, .update = update};
    ew_options *o = ew_options_new();
    sim_random *dice = &r->random;
    ew_error err;
    ew_options_set(o, "prefix", "/app", &err);
    set(o, "tick_interval_ms", sim_between(dice, 20, 500));
    set(o, "coalesce", sim_chance(dice, 700));
    set(o, "exactly_once", sim_chance(dice, 700));
    set(o, "watch_silence_ms", sim_between(dice, 1000, 5000));
    set(o, "session_ttl_s", sim_between(dice, 5, 60));
    writer *w = &r->writers[r->count];
    *w = (writer){.world = r, .worker = r->count};
    w->watches = sim_chance(dice, 400);
    w->worker = ew_sim_add_worker(r->sim, o, sim_chance(dice, 500) ? &updated : &plain, w, &err);
    ew_options_free(o);
    r->count++;
}

/* ---- external writers ---- */

static void write_as_other(restored *r) {
    char key[32], value[24];
    sim_random *dice = &r->random;
    bool below = sim_chance(dice, 600);
    snprintf(key, sizeof key, below ? "/app/key/%d" : "/else/%d", (int)sim_between(dice, 0, KEYS - 1));
    snprintf(value, sizeof value, "o%d", (int)sim_between(dice, 0, 999));
    if (sim_chance(dice, 300))
        ew_sim_delete(r->sim, ew_str(key));
    else
        ew_sim_put(r->sim, ew_str(key), ew_str(value));
}

static void others(ew_sim *s, void *arg) {
    restored *r = arg;
    if (!r->quiet)
        write_as_other(r);
    ew_sim_after(s, sim_between(&r->random, 20, 400), others, r);
}

/* To a state up to 60 revisions old. */
static void restore(restored *r) {
    sim_random *dice = &r->random;
    int64_t newest = ew_sim_revision(r->sim), oldest = newest > 61 ? newest - 60 : 1;
    int64_t compacted = etcd_model_compacted(r->sim->etcd);
    oldest = oldest < compacted ? compacted : oldest;
    sim_restore(r->sim, sim_between(dice, oldest < 1 ? 1 : oldest, newest), sim_between(dice, 100, 3000));
    if (!sim_chance(dice, 700))
        return;
    for (int i = 0; i < 200 && ew_sim_revision(r->sim) <= newest + 1; i++)
        write_as_other(r);
}

/* ---- a run ---- */

bool restored_is_for(uint64_t seed) {
    return seed % 8 == 5;
}

static void check_all_go_on(restored *r) {
    for (int i = 0; i < r->count; i++) {
        const writer *w = &r->writers[i];
        if (!w->watches && ew_sim_is_running(r->sim, w->worker) && w->committed_since == 0)
            ew_sim_fail(r->sim, "worker %d has committed nothing after the restore", i);
    }
}

static void run(restored *r) {
    enum { REST_MS = 90000, AFTER_MS = 30000 };
    int64_t times = sim_between(&r->random, 1, RESTORES_MAX);
    for (; times > 0; times--) {
        ew_sim_run(r->sim, sim_between(&r->random, 1000, 8000));
        restore(r);
    }
    ew_sim_run(r->sim, sim_between(&r->random, 1000, 8000));
    ew_sim_set_faults(r->sim, false);
    r->quiet = true;
    ew_sim_settle(r->sim, REST_MS);
    r->calm_ms = sim_now(r->sim);
    ew_sim_run(r->sim, AFTER_MS);
    ew_sim_settle(r->sim, REST_MS);
    if (!ew_sim_failure(r->sim))
        check_all_go_on(r);
}

seed_result restored_run(uint64_t seed, FILE *described, FILE *trace) {
    restored r = {.sim = ew_sim_new(seed), .calm_ms = INT64_MAX};
    r.random.state = seed ^ UINT64_C(0x7e570);
    if (described) {
        fprintf(described, "a restored etcd; ");
        ew_sim_describe(r.sim, described);
        fflush(described);
    }
    if (trace)
        ew_sim_trace(r.sim, trace);
    for (int64_t n = sim_between(&r.random, 1, WORKERS_MAX); n > 0; n--)
        add_worker(&r);
    ew_sim_after(r.sim, 1, others, &r);
    run(&r);
    seed_result result = {.ok = !ew_sim_failure(r.sim), .digest = ew_sim_digest(r.sim)};
    for (int i = 0; i < r.count; i++)
        result.ticks += r.writers[i].ticks;
    result.revisions = (uint64_t)ew_sim_revision(r.sim);
    if (!result.ok)
        snprintf(result.failure, sizeof result.failure, "%s", ew_sim_failure(r.sim));
    ew_sim_free(r.sim);
    return result;
}
