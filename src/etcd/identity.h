/* Which cluster an endpoint belongs to, and why one cannot be used: found out by a call of MemberList, which every
 * member answers by itself, and newer ones only to users (ETCD P15). The question has no token at first; a client that
 * has a user repeats it with one where it is refused. An endpoint that refuses it for another reason, or to a client
 * without a user, is used, unless it has said before that it belongs to another cluster.
 *
 * The cluster of a client is decided by the first inquiry, which asks all of the endpoints: those that answer must name
 * one cluster, or more than half of them must; otherwise nothing is sent at all (EW_ERR_WRONG_CLUSTER). From then on an
 * endpoint of another cluster is left, with an error in the log, and asked again every 30 s. */
#ifndef ETCD_IDENTITY_H
#define ETCD_IDENTITY_H

#include "etcd/connection.h"

typedef struct inquiry inquiry;

/* EW_OK: at least one endpoint is ours, and perhaps the one that was asked about. EW_ERR_UNAVAILABLE: that one is not
 * to be used now. EW_ERR_TIMEOUT: nor is that one, which has not answered in time. A member also waits with its answer
 * until its log has reached the index in the token, for ever if the token is another cluster's.
 * EW_ERR_WRONG_CLUSTER: none of them is ours, or nobody can tell which. EW_ERR_UNAUTHENTICATED: only of a client with a
 * user; nothing is concluded before the question is asked again with another token. Another error is the server's. The
 * inquiry is freed after it. */
typedef void (*inquiry_fn)(void *arg, int status, const char *detail);

/* Asks the backend `which`, or all while the client's cluster is not decided, over the method's kind of connection, and
 * gives up at `until_ms` at the latest. `token` is empty for none. NULL when out of memory. */
inquiry *inquiry_new(ew_client *client, connection_set *set, int which, etcd_method method, etcd_queue *q,
                     grpc_slice token, int64_t until_ms);

/* Asks all of them why they cannot be used: EW_ERR_UNAVAILABLE, and `detail` lists each with its reason. Takes half a
 * second at most. NULL when out of memory, or when there are none. */
inquiry *inquiry_new_why(ew_client *client, connection_set *set, etcd_method method, etcd_queue *q);

/* How often those that wait for a connection ask it. */
#define WHY_INTERVAL_MS 1000

/* Begins. A step of its own, so that the pointer is known before the answer comes, on the queue's thread. */
void inquiry_start(inquiry *i, inquiry_fn fn, void *arg);

/* With a connection to `which`: asks those that are not connected or verified, too, now and then, without anybody
 * waiting for it. A channel moves only while a thread is in a queue that knows it, so without this a member that has
 * come back would not be used before the others are gone. Not before the client's cluster is decided. `token` is the
 * caller's; an endpoint that refuses it is not asked by this for 30 s. */
void identity_greet(ew_client *client, connection_set *set, int which, etcd_method method, etcd_queue *q,
                    grpc_slice token);

/* Asks it to end early. Any thread, until its function has been called. */
void inquiry_cancel(inquiry *i);

/* Writes why there is no connection, for a caller that waits: it runs the queue, for half a second at most. */
void identity_explain(ew_client *client, etcd_queue *q, etcd_method method, char *out, size_t size);

#endif
