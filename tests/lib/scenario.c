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
static unsigned names;       /* given out */
static unsigned stages;      /* running */

/* ---- scene ---- */

int scene_open(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    hand_open(server->endpoint);
    return 0;
}

int scene_before(void **state) {
    (void)state;
    if (stages > 0) {
        fprintf(stderr, "[  FAILED  ] a test left %u workers running: the rest is not run\n", stages);
        etcd_server_free(server);
        _exit(1);
    }
    return 0;
}

int scene_close(void **state) {
    scene_before(state);
    hand_close();
    etcd_server_free(server);
    server = NULL;
    bool released = etcd_all_released(RELEASE_MS);
    /* gRPC 1.51 never frees a connection that is being made while its channel is destroyed. A server that was taken
     * away leaves such connections behind, by chance and through no fault of ours; one that always answered does not.
     */
    if (!released && !server_was_away) {
        fprintf(stderr, "[  FAILED  ] something of gRPC is left when the last client is closed\n");
        _exit(1); /* a failed teardown does not change cmocka's answer */
    }
    if (!released)
        fprintf(stderr, "gRPC still holds a connection that it was making when its channel was destroyed\n");
    return 0;
}

const char *scene_endpoint(void) {
    return server->endpoint;
}

void scene_kill_etcd(void) {
    server_was_away = true;
    etcd_server_kill(server);
}

void scene_start_etcd(void) {
    etcd_server_restart(server);
    hand_reconnect();
}

void scene_wipe_etcd(void) {
    etcd_server_wipe(server);
}

static const char *saved_path(void) {
    static char path[160];
    snprintf(path, sizeof path, "%s/saved", server->dir);
    return path;
}

void scene_save_etcd(void) {
    remove(saved_path());
    etcd_server_save(server, saved_path());
}

void scene_restore_etcd(void) {
    etcd_server_restore(server, saved_path());
}

void scene_pause_etcd(void) {
    server_was_away = true;
    etcd_server_pause(server);
}

void scene_resume_etcd(void) {
    etcd_server_resume(server);
    hand_reconnect();
}

int64_t scene_now_ms(void) {
    return etcd_now_ms();
}

ew_options *scene_options(const char *prefix) {
    char name[32];
    snprintf(name, sizeof name, "w%u", ++names);
    ew_options *o = ew_options_new();
    assert_non_null(o);
    assert_int_equal(ew_options_set(o, "endpoints", scene_endpoint(), NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "prefix", prefix, NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "name", name, NULL), EW_OK);
    return o;
}

bool scene_until(bool (*holds)(void *arg), void *arg) {
    int64_t deadline_ms = etcd_now_ms() + SCENE_WAIT_MS;
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
    if (f == NULL) /* the thread has just ended */
        return;
    if (fgets(out, (int)size, f) == NULL)
        out[0] = '\0';
    fclose(f);
}

size_t scene_threads(void) {
    char own[64], name[64], path[300];
    size_t n = 0;
    read_name("/proc/self/comm", own, sizeof own);
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        read_name(path, name, sizeof name);
        n += strcmp(name, own) == 0;
    }
    closedir(d);
    return n;
}

size_t scene_files(void) {
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    size_t n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 3; /* the folder itself, . and .. */
}

/* ---- stage: inside the reactor ---- */

void stage_problem(stage *s, const char *file, int line, const char *what) {
    pthread_mutex_lock(&s->lock);
    if (s->problem[0] == '\0')
        snprintf(s->problem, sizeof s->problem, "%s:%d: %s", file, line, what);
    pthread_mutex_unlock(&s->lock);
}

static int stage_reset(void *self) {
    stage *s = self;
    hand_order();
    pthread_mutex_lock(&s->lock);
    s->resets++;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    return EW_OK;
}

static void copy(char *out, size_t size, ew_slice text) {
    snprintf(out, size, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
}

static int stage_update(void *self, const ew_event *event) {
    stage *s = self;
    int status = EW_OK;
    hand_order();
    pthread_mutex_lock(&s->lock);
    if (s->event_count == s->event_capacity) {
        size_t capacity = s->event_capacity == 0 ? 64 : 2 * s->event_capacity;
        stage_event *grown = realloc(s->events, capacity * sizeof *grown);
        if (grown != NULL) {
            s->events = grown;
            s->event_capacity = capacity;
        } else {
            status = EW_ERR_NO_MEMORY;
        }
    }
    if (status == EW_OK) {
        stage_event *e = &s->events[s->event_count++];
        *e = (stage_event){
            .kind = event->kind,
            .initial = event->initial,
            .value_len = event->entry.value.len,
            .mod_revision = event->entry.mod_revision,
            .ticks = s->ticks,
            .resets = s->resets,
        };
        copy(e->key, sizeof e->key, event->entry.key);
        copy(e->value, sizeof e->value, event->entry.value);
    }
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static int stage_tick(void *self, ew_tick *t) {
    stage *s = self;
    hand_order();
    pthread_mutex_lock(&s->lock);
    s->ticks++;
    s->revision = ew_tick_revision(t);
    s->last_tick_ms = etcd_now_ms();
    stage_act act = s->act;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    int status = s->every != NULL ? s->every(s, t) : EW_OK;
    if (act == NULL || status != EW_OK)
        return status;
    status = act(s, t);
    pthread_mutex_lock(&s->lock);
    s->act = NULL;
    s->acted = s->ticks;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Under the lock: false when the deadline has passed. */
static bool await_move(stage *s, int64_t deadline_ms) {
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&s->moved, &s->lock, &until) != ETIMEDOUT;
}

void stage_hold(stage *s) {
    int64_t deadline_ms = etcd_now_ms() + SCENE_WAIT_MS;
    pthread_mutex_lock(&s->lock);
    s->held = true;
    s->released = false;
    pthread_cond_broadcast(&s->moved);
    while (!s->released && !s->closing && await_move(s, deadline_ms)) {
    }
    s->held = false;
    pthread_mutex_unlock(&s->lock);
}

/* ---- stage: the test ---- */

void stage_open(stage *s, const char *prefix) {
    memset(s, 0, sizeof *s);
    pthread_condattr_t attr;
    assert_int_equal(pthread_condattr_init(&attr), 0);
    assert_int_equal(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), 0);
    assert_int_equal(pthread_mutex_init(&s->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&s->moved, &attr), 0);
    pthread_condattr_destroy(&attr);
    s->options = scene_options(prefix);
    stage_set(s, "tick_interval_ms", "10");
}

void stage_set(stage *s, const char *option, const char *value) {
    ew_error err = {0};
    if (ew_options_set(s->options, option, value, &err) != EW_OK)
        fail_msg("%s = %s: %s", option, value, err.detail);
}

static void *stage_join(void *arg) {
    stage *s = arg;
    ew_error err = {0};
    int status = ew_worker_join(s->worker, &err);
    pthread_mutex_lock(&s->lock);
    s->status = status;
    s->err = err;
    s->over = true;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void stage_start(stage *s) {
    ew_reactor reactor = EW_REACTOR(.tick = stage_tick, .track_reads = s->track_reads);
    ew_error err = {0};
    if (s->updates) {
        reactor.update = stage_update;
        reactor.reset = stage_reset;
    }
    if (ew_worker_create(&s->worker, s->options, &reactor, s, &err) != EW_OK)
        fail_msg("create: %s", err.detail);
    if (s->client != NULL)
        assert_int_equal(ew_worker_set_client(s->worker, s->client), EW_OK);
    if (s->session != NULL)
        assert_int_equal(ew_worker_set_session(s->worker, s->session), EW_OK);
    if (s->election != NULL)
        assert_int_equal(ew_worker_set_election(s->worker, s->election), EW_OK);
    if (ew_worker_start(s->worker, &err) != EW_OK)
        fail_msg("start: %s", err.detail);
    stages++;
    assert_int_equal(pthread_create(&s->joiner, NULL, stage_join, s), 0);
    s->started = true;
}

typedef struct waiting {
    int64_t deadline_ms;
    uint64_t ticks;
    int renewed;
} waiting;

/* Under the lock: false when it is time to give up. A worker that ticks may be slow, on a busy machine, and is given
 * more time; a worker that never ends is given up at last. */
static bool await_or_give_up(stage *s, waiting *w) {
    if (w->deadline_ms != 0 && await_move(s, w->deadline_ms))
        return true;
    if (w->deadline_ms != 0 && (s->ticks == w->ticks || ++w->renewed == 4))
        return false;
    w->ticks = s->ticks;
    w->deadline_ms = etcd_now_ms() + SCENE_WAIT_MS;
    return true;
}

/* Waits under the lock until `condition` or the run's end; a run that ends too early fails the test. */
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
            fail_msg("%s: never came; the run: %s %s", #condition, ew_errname(err_.code), err_.detail);                \
    } while (0)

void stage_begin(stage *s, stage_act act) {
    pthread_mutex_lock(&s->lock);
    s->act = act;
    pthread_mutex_unlock(&s->lock);
}

void stage_do(stage *s, stage_act act) {
    stage_begin(s, act);
    AWAIT(s, s->act == NULL && s->ticks > s->acted);
}

void stage_await_held(stage *s) {
    AWAIT(s, s->held);
}

void stage_release(stage *s) {
    pthread_mutex_lock(&s->lock);
    s->released = true;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
}

void stage_await_tick(stage *s, int64_t revision) {
    AWAIT(s, s->ticks > 0 && s->revision >= revision);
}

void stage_await_total(stage *s, uint64_t ticks) {
    AWAIT(s, s->ticks >= ticks);
}

void stage_await_ticks(stage *s, uint64_t more) {
    stage_await_total(s, stage_ticks(s) + more);
}

void stage_await_events(stage *s, size_t count) {
    AWAIT(s, s->event_count >= count);
}

uint64_t stage_ticks(stage *s) {
    pthread_mutex_lock(&s->lock);
    uint64_t ticks = s->ticks;
    pthread_mutex_unlock(&s->lock);
    return ticks;
}

static ew_worker_stats stats_now(stage *s) {
    ew_worker_stats stats = {.size = sizeof stats};
    assert_int_equal(ew_worker_get_stats(s->worker, &stats), EW_OK);
    return stats;
}

/* Whether the worker has told of every tick that has begun; while one is held it cannot. */
static bool is_told(void *arg) {
    stage *s = arg;
    pthread_mutex_lock(&s->lock);
    uint64_t ticks = s->ticks;
    bool held = s->held;
    pthread_mutex_unlock(&s->lock);
    return held || stats_now(s).ticks >= ticks;
}

ew_worker_stats stage_stats(stage *s) {
    assert_true(scene_until(is_told, s));
    return stats_now(s);
}

static bool is_ready(void *arg) {
    return stats_now(arg).ready;
}

static bool is_not_ready(void *arg) {
    return !stats_now(arg).ready;
}

void stage_await_ready(stage *s, bool ready) {
    assert_true(scene_until(ready ? is_ready : is_not_ready, s));
}

void stage_start_ready(stage *s) {
    stage_start(s);
    stage_await_ready(s, true);
}

int stage_await_end(stage *s) {
    AWAIT(s, s->over);
    return s->status;
}

int stage_close(stage *s) {
    int status = EW_OK;
    if (s->started) {
        ew_worker_stop(s->worker);
        pthread_mutex_lock(&s->lock);
        s->closing = true; /* a tick that holds still, goes on */
        pthread_cond_broadcast(&s->moved);
        pthread_mutex_unlock(&s->lock);
        status = stage_await_end(s);
        pthread_join(s->joiner, NULL);
        stages--;
    }
    ew_worker_destroy(s->worker);
    ew_options_free(s->options);
    pthread_cond_destroy(&s->moved);
    pthread_mutex_destroy(&s->lock);
    free(s->events);
    if (s->problem[0] != '\0')
        fail_msg("in the reactor: %s", s->problem);
    return status;
}

void stage_assert_event(stage *s, size_t i, ew_event_kind kind, bool initial, const char *key, const char *value) {
    pthread_mutex_lock(&s->lock);
    stage_event e = i < s->event_count ? s->events[i] : (stage_event){0};
    pthread_mutex_unlock(&s->lock);
    assert_string_equal(e.key, key);
    assert_int_equal(e.kind, kind);
    assert_int_equal(e.initial, initial);
    assert_string_equal(e.value, value);
    assert_int_equal(e.value_len, strlen(value));
}
