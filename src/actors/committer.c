/* The committer starts a transaction where the batch arrives, on nng's thread, so that no wake-up lies between the two;
 * the answer comes on the actor's own thread, which sleeps in the completion queue. The core is locked, but never
 * contended: with at most one batch between reactor and committer, only one of the two threads has anything to say at a
 * time. */
#include "actors/actor.h"
#include "actors/message.h"
#include "actors/sockets.h"
#include "core/committing.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "core/prefix.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct committer {
    ew_actor base;              /* first: an ew_actor is a committer */
    char *prefix, *counter_key; /* of a committer by itself */
    int64_t stop_timeout_ms;
    joint *joint; /* NULL for a committer by itself, as the next two */
    void (*check_lease)(void *arg);
    void *check_arg;
    atomic_bool no_space;

    pthread_mutex_t lock; /* all below */
    committing *core;
    etcd_call *call;        /* the transaction that waits for its answer */
    bool unstarted;         /* out of memory: told to the core in the next round, as a failure */
    int64_t slept_until_ms; /* the deadline that the thread knows of */
    char broken[128]; /* the message that broke the protocol of a worker, for which this actor ends; empty: none */
    bool over;
    int over_status;
    char over_detail[256];
} committer;

static void step(committer *c, committing_event event);

/* Whether the actor's thread must look at something that another thread has changed. */
static bool wants_thread(const committer *c) {
    return c->over || c->unstarted || atomic_load(&c->base.stop_timeout_ms) != 0 ||
           committing_deadline_ms(c->core) < c->slept_until_ms;
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    committer *c = arg;
    pthread_mutex_lock(&c->lock);
    c->call = NULL;
    if (!c->over) /* a call that the end has cancelled says nothing new */
        step(c, (committing_event){.type = COMMITTING_ANSWER, .status = status, .detail = detail, .bytes = bytes});
    atomic_store(&c->no_space, committing_has_no_space(c->core));
    bool wake = wants_thread(c);
    pthread_mutex_unlock(&c->lock);
    if (wake)
        etcd_task_wake(&c->base.task);
}

/* ---- the core's effects, under the lock ---- */

static void end(committer *c, int status, const char *detail) {
    if (c->over)
        return;
    c->over = true;
    if (c->call != NULL)
        etcd_call_cancel(c->call); /* the queue cannot go before its answer has come */
    c->over_status = c->broken[0] != '\0' ? EW_ERR_BAD_MESSAGE : status;
    snprintf(c->over_detail, sizeof c->over_detail, "%s",
             c->broken[0] != '\0' ? c->broken
             : detail != NULL     ? detail
                                  : "");
}

/* A commit waits for its event if that has not come yet; whatever else became of the batch is told at once, with the
 * events that wait. */
static int send_joint(joint *j, const Msg__Message *m) {
    outbox *ob = j->watcher->outbox;
    atomic_store(&j->in_flight, false);
    bool wait = m->outcome->status == EW_OK && m->outcome->barrier_revision > atomic_load(&j->revision) &&
                !j->watcher->ended; /* read on the watcher's own thread: no other sees a commit answered */
    atomic_store(&j->held_until_ms, wait ? etcd_now_ms() + JOINT_HOLD_MS : INT64_MAX);
    atomic_store(&j->awaited, wait ? m->outcome->barrier_revision : 0);
    etcd_task_due(&j->watcher->task); /* it lets go what waits too long */
    if (!wait)
        return outbox_join(ob, m);
    int status = outbox_hold(ob, m);
    watcher_send_awaited(j->watcher);
    return status;
}

static void send_outcome(committer *c, const Msg__Outcome *outcome) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.outcome = (Msg__Outcome *)(uintptr_t)outcome; /* only read */
    int status = c->joint != NULL ? send_joint(c->joint, &m) : outbox_send(c->base.outbox, &m);
    if (status != EW_OK)
        end(c, EW_ERR_NO_MEMORY, "sending an outcome");
}

static void carry_out(committer *c, const committing_effect *e) {
    switch (e->type) {
    case COMMITTING_DO_TXN:
        c->call = etcd_call_start(c->base.client, c->joint != NULL ? c->joint->watcher->queue : c->base.queue, ETCD_TXN,
                                  e->bytes, e->timeout_ms, answered, c);
        c->unstarted = c->call == NULL;
        break;
    case COMMITTING_DO_OUTCOME:
        send_outcome(c, &e->outcome);
        break;
    case COMMITTING_DO_LEASE:
        if (c->check_lease != NULL)
            c->check_lease(c->check_arg);
        break;
    case COMMITTING_DO_END:
        end(c, e->status, e->detail);
        break;
    case COMMITTING_DO_LOG:
        actor_log(c->base.worker, "committer", e->status, e->detail, 0);
        break;
    }
}

static void step(committer *c, committing_event event) {
    committing_effects effects;
    event.now_ms = etcd_now_ms();
    committing_step(c->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(c, &effects.list[i]);
}

/* ---- messages ---- */

static void take_batch(committer *c, const Msg__Patches *patches) {
    if (c->joint != NULL)
        atomic_store(&c->joint->in_flight, true);
    step(c, (committing_event){.type = COMMITTING_BATCH, .patches = patches});
}

/* One of two batches is not the reactor's, and it is unknown which: what is in flight is decided, and then this
 * committer ends. A single committer drops the second one. */
static void take_second_batch(committer *c, const Msg__Patches *patches) {
    char why[sizeof c->broken];
    snprintf(why, sizeof why, "PATCHES: batch %llu, while another one is undecided",
             (unsigned long long)patches->batch);
    actor_count_bad(&c->base, why);
    if (c->joint == NULL)
        return;
    snprintf(c->broken, sizeof c->broken, "%s", why);
    atomic_store(&c->base.stop_timeout_ms, c->stop_timeout_ms);
}

/* Reports it to the reactor of a worker: it may have been a batch, whose outcome the reactor waits for. */
static void report_malformed(committer *c) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Outcome o = MSG__OUTCOME__INIT;
    static char detail[] = "the committer has got a body that is no Message";
    if (!c->base.malformed || c->joint == NULL || c->over)
        return;
    c->base.malformed = false;
    o.status = EW_ERR_BAD_MESSAGE;
    o.detail = detail;
    m.outcome = &o;
    if (outbox_send(c->joint->watcher->outbox, &m) != EW_OK)
        end(c, EW_ERR_NO_MEMORY, "sending an outcome");
}

static void take_message(committer *c, const Msg__Message *m) {
    if (m->stop != NULL)
        atomic_store(&c->base.stop_timeout_ms, m->stop->timeout_ms > 0 ? m->stop->timeout_ms : 1);
    else if (m->session != NULL && m->session->lease != 0 && !m->session->done)
        step(c, (committing_event){.type = COMMITTING_LEASE, .lease = m->session->lease});
    else if (m->patches == NULL)
        actor_count_bad(&c->base, "not for a committer");
    else if (committing_get_state(c->core) != COMMITTING_IDLE)
        take_second_batch(c, m->patches);
    else
        take_batch(c, m->patches);
}

/* On nng's thread, or on the one that stops the actor. The thread is woken only if it must look at something itself. */
static void committer_arrived(void *arg) {
    committer *c = arg;
    pthread_mutex_lock(&c->lock);
    Msg__Message *m;
    while ((m = actor_take(&c->base)) != NULL) {
        take_message(c, m);
        msg__message__free_unpacked(m, NULL);
    }
    report_malformed(c);
    if (c->base.out_of_memory)
        end(c, EW_ERR_NO_MEMORY, "taking a message");
    bool wake = wants_thread(c);
    pthread_mutex_unlock(&c->lock);
    if (wake)
        etcd_task_wake(&c->base.task);
}

static int64_t committer_round(ew_actor *a, int64_t now_ms) {
    committer *c = (committer *)a;
    pthread_mutex_lock(&c->lock);
    if (c->unstarted) {
        c->unstarted = false;
        step(c, (committing_event){.type = COMMITTING_ANSWER, .status = EW_ERR_NO_MEMORY, .detail = "starting a call"});
    }
    int64_t stop_timeout_ms = atomic_exchange(&a->stop_timeout_ms, 0);
    if (stop_timeout_ms != 0 && !c->over)
        step(c, (committing_event){.type = COMMITTING_STOP, .timeout_ms = stop_timeout_ms});
    if (!c->over && committing_deadline_ms(c->core) <= now_ms)
        step(c, (committing_event){.type = COMMITTING_TIMER});
    if (c->over && c->call == NULL)
        actor_end(a, c->over_status, c->over_detail);
    c->slept_until_ms = c->unstarted ? now_ms : c->over ? INT64_MAX : committing_deadline_ms(c->core);
    int64_t deadline_ms = c->slept_until_ms;
    pthread_mutex_unlock(&c->lock);
    return deadline_ms;
}

/* ---- life ---- */

static void committer_start(ew_actor *a) {
    (void)a; /* nothing happens before the first batch */
}

static void take_apart(committer *c) {
    committing_free(c->core);
    free(c->prefix);
    free(c->counter_key);
    pthread_mutex_destroy(&c->lock);
}

static void committer_fini(ew_actor *a) {
    take_apart((committer *)a);
}

committing_config committer_config(const ew_options *o) {
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

/* A committer by itself has the counter, and no worker's receipt and fence. */
static bool configure_alone(committer *c, const ew_options *o, committing_config *config) {
    c->prefix = prefix_normalise(o->prefix);
    c->counter_key = c->prefix != NULL ? prefix_join(c->prefix, o->delete_counter_key) : NULL;
    *config = committer_config(o);
    config->prefix = ew_str(c->prefix);
    config->counter_key = ew_str(c->counter_key);
    return c->counter_key != NULL;
}

static bool configure(committer *c, const ew_options *o, const committer_binding *b) {
    committing_config config;
    if (b != NULL)
        config = *b->config;
    else if (!configure_alone(c, o, &config))
        return false;
    config.seed ^= (uint64_t)(uintptr_t)c;
    c->core = committing_new(&config);
    return c->core != NULL;
}

int committer_start_bound(ew_actor **out, ew_client *client, const ew_options *options,
                          const committer_binding *binding, const char *mailbox_url, const char *peer_url,
                          ew_error *err) {
    static const actor_ops ops = {
        MSG__ACTOR__COMMITTER, ETCD_LOOP_COMMIT,
        "committer",           committer_start,
        committer_arrived,     NULL,
        committer_round,       NULL,
        committer_fini,
    };
    *out = NULL;
    committer *c = calloc(1, sizeof *c);
    if (c == NULL || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return ew_fail(err, EW_ERR_NO_MEMORY, "starting the committer");
    }
    c->slept_until_ms = INT64_MAX;
    c->stop_timeout_ms = options->stop_timeout_ms;
    if (binding != NULL) {
        c->joint = binding->joint;
        c->check_lease = binding->check_lease;
        c->check_arg = binding->arg;
    }
    /* The core comes first: a batch may arrive as soon as the mailbox is open. */
    int status = configure(c, options, binding) ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "starting the committer");
    if (status == EW_OK)
        status = actor_init(&c->base, &ops, client, options, mailbox_url, peer_url, err);
    if (status != EW_OK) {
        take_apart(c);
        free(c);
        return status;
    }
    if (c->joint != NULL) /* so that it cannot overtake the last outcome */
        c->base.down_outbox = c->joint->watcher->outbox;
    actor_launch(&c->base);
    *out = &c->base;
    return EW_OK;
}

bool committer_has_no_space(const ew_actor *a) {
    return atomic_load(&((const committer *)a)->no_space);
}

int ew_committer_start(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                       const char *peer_url, ew_error *err) {
    if (actor_arguments_missing(out, client, options, mailbox_url, peer_url, __func__, err))
        return EW_ERR_INVALID;
    *out = NULL;
    int status = sockets_check_actor(mailbox_url, peer_url, err);
    return status == EW_OK ? committer_start_bound(out, client, options, NULL, mailbox_url, peer_url, err) : status;
}
