/* A process that was forked off has its parent's objects and none of its threads: gRPC would wait for them for ever. So
 * what is made from a client remembers its process, and is refused in any other before it takes a lock. */
#ifndef ETCD_FORKED_H
#define ETCD_FORKED_H

#include "etcd/etcd.h"

#include <sys/types.h>

/* EW_OK, or EW_ERR_STATE in a child of the process with that number. */
int forked_check(pid_t owner, ew_error *err);

/* The same for another client: while its parent's are open, a child cannot have one. Afterwards it counts as open until
 * forked_closed. */
int forked_open(ew_error *err);
void forked_closed(void);

#endif
