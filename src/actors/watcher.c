/* The watcher as an actor: the shell's watcher on the thread of a loop, with a mailbox. */
#include "shell/watcher.h"

#include "actors/actor.h"
#include "actors/sockets.h"
#include "core/options_internal.h"
#include "core/prefix.h"

#include <stdlib.h>

typedef struct watcher_actor {
    ew_actor base; /* first: an ew_actor is a watcher_actor */
    watching_config config;
    watcher *watcher;
    atomic_bool capacity; /* the reactor's mailbox has capacity again */
    atomic_bool needed;   /* the committer's answers come on this thread */
} watcher_actor;

static void start(ew_actor *a) {
    watcher_start(((watcher_actor *)a)->watcher);
}

static void arrived(void *arg) {
    etcd_task_wake(&((ew_actor *)arg)->task);
}

static void capacity(void *arg) {
    watcher_actor *w = arg;
    atomic_store(&w->capacity, true);
    etcd_task_wake(&w->base.task);
}

static void take_messages(watcher_actor *w) {
    Msg__Message *m;
    actor_taken taken;
    while ((taken = actor_take(&w->base, &m)) != ACTOR_EMPTY) {
        if (taken == ACTOR_NO_MEMORY) {
            watcher_fail(w->watcher);
        } else if (taken == ACTOR_MALFORMED) {
            watcher_take_malformed(w->watcher);
        } else {
            watcher_take(w->watcher, m);
            msg__message__free_unpacked(m, NULL);
        }
    }
}

static int64_t work(ew_actor *a, int64_t now_ms) {
    watcher_actor *w = (watcher_actor *)a;
    take_messages(w);
    if (atomic_exchange(&a->stop_timeout_ms, 0) != 0)
        watcher_stop(w->watcher);
    if (atomic_exchange(&w->capacity, false) && !outbox_busy(a->outbox))
        watcher_resume(w->watcher);
    return watcher_round(w->watcher, now_ms);
}

static bool ended(const ew_actor *a, int *status, const char **detail) {
    return watcher_ended(((const watcher_actor *)a)->watcher, status, detail);
}

static bool needed(const ew_actor *a) {
    return atomic_load(&((const watcher_actor *)a)->needed);
}

void watcher_release(ew_actor *a) {
    atomic_store(&((watcher_actor *)a)->needed, false);
}

static void fini(ew_actor *a) {
    watcher_actor *w = (watcher_actor *)a;
    watcher_free(w->watcher);
    free((void *)(uintptr_t)w->config.key.data);
    free((void *)(uintptr_t)w->config.range_end.data);
}

uint64_t watcher_reconnects(const ew_actor *a) {
    return watcher_get_reconnects(((const watcher_actor *)a)->watcher);
}

static bool configure(watcher_actor *w, const ew_options *o, piggyback *p) {
    char *prefix = prefix_normalise(o->prefix);
    bool ranged = prefix && prefix_range(ew_str(prefix), o->prefix_match == 1, &w->config.key, &w->config.range_end);
    free(prefix);
    if (!ranged)
        return false;
    w->config.page_bytes = o->page_bytes;
    w->config.receive_bytes = o->max_receive_bytes;
    w->config.backoff_min_ms = o->backoff_min_ms;
    w->config.backoff_max_ms = o->backoff_max_ms;
    w->config.silence_ms = o->watch_silence_ms;
    w->config.seed = (uint64_t)etcd_now_ms() ^ (uint64_t)(uintptr_t)w;
    w->base.io.ops = &actor_io_ops;
    w->watcher = watcher_new(&(watcher_config){
        .io = &w->base.io,
        .piggyback = p,
        .core = &w->config,
        .call_timeout_ms = o->call_timeout_ms,
    });
    return w->watcher != NULL;
}

int watcher_start_bound(ew_actor **out, ew_client *client, const ew_options *options, piggyback *p,
                        const char *mailbox_url, const char *peer_url, ew_error *err) {
    static const actor_ops ops = {
        .loop = ETCD_LOOP_WATCH,
        .name = "watcher",
        .start = start,
        .arrived = arrived,
        .capacity = capacity,
        .round = work,
        .ended = ended,
        .needed = needed,
        .fini = fini,
    };
    *out = NULL;
    watcher_actor *w = calloc(1, sizeof *w);
    if (!w)
        return ew_fail(err, EW_ERR_NO_MEMORY, "starting the watcher");
    w->needed = p != NULL;
    int status = configure(w, options, p) ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "starting the watcher");
    if (status == EW_OK)
        status = actor_init(&w->base, &ops, client, options, mailbox_url, peer_url, err);
    if (status != EW_OK) {
        fini(&w->base);
        free(w);
        return status;
    }
    actor_launch(&w->base);
    *out = &w->base;
    return EW_OK;
}

ew_status ew_watcher_open(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                          const char *peer_url, ew_error *err) {
    if (actor_arguments_missing(out, client, options, mailbox_url, peer_url, __func__, err))
        return EW_ERR_INVALID;
    *out = NULL;
    int status = sockets_check_actor(mailbox_url, peer_url, err);
    return status == EW_OK ? watcher_start_bound(out, client, options, NULL, mailbox_url, peer_url, err) : status;
}
