/* ingest and catchup: how fast a worker receives what others write. Their floor is a bare watch on one thread. */
#include "child.h"
#include "measure.h"
#include "usage.h"
#include "workload.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

enum { TIMEOUT_S = 120 };

typedef struct plan {
    const char *name;
    int events, per_txn, writers, keys;
    /* catchup: what the worker's run has written; the floor reads it again */
    char prefix[64];
    int64_t first_revision;
} plan;

static json_t *write_all(bench *b, const plan *p, const char *prefix) {
    return child_run(b, "write", "prefix=%s events=%d per_txn=%d writers=%d keys=%d value_bytes=256", prefix, p->events,
                     p->per_txn, p->writers, p->keys);
}

/* ---- ingest ---- */

/* Starts `role`, writes when it is ready, and returns its result. */
static json_t *ingest(bench *b, const plan *p, const char *role, int run) {
    char prefix[64];
    child c;
    snprintf(prefix, sizeof prefix, "/bench-%lld/%s-%s-%d", (long long)b->salt, p->name, role, run);
    json_t *result = NULL, *written = NULL;
    json_t *ready = NULL;
    if (child_start(&c, b, role, "prefix=%s events=%d", prefix, p->events))
        ready = child_read(&c, b, TIMEOUT_S);
    if (ready)
        written = write_all(b, p, prefix);
    if (written)
        result = child_read(&c, b, TIMEOUT_S);
    json_decref(ready);
    json_decref(written);
    child_end(&c);
    if (result)
        json_object_del(result, "done_ns"); /* a point in time, not a measured number */
    return result;
}

static json_t *run_watch(bench *b, void *arg, int run) {
    return ingest(b, arg, "watch", run);
}

static json_t *run_follow(bench *b, void *arg, int run) {
    return ingest(b, arg, "follow", run);
}

bool workload_ingest(bench *b) {
    plan one = {.name = "ingest_1", .events = workload_count(b, 20000, 200), .per_txn = 1, .writers = 8, .keys = 1024};
    plan many = {
        .name = "ingest_100", .events = workload_count(b, 200000, 1000), .per_txn = 100, .writers = 8, .keys = 1024};
    return measure(b, "ingest_1", &(subject){"event", run_watch, run_follow, &one}) &&
           measure(b, "ingest_100", &(subject){"event", run_watch, run_follow, &many});
}

/* ---- catchup ---- */

/* Replaces the role's `seconds` by the time from SIGCONT until the worker has seen all changes. */
static json_t *level(json_t *result, int64_t resumed_ns) {
    if (!result)
        return NULL;
    double seconds = (measure_number(result, "done_ns", 0) - (double)resumed_ns) / 1e9;
    json_object_del(result, "done_ns");
    json_object_del(result, "latency"); /* the delay from the write is mostly the time for which it was stopped */
    json_object_set_new(result, "seconds", json_real(seconds));
    return result;
}

static bool put_to_sleep(const child *c) {
    int status;
    return kill(c->pid, SIGSTOP) == 0 && waitpid(c->pid, &status, WUNTRACED) == c->pid && WIFSTOPPED(status);
}

static json_t *run_catchup(bench *b, void *arg, int run) {
    plan *p = arg;
    child c;
    snprintf(p->prefix, sizeof p->prefix, "/bench-%lld/catchup-%d", (long long)b->salt, run);
    json_t *result = NULL, *written = NULL, *ready = NULL;
    int64_t resumed_ns = 0;
    /* The worker's lease must not expire while it is stopped. */
    if (child_start(&c, b, "follow", "prefix=%s events=%d from_ready=1 set:session_ttl_s=120", p->prefix, p->events))
        ready = child_read(&c, b, TIMEOUT_S);
    if (ready && !put_to_sleep(&c)) {
        bench_fail(b, "catchup: cannot stop the worker with SIGSTOP");
        json_decref(ready);
        ready = NULL;
    }
    if (ready) {
        written = write_all(b, p, p->prefix);
        resumed_ns = now_ns();
        kill(c.pid, SIGCONT);
    }
    if (written) {
        p->first_revision = (int64_t)measure_number(written, "first_revision", 1);
        result = level(child_read(&c, b, TIMEOUT_S), resumed_ns);
    }
    json_decref(ready);
    json_decref(written);
    child_end(&c);
    return result;
}

/* The floor of a run reads the changes of the worker's previous run; the first floor writes its own. */
static json_t *run_catchup_floor(bench *b, void *arg, int run) {
    plan *p = arg;
    if (run == 0) {
        snprintf(p->prefix, sizeof p->prefix, "/bench-%lld/catchup-floor", (long long)b->salt);
        json_t *written = write_all(b, p, p->prefix);
        if (!written)
            return NULL;
        p->first_revision = (int64_t)measure_number(written, "first_revision", 1);
        json_decref(written);
    }
    child c;
    json_t *result = NULL, *ready = NULL;
    if (child_start(&c, b, "watch", "prefix=%s events=%d revision=%lld", p->prefix, p->events,
                    (long long)p->first_revision))
        ready = child_read(&c, b, TIMEOUT_S);
    if (ready)
        result = child_read(&c, b, TIMEOUT_S);
    json_decref(ready);
    child_end(&c);
    if (result)
        json_object_del(result, "latency");
    return result;
}

bool workload_catchup(bench *b) {
    plan p = {.name = "catchup", .events = workload_count(b, 50000, 500), .per_txn = 1, .writers = 64, .keys = 1024};
    return measure(b, "catchup", &(subject){"event", run_catchup_floor, run_catchup, &p});
}
