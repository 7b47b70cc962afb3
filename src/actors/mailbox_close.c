/* Closes sockets with a time limit. nng_close waits until nng's threads have ended the socket's connections. In nng 1.5
 * a single thread does that for the whole process, and it can wait for ever: if a connection is closed while its
 * transport is between two reads, the second read is dropped silently, and the thread waits for it. A client that sends
 * without a pause and then disconnects is enough. So if other processes can reach a socket of this process, closing has
 * a limit, after which the worker ends and leaves the socket open. */
#include "actors/mailbox_listening.h"

#include "core/log.h"
#include "etcd/etcd.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* How long closing may take, and how long once nng's thread is known to be stuck. */
enum { CLOSE_MS = 5000, STUCK_MS = 200 };

static atomic_bool outward, stuck;

/* The sockets that could not be closed. The list keeps them reachable, so that they do not count as leaks. */
static _Atomic(struct closing *) all_left;

typedef struct closing {
    struct closing *before; /* the next one in all_left */
    void *owner;
    nng_socket socket;
    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t ended;
    bool done;
} closing;

void mailbox_is_outward(void) {
    atomic_store(&outward, true);
}

static void closing_free(closing *c) {
    pthread_cond_destroy(&c->ended);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static void *close_socket(void *arg) {
    closing *c = arg;
    nng_close(c->socket);
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Returns NULL without memory or a thread. */
static closing *start(nng_socket s, void *owner) {
    pthread_t thread;
    closing *c = calloc(1, sizeof *c);
    if (c == NULL || mailbox_cond_init(&c->ended) != 0) {
        free(c);
        return NULL;
    }
    c->socket = s;
    c->owner = owner;
    pthread_mutex_init(&c->lock, NULL);
    if (pthread_create(&thread, NULL, close_socket, c) != 0) {
        closing_free(c);
        return NULL;
    }
    pthread_detach(thread);
    return c;
}

static bool await(closing *c) {
    struct timespec until = mailbox_timespec(etcd_now_ms() + (atomic_load(&stuck) ? STUCK_MS : CLOSE_MS));
    int late = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->done && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&c->ended, &c->lock, &until);
    bool done = c->done;
    pthread_mutex_unlock(&c->lock);
    return done;
}

bool mailbox_close_socket(nng_socket s, void *owner) {
    closing *c = atomic_load(&outward) ? start(s, owner) : NULL;
    if (c == NULL) {
        nng_close(s);
        return true;
    }
    if (await(c)) {
        closing_free(c);
        return true;
    }
    c->before = atomic_exchange(&all_left, c);
    if (!atomic_exchange(&stuck, true))
        log_write(EW_LOG_ERROR, "", "sockets",
                  "nng does not close a connection; its socket stays open until the process ends", NULL, 0);
    return false;
}
