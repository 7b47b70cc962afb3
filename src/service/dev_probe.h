/* Asks an etcd for its name over plain HTTP, without gRPC, which must not be in use yet. */
#ifndef SERVICE_DEV_PROBE_H
#define SERVICE_DEV_PROBE_H

#include <stdbool.h>

/* Returns whether the etcd at 127.0.0.1:port is healthy and lists a member `name`. Each connect, send and receive takes
 * at most a second. */
bool dev_probe(int port, const char *name);

/* Returns a port of 127.0.0.1 that was free at the time of the call; 0 if there is none. */
int dev_probe_free_port(void);

#endif
