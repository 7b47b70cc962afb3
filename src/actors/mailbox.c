#include "actors/mailbox.h"

#include "actors/mailbox_listening.h"
#include "actors/message.h"
#include "actors/observe.h"
#include "etcd/etcd.h"

#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct item {
    nng_msg *msg;
    uint64_t request;
    size_t too_large;
    bool urgent;
} item;

/* One REP context: receives a request, waits for the reply, sends it, and receives the next request. */
typedef struct responder {
    mailbox *mb;
    nng_ctx ctx;
    nng_aio *aio;
    uint64_t number; /* its index + 1: the id of its request */
    nng_pipe pipe;   /* the connection of the request */
    bool sending;    /* the aio sends, it does not receive. Changed under the lock */
} responder;

struct mailbox {
    nng_socket pull;
    listening *listening;
    nng_aio *aio;
    void (*arrived)(void *arg);
    void *arg;

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t filled;
    item *ring;
    size_t bound, capacity, head, count, urgent;
    size_t bytes;   /* of the bodies in the ring */
    bool receiving; /* a receive is pending, or its callback is running */
    bool waiting, outcome_only;

    bool serving, closing; /* closing: no more requests are received */
    nng_socket rep;
    listening *served;
    size_t max_request; /* bytes */
    responder *responders;
    size_t responder_count;
};

int mailbox_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return -1;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rv = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return rv;
}

struct timespec mailbox_timespec(int64_t deadline_ms) {
    return (struct timespec){.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
}

/* ---- receiving ---- */

/* A mailbox is full by number or by size: a few pages of a snapshot are as large as many events. */
enum { FULL_BYTES = 32 << 20 };

static bool has_space(const mailbox *mb) {
    return mb->count < mb->bound && mb->bytes < FULL_BYTES;
}

/* Under the lock: queues a message. Returns whether the waiting actor must be woken. The ring has space for `bound`
 * messages and one request of each responder. */
static bool enqueue(mailbox *mb, item it) {
    it.urgent = it.request == 0 && message_is_urgent((ew_slice){nng_msg_body(it.msg), nng_msg_len(it.msg)});
    mb->ring[(mb->head + mb->count++) % mb->capacity] = it;
    mb->urgent += it.urgent;
    mb->bytes += nng_msg_len(it.msg);
    return mb->waiting && (!mb->outcome_only || mb->urgent > 0 || !has_space(mb));
}

static void pull_done(void *arg) {
    mailbox *mb = arg;
    if (nng_aio_result(mb->aio) != 0)
        return; /* the mailbox is being closed */
    pthread_mutex_lock(&mb->lock);
    bool wake = enqueue(mb, (item){.msg = nng_aio_get_msg(mb->aio)});
    bool again = has_space(mb);
    mb->receiving = again;
    pthread_mutex_unlock(&mb->lock);
    if (wake) /* after unlocking, so that the woken thread need not wait for the lock */
        pthread_cond_signal(&mb->filled);
    if (mb->arrived)
        mb->arrived(mb->arg);
    if (again)
        nng_recv_aio(mb->pull, mb->aio); /* last, so that callbacks do not overlap */
}

bool mailbox_take(mailbox *mb, mailbox_message *out) {
    pthread_mutex_lock(&mb->lock);
    bool any = mb->count > 0, again = false;
    if (any) {
        item it = mb->ring[mb->head];
        mb->head = (mb->head + 1) % mb->capacity;
        mb->count--;
        mb->urgent -= it.urgent;
        *out = (mailbox_message){{nng_msg_body(it.msg), nng_msg_len(it.msg)}, it.request, it.too_large, it.msg};
        mb->bytes -= out->body.len;
        again = !mb->receiving && has_space(mb);
        mb->receiving |= again;
    }
    pthread_mutex_unlock(&mb->lock);
    if (again)
        nng_recv_aio(mb->pull, mb->aio);
    if (any && actors_observed)
        actors_observed->taken();
    return any;
}

void mailbox_message_free(mailbox_message *m) {
    nng_msg_free(m->owner);
}

void mailbox_wait(mailbox *mb, int64_t deadline_ms, bool outcome_only) {
    struct timespec until = mailbox_timespec(deadline_ms);
    pthread_mutex_lock(&mb->lock);
    mb->waiting = true;
    mb->outcome_only = outcome_only;
    while (outcome_only ? mb->urgent == 0 && has_space(mb) : mb->count == 0) {
        if (deadline_ms == INT64_MAX)
            pthread_cond_wait(&mb->filled, &mb->lock);
        else if (pthread_cond_timedwait(&mb->filled, &mb->lock, &until) != 0)
            break;
    }
    mb->waiting = false;
    pthread_mutex_unlock(&mb->lock);
}

int mailbox_open(mailbox **out, const char *url, size_t bound, void (*arrived)(void *arg), void *arg, ew_error *err) {
    *out = NULL;
    mailbox *mb = calloc(1, sizeof *mb);
    item *ring = calloc(bound, sizeof *ring);
    if (!mb || !ring || pthread_mutex_init(&mb->lock, NULL) != 0) {
        free(mb);
        free(ring);
        return ew_fail(err, EW_ERR_NO_MEMORY, "mailbox %s", url);
    }
    mb->ring = ring;
    mb->bound = mb->capacity = bound;
    mb->arrived = arrived;
    mb->arg = arg;
    mb->receiving = true;
    int rv = mailbox_cond_init(&mb->filled) == 0 ? nng_pull0_open(&mb->pull) : NNG_ENOMEM;
    if (rv != 0) {
        pthread_mutex_destroy(&mb->lock);
        free(ring);
        free(mb);
        return nng_failed(err, "mailbox", url, rv);
    }
    if ((rv = nng_aio_alloc(&mb->aio, pull_done, mb)) != 0) {
        mailbox_close(mb);
        return nng_failed(err, "mailbox", url, rv);
    }
    int status =
        listening_open(&mb->listening, mb->pull, &(mailbox_place){.url = url}, false, MAILBOX_MESSAGE_BYTES, err);
    if (status != EW_OK) {
        mailbox_close(mb);
        return status;
    }
    *out = mb; /* before the first message can call `arrived` */
    nng_recv_aio(mb->pull, mb->aio);
    return EW_OK;
}

/* ---- requests ---- */

/* How long a reply may wait for the client to read earlier replies. The kernel buffers hundreds of replies. */
enum { REPLY_MS = 1000 };

/* Drops the body of a request over the limit. False when out of memory: the request is lost. */
static bool drop_if_too_large(const mailbox *mb, item *it) {
    size_t size = nng_msg_len(it->msg);
    if (size <= mb->max_request)
        return true;
    nng_msg_free(it->msg);
    it->too_large = size;
    return nng_msg_alloc(&it->msg, 0) == 0;
}

/* Does nothing while the mailbox is being closed: stop_serving waits for the aio of a reply, which must not start to
 * receive then. */
static void receive_request(responder *r) {
    pthread_mutex_lock(&r->mb->lock);
    bool closing = r->mb->closing;
    if (!closing)
        r->sending = false;
    pthread_mutex_unlock(&r->mb->lock);
    if (closing)
        return;
    nng_aio_set_timeout(r->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(r->ctx, r->aio);
}

/* Drops a client that does not read its replies. Otherwise it could occupy all responders. */
static void reply_done(responder *r) {
    int rv = nng_aio_result(r->aio);
    if (rv != 0)
        nng_msg_free(nng_aio_get_msg(r->aio));
    if (rv == NNG_ETIMEDOUT)
        listening_drop(r->mb->served, r->pipe, "the client does not read its replies");
    receive_request(r);
}

static void responder_done(void *arg) {
    responder *r = arg;
    mailbox *mb = r->mb;
    if (r->sending) {
        reply_done(r);
        return;
    }
    if (nng_aio_result(r->aio) != 0)
        return; /* the mailbox is being closed */
    item it = {.msg = nng_aio_get_msg(r->aio), .request = r->number};
    r->pipe = nng_msg_get_pipe(it.msg);
    listening_heard(mb->served, r->pipe);
    if (!drop_if_too_large(mb, &it)) {
        receive_request(r); /* drops the request: no memory for a reply */
        return;
    }
    pthread_mutex_lock(&mb->lock);
    bool wake = enqueue(mb, it);
    pthread_mutex_unlock(&mb->lock);
    if (wake)
        pthread_cond_signal(&mb->filled);
    if (mb->arrived)
        mb->arrived(mb->arg);
}

int mailbox_serve(mailbox *mb, const mailbox_place *place, size_t bound, ew_error *err) {
    const char *url = place->url;
    pthread_mutex_lock(&mb->lock);
    item *ring = realloc(mb->ring, (mb->bound + bound) * sizeof *ring);
    bool moved = ring && mb->head + mb->count <= mb->capacity;
    if (ring)
        mb->ring = ring;
    if (moved)
        mb->capacity = mb->bound + bound;
    pthread_mutex_unlock(&mb->lock);
    mb->responders = calloc(bound, sizeof *mb->responders);
    if (!moved || !mb->responders)
        return ew_fail(err, EW_ERR_NO_MEMORY, "requests at %s", url);
    int rv = nng_rep0_open(&mb->rep);
    if (rv != 0)
        return nng_failed(err, "requests at", url, rv);
    mb->serving = true;
    for (; mb->responder_count < bound; mb->responder_count++) {
        responder *r = &mb->responders[mb->responder_count];
        *r = (responder){.mb = mb, .number = mb->responder_count + 1};
        if ((rv = nng_ctx_open(&r->ctx, mb->rep)) != 0)
            return nng_failed(err, "requests at", url, rv);
        if ((rv = nng_aio_alloc(&r->aio, responder_done, r)) != 0) {
            nng_ctx_close(r->ctx);
            return nng_failed(err, "requests at", url, rv);
        }
    }
    mb->max_request = place->max_bytes;
    int status = listening_open(&mb->served, mb->rep, place, true, MAILBOX_GRACE * place->max_bytes, err);
    if (status != EW_OK)
        return status;
    for (size_t i = 0; i < bound; i++)
        receive_request(&mb->responders[i]);
    return EW_OK;
}

void mailbox_reply(mailbox *mb, uint64_t request, ew_slice body) {
    responder *r = &mb->responders[request - 1];
    nng_msg *msg;
    if (nng_msg_alloc(&msg, body.len) != 0) {
        receive_request(r); /* drops the request */
        return;
    }
    memcpy(nng_msg_body(msg), body.data, body.len);
    pthread_mutex_lock(&mb->lock);
    r->sending = true;
    pthread_mutex_unlock(&mb->lock);
    nng_aio_set_msg(r->aio, msg);
    nng_aio_set_timeout(r->aio, REPLY_MS);
    nng_ctx_send(r->ctx, r->aio);
}

/* Waits for pending replies, at most REPLY_MS each, before it closes the socket, which would drop them. */
static bool stop_serving(mailbox *mb) {
    pthread_mutex_lock(&mb->lock);
    mb->closing = true;
    pthread_mutex_unlock(&mb->lock);
    for (size_t i = 0; i < mb->responder_count; i++) {
        if (mb->responders[i].sending)
            nng_aio_wait(mb->responders[i].aio);
    }
    for (size_t i = 0; i < mb->responder_count; i++)
        nng_aio_stop(mb->responders[i].aio);
    for (size_t i = 0; i < mb->responder_count; i++) {
        nng_aio_free(mb->responders[i].aio);
        nng_ctx_close(mb->responders[i].ctx);
    }
    if (!mailbox_close_socket(mb->rep, mb)) {
        listening_set_log(mb->served, NULL);
        return false;
    }
    listening_free(mb->served);
    return true;
}

listening *mailbox_listened(const mailbox *mb) {
    return mb->listening;
}

listening *mailbox_served(const mailbox *mb) {
    return mb->served;
}

void mailbox_close(mailbox *mb) {
    if (!mb)
        return;
    bool closed = !mb->serving || stop_serving(mb);
    if (mb->aio) {
        nng_aio_stop(mb->aio);
        nng_aio_free(mb->aio);
    }
    closed = mailbox_close_socket(mb->pull, mb) && closed;
    mailbox_message m;
    mb->receiving = true; /* the socket is closed: mailbox_take must not receive more */
    while (mailbox_take(mb, &m))
        mailbox_message_free(&m);
    if (!closed) {
        listening_set_log(mb->listening, NULL);
        return;
    }
    listening_free(mb->listening);
    pthread_cond_destroy(&mb->filled);
    pthread_mutex_destroy(&mb->lock);
    free(mb->responders);
    free(mb->ring);
    free(mb);
}
