/* An etcd v3 client: calls with deadlines, watches, leases. Usable by itself, without a worker.
 *
 * A client is one connection pool; every function may be called from any thread, several at once, unless it says
 * otherwise. Calls block until they are answered, or until `call_timeout_ms` (option), or until ew_client_cancel. */
#ifndef ETCDWORKER_CLIENT_H
#define ETCDWORKER_CLIENT_H

#include <etcdworker/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_client ew_client;

/* Makes a client from the options of group "client". Does not connect: the first call does. EW_ERR_INVALID names a
 * malformed endpoint. On failure `*out` is NULL. `options` is copied. */
EW_API int ew_client_open(ew_client **out, const ew_options *options, ew_error *err);

/* Cancels what is under way, closes the connections and frees. No call may be running and no object made from the
 * client may be alive. NULL is fine. */
EW_API void ew_client_close(ew_client *client);

#ifdef __cplusplus
}
#endif
#endif
