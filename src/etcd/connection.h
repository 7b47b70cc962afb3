/* The client's inside: its channels and what every call and stream takes from it.
 *
 * The channels come as a set, because they are all made of the same certificates and lead to the same addresses.
 * ew_client_reload puts another set in its place, and so does a lookup that found other addresses for a name; who has
 * taken the old one goes on with it, and the last one to give it back closes it. */
#ifndef ETCD_CONNECTION_H
#define ETCD_CONNECTION_H

#include "etcd/auth.h"
#include "etcd/backend.h"
#include "etcd/method.h"
#include "etcd/names.h"
#include "etcd/queue.h"
#include "etcd/tls.h"
#include "etcd/waiter.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct connection_set {
    backend *backends; /* one for each of the targets */
    targets targets;
    grpc_channel *nowhere;                  /* never connects: what is waited at while there are no backends */
    _Atomic(int64_t) greet_ms[CONNECTIONS]; /* when to look after those that are not connected (identity_greet) */
    atomic_uint turn, watch_turn;           /* which of several backends to look at first, and which to wait at */
    atomic_int users;
} connection_set;

/* What a set is made of, beside options. */
typedef struct connection_makings {
    tls_credentials credentials;
    bool tls; /* whether these are for TLS */
    names names;
} connection_makings;

struct etcd_stream;

struct ew_client {
    pid_t owner;                 /* the process that may use it */
    ew_options *options;         /* a copy, to make another set from */
    connection_makings makings;  /* as well; under `reloading` */
    pthread_mutex_t lock;        /* the next three */
    connection_set *set;         /* the newest */
    struct etcd_stream *streams; /* those that have begun (stream.c) */
    struct ew_client *trial;     /* what is to take this one's place, while it is tried */
    pthread_mutex_t reloading;   /* another set is being made: one at a time */
    char *endpoints;             /* as given, for errors */
    int64_t call_timeout_ms, backoff_min_ms, backoff_max_ms, watch_silence_ms, max_receive_bytes;
    auth auth;
    waiters waiters;
    _Atomic(int64_t) last_answer_ms; /* when a blocking call last saw the connection work */
    _Atomic(uint64_t) cluster_id;    /* that the endpoints were found to belong to; 0 before */
    atomic_bool refused;             /* no endpoint can be used, for reasons that waiting does not heal */
};

/* Checks everything that can be checked without connecting, and looks up names. What failed is to be given to
 * makings_fini, too. `endpoints` is the option's text, and must outlive it. */
int makings_init(connection_makings *m, const ew_options *options, const char *endpoints, ew_error *err);
void makings_fini(connection_makings *m);

/* A new set, with one user; NULL when out of memory. */
connection_set *connection_open(const connection_makings *m, const ew_options *options);

/* The client's newest set, to be given back. */
connection_set *connection_take(ew_client *client);
void connection_give(connection_set *set); /* NULL is fine */

/* Makes `next` the client's newest set, which streams go over to; answers the one before, to be given back. */
connection_set *connection_exchange(ew_client *client, connection_set *next);

/* Gives `*set` back and takes a newer one, if there is one; then looks for a backend that is connected, for that
 * method: NO_BACKEND if there is none, and then connection_wait waits for a change. Before anything is sent to a
 * backend that is not verified, it must be asked for its cluster (identity.h). */
int connection_find(ew_client *client, connection_set **set, etcd_method method);
bool connection_is_verified(const connection_set *set, int which, etcd_method method);

/* Reads the certificates again, because a handshake was refused: true if they have changed, and then the client has
 * other channels. */
bool connection_renew(ew_client *client);

/* Whether there is nothing to wait for at the moment: every endpoint has refused, or belongs to another cluster. */
bool connection_fails(connection_set *set, etcd_method method);

/* Completes `tag` at that time, or earlier: connection_wait when there may be a connection now, connection_pause when
 * a connection is lost. */
void connection_wait(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag);
void connection_pause(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag);

/* A new call of gRPC's. One whose connection has just gone ends at once instead of waiting for the next, which nobody
 * has asked whose it is. gRPC does not say whether such a call had been sent. */
grpc_call *connection_call(connection_set *set, int which, etcd_queue *q, etcd_method method, int64_t deadline_ms);

/* How long to wait for a connection at a time: the wait cannot be taken back, so a cancel takes as long. */
#define CONNECT_WAIT_MS 50

/* A client speaks to one cluster for its life: whether an answer with that id is from it. If not, every endpoint is
 * asked again who it is before anything else is sent. */
bool connection_is_same_cluster(ew_client *client, uint64_t id);

/* Whether it was sent: it has had a connection, and a token if there is a user. The queue's thread only. */
bool stream_has_begun(const struct etcd_stream *s);

/* Ends the client's streams that are not of its newest set, as if their connection had broken. */
void streams_renew(ew_client *client);

/* What is sent with it: at most CONNECTION_METADATA_MAX elements, which borrow the token (empty: none). */
#define CONNECTION_METADATA_MAX 2
size_t connection_metadata(etcd_method method, grpc_slice token, grpc_metadata *list);

#endif
