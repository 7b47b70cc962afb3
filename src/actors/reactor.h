/* The reactor actor: the ticking core, the user's reactor, and their messages. It calls the user's functions. */
#ifndef ACTORS_REACTOR_H
#define ACTORS_REACTOR_H

#include "actors/mailbox.h"
#include "core/absence.h"
#include "core/log.h"
#include "core/log_limit.h"
#include "core/ticking.h"

#include <etcdworker/worker.h>

#include <stdatomic.h>

/* The worker's statistics: written by the reactor's thread, read by any thread. */
typedef struct reactor_counters {
    _Atomic bool ready;
    _Atomic int64_t revision, barrier_revision;
    _Atomic uint64_t ticks, slow_ticks, events, groups_committed, groups_refused, groups_dropped, txns, txns_resolved,
        snapshots;
    _Atomic uint64_t bad_messages, keys, mirror_bytes, audits, audit_repairs, submits, submit_repeats,
        histories_rewritten;
    _Atomic uint64_t submits_refused, submits_malformed, submits_too_large;
    _Atomic uint64_t connections, connections_refused, connections_silent;

    /* Times of etcd_now_ms. 0: the reactor does not run, no tick runs, no batch is undecided. */
    _Atomic int64_t turned_ms;     /* the start of the last round; there is one every REACTOR_TURN_MS at least */
    _Atomic int64_t tick_began_ms; /* start of the running tick, including the updates before it */
    _Atomic int64_t batch_sent_ms; /* of the undecided batch */
} reactor_counters;

enum { REACTOR_TURN_MS = 5000 };

typedef struct reactor_actor {
    /* Set by the worker before reactor_run. */
    log_source log;
    ew_reactor table;
    void *self;
    ticking *core;
    mailbox *mailbox;
    outbox *to_watcher, *to_committer;
    publisher *ticks;                   /* NULL unless publish_ticks */
    bool (*session_is_lost)(void *arg); /* the session whose end ends the run */
    void *session_arg;
    absence absence; /* how long etcd has been missing */
    int64_t slow_tick_ms, stop_timeout_ms, start_timeout_ms, max_submit_bytes;

    reactor_counters counters;

    /* Set by the reactor. */
    bool connected, loaded;
    uint32_t interruptions;   /* of the load, by compactions; in a row */
    int64_t interrupted_ms;   /* when the last one was reported */
    bool told_health;         /* the watcher has reported whether it is connected */
    bool stopping;            /* STOP has been sent to the peers */
    unsigned peers;           /* that have not sent DOWN: one bit each */
    _Atomic bool stop_wanted; /* set by ew_worker_stop, which then sends STOP */
    uint64_t bad_messages;
    int64_t started_ms;
    log_limit submit_limit, message_limit; /* of the log records about refused and dropped messages */
    bool over;
    int status;
    char detail[256];
} reactor_actor;

/* Runs until the run has ended and both peers are down, which is waited for at most `stop_timeout_ms` and 2 s.
 * Sets `status` and `detail` to the result of the run. */
void reactor_run(reactor_actor *r);

/* Updates the counters of connections. Call on the reactor's thread, or after it has ended. */
void reactor_count_connections(reactor_actor *r);

/* Replies to a SUBMIT request. */
void reactor_reply(reactor_actor *r, uint64_t request, int status, int64_t revision, const char *detail);

#endif
