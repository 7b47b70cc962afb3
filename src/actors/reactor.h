/* The reactor as an actor: runs the shell's reactor on the worker's thread, with a mailbox and the sockets for other
 * programs. */
#ifndef ACTORS_REACTOR_H
#define ACTORS_REACTOR_H

#include "actors/mailbox.h"
#include "core/absence.h"
#include "core/log.h"
#include "core/log_limit.h"
#include "shell/reactor.h"

#include <etcdworker/worker.h>

#include <stdatomic.h>

/* The worker's statistics: written by the reactor's thread, read by any thread. */
typedef struct reactor_counters {
    _Atomic bool ready;
    _Atomic int64_t revision, barrier_revision;
    _Atomic uint64_t ticks, slow_ticks, events, groups_committed, groups_refused, groups_dropped, txns, txns_resolved,
        snapshots;
    _Atomic uint64_t bad_messages, keys, cache_bytes, checks, check_repairs, submits, submit_repeats,
        histories_rewritten;
    _Atomic uint64_t submits_refused, submits_malformed, submits_too_large;
    _Atomic uint64_t connections, connections_refused, connections_silent;

    /* Times as of etcd_now_ms. 0: the reactor does not run; no tick runs; no batch is undecided. */
    _Atomic int64_t turned_ms;     /* the start of the last round; a round starts at least every REACTOR_TURN_MS */
    _Atomic int64_t tick_began_ms; /* start of the running tick, including the updates before it */
    _Atomic int64_t batch_sent_ms; /* when the undecided batch was sent */
} reactor_counters;

enum { REACTOR_TURN_MS = 5000 };

typedef struct reactor_actor {
    shell_io io; /* must be first: a pointer to it is cast to the reactor_actor */
    shell_reactor *reactor;

    /* Set by the worker before the run. */
    log_source log;
    ew_reactor table;
    void *self;
    mailbox *mailbox;
    outbox *to_watcher, *to_committer;
    publisher *ticks;                   /* NULL unless publish_ticks */
    bool (*session_is_lost)(void *arg); /* whether the session whose end ends the run is lost */
    void *session_arg;
    absence absence; /* how long etcd has been missing */
    int64_t slow_tick_ms, stop_timeout_ms, start_timeout_ms, max_submit_bytes;

    reactor_counters counters;
    uint64_t bad_messages;
    log_limit submit_limit, message_limit; /* of the log records about refused and dropped messages */
    _Atomic bool stop_wanted;              /* set by ew_worker_stop, which then sends STOP */
    int status;                            /* the result of the run */
    char detail[256];
} reactor_actor;

/* Makes `r->reactor`; the caller frees it with reactor_free. Returns EW_OK or EW_ERR_NO_MEMORY. */
int reactor_prepare(reactor_actor *r, const ticking_config *core);

/* Runs until the reactor has ended. Sets `status` and `detail`. */
void reactor_run(reactor_actor *r);

/* Updates the counters of connections. Call on the reactor's thread, or after it has ended. */
void reactor_count_connections(reactor_actor *r);

/* Replies to a SUBMIT request. */
void reactor_reply(reactor_actor *r, uint64_t request, int status, int64_t revision, const char *detail);

#endif
