/* A backend: one endpoint with a channel for each kind of work, and what is known of the cluster that it belongs to. An
 * endpoint that is a host name has a backend for each of its addresses.
 *
 * An address is not an identity: later, another cluster may answer at the same address. So each new connection is asked
 * for its cluster before anything else is sent on it (identity.h); the result is valid until that connection ends. A
 * channel makes no new connection by itself (its policy is pick_first, which goes idle when it loses one): only
 * backends_find tells it to connect, and notes that the next connection has not been asked yet. */
#ifndef ETCD_BACKEND_H
#define ETCD_BACKEND_H

#include "etcd/method.h"
#include "etcd/targets.h"

#include <etcdworker/options.h>

#include <grpc/grpc.h>

#include <stdatomic.h>

/* Calls, watches and keepalives have a connection each. So a long response on one does not delay the others, and
 * incoming data wakes only the thread that waits for it: gRPC lets every thread that has used a connection poll it. */
typedef enum connection { CONNECTION_CALLS, CONNECTION_WATCHES, CONNECTION_KEEPALIVES, CONNECTIONS } connection;

typedef enum membership {
    MEMBERSHIP_UNKNOWN, /* the connection has not been asked */
    MEMBERSHIP_OURS,
    MEMBERSHIP_OTHER_CLUSTER, /* it belongs to another cluster: only identity queries are sent, from time to time */
} membership;

typedef struct backend {
    grpc_channel *channels[CONNECTIONS];
    void *handles[ETCD_METHODS];          /* gRPC's registered handle of each method, on the channel of its kind */
    void *questions[CONNECTIONS];         /* the handle of the identity query (MemberList), on each channel */
    atomic_uint memberships[CONNECTIONS]; /* a membership in the low bits, a count of connections above them */
    _Atomic(uint64_t) other_cluster;      /* the id of the other cluster that the endpoint belongs to; 0: none known */
    _Atomic(int64_t) ask_ms[CONNECTIONS]; /* when to ask a connection again that is of another cluster or was put off */
} backend;

connection backend_connection(etcd_method method);

void backend_open(backend *b, const target *t, grpc_channel_credentials *credentials, const ew_options *options);
void backend_close(backend *b);

/* Returns the first of `count` backends, beginning at `turn`, that has a connection of that kind and is not known to
 * belong to another cluster. If all belong to another cluster, returns one of these, to be asked again. NO_BACKEND: no
 * backend is connected, and all have been told to connect. */
#define NO_BACKEND (-1)
int backends_find(backend *backends, size_t count, size_t turn, connection kind);

/* backends_fail: whether each of them failed to connect, or belongs to another cluster. backends_are_of_other_clusters:
 * whether each of them belongs to another cluster. */
bool backends_fail(backend *backends, size_t count, connection kind);
bool backends_are_of_other_clusters(const backend *backends, size_t count);

/* Returns whether the backend cannot be used yet: it has no connection (and is told to connect), or the connection's
 * cluster is not known and asking for it was not put off. backend_put_off delays the next identity query by as long as
 * one to another cluster. */
bool backend_is_missing(backend *b, connection kind);
void backend_put_off(backend *b, connection kind);

membership backend_membership(const backend *b, connection kind);

/* backend_settle sets the membership of a connection, if it is still the same connection: `seen` is the value of
 * backend_seen before the identity query was sent. */
unsigned backend_seen(const backend *b, connection kind);
void backend_settle(backend *b, connection kind, unsigned seen, membership s);
void backend_doubt(backend *b); /* makes all of its connections be asked again */

#endif
