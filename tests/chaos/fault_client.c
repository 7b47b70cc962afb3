/* Faults for other applications, which submit groups to the workers. */
#include "chaos/fault.h"

#include "lib/submitters.h"

#include <signal.h>
#include <stdio.h>

enum { CLIENTS = 40 };

static void url_of(const world *w, unsigned worker, char *out, size_t size) {
    char path[256];
    ew_options *o = ew_options_new();
    submits_path(w->directory, worker, path, sizeof path);
    submitters_serve(o, path, out, size);
    ew_options_free(o);
}

typedef struct progress {
    submitters *clients;
    uint64_t least;
} progress;

static bool has_gone_on(world *w, void *arg) {
    const progress *p = arg;
    (void)w;
    return submitters_least(p->clients) >= p->least;
}

/* Waits until every client has received two more replies: one to a submit in flight, and one to a later submit. */
static void await_replies(injection *i, progress *p) {
    p->least = submitters_least(p->clients) + 2;
    if (!world_until(i->w, has_gone_on, p, EFFECT_LIMIT_MS))
        fault_missed(i, "the clients get no replies");
}

/* The workers' counts, each of one run. A new run begins with 0. */
typedef struct repeats {
    unsigned runs[WORKERS];
    uint64_t counts[WORKERS];
} repeats;

static repeats look(const world *w) {
    repeats r;
    for (unsigned n = 0; n < WORKERS; n++) {
        r.runs[n] = w->workers[n].control->run;
        r.counts[n] = w->workers[n].control->repeats;
    }
    return r;
}

static bool was_resent_since(const world *w, const repeats *before) {
    repeats now = look(w);
    for (unsigned n = 0; n < WORKERS; n++)
        if (now.counts[n] > (now.runs[n] == before->runs[n] ? before->counts[n] : 0))
            return true;
    return false;
}

/* Waits longer than a client waits before it sends again. */
static void linger(injection *i) {
    world_linger(i->w, SUBMITTERS_RESEND_MS + (i->brief ? 500 : world_between(i->w, 200, 1500)));
}

static void swallow(fault_proxy *proxy, int direction) {
    fault_proxy_swallow(proxy, (fault_proxy_direction)direction);
}

static void freeze(injection *i, progress *p) {
    for (int n = 0; n < i->w->nodes; n++)
        etcd_server_pause(i->w->node[n]);
    linger(i);
    for (int n = 0; n < i->w->nodes; n++)
        etcd_server_resume(i->w->node[n]);
    await_replies(i, p);
}

/* 40 clients, each of which may send its submit to any of the workers. Meanwhile a worker is killed, etcd does not
 * answer, and answers of etcd are lost. Every reply must be true, and nothing may be put twice. */
static void submit_resent(injection *i) {
    char urls[WORKERS][200], problem[256] = "";
    const char *list[WORKERS + 1] = {NULL};
    world *w = i->w;
    i->targets = ALL_WORKERS;
    for (unsigned n = 0; n < WORKERS; n++) {
        url_of(w, n, urls[n], sizeof urls[n]);
        list[n] = urls[n];
    }
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s/%u", w->prefix, i->times);
    progress p = {.clients = submitters_open(list, prefix, CLIENTS)};
    await_replies(i, &p);
    workers_signal(w, (unsigned)world_roll(w, WORKERS), SIGKILL);
    await_replies(i, &p);
    repeats before = look(w);
    freeze(i, &p);
    fault_each_proxy(i, -1, swallow, FAULT_PROXY_DOWN);
    linger(i);
    fault_mend_proxies(w);
    fault_healed(i);
    await_replies(i, &p);
    if (!was_resent_since(w, &before))
        fault_missed(i, "nothing was sent again");
    if (!submitters_close(p.clients, w->client, problem, sizeof problem))
        world_problem(w, "a false reply: %s", problem);
}

static const char *const with_submits[] = {"submit=on", NULL};

/* etcd is silent twice, for 2.5 s at most, and answers between. */
const fault faults_of_clients[] = {
    {"submit-resent", ON_ONE | ON_THREE, ENDS_NOTHING, with_submits, submit_resent,
     "40 clients send submits again while a worker is killed, etcd is paused, and answers are lost"},
    {NULL},
};
