/* A session: a lease, and a thread that keeps it alive and notices its end (SEMANTICS 30).
 *
 * The sessions of a client share that thread. It sleeps in its own completion queue, so neither a slow tick nor a long
 * call delays a keepalive. */
#include "etcd/connection.h"
#include "etcd/keepalive.h"
#include "etcd/loop.h"

#include "core/argument.h"
#include "core/log.h"
#include "etcd.pb-c.h"

#include <etcdworker/session.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SESSION_LISTENERS_MAX 8

typedef struct listener {
    ew_session_fn fn; /* NULL: unused */
    void *arg;
} listener;

struct ew_session {
    etcd_task task; /* first */
    ew_client *client;
    int64_t lease;
    keepalive *keepalive;
    bool stopped; /* keepalive_stop was called */
    atomic_bool closing, done;

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t idle;  /* a listener has returned */
    listener listeners[SESSION_LISTENERS_MAX];
    listener running;
    bool called; /* the listeners have been called, or are being called */
};

/* ---- listeners ---- */

/* Calls the listeners one after the other, without holding the lock, so that a listener may use the session. */
static void call_listeners(ew_session *s) {
    pthread_mutex_lock(&s->lock);
    s->called = true;
    for (int i = 0; i < SESSION_LISTENERS_MAX; i++) {
        s->running = s->listeners[i];
        s->listeners[i] = (listener){0};
        if (!s->running.fn)
            continue;
        pthread_mutex_unlock(&s->lock);
        s->running.fn(s->running.arg);
        pthread_mutex_lock(&s->lock);
        s->running = (listener){0};
        pthread_cond_broadcast(&s->idle);
    }
    pthread_mutex_unlock(&s->lock);
}

ew_status ew_session_on_done(ew_session *s, ew_session_fn fn, void *arg) {
    if (ARGUMENT_MISSING(s, NULL) || ARGUMENT_MISSING(fn, NULL))
        return EW_ERR_INVALID;
    if (!fn)
        return EW_ERR_INVALID;
    if (etcd_check_process(s->client, NULL) != EW_OK)
        return EW_ERR_STATE;
    pthread_mutex_lock(&s->lock);
    bool called = s->called;
    bool kept = false;
    for (int i = 0; i < SESSION_LISTENERS_MAX && !called && !kept; i++) {
        if (!s->listeners[i].fn) {
            s->listeners[i] = (listener){fn, arg};
            kept = true;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (called)
        fn(arg);
    return called || kept ? EW_OK : EW_ERR_STATE;
}

void ew_session_forget(ew_session *s, ew_session_fn fn, void *arg) {
    if (!s || etcd_check_process(s->client, NULL) != EW_OK)
        return;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SESSION_LISTENERS_MAX; i++) {
        if (s->listeners[i].fn == fn && s->listeners[i].arg == arg)
            s->listeners[i] = (listener){0};
    }
    /* A listener that removes itself must not wait for its own end. */
    while (s->running.fn == fn && s->running.arg == arg && !etcd_loop_is_here(s->task.loop))
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the thread ---- */

static void end(ew_session *s) {
    log_fields(EW_LOG_WARN, &s->client->log, "session", "the session has ended", {"lease", NULL, s->lease});
    atomic_store(&s->done, true);
    call_listeners(s);
}

static int64_t session_round(etcd_task *t, int64_t now_ms) {
    (void)now_ms; /* leases use keepalive_now_ms */
    ew_session *s = (ew_session *)t;
    if (!s->stopped) {
        bool closing = atomic_load(&s->closing), over = !closing && keepalive_step(s->keepalive);
        if (!closing && !over)
            return keepalive_deadline_ms(s->keepalive);
        if (over)
            end(s);
        s->stopped = true;
        keepalive_stop(s->keepalive);
    }
    return keepalive_stopped(s->keepalive) ? ETCD_TASK_OVER : INT64_MAX;
}

static void free_session(ew_session *s) {
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->idle);
    keepalive_free(s->keepalive);
    etcd_loop_give(s->task.loop);
    free(s);
}

ew_status ew_session_open(ew_session **out, ew_client *client, int64_t ttl_s, ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(client, err);
    if (status != EW_OK)
        return status;
    if (ttl_s < 1 || ttl_s > LEASE_TTL_MAX_S)
        return ew_fail(err, EW_ERR_INVALID, "session: TTL of %" PRId64 " s is not in 1..%" PRId64, ttl_s,
                       LEASE_TTL_MAX_S);
    ew_session *s = calloc(1, sizeof *s);
    status = s ? etcd_loop_take(&s->task.loop, client, ETCD_LOOP_KEEP) : EW_ERR_NO_MEMORY;
    if (status != EW_OK) {
        free(s);
        return ew_fail(err, status, "session");
    }
    s->task.round = session_round;
    s->client = client;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);

    int64_t sent_ms = keepalive_now_ms(), granted_s = 0;
    status = ew_client_lease_grant(client, ttl_s, &s->lease, &granted_s, err);
    if (status == EW_OK) {
        s->keepalive = keepalive_new(client, &s->task, s->lease, granted_s, sent_ms);
        if (!s->keepalive) {
            status = ew_fail(err, EW_ERR_NO_MEMORY, "session");
            lease_revoke_soon(client, s->lease, LEASE_REVOKE_MS);
        }
    }
    if (status != EW_OK) {
        free_session(s);
        return status;
    }
    etcd_task_start(&s->task);
    *out = s;
    return EW_OK;
}

int64_t ew_session_lease(const ew_session *s) {
    if (!s)
        return 0;
    return s->lease;
}

bool ew_session_is_done(const ew_session *s) {
    if (!s)
        return false;
    return atomic_load(&((ew_session *)(uintptr_t)s)->done);
}

void ew_session_close(ew_session *s, ew_session_end end) {
    if (!s || etcd_check_process(s->client, NULL) != EW_OK)
        return;
    atomic_store(&s->closing, true);
    etcd_task_wake(&s->task);
    etcd_task_wait(&s->task);
    if (end == EW_SESSION_REVOKE)
        lease_revoke_soon(s->client, s->lease, LEASE_REVOKE_MS);
    free_session(s);
}
