#include "seeds.h"

#include "restored.h"
#include "scenario.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

struct seeds_ahead {
    bool have;
    uint64_t digest;
};

double seeds_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

seed_result seeds_run_one(uint64_t seed, FILE *described, FILE *trace) {
    scenario sc;
    seed_result r = {0};
    if (restored_is_for(seed))
        return restored_run(seed, described, trace);
    scenario_init(&sc, seed);
    if (described)
        scenario_describe(&sc, described);
    if (described)
        fflush(described);
    if (trace)
        ew_sim_trace(sc.sim, trace);
    r.ok = scenario_run(&sc);
    r.digest = ew_sim_digest(sc.sim);
    r.ticks = sc.total_ticks;
    r.revisions = (uint64_t)ew_sim_revision(sc.sim);
    if (!r.ok)
        snprintf(r.failure, sizeof r.failure, "%s", ew_sim_failure(sc.sim));
    scenario_fini(&sc);
    return r;
}

/* ---- the tally ---- */

void seeds_tally_fini(seeds_tally *t) {
    free(t->ahead);
}

static void make_space(seeds_tally *t, uint64_t index) {
    uint64_t capacity = t->ahead_capacity ? t->ahead_capacity : 64;
    while (index - t->digested >= capacity)
        capacity *= 2;
    if (capacity == t->ahead_capacity)
        return;
    struct seeds_ahead *larger = sim_alloc(capacity * sizeof *larger);
    for (uint64_t i = t->digested; i < t->digested + t->ahead_capacity; i++)
        larger[i % capacity] = t->ahead[i % t->ahead_capacity];
    free(t->ahead);
    t->ahead = larger;
    t->ahead_capacity = capacity;
}

static void digest(seeds_tally *t, uint64_t index, uint64_t number) {
    make_space(t, index);
    t->ahead[index % t->ahead_capacity] = (struct seeds_ahead){true, number};
    for (struct seeds_ahead *next; (next = &t->ahead[t->digested % t->ahead_capacity])->have; t->digested++) {
        t->digest = (t->digest ^ next->digest) * UINT64_C(0x100000001b3);
        next->have = false;
    }
}

void seeds_take(seeds_tally *t, const seed_result *r) {
    if (!r->ok) {
        if (!t->failed || r->index < t->failure.index)
            t->failure = *r;
        t->failed = true;
        return;
    }
    t->done++;
    t->ticks += r->ticks;
    t->revisions += r->revisions;
    digest(t, r->index, r->digest);
}

static double rate(const seeds_tally *t) { /* seeds a minute */
    double took = seeds_clock() - t->began;
    return took > 0 ? (double)t->done / took * 60 : 0;
}

void seeds_show_progress(seeds_tally *t) {
    enum { EVERY_S = 5 };
    double now = seeds_clock();
    if (t->plan->silent || now - t->shown < EVERY_S)
        return;
    t->shown = now;
    double left = t->plan->minutes - (now - t->began) / 60;
    if (t->plan->minutes == 0)
        left = rate(t) > 0 ? (double)(t->plan->count - t->done) / rate(t) : 0;
    printf("%" PRIu64 " seeds, %" PRIu64 " ticks, %" PRIu64 " revisions, %.0f seeds a minute, %.0f minutes left\n",
           t->done, t->ticks, t->revisions, rate(t), left > 0 ? left : 0);
    fflush(stdout);
}

/* ---- all of them ---- */

static void run_here(const seeds_plan *plan, seeds_tally *t) {
    for (uint64_t i = 0; plan->minutes > 0 ? seeds_clock() - t->began < plan->minutes * 60 : i < plan->count; i++) {
        seed_result r = seeds_run_one(plan->first + i, plan->described, plan->trace);
        r.index = i;
        seeds_take(t, &r);
        if (t->failed)
            return;
        seeds_show_progress(t);
    }
}

static void describe(uint64_t seed) {
    scenario sc;
    if (restored_is_for(seed)) {
        ew_sim *s = ew_sim_new(seed);
        ew_sim_describe(s, stdout);
        ew_sim_free(s);
        return;
    }
    scenario_init(&sc, seed);
    scenario_describe(&sc, stdout);
    scenario_fini(&sc);
}

static int say_result(const seeds_plan *plan, const seeds_tally *t) {
    if (t->failed) {
        uint64_t seed = plan->first + t->failure.index;
        if (!plan->described)
            describe(seed);
        printf("seed %" PRIu64 " FAILED: %s\n", seed, t->failure.failure);
        printf("again: etcdworker-sim --seed %" PRIu64 " --verbose\n", seed);
        return 1;
    }
    if (t->stopped) {
        printf("stopped: %" PRIu64 " seeds passed, among them all of the first %" PRIu64 "; on from there: "
               "etcdworker-sim --seed %" PRIu64 "\n",
               t->done, t->digested, plan->first + t->digested);
        return 1;
    }
    printf("ok: %" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " ticks, %" PRIu64 " revisions, digest %016" PRIx64
           ", %.0f seeds a minute\n",
           t->done, plan->first, t->ticks, t->revisions, t->digest, rate(t));
    return 0;
}

int seeds_run(const seeds_plan *plan) {
    seeds_tally t = {.plan = plan, .began = seeds_clock()};
    t.shown = t.began;
    int status = 2;
    /* In a separate process even for one job: a core that finds its state wrong aborts its process, and the parent must
     * name the seed. With a description the seed is known. */
    bool here = plan->described || plan->trace;
    if (here)
        run_here(plan, &t);
    if (here || seeds_run_jobs(plan, &t))
        status = say_result(plan, &t);
    else
        perror("etcdworker-sim");
    seeds_tally_fini(&t);
    return status;
}
