/* Closes sockets with a time limit. nng_close waits until nng's threads have ended the socket's connections. A single
 * thread does that for the whole process, nng's reaper, and it can wait for ever: if a connection is closed while its
 * transport is between two reads, the transport starts the second read without a check whether the connection is
 * closed, and the reaper waits for that read. A client that sends without a pause and then disconnects is enough. In
 * nng 1.5 the check is missing over tcp, ipc and TLS; in 1.10.0, 1.10.1 and 1.12.0 still over ipc and TLS. So if other
 * processes can reach a socket of this process, closing has a limit, after which the worker ends and leaves the socket
 * open. */
#include "actors/mailbox_listening.h"

#include "core/log.h"
#include "etcd/etcd.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* How long closing may take, and how long while an earlier close has not ended. */
enum { CLOSE_MS = 5000, STUCK_MS = 200 };

typedef struct closing {
    struct closing *before; /* the next one in all_given_up */
    void *owner;
    nng_socket socket;
    pthread_cond_t ended;
    bool done, given_up;
} closing;

static atomic_bool outward;

/* Protects the variables below and the two flags of each close. The list keeps the closes that were given up and their
 * owners reachable, so that they do not count as leaks. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static closing *all_given_up;
static size_t stuck; /* how many closes in the list have not ended */
static bool logged;

void mailbox_is_outward(void) {
    atomic_store(&outward, true);
}

static void closing_free(closing *c) {
    pthread_cond_destroy(&c->ended);
    free(c);
}

static void *close_socket(void *arg) {
    closing *c = arg;
    nng_close(c->socket);
    pthread_mutex_lock(&lock);
    c->done = true;
    if (c->given_up)
        stuck--; /* the reaper works again */
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Returns NULL without memory or a thread. */
static closing *start(nng_socket s, void *owner) {
    pthread_t thread;
    closing *c = calloc(1, sizeof *c);
    if (!c || mailbox_cond_init(&c->ended) != 0) {
        free(c);
        return NULL;
    }
    c->socket = s;
    c->owner = owner;
    if (pthread_create(&thread, NULL, close_socket, c) != 0) {
        closing_free(c);
        return NULL;
    }
    pthread_detach(thread);
    return c;
}

/* Call this under the lock. */
static void give_up(closing *c) {
    c->given_up = true;
    c->before = all_given_up;
    all_given_up = c;
    stuck++;
}

/* Returns whether the close ends in time. If not, gives it up. */
static bool await(closing *c) {
    int late = 0;
    pthread_mutex_lock(&lock);
    struct timespec until = mailbox_timespec(etcd_now_ms() + (stuck > 0 ? STUCK_MS : CLOSE_MS));
    while (!c->done && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&c->ended, &lock, &until);
    bool done = c->done, first = !done && !logged;
    logged |= first;
    if (!done)
        give_up(c);
    pthread_mutex_unlock(&lock);
    if (first)
        log_write(EW_LOG_ERROR, NULL, "sockets", "nng does not close a connection; its socket stays open", NULL, 0);
    return done;
}

static bool is_stuck(void) {
    pthread_mutex_lock(&lock);
    bool is = stuck > 0;
    pthread_mutex_unlock(&lock);
    return is;
}

/* Closes the socket in the caller's thread. Returns false while an earlier close has not ended, since the caller could
 * then wait for ever. */
static bool close_here(nng_socket s) {
    if (is_stuck())
        return false;
    nng_close(s);
    return true;
}

bool mailbox_close_socket(nng_socket s, void *owner) {
    closing *c = atomic_load(&outward) ? start(s, owner) : NULL;
    if (!c)
        return close_here(s);
    if (!await(c))
        return false;
    closing_free(c);
    return true;
}
