/* Faults of the workers themselves. */
#include "chaos/fault.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* Returns the lease of a key of the worker, below its receipt; 0 if there is none. */
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

#define OWNER       "/owner"
#define SESSION_KEY "/session"
#define RECEIPT     ""

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
        fault_missed(i, "cannot revoke the lease: %s", err.detail);
    return revoked;
}

void fault_end_session(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = SESSION_KEY};
    take_lease(i, &r);
    fault_healed(i);
    if (!world_until(i->w, has_ended, &r, EFFECT_LIMIT_MS) || i->w->workers[worker].end_status != EW_ERR_SESSION_DONE)
        fault_missed(i, "the worker did not end");
}

/* Revokes the lease of the receipt or the one of the worker_id: each is replaced, and the run goes on. */
static void lease_revoked(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = i->times % 2 == 0 ? RECEIPT : OWNER};
    if (take_lease(i, &r) && !world_until(i->w, has_another_lease, &r, EFFECT_LIMIT_MS))
        fault_missed(i, "%s got no new lease", i->times % 2 == 0 ? "the receipt" : "the hold on worker_id");
    fault_healed(i);
    if (i->w->workers[worker].id.run != r.run)
        world_problem(i->w, "a lost lease cost worker %u its run", worker);
}

/* SIGSTOP until etcd has expired the key's lease. */
static void pause_worker(injection *i, one_run *r) {
    worker_process *c = &i->w->workers[r->worker];
    r->lease = lease_of(i->w, r->worker, r->run, r->suffix);
    workers_signal(i->w, r->worker, SIGSTOP);
    if (waitpid(c->pid, NULL, WUNTRACED) != c->pid)
        fault_missed(i, "the worker did not stop");
    if (!world_until(i->w, has_no_lease, r, EFFECT_LIMIT_MS))
        fault_missed(i, "the worker's lease did not expire");
    workers_signal(i->w, r->worker, SIGCONT);
    fault_healed(i);
}

/* What the worker sends after SIGCONT must be refused. */
static void fenced_worker_paused(injection *i) {
    unsigned worker = fault_one_worker(i);
    one_run r = {.worker = worker, .run = i->w->workers[worker].id.run, .suffix = SESSION_KEY};
    pause_worker(i, &r);
    if (!world_until(i->w, has_ended, &r, EFFECT_LIMIT_MS) || i->w->workers[worker].end_status != EW_ERR_SESSION_DONE)
        fault_missed(i, "the worker did not end");
}

/* The worker has asked for no session, and no other worker has taken its id: it goes on. */
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
    world_linger(i->w, world_between(i->w, 0, 60)); /* at any moment of a tick */
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
    if (!world_until(i->w, has_ticked, &t, EFFECT_LIMIT_MS)) /* waits for the end of the slow tick */
        fault_missed(i, "the slow tick did not end");
}

/* Ticks that take longer than the lease's TTL: the lease must be kept alive (SEMANTICS 18). */
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

/* A thread that does nothing else keeps a short lease alive, three times in its TTL. */
const fault faults_of_workers[] = {
    {"lease-revoked", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, lease_revoked,
     "the lease of the receipt or of the worker_id is revoked"},
    {"session-revoked", ON_ONE | ON_THREE, ENDS_SESSION, fenced, fault_end_session,
     "the lease of a fenced worker's session is revoked"},
    {"worker-paused", ON_ONE | ON_THREE, ENDS_NOTHING, short_lease, worker_paused,
     "SIGSTOP of a worker until its short lease has expired"},
    {"fenced-paused", ON_ONE | ON_THREE, ENDS_SESSION, fenced_short_lease, fenced_worker_paused,
     "SIGSTOP of a fenced worker until its session has expired"},
    {"worker-killed", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, worker_killed, "SIGKILL of a worker, which is replaced"},
    {"slow-reactor", ON_ONE | ON_THREE, ENDS_NOTHING, short_lease_slow, slow_reactor,
     "ticks that take longer than the lease's TTL"},
    {NULL},
};
