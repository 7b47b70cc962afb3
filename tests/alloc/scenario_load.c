/* Workers that load and check their cache: several pages, more than the mailbox has space for. */
#include "alloc/scenario.h"

#include <time.h>

typedef struct loader {
    ew_worker *worker;
    int64_t total; /* keys */
    ew_error err;
} loader;

/* ---- consistency checks: at most one each second ---- */

static int wait_for_check(void *self, ew_tick *t) {
    loader *l = self;
    (void)t;
    ew_worker_stats s = {.size = sizeof s};
    return ew_worker_get_stats(l->worker, &s) == EW_OK && s.checks > 0 ? EW_FINISHED : EW_OK;
}

/* Runs a worker with one more option and small mailboxes to its end; repeats it once if it failed. */
static void run_alone(const ew_reactor *r, const char *option, const char *value) {
    for (int i = 0; i < 2; i++) {
        loader l = {0};
        ew_options *o = alloc_options_worker(false);
        TRY(ew_options_set(o, option, value, &err));
        TRY(ew_options_set(o, "mailbox_messages", "2", &err));
        int status = ew_worker_open(&l.worker, o, r, &l, &l.err);
        ew_options_free(o);
        if (status == EW_OK)
            status = ew_worker_run(l.worker, &l.err);
        ew_worker_close(l.worker);
        if (alloc_failed(status, option, &l.err) == EW_OK)
            return;
    }
    alloc_problem("a worker failed twice");
}

void alloc_run_check(void) {
    static const ew_reactor waits = EW_REACTOR(.tick = wait_for_check);
    run_alone(&waits, "check_interval_s", "1");
}

/* ---- a prefix of several pages, with a reactor that is slow at the first pages ---- */

enum { PAGES_KEYS = 2500, FIRST_KEYS = 500, SLOW_MS = 20 };

void alloc_open_pages(void) {
    static char value[300];
    char key[32];
    memset(value, 'x', sizeof value);
    for (int i = 0; i < PAGES_KEYS; i++) {
        snprintf(key, sizeof key, "/pages/%04d", i);
        client_put_slice(ew_str(key), (ew_slice){value, sizeof value}, 0);
    }
}

static int count_keys(void *self, const ew_event *event) {
    loader *l = self;
    (void)event;
    if (++l->total == FIRST_KEYS)
        nanosleep(&(struct timespec){.tv_nsec = SLOW_MS * 1000000L}, NULL);
    return EW_OK;
}

static int end_at_once(void *self, ew_tick *t) {
    const loader *l = self;
    (void)t;
    if (l->total != PAGES_KEYS)
        alloc_problem("loaded %lld keys of %d", (long long)l->total, PAGES_KEYS);
    return EW_FINISHED;
}

void alloc_run_pages(void) {
    static const ew_reactor counts = EW_REACTOR(.tick = end_at_once, .update = count_keys);
    run_alone(&counts, "prefix", "/pages");
}
