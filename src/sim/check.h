/* The invariants: what must hold at every step with any reactor. A violation fails the simulation (ew_sim_fail). */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "sim/worker.h"

/* Returns whether reactors see the key: it belongs to the prefix and is not reserved (SEMANTICS 2, 9, 22). */
bool check_visible(const sim_worker *w, ew_slice key);
/* Returns whether the revision changed a key that reactors see. */
bool check_revision_visible(const sim_worker *w, int64_t revision);

/* Checks a new revision of etcd: a worker wrote only inside its prefix, and the delete counter rose as it must
 * (SEMANTICS 24). */
void check_revision(ew_sim *s, int64_t revision);

/* Checks a batch that leaves the reactor: no other batch is undecided, the session has not ended (SEMANTICS 30), and
 * the counts in each atomic unit are right. */
void check_patches(sim_worker *w, const Msg__Patches *patches);
void check_message(sim_worker *w, const Msg__Message *m); /* a message arrives at the reactor */
void check_stepped(sim_worker *w); /* after a step of the ticking core: it is within its bounds */
/* A request leaves the committer: it must be within the limits (SEMANTICS 26). */
void check_txn(sim_worker *w, ew_slice request);

/* Check what the reactor sees: each change once and in order (SEMANTICS 8, 10, 11), and in the tick the prefix at
 * exactly one revision, which is not older than the last one or the worker's own last write (SEMANTICS 15). */
void check_reset(sim_worker *w);
void check_update(sim_worker *w, const ew_event *event);
void check_tick(sim_worker *w, ew_tick *tick);
void check_ticked(sim_worker *w, ew_tick *tick); /* the tick function has returned */

/* etcd was restored from an older state. Until the worker detects this, its reactor may see the lost history. From the
 * first tick that shows etcd's state on, everything must be etcd's again. */
void check_restored(sim_worker *w);

void check_stop_asked(sim_worker *w);
void check_end(sim_worker *w); /* the run has ended: in time, for a known reason, and nothing is still in flight */
void check_forget(sim_worker *w);

/* Returns whether the worker has seen the newest change of its prefix. */
bool check_is_up_to_date(const sim_worker *w);

#endif
