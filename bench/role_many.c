/* Several workers in one process: contend (one client for each worker, one key) and fanin (one client, one prefix for
 * each worker). */
#include "role.h"

#include <etcdworker/etcdworker.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct crew crew;

typedef struct member {
    crew *crew;
    ew_worker *worker;
    char key[128];
    bool arrived;
    int64_t left; /* fanin: remaining ticks; -1 before the first */
    int64_t expected, ticked_ns;
    histogram latency;
} member;

struct crew {
    int64_t count, target;
    member *members;
    _Atomic int64_t arrived, finished, last; /* last: the value that the last worker saw */
    usage from, to;
    int64_t threads;
};

/* Returns true once all workers have loaded. The clock starts when the last one has. */
static bool all_here(member *m) {
    crew *c = m->crew;
    if (!m->arrived) {
        m->arrived = true;
        usage here = usage_now();
        int64_t before = atomic_fetch_add(&c->arrived, 1);
        if (before == c->count - 1) {
            c->threads = usage_threads();
            c->from = here;
            atomic_fetch_add(&c->arrived, 1); /* `arrived` above `count`: `from` is written */
        }
    }
    return atomic_load(&c->arrived) > c->count;
}

static int finished(member *m) {
    crew *c = m->crew;
    usage here = usage_now();
    if (atomic_fetch_add(&c->finished, 1) == c->count - 1)
        c->to = here;
    return EW_FINISHED;
}

static int read_value(const member *m, ew_tick *t, int64_t *value) {
    ew_entry e;
    *value = 0;
    if (ew_tick_get(t, ew_str(m->key), &e) == EW_OK && !ew_slice_int(e.value, value))
        return EW_ERR_REACTOR;
    return EW_OK;
}

/* ---- contend ---- */

static int add_up_to(void *arg, const ew_entry *current, ew_value *next) {
    const crew *c = arg;
    int64_t value = 0;
    if (current && !ew_slice_int(current->value, &value))
        return EW_ERR_REACTOR;
    return value >= c->target ? EW_UNCHANGED : ew_value_set_int(next, value + 1);
}

static int contend_tick(void *self, ew_tick *t) {
    member *m = self;
    int64_t value, now = now_ns();
    if (read_value(m, t, &value) != EW_OK)
        return EW_ERR_REACTOR;
    if (!all_here(m))
        return EW_OK;
    if (m->ticked_ns != 0)
        histogram_add(&m->latency, (uint64_t)(now - m->ticked_ns));
    m->ticked_ns = now;
    if (value >= m->crew->target) {
        atomic_store(&m->crew->last, value);
        return finished(m);
    }
    return ew_group_modify(ew_tick_group(t), ew_str(m->key), add_up_to, m->crew, NULL);
}

/* ---- fanin ---- */

static int add_one(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t value = 0;
    if (current && !ew_slice_int(current->value, &value))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, value + 1);
}

static int fanin_tick(void *self, ew_tick *t) {
    member *m = self;
    int64_t value, now = now_ns();
    if (read_value(m, t, &value) != EW_OK)
        return EW_ERR_REACTOR;
    if (!all_here(m))
        return EW_OK;
    if (m->left < 0) {
        m->left = m->crew->target;
        m->expected = value;
    } else {
        histogram_add(&m->latency, (uint64_t)(now - m->ticked_ns));
    }
    if (value != m->expected)
        return EW_ERR_REACTOR;
    if (m->left == 0)
        return finished(m);
    m->left--;
    m->expected++;
    m->ticked_ns = now;
    return ew_group_modify(ew_tick_group(t), ew_str(m->key), add_one, NULL, NULL);
}

/* ---- both ---- */

static void start(member *m, int64_t number, const role_args *a, const ew_reactor *reactor, const char *prefix,
                  ew_client *client) {
    ew_error err = {0};
    ew_options *o = args_options(a);
    char name[32];
    snprintf(name, sizeof name, "worker%lld", (long long)number);
    int status = ew_options_set(o, "name", name, &err);
    if (status == EW_OK)
        status = ew_options_set(o, "prefix", prefix, &err);
    if (status == EW_OK)
        status = ew_options_set(o, "tick_interval_ms", "20", &err); /* for ticks until all workers have loaded */
    if (status == EW_OK)
        status = ew_worker_open(&m->worker, o, reactor, m, &err);
    if (status == EW_OK && client)
        status = ew_worker_set_client(m->worker, client);
    if (status == EW_OK)
        status = ew_worker_start(m->worker, &err);
    if (status != EW_OK)
        role_fail("cannot start %s: %s: %s", name, ew_strerror(status), err.detail);
    ew_options_free(o);
}

static void open_crew(crew *c, const role_args *a, int64_t count, int64_t target) {
    c->count = args_int(a, "workers", count);
    c->target = args_int(a, "ticks", target);
    c->members = calloc((size_t)c->count, sizeof *c->members);
    if (!c->members)
        role_fail("out of memory");
    for (int64_t i = 0; i < c->count; i++) {
        c->members[i].crew = c;
        c->members[i].left = -1;
    }
}

/* Waits for the end of all workers. Returns the sums of their statistics. */
static ew_worker_stats join_crew(crew *c) {
    ew_worker_stats sum = {.size = sizeof sum};
    for (int64_t i = 0; i < c->count; i++) {
        ew_error err = {0};
        ew_worker *w = c->members[i].worker;
        int status = ew_worker_join(w, &err);
        if (status != EW_OK)
            role_fail("worker%lld ended: %s: %s", (long long)i, ew_strerror(status), err.detail);
        ew_worker_stats s = {.size = sizeof s};
        ew_worker_get_stats(w, &s);
        sum.txns += s.txns;
        sum.groups_committed += s.groups_committed;
        sum.groups_refused += s.groups_refused;
    }
    return sum;
}

static void add_latency(json_t *result, const crew *c) {
    histogram *latency = calloc(1, sizeof *latency);
    if (!latency)
        role_fail("out of memory");
    for (int64_t i = 0; i < c->count; i++)
        histogram_merge(latency, &c->members[i].latency);
    role_add_latency(result, latency);
    free(latency);
}

static void close_crew(crew *c) {
    for (int64_t i = 0; i < c->count; i++)
        ew_worker_close(c->members[i].worker);
    free(c->members);
}

void role_contend(const role_args *a) {
    static const ew_reactor reactor = EW_REACTOR(.tick = contend_tick);
    static crew c;
    const char *prefix = args_text(a, "prefix", "/bench");
    open_crew(&c, a, 3, 600);
    for (int64_t i = 0; i < c.count; i++) {
        snprintf(c.members[i].key, sizeof c.members[i].key, "%s/counter", prefix);
        start(&c.members[i], i, a, &reactor, prefix, NULL);
    }
    ew_worker_stats s = join_crew(&c);
    if (c.last != c.target)
        role_fail("the counter is %lld instead of %lld", (long long)c.last, (long long)c.target);
    if ((int64_t)s.txns < c.target)
        role_fail("%llu transactions for %lld commits", (unsigned long long)s.txns, (long long)c.target);
    json_t *result = json_object();
    usage_report(result, &c.from, &c.to, c.target);
    json_object_set_new(result, "txns", json_integer((json_int_t)s.txns));
    json_object_set_new(result, "groups_refused", json_integer((json_int_t)s.groups_refused));
    add_latency(result, &c);
    close_crew(&c);
    role_say(result);
}

void role_fanin(const role_args *a) {
    static const ew_reactor reactor = EW_REACTOR(.tick = fanin_tick);
    static crew c;
    ew_error err = {0};
    ew_client *client;
    ew_options *o = args_options(a);
    if (ew_client_open(&client, o, &err) != EW_OK)
        role_fail("%s", err.detail);
    open_crew(&c, a, 1, 2000);
    for (int64_t i = 0; i < c.count; i++) {
        char prefix[96];
        snprintf(prefix, sizeof prefix, "%s/%lld", args_text(a, "prefix", "/bench"), (long long)i);
        snprintf(c.members[i].key, sizeof c.members[i].key, "%s/counter", prefix);
        start(&c.members[i], i, a, &reactor, prefix, client);
    }
    ew_worker_stats s = join_crew(&c);
    if ((int64_t)s.groups_committed != c.count * c.target)
        role_fail("%llu commits instead of %lld", (unsigned long long)s.groups_committed,
                  (long long)(c.count * c.target));
    json_t *result = json_object();
    usage_report(result, &c.from, &c.to, c.count * c.target);
    json_object_set_new(result, "threads", json_integer(c.threads));
    json_object_set_new(result, "txns", json_integer((json_int_t)s.txns));
    add_latency(result, &c);
    close_crew(&c);
    ew_client_close(client);
    ew_options_free(o);
    role_say(result);
}
