/* Refuses the use of a client in a child process. After fork() a child has its parent's objects but not its threads,
 * and gRPC would wait for these for ever. So a client stores the id of its process; each function checks it before it
 * takes a lock. */
#ifndef ETCD_FORKED_H
#define ETCD_FORKED_H

#include "etcd/etcd.h"

#include <sys/types.h>

/* Returns EW_OK in the process `owner`, otherwise EW_ERR_STATE. */
int forked_check(pid_t owner, ew_error *err);

/* Checks whether this process may open a client: a child may not while it has open clients of its parent. On success
 * the client counts as open until forked_closed. */
int forked_open(ew_error *err);
void forked_closed(void);

#endif
