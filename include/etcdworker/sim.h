/* The simulator: your reactor against a model of etcd, in simulated time, from one seed.
 *
 *     ew_sim *s = ew_sim_new(seed);
 *     ew_sim_add_worker(s, options, &reactor, self, &err);
 *     ew_sim_run(s, 30000);               30 simulated seconds with faults
 *     ew_sim_settle(s, 60000);            no more faults: everything has to come to rest
 *     if (ew_sim_failure(s)) ...
 *
 * A simulation runs the library's own cores (watching, ticking, committing) and its own messages between them, but no
 * thread, socket or clock: everything that could happen in more than one order is drawn from the seed. The same program
 * with the same seed does the same to the byte.
 *
 * The faults are drawn from the seed too: delayed, lost and doubled requests, answers that are swallowed after the
 * transaction was applied, streams that break, stall, lag and replay, stale reads, compactions, an etcd out of space,
 * tokens that are refused, leases that end, receipts that somebody deletes, and workers that are killed and started
 * again. While it runs, the simulator checks what the library promises: a tick sees
 * the prefix at exactly one revision, never an older one than before and never one older than the worker's own last
 * commit; no change is lost, doubled or invented; and so on. What your reactor promises, check yourself, and say
 * ew_sim_fail when it does not hold.
 *
 * CAVEATS
 *  - One thread. Several simulations may run in several threads.
 *  - Out of memory in the simulator itself ends the process.
 *  - A reactor under simulation must be deterministic: no clock but ew_tick_now_ms, no chance but ew_sim_random. */
#ifndef ETCDWORKER_SIM_H
#define ETCDWORKER_SIM_H

#include <etcdworker/options.h>
#include <etcdworker/reactor.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_sim ew_sim;

/* A new world: an empty etcd, no workers, faults drawn from the seed and switched on. */
EW_API ew_sim *ew_sim_new(uint64_t seed);

/* Frees it with everything in it; workers that still run are killed. NULL is fine. */
EW_API void ew_sim_free(ew_sim *s);

/* Adds a worker, which starts with the next run, and answers its number (from 0), or an error. `options` and `reactor`
 * are copied. Of the options, those of the worker count, but for `audit_interval_s`, `start_timeout_ms` and what is
 * about sockets, and of the client's the timeouts and waits; `worker_id` is drawn unless it is set. */
EW_API int ew_sim_add_worker(ew_sim *s, const ew_options *options, const ew_reactor *reactor, void *self,
                             ew_error *err);

/* Called when a worker's run has ended, after its last callback. `killed` means that a simulated crash ended it: what
 * was undecided then, nobody will ever tell. Answer whether to start it again, a new process with a new `self`-content:
 * forget in it what a process would have forgotten. Without a function, a worker that was killed or failed is started
 * again, and one that finished or was stopped is not. */
typedef bool (*ew_sim_ended_fn)(void *self, int status, const char *detail, bool killed);
EW_API void ew_sim_on_end(ew_sim *s, int worker, ew_sim_ended_fn fn);

/* Asks a worker's run to end, as ew_worker_stop does. */
EW_API void ew_sim_stop_worker(ew_sim *s, int worker);

/* Whether the worker's run goes on. */
EW_API bool ew_sim_is_running(const ew_sim *s, int worker);

/* Lets `ms` of simulated time pass. EW_OK, or EW_ERR_STATE if something has failed, now or before. */
EW_API int ew_sim_run(ew_sim *s, int64_t ms);

/* Switches the faults off, and lets time pass until every running worker has seen the newest revision and has nothing
 * pending, at most `limit_ms`: not coming to rest is a failure. Ticks by the timer go on, so reactors that always write
 * must stop writing first. */
EW_API int ew_sim_settle(ew_sim *s, int64_t limit_ms);
EW_API void ew_sim_set_faults(ew_sim *s, bool on);

/* The first thing that went wrong, NULL if nothing did. The text is valid as long as the simulation. */
EW_API const char *ew_sim_failure(const ew_sim *s);

/* Your own invariant does not hold. Only the first failure is kept. */
EW_API void ew_sim_fail(ew_sim *s, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Writes to the simulated etcd as somebody else would, at once; answers the new revision. */
EW_API int64_t ew_sim_put(ew_sim *s, ew_slice key, ew_slice value);
EW_API int64_t ew_sim_delete(ew_sim *s, ew_slice key);

/* Reads from it. The entry is valid until time passes or something is written. EW_OK or EW_ERR_NOT_FOUND. */
EW_API int ew_sim_get(const ew_sim *s, ew_slice key, ew_entry *out);
EW_API int64_t ew_sim_revision(const ew_sim *s);

/* Calls `fn` after `delay_ms` of simulated time: other clients, or the test's own script. */
typedef void (*ew_sim_fn)(ew_sim *s, void *arg);
EW_API void ew_sim_after(ew_sim *s, int64_t delay_ms, ew_sim_fn fn, void *arg);

EW_API int64_t ew_sim_now_ms(const ew_sim *s);
EW_API uint64_t ew_sim_random(ew_sim *s); /* the next number drawn from the seed */

/* Writes the seed and every drawn probability, one line. */
EW_API void ew_sim_describe(const ew_sim *s, FILE *out);

/* Writes every step from now on; NULL stops it. */
EW_API void ew_sim_trace(ew_sim *s, FILE *out);

/* A number made of everything that has happened: two runs of one seed are the same if and only if theirs are. */
EW_API uint64_t ew_sim_digest(const ew_sim *s);

#ifdef __cplusplus
}
#endif
#endif
