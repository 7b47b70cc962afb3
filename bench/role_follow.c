/* A worker that only reads: its reactor takes every change, writes nothing, and stops when it has seen all of them. */
#include "role.h"
#include "stamp.h"
#include "steps.h"

#include <etcdworker/etcdworker.h>

#include <stdlib.h>

typedef struct follower {
    stamp_set stamps;
    bool ready, from_ready; /* from_ready: the clock starts with the first tick, not with the first change */
    int64_t *written_ns;    /* the write times of the changes since the last tick */
    size_t count, capacity;
    int64_t strangers; /* changes that are repeated, or not from the writer */
    usage from, to;
    bool begun;
    histogram delay; /* from the write to the tick that sees it */
} follower;

static ew_status follow_update(void *self, const ew_event *event) {
    follower *f = self;
    int64_t at_ns, number;
    if (event->initial)
        return EW_OK;
    if (!f->begun) {
        f->begun = true;
        f->from = usage_now();
    }
    if (event->kind != EW_EVENT_PUT || !stamp_read(event->entry.value, &at_ns, &number) ||
        !stamp_set_add(&f->stamps, number)) {
        f->strangers++;
        return EW_OK;
    }
    if (f->count == f->capacity) {
        size_t capacity = f->capacity * 2 + 1024;
        int64_t *grown = realloc(f->written_ns, capacity * sizeof *grown);
        if (!grown)
            return EW_ERR_NO_MEMORY;
        f->written_ns = grown;
        f->capacity = capacity;
    }
    f->written_ns[f->count++] = at_ns;
    return EW_OK;
}

static int take_stock(follower *f, ew_tick *t, int64_t now) {
    for (size_t i = 0; i < f->count; i++)
        histogram_add(&f->delay, (uint64_t)(now - f->written_ns[i]));
    f->count = 0;
    if (!f->ready) {
        f->ready = true;
        if (f->from_ready) {
            f->begun = true;
            f->from = usage_now();
        }
        role_say(json_pack("{s: I}", "ready_revision", (json_int_t)ew_tick_revision(t)));
    }
    if (f->stamps.seen < f->stamps.count)
        return EW_OK;
    f->to = usage_now();
    return EW_FINISHED;
}

static int follow_tick(void *self, ew_tick *t) {
    follower *f = self;
    int64_t now = now_ns();
    bool begun = f->begun && !f->from_ready; /* before the first change, and while stopped, the worker only waits */
    if (begun)
        steps_tick(now);
    int status = take_stock(f, t, now);
    if (begun)
        steps_ended(STEP_TICK);
    return status;
}

void role_follow(const role_args *a) {
    static const ew_reactor reactor = EW_REACTOR(.tick = follow_tick, .update = follow_update);
    static follower f;
    if (!stamp_set_init(&f.stamps, args_int(a, "events", 1000)))
        role_fail("out of memory");
    f.from_ready = args_int(a, "from_ready", 0) != 0;
    steps_begin();
    ew_options *o = args_options(a);
    ew_worker *w;
    ew_error err = {0};
    int status = ew_worker_open(&w, o, &reactor, &f, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    if (status != EW_OK)
        role_fail("the worker ended: %s: %s", ew_strerror(status), err.detail);
    if (f.strangers != 0)
        role_fail("%lld changes were repeated, or not from the writer", (long long)f.strangers);
    ew_worker_stats stats = {.size = sizeof stats};
    ew_worker_get_stats(w, &stats);
    json_t *result = json_object();
    usage_report(result, &f.from, &f.to, f.stamps.count);
    role_add_latency(result, &f.delay);
    steps_report(result);
    json_object_set_new(result, "ticks", json_integer((json_int_t)stats.ticks));
    json_object_set_new(result, "snapshots", json_integer((json_int_t)stats.snapshots));
    json_object_set_new(result, "done_ns", json_integer(f.to.at_ns));
    ew_worker_close(w);
    ew_options_free(o);
    stamp_set_fini(&f.stamps);
    free(f.written_ns);
    role_say(result);
}
