/* The built-in reactor `assign`: spreads tasks over members.
 *
 *   <prefix>/members/<id>        is there while the member lives (bind it to a lease). JSON {"capacity": N}: its share
 * of the load, 0 to 1,000,000, default 1; 0 drains it: it gets nothing while others can. <prefix>/tasks/<id> JSON
 * {"weight": N}, 1 to 1,000,000, default 1 <prefix>/assignments/<task>  written by the reactor: {"member":"<id>"}
 *
 * An empty value means the defaults. A value that is no JSON object, or gives a number out of range, is reported once
 * for each change of its key and counts with the default; the other keys are not touched by it. An assignment that
 * cannot be read is written anew. See assign_plan.h for what is right, even, and few.
 *
 * Several daemons may run it on one prefix. Each change is a transaction of its own. It writes one assignment, compares
 * that nobody has written it since, and guards what the decision rests on: the task's key, and the key of the member
 * that gets it (or, to take one away, whose absence is the reason). Its patch looks again at all of this whenever it is
 * evaluated, and leaves the change out if the reason is gone. So an assignment never names a member, or exists for a
 * task, that was not there at the revision before it; what two daemons decide at once becomes a conflict that one of
 * them loses and then plans anew. The plan depends on the state alone, so daemons that see the same want the same. */
#ifndef SERVICE_ASSIGN_H
#define SERVICE_ASSIGN_H

#include <etcdworker/reactor.h>

typedef struct assign assign;

extern const ew_reactor assign_reactor; /* its self is an assign */

/* `prefix` as the user gave it, `worker` the name for log records; both copied. NULL when out of memory. */
assign *assign_new(const char *prefix, const char *worker);
void assign_free(assign *a);

#endif
