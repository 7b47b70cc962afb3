/* Asks a server over plain HTTP who it is, without gRPC, which is not there yet. */
#ifndef SERVICE_DEV_PROBE_H
#define SERVICE_DEV_PROBE_H

#include <stdbool.h>

/* Whether the etcd at 127.0.0.1:port is healthy and the member that is called `name`. Blocks for at most a second or
 * so. */
bool dev_probe(int port, const char *name);

/* A port of 127.0.0.1 that nobody used a moment ago; 0 if there is none. */
int dev_probe_free_port(void);

#endif
