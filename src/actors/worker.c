#include "actors/sockets.h"
#include "actors/worker_private.h"
#include "core/argument.h"
#include "core/prefix.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- create ---- */

static int check_transactions(const ew_options *o, ew_error *err) {
    int64_t own = (o->delete_counter == OPTIONS_COUNTER_COMPAT) + (o->exactly_once != 0);
    if (o->max_txn_keys > o->max_txn_ops - own)
        return ew_fail(err, EW_ERR_INVALID,
                       "max_txn_keys = %" PRId64 ": max_txn_ops = %" PRId64 " leaves %" PRId64
                       " keys; set max_txn_ops to the value of etcd's --max-txn-ops",
                       o->max_txn_keys, o->max_txn_ops, o->max_txn_ops - own);
    if (!prefix_is_below(o->delete_counter_key))
        return ew_fail(
            err, EW_ERR_INVALID,
            "delete_counter_key = \"%.100s\": must be a key below the prefix, without '/' at its start or end",
            o->delete_counter_key);
    return EW_OK;
}

static int check_options(const ew_options *o, const ew_reactor *reactor, ew_error *err) {
    if (reactor->size < offsetof(ew_reactor, update) || !reactor->tick)
        return ew_fail(err, EW_ERR_INVALID, "the reactor has no tick function");
    if (o->name[0] == '\0' || strchr(o->name, '/'))
        return ew_fail(err, EW_ERR_INVALID, "name = \"%s\": must be a name without '/'", o->name);
    if (strchr(o->worker_id, '/'))
        return ew_fail(err, EW_ERR_INVALID,
                       "worker_id = \"%.100s\": must not contain '/', because it is part of keys below receipt_prefix",
                       o->worker_id);
    if (o->backoff_min_ms > o->backoff_max_ms)
        return ew_fail(err, EW_ERR_INVALID, "backoff_min_ms is larger than backoff_max_ms");
    if (o->conflict_backoff_min_ms > o->conflict_backoff_max_ms)
        return ew_fail(err, EW_ERR_INVALID, "conflict_backoff_min_ms is larger than conflict_backoff_max_ms");
    int status = check_transactions(o, err);
    return status == EW_OK ? sockets_check(o, err) : status;
}

/* Other workers of the prefix would see a receipt inside the prefix as a key of their application. */
static int check_receipts(const ew_worker *w, ew_error *err) {
    const ew_options *o = w->options;
    if (!o->exactly_once && !o->fence_session && !o->submit)
        return EW_OK;
    bool textual = o->prefix_match == OPTIONS_PREFIX_TEXTUAL;
    if (w->prefix[0] != '\0' && prefix_owns(ew_str(w->prefix), textual, ew_str(w->receipt_key)))
        return ew_fail(err, EW_ERR_INVALID, "receipt_prefix = \"%s\" lies inside the prefix \"%s\"", o->receipt_prefix,
                       w->prefix);
    if (prefix_owns(ew_str(o->receipt_prefix), false, ew_str(w->counter_key)))
        return ew_fail(err, EW_ERR_INVALID, "delete_counter_key = \"%s\" lies below receipt_prefix \"%s\"",
                       o->delete_counter_key, o->receipt_prefix);
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

static bool name_socket(char **out, const char *url, const char *worker_url, const char *name) {
    if (url[0] == '\0')
        return asprintf(out, "%s/%s", worker_url, name) >= 0;
    *out = strdup(url);
    return *out != NULL;
}

static bool make_names(ew_worker *w) {
    const ew_options *o = w->options;
    w->prefix = prefix_normalise(o->prefix);
    w->worker_id = o->worker_id[0] != '\0' ? strdup(o->worker_id) : random_id();
    if (!w->prefix || !w->worker_id || !(w->counter_key = prefix_join(w->prefix, o->delete_counter_key)) ||
        asprintf(&w->receipt_key, "%s/%s", o->receipt_prefix, w->worker_id) < 0 ||
        asprintf(&w->session_key, "%s/session", w->receipt_key) < 0 ||
        asprintf(&w->owner_key, "%s/owner", w->receipt_key) < 0 || !(w->holder = random_id()) ||
        asprintf(&w->url, "%s/%s", o->url_prefix, o->name) < 0)
        return false;
    return (!o->submit || name_socket(&w->submit_url, o->submit_url, w->url, "submit")) &&
           (!o->publish_ticks || name_socket(&w->ticks_url, o->ticks_url, w->url, "ticks"));
}

ew_status ew_worker_open(ew_worker **out, const ew_options *options, const ew_reactor *reactor, void *self,
                         ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(options, err) || ARGUMENT_MISSING(reactor, err))
        return EW_ERR_INVALID;
    int status = check_options(options, reactor, err);
    if (status != EW_OK)
        return status;
    ew_worker *w = calloc(1, sizeof *w);
    if (!w || pthread_mutex_init(&w->lock, NULL) != 0) {
        free(w);
        return worker_out_of_memory(err);
    }
    w->options = options_copy(options);
    status = w->options && make_names(w) ? check_receipts(w, err) : worker_out_of_memory(err);
    if (status != EW_OK) {
        ew_worker_close(w);
        return status;
    }
    memcpy(&w->reactor.table, reactor, reactor->size < sizeof *reactor ? reactor->size : sizeof *reactor);
    w->reactor.self = self;
    w->reactor.log = (log_source){w->options->name, w->options->log};
    w->reactor.slow_tick_ms = w->options->slow_tick_ms;
    w->reactor.stop_timeout_ms = w->options->stop_timeout_ms;
    w->reactor.start_timeout_ms = w->options->start_timeout_ms;
    w->reactor.max_submit_bytes = w->options->max_submit_bytes;
    w->reactor.counters.barrier_revision = -1;
    worker_session_init(w);
    w->reactor.session_is_lost = worker_session_is_lost;
    w->reactor.session_arg = w;
    piggyback_init(&w->piggyback);
    *out = w;
    return EW_OK;
}

ew_status ew_worker_set_client(ew_worker *w, ew_client *client) {
    if (ARGUMENT_MISSING(w, NULL))
        return EW_ERR_INVALID;
    if (w->started)
        return EW_ERR_STATE;
    w->client = client;
    return EW_OK;
}

ew_status ew_worker_set_session(ew_worker *w, ew_session *session) {
    if (ARGUMENT_MISSING(w, NULL))
        return EW_ERR_INVALID;
    if (w->started)
        return EW_ERR_STATE;
    w->session = session;
    return EW_OK;
}

ew_status ew_worker_set_election(ew_worker *w, ew_election *election) {
    if (ARGUMENT_MISSING(w, NULL))
        return EW_ERR_INVALID;
    if (w->started)
        return EW_ERR_STATE;
    w->election = election;
    return EW_OK;
}

/* ---- start, stop, join ---- */

/* A started worker works only in the process that opened its client, not in a child after fork(). */
static int check_process(const ew_worker *w, ew_error *err) {
    return w->client ? etcd_check_process(w->client, err) : EW_OK;
}

static void send_stop(outbox *control) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    m.stop = &stop;
    outbox_send(control, &m);
}

/* Lets ew_worker_stop send STOP. Sends it now if ew_worker_stop was called before. */
static void take_control(ew_worker *w, outbox *control) {
    pthread_mutex_lock(&w->lock);
    w->control = control;
    if (w->stop_waiting)
        send_stop(control);
    pthread_mutex_unlock(&w->lock);
}

static mailbox_place place_of(const ew_worker *w, const char *url) {
    const ew_options *o = w->options;
    return (mailbox_place){.url = url,
                           .log = &w->reactor.log,
                           .max_bytes = (size_t)o->max_submit_bytes,
                           .cert_file = o->listen_cert_file,
                           .key_file = o->listen_key_file,
                           .ca_file = o->listen_ca_file};
}

/* Replaces `*url` by the URL that the socket listens at, which may have another port. False if out of memory. */
static bool take_url(char **url, const listening *l) {
    if (strcmp(*url, listening_url(l)) == 0)
        return true;
    char *copy = strdup(listening_url(l));
    if (!copy)
        return false;
    free(*url);
    *url = copy;
    return true;
}

/* Opens the sockets for other programs. */
static int open_outward(ew_worker *w, ew_error *err) {
    reactor_actor *r = &w->reactor;
    bool named = true;
    int status = sockets_check(w->options, err); /* directories and files may have changed since ew_worker_open */
    if (status == EW_OK && w->submit_url) {
        const mailbox_place place = place_of(w, w->submit_url);
        status = mailbox_serve(r->mailbox, &place, (size_t)w->options->max_submits, err);
        named = status != EW_OK || take_url(&w->submit_url, mailbox_served(r->mailbox));
    }
    if (status == EW_OK && w->ticks_url) {
        const mailbox_place place = place_of(w, w->ticks_url);
        status = publisher_open(&r->ticks, &place, err);
        named = named && (status != EW_OK || take_url(&w->ticks_url, publisher_served(r->ticks)));
    }
    return named ? status : worker_out_of_memory(err);
}

static int open_sockets(ew_worker *w, ew_error *err) {
    char *url = worker_url(w, "reactor");
    int status = url ? EW_OK : worker_out_of_memory(err);
    if (status == EW_OK)
        status = mailbox_open(&w->reactor.mailbox, url, (size_t)w->options->mailbox_messages, NULL, NULL, err);
    if (status == EW_OK)
        status = open_outward(w, err);
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
    reactor_count_connections(&w->reactor);
    publisher_close(w->reactor.ticks);
    w->reactor.ticks = NULL;
    mailbox_close(w->reactor.mailbox);
    w->reactor.mailbox = NULL;
}

ew_status ew_worker_start(ew_worker *w, ew_error *err) {
    if (ARGUMENT_MISSING(w, err))
        return EW_ERR_INVALID;
    if (check_process(w, err) != EW_OK)
        return EW_ERR_STATE;
    if (w->started)
        return ew_fail(err, EW_ERR_STATE, "the worker has been started before");
    w->leader_revision = w->election ? ew_election_revision(w->election) : 0;
    if (w->election && w->leader_revision == 0)
        return ew_fail(err, EW_ERR_STATE, "the worker's election is not won, or was lost");
    int status = EW_OK;
    if (!w->client) {
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
    if (!w || check_process(w, NULL) != EW_OK)
        return;
    atomic_store(&w->reactor.stop_wanted, true);
    pthread_mutex_lock(&w->lock);
    if (w->control)
        send_stop(w->control);
    else
        w->stop_waiting = true;
    pthread_mutex_unlock(&w->lock);
}

ew_status ew_worker_join(ew_worker *w, ew_error *err) {
    if (ARGUMENT_MISSING(w, err))
        return EW_ERR_INVALID;
    if (check_process(w, err) != EW_OK)
        return EW_ERR_STATE;
    if (!w->started || w->joined)
        return ew_fail(err, EW_ERR_STATE,
                       w->joined ? "the worker has been joined before" : "the worker was not started");
    pthread_join(w->thread, NULL);
    w->joined = true;
    close_sockets(w);
    return w->reactor.status == EW_OK ? EW_OK : ew_fail(err, w->reactor.status, "%s", w->reactor.detail);
}

ew_status ew_worker_run(ew_worker *w, ew_error *err) {
    if (ARGUMENT_MISSING(w, err))
        return EW_ERR_INVALID;
    int status = ew_worker_start(w, err);
    return status == EW_OK ? ew_worker_join(w, err) : status;
}

void ew_worker_close(ew_worker *w) {
    if (!w || check_process(w, NULL) != EW_OK)
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
    free(w->session_key);
    free(w->owner_key);
    free(w->holder);
    free(w->fence);
    free(w->url);
    free(w->submit_url);
    free(w->ticks_url);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- statistics ---- */

static uint64_t read_counter(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

ew_status ew_worker_get_stats(const ew_worker *w, ew_worker_stats *out) {
    if (ARGUMENT_MISSING(w, NULL) || ARGUMENT_MISSING(out, NULL))
        return EW_ERR_INVALID;
    if (out->size < sizeof out->size)
        return EW_ERR_INVALID;
    if (check_process(w, NULL) != EW_OK)
        return EW_ERR_STATE;
    const reactor_counters *c = &w->reactor.counters;
    ew_worker *unlocked = (ew_worker *)(uintptr_t)w; /* locking does not change the worker's state */
    pthread_mutex_lock(&unlocked->lock);
    uint64_t reconnects = w->watcher ? watcher_reconnects(w->watcher) : w->reconnects;
    uint64_t bad = worker_bad_messages(w);
    bool no_space = w->committer && committer_is_out_of_space(w->committer);
    ew_worker_stats progress = {0};
    worker_read_progress(w, &progress);
    pthread_mutex_unlock(&unlocked->lock);
    const ew_worker_stats all = {
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
        .cache_bytes = read_counter(&c->cache_bytes),
        .checks = read_counter(&c->checks),
        .check_repairs = read_counter(&c->check_repairs),
        .no_space = no_space,
        .progress_age_ms = progress.progress_age_ms,
        .slowest_thread = progress.slowest_thread,
        .tick_running_ms = progress.tick_running_ms,
        .txn_waiting_ms = progress.txn_waiting_ms,
        .submits = read_counter(&c->submits),
        .submit_repeats = read_counter(&c->submit_repeats),
        .histories_rewritten = read_counter(&c->histories_rewritten),
        .groups_dropped = read_counter(&c->groups_dropped),
        .submits_refused = read_counter(&c->submits_refused),
        .submits_malformed = read_counter(&c->submits_malformed),
        .submits_too_large = read_counter(&c->submits_too_large),
        .connections = read_counter(&c->connections),
        .connections_refused = read_counter(&c->connections_refused),
        .connections_silent = read_counter(&c->connections_silent),
    };
    memcpy(out, &all, all.size < sizeof all ? all.size : sizeof all); /* an older version of the struct is shorter */
    return EW_OK;
}

const char *ew_worker_submit_url(const ew_worker *w) {
    if (!w)
        return NULL;
    return w->submit_url;
}

const char *ew_worker_ticks_url(const ew_worker *w) {
    if (!w)
        return NULL;
    return w->ticks_url;
}
