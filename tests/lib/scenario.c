#include "lib/scenario.h"

#include "etcd/etcd.h"
#include "lib/etcd_server.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { RELEASE_MS = 15000 };

static etcd_server *server;
static bool server_was_away; /* a test has killed or paused it, or cut the fault proxy to it */
static unsigned names;       /* used so far */
static unsigned fixtures;    /* running */

/* ---- environment ---- */

int env_open(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    client_open(server->endpoint);
    return 0;
}

int env_before(void **state) {
    (void)state;
    if (fixtures > 0) {
        fprintf(stderr, "[  FAILED  ] a test left %u workers running: the other tests are skipped\n", fixtures);
        etcd_server_free(server);
        _exit(1);
    }
    return 0;
}

int env_close(void **state) {
    env_before(state);
    client_close();
    etcd_server_free(server);
    server = NULL;
    bool released = etcd_all_released(RELEASE_MS);
    /* gRPC 1.51 never frees a connection that is being made while its channel is destroyed. A server that was away may
     * leave such connections; the library cannot prevent it. A server that always answered leaves none. */
    if (!released && !server_was_away) {
        fprintf(stderr, "[  FAILED  ] gRPC still holds objects after the last client is closed\n");
        _exit(1); /* a failed teardown does not change cmocka's exit code */
    }
    if (!released)
        fprintf(stderr, "gRPC still holds a connection that it was making when its channel was destroyed\n");
    return 0;
}

const char *env_endpoint(void) {
    return server->endpoint;
}

void env_kill_etcd(void) {
    server_was_away = true;
    etcd_server_kill(server);
}

void env_start_etcd(void) {
    etcd_server_restart(server);
    client_reconnect();
}

void env_wipe_etcd(void) {
    etcd_server_wipe(server);
}

static const char *saved_path(void) {
    static char path[160];
    snprintf(path, sizeof path, "%s/saved", server->dir);
    return path;
}

void env_save_etcd(void) {
    remove(saved_path());
    etcd_server_save(server, saved_path());
}

void env_restore_etcd(void) {
    etcd_server_restore(server, saved_path());
}

void env_pause_etcd(void) {
    server_was_away = true;
    etcd_server_pause(server);
}

void env_resume_etcd(void) {
    etcd_server_resume(server);
    client_reconnect();
}

int64_t env_now_ms(void) {
    return etcd_now_ms();
}

ew_options *env_options(const char *prefix) {
    char name[32];
    snprintf(name, sizeof name, "w%u", ++names);
    ew_options *o = ew_options_new();
    assert_non_null(o);
    assert_int_equal(ew_options_set(o, "endpoints", env_endpoint(), NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "prefix", prefix, NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "name", name, NULL), EW_OK);
    return o;
}

bool env_until(bool (*holds)(void *arg), void *arg) {
    int64_t deadline_ms = etcd_now_ms() + ENV_WAIT_MS;
    while (!holds(arg)) {
        if (etcd_now_ms() > deadline_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

static void read_name(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "r");
    out[0] = '\0';
    if (!f) /* the thread has just ended */
        return;
    if (!fgets(out, (int)size, f))
        out[0] = '\0';
    fclose(f);
}

size_t env_threads(void) {
    char own[64], name[64], path[300];
    size_t n = 0;
    read_name("/proc/self/comm", own, sizeof own);
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        read_name(path, name, sizeof name);
        n += strcmp(name, own) == 0;
    }
    closedir(d);
    return n;
}

size_t env_files(void) {
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    size_t n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 3; /* without the directory itself, . and .. */
}

/* ---- worker fixture: inside the reactor ---- */

void worker_fixture_problem(worker_fixture *f, const char *file, int line, const char *what) {
    pthread_mutex_lock(&f->lock);
    if (f->problem[0] == '\0')
        snprintf(f->problem, sizeof f->problem, "%s:%d: %s", file, line, what);
    pthread_mutex_unlock(&f->lock);
}

static ew_status worker_fixture_reset(void *self) {
    worker_fixture *f = self;
    client_order();
    pthread_mutex_lock(&f->lock);
    f->resets++;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
    return EW_OK;
}

static void copy(char *out, size_t size, ew_slice text) {
    snprintf(out, size, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
}

static ew_status worker_fixture_update(void *self, const ew_event *event) {
    worker_fixture *f = self;
    int status = EW_OK;
    client_order();
    pthread_mutex_lock(&f->lock);
    if (f->event_count == f->event_capacity) {
        size_t capacity = f->event_capacity == 0 ? 64 : 2 * f->event_capacity;
        worker_fixture_event *grown = realloc(f->events, capacity * sizeof *grown);
        if (grown) {
            f->events = grown;
            f->event_capacity = capacity;
        } else {
            status = EW_ERR_NO_MEMORY;
        }
    }
    if (status == EW_OK) {
        worker_fixture_event *e = &f->events[f->event_count++];
        *e = (worker_fixture_event){
            .kind = event->kind,
            .initial = event->initial,
            .value_len = event->entry.value.len,
            .mod_revision = event->entry.mod_revision,
            .ticks = f->ticks,
            .resets = f->resets,
        };
        copy(e->key, sizeof e->key, event->entry.key);
        copy(e->value, sizeof e->value, event->entry.value);
    }
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
    return status;
}

static int worker_fixture_tick(void *self, ew_tick *t) {
    worker_fixture *f = self;
    client_order();
    pthread_mutex_lock(&f->lock);
    f->ticks++;
    f->revision = ew_tick_revision(t);
    f->last_tick_ms = etcd_now_ms();
    worker_fixture_action action = f->action;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
    int status = f->every ? f->every(f, t) : EW_OK;
    if (!action || status != EW_OK)
        return status;
    status = action(f, t);
    pthread_mutex_lock(&f->lock);
    f->action = NULL;
    f->acted_tick = f->ticks;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
    return status;
}

/* The caller holds the lock. Returns false if the deadline has passed. */
static bool await_move(worker_fixture *f, int64_t deadline_ms) {
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&f->moved, &f->lock, &until) != ETIMEDOUT;
}

void worker_fixture_hold(worker_fixture *f) {
    int64_t deadline_ms = etcd_now_ms() + ENV_WAIT_MS;
    pthread_mutex_lock(&f->lock);
    f->held = true;
    f->released = false;
    pthread_cond_broadcast(&f->moved);
    while (!f->released && !f->closing && await_move(f, deadline_ms)) {
    }
    f->held = false;
    pthread_mutex_unlock(&f->lock);
}

/* ---- worker fixture: the test ---- */

void worker_fixture_open(worker_fixture *f, const char *prefix) {
    memset(f, 0, sizeof *f);
    pthread_condattr_t attr;
    assert_int_equal(pthread_condattr_init(&attr), 0);
    assert_int_equal(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), 0);
    assert_int_equal(pthread_mutex_init(&f->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&f->moved, &attr), 0);
    pthread_condattr_destroy(&attr);
    f->options = env_options(prefix);
    worker_fixture_set(f, "tick_interval_ms", "10");
}

void worker_fixture_set(worker_fixture *f, const char *option, const char *value) {
    ew_error err = {0};
    if (ew_options_set(f->options, option, value, &err) != EW_OK)
        fail_msg("%s = %s: %s", option, value, err.detail);
}

static void *worker_fixture_join(void *arg) {
    worker_fixture *f = arg;
    ew_error err = {0};
    int status = ew_worker_join(f->worker, &err);
    pthread_mutex_lock(&f->lock);
    f->status = status;
    f->err = err;
    f->over = true;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

void worker_fixture_start(worker_fixture *f) {
    ew_reactor reactor = EW_REACTOR(.tick = worker_fixture_tick, .track_reads = f->track_reads);
    ew_error err = {0};
    if (f->updates) {
        reactor.update = worker_fixture_update;
        reactor.reset = worker_fixture_reset;
    }
    if (ew_worker_open(&f->worker, f->options, &reactor, f, &err) != EW_OK)
        fail_msg("create: %s", err.detail);
    if (f->client)
        assert_int_equal(ew_worker_set_client(f->worker, f->client), EW_OK);
    if (f->session)
        assert_int_equal(ew_worker_set_session(f->worker, f->session), EW_OK);
    if (f->election)
        assert_int_equal(ew_worker_set_election(f->worker, f->election), EW_OK);
    if (ew_worker_start(f->worker, &err) != EW_OK)
        fail_msg("start: %s", err.detail);
    fixtures++;
    assert_int_equal(pthread_create(&f->joiner, NULL, worker_fixture_join, f), 0);
    f->started = true;
}

typedef struct waiting {
    int64_t deadline_ms;
    uint64_t ticks;
    int renewed;
} waiting;

/* The caller holds the lock. Returns false if the wait has timed out. While the worker ticks, the limit is renewed (a
 * busy machine is slow), at most three times. */
static bool await_or_give_up(worker_fixture *f, waiting *w) {
    if (w->deadline_ms != 0 && await_move(f, w->deadline_ms))
        return true;
    if (w->deadline_ms != 0 && (f->ticks == w->ticks || ++w->renewed == 4))
        return false;
    w->ticks = f->ticks;
    w->deadline_ms = etcd_now_ms() + ENV_WAIT_MS;
    return true;
}

/* Locks and waits until `condition` is true or the run has ended. Fails the test if the run ends first. */
#define AWAIT(s, condition)                                                                                            \
    do {                                                                                                               \
        waiting waiting_ = {0};                                                                                        \
        pthread_mutex_lock(&(s)->lock);                                                                                \
        while (!(condition) && !(s)->over && await_or_give_up(s, &waiting_)) {                                         \
        }                                                                                                              \
        bool held_ = (condition);                                                                                      \
        ew_error err_ = (s)->err;                                                                                      \
        pthread_mutex_unlock(&(s)->lock);                                                                              \
        if (!held_)                                                                                                    \
            fail_msg("timed out waiting for %s; the run: %s %s", #condition, ew_errname(err_.code), err_.detail);      \
    } while (0)

void worker_fixture_begin(worker_fixture *f, worker_fixture_action action) {
    pthread_mutex_lock(&f->lock);
    f->action = action;
    pthread_mutex_unlock(&f->lock);
}

void worker_fixture_do(worker_fixture *f, worker_fixture_action action) {
    worker_fixture_begin(f, action);
    AWAIT(f, !f->action && f->ticks > f->acted_tick);
}

void worker_fixture_await_held(worker_fixture *f) {
    AWAIT(f, f->held);
}

void worker_fixture_release(worker_fixture *f) {
    pthread_mutex_lock(&f->lock);
    f->released = true;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
}

void worker_fixture_await_tick(worker_fixture *f, int64_t revision) {
    AWAIT(f, f->ticks > 0 && f->revision >= revision);
}

void worker_fixture_await_total(worker_fixture *f, uint64_t ticks) {
    AWAIT(f, f->ticks >= ticks);
}

void worker_fixture_await_ticks(worker_fixture *f, uint64_t more) {
    worker_fixture_await_total(f, worker_fixture_ticks(f) + more);
}

void worker_fixture_await_events(worker_fixture *f, size_t count) {
    AWAIT(f, f->event_count >= count);
}

uint64_t worker_fixture_ticks(worker_fixture *f) {
    pthread_mutex_lock(&f->lock);
    uint64_t ticks = f->ticks;
    pthread_mutex_unlock(&f->lock);
    return ticks;
}

static ew_worker_stats stats_now(worker_fixture *f) {
    ew_worker_stats stats = {.size = sizeof stats};
    assert_int_equal(ew_worker_get_stats(f->worker, &stats), EW_OK);
    return stats;
}

/* Whether the statistics include every tick that has begun. False while a tick is held. */
static bool has_reported_all_ticks(void *arg) {
    worker_fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    uint64_t ticks = f->ticks;
    bool held = f->held;
    pthread_mutex_unlock(&f->lock);
    return held || stats_now(f).ticks >= ticks;
}

ew_worker_stats worker_fixture_stats(worker_fixture *f) {
    assert_true(env_until(has_reported_all_ticks, f));
    return stats_now(f);
}

static bool is_ready(void *arg) {
    return stats_now(arg).ready;
}

static bool is_not_ready(void *arg) {
    return !stats_now(arg).ready;
}

void worker_fixture_await_ready(worker_fixture *f, bool ready) {
    assert_true(env_until(ready ? is_ready : is_not_ready, f));
}

void worker_fixture_start_ready(worker_fixture *f) {
    worker_fixture_start(f);
    worker_fixture_await_ready(f, true);
}

int worker_fixture_await_end(worker_fixture *f) {
    AWAIT(f, f->over);
    return f->status;
}

int worker_fixture_close(worker_fixture *f) {
    int status = EW_OK;
    if (f->started) {
        ew_worker_stop(f->worker);
        pthread_mutex_lock(&f->lock);
        f->closing = true; /* a tick that is held goes on */
        pthread_cond_broadcast(&f->moved);
        pthread_mutex_unlock(&f->lock);
        status = worker_fixture_await_end(f);
        pthread_join(f->joiner, NULL);
        fixtures--;
    }
    ew_worker_close(f->worker);
    ew_options_free(f->options);
    pthread_cond_destroy(&f->moved);
    pthread_mutex_destroy(&f->lock);
    free(f->events);
    if (f->problem[0] != '\0')
        fail_msg("in the reactor: %s", f->problem);
    return status;
}

void worker_fixture_assert_event(worker_fixture *f, size_t i, ew_event_kind kind, bool initial, const char *key,
                                 const char *value) {
    pthread_mutex_lock(&f->lock);
    worker_fixture_event e = i < f->event_count ? f->events[i] : (worker_fixture_event){0};
    pthread_mutex_unlock(&f->lock);
    assert_string_equal(e.key, key);
    assert_int_equal(e.kind, kind);
    assert_int_equal(e.initial, initial);
    assert_string_equal(e.value, value);
    assert_int_equal(e.value_len, strlen(value));
}
