/* The simulator: runs your reactor against a model of etcd, in simulated time, from one seed.
 *
 *     ew_sim *s = ew_sim_new(seed);
 *     ew_sim_add_worker(s, options, &reactor, self, &err);
 *     ew_sim_run(s, 30000);               30 simulated seconds with faults
 *     ew_sim_settle(s, 60000);            no more faults: all workers must become idle
 *     if (ew_sim_failure(s)) ...
 *
 * A simulation runs the library's own cores (watching, ticking, committing) and the real messages between them, but has
 * no thread, socket or clock: everything that could happen in more than one order is decided by the seed. The same
 * program with the same seed produces the same run, byte for byte.
 *
 * The faults are sampled from the seed too: delayed, lost and duplicated requests; responses that are lost after the
 * transaction was applied; streams that break, stall, lag and replay; stale reads; compactions; an etcd out of space;
 * rejected tokens; leases that end; receipts that an external client deletes; and workers that are killed and started
 * again. During the run the simulator checks what the library promises: a tick sees the prefix at exactly one revision,
 * never an older one than before and never one older than the worker's own last commit; no change is lost, duplicated
 * or invented; and so on. Check your reactor's own promises yourself, and call ew_sim_fail when one does not hold.
 *
 * CAVEATS
 *  - A simulation is used by one thread. Several simulations may run in several threads.
 *  - If the simulator itself runs out of memory, it ends the process.
 *  - A reactor under simulation must be deterministic: its only clock is ew_tick_now_ms, its only source of randomness
 *    is ew_sim_random. */
#ifndef ETCDWORKER_SIM_H
#define ETCDWORKER_SIM_H

#include <etcdworker/options.h>
#include <etcdworker/reactor.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_sim ew_sim;

/* Makes a simulation: an empty etcd, no workers, and faults switched on and sampled from the seed. Free it with
 * ew_sim_free. */
EW_API ew_sim *ew_sim_new(uint64_t seed);

/* Frees the simulation and everything in it; running workers are killed. `s` may be NULL. */
EW_API void ew_sim_free(ew_sim *s);

/* Adds a worker, which starts with the next run. Returns its number (from 0), or an error. `options` and `reactor` are
 * copied; `self` stays the caller's. Of the options, the worker's apply, except `check_interval_s`, `start_timeout_ms`
 * and those of sockets; of the client's, the timeouts and backoffs apply. `worker_id` is sampled unless it is set. */
EW_API int ew_sim_add_worker(ew_sim *s, const ew_options *options, const ew_reactor *reactor, void *self,
                             ew_error *err);

/* Called when a worker's run has ended, after its last callback. `killed`: a simulated crash ended it, and the outcome
 * of undecided groups will never be reported. Return whether to start the worker again as a new process; if so, clear
 * in `self` what a new process would not know. Without this function, a worker that was killed or failed is started
 * again, and one that finished or was stopped is not. */
typedef bool (*ew_sim_ended_fn)(void *self, ew_status status, const char *detail, bool killed);
EW_API void ew_sim_on_end(ew_sim *s, int worker, ew_sim_ended_fn fn);

/* Asks a worker's run to end, as ew_worker_stop does. */
EW_API void ew_sim_stop_worker(ew_sim *s, int worker);

/* Returns whether the worker is running. */
EW_API bool ew_sim_is_running(const ew_sim *s, int worker);

/* Runs the simulation for `ms` of simulated time. EW_OK, or EW_ERR_STATE if a check failed, now or before. */
EW_API ew_status ew_sim_run(ew_sim *s, int64_t ms);

/* ew_sim_settle switches the faults off and runs until every running worker has seen the newest revision and has
 * nothing pending, for at most `limit_ms` of simulated time; if that is not reached, it is a failure. Timer ticks
 * continue, so a reactor that writes in every tick must stop writing first. ew_sim_set_faults switches the faults on or
 * off. */
EW_API ew_status ew_sim_settle(ew_sim *s, int64_t limit_ms);
EW_API void ew_sim_set_faults(ew_sim *s, bool on);

/* Returns the first failure, or NULL. The text is valid until ew_sim_free. */
EW_API const char *ew_sim_failure(const ew_sim *s);

/* Reports that an invariant of your own does not hold. Only the first failure is kept. */
EW_API void ew_sim_fail(ew_sim *s, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Write to the simulated etcd as an external client, at once; return the new revision. */
EW_API int64_t ew_sim_put(ew_sim *s, ew_slice key, ew_slice value);
EW_API int64_t ew_sim_delete(ew_sim *s, ew_slice key);

/* ew_sim_get reads a key of the simulated etcd: EW_OK or EW_ERR_NOT_FOUND. The entry is valid until simulated time
 * passes or something is written. ew_sim_revision returns the current revision. */
EW_API ew_status ew_sim_get(const ew_sim *s, ew_slice key, ew_entry *out);
EW_API int64_t ew_sim_revision(const ew_sim *s);

/* Calls `fn` after `delay_ms` of simulated time: for other clients, or for the test's own script. */
typedef void (*ew_sim_fn)(ew_sim *s, void *arg);
EW_API void ew_sim_after(ew_sim *s, int64_t delay_ms, ew_sim_fn fn, void *arg);

EW_API int64_t ew_sim_now_ms(const ew_sim *s);
EW_API uint64_t ew_sim_random(ew_sim *s); /* the next number from the seed */

/* Writes the seed and every sampled probability, in one line. */
EW_API void ew_sim_describe(const ew_sim *s, FILE *out);

/* Writes every step to `out` from now on; NULL ends this. */
EW_API void ew_sim_trace(ew_sim *s, FILE *out);

/* Returns a digest of everything that has happened: two runs of one seed are the same if and only if their digests are
 * equal. */
EW_API uint64_t ew_sim_digest(const ew_sim *s);

#ifdef __cplusplus
}
#endif
#endif
