/* Faults of etcd's history: etcd returns with an older state under the same cluster id (SEMANTICS 14, ETCD P14). */
#include "chaos/fault.h"

#include <stdio.h>

enum { LOST_MS = 700, OUTCOMES_MS = 300, IDLE_US = 200000, PASS_LIMIT_MS = 20000 };

static void cut(fault_proxy *proxy, int unused) {
    (void)unused;
    fault_proxy_cut(proxy);
}

static bool is_idle(world *w, void *arg) {
    const worker_process *c = arg;
    (void)w;
    return c->undecided == 0 && journal_now_us() - c->last_made_us > IDLE_US;
}

/* Makes one worker idle, and waits until it is. No commit of its own will be lost, so only the events that it has seen
 * can tell it that etcd was restored. */
static worker_process *make_one_idle(injection *i) {
    worker_process *c = &i->w->workers[world_roll(i->w, WORKERS)];
    c->control->idle = true;
    if (!world_until(i->w, is_idle, c, EFFECT_LIMIT_MS))
        fault_missed(i, "worker %u did not become idle", c->id.worker);
    return c;
}

/* Cuts all workers off, and waits until all answers that arrived have been reported. */
static void cut_off(injection *i) {
    fault_each_proxy(i, -1, cut, 0);
    world_linger(i->w, OUTCOMES_MS);
}

static bool is_seen(world *w, void *arg) {
    return recorder_revision(w->recorder) >= *(const int64_t *)arg;
}

/* Kills etcd. Returns the time, and in `*revision` etcd's last revision, which the recorder has seen. */
static int64_t take_away(injection *i, int64_t *revision) {
    world *w = i->w;
    char key[96];
    ew_result *result = NULL;
    snprintf(key, sizeof key, "%s/zz", w->prefix); /* the last change, which the recorder waits for */
    if (ew_client_put(w->client, ew_str(key), EW_STR("lost"), NULL, &result, NULL) != EW_OK)
        world_problem(w, "cannot write the end of the lost history");
    *revision = result ? ew_result_revision(result) : 0;
    ew_result_free(result);
    if (!world_until(w, is_seen, revision, EFFECT_LIMIT_MS))
        world_problem(w, "the recorder has not seen the end of the lost history");
    for (unsigned n = 0; n < WORKERS; n++)
        w->workers[n].control->restores++;
    for (int k = 0; k < w->nodes; k++)
        etcd_server_kill(w->node[k]);
    return journal_now_us();
}

static void start_all(world *w) {
    for (int k = 0; k < w->nodes; k++)
        etcd_server_restart_without_waiting(w->node[k]);
    for (int k = 0; k < w->nodes; k++)
        etcd_server_restart(w->node[k]); /* it runs already: only waits until it answers */
}

/* ---- whether the old revision is passed before a worker reconnects ---- */

static void pass_with_own_client(world *w, int64_t revision) {
    char key[96];
    snprintf(key, sizeof key, "%s/other", w->prefix);
    while (world_revision(w) <= revision && w->problem[0] == '\0')
        if (ew_client_put(w->client, ew_str(key), EW_STR("passes"), NULL, NULL, NULL) != EW_OK)
            world_problem(w, "cannot write after the restore");
}

static bool has_passed(world *w, void *arg) {
    return world_revision(w) > *(const int64_t *)arg;
}

/* Reconnects one worker before the others. What it writes is what the others have missed. */
static void pass_by_worker(injection *i, const worker_process *idle, int64_t revision) {
    unsigned after_idle = idle->id.worker + 1 + (unsigned)world_roll(i->w, WORKERS - 1);
    const worker_process *c = &i->w->workers[after_idle % WORKERS];
    for (int k = 0; k < i->w->nodes; k++)
        fault_proxy_mend(c->proxies[k]);
    if (!world_until(i->w, has_passed, &revision, PASS_LIMIT_MS))
        fault_missed(i, "one worker did not pass the old revision");
}

typedef struct findings {
    unsigned runs[WORKERS];
    uint64_t rewritten[WORKERS];
} findings;

static findings look(const world *w) {
    findings f;
    for (unsigned n = 0; n < WORKERS; n++) {
        f.runs[n] = w->workers[n].control->run;
        f.rewritten[n] = w->workers[n].control->rewritten;
    }
    return f;
}

/* Every worker must detect the restore. The idle one has seen what is lost, each of the others has committed it. */
static bool all_found_out(world *w, void *arg) {
    const findings *before = arg;
    findings now = look(w);
    for (unsigned n = 0; n < WORKERS; n++)
        if (now.runs[n] == before->runs[n] && now.rewritten[n] == before->rewritten[n])
            return false;
    return true;
}

/* Starts etcd again, tells the ledger, and lets a client or one worker pass the old revision before the others
 * reconnect. Then the idle worker works again. */
static void come_back(injection *i, worker_process *idle, int64_t revision, int64_t away_us, bool may_pass) {
    world *w = i->w;
    findings before = look(w);
    start_all(w);
    int64_t kept = world_revision(w);
    if (kept >= revision)
        fault_missed(i, "nothing was lost");
    world_rewrite(w, kept, away_us);
    unsigned how = may_pass ? i->times % 3 : 2;
    if (how == 0)
        pass_with_own_client(w, revision);
    else if (how == 1)
        pass_by_worker(i, idle, revision);
    fault_mend_proxies(w);
    fault_healed(i);
    if (!world_until(w, all_found_out, &before, EFFECT_LIMIT_MS))
        world_problem(w, "a worker did not detect that etcd was restored");
    idle->control->idle = false;
}

/* ---- the faults ---- */

static void restored(injection *i) {
    world *w = i->w;
    char path[224];
    int64_t revision;
    i->targets = ALL_WORKERS;
    worker_process *idle = make_one_idle(i);
    snprintf(path, sizeof path, "%s/saved-%u", w->directory, i->times);
    etcd_server_save(w->node[0], path);
    world_linger(w, i->brief ? LOST_MS : world_between(w, LOST_MS, 4000));
    cut_off(i);
    int64_t away_us = take_away(i, &revision);
    for (int k = 0; k < w->nodes; k++)
        etcd_server_restore(w->node[k], path);
    come_back(i, idle, revision, away_us, true);
}

static void data_aged(injection *i) {
    world *w = i->w;
    char path[224];
    int64_t revision;
    i->targets = ALL_WORKERS;
    worker_process *idle = make_one_idle(i);
    unsigned others = ALL_WORKERS & ~(1u << idle->id.worker);
    snprintf(path, sizeof path, "%s/data-%u", w->directory, i->times);
    etcd_server_kill(w->node[0]);
    etcd_server_keep_data(w->node[0], path);
    etcd_server_restart(w->node[0]);
    workers_await(w, others, journal_now_us());
    if (!world_until_back(w, others, EFFECT_LIMIT_MS))
        fault_missed(i, "no commit could be lost");
    world_linger(w, i->brief ? LOST_MS : world_between(w, LOST_MS, 4000));
    cut_off(i);
    int64_t away_us = take_away(i, &revision);
    etcd_server_age(w->node[0], path);
    come_back(i, idle, revision, away_us, true);
}

/* An empty data directory. If others passed the old revision, an unknown outcome would stay unknown. */
static void data_wiped(injection *i) {
    int64_t revision;
    i->targets = ALL_WORKERS;
    worker_process *idle = make_one_idle(i);
    cut_off(i);
    int64_t away_us = take_away(i, &revision);
    for (int k = 0; k < i->w->nodes; k++)
        etcd_server_wipe(i->w->node[k]);
    come_back(i, idle, revision, away_us, false);
}

const fault faults_of_history[] = {
    {"restored", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, restored, "etcd is restored from a snapshot"},
    {"data-aged", ON_ONE, ENDS_NOTHING, NULL, data_aged, "etcd is started with an older data directory"},
    {"data-wiped", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, data_wiped, "etcd is started with an empty data directory"},
    {NULL},
};
