#include "chaos/recorder.h"

#include "lib/process.h"

#include <etcdworker/client.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* A group's id that appeared, or the state after a revision. */
typedef struct observation {
    bool is_state;
    group_id id;
    int64_t revision;
    uint64_t state;
} observation;

struct recorder {
    ew_client *client;
    ew_watch *watch;
    pthread_t thread;
    char prefix[64];  /* with a slash at its end */
    char name[64];    /* without it */
    model model;      /* used by the thread only, like the next three */
    unsigned deletes; /* in the current revision */
    bool has_author;
    unsigned author; /* of the current revision */
    _Atomic int64_t revision;

    pthread_mutex_t lock; /* protects the members below */
    observation *observations;
    size_t count, capacity;
    uint64_t groups[WORKERS], deletions[WORKERS];
    char problem[200];
};

static void add(recorder *r, observation s) {
    if (r->count == r->capacity) {
        r->capacity = r->capacity > 0 ? 2 * r->capacity : 1024;
        r->observations = realloc(r->observations, r->capacity * sizeof *r->observations);
        if (!r->observations)
            process_die("out of memory");
    }
    r->observations[r->count++] = s;
    if (!s.is_state && s.id.worker < WORKERS)
        r->groups[s.id.worker]++;
}

static void look(recorder *r, const ew_watch_event *e) {
    size_t skip = strlen(r->prefix);
    const char *rest = (const char *)e->kv.key.data + skip;
    size_t len = e->kv.key.len - skip;
    observation s = {.revision = e->kv.mod_revision};
    if (e->kind == EW_EVENT_DELETE)
        r->deletes++;
    else if ((len < 3 || memcmp(rest, "id/", 3) != 0) && (len < 5 || memcmp(rest, "seat/", 5) != 0))
        return;
    else if (group_id_parse(e->kv.value.data, e->kv.value.len, &s.id)) {
        add(r, s);
        r->has_author = true;
        r->author = s.id.worker;
    } else
        snprintf(r->problem, sizeof r->problem, "%.*s holds no group id", (int)e->kv.key.len,
                 (const char *)e->kv.key.data);
}

/* All events of a revision have been processed. */
static void end_revision(recorder *r, int64_t revision) {
    add(r, (observation){.is_state = true, .revision = revision, .state = model_hash(&r->model)});
    if (r->has_author && r->author < WORKERS)
        r->deletions[r->author] += r->deletes;
    r->deletes = 0;
    r->has_author = false;
}

/* Events of one revision are adjacent. */
static void look_at_all(recorder *r, const ew_watch_batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        const ew_watch_event *e = &batch->events[i];
        model_key *k = model_find(&r->model, r->name, e->kv.key);
        look(r, e);
        if (k)
            model_set(k, e->kind, e->kv.value, e->kv.mod_revision);
        if (i + 1 == batch->count || batch->events[i + 1].kv.mod_revision != e->kv.mod_revision)
            end_revision(r, e->kv.mod_revision);
    }
}

static void *record_all(void *arg) {
    recorder *r = arg;
    for (;;) {
        ew_watch_batch batch = {0};
        ew_error err = {0};
        int status = ew_watch_next(r->watch, -1, &batch, &err);
        if (status == EW_ERR_CANCELLED)
            return NULL;
        pthread_mutex_lock(&r->lock);
        if (status == EW_OK)
            look_at_all(r, &batch);
        else
            snprintf(r->problem, sizeof r->problem, "the recorder: %s: %.150s", ew_errname(status), err.detail);
        pthread_mutex_unlock(&r->lock);
        if (status != EW_OK)
            return NULL;
        r->revision = batch.revision;
    }
}

recorder *recorder_open(const ew_options *client, const char *prefix, int64_t revision) {
    const ew_watch_options from = EW_WATCH_OPTIONS(.start_revision = revision);
    recorder *r = calloc(1, sizeof *r);
    ew_error err = {0};
    if (!r)
        process_die("out of memory");
    snprintf(r->prefix, sizeof r->prefix, "%s/", prefix);
    snprintf(r->name, sizeof r->name, "%s", prefix);
    pthread_mutex_init(&r->lock, NULL);
    if (ew_client_open(&r->client, client, &err) != EW_OK ||
        ew_watch_open(&r->watch, r->client, ew_keys_prefix(ew_str(r->prefix)), &from, &err) != EW_OK)
        process_die("the recorder: %s: %s", ew_errname(err.code), err.detail);
    if (pthread_create(&r->thread, NULL, record_all, r) != 0)
        process_die("cannot create a thread");
    return r;
}

void recorder_close(recorder *r) {
    if (!r)
        return;
    ew_watch_cancel(r->watch);
    pthread_join(r->thread, NULL);
    ew_watch_close(r->watch);
    ew_client_close(r->client);
    pthread_mutex_destroy(&r->lock);
    free(r->observations);
    free(r);
}

void recorder_drain(recorder *r, ledger *l) {
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->count; i++) {
        const observation *s = &r->observations[i];
        if (s->is_state)
            ledger_state(l, s->revision, s->state);
        else
            ledger_applied(l, s->id, s->revision);
    }
    r->count = 0;
    pthread_mutex_unlock(&r->lock);
}

int64_t recorder_revision(const recorder *r) {
    return r->revision;
}

uint64_t recorder_groups(recorder *r, unsigned worker) {
    pthread_mutex_lock(&r->lock);
    uint64_t n = r->groups[worker];
    pthread_mutex_unlock(&r->lock);
    return n;
}

uint64_t recorder_deletions(recorder *r, unsigned others_than) {
    uint64_t n = 0;
    pthread_mutex_lock(&r->lock);
    for (unsigned worker = 0; worker < WORKERS; worker++)
        n += worker != others_than ? r->deletions[worker] : 0;
    pthread_mutex_unlock(&r->lock);
    return n;
}

const char *recorder_problem(recorder *r) {
    pthread_mutex_lock(&r->lock);
    const char *problem = r->problem[0] != '\0' ? r->problem : NULL;
    pthread_mutex_unlock(&r->lock);
    return problem;
}
