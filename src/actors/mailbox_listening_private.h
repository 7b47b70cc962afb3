/* Only for mailbox_listening.c and mailbox_upkeep.c. */
#ifndef ACTORS_MAILBOX_LISTENING_PRIVATE_H
#define ACTORS_MAILBOX_LISTENING_PRIVATE_H

#include "actors/mailbox_listening.h"

#include "core/log_limit.h"

#include <pthread.h>

/* An open connection. */
typedef struct connection {
    int id;
    bool heard;
    uint64_t used; /* number of its last use, from listening.used: the lowest has been idle the longest */
} connection;

struct listening {
    char *url;      /* with its real port; owned */
    log_source log; /* see `logging` */
    nng_socket socket;
    nng_listener listener;
    nng_tls_config *tls; /* of tls+tcp; otherwise NULL */
    bool requests;
    size_t most_bytes;

    pthread_mutex_t logging;  /* held while a thread of nng writes a record, and while `log` changes */
    pthread_mutex_t dropping; /* held while listening_drop closes a connection */
    pthread_mutex_t lock;     /* protects the fields up to `seen` */
    connection *open;
    size_t open_count, open_capacity, most_open;
    uint64_t used; /* counts connections and messages */
    mailbox_connections counts;
    log_limit limit;
    bool seen; /* the listener has accepted a connection since the liveness probe was sent */

    /* Used by listening_look only. */
    int64_t look_ms;         /* when to check again */
    uint64_t refused_by_nng; /* failed handshakes in nng's statistics, as last read */
    uint64_t failed;         /* other failures in nng's statistics, as last read */
    int probe;               /* the socket of the current liveness probe; -1: none */
    int64_t replaced_ms;     /* when the listener was last replaced or closed; 0: never */
    int64_t wait_ms;         /* how long after that it may be replaced or closed again */
    bool closed;             /* there is no listener until replaced_ms + wait_ms */
};

/* Logs why a connection was dropped, at a limited rate. */
void listening_log_dropped(listening *l, const char *why);

/* Returns whether `url` begins with `scheme`. */
bool listening_is(const char *url, const char *scheme);

/* Makes and starts the listener at `url`. */
int listening_start(listening *l, const char *url, ew_error *err);

#endif
