/* Makes one change of an assignment a patch group: the assignment and its index keys in one transaction. */
#ifndef SERVICE_ASSIGN_CHANGE_H
#define SERVICE_ASSIGN_CHANGE_H

#include "service/assign_plan.h"

#include <etcdworker/reactor.h>

/* The key prefixes below the worker's prefix. */
#define ASSIGN_MEMBERS     "/members/"
#define ASSIGN_TASKS       "/tasks/"
#define ASSIGN_ASSIGNMENTS "/assignments/"
#define ASSIGN_BY_MEMBER   "/by-member/"

/* Adds a group to the tick that makes the change if the reason for it still holds at the commit. `prefix` is
 * normalised. EW_OK, or an error that ends the run. */
int assign_change_propose(const char *prefix, ew_tick *t, const assign_change *plan);

#endif
