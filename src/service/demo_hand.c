#include "service/demo_hand.h"
#include "core/log.h"

#include <etcdworker/session.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MEMBERS = 4, FIRST_MEMBERS = 3, TASKS = 12, TTL_S = 2 };

typedef enum deed { JOIN, LEAVE, CRASH } deed;

/* The times between two steps are long enough to read what the last step did. */
static const struct {
    int after_ms;
    deed deed;
    int member;
    const char *words;
} schedule[] = {
    {4000, JOIN, 3, "m4 joins, and gets a fair share"},
    {5000, LEAVE, 1, "m2 leaves: it revokes its lease, so its key is deleted at once"},
    {5000, JOIN, 1, "m2 joins again"},
    {5000, CRASH, 0, "m1 crashes: its lease is not revoked and expires after 2 s"},
    {7000, JOIN, 0, "m1 starts again"},
    {5000, LEAVE, 3, "m4 leaves"},
};
enum { STEPS = sizeof schedule / sizeof schedule[0] };

struct demo_hand {
    ew_client *client;
    const char *prefix;
    ew_session *sessions[MEMBERS];
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping; /* this and the two below: under the lock */
    int step;
    int64_t due_ms;
};

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- operations on etcd ---- */

static int put(demo_hand *h, const char *folder, const char *id, const char *value, int64_t lease, ew_error *err) {
    char key[512];
    snprintf(key, sizeof key, "%s/%s/%s", h->prefix, folder, id);
    return ew_client_put(h->client, ew_str(key), ew_str(value), &EW_PUT_OPTIONS(.lease = lease), NULL, err);
}

static int join(demo_hand *h, int member, ew_error *err) {
    char id[16];
    snprintf(id, sizeof id, "m%d", member + 1);
    int status = h->sessions[member] ? EW_OK : ew_session_open(&h->sessions[member], h->client, TTL_S, err);
    if (status == EW_OK)
        status = put(h, "members", id, "{\"capacity\":1}", ew_session_lease(h->sessions[member]), err);
    return status;
}

static void leave(demo_hand *h, int member, bool crash) {
    ew_session_close(h->sessions[member], crash ? EW_SESSION_KEEP_LEASE : EW_SESSION_REVOKE);
    h->sessions[member] = NULL;
}

static int make_sample(demo_hand *h, ew_error *err) {
    int status = EW_OK;
    for (int i = 0; status == EW_OK && i < FIRST_MEMBERS; i++)
        status = join(h, i, err);
    for (int i = 0; status == EW_OK && i < TASKS; i++) {
        char id[16];
        snprintf(id, sizeof id, "t%02d", i + 1);
        status = put(h, "tasks", id, "{\"weight\":1}", 0, err);
    }
    return status;
}

static void take_step(demo_hand *h, int step) {
    ew_error err = {0};
    int status = EW_OK;
    if (schedule[step].deed == JOIN)
        status = join(h, schedule[step].member, &err);
    else
        leave(h, schedule[step].member, schedule[step].deed == CRASH);
    /* The demo continues: the member joins again in the next round. */
    if (status != EW_OK && status != EW_ERR_CANCELLED)
        log_fields(EW_LOG_WARN, NULL, "demo", "demo step failed", {"step", schedule[step].words, 0},
                   {"error", err.detail, 0});
}

/* ---- the thread ---- */

/* Waits until the step is due; returns false if the demo must stop. */
static bool wait_for(demo_hand *h, int step) {
    pthread_mutex_lock(&h->lock);
    h->step = step;
    h->due_ms = now_ms() + schedule[step].after_ms;
    const struct timespec due = {h->due_ms / 1000, h->due_ms % 1000 * 1000000};
    int code = 0;
    while (!h->stopping && code == 0)
        code = pthread_cond_timedwait(&h->changed, &h->lock, &due);
    bool go_on = !h->stopping;
    pthread_mutex_unlock(&h->lock);
    return go_on;
}

static void *play(void *arg) {
    demo_hand *h = arg;
    for (int step = 0; wait_for(h, step); step = (step + 1) % STEPS)
        take_step(h, step);
    return NULL;
}

void demo_hand_next(demo_hand *h, char *out, size_t size) {
    pthread_mutex_lock(&h->lock);
    int64_t left_ms = h->due_ms - now_ms();
    const char *words = schedule[h->step].words;
    pthread_mutex_unlock(&h->lock);
    if (left_ms > 0)
        snprintf(out, size, "in %" PRId64 " s, %s", (left_ms + 999) / 1000, words);
    else
        snprintf(out, size, "now, %s", words);
}

int demo_hand_start(demo_hand **out, const ew_options *o, const char *prefix, ew_error *err) {
    *out = NULL;
    demo_hand *h = calloc(1, sizeof *h);
    if (!h)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    h->prefix = prefix;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int status = ew_client_open(&h->client, o, err);
    if (status == EW_OK)
        status = make_sample(h, err);
    if (status == EW_OK) {
        h->started = pthread_create(&h->thread, NULL, play, h) == 0;
        status = h->started ? EW_OK : ew_fail(err, EW_ERR_SYSTEM, "demo: cannot start a thread");
    }
    if (status == EW_OK)
        *out = h;
    else
        demo_hand_stop(h);
    return status;
}

void demo_hand_stop(demo_hand *h) {
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (h->started) {
        ew_client_cancel(h->client);
        pthread_join(h->thread, NULL);
    }
    for (int i = 0; i < MEMBERS; i++)
        ew_session_close(h->sessions[i], EW_SESSION_REVOKE);
    ew_client_close(h->client);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
