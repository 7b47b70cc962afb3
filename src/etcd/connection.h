/* The client's internals: its channels, and what calls and streams use of it.
 *
 * The channels form a set: all are made from the same certificates and connect to the same endpoints. ew_client_reload
 * replaces the set, and so does a lookup that finds other addresses for a host name. Calls that have taken the old set
 * go on with it; the last one to give it back closes it. */
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
    backend *backends; /* one for each target */
    targets targets;
    grpc_channel *nowhere;                  /* a lame channel, to wait on while there are no backends */
    _Atomic(int64_t) greet_ms[CONNECTIONS]; /* when to reconnect backends without a connection (identity_greet) */
    atomic_uint turn, watch_turn;           /* which backend to try first, and which to wait for first */
    atomic_int users;
} connection_set;

/* The channel configuration: what a set is made from, in addition to the options. */
typedef struct channel_config {
    tls_credentials credentials;
    bool tls; /* whether the credentials are for TLS */
    names names;
} channel_config;

struct etcd_stream;

struct ew_client {
    pid_t owner;                 /* the process that may use it */
    log_source log;              /* of the records about the client and what is made from it */
    ew_options *options;         /* a copy, to make another set from */
    channel_config config;       /* protected by `reloading` */
    pthread_mutex_t lock;        /* protects the next three fields */
    connection_set *set;         /* the newest */
    struct etcd_stream *streams; /* those that were sent to etcd (stream.c) */
    struct ew_client *trial;     /* during a reload: the client that tries the new certificates */
    pthread_mutex_t reloading;   /* held while another set is made */
    char *endpoints;             /* the option's text, for errors */
    int64_t call_timeout_ms, backoff_min_ms, backoff_max_ms, watch_silence_ms, max_receive_bytes;
    auth auth;
    waiters waiters;
    _Atomic(int64_t) last_answer_ms; /* when a blocking call last got a response */
    _Atomic(uint64_t) cluster_id;    /* the cluster of the client; 0: not decided yet */
    atomic_bool refused;             /* no endpoint can be used, for reasons that do not go away with time */
};

/* Checks everything that can be checked without connecting, and looks up host names. The caller must call
 * channel_config_fini also after a failure. `endpoints` is the option's text; it is borrowed until then. */
int channel_config_init(channel_config *m, const ew_options *options, const char *endpoints, ew_error *err);
void channel_config_fini(channel_config *m);

/* Makes a set with one user; NULL when out of memory. */
connection_set *connection_open(const channel_config *m, const ew_options *options);

/* Takes the client's newest set. The caller gives it back with connection_give, which closes a set without users. */
connection_set *connection_take(ew_client *client);
void connection_give(connection_set *set); /* NULL is allowed */

/* Makes `next` the client's newest set, and ends the streams of older ones. Returns the previous set, which the caller
 * gives back. */
connection_set *connection_exchange(ew_client *client, connection_set *next);

/* Replaces `*set` by the newest set, then returns the index of a backend that is connected for that method. NO_BACKEND:
 * none is connected; connection_wait waits for a change. Before anything is sent to a backend that is not verified, it
 * must be asked for its cluster (identity.h). */
int connection_find(ew_client *client, connection_set **set, etcd_method method);
bool connection_is_verified(const connection_set *set, int which, etcd_method method);

/* Reads the certificates again, after a handshake was refused. True: they have changed, and the client has a new set.
 */
bool connection_renew(ew_client *client);

/* Returns whether every endpoint has refused the connection or belongs to another cluster, so that waiting does not
 * help at the moment. */
bool connection_fails(connection_set *set, etcd_method method);

/* Complete `tag` at `until_ms`, or earlier: connection_wait when there may be a connection, connection_pause when a
 * connection is lost. */
void connection_wait(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag);
void connection_pause(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag);

/* Creates a gRPC call. If its connection has just been lost, the call fails at once: it must not wait for the next
 * connection, whose cluster is not known. gRPC does not report whether such a call was sent. */
grpc_call *connection_call(connection_set *set, int which, etcd_queue *q, etcd_method method, int64_t deadline_ms);

/* How long one wait for a connection takes. The wait cannot be interrupted, so a cancel can take as long. */
#define CONNECT_WAIT_MS 50

/* Returns whether `id`, from a response, is the client's cluster, which never changes. The first id decides it. For
 * another id, makes every endpoint be asked for its cluster again before anything else is sent. */
bool connection_is_same_cluster(ew_client *client, uint64_t id);

/* Returns whether the stream was sent: it has a connection, and a token if there is a user. The queue's thread only. */
bool stream_has_begun(const struct etcd_stream *s);

/* Ends the client's streams on older sets, as if their connection had broken. */
void streams_renew(ew_client *client);

/* Writes the metadata of a request to `list` and returns the number of elements, at most CONNECTION_METADATA_MAX. The
 * elements borrow the token (empty: no token). */
#define CONNECTION_METADATA_MAX 2
size_t connection_metadata(etcd_method method, grpc_slice token, grpc_metadata *list);

#endif
