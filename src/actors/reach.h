/* Finds out whether etcd is available: one call with a short deadline, so that a caller that waits for etcd can still
 * be stopped. */
#ifndef ACTORS_REACH_H
#define ACTORS_REACH_H

#include <etcdworker/client.h>

/* Asks etcd for its status. Returns EW_OK for any response, even an error; otherwise EW_ERR_UNAVAILABLE, EW_ERR_TIMEOUT
 * or EW_ERR_NO_MEMORY, after `timeout_ms` at most. */
int reach_etcd(ew_client *client, int64_t timeout_ms, ew_error *err);

#endif
