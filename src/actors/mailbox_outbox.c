/* Outboxes: the sending side of a mailbox. */
#include "actors/mailbox_listening.h"

#include <nng/protocol/pipeline0/push.h>
#include <stdlib.h>

/* The terminal messages are STOP, DOWN and SESSION. Without them their receiver would wait for as long as a stop may
 * take. So `kept` always has places for them, and `spare` is memory for one of them. */
enum {
    SPARE_BYTES = 512,     /* DOWN with its detail, the largest one */
    TERMINAL_MESSAGES = 3, /* one of each */
};

struct outbox {
    nng_socket push;
    nng_aio *aio;
    nng_aio *at_once; /* without a callback, with a zero timeout. Used under the lock */
    void (*space)(void *arg);
    void *arg;

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t emptied;
    nng_msg *spare; /* for a terminal message when out of memory */
    nng_msg *held;  /* the message of outbox_hold */
    bool holds_events;
    bool busy;                        /* the aio sends a message; then it sends those in `kept` */
    nng_msg **kept;                   /* oldest first */
    size_t kept_count, kept_capacity; /* the last TERMINAL_MESSAGES places are reserved for these */
};

/* Under the lock: sends the oldest of `kept` by the aio. */
static void send_kept(outbox *ob) {
    nng_aio_set_msg(ob->aio, ob->kept[0]);
    memmove(ob->kept, ob->kept + 1, --ob->kept_count * sizeof *ob->kept);
    nng_send_aio(ob->push, ob->aio);
}

static void push_done(void *arg) {
    outbox *ob = arg;
    if (nng_aio_result(ob->aio) != 0) {
        nng_msg_free(nng_aio_get_msg(ob->aio));
        return; /* the outbox is being closed */
    }
    pthread_mutex_lock(&ob->lock);
    bool empty = ob->kept_count == 0;
    if (empty) {
        ob->busy = false;
        pthread_cond_broadcast(&ob->emptied);
    } else {
        send_kept(ob);
    }
    pthread_mutex_unlock(&ob->lock);
    if (empty && ob->space)
        ob->space(ob->arg);
}

static int keep(outbox *ob, nng_msg *msg, bool terminal) {
    if (ob->kept_count + TERMINAL_MESSAGES >= ob->kept_capacity) {
        size_t capacity = 2 * ob->kept_capacity;
        nng_msg **kept = realloc(ob->kept, capacity * sizeof *kept);
        if (kept) {
            ob->kept = kept;
            ob->kept_capacity = capacity;
        } else if (!terminal || ob->kept_count == ob->kept_capacity) {
            return EW_ERR_NO_MEMORY;
        }
    }
    ob->kept[ob->kept_count++] = msg;
    return EW_OK;
}

/* Under the lock: does the same as nng_sendmsg with NNG_FLAG_NONBLOCK, but reuses the aio. nng_sendmsg makes an aio for
 * each message, which takes a random number from the kernel and several locks. */
static bool send_at_once(outbox *ob, nng_msg *msg) {
    nng_aio_set_msg(ob->at_once, msg);
    nng_send_aio(ob->push, ob->at_once);
    nng_aio_wait(ob->at_once);
    return nng_aio_result(ob->at_once) == 0;
}

/* Under the lock: sends or keeps the message. Takes ownership of it, also on failure. */
static int send_now(outbox *ob, nng_msg *msg, bool terminal) {
    if (!ob->busy && send_at_once(ob, msg))
        return EW_OK;
    int status = keep(ob, msg, terminal);
    if (status != EW_OK) {
        nng_msg_free(msg);
    } else if (!ob->busy) {
        ob->busy = true;
        send_kept(ob);
    }
    return status;
}

static int release_held(outbox *ob) {
    nng_msg *held = ob->held;
    ob->held = NULL;
    ob->holds_events = false;
    return held ? send_now(ob, held, false) : EW_OK;
}

/* Appends the packed message to `*msg`; allocates `*msg` if it is NULL. */
static int pack_into(nng_msg **msg, const Msg__Message *message) {
    size_t size = msg__message__get_packed_size(message), before = *msg ? nng_msg_len(*msg) : 0;
    int rv = *msg ? nng_msg_realloc(*msg, before + size) : nng_msg_alloc(msg, size);
    if (rv != 0)
        return EW_ERR_NO_MEMORY;
    msg__message__pack(message, (uint8_t *)nng_msg_body(*msg) + before);
    return EW_OK;
}

/* Under the lock: packs the message into `spare`; false if that was used before or is too small. */
static bool pack_into_spare(outbox *ob, nng_msg **msg, const Msg__Message *message) {
    size_t size = msg__message__get_packed_size(message);
    if (!ob->spare || size > nng_msg_len(ob->spare))
        return false;
    nng_msg_chop(ob->spare, nng_msg_len(ob->spare) - size);
    msg__message__pack(message, nng_msg_body(ob->spare));
    *msg = ob->spare;
    ob->spare = NULL;
    return true;
}

int outbox_send(outbox *ob, const Msg__Message *message) {
    nng_msg *msg = NULL;
    bool terminal = message->stop || message->session || message->down;
    bool packed = pack_into(&msg, message) == EW_OK;
    pthread_mutex_lock(&ob->lock);
    if (!packed && !(terminal && pack_into_spare(ob, &msg, message))) {
        pthread_mutex_unlock(&ob->lock);
        return EW_ERR_NO_MEMORY;
    }
    int first = release_held(ob), second = send_now(ob, msg, terminal);
    pthread_mutex_unlock(&ob->lock);
    return first != EW_OK ? first : second;
}

int outbox_hold(outbox *ob, const Msg__Message *message) {
    nng_msg *msg = NULL;
    if (pack_into(&msg, message) != EW_OK)
        return EW_ERR_NO_MEMORY;
    pthread_mutex_lock(&ob->lock);
    int status = release_held(ob);
    ob->held = msg;
    ob->holds_events = message->events != NULL;
    pthread_mutex_unlock(&ob->lock);
    return status;
}

int outbox_join(outbox *ob, const Msg__Message *message) {
    pthread_mutex_lock(&ob->lock);
    /* If one body had two `events` fields, only the second one would count. */
    int status = ob->holds_events && message->events ? release_held(ob) : EW_OK;
    if (status == EW_OK)
        status = pack_into(&ob->held, message);
    if (status == EW_OK)
        status = release_held(ob);
    pthread_mutex_unlock(&ob->lock);
    return status;
}

int outbox_release(outbox *ob) {
    pthread_mutex_lock(&ob->lock);
    int status = release_held(ob);
    pthread_mutex_unlock(&ob->lock);
    return status;
}

bool outbox_busy(outbox *ob) {
    pthread_mutex_lock(&ob->lock);
    bool busy = ob->busy;
    pthread_mutex_unlock(&ob->lock);
    return busy;
}

void outbox_flush(outbox *ob, int64_t deadline_ms) {
    struct timespec until = mailbox_timespec(deadline_ms);
    pthread_mutex_lock(&ob->lock);
    while (ob->busy && pthread_cond_timedwait(&ob->emptied, &ob->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&ob->lock);
}

int outbox_open(outbox **out, const char *url, size_t buffer, void (*space)(void *arg), void *arg, ew_error *err) {
    *out = NULL;
    outbox *ob = calloc(1, sizeof *ob);
    if (!ob || pthread_mutex_init(&ob->lock, NULL) != 0 || mailbox_cond_init(&ob->emptied) != 0) {
        free(ob);
        return ew_fail(err, EW_ERR_NO_MEMORY, "outbox to %s", url);
    }
    ob->space = space;
    ob->arg = arg;
    ob->kept_capacity = 8;
    ob->kept = calloc(ob->kept_capacity, sizeof *ob->kept);
    int rv = nng_push0_open(&ob->push);
    if (rv != 0) {
        pthread_cond_destroy(&ob->emptied);
        pthread_mutex_destroy(&ob->lock);
        free(ob->kept);
        free(ob);
        return nng_failed(err, "outbox to", url, rv);
    }
    rv = ob->kept ? nng_msg_alloc(&ob->spare, SPARE_BYTES) : NNG_ENOMEM;
    if (rv != 0 || (rv = nng_aio_alloc(&ob->aio, push_done, ob)) != 0 ||
        (rv = nng_aio_alloc(&ob->at_once, NULL, NULL)) != 0 ||
        (rv = nng_socket_set_int(ob->push, NNG_OPT_SENDBUF, (int)buffer)) != 0 ||
        (rv = nng_dial(ob->push, url, NULL, NNG_FLAG_NONBLOCK)) != 0) {
        outbox_close(ob);
        return nng_failed(err, "outbox to", url, rv);
    }
    nng_aio_set_timeout(ob->at_once, NNG_DURATION_ZERO);
    *out = ob;
    return EW_OK;
}

void outbox_close(outbox *ob) {
    if (!ob)
        return;
    if (ob->at_once)
        nng_aio_free(ob->at_once);
    if (ob->aio) {
        nng_aio_stop(ob->aio);
        nng_aio_free(ob->aio);
    }
    mailbox_close_socket(ob->push, NULL); /* no owner: no callback can run any more */
    if (ob->held)
        nng_msg_free(ob->held);
    if (ob->spare)
        nng_msg_free(ob->spare);
    for (size_t i = 0; i < ob->kept_count; i++)
        nng_msg_free(ob->kept[i]);
    free(ob->kept);
    pthread_cond_destroy(&ob->emptied);
    pthread_mutex_destroy(&ob->lock);
    free(ob);
}
