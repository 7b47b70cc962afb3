/* Declarations that the files of the worker share. The files:
 *   worker.c          create, start, stop, join, statistics: on the user's threads
 *   worker_run.c      a run from begin to end: on the worker's own thread, which is the reactor's
 *   worker_session.c  the leases of a worker: its session's and its receipt's
 *   worker_claim.c    runs the claim, which puts the keys that must exist in etcd before a run, and gives them up
 *   worker_progress.c whether the threads make progress, for a liveness probe
 *   worker_config.c   the configuration on which reactor and committer must agree */
#ifndef ACTORS_WORKER_PRIVATE_H
#define ACTORS_WORKER_PRIVATE_H

#include "actors/actor.h"
#include "actors/reactor.h"
#include "core/committing.h"
#include "core/options_internal.h"
#include "etcd/lasting.h"
#include "shell/claim.h"

#include <pthread.h>
#include <stdatomic.h>

struct ew_worker {
    ew_options *options;
    reactor_actor reactor;
    ew_client *client;
    ew_session *session;
    ew_election *election;
    int64_t leader_revision; /* create_revision of the leader's key when the worker was started */
    bool own_client;
    char *prefix, *counter_key, *worker_id, *receipt_key;
    lasting *presence;        /* the lease of the worker's own session and of the owner key */
    lasting *records;         /* the lease of the receipt */
    shell_session leases;     /* what their changes mean to the reactor */
    shell_claim *claim;       /* NULL, except while the worker claims its keys */
    claim_result claimed;     /* the leases and the receipt as the run starts with them */
    char *owner_key, *holder; /* the owner key of worker_id, and its value, which no other worker has */
    char *session_key;        /* the session key, bound to the session's lease, for fence_session */
    uint8_t *fence;           /* the fence conditions, which every transaction carries */
    committing_config committing;
    char *url; /* <url_prefix>/<name> */
    char *submit_url, *ticks_url;

    pthread_mutex_t lock;
    outbox *control;   /* to the reactor's mailbox, for STOP and SESSION */
    bool stop_waiting; /* ew_worker_stop was called before `control` existed */
    bool started, joined;
    pthread_t thread;
    ew_actor *watcher, *committer;
    piggyback piggyback;
    uint64_t reconnects, bad_messages; /* of watcher and committer, set when they have ended */
};

static inline int worker_out_of_memory(ew_error *err) {
    return ew_fail(err, EW_ERR_NO_MEMORY, "creating the worker");
}

/* worker_run.c */
void *worker_main(void *worker);                         /* the function of the worker's thread */
char *worker_url(const ew_worker *w, const char *actor); /* the caller frees it; NULL if out of memory */
uint64_t worker_bad_messages(const ew_worker *w);        /* call it with `lock` held */

/* worker_session.c */
void worker_session_init(ew_worker *w);
lasting *worker_lasting(const ew_worker *w, session_lease which); /* NULL: not opened */
int64_t worker_lease(void *worker, session_lease which);          /* the current one; 0: lost, or not opened */
void worker_session_done(void *worker);                           /* a callback of the session */
bool worker_session_is_lost(void *worker);        /* the session whose end ends the run. Worker's thread */
int64_t worker_session_lease(const ew_worker *w); /* of the session at the start of the run; 0: no session */
void worker_check_receipt_lease(void *worker);
int worker_open_lease(ew_worker *w, session_lease which, ew_error *err);

/* worker_claim.c */
int worker_prepare(ew_worker *w, ew_error *err);
void worker_release(ew_worker *w);

/* worker_progress.c */
void worker_read_progress(const ew_worker *w, ew_worker_stats *out); /* call it with `lock` held */

/* worker_config.c */
bool worker_configure_committing(ew_worker *w); /* fills w->committing; false if out of memory */
ticking_config worker_ticking_config(const ew_worker *w);

#endif
