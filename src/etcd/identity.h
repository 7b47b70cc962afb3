/* Finds out which cluster an endpoint belongs to, and why an endpoint cannot be used, with identity queries: MemberList
 * calls, of which only the response's header is read. Every member answers them by itself, newer releases only to users
 * (ETCD P15). The first query has no token; if it is refused, a client with a user repeats it with a token. If the
 * endpoint refuses it for another reason, or the client has no user, the endpoint is used, unless it named another
 * cluster before.
 *
 * The first inquiry decides the client's cluster. It asks all endpoints; more than half of those that answer must name
 * the same cluster, otherwise nothing else is sent (EW_ERR_WRONG_CLUSTER). After that, an endpoint of another cluster
 * is not used: an error is logged, and the endpoint is asked again every 30 s. */
#ifndef ETCD_IDENTITY_H
#define ETCD_IDENTITY_H

#include "etcd/connection.h"

typedef struct inquiry inquiry;

/* Gets the result. The inquiry is freed after the callback.
 *  - EW_OK: at least one endpoint belongs to the client's cluster, perhaps the one that was asked about.
 *  - EW_ERR_UNAVAILABLE: that endpoint cannot be used now.
 *  - EW_ERR_TIMEOUT: neither can that endpoint: it has not answered in time. A member answers a query with a token only
 *    after its log has reached the index in the token; if the token belongs to another cluster, that may never happen.
 *  - EW_ERR_WRONG_CLUSTER: no endpoint belongs to the client's cluster, or the cluster cannot be decided.
 *  - EW_ERR_UNAUTHENTICATED: only if the client has a user: there is no result until the query is repeated with another
 *    token.
 *  - Another error is the server's. */
typedef void (*inquiry_fn)(void *arg, int status, const char *detail);

/* Makes an inquiry that asks the backend `which`, or all backends while the client's cluster is not decided, over the
 * method's kind of connection. It ends at `until_ms` at the latest. An empty `token` means none. Returns NULL when out
 * of memory. */
inquiry *inquiry_new(ew_client *client, connection_set *set, int which, etcd_method method, etcd_queue *q,
                     grpc_slice token, int64_t until_ms);

/* Makes an inquiry that asks all backends why they cannot be used: EW_ERR_UNAVAILABLE, and `detail` lists each endpoint
 * with its reason. The queries take half a second at most. Returns NULL when out of memory, or without backends. */
inquiry *inquiry_new_why(ew_client *client, connection_set *set, etcd_method method, etcd_queue *q);

/* How often calls and streams that wait for a connection make such an inquiry. */
#define WHY_INTERVAL_MS 1000

/* Starts an inquiry. Separate from its making, so that the caller has the pointer before `fn` is called on the queue's
 * thread. */
void inquiry_start(inquiry *i, inquiry_fn fn, void *arg);

/* To be called with a connection to `which`: from time to time makes the other backends connect and verify their
 * cluster, in the background. A channel makes progress only while a thread polls a queue that has a call on it. So
 * without this, a member that is available again would not be used until the other members fail. Does nothing until the
 * client's cluster is decided. `token` is the caller's, empty for none; if an endpoint refuses it, this function does
 * not ask that endpoint for 30 s. */
void identity_greet(ew_client *client, connection_set *set, int which, etcd_method method, etcd_queue *q,
                    grpc_slice token);

/* Asks an inquiry to end early. Any thread, until its callback has been called. */
void inquiry_cancel(inquiry *i);

/* Writes to `out` why there is no connection. Blocks: runs the queue until the inquiry of inquiry_new_why has ended. */
void identity_explain(ew_client *client, etcd_queue *q, etcd_method method, char *out, size_t size);

#endif
