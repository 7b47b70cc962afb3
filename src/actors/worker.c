#include "actors/actor.h"
#include "actors/message.h"
#include "actors/reach.h"
#include "actors/reactor.h"
#include "core/committing.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "core/prefix.h"
#include "etcd.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

struct ew_worker {
    ew_options *options;
    reactor_actor reactor;
    ew_client *client;
    ew_session *session;
    ew_election *election;
    int64_t leader_revision; /* of its key, when the worker was started */
    bool own_client, own_session;
    char *prefix, *counter_key, *worker_id, *receipt_key;
    char *marker_key; /* bound to the session's lease, for fence_session */
    uint8_t *fence;   /* the compares that every transaction carries */
    committing_config committing;
    char *url; /* <url_prefix>/<name> */
    char *submit_url, *ticks_url;

    pthread_mutex_t lock;
    outbox *control;   /* to the reactor's mailbox: stop, session */
    bool stop_waiting; /* a stop came before there was a mailbox for it */
    bool started, joined;
    pthread_t thread;
    ew_actor *watcher, *committer;
    joint joint;
    uint64_t reconnects, bad_messages; /* of watcher and committer, when they have ended */
};

static int out_of_memory(ew_error *err) {
    return ew_fail(err, EW_ERR_NO_MEMORY, "making the worker");
}

/* ---- create ---- */

static int check_options(const ew_options *o, const ew_reactor *reactor, ew_error *err) {
    if (reactor == NULL || reactor->size < offsetof(ew_reactor, update) || reactor->tick == NULL)
        return ew_fail(err, EW_ERR_INVALID, "the reactor has no tick function");
    if (o->name[0] == '\0' || strchr(o->name, '/') != NULL)
        return ew_fail(err, EW_ERR_INVALID, "name = \"%s\": a name, without '/'", o->name);
    if (strstr(o->url_prefix, "://") == NULL)
        return ew_fail(err, EW_ERR_INVALID, "url_prefix = \"%s\": an nng URL, such as inproc://etcdworker",
                       o->url_prefix);
    if (o->backoff_min_ms > o->backoff_max_ms)
        return ew_fail(err, EW_ERR_INVALID, "backoff_min_ms is larger than backoff_max_ms");
    if (o->conflict_backoff_min_ms > o->conflict_backoff_max_ms)
        return ew_fail(err, EW_ERR_INVALID, "conflict_backoff_min_ms is larger than conflict_backoff_max_ms");
    return EW_OK;
}

/* A receipt inside the prefix would be seen by other workers of the prefix as a key of their application. */
static int check_receipts(const ew_worker *w, ew_error *err) {
    const ew_options *o = w->options;
    if (!o->exactly_once && !o->fence_session)
        return EW_OK;
    bool textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL;
    if (w->prefix[0] != '\0' && prefix_owns(ew_str(w->prefix), textual, ew_str(w->receipt_key)))
        return ew_fail(err, EW_ERR_INVALID, "receipt_prefix = \"%s\" lies inside the prefix \"%s\"", o->receipt_prefix,
                       w->prefix);
    return EW_OK;
}

static char *random_id(void) {
    uint64_t n[2];
    char *id = NULL;
    if (getrandom(n, sizeof n, 0) != sizeof n ||
        asprintf(&id, "%016llx%016llx", (unsigned long long)n[0], (unsigned long long)n[1]) < 0)
        return NULL;
    return id;
}

static bool make_names(ew_worker *w) {
    const ew_options *o = w->options;
    w->prefix = prefix_normalise(o->prefix);
    w->worker_id = o->worker_id[0] != '\0' ? strdup(o->worker_id) : random_id();
    if (w->prefix == NULL || w->worker_id == NULL ||
        asprintf(&w->counter_key, "%s%s", w->prefix, PREFIX_COUNTER_SUFFIX) < 0 ||
        asprintf(&w->receipt_key, "%s/%s", o->receipt_prefix, w->worker_id) < 0 ||
        asprintf(&w->marker_key, "%s/session", w->receipt_key) < 0 ||
        asprintf(&w->url, "%s/%s", o->url_prefix, o->name) < 0)
        return false;
    return (!o->submit || asprintf(&w->submit_url, "%s/submit", w->url) >= 0) &&
           (!o->publish_ticks || asprintf(&w->ticks_url, "%s/ticks", w->url) >= 0);
}

int ew_worker_create(ew_worker **out, const ew_options *options, const ew_reactor *reactor, void *self, ew_error *err) {
    *out = NULL;
    int status = check_options(options, reactor, err);
    if (status != EW_OK)
        return status;
    ew_worker *w = calloc(1, sizeof *w);
    if (w == NULL || pthread_mutex_init(&w->lock, NULL) != 0) {
        free(w);
        return out_of_memory(err);
    }
    w->options = options_copy(options);
    status = w->options != NULL && make_names(w) ? check_receipts(w, err) : out_of_memory(err);
    if (status != EW_OK) {
        ew_worker_destroy(w);
        return status;
    }
    memcpy(&w->reactor.table, reactor, reactor->size < sizeof *reactor ? reactor->size : sizeof *reactor);
    w->reactor.self = self;
    w->reactor.name = w->options->name;
    w->reactor.slow_tick_ms = w->options->slow_tick_ms;
    w->reactor.stop_timeout_ms = w->options->stop_timeout_ms;
    w->reactor.start_timeout_ms = w->options->start_timeout_ms;
    w->reactor.counters.barrier_revision = -1;
    w->joint.held_until_ms = INT64_MAX;
    *out = w;
    return EW_OK;
}

int ew_worker_set_client(ew_worker *w, ew_client *client) {
    if (w->started)
        return EW_ERR_STATE;
    w->client = client;
    return EW_OK;
}

int ew_worker_set_session(ew_worker *w, ew_session *session) {
    if (w->started)
        return EW_ERR_STATE;
    w->session = session;
    return EW_OK;
}

int ew_worker_set_election(ew_worker *w, ew_election *election) {
    if (w->started)
        return EW_ERR_STATE;
    w->election = election;
    return EW_OK;
}

/* ---- the run ---- */

static void tell_reactor(ew_worker *w, const Msg__Message *m) {
    pthread_mutex_lock(&w->lock);
    if (w->control != NULL)
        outbox_send(w->control, m);
    pthread_mutex_unlock(&w->lock);
}

static void session_done(void *arg) {
    ew_worker *w = arg;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = ew_session_lease(w->session);
    session.done = true;
    m.session = &session;
    tell_reactor(w, &m);
}

static bool needs_session(const ew_worker *w) {
    return w->options->exactly_once || w->options->fence_session;
}

/* Before the peers run, a message can only be the stop of ew_worker_stop; requests are answered that it is too early.
 */
static bool stop_was_asked(ew_worker *w) {
    bool asked = false;
    mailbox_message m;
    while (!asked && mailbox_take(w->reactor.mailbox, &m)) {
        asked = m.request == 0;
        if (!asked)
            reactor_reply(&w->reactor, m.request, EW_ERR_UNAVAILABLE, 0, "the worker has not reached etcd yet");
        mailbox_message_free(&m);
    }
    return asked;
}

/* Waits for etcd in short attempts, between which a stop is heard; longer ones each time, since etcd may be slow. */
static int await_etcd(ew_worker *w, int64_t deadline_ms, ew_error *err) {
    enum { SHORTEST_MS = 250, LONGEST_MS = 4000 };
    for (int64_t attempt_ms = SHORTEST_MS;; attempt_ms = 2 * attempt_ms < LONGEST_MS ? 2 * attempt_ms : LONGEST_MS) {
        int64_t left_ms = deadline_ms - etcd_now_ms();
        ew_error why = {0};
        int status = reach_etcd(w->client, left_ms < 1 ? 1 : left_ms < attempt_ms ? left_ms : attempt_ms, &why);
        if (status == EW_OK || status == EW_ERR_NO_MEMORY)
            return status == EW_OK ? EW_OK : ew_fail(err, status, "%s", why.detail);
        if (etcd_now_ms() >= deadline_ms)
            return ew_fail(err, EW_ERR_UNAVAILABLE, "etcd has not answered within start_timeout_ms: %s", why.detail);
        mailbox_wait(w->reactor.mailbox, etcd_now_ms() + w->options->backoff_min_ms, true);
        if (stop_was_asked(w))
            return ew_fail(err, EW_ERR_CANCELLED, "stopped");
    }
}

static int open_session(ew_worker *w, ew_error *err) {
    int status = ew_session_open(&w->session, w->client, w->options->session_ttl_s, err);
    w->own_session = status == EW_OK;
    return status;
}

/* May be done any number of times. */
static int put_marker(ew_worker *w, ew_error *err) {
    const ew_put_options options = EW_PUT_OPTIONS(.lease = ew_session_lease(w->session));
    int status = ew_client_put(w->client, ew_str(w->marker_key), ew_str(w->worker_id), &options, NULL, err);
    /* The only thing that may be missing is the lease. */
    return status == EW_ERR_NOT_FOUND ? ew_fail(err, EW_ERR_SESSION_DONE, "the session's lease is gone") : status;
}

/* What must be in etcd before the run: as patient as the load of the first snapshot, and as easily stopped. */
static int patiently(ew_worker *w, int (*attempt)(ew_worker *w, ew_error *err), int64_t deadline_ms, ew_error *err) {
    const ew_options *o = w->options;
    int64_t backoff_ms = o->backoff_min_ms;
    for (;;) {
        int status = await_etcd(w, deadline_ms, err);
        if (status != EW_OK)
            return status;
        status = attempt(w, err);
        if (status == EW_OK || !(ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME) ||
            etcd_now_ms() + backoff_ms >= deadline_ms)
            return status;
        log_fields(EW_LOG_WARN, o->name, "worker", "no session yet", {"error", ew_strerror(status), 0});
        mailbox_wait(w->reactor.mailbox, etcd_now_ms() + backoff_ms, true);
        if (stop_was_asked(w))
            return ew_fail(err, EW_ERR_CANCELLED, "stopped");
        backoff_ms = 2 * backoff_ms < o->backoff_max_ms ? 2 * backoff_ms : o->backoff_max_ms;
    }
}

static int ensure_session(ew_worker *w, ew_error *err) {
    const int64_t timeout_ms = w->options->start_timeout_ms;
    int64_t deadline_ms = timeout_ms > 0 ? etcd_now_ms() + timeout_ms : INT64_MAX;
    int status = EW_OK;
    if (w->session == NULL && w->election != NULL)
        w->session = ew_election_session(w->election);
    if (w->session == NULL && needs_session(w))
        status = patiently(w, open_session, deadline_ms, err);
    if (status == EW_OK && w->options->fence_session)
        status = patiently(w, put_marker, deadline_ms, err);
    return status;
}

/* ---- what reactor and committer must agree on ---- */

static int64_t lease_of(const ew_worker *w) {
    return w->session != NULL ? ew_session_lease(w->session) : 0;
}

static Pb__Compare *add_compare(Pb__Compare *list, Pb__Compare **pointers, Pb__TxnRequest *to, ew_slice key) {
    Pb__Compare *c = &list[to->n_compare];
    pb__compare__init(c);
    c->key = message_bytes(key);
    c->result = PB__COMPARE__COMPARE_RESULT__EQUAL;
    pointers[to->n_compare++] = c;
    return c;
}

/* SEMANTICS 30, 31: the session's marker still has its lease, the leader's key is still the one that was elected. */
static bool make_fence(ew_worker *w) {
    Pb__Compare list[2], *pointers[2];
    Pb__TxnRequest fence = PB__TXN_REQUEST__INIT;
    fence.compare = pointers;
    if (w->options->fence_session) {
        Pb__Compare *c = add_compare(list, pointers, &fence, ew_str(w->marker_key));
        c->target = PB__COMPARE__COMPARE_TARGET__LEASE;
        c->target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
        c->lease = lease_of(w);
    }
    if (w->election != NULL) {
        Pb__Compare *c = add_compare(list, pointers, &fence, ew_election_key(w->election));
        c->target = PB__COMPARE__COMPARE_TARGET__CREATE;
        c->target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
        c->create_revision = w->leader_revision;
    }
    if (fence.n_compare == 0)
        return true;
    size_t size = pb__txn_request__get_packed_size(&fence);
    w->fence = malloc(size);
    if (w->fence == NULL)
        return false;
    w->committing.fence = (ew_slice){w->fence, pb__txn_request__pack(&fence, w->fence)};
    w->committing.fence_compares = (uint32_t)fence.n_compare;
    return true;
}

/* The one configuration of the committing core: the ticking core is told from it how much fits a transaction. */
static bool configure_committing(ew_worker *w) {
    w->committing = committer_config(w->options);
    w->committing.counter_key = ew_str(w->counter_key);
    w->committing.exactly_once = w->options->exactly_once;
    w->committing.receipt_key = ew_str(w->receipt_key);
    w->committing.lease = lease_of(w);
    return make_fence(w);
}

static ticking_config core_config(const ew_worker *w) {
    const ew_options *o = w->options;
    return (ticking_config){
        .prefix = ew_str(w->prefix),
        .textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL,
        .counter = w->committing.counter,
        .receipt_prefix = ew_str(o->receipt_prefix),
        .wants_updates = w->reactor.table.update != NULL,
        .tick_interval_ms = o->tick_interval_ms,
        .tick_on_load = o->tick_on_load,
        .coalesce = o->coalesce,
        .max_ticks_per_second = o->max_ticks_per_second,
        .serializable = o->isolation == OPTIONS_ISOLATION_SERIALIZABLE,
        .max_txn_keys = committing_max_keys(&w->committing),
        .max_txn_bytes = w->committing.max_bytes,
        .txn_overhead_bytes = committing_overhead(&w->committing),
        .conflict_backoff_min_ms = o->conflict_backoff_min_ms,
        .conflict_backoff_max_ms = o->conflict_backoff_max_ms,
        .max_pending_update_bytes = o->max_pending_update_bytes,
        .max_submits = (uint32_t)o->max_submits,
        .session_lease = lease_of(w),
        .audit_interval_ms = o->audit_interval_s * 1000,
        .seed = (uint64_t)etcd_now_ms() ^ (uint64_t)(uintptr_t)w,
    };
}

static char *url_of(const ew_worker *w, const char *actor) {
    char *url;
    return asprintf(&url, "%s/%s", w->url, actor) < 0 ? NULL : url;
}

/* Watcher, committer and the ways to them. */
static int start_peers(ew_worker *w, ew_error *err) {
    char *reactor = url_of(w, "reactor"), *watcher = url_of(w, "watcher"), *committer = url_of(w, "committer");
    const committer_binding binding = {&w->committing, &w->joint};
    int status = reactor != NULL && watcher != NULL && committer != NULL ? EW_OK : out_of_memory(err);
    ew_actor *a = NULL, *b = NULL;
    if (status == EW_OK)
        status = watcher_start_joint(&a, w->client, w->options, &w->joint, watcher, reactor, err);
    w->joint.watcher = a;
    if (status == EW_OK)
        status = committer_start_bound(&b, w->client, w->options, &binding, committer, reactor, err);
    pthread_mutex_lock(&w->lock); /* ew_worker_get_stats reads them from other threads */
    w->watcher = a;
    w->committer = b;
    pthread_mutex_unlock(&w->lock);
    if (status == EW_OK)
        status = outbox_open(&w->reactor.to_watcher, watcher, 2, NULL, NULL, err);
    if (status == EW_OK)
        status = outbox_open(&w->reactor.to_committer, committer, 2, NULL, NULL, err);
    free(reactor);
    free(watcher);
    free(committer);
    return status;
}

static int begin(ew_worker *w, ew_error *err) {
    int status = ensure_session(w, err);
    if (status != EW_OK)
        return status;
    if (!configure_committing(w))
        return out_of_memory(err);
    ticking_config config = core_config(w);
    w->reactor.core = ticking_new(&config);
    if (w->reactor.core == NULL)
        return out_of_memory(err);
    w->reactor.session = w->session;
    if (w->session != NULL)
        status = ew_session_on_done(w->session, session_done, w);
    return status == EW_OK ? start_peers(w, err) : ew_fail(err, status, "watching over the session");
}

/* Under the lock. */
static uint64_t bad_messages(const ew_worker *w) {
    return w->bad_messages + (w->watcher != NULL ? ew_actor_bad_messages(w->watcher) : 0) +
           (w->committer != NULL ? ew_actor_bad_messages(w->committer) : 0);
}

/* In the order in which nothing is used any more: actors, session, core, sockets. */
static void finish(ew_worker *w) {
    ew_actor *watcher = w->watcher, *committer = w->committer;
    pthread_mutex_lock(&w->lock); /* from here on ew_worker_get_stats leaves them alone: they are freed below */
    if (watcher != NULL)
        w->reconnects = watcher_reconnects(watcher);
    w->bad_messages = bad_messages(w);
    w->watcher = w->committer = NULL;
    pthread_mutex_unlock(&w->lock);
    if (committer != NULL)
        ew_actor_stop(committer, NULL);
    atomic_store(&w->joint.closed, true); /* the watcher's thread has run the committer's calls until now */
    if (watcher != NULL)
        ew_actor_stop(watcher, NULL);
    if (w->session != NULL)
        ew_session_forget(w->session, session_done, w);
    if (w->own_session) {
        ew_session_close(w->session, false);
        w->session = NULL;
    }
    ticking_free(w->reactor.core);
    w->reactor.core = NULL;
    outbox_close(w->reactor.to_watcher);
    outbox_close(w->reactor.to_committer);
}

static void *worker_main(void *arg) {
    ew_worker *w = arg;
    ew_error err = {0};
    int status = begin(w, &err);
    if (status == EW_OK) {
        log_write(EW_LOG_INFO, w->options->name, "worker", "started", NULL, 0);
        reactor_run(&w->reactor);
    } else {
        w->reactor.status = status;
        snprintf(w->reactor.detail, sizeof w->reactor.detail, "%s", err.detail);
    }
    finish(w);
    log_fields(w->reactor.status == EW_OK || w->reactor.status == EW_ERR_CANCELLED ? EW_LOG_INFO : EW_LOG_ERROR,
               w->options->name, "worker", "ended", {"status", ew_strerror(w->reactor.status), 0},
               {"detail", w->reactor.detail, 0});
    return NULL;
}

/* ---- start, stop, join ---- */

static void send_stop(outbox *control) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    m.stop = &stop;
    outbox_send(control, &m);
}

/* From here on a stop finds its way; one that came before is sent now. */
static void take_control(ew_worker *w, outbox *control) {
    pthread_mutex_lock(&w->lock);
    w->control = control;
    if (w->stop_waiting)
        send_stop(control);
    pthread_mutex_unlock(&w->lock);
}

static int open_sockets(ew_worker *w, ew_error *err) {
    const ew_options *o = w->options;
    char *url = url_of(w, "reactor");
    int status = url != NULL ? EW_OK : out_of_memory(err);
    if (status == EW_OK)
        status = mailbox_open(&w->reactor.mailbox, url, (size_t)o->mailbox_messages, NULL, NULL, err);
    if (status == EW_OK && w->submit_url != NULL)
        status = mailbox_serve(w->reactor.mailbox, w->submit_url, (size_t)o->max_submits, err);
    if (status == EW_OK && w->ticks_url != NULL)
        status = publisher_open(&w->reactor.ticks, w->ticks_url, err);
    outbox *control = NULL;
    if (status == EW_OK)
        status = outbox_open(&control, url, 2, NULL, NULL, err);
    if (status == EW_OK)
        take_control(w, control);
    free(url);
    return status;
}

static void close_sockets(ew_worker *w) {
    pthread_mutex_lock(&w->lock);
    outbox *control = w->control;
    w->control = NULL;
    pthread_mutex_unlock(&w->lock);
    outbox_close(control);
    publisher_close(w->reactor.ticks);
    w->reactor.ticks = NULL;
    mailbox_close(w->reactor.mailbox);
    w->reactor.mailbox = NULL;
}

int ew_worker_start(ew_worker *w, ew_error *err) {
    if (w->started)
        return ew_fail(err, EW_ERR_STATE, "the worker has been started before");
    w->leader_revision = w->election != NULL ? ew_election_revision(w->election) : 0;
    if (w->election != NULL && w->leader_revision == 0)
        return ew_fail(err, EW_ERR_STATE, "the worker's election is not won, or lost again");
    int status = EW_OK;
    if (w->client == NULL) {
        status = ew_client_open(&w->client, w->options, err);
        w->own_client = status == EW_OK;
    }
    if (status == EW_OK)
        status = open_sockets(w, err);
    if (status == EW_OK && pthread_create(&w->thread, NULL, worker_main, w) != 0)
        status = ew_fail(err, EW_ERR_SYSTEM, "the reactor's thread cannot be started");
    if (status != EW_OK)
        close_sockets(w);
    else
        w->started = true;
    return status;
}

void ew_worker_stop(ew_worker *w) {
    pthread_mutex_lock(&w->lock);
    if (w->control != NULL)
        send_stop(w->control);
    else
        w->stop_waiting = true;
    pthread_mutex_unlock(&w->lock);
}

int ew_worker_join(ew_worker *w, ew_error *err) {
    if (!w->started || w->joined)
        return ew_fail(err, EW_ERR_STATE,
                       w->joined ? "the worker has been joined before" : "the worker was not started");
    pthread_join(w->thread, NULL);
    w->joined = true;
    close_sockets(w);
    return w->reactor.status == EW_OK ? EW_OK : ew_fail(err, w->reactor.status, "%s", w->reactor.detail);
}

int ew_worker_run(ew_worker *w, ew_error *err) {
    int status = ew_worker_start(w, err);
    return status == EW_OK ? ew_worker_join(w, err) : status;
}

void ew_worker_destroy(ew_worker *w) {
    if (w == NULL)
        return;
    if (w->started && !w->joined) {
        ew_worker_stop(w);
        ew_worker_join(w, NULL);
    }
    if (w->own_client)
        ew_client_close(w->client);
    ew_options_free(w->options);
    free(w->prefix);
    free(w->counter_key);
    free(w->worker_id);
    free(w->receipt_key);
    free(w->marker_key);
    free(w->fence);
    free(w->url);
    free(w->submit_url);
    free(w->ticks_url);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- what it tells ---- */

static uint64_t read_counter(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int ew_worker_get_stats(const ew_worker *w, ew_worker_stats *out) {
    if (out->size < sizeof *out)
        return EW_ERR_INVALID;
    const reactor_counters *c = &w->reactor.counters;
    ew_worker *unlocked = (ew_worker *)(uintptr_t)w; /* the lock is no part of what a const worker promises */
    pthread_mutex_lock(&unlocked->lock);
    uint64_t reconnects = w->watcher != NULL ? watcher_reconnects(w->watcher) : w->reconnects;
    uint64_t bad = bad_messages(w);
    pthread_mutex_unlock(&unlocked->lock);
    *out = (ew_worker_stats){
        .size = out->size,
        .ready = atomic_load_explicit(&c->ready, memory_order_relaxed),
        .revision = atomic_load_explicit(&c->revision, memory_order_relaxed),
        .barrier_revision = atomic_load_explicit(&c->barrier_revision, memory_order_relaxed),
        .ticks = read_counter(&c->ticks),
        .slow_ticks = read_counter(&c->slow_ticks),
        .events = read_counter(&c->events),
        .groups_committed = read_counter(&c->groups_committed),
        .groups_refused = read_counter(&c->groups_refused),
        .txns = read_counter(&c->txns),
        .txns_resolved = read_counter(&c->txns_resolved),
        .snapshots = read_counter(&c->snapshots),
        .reconnects = reconnects,
        .bad_messages = read_counter(&c->bad_messages) + bad,
        .keys = read_counter(&c->keys),
        .mirror_bytes = read_counter(&c->mirror_bytes),
        .audits = read_counter(&c->audits),
        .audit_repairs = read_counter(&c->audit_repairs),
    };
    return EW_OK;
}

const char *ew_worker_submit_url(const ew_worker *w) {
    return w->submit_url;
}

const char *ew_worker_ticks_url(const ew_worker *w) {
    return w->ticks_url;
}
