/* The built-in reactor `assign`: distributes tasks over members.
 *
 *   <prefix>/members/<id>               exists while the member lives (bind it to a lease). JSON {"capacity": N}: the
 *                                       member's share of the load, 0 to 1,000,000, default 1; 0 drains it: it gets no
 *                                       tasks while another live member has a capacity
 *   <prefix>/tasks/<id>                 JSON {"weight": N}, 1 to 1,000,000, default 1
 *   <prefix>/assignments/<task>         written by the reactor: {"member":"<id>"}
 *   <prefix>/by-member/<member>/<task>  written by the reactor, with an empty value: an index by member, so that a
 *                                       member can watch its own tasks alone; assign_index.h has the encoding of
 *                                       <member>
 *
 * An empty value means the defaults. A value that is not a JSON object, or has a number out of range, is logged once
 * for each change of its key, and the default is used; other keys are not affected. An assignment that cannot be parsed
 * is written again. assign_plan.h defines which assignments are right, which loads are even and which tasks move;
 * assign_args.h has what a user can set.
 *
 * Several daemons may run `assign` on one prefix. Each change is a patch group of its own; as many groups as fit share
 * a transaction. A group writes one assignment and its index keys, compares that they have not been written since, and
 * guards the keys that the decision depends on: the task's key, and the key of the member that gets the task (or, for a
 * deletion, the key whose absence is the reason). The patch checks all of this at each evaluation, and leaves the
 * change out if the reason no longer holds. Therefore:
 *   - an assignment never names a member, or exists for a task, that did not exist at the revision before it;
 *   - the index agrees with the assignments at every revision;
 *   - if two daemons decide at the same time, their transactions conflict, and the one that is refused plans again.
 * The plan depends on the state alone, so daemons that see the same state plan the same changes.
 *
 * Grace times are kept in memory: a grace time begins when a daemon finds the member absent, so a daemon that starts
 * during a grace time waits for the full time. Of several daemons, the one whose grace time ends first moves the tasks.
 */
#ifndef SERVICE_ASSIGN_H
#define SERVICE_ASSIGN_H

#include "service/assign_args.h"

#include <etcdworker/reactor.h>

typedef struct assign assign;

extern const ew_reactor assign_reactor; /* its self is an assign */

/* Creates the reactor's state. `prefix` is the text of the option, not normalised; `worker` is the worker's name for
 * log records. Both are copied. Returns NULL when out of memory. */
assign *assign_new(const char *prefix, const char *worker, const assign_args *args);
void assign_free(assign *a);

#endif
