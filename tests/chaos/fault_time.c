/* Faults in which something is late or missing: answers, requests, history. */
#include "chaos/fault.h"

#include <stdio.h>

static void cut(fault_proxy *proxy, int unused) {
    (void)unused;
    fault_proxy_cut(proxy);
}

static void hold(fault_proxy *proxy, int direction) {
    fault_proxy_hold(proxy, (fault_proxy_direction)direction);
}

static void keep(fault_proxy *proxy, int direction) {
    fault_proxy_keep(proxy, (fault_proxy_direction)direction);
}

static void deliver(fault_proxy *proxy, int direction) {
    fault_proxy_deliver(proxy, (fault_proxy_direction)direction);
}

static void swallow(fault_proxy *proxy, int direction) {
    fault_proxy_swallow(proxy, (fault_proxy_direction)direction);
}

/* ---- answers ---- */

typedef struct quiet {
    unsigned worker;
    uint64_t groups;
    int64_t since_us;
} quiet;

/* The worker has committed nothing for a while: it waits for an answer or for an event. */
static bool is_quiet(world *w, void *arg) {
    enum { QUIET_US = 250000 };
    quiet *q = arg;
    uint64_t groups = recorder_groups(w->recorder, q->worker);
    int64_t now_us = journal_now_us();
    if (groups != q->groups)
        q->since_us = now_us;
    q->groups = groups;
    return now_us - q->since_us > QUIET_US;
}

static bool is_resolved(world *w, void *arg) {
    const quiet *q = arg;
    return w->workers[q->worker].control->resolved > q->groups;
}

/* Discards the answer to a transaction after etcd has committed it. The worker can ask again after `meanwhile_ms`.
 * Returns false if an event was discarded instead, or if `must_delete` and no other worker deleted anything meanwhile.
 */
static bool swallow_once(injection *i, unsigned worker, int meanwhile_ms, bool must_delete) {
    quiet resolved = {.worker = worker, .groups = i->w->workers[worker].control->resolved};
    quiet q = {.worker = worker, .since_us = journal_now_us()};
    fault_each_proxy(i, -1, swallow, FAULT_PROXY_DOWN);
    world_until(i->w, is_quiet, &q, EFFECT_LIMIT_MS);
    uint64_t deletions = recorder_deletions(i->w->recorder, worker);
    world_linger(i->w, meanwhile_ms);
    bool deleted = recorder_deletions(i->w->recorder, worker) > deletions;
    fault_mend_proxies(i->w);
    fault_healed(i);
    world_until_back(i->w, i->targets, EFFECT_LIMIT_MS);
    /* the worker updates its counts every few milliseconds */
    bool hit = world_until(i->w, is_resolved, &resolved, 100);
    return hit && (deleted || !must_delete);
}

static void swallow_answer(injection *i, int least_ms, int longest_ms, bool must_delete) {
    unsigned worker = fault_one_worker(i), attempts = 10;
    while (!swallow_once(i, worker, world_between(i->w, least_ms, longest_ms), must_delete))
        if (--attempts == 0) {
            fault_missed(i, "no outcome was unknown");
            return;
        }
}

static void answer_swallowed(injection *i) {
    swallow_answer(i, 0, 50, false);
}

/* The same while all workers clear seats: what the lost transaction compared may become as it was before. */
static void answer_undone(injection *i) {
    for (unsigned n = 0; n < WORKERS; n++)
        i->w->workers[n].control->clearing = true;
    swallow_answer(i, 100, i->brief ? 500 : 3000, true);
}

/* ---- requests ---- */

static bool is_stuck(world *w, void *arg) {
    enum { STUCK_US = 400000 };
    const worker_process *c = arg;
    (void)w;
    return c->undecided > 0 && journal_now_us() - c->last_made_us > STUCK_US;
}

static bool is_decided(world *w, void *arg) {
    const worker_process *c = arg;
    (void)w;
    return c->undecided == 0;
}

/* Holds a transaction of the worker to the member. If none is sent to it before the connection is detected to be
 * silent, none will be. */
static bool hold_one(injection *i, worker_process *c, int node) {
    enum { UNNOTICED_MS = 8000, ATTEMPTS = 5 };
    for (int n = 0; n < ATTEMPTS; n++) {
        fault_each_proxy(i, node, hold, FAULT_PROXY_UP);
        if (world_until(i->w, is_stuck, c, UNNOTICED_MS))
            return true;
        fault_mend_proxies(i->w);
        world_linger(i->w, 2000); /* until the connection is made again */
    }
    return false;
}

/* A transaction is held before one member. The worker resolves its outcome through another member. Then the copy
 * arrives during the long tick that follows: too late to be applied, whatever happened in between. The other workers
 * free and take seats, so what the copy compares may hold again; only the receipt, or the receipt bump, refuses it. */
static void late_copy(injection *i) {
    enum { TICK_MS = 2000 };
    unsigned worker = fault_one_worker(i);
    worker_process *c = &i->w->workers[worker];
    int node = (int)world_roll(i->w, (uint64_t)i->w->nodes);
    uint64_t held = fault_counts(i).held[0];
    for (unsigned n = 0; n < WORKERS; n++)
        i->w->workers[n].control->clearing = true;
    c->control->seats_only = true;
    c->control->slow_ms = TICK_MS;
    bool stuck = hold_one(i, c, node);
    fault_each_proxy(i, node, keep, FAULT_PROXY_UP);
    bool decided = world_until(i->w, is_decided, c, EFFECT_LIMIT_MS);
    world_linger(i->w, world_between(i->w, 0, TICK_MS / 2));
    uint64_t passed = fault_proxy_count(c->proxies[node]).passed[0];
    fault_each_proxy(i, node, deliver, FAULT_PROXY_UP);
    world_linger(i->w, 300); /* so that etcd accepts it while the connection is open */
    bool delivered = fault_proxy_count(c->proxies[node]).passed[0] > passed;
    c->control->seats_only = false;
    c->control->slow_ms = 0;
    fault_mend_proxies(i->w);
    fault_healed(i);
    if (!stuck || !decided || !delivered || fault_counts(i).held[0] == held)
        fault_missed(i, stuck ? "nothing was late" : "no transaction was held");
}

/* ---- history ---- */

static bool is_ahead(world *w, void *arg) {
    return recorder_revision(w->recorder) >= *(const int64_t *)arg;
}

static bool is_loaded(world *w, void *arg) {
    const quiet *q = arg;
    return w->workers[q->worker].control->snapshots > q->groups;
}

static void compacted(injection *i) {
    unsigned worker = fault_one_worker(i);
    unsigned run = i->w->workers[worker].id.run;
    quiet loaded = {.worker = worker, .groups = i->w->workers[worker].control->snapshots};
    ew_error err = {0};
    fault_each_proxy(i, -1, cut, 0);
    int64_t ahead = recorder_revision(i->w->recorder) + 20;
    if (!world_until(i->w, is_ahead, &ahead, EFFECT_LIMIT_MS))
        fault_missed(i, "the other workers committed nothing");
    else if (ew_client_compact(i->w->client, ahead, &EW_COMPACT_OPTIONS(.physical = true), &err) != EW_OK)
        fault_missed(i, "cannot compact: %s", err.detail);
    fault_mend_proxies(i->w);
    fault_healed(i);
    if (!world_until(i->w, is_loaded, &loaded, EFFECT_LIMIT_MS) && i->w->workers[worker].id.run == run)
        fault_missed(i, "the worker did not reload the prefix");
}

/* More revisions than etcd sends in one response (ETCD P1). */
static void backlog(injection *i) {
    enum { REVISIONS = 1500 };
    unsigned worker = fault_one_worker(i);
    unsigned run = i->w->workers[worker].id.run;
    uint64_t snapshots = i->w->workers[worker].control->snapshots;
    ew_error err = {0};
    fault_each_proxy(i, -1, cut, 0);
    for (int n = 0; n < REVISIONS; n++) {
        char key[96];
        snprintf(key, sizeof key, "%s/noise/%d", i->w->prefix, n % 10);
        if (ew_client_put(i->w->client, ew_str(key), EW_STR("noise"), NULL, NULL, &err) != EW_OK)
            fault_missed(i, "cannot write the backlog: %s", err.detail);
        if (n % 20 == 0)
            world_linger(i->w, 0);
    }
    fault_mend_proxies(i->w);
    /* The backlog comes slowly, and the connection breaks in the middle. */
    fault_each_proxy(i, -1, fault_proxy_throttle, 150000);
    world_linger(i->w, world_between(i->w, 300, 1500));
    fault_each_proxy(i, -1, cut, 0);
    fault_mend_proxies(i->w);
    fault_healed(i);
    world_until_back(i->w, i->targets, EFFECT_LIMIT_MS);
    if (i->w->workers[worker].id.run != run || i->w->workers[worker].control->snapshots != snapshots)
        fault_missed(i, "the worker reloaded the prefix instead");
}

static const char *const without_counter[] = {"delete_counter=off", NULL};
/* A long session lease, so that a slow etcd may take its time over these revisions without the lease expiring. */
static const char *const long_lease[] = {"session_ttl_s=60", NULL};

const fault faults_of_time[] = {
    {"answer-swallowed", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, answer_swallowed,
     "a transaction is committed and its answer is lost"},
    {"answer-undone", ON_ONE | ON_THREE, ENDS_NOTHING, without_counter, answer_undone,
     "the same, while other workers delete and create keys"},
    {"late-copy", ON_THREE, ENDS_NOTHING, without_counter, late_copy,
     "a transaction arrives after its outcome was resolved"},
    {"compacted", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, compacted, "history is compacted while a worker is cut off"},
    {"backlog", ON_ONE | ON_THREE, ENDS_NOTHING, long_lease, backlog,
     "1,500 revisions while a worker is cut off; then they come slowly and the connection breaks"},
    {NULL},
};
