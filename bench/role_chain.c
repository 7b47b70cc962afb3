/* A worker that adds one to a key in each tick: the next tick comes only when the watch has shown the change. */
#include "role.h"
#include "steps.h"

#include <etcdworker/etcdworker.h>

#include <stdio.h>

typedef struct chain {
    char key[128];
    int64_t ticks, target, seen; /* seen: the value of the last tick */
    bool begun;
    int64_t ticked_ns;
    usage from, to;
    histogram latency; /* from a tick to the tick that sees its write */
} chain;

static int add_one(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t value = 0;
    if (current && !ew_slice_int(current->value, &value))
        return EW_ERR_REACTOR;
    int status = ew_value_set_int(next, value + 1);
    steps_ended(STEP_EVALUATE);
    return status;
}

static int tick_once(chain *c, ew_tick *t, int64_t now) {
    ew_slice key = ew_str(c->key);
    ew_entry e;
    int64_t value = 0;
    if (ew_tick_get(t, key, &e) == EW_OK && !ew_slice_int(e.value, &value))
        return EW_ERR_REACTOR;
    if (!c->begun) {
        c->begun = true;
        c->target = value + c->ticks;
        c->from = usage_now();
    } else if (value != c->seen + 1) {
        return EW_ERR_REACTOR; /* the tick must see the previous tick's write, applied once */
    } else {
        histogram_add(&c->latency, (uint64_t)(now - c->ticked_ns));
    }
    c->seen = value;
    if (value == c->target) {
        c->to = usage_now();
        return EW_FINISHED;
    }
    c->ticked_ns = now;
    return ew_group_modify(ew_tick_group(t), key, add_one, NULL, NULL);
}

static int chain_tick(void *self, ew_tick *t) {
    int64_t now = now_ns();
    steps_tick(now);
    int status = tick_once(self, t, now);
    steps_ended(STEP_TICK);
    return status;
}

static void run(const role_args *a, const ew_reactor *reactor, void *self, ew_worker_stats *stats) {
    ew_options *o = args_options(a);
    ew_worker *w;
    ew_error err = {0};
    int status = ew_worker_open(&w, o, reactor, self, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    if (status != EW_OK)
        role_fail("the worker ended: %s: %s", ew_strerror(status), err.detail);
    stats->size = sizeof *stats;
    ew_worker_get_stats(w, stats);
    ew_worker_close(w);
    ew_options_free(o);
}

static void add_stats(json_t *result, const ew_worker_stats *s) {
    json_object_set_new(result, "txns", json_integer((json_int_t)s->txns));
    json_object_set_new(result, "groups_refused", json_integer((json_int_t)s->groups_refused));
}

void role_chain(const role_args *a) {
    static const ew_reactor reactor = EW_REACTOR(.tick = chain_tick);
    static chain c;
    c.ticks = args_int(a, "ticks", 2000);
    snprintf(c.key, sizeof c.key, "%s/counter", args_text(a, "prefix", "/bench"));
    int64_t started_ns = now_ns();
    ew_worker_stats stats = {0};
    steps_begin();
    run(a, &reactor, &c, &stats);
    if (c.seen != c.target || (int64_t)stats.txns < c.ticks)
        role_fail("only %lld of %lld ticks, %llu transactions", (long long)(c.ticks - (c.target - c.seen)),
                  (long long)c.ticks, (unsigned long long)stats.txns);
    json_t *result = json_object();
    usage_report(result, &c.from, &c.to, c.ticks);
    role_add_latency(result, &c.latency);
    steps_report(result);
    add_stats(result, &stats);
    json_object_set_new(result, "load_s", json_real((double)(c.from.at_ns - started_ns) / 1e9));
    json_object_set_new(result, "keys", json_integer((json_int_t)stats.keys));
    role_say(result);
}

/* ---- groups: 64 a tick ---- */

enum { GROUPS = 64, GROUP_KEYS = 1024 };

typedef struct groups {
    const char *prefix;
    int64_t ticks, done;
    int64_t ticked_ns;
    usage from, to;
    histogram latency;
    int64_t sum; /* of all keys, in the last tick */
} groups;

static int64_t sum_of(ew_tick *t) {
    int64_t sum = 0, value;
    for (ew_entry e = {0}; ew_tick_scan(t, EW_STR(""), &e);)
        if (ew_slice_int(e.value, &value))
            sum += value;
    return sum;
}

static int make_groups(groups *g, ew_tick *t, int64_t now) {
    if (g->done == 0)
        g->from = usage_now();
    else
        histogram_add(&g->latency, (uint64_t)(now - g->ticked_ns));
    g->ticked_ns = now;
    if (g->done == g->ticks) {
        g->to = usage_now();
        g->sum = sum_of(t);
        return EW_FINISHED;
    }
    for (int64_t i = 0; i < GROUPS; i++) {
        char key[128];
        int len = snprintf(key, sizeof key, "%s/%lld", g->prefix, (long long)((GROUPS * g->done + i) % GROUP_KEYS));
        ew_group_modify(ew_tick_group(t), (ew_slice){key, (size_t)len}, add_one, NULL, NULL);
    }
    g->done++;
    return EW_OK;
}

static int groups_tick(void *self, ew_tick *t) {
    int64_t now = now_ns();
    steps_tick(now);
    int status = make_groups(self, t, now);
    steps_ended(STEP_TICK);
    return status;
}

void role_groups(const role_args *a) {
    static const ew_reactor reactor = EW_REACTOR(.tick = groups_tick);
    static groups g;
    steps_begin();
    g.prefix = args_text(a, "prefix", "/bench");
    g.ticks = args_int(a, "ticks", 2000);
    ew_worker_stats stats = {0};
    run(a, &reactor, &g, &stats);
    if (g.sum != g.ticks * GROUPS)
        role_fail("the keys add up to %lld instead of %lld", (long long)g.sum, (long long)(g.ticks * GROUPS));
    json_t *result = json_object();
    usage_report(result, &g.from, &g.to, g.ticks * GROUPS);
    role_add_latency(result, &g.latency);
    steps_report(result);
    add_stats(result, &stats);
    json_object_set_new(result, "ticks", json_integer(g.ticks));
    role_say(result);
}
