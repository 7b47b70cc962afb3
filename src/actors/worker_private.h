/* What the files of the worker share. The rooms:
 *   worker.c          its making, its control, what it tells: on the user's threads
 *   worker_run.c      a run, from its begin to its end: on the worker's own thread, the reactor's
 *   worker_session.c  the leases of a worker: its session, its receipt's
 *   worker_claim.c    what must be in etcd before a run, and is taken away after it: id, receipt, marker
 *   worker_progress.c whether its threads come round: for a liveness probe
 *   worker_config.c   what reactor and committer must agree on */
#ifndef ACTORS_WORKER_PRIVATE_H
#define ACTORS_WORKER_PRIVATE_H

#include "actors/actor.h"
#include "actors/reactor.h"
#include "core/committing.h"
#include "core/options_internal.h"
#include "etcd/lasting.h"

#include <pthread.h>
#include <stdatomic.h>

struct ew_worker {
    ew_options *options;
    reactor_actor reactor;
    ew_client *client;
    ew_session *session;
    ew_election *election;
    int64_t leader_revision; /* of its key, when the worker was started */
    bool own_client;
    char *prefix, *counter_key, *worker_id, *receipt_key;
    lasting *presence;      /* the worker's own session, and its hold on worker_id */
    lasting *records;       /* the lease of the receipt */
    int64_t presence_lease; /* which the run starts with; and the next three */
    int64_t receipt_lease, receipt_revision, sequence;
    bool holds_id;            /* worker_id is this worker's */
    int64_t rival;            /* the lease of the worker whose it is; 0: none */
    atomic_bool id_taken;     /* by another worker, while this one was away from etcd */
    char *owner_key, *holder; /* with worker_id: the key that is held, and what it holds: no other worker's */
    char *marker_key;         /* bound to the session's lease, for fence_session */
    uint8_t *fence;           /* the compares that every transaction carries */
    committing_config committing;
    char *url; /* <url_prefix>/<name> */
    char *submit_url, *ticks_url;

    pthread_mutex_t lock;
    outbox *control;   /* to the reactor's mailbox: stop, session */
    bool stop_waiting; /* a stop came before there was a mailbox for it */
    bool started, joined;
    pthread_t thread;
    ew_actor *watcher, *committer;
    piggyback piggyback;
    uint64_t reconnects, bad_messages; /* of watcher and committer, when they have ended */
};

static inline int worker_out_of_memory(ew_error *err) {
    return ew_fail(err, EW_ERR_NO_MEMORY, "making the worker");
}

/* worker_run.c */
void *worker_main(void *worker);                         /* the thread */
char *worker_url(const ew_worker *w, const char *actor); /* to be freed; NULL when out of memory */
uint64_t worker_bad_messages(const ew_worker *w);        /* under the lock */

/* worker_session.c */
void worker_session_done(void *worker);           /* a listener of the session's */
bool worker_session_is_lost(void *worker);        /* of the one that the run must not outlive. The worker's thread */
int64_t worker_session_lease(const ew_worker *w); /* that the run starts with; 0: none */
void worker_check_receipt_lease(void *worker);
void worker_tell_leases(ew_worker *w); /* that were replaced before the reactor could be told */
int worker_open_presence(ew_worker *w, ew_error *err);
int worker_open_records(ew_worker *w, ew_error *err);

/* worker_claim.c */
int worker_prepare(ew_worker *w, ew_error *err);
void worker_release(ew_worker *w);

/* worker_progress.c */
void worker_read_progress(const ew_worker *w, ew_worker_stats *out); /* under the lock */

/* worker_config.c */
bool worker_configure_committing(ew_worker *w); /* fills w->committing; false when out of memory */
ticking_config worker_ticking_config(const ew_worker *w);

#endif
