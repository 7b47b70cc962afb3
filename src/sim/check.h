/* What must hold at every step, whatever the reactor does. A breach is the simulation's failure (ew_sim_fail). */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "sim/worker.h"

/* Whether reactors see the key: it belongs to the prefix and is no reserved one (SEMANTICS 2, 9, 22). */
bool check_visible(const sim_worker *w, ew_slice key);
bool check_revision_visible(const sim_worker *w, int64_t revision);

/* etcd has a new revision: what a worker wrote is inside its prefix, and the delete counter rose as it must (SEMANTICS
 * 24). */
void check_revision(ew_sim *s, int64_t revision);

/* A batch leaves the reactor: one at a time, and its units say what they hold. */
void check_patches(sim_worker *w, const Msg__Patches *patches);
void check_message(sim_worker *w, const Msg__Message *m); /* arrives at the reactor */
void check_stepped(sim_worker *w);                        /* the reactor's core: it keeps to its bounds */
void check_txn(sim_worker *w, ew_slice request);          /* leaves the committer: within the limits (SEMANTICS 26) */

/* What the reactor is shown: each change once and in order (SEMANTICS 8, 10, 11), and at the tick the prefix as it was
 * at exactly one revision, not older than the last one, nor than the worker's own last write (SEMANTICS 15). */
void check_reset(sim_worker *w);
void check_update(sim_worker *w, const ew_event *event);
void check_tick(sim_worker *w, ew_tick *tick);
void check_ticked(sim_worker *w, ew_tick *tick); /* the reactor has answered */

/* etcd was restored from an older state. What a worker is shown may be of the lost history until it has found out, and
 * is strictly etcd's again from the first tick on that shows it. */
void check_restored(sim_worker *w);

void check_stop_asked(sim_worker *w);
void check_end(sim_worker *w); /* the run is over: in time, for a reason, and nothing is left under way */
void check_forget(sim_worker *w);

/* Whether the worker has seen the newest change of its prefix. */
bool check_is_up_to_date(const sim_worker *w);

#endif
