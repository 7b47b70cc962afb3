/* contend, fanin and actors: the cost of several workers, and of the messages between the actors. */
#include "child.h"
#include "measure.h"
#include "workload.h"

#include <stdio.h>

typedef struct plan {
    const char *name, *role;
    int workers, ticks;
} plan;

static json_t *run_crew(bench *b, void *arg, int run) {
    const plan *p = arg;
    return child_run(b, p->role, "prefix=/bench-%lld/%s-%d workers=%d ticks=%d", (long long)b->salt, p->name, run,
                     p->workers, p->ticks);
}

/* ---- contend ---- */

/* With any number of workers, the key is raised by one commit after the other: the floor is that of one worker. */
static json_t *run_contend_floor(bench *b, void *arg, int run) {
    const plan *p = arg;
    return child_run(b, "floor", "prefix=/bench-%lld/floor-%s-%d ticks=%d", (long long)b->salt, p->name, run, p->ticks);
}

static json_t *run_contend(bench *b, void *arg, int run) {
    const plan *p = arg;
    json_t *result = run_crew(b, arg, run);
    if (result)
        json_object_set_new(result, "txns_per_commit", json_real(measure_number(result, "txns", 0) / p->ticks));
    return result;
}

bool workload_contend(bench *b) {
    plan few = {"contend_3", "contend", 3, workload_count(b, 600, 30)};
    plan many = {"contend_10", "contend", 10, workload_count(b, 600, 30)};
    return measure(b, "contend_3", &(subject){"commit", run_contend_floor, run_contend, &few}) &&
           measure(b, "contend_10", &(subject){"commit", run_contend_floor, run_contend, &many});
}

/* ---- fanin ---- */

static json_t *run_fanin_floor(bench *b, void *arg, int run) {
    const plan *p = arg;
    return child_run(b, "floor", "prefix=/bench-%lld/floor-%s-%d lanes=%d ticks=%d", (long long)b->salt, p->name, run,
                     p->workers, p->ticks);
}

bool workload_fanin(bench *b) {
    plan plans[] = {
        {"fanin_1", "fanin", 1, workload_count(b, 2000, 20)},
        {"fanin_8", "fanin", 8, workload_count(b, 1000, 10)},
        {"fanin_64", "fanin", 64, workload_count(b, 150, 3)},
    };
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++)
        if (!measure(b, plans[i].name, &(subject){"tick", run_fanin_floor, run_crew, &plans[i]}))
            return false;
    return true;
}

/* ---- actors ---- */

static json_t *run_pingpong(bench *b, void *arg, int run) {
    const int *ticks = arg;
    (void)run;
    return child_run(b, "pingpong", "ticks=%d", *ticks);
}

/* Each run has its own etcd in its process: there is no other writer, so a tick is one transaction. */
static json_t *run_actors(bench *b, void *arg, int run) {
    const int *ticks = arg;
    (void)run;
    json_t *result = child_run(b, "actors", "prefix=/bench ticks=%d", *ticks);
    double txns = measure_number(result, "txns", 0), keys = measure_number(result, "keys", 0);
    if (!result || (txns == *ticks && keys == 1))
        return result;
    json_decref(result);
    bench_fail(b, "actors: %.0f transactions in %d ticks, %.0f keys instead of 1", txns, *ticks, keys);
    return NULL;
}

bool workload_actors(bench *b) {
    int ticks = workload_count(b, 2000, 20);
    return measure(b, "actors", &(subject){"tick", run_pingpong, run_actors, &ticks});
}
