/* The client's inside: its channels and what every call and stream takes from it. */
#ifndef ETCD_CONNECTION_H
#define ETCD_CONNECTION_H

#include "etcd/auth.h"
#include "etcd/method.h"
#include "etcd/queue.h"
#include "etcd/waiter.h"

#include <grpc/grpc.h>

#include <stdatomic.h>

typedef enum connection { CONNECTION_CALLS, CONNECTION_WATCHES, CONNECTION_KEEPALIVES, CONNECTIONS } connection;

struct ew_client {
    /* Calls, watches and keepalives have a connection each, so that a long answer on one is not in the way of the
     * others, and so that what comes in on a connection wakes only the thread that waits for it: gRPC lets every thread
     * that has used a connection poll it. */
    grpc_channel *channels[CONNECTIONS];
    void *handles[ETCD_METHODS]; /* gRPC's registered method of each, on its channel */
    char *endpoints;             /* as given, for errors */
    int64_t call_timeout_ms, backoff_min_ms, backoff_max_ms;
    auth auth;
    waiters waiters;
    _Atomic(int64_t) last_answer_ms; /* when a blocking call last saw the connection work */
    _Atomic(uint64_t) cluster_id;    /* of the first answer; 0 before */
};

/* Calls that find no connection wait for one; without this they would end in 0.1 ms. */
#define CONNECTION_WAIT (GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET)

/* The channel of a method, and a new call of gRPC's on it. */
grpc_channel *connection_channel(const ew_client *client, etcd_method method);
grpc_call *connection_call(ew_client *client, etcd_queue *q, etcd_method method, int64_t deadline_ms);

/* What is sent with it: at most CONNECTION_METADATA_MAX elements, which borrow the token (empty: none). */
#define CONNECTION_METADATA_MAX 2
size_t connection_metadata(etcd_method method, grpc_slice token, grpc_metadata *list);

#endif
