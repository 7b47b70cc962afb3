/* A backend: one address of the endpoints with a channel for each kind of work, and what is known of who answers there.
 *
 * An address is no identity: another cluster may answer there than yesterday. So each new connection is asked for its
 * cluster before anything else is sent on it (identity.h), and the answer counts for as long as the connection lives. A
 * channel makes no new connection by itself (its policy is pick_first, which goes idle when it loses one): only
 * backends_find tells it to, and takes note that the next one has not been asked. */
#ifndef ETCD_BACKEND_H
#define ETCD_BACKEND_H

#include "etcd/method.h"
#include "etcd/targets.h"

#include <etcdworker/options.h>

#include <grpc/grpc.h>

#include <stdatomic.h>

/* Calls, watches and keepalives have a connection each, so that a long answer on one is not in the way of the others,
 * and so that what comes in on a connection wakes only the thread that waits for it: gRPC lets every thread that has
 * used a connection poll it. */
typedef enum connection { CONNECTION_CALLS, CONNECTION_WATCHES, CONNECTION_KEEPALIVES, CONNECTIONS } connection;

typedef enum membership {
    MEMBERSHIP_UNKNOWN, /* the connection has not been asked */
    MEMBERSHIP_OURS,
    MEMBERSHIP_FOREIGN, /* it belongs to another cluster: nothing is sent but the question, now and then */
} membership;

typedef struct backend {
    grpc_channel *channels[CONNECTIONS];
    void *handles[ETCD_METHODS];          /* gRPC's registered method of each, on the channel of its kind */
    void *questions[CONNECTIONS];         /* the same of the status call, on each channel */
    atomic_uint memberships[CONNECTIONS]; /* a membership, and a count of connections above it */
    _Atomic(uint64_t) foreign;            /* the other cluster's id, once one has answered */
    _Atomic(int64_t) ask_ms[CONNECTIONS]; /* when to ask this connection again, if it is foreign or was put off */
} backend;

connection backend_connection(etcd_method method);

void backend_open(backend *b, const target *t, grpc_channel_credentials *credentials, const ew_options *options);
void backend_close(backend *b);

/* The first of `count` backends, from `turn` on, that has a connection of that kind and is not known to be foreign;
 * NO_BACKEND if there is none: then all of them have been told to connect. Where all are foreign, one of these, to be
 * asked. */
#define NO_BACKEND (-1)
int backends_find(backend *backends, size_t count, size_t turn, connection kind);

/* Whether each of them has tried to connect and failed, or is foreign. */
bool backends_fail(backend *backends, size_t count, connection kind);
bool backends_are_foreign(const backend *backends, size_t count);

/* Whether there is something to be done before it can be used: a connection, which it is told to make, or the question
 * whose it is, unless that has been put off. */
bool backend_is_missing(backend *b, connection kind);
void backend_put_off(backend *b, connection kind); /* for as long as a foreign one is left */

membership backend_membership(const backend *b, connection kind);

/* What was found out about a connection counts only if it is still the same: `seen` is backend_seen of before the
 * question.
 */
unsigned backend_seen(const backend *b, connection kind);
void backend_settle(backend *b, connection kind, unsigned seen, membership s);
void backend_doubt(backend *b); /* all of its connections are to be asked again */

#endif
