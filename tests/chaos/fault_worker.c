/* Faults of the workers' own. */
#include "chaos/fault.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* The lease of a key of the worker's own, below its receipt; 0 if there is none. */
static int64_t lease_of(world *w, unsigned worker, unsigned run, const char *suffix) {
    char key[96];
    ew_error err = {0};
    ew_result *result = NULL;
    snprintf(key, sizeof key, "/etcdworker/receipts/chaos-%u-%u-%u%s", w->round, worker, run, suffix);
    if (ew_client_get(w->client, ew_keys_one(ew_str(key)), NULL, &result, &err) != EW_OK)
        return 0;
    int64_t lease = ew_result_count(result) > 0 ? ew_result_at(result, 0)->lease : 0;
    ew_result_free(result);
    return lease;
}

#define OWNER   "/owner"
#define MARKER  "/session"
#define RECEIPT ""

typedef struct one_run {
    unsigned worker, run;
    const char *suffix;
    int64_t lease;
} one_run;

static bool has_no_lease(world *w, void *arg) {
    const one_run *r = arg;
    return lease_of(w, r->worker, r->run, r->suffix) == 0;
}

static bool has_another_lease(world *w, void *arg) {
    const one_run *r = arg;
    int64_t lease = lease_of(w, r->worker, r->run, r->suffix);
    return lease != 0 && lease != r->lease;
}

static bool has_ended(world *w, void *arg) {
    const one_run *r = arg;
    return w->workers[r->worker].ended_run >= r->run;
}

static bool take_lease(injection *i, one_run *r) {
    ew_error err = {0};
    r->lease = lease_of(i->w, r->worker, r->run, r->suffix);
    bool revoked = r->lease != 0 && ew_client_lease_revoke(i->w->client, r->lease, &err) == EW_OK;
    if (!revoked)
        fault_missed(i, "no lease was revoked: %s", err.detail);
    return revoked;
}

void fault_end_session(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = MARKER};
    take_lease(i, &r);
    fault_healed(i);
    if (!world_until(i->w, has_ended, &r, EFFECT_LIMIT_MS) || i->w->workers[worker].end_status != EW_ERR_SESSION_DONE)
        fault_missed(i, "the worker went on");
}

/* The receipt's lease, and the one that holds the worker_id: each is replaced, and the run goes on. */
static void lease_revoked(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = i->times % 2 == 0 ? RECEIPT : OWNER};
    if (take_lease(i, &r) && !world_until(i->w, has_another_lease, &r, EFFECT_LIMIT_MS))
        fault_missed(i, "%s has no other lease", i->times % 2 == 0 ? "the receipt" : "the hold on worker_id");
    fault_healed(i);
    if (i->w->workers[worker].id.run != r.run)
        world_problem(i->w, "a lost lease cost worker %u its run", worker);
}

/* SIGSTOP until etcd has let the key's lease expire. */
static void pause_worker(injection *i, one_run *r) {
    worker_process *c = &i->w->workers[r->worker];
    r->lease = lease_of(i->w, r->worker, r->run, r->suffix);
    workers_signal(i->w, r->worker, SIGSTOP);
    if (waitpid(c->pid, NULL, WUNTRACED) != c->pid)
        fault_missed(i, "the worker did not stop");
    if (!world_until(i->w, has_no_lease, r, EFFECT_LIMIT_MS))
        fault_missed(i, "its lease did not expire");
    workers_signal(i->w, r->worker, SIGCONT);
    fault_healed(i);
}

/* What the worker still does when it goes on must be refused. */
static void fenced_worker_paused(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = MARKER};
    pause_worker(i, &r);
    if (!world_until(i->w, has_ended, &r, EFFECT_LIMIT_MS) || i->w->workers[worker].end_status != EW_ERR_SESSION_DONE)
        fault_missed(i, "the worker went on");
}

/* It has asked for no session, and nobody has taken its id: it goes on. */
static void worker_paused(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = OWNER};
    pause_worker(i, &r);
    if (!world_until(i->w, has_another_lease, &r, EFFECT_LIMIT_MS))
        fault_missed(i, "the hold on worker_id was not put again");
    if (i->w->workers[worker].id.run != r.run)
        world_problem(i->w, "a pause cost worker %u its run", worker);
}

static void worker_killed(injection *i) {
    unsigned worker = fault_one_worker(i);
    unsigned run = i->w->workers[worker].id.run;
    world_linger(i->w, world_between(i->w, 0, 60)); /* somewhere in a tick */
    workers_signal(i->w, worker, SIGKILL);
    fault_healed(i);
    world_until_back(i->w, i->targets, EFFECT_LIMIT_MS);
    if (i->w->workers[worker].id.run == run)
        fault_missed(i, "the worker was not killed");
}

typedef struct ticking {
    unsigned worker;
    uint64_t ticks, slow_ticks;
} ticking;

static bool has_ticked(world *w, void *arg) {
    const ticking *t = arg;
    return w->workers[t->worker].control->ticks > t->ticks;
}

static bool was_slow(world *w, void *arg) {
    const ticking *t = arg;
    return w->workers[t->worker].control->slow_ticks > t->slow_ticks;
}

void fault_slow_tick(injection *i, unsigned worker, int ms) {
    worker_process *c = &i->w->workers[worker];
    ticking t = {.worker = worker, .slow_ticks = c->control->slow_ticks};
    c->control->slow_ms = ms;
    if (!world_until(i->w, was_slow, &t, EFFECT_LIMIT_MS))
        fault_missed(i, "no tick was slow");
    c->control->slow_ms = 0;
    t.ticks = c->control->ticks;
    if (!world_until(i->w, has_ticked, &t, EFFECT_LIMIT_MS)) /* the slow tick that had begun */
        fault_missed(i, "the slow tick did not end");
}

/* Ticks that take longer than the lease lives: it must be kept alive all the same (SEMANTICS 18). */
static void slow_reactor(injection *i) {
    unsigned worker = fault_one_worker(i);
    unsigned run = i->w->workers[worker].id.run;
    fault_slow_tick(i, worker, i->brief ? 3000 : world_between(i->w, 2500, 6000));
    fault_healed(i);
    if (i->w->workers[worker].id.run != run)
        world_problem(i->w, "a slow tick cost worker %u its session", worker);
}

static const char *const fenced[] = {"fence_session=on", NULL};
static const char *const fenced_short_lease[] = {"fence_session=on", "session_ttl_s=2", NULL};
static const char *const short_lease[] = {"session_ttl_s=2", NULL};
static const char *const short_lease_slow[] = {"session_ttl_s=2", "slow_tick_ms=400", NULL};

/* A short lease is kept alive three times in its TTL by a thread that does nothing else. */
const fault faults_of_workers[] = {
    {"lease-revoked", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, lease_revoked,
     "somebody revokes the receipt's lease, or the one of the worker_id"},
    {"session-revoked", ON_ONE | ON_THREE, ENDS_SESSION, fenced, fault_end_session,
     "somebody revokes the lease of a fenced worker's session"},
    {"worker-paused", ON_ONE | ON_THREE, ENDS_NOTHING, short_lease, worker_paused,
     "SIGSTOP of a worker until its short lease is gone"},
    {"fenced-paused", ON_ONE | ON_THREE, ENDS_SESSION, fenced_short_lease, fenced_worker_paused,
     "SIGSTOP of a fenced worker until its session is gone"},
    {"worker-killed", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, worker_killed,
     "SIGKILL of a worker; a new one takes its place"},
    {"slow-reactor", ON_ONE | ON_THREE, ENDS_NOTHING, short_lease_slow, slow_reactor,
     "ticks that take longer than the lease lives"},
    {NULL},
};
