/* The committer as an actor. It starts a transaction where the batch arrives, on nng's thread, so that no wake-up lies
 * between the two; the answer of a worker's transaction comes on the watch loop's thread, which sleeps in the
 * completion queue; timers and the end are the commit loop's. The shell's committer is locked, but the lock is rarely
 * contended: at most one batch is between reactor and committer, so one of the three threads has work at a time. */
#include "shell/committer.h"

#include "actors/actor.h"
#include "actors/sockets.h"
#include "core/options_internal.h"
#include "core/prefix.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct committer_actor {
    ew_actor base;              /* first: an ew_actor is a committer_actor */
    char *prefix, *counter_key; /* of a committer by itself */
    ew_actor *watcher;          /* NULL for a committer by itself */
    io_ops ops;                 /* actor_io_ops, with a lock around each answer */
    atomic_bool no_space;

    pthread_mutex_t lock; /* all below */
    committer *committer;
    io_answer_fn answer; /* of the transaction that is under way */
    void *answer_arg;
    int64_t slept_until_ms; /* the deadline that the thread knows of */
} committer_actor;

/* Whether the actor's thread must look at something that another thread has changed. */
static bool wants_thread(const committer_actor *c) {
    return atomic_load(&c->base.stop_timeout_ms) != 0 || committer_next_ms(c->committer) < c->slept_until_ms;
}

static void unlock(committer_actor *c) {
    bool wake = wants_thread(c);
    pthread_mutex_unlock(&c->lock);
    if (wake)
        etcd_task_wake(&c->base.task);
}

/* ---- transactions: one at a time, in the watcher's queue if there is a watcher ---- */

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    committer_actor *c = arg;
    pthread_mutex_lock(&c->lock);
    c->answer(c->answer_arg, status, detail, bytes);
    atomic_store(&c->no_space, committer_has_no_space(c->committer));
    unlock(c);
}

static io_call *call(shell_io *io, io_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn, void *arg) {
    (void)method; /* IO_TXN */
    committer_actor *c = (committer_actor *)actor_of(io);
    c->answer = fn;
    c->answer_arg = arg;
    return (io_call *)etcd_call_start(c->base.client, (c->watcher ? c->watcher : &c->base)->queue, ETCD_TXN, request,
                                      timeout_ms, answered, c);
}

/* ---- the actor ---- */

static void start(ew_actor *a) {
    (void)a; /* nothing happens before the first batch */
}

static void take_messages(committer_actor *c) {
    Msg__Message *m;
    actor_taken taken;
    while ((taken = actor_take(&c->base, &m)) != ACTOR_EMPTY) {
        if (taken == ACTOR_NO_MEMORY) {
            committer_fail(c->committer);
        } else if (taken == ACTOR_MALFORMED) {
            committer_take_malformed(c->committer);
        } else {
            committer_take(c->committer, m);
            msg__message__free_unpacked(m, NULL);
        }
    }
}

/* On nng's thread, or on the one that stops the actor. */
static void arrived(void *arg) {
    committer_actor *c = arg;
    pthread_mutex_lock(&c->lock);
    take_messages(c);
    unlock(c);
}

static int64_t work(ew_actor *a, int64_t now_ms) {
    committer_actor *c = (committer_actor *)a;
    pthread_mutex_lock(&c->lock);
    int64_t stop_timeout_ms = atomic_exchange(&a->stop_timeout_ms, 0);
    if (stop_timeout_ms != 0)
        committer_stop(c->committer, stop_timeout_ms);
    int64_t next_ms = c->slept_until_ms = committer_round(c->committer, now_ms);
    pthread_mutex_unlock(&c->lock);
    return next_ms;
}

/* Only the loop's thread changes what is read here, in `work`. */
static bool ended(const ew_actor *a, int *status, const char **detail) {
    return committer_ended(((const committer_actor *)a)->committer, status, detail);
}

bool committer_is_out_of_space(const ew_actor *a) {
    return atomic_load(&((const committer_actor *)a)->no_space);
}

/* ---- life ---- */

static void fini(ew_actor *a) {
    committer_actor *c = (committer_actor *)a;
    committer_free(c->committer);
    free(c->prefix);
    free(c->counter_key);
    pthread_mutex_destroy(&c->lock);
}

committing_config committer_options(const ew_options *o) {
    return (committing_config){
        .counter = o->delete_counter == OPTIONS_COUNTER_COMPAT,
        .max_ops = (uint32_t)o->max_txn_ops,
        .textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL,
        .max_keys = (uint32_t)o->max_txn_keys,
        .max_bytes = o->max_txn_bytes,
        .call_timeout_ms = o->call_timeout_ms,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms,
        .seed = (uint64_t)etcd_now_ms(),
    };
}

/* A committer by itself has the counter, and neither a receipt nor a fence. */
static bool configure_alone(committer_actor *c, const ew_options *o, committing_config *config) {
    c->prefix = prefix_normalise(o->prefix);
    c->counter_key = c->prefix ? prefix_join(c->prefix, o->delete_counter_key) : NULL;
    *config = committer_options(o);
    config->prefix = ew_str(c->prefix);
    config->counter_key = ew_str(c->counter_key);
    return c->counter_key != NULL;
}

static bool configure(committer_actor *c, const ew_options *o, const committer_binding *b) {
    committing_config core;
    if (b)
        core = *b->config;
    else if (!configure_alone(c, o, &core))
        return false;
    core.seed ^= (uint64_t)(uintptr_t)c;
    c->ops = actor_io_ops;
    c->ops.call = call;
    c->base.io.ops = &c->ops;
    committer_config config = {.io = &c->base.io, .core = &core, .stop_timeout_ms = o->stop_timeout_ms};
    if (b) {
        config.piggyback = b->piggyback;
        config.check_lease = b->check_lease;
        config.check_arg = b->arg;
        c->watcher = b->watcher;
    }
    c->committer = committer_new(&config);
    return c->committer != NULL;
}

int committer_start_bound(ew_actor **out, ew_client *client, const ew_options *options,
                          const committer_binding *binding, const char *mailbox_url, const char *peer_url,
                          ew_error *err) {
    static const actor_ops ops = {
        .loop = ETCD_LOOP_COMMIT,
        .name = "committer",
        .start = start,
        .arrived = arrived,
        .round = work,
        .ended = ended,
        .fini = fini,
    };
    *out = NULL;
    committer_actor *c = calloc(1, sizeof *c);
    if (!c || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return ew_fail(err, EW_ERR_NO_MEMORY, "starting the committer");
    }
    c->slept_until_ms = INT64_MAX;
    /* The committer comes first: a batch may arrive as soon as the mailbox is open. */
    int status = configure(c, options, binding) ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "starting the committer");
    if (status == EW_OK)
        status = actor_init(&c->base, &ops, client, options, mailbox_url, peer_url, err);
    if (status != EW_OK) {
        fini(&c->base);
        free(c);
        return status;
    }
    actor_launch(&c->base);
    *out = &c->base;
    return EW_OK;
}

ew_status ew_committer_open(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                            const char *peer_url, ew_error *err) {
    if (actor_arguments_missing(out, client, options, mailbox_url, peer_url, __func__, err))
        return EW_ERR_INVALID;
    *out = NULL;
    int status = sockets_check_actor(mailbox_url, peer_url, err);
    return status == EW_OK ? committer_start_bound(out, client, options, NULL, mailbox_url, peer_url, err) : status;
}
