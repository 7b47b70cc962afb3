/* Shared by mailbox_listening.c and mailbox_upkeep.c alone. */
#ifndef ACTORS_MAILBOX_LISTENING_PRIVATE_H
#define ACTORS_MAILBOX_LISTENING_PRIVATE_H

#include "actors/mailbox_listening.h"

#include "core/log_limit.h"

#include <pthread.h>

/* A connection that is open. */
typedef struct connection {
    int id;
    bool heard;
    uint64_t used; /* rises with each connection and each message: the lowest has been idle the longest */
} connection;

struct listening {
    char *worker, *url; /* the URL that is listened at, with its real port; both owned */
    nng_socket socket;
    nng_listener listener;
    nng_tls_config *tls; /* of tls+tcp; otherwise NULL */
    bool requests;
    size_t most_bytes;

    pthread_mutex_t dropping; /* held while listening_drop closes a connection */
    pthread_mutex_t lock;     /* all below */
    connection *open;
    size_t open_count, open_capacity, most_open;
    uint64_t used;
    mailbox_connections counts;
    log_limit limit;
    bool seen; /* a connection has come since the probe was sent */

    /* Of listening_look. */
    int64_t look_ms;         /* when nng's statistics are read again */
    uint64_t refused_by_nng; /* as they were last read */
    uint64_t failed;         /* the same of other failures */
    int probe;               /* the socket of a probe that is out; -1: none is */
    int64_t replaced_ms;     /* when the listener was replaced or closed; 0: it was not */
    int64_t wait_ms;         /* and how long after that the next one may be */
    bool closed;             /* there is no listener until replaced_ms + wait_ms */
};

/* Logs why a connection was dropped, at a limited rate. */
void listening_log_dropped(listening *l, const char *why);

/* Whether `url` begins with `scheme`. */
bool listening_is(const char *url, const char *scheme);

/* Makes the listener, at `url`. */
int listening_start(listening *l, const char *url, ew_error *err);

#endif
