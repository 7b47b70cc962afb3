/* The worker: keeps one reactor in step with one prefix.
 *
 *     ew_worker *w;
 *     if (ew_worker_create(&w, options, &reactor, self, &err) == EW_OK) {
 *         status = ew_worker_run(w, &err);
 *         ew_worker_destroy(w);
 *     }
 *
 * A worker has three threads (watcher, reactor, committer), which exchange messages over nng sockets named
 * `<url_prefix>/<name>/<actor>`, always inproc. Other programs reach it at `submit_url` and `ticks_url` alone. Workers
 * that share a client share the threads of its watchers and of its committers, and the one that keeps its sessions
 * alive: each more worker is one thread more. Names must be unique among the workers that share an url_prefix.
 *
 * CAVEATS
 *  - gRPC and nng do not survive fork(): fork and exec children before the first call of this library, or use
 * posix_spawn. In a child, a worker that its parent has started is refused with EW_ERR_STATE, and stopping or
 * destroying it does nothing.
 *  - An outage of etcd ends no run, except that of a worker whose session was asked for and is lost in it: given, an
 * election's, fenced (`fence_session`), or with a key bound to it (EW_LEASE_SESSION).
 *  - None of these functions may be called from a signal handler. Block the signals and wait for them (sigwait,
 * signalfd), then call ew_worker_stop.
 *  - Do not call ew_worker_join, ew_worker_run or ew_worker_destroy from inside the reactor; ew_worker_stop is fine
 * there. */
#ifndef ETCDWORKER_WORKER_H
#define ETCDWORKER_WORKER_H

#include <etcdworker/client.h>
#include <etcdworker/election.h>
#include <etcdworker/options.h>
#include <etcdworker/reactor.h>
#include <etcdworker/session.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_worker ew_worker;

/* Makes a worker. No thread, no connection; reads the directories and certificates that `submit_url` and `ticks_url`
 * need. `options` is copied, and so is `reactor`; `self` is handed to each of its functions and stays the caller's.
 * EW_ERR_INVALID when an option does not fit the others. On failure `*out` is NULL. */
EW_API int ew_worker_create(ew_worker **out, const ew_options *options, const ew_reactor *reactor, void *self,
                            ew_error *err);

/* Uses `client` instead of a connection of the worker's own; it must outlive the worker. Before start. */
EW_API int ew_worker_set_client(ew_worker *w, ew_client *client);

/* Binds the run to a session: when it is done the run ends with EW_ERR_SESSION_DONE. The session stays the caller's and
 * must outlive the worker. Several workers may share it, each with a `worker_id` of its own. Before
 * start. */
EW_API int ew_worker_set_session(ew_worker *w, ew_session *session);

/* Binds the run to an election that the caller has won (ew_worker_start answers EW_ERR_STATE otherwise): every
 * transaction compares that its key is still the one that was elected, so nothing is written by who leads no more; the
 * run then ends with EW_ERR_LEADERSHIP_LOST. Only a transaction finds that out: a worker that may have nothing to write
 * wants somebody in ew_election_await_loss. Its session becomes the worker's, unless ew_worker_set_session names
 * another. The compare takes the place of one key in a transaction, as `fence_session` does. A reactor sees the
 * election's keys if its name lies below the prefix. The election stays the caller's and must outlive the worker.
 * Before start. */
EW_API int ew_worker_set_election(ew_worker *w, ew_election *election);

/* Starts the threads and returns; EW_ERR_STATE the second time. Errors that need etcd come from ew_worker_join. */
EW_API int ew_worker_start(ew_worker *w, ew_error *err);

/* Asks the run to end: a commit in flight is decided first, groups that are not in flight are given up (their callbacks
 * get EW_ERR_CANCELLED). Returns at once. Any thread, any number of times, in any state. */
EW_API void ew_worker_stop(ew_worker *w);

/* Waits for the run's end: EW_OK after EW_FINISHED, EW_ERR_CANCELLED after ew_worker_stop, or the error that ended it.
 * A stop takes at most `stop_timeout_ms` plus the rest of a tick that is running. With sockets for other programs
 * (`submit_url`, `ticks_url`, unless they are inproc) it may take 5 s more, and 0.2 s for each further socket, if nng
 * does not end a connection; the sockets are left open then, and the log says so. One thread, once. */
EW_API int ew_worker_join(ew_worker *w, ew_error *err);

/* Start and join in one. */
EW_API int ew_worker_run(ew_worker *w, ew_error *err);

/* Stops and joins if that has not been done, then frees. NULL is fine. */
EW_API void ew_worker_destroy(ew_worker *w);

/* What a worker has done so far. Counters only grow. Each number is exact; they are not read at one instant. */
typedef struct ew_worker_stats {
    size_t size;              /* set to sizeof(ew_worker_stats) before the call; left as it is */
    bool ready;               /* synced, watching, and connected */
    int64_t revision;         /* the newest revision observed */
    int64_t barrier_revision; /* the last own commit's; -1 before the first */
    uint64_t ticks;           /* how often the reactor was ticked */
    uint64_t slow_ticks;      /* longer than slow_tick_ms */
    uint64_t events;          /* changes of keys received */
    uint64_t groups_committed;
    uint64_t groups_refused; /* refusals, each followed by a retry */
    uint64_t txns;           /* transactions sent */
    uint64_t txns_resolved;  /* transactions whose lost outcome was found out */
    uint64_t snapshots;      /* times the prefix was loaded: 1 plus re-syncs */
    uint64_t reconnects;     /* watch streams opened after the first */
    uint64_t bad_messages;   /* messages of a wrong type, epoch or form. Those of an earlier epoch are dropped; after
                                others the prefix is loaded again, or the run ends */
    uint64_t keys;           /* in the mirror now */
    uint64_t mirror_bytes;   /* of the mirror now, keys, values and overhead */
    uint64_t audits;         /* comparisons of the mirror with etcd that were completed (audit_interval_s) */
    uint64_t audit_repairs;  /* keys that they found to differ, each time followed by a re-sync: 0, or etcd has lost
                                events */
    bool no_space;           /* etcd's quota is used up: transactions wait until its NOSPACE alarm is taken back. Ticks
                                wait behind them; what others delete is still seen */
    int64_t progress_age_ms; /* since the slowest of the worker's threads last came round. Each does every 5 s, also
                                while etcd is away: one that has not for much longer hangs, in a tick for example.
                                0 before the run and after it */
    const char *slowest_thread; /* "reactor", "watcher" or "committer"; NULL before the run and after it */
    int64_t tick_running_ms;    /* how long the reactor's function that runs now has taken; 0 if none runs */
    int64_t txn_waiting_ms;  /* how long the reactor has waited for the outcome of what it commits; 0 if it does not */
    uint64_t submits;        /* SUBMIT requests taken */
    uint64_t submit_repeats; /* of them, those of a submit that was sent before: answered with its outcome */
    uint64_t histories_rewritten; /* times that etcd turned out to have another history than the one that was seen, as
                                     after a restore from a snapshot: the prefix was loaded again, and revisions may
                                     have fallen */
    uint64_t groups_dropped;      /* with EW_ERR_STALE, or by a patch's EW_DROP */

    /* Of the requests at submit_url, how many were answered with an error, were no Submit message, and had more than
     * max_submit_bytes. `submits` counts neither of the last two. */
    uint64_t submits_refused, submits_malformed, submits_too_large;

    /* Of the connections to submit_url and ticks_url, how many to submit_url ended without a request: so does one whose
     * request is far over max_submit_bytes. Refused ones are not among them: they had no valid client certificate,
     * were opened by a web page, did not read their replies, or had been idle the longest when there was one too many.
     * A WebSocket or another connection whose handshake is not over counts nowhere. */
    uint64_t connections, connections_silent, connections_refused;
} ew_worker_stats;

/* Any thread, any time between create and destroy. Fills the first `size` bytes: a program compiled with an older,
 * shorter struct gets the members it knows. EW_ERR_INVALID if `size` is not set. */
EW_API int ew_worker_get_stats(const ew_worker *w, ew_worker_stats *out);

/* The URL at which the worker takes SUBMIT requests (option `submit = on`) and publishes ticks (`publish_ticks = on`),
 * for nng applications: dial it with a REQ or a SUB socket and speak the messages of <etcdworker/nng.h>. NULL if off.
 * `submit_url` and `ticks_url` set them. ew_worker_start replaces a port 0 by the port that was chosen, and makes what
 * was returned before invalid; after that, valid as long as the worker. */
EW_API const char *ew_worker_submit_url(const ew_worker *w);
EW_API const char *ew_worker_ticks_url(const ew_worker *w);

#ifdef __cplusplus
}
#endif
#endif
