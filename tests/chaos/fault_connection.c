/* Faults of the connections between workers and etcd. */
#include "chaos/fault.h"

#include <string.h>

/* Applies `order` to the targets' fault proxies of one node, or of all nodes if `node` is -1. */
void fault_each_proxy(injection *i, int node, void (*order)(fault_proxy *, int), int argument) {
    for (unsigned n = 0; n < WORKERS; n++)
        for (int k = 0; (i->targets & 1u << n) != 0 && k < i->w->nodes; k++)
            if (node < 0 || k == node)
                order(i->w->workers[n].proxies[k], argument);
}

fault_proxy_counts fault_counts(const injection *i) {
    fault_proxy_counts sum = {0};
    for (unsigned n = 0; n < WORKERS; n++) {
        for (int k = 0; (i->targets & 1u << n) != 0 && k < i->w->nodes; k++) {
            fault_proxy_counts c = fault_proxy_count(i->w->workers[n].proxies[k]);
            sum.made += c.made;
            sum.broken += c.broken;
            sum.torn += c.torn;
            for (int direction = 0; direction < 2; direction++) {
                sum.passed[direction] += c.passed[direction];
                sum.swallowed[direction] += c.swallowed[direction];
                sum.held[direction] += c.held[direction];
                sum.late[direction] += c.late[direction];
            }
        }
    }
    return sum;
}

static void cut(fault_proxy *proxy, int unused) {
    (void)unused;
    fault_proxy_cut(proxy);
}

static void hold(fault_proxy *proxy, int direction) {
    fault_proxy_hold(proxy, (fault_proxy_direction)direction);
}

static void swallow(fault_proxy *proxy, int direction) {
    fault_proxy_swallow(proxy, (fault_proxy_direction)direction);
}

static void tear(fault_proxy *proxy, int direction) {
    fault_proxy_tear(proxy, (fault_proxy_direction)direction);
}

void fault_mend_proxies(world *w) {
    for (unsigned n = 0; n < WORKERS; n++)
        for (int k = 0; k < w->nodes; k++)
            fault_proxy_mend(w->workers[n].proxies[k]);
}

/* Targets one worker, and every second time all of them. */
static void choose_targets(injection *i) {
    if (i->times % 2 == 0)
        fault_one_worker(i);
    else
        i->targets = ALL_WORKERS;
}

static void link_cut(injection *i) {
    choose_targets(i);
    uint64_t broken = fault_counts(i).broken;
    fault_each_proxy(i, -1, cut, 0);
    world_linger(i->w, i->brief ? 500 : world_between(i->w, 20, 4000));
    fault_mend_proxies(i->w);
    fault_healed(i);
    if (fault_counts(i).broken == broken)
        fault_missed(i, "no connection was broken");
}

/* A partition that lets one direction through. Bytes that are held arrive when it ends, however late. */
static void one_way(injection *i, fault_proxy_direction direction) {
    choose_targets(i);
    uint64_t held = fault_counts(i).held[direction == FAULT_PROXY_DOWN];
    int node = i->w->nodes > 1 && i->times % 3 == 2 ? (int)world_roll(i->w, (uint64_t)i->w->nodes) : -1;
    fault_each_proxy(i, node, hold, direction);
    world_linger(i->w, i->brief ? 1500 : world_between(i->w, 200, 12000));
    fault_mend_proxies(i->w);
    fault_healed(i);
    if (fault_counts(i).held[direction == FAULT_PROXY_DOWN] == held)
        fault_missed(i, "no bytes were held");
}

static void one_way_up(injection *i) {
    one_way(i, FAULT_PROXY_UP);
}

static void one_way_down(injection *i) {
    one_way(i, FAULT_PROXY_DOWN);
}

/* ---- half-open ---- */

static bool knows(world *w, void *arg) {
    const injection *i = arg;
    for (unsigned n = 0; n < WORKERS; n++)
        if ((i->targets & 1u << n) != 0 && w->workers[n].control->ready)
            return false;
    return true;
}

/* One node: the worker reports that it is not ready. */
static void half_open_one(injection *i) {
    int64_t began_us = journal_now_us();
    fault_each_proxy(i, -1, swallow, FAULT_PROXY_BOTH);
    bool known = world_until(i->w, knows, i, EFFECT_LIMIT_MS);
    i->noticed_us = journal_now_us() - began_us;
    if (!known)
        fault_missed(i, "the silent connection was not detected");
}

enum { STANDSTILL_US = 1000000 };

typedef struct standstill {
    injection *injection;
    int64_t began_us;
} standstill;

/* Each target has had a gap without commits that load does not explain, and has committed since. */
static bool has_gone_on(world *w, void *arg) {
    const standstill *s = arg;
    for (unsigned n = 0; n < WORKERS; n++)
        if ((s->injection->targets & 1u << n) != 0 && w->workers[n].gap_us < STANDSTILL_US)
            return false;
    return true;
}

/* Three nodes: the worker goes on with the other two. A third of its calls go to the silent node, so it must meet it.
 */
void fault_await_detour(injection *i) {
    standstill s = {i, journal_now_us()};
    workers_measure_gaps(i->w);
    bool all = world_until(i->w, has_gone_on, &s, NOTICE_LIMIT_MS + 3000);
    i->noticed_us = 0;
    for (unsigned n = 0; n < WORKERS; n++) {
        const worker_process *c = &i->w->workers[n];
        if (!all && (i->targets & 1u << n) != 0 && c->gap_us < STANDSTILL_US)
            fault_missed(i, "worker %u had no gap longer than %lld ms; its last commit was %lld ms ago", n,
                         (long long)(c->gap_us / 1000), (long long)((journal_now_us() - c->last_done_us) / 1000));
        int64_t still_us = journal_now_us() - (c->last_done_us > s.began_us ? c->last_done_us : s.began_us);
        int64_t longest_us = c->gap_us > still_us ? c->gap_us : still_us;
        if ((i->targets & 1u << n) != 0 && longest_us > i->noticed_us)
            i->noticed_us = longest_us;
    }
}

typedef struct traffic {
    injection *injection;
    int node;
    uint64_t passed[WORKERS];
} traffic;

/* Counts transactions, not only liveness probes. */
static bool has_passed(world *w, void *arg) {
    enum { BYTES = 1500 };
    const traffic *t = arg;
    for (unsigned n = 0; n < WORKERS; n++)
        if ((t->injection->targets & 1u << n) != 0 &&
            fault_proxy_count(w->workers[n].proxies[t->node]).passed[0] < t->passed[n] + BYTES)
            return false;
    return true;
}

void fault_await_traffic(injection *i, int node) {
    traffic t = {i, node, {0}};
    for (unsigned n = 0; n < WORKERS; n++)
        t.passed[n] = fault_proxy_count(i->w->workers[n].proxies[node]).passed[0];
    if (!world_until(i->w, has_passed, &t, EFFECT_LIMIT_MS))
        fault_missed(i, "no worker uses node %d", node);
}

static void half_open(injection *i) {
    choose_targets(i);
    fault_proxy_counts before = fault_counts(i);
    if (i->w->nodes == 1) {
        half_open_one(i);
    } else {
        int node = (int)world_roll(i->w, (uint64_t)i->w->nodes);
        fault_await_traffic(i, node);
        fault_each_proxy(i, node, swallow, FAULT_PROXY_BOTH);
        fault_await_detour(i);
    }
    fault_mend_proxies(i->w);
    fault_healed(i);
    if (fault_counts(i).swallowed[0] == before.swallowed[0])
        fault_missed(i, "nothing was swallowed");
}

/* ---- torn frames ---- */

typedef struct tearing {
    injection *injection;
    uint64_t torn;
} tearing;

static bool is_torn(world *w, void *arg) {
    (void)w;
    const tearing *t = arg;
    return fault_counts(t->injection).torn >= t->torn;
}

static void torn_frame(injection *i) {
    fault_one_worker(i);
    tearing t = {i, fault_counts(i).torn};
    int rounds = i->brief ? 2 : world_between(i->w, 1, 5);
    for (int n = 0; n < rounds; n++) {
        t.torn++;
        fault_each_proxy(i, -1, tear, n % 2 == 0 ? FAULT_PROXY_UP : FAULT_PROXY_DOWN);
        if (!world_until(i->w, is_torn, &t, EFFECT_LIMIT_MS))
            fault_missed(i, "nothing was torn");
    }
    fault_mend_proxies(i->w);
    fault_healed(i);
}

/* ---- slow ---- */

typedef struct working {
    uint64_t committed[WORKERS];
} working;

static bool has_worked(world *w, void *arg) {
    const working *before = arg;
    for (unsigned n = 0; n < WORKERS; n++)
        if (w->workers[n].committed == before->committed[n])
            return false;
    return true;
}

static void slow_connection(injection *i, void (*order)(fault_proxy *, int), int argument) {
    i->targets = ALL_WORKERS;
    uint64_t late = fault_counts(i).late[0];
    working before;
    for (unsigned n = 0; n < WORKERS; n++)
        before.committed[n] = i->w->workers[n].committed;
    fault_each_proxy(i, -1, order, argument);
    world_linger(i->w, i->brief ? 2500 : world_between(i->w, 2000, 8000));
    if (!world_until(i->w, has_worked, &before, EFFECT_LIMIT_MS))
        fault_missed(i, "no work was done");
    fault_mend_proxies(i->w);
    fault_healed(i);
    if (fault_counts(i).late[0] == late)
        fault_missed(i, "nothing was late");
}

static void latency(injection *i) {
    slow_connection(i, fault_proxy_delay, world_between(i->w, 10, 200));
}

static void throttle(injection *i) {
    slow_connection(i, fault_proxy_throttle, world_between(i->w, 4000, 32000));
}

const fault faults_of_connections[] = {
    {"link-cut", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, link_cut, "connections are closed, and new ones too"},
    {"one-way-up", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, one_way_up,
     "requests are held, and arrive when the fault ends"},
    {"one-way-down", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, one_way_down,
     "answers and events are held, and arrive when the fault ends"},
    {"half-open", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, half_open, "connections stay open, and all bytes are lost"},
    {"torn-frame", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, torn_frame, "connections are reset in the middle of a frame"},
    {"latency", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, latency, "10 to 200 ms in each direction"},
    {"throttle", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, throttle, "4 to 32 kB a second in each direction"},
    {NULL},
};
