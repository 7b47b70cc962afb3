/* One change of an assignment, as a patch group: the assignment and its index keys in one transaction. */
#ifndef SERVICE_ASSIGN_CHANGE_H
#define SERVICE_ASSIGN_CHANGE_H

#include "service/assign_plan.h"

#include <etcdworker/reactor.h>

/* The folders below the prefix. */
#define ASSIGN_MEMBERS     "/members/"
#define ASSIGN_TASKS       "/tasks/"
#define ASSIGN_ASSIGNMENTS "/assignments/"
#define ASSIGN_BY_MEMBER   "/by-member/"

/* Makes a group of the tick that carries the change out if what it was decided for still holds when it is committed.
 * `prefix` is normalised. EW_OK or an error that ends the run. */
int assign_change_propose(const char *prefix, ew_tick *t, const assign_change *plan);

#endif
