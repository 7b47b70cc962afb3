/* The built-in reactor `assign`: spreads tasks over members.
 *
 *   <prefix>/members/<id>               is there while the member lives (bind it to a lease). JSON {"capacity": N}: its
 *                                       share of the load, 0 to 1,000,000, default 1; 0 drains it: it gets nothing
 *                                       while others can
 *   <prefix>/tasks/<id>                 JSON {"weight": N}, 1 to 1,000,000, default 1
 *   <prefix>/assignments/<task>         written by the reactor: {"member":"<id>"}
 *   <prefix>/by-member/<member>/<task>  written by the reactor, empty: the same by member, so that a member can watch
 *                                       its own tasks alone; see assign_index.h for how the member is spelt
 *
 * An empty value means the defaults. A value that is no JSON object, or gives a number out of range, is reported once
 * for each change of its key and counts with the default; the other keys are not touched by it. An assignment that
 * cannot be read is written again. See assign_plan.h for what is right, even, and few, and assign_args.h for what a
 * user can set.
 *
 * Several daemons may run it on one prefix. Each change is a patch group of its own; as many as fit share a
 * transaction. It writes one assignment and its index keys, compares that nobody has written them since, and guards
 * what the decision rests on: the task's key, and the key of the member that gets it (or, to take one away, whose
 * absence is the reason). Its patch looks again at all of this whenever it is evaluated, and leaves the change out if
 * the reason is gone. So an assignment never names a member, or exists for a task, that was not there at the revision
 * before it; the index is as the assignments are at every revision; and what two daemons decide at once becomes a
 * conflict that one of them loses and then plans again. The plan depends on the state alone, so daemons that see the
 * same want the same.
 *
 * A time of grace is kept in memory: it begins when a daemon finds the member absent, so one that starts in the middle
 * of it waits for all of it. Of several daemons the one whose time is over first moves the tasks. */
#ifndef SERVICE_ASSIGN_H
#define SERVICE_ASSIGN_H

#include "service/assign_args.h"

#include <etcdworker/reactor.h>

typedef struct assign assign;

extern const ew_reactor assign_reactor; /* its self is an assign */

/* `prefix` as the user gave it, `worker` the name for log records; both copied. NULL when out of memory. */
assign *assign_new(const char *prefix, const char *worker, const assign_args *args);
void assign_free(assign *a);

#endif
