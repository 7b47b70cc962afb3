#include "etcd/loop.h"

#include "core/deadline.h"

#include <pthread.h>
#include <stdlib.h>

struct etcd_loop {
    const ew_client *client;
    etcd_loop_kind kind;
    unsigned users;  /* protected by all_lock */
    etcd_loop *next; /* the same */

    etcd_queue *queue;
    pthread_t thread;
    atomic_bool closing;
    _Atomic int64_t turned_ms;
    etcd_task *tasks; /* used by the loop's thread only */

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t over;
    etcd_task *added; /* new tasks that are not in `tasks` yet */
};

/* ---- the thread ---- */

static void admit(etcd_loop *l) {
    pthread_mutex_lock(&l->lock);
    while (l->added) {
        etcd_task *t = l->added;
        l->added = t->next;
        t->next = l->tasks;
        l->tasks = t;
    }
    pthread_mutex_unlock(&l->lock);
}

/* Marks the task as finished. After this its owner may free it. */
static void let_go(etcd_loop *l, etcd_task *t) {
    pthread_mutex_lock(&l->lock);
    t->over = true;
    pthread_cond_broadcast(&l->over);
    pthread_mutex_unlock(&l->lock);
}

/* Runs every task that is due; returns when the next one is due. */
static int64_t look(etcd_loop *l) {
    admit(l);
    int64_t now_ms = etcd_now_ms(), deadline_ms = now_ms + ETCD_LOOP_TURN_MS;
    atomic_store_explicit(&l->turned_ms, now_ms, memory_order_relaxed);
    for (etcd_task **at = &l->tasks; *at;) {
        etcd_task *t = *at;
        if (atomic_exchange(&t->due, false) || t->deadline_ms <= now_ms)
            t->deadline_ms = t->round(t, now_ms);
        if (t->deadline_ms == ETCD_TASK_OVER) {
            *at = t->next;
            let_go(l, t);
        } else {
            at = &t->next;
        }
    }
    /* A task may have made a task that ran earlier in this turn due again. */
    for (const etcd_task *t = l->tasks; t; t = t->next) {
        deadline_ms = deadline_earlier(deadline_ms, atomic_load(&t->due) ? now_ms : t->deadline_ms);
    }
    return deadline_ms;
}

static void *run(void *arg) {
    etcd_loop *l = arg;
    while (!atomic_load(&l->closing))
        etcd_queue_run(l->queue, look(l));
    return NULL;
}

/* ---- tasks ---- */

void etcd_task_start(etcd_task *t) {
    etcd_loop *l = t->loop;
    t->over = false;
    t->deadline_ms = INT64_MAX;
    atomic_store(&t->due, true);
    pthread_mutex_lock(&l->lock);
    t->next = l->added;
    l->added = t;
    pthread_mutex_unlock(&l->lock);
    etcd_queue_wake(l->queue);
}

void etcd_task_due(etcd_task *t) {
    atomic_store(&t->due, true);
}

void etcd_task_wake(etcd_task *t) {
    etcd_task_due(t);
    etcd_queue_wake(t->loop->queue);
}

void etcd_task_wait(etcd_task *t) {
    etcd_loop *l = t->loop;
    pthread_mutex_lock(&l->lock);
    while (!t->over)
        pthread_cond_wait(&l->over, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

/* ---- life ---- */

/* The loops of all clients of this process. There are few, so a list is enough. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static etcd_loop *all;

static void dismantle(etcd_loop *l) {
    etcd_queue_free(l->queue);
    pthread_cond_destroy(&l->over);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static int make(etcd_loop **out, const ew_client *client, etcd_loop_kind kind) {
    etcd_loop *l = calloc(1, sizeof *l);
    if (!l || !(l->queue = etcd_queue_new())) {
        free(l);
        return EW_ERR_NO_MEMORY;
    }
    l->client = client;
    l->kind = kind;
    l->turned_ms = etcd_now_ms();
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->over, NULL);
    if (pthread_create(&l->thread, NULL, run, l) != 0) {
        dismantle(l);
        return EW_ERR_SYSTEM;
    }
    l->next = all;
    all = l;
    *out = l;
    return EW_OK;
}

int etcd_loop_take(etcd_loop **out, ew_client *client, etcd_loop_kind kind) {
    int status = EW_OK;
    pthread_mutex_lock(&all_lock);
    etcd_loop *l = all;
    while (l && (l->client != client || l->kind != kind))
        l = l->next;
    if (!l)
        status = make(&l, client, kind);
    if (l)
        l->users++;
    pthread_mutex_unlock(&all_lock);
    *out = l;
    return status;
}

static bool leave(etcd_loop *l) {
    pthread_mutex_lock(&all_lock);
    bool last = --l->users == 0;
    etcd_loop **at = &all;
    while (last && *at != l)
        at = &(*at)->next;
    if (last)
        *at = l->next;
    pthread_mutex_unlock(&all_lock);
    return last;
}

void etcd_loop_give(etcd_loop *l) {
    if (!l || !leave(l))
        return;
    atomic_store(&l->closing, true);
    etcd_queue_wake(l->queue);
    pthread_join(l->thread, NULL);
    dismantle(l);
}

etcd_queue *etcd_loop_queue(const etcd_loop *l) {
    return l->queue;
}

int64_t etcd_loop_turned_ms(const etcd_loop *l) {
    return atomic_load_explicit(&l->turned_ms, memory_order_relaxed);
}

bool etcd_loop_is_here(const etcd_loop *l) {
    return pthread_equal(pthread_self(), l->thread);
}
