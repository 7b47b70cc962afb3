/* The client's inside: its channels and what every call and stream takes from it.
 *
 * The channels come as a set, because they are all made of the same certificates. ew_client_reload puts another set in
 * its place; who has taken the old one goes on with it, and the last one to give it back closes it. */
#ifndef ETCD_CONNECTION_H
#define ETCD_CONNECTION_H

#include "etcd/auth.h"
#include "etcd/method.h"
#include "etcd/queue.h"
#include "etcd/waiter.h"

#include <grpc/grpc.h>

#include <pthread.h>
#include <stdatomic.h>

typedef enum connection { CONNECTION_CALLS, CONNECTION_WATCHES, CONNECTION_KEEPALIVES, CONNECTIONS } connection;

typedef struct connection_set {
    /* Calls, watches and keepalives have a connection each, so that a long answer on one is not in the way of the
     * others, and so that what comes in on a connection wakes only the thread that waits for it: gRPC lets every thread
     * that has used a connection poll it. */
    grpc_channel *channels[CONNECTIONS];
    void *handles[ETCD_METHODS]; /* gRPC's registered method of each, on its channel */
    bool several;                /* endpoints */
    atomic_int users;
} connection_set;

struct etcd_stream;

struct ew_client {
    ew_options *options;         /* a copy, to make another set from */
    pthread_mutex_t lock;        /* the next two */
    connection_set *set;         /* the newest */
    struct etcd_stream *streams; /* those that have begun (stream.c) */
    pthread_mutex_t reloading;   /* one at a time */
    char *endpoints;             /* as given, for errors */
    int64_t call_timeout_ms, backoff_min_ms, backoff_max_ms;
    auth auth;
    waiters waiters;
    _Atomic(int64_t) last_answer_ms; /* when a blocking call last saw the connection work */
    _Atomic(uint64_t) cluster_id;    /* of the first answer; 0 before */
};

/* Calls that find no connection wait for one; without this they would end in 0.1 ms. */
#define CONNECTION_WAIT (GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET)

/* A new set, with one user. Checks everything that can be checked without connecting; on failure `*out` is NULL. */
int connection_open(connection_set **out, const ew_options *options, ew_error *err);

/* The client's newest set, to be given back. What connection_channel and connection_call answer is of that set. */
connection_set *connection_take(ew_client *client);
void connection_give(connection_set *set); /* NULL is fine */

/* Gives `*set` back and takes a newer one, if there is one. */
void connection_follow(ew_client *client, connection_set **set);

/* The channel of a method, and a new call of gRPC's on it. */
grpc_channel *connection_channel(const connection_set *set, etcd_method method);
grpc_call *connection_call(connection_set *set, etcd_queue *q, etcd_method method, int64_t deadline_ms);

/* Ends the client's streams that are not of its newest set, as if their connection had broken. */
void streams_renew(ew_client *client);

/* What is sent with it: at most CONNECTION_METADATA_MAX elements, which borrow the token (empty: none). */
#define CONNECTION_METADATA_MAX 2
size_t connection_metadata(etcd_method method, grpc_slice token, grpc_metadata *list);

#endif
