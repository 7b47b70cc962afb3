/* floor, chain, groups and bigstate: how fast one worker ticks. */
#include "child.h"
#include "measure.h"
#include "progress.h"
#include "workload.h"

#include <stdio.h>

/* The parameters of a row's runs. */
typedef struct plan {
    const char *role;   /* of the worker */
    const char *name;   /* of the row, in the keys */
    const char *shared; /* a prefix that all runs of several rows share; NULL: each run has its own */
    int ticks;
    int keys, keyspace;     /* of the floor's transactions */
    double paging_s, bytes; /* bigstate: of the most recent floor */
} plan;

static json_t *run_floor(bench *b, void *arg, int run) {
    const plan *p = arg;
    return child_run(b, "floor", "prefix=/bench-%lld/floor-%s-%d ticks=%d keys=%d keyspace=%d", (long long)b->salt,
                     p->name, run, p->ticks, p->keys, p->keyspace);
}

static json_t *run_worker(bench *b, void *arg, int run) {
    const plan *p = arg;
    if (p->shared)
        return child_run(b, p->role, "prefix=/bench-%lld/%s ticks=%d", (long long)b->salt, p->shared, p->ticks);
    return child_run(b, p->role, "prefix=/bench-%lld/%s-%d ticks=%d", (long long)b->salt, p->name, run, p->ticks);
}

bool workload_floor(bench *b) {
    plan p = {.name = "floor", .ticks = workload_count(b, 2000, 20), .keys = 1, .keyspace = 1};
    return measure(b, "floor", &(subject){"tick", NULL, run_floor, &p});
}

bool workload_chain(bench *b) {
    plan p = {.role = "chain", .name = "chain", .ticks = workload_count(b, 2000, 20), .keys = 1, .keyspace = 1};
    return measure(b, "chain", &(subject){"tick", run_floor, run_worker, &p});
}

/* ---- groups ---- */

enum { GROUPS = 64, GROUP_KEYS = 1024 };

/* The floor puts the 64 keys of a tick in one transaction, but the unit is a group, so `count` is multiplied. */
static json_t *run_groups_floor(bench *b, void *arg, int run) {
    json_t *result = run_floor(b, arg, run);
    if (result)
        json_object_set_new(result, "count", json_real(measure_number(result, "count", 0) * GROUPS));
    return result;
}

static json_t *run_groups(bench *b, void *arg, int run) {
    const plan *p = arg;
    json_t *result = run_worker(b, arg, run);
    if (result)
        json_object_set_new(result, "txns_per_tick", json_real(measure_number(result, "txns", 0) / p->ticks));
    return result;
}

bool workload_groups(bench *b) {
    plan p = {.role = "groups",
              .name = "groups",
              .ticks = workload_count(b, 2000, 20),
              .keys = GROUPS,
              .keyspace = GROUP_KEYS};
    return measure(b, "groups", &(subject){"group", run_groups_floor, run_groups, &p});
}

/* ---- bigstate ---- */

static json_t *read_all(bench *b, const char *shared) {
    return child_run(b, "page", "prefix=/bench-%lld/%s", (long long)b->salt, shared);
}

/* Adds the keys from number `first` to below `count` to the prefix. Reads them once, so that etcd becomes idle before
 * the measurement. */
static bool fill(bench *b, int first, int count) {
    progress_say(b, "bigstate: writing %d keys", count - first);
    json_t *result =
        child_run(b, "write", "prefix=/bench-%lld/bigstate/keys first=%d events=%d keys=%d per_txn=100 value_bytes=256",
                  (long long)b->salt, first, count, count);
    bool ok = result != NULL;
    json_decref(result);
    result = ok ? read_all(b, "bigstate/keys") : NULL;
    ok = result && (measure_number(result, "count", 0) == count ||
                    bench_fail(b, "bigstate: %.0f keys instead of %d", measure_number(result, "count", 0), count));
    json_decref(result);
    return ok;
}

/* The floor includes a bare read of the same keys, with which the worker's load is compared. */
static json_t *run_bigstate_floor(bench *b, void *arg, int run) {
    plan *p = arg;
    json_t *paging = read_all(b, p->shared);
    if (!paging)
        return NULL;
    p->paging_s = measure_number(paging, "seconds", 0);
    p->bytes = measure_number(paging, "bytes", 0);
    json_decref(paging);
    return run_floor(b, arg, run);
}

static json_t *run_bigstate(bench *b, void *arg, int run) {
    const plan *p = arg;
    json_t *result = run_worker(b, arg, run);
    if (!result)
        return NULL;
    json_object_set_new(result, "paging_s", json_real(p->paging_s));
    json_object_set_new(result, "load_ratio", json_real(measure_number(result, "load_s", 0) / p->paging_s));
    json_object_set_new(result, "bytes", json_real(p->bytes));
    json_object_set_new(result, "rss_ratio", json_real(measure_number(result, "max_rss_kb", 0) * 1024 / p->bytes));
    return result;
}

bool workload_bigstate(bench *b) {
    static const struct {
        const char *name;
        int keys, smoke_keys;
    } sizes[] = {
        {"bigstate_1k", 1000, 100},
        {"bigstate_10k", 10000, 200},
        {"bigstate_100k", 100000, 300},
        {"bigstate_1M", 1000000, 400},
    };
    plan p = {.role = "chain", .shared = "bigstate", .ticks = workload_count(b, 2000, 10), .keys = 1, .keyspace = 1};
    int written = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int keys = b->smoke ? sizes[i].smoke_keys : sizes[i].keys;
        p.name = sizes[i].name;
        if (!fill(b, written, keys) ||
            !measure(b, sizes[i].name, &(subject){"tick", run_bigstate_floor, run_bigstate, &p}))
            return false;
        written = keys;
        const json_t *row = json_object_get(b->rows, sizes[i].name);
        if (measure_number(row, "keys", 0) != keys + 1)
            return bench_fail(b, "%s: the worker holds %.0f keys instead of %d", sizes[i].name,
                              measure_number(row, "keys", 0), keys + 1);
    }
    return true;
}
