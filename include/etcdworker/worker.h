/* The worker: keeps one reactor in step with one prefix.
 *
 *     ew_worker *w;
 *     if (ew_worker_open(&w, options, &reactor, self, &err) == EW_OK) {
 *         status = ew_worker_run(w, &err);
 *         ew_worker_close(w);
 *     }
 *
 * A worker has three threads (watcher, reactor, committer), which exchange messages over nng sockets named
 * `<url_prefix>/<name>/<actor>`, always inproc. Other programs can reach it only at `submit_url` and `ticks_url`.
 * Workers that share a client share three threads: that of their watchers, that of their committers, and the one that
 * keeps their sessions alive; so each further worker adds one thread. Names must be unique among the workers that share
 * an url_prefix.
 *
 * CAVEATS
 *  - gRPC and nng do not survive fork(): fork and exec children before the first call of this library, or use
 *    posix_spawn. In a child, a worker that the parent started is refused with EW_ERR_STATE, and stopping or closing
 *    it does nothing.
 *  - An outage of etcd does not end a run, unless it ends a session that the user requires: a session that was set, the
 *    election's, the fenced one (`fence_session`), or one with a key attached to it (EW_LEASE_SESSION).
 *  - None of these functions may be called from a signal handler. Block the signals and wait for them (sigwait,
 *    signalfd), then call ew_worker_stop.
 *  - Do not call ew_worker_join, ew_worker_run or ew_worker_close from inside the reactor. ew_worker_stop is allowed
 *    there. */
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

/* Makes a worker. Starts no thread and opens no connection, but reads the directories and certificates that
 * `submit_url` and `ticks_url` need. `options` and `reactor` are copied; `self` is passed to each reactor function and
 * stays the caller's. On success the caller frees `*out` with ew_worker_close; on failure `*out` is NULL.
 * EW_ERR_INVALID: an option conflicts with another one. */
EW_API ew_status ew_worker_open(ew_worker **out, const ew_options *options, const ew_reactor *reactor, void *self,
                                ew_error *err);

/* Makes the worker use `client` instead of a client of its own; `client` must outlive the worker. Call it before
 * ew_worker_start. */
EW_API ew_status ew_worker_set_client(ew_worker *w, ew_client *client);

/* Binds the run to a session: when the session ends, the run ends with EW_ERR_SESSION_DONE. The session stays the
 * caller's and must outlive the worker. Several workers may share it, each with its own `worker_id`. Call it before
 * ew_worker_start. */
EW_API ew_status ew_worker_set_session(ew_worker *w, ew_session *session);

/* Binds the run to an election that the caller has won (otherwise ew_worker_start returns EW_ERR_STATE). Every
 * transaction compares that the elected key still exists, so a former leader cannot write; the run then ends with
 * EW_ERR_LEADERSHIP_LOST. Only a transaction detects the loss, so a program whose worker may have nothing to write
 * should call ew_election_await_loss from another thread. The election's session becomes the worker's, unless
 * ew_worker_set_session sets another one. The compare takes the place of one key in a transaction, as `fence_session`
 * does. The reactor sees the election's keys if the election's name is below the prefix. The election stays the
 * caller's and must outlive the worker. Call it before ew_worker_start. */
EW_API ew_status ew_worker_set_election(ew_worker *w, ew_election *election);

/* Starts the threads and returns. EW_ERR_STATE: the worker was started before. ew_worker_join returns the errors that
 * occur when etcd is used. */
EW_API ew_status ew_worker_start(ew_worker *w, ew_error *err);

/* Asks the run to end. A commit in flight is decided first; groups that are not in flight are given up, and their
 * callbacks get EW_ERR_CANCELLED. Returns at once. Any thread, any number of times, in any state. */
EW_API void ew_worker_stop(ew_worker *w);

/* Waits until the run has ended. Returns EW_OK after EW_FINISHED, EW_ERR_CANCELLED after ew_worker_stop, or the error
 * that ended the run. A stop takes at most `stop_timeout_ms` plus the rest of a running tick. If nng does not close a
 * connection of a socket for other programs (`submit_url`, `ticks_url`, unless they are inproc), the stop takes up to
 * 5 s more, and 0.2 s for each further socket; then the sockets stay open, and the log says so. Call it once, from one
 * thread. */
EW_API ew_status ew_worker_join(ew_worker *w, ew_error *err);

/* Calls ew_worker_start and ew_worker_join. */
EW_API ew_status ew_worker_run(ew_worker *w, ew_error *err);

/* Stops and joins the worker if that has not been done, then frees it. `w` may be NULL. */
EW_API void ew_worker_close(ew_worker *w);

/* The statistics of a worker. Counters never decrease. Each number is exact, but they are not read at one instant. */
typedef struct ew_worker_stats {
    size_t size;              /* set to sizeof(ew_worker_stats) before the call; not changed */
    bool ready;               /* the prefix is loaded and watched, and etcd is connected */
    int64_t revision;         /* newest revision observed */
    int64_t barrier_revision; /* revision of the worker's last commit; -1 before the first */
    uint64_t ticks;           /* number of ticks */
    uint64_t slow_ticks;      /* ticks longer than slow_tick_ms */
    uint64_t events;          /* key changes received */
    uint64_t groups_committed;
    uint64_t groups_refused; /* refusals, each followed by a retry */
    uint64_t txns;           /* transactions sent */
    uint64_t txns_resolved;  /* transactions whose response was lost and whose outcome was then found */
    uint64_t snapshots;      /* times the prefix was loaded: 1 plus the reloads */
    uint64_t reconnects;     /* watch streams opened after the first */
    uint64_t bad_messages;   /* messages of a wrong type, epoch or form. Those of an earlier epoch are dropped; after
                                others the prefix is loaded again, or the run ends */
    uint64_t keys;           /* keys in the cache now */
    uint64_t cache_bytes;    /* bytes of the cache now: keys, values and overhead */
    uint64_t checks;         /* completed consistency checks of the cache against etcd (check_interval_s) */
    uint64_t check_repairs;  /* keys that differed in them, each time followed by a reload. Above 0: etcd has lost
                                events */
    bool no_space;           /* etcd's quota is used up: transactions wait until its NOSPACE alarm is disarmed. Ticks
                                wait after them; deletes by others are still seen */
    int64_t progress_age_ms; /* time since the last progress of the worker's slowest thread. Each thread makes progress
                                every 5 s, also while etcd is unavailable; if this is much longer, the thread hangs, for
                                example in a tick. 0 before and after the run */
    const char *slowest_thread; /* "reactor", "watcher" or "committer"; NULL before and after the run */
    int64_t tick_running_ms;    /* time that the running reactor function has taken; 0 if none runs */
    int64_t txn_waiting_ms;  /* time that the reactor has waited for the outcome of its commit; 0 if it does not wait */
    uint64_t submits;        /* SUBMIT requests accepted */
    uint64_t submit_repeats; /* of these, repeats of an earlier submit, answered with its outcome */
    uint64_t histories_rewritten; /* times that etcd turned out to have another history than the one seen, as after a
                                     restore from a snapshot: the prefix was loaded again, and revisions may have
                                     fallen */
    uint64_t groups_dropped;      /* groups dropped with EW_ERR_STALE, or by a patch's EW_DROP */

    /* Requests at submit_url that were answered with an error, were not a Submit message, or had more than
     * max_submit_bytes. `submits` does not include the last two. */
    uint64_t submits_refused, submits_malformed, submits_too_large;

    /* Connections to submit_url and ticks_url; connections to submit_url that ended without a request, which includes
     * those whose request was far over max_submit_bytes; and refused connections, which are not counted as ended
     * without a request: they had no valid client certificate, were opened by a web page, did not read their replies,
     * or had been idle the longest when there was one too many. A connection whose handshake (WebSocket or other) is
     * not complete is in none of them. */
    uint64_t connections, connections_silent, connections_refused;
} ew_worker_stats;

/* Gets the statistics. May be called from any thread, at any time between open and close. Fills the first `size`
 * bytes, so a program compiled with an older, shorter struct gets the members that it knows. EW_ERR_INVALID: `size` is
 * not set. */
EW_API ew_status ew_worker_get_stats(const ew_worker *w, ew_worker_stats *out);

/* Return the URL at which the worker accepts SUBMIT requests (option `submit = on`) or publishes ticks (`publish_ticks
 * = on`), or NULL if that is off. An nng application dials it with a REQ or SUB socket and uses the messages of
 * <etcdworker/nng.h>. The options `submit_url` and `ticks_url` set the URLs. ew_worker_start replaces port 0 by the
 * chosen port, which invalidates the text returned before; after that the text is valid until ew_worker_close. */
EW_API const char *ew_worker_submit_url(const ew_worker *w);
EW_API const char *ew_worker_ticks_url(const ew_worker *w);

#ifdef __cplusplus
}
#endif
#endif
