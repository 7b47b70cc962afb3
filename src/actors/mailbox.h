/* Mailboxes: the messages between actors, over nng. Only mailbox*.c use nng.
 *
 * A mailbox is a PULL socket that listens; an outbox is a PUSH socket that dials a mailbox. Both are bounded and drop
 * no message. A thread of nng receives a message and queues it in the mailbox, which takes one wake-up. A second
 * wake-up, of the actor's thread, happens only if the actor waits for that kind of message: see mailbox_wait.
 *
 * With nng 1.5, a socket must not be closed while a thread is about to receive from it or send on it. Here only aios
 * send and receive, and each is stopped before its socket is closed. */
#ifndef ACTORS_MAILBOX_H
#define ACTORS_MAILBOX_H

#include "actors.pb-c.h"

#include "core/log.h"

#include <etcdworker/error.h>

typedef struct mailbox mailbox;

/* A message, or a request that needs a reply. Freed by mailbox_message_free. */
typedef struct mailbox_message {
    ew_slice body;
    uint64_t request; /* 0: a message; otherwise a request, and its id for mailbox_reply */
    size_t too_large; /* the length of a request over the limit, whose body was dropped; otherwise 0 */
    void *owner;
} mailbox_message;

/* Where a socket for other programs listens. A socket file gets mode 0660. */
typedef struct mailbox_place {
    const char *url;
    const log_source *log;                      /* of its records; NULL: the process's */
    size_t max_bytes;                           /* limit of a request */
    const char *cert_file, *key_file, *ca_file; /* only for tls+tcp, which requires client certificates */
} mailbox_place;

/* The limit of a message to a mailbox over a transport other than inproc. A longer message ends its connection. */
enum { MAILBOX_MESSAGE_BYTES = 64 << 20 };

/* Listens at `url` and starts to receive. The mailbox holds at most `bound` messages and about 32 MiB; then the senders
 * wait. `arrived`, if not NULL, is called on nng's thread after each message is queued, one call at a time. */
int mailbox_open(mailbox **out, const char *url, size_t bound, void (*arrived)(void *arg), void *arg, ew_error *err);

/* Also receives requests (REP) at `place`, at most `bound` at the same time: they arrive in the mailbox as messages
 * with `request` set. A request over `max_bytes` arrives without its body. One over MAILBOX_GRACE times `max_bytes`
 * ends its connection, except with inproc, where the message is already in this process. */
enum { MAILBOX_GRACE = 4 };
int mailbox_serve(mailbox *mb, const mailbox_place *place, size_t bound, ew_error *err);

/* Replies to a request; the body is copied. A reply that cannot be sent is dropped: the requester sends its request
 * again. */
void mailbox_reply(mailbox *mb, uint64_t request, ew_slice body);

/* Takes the oldest message; false if there is none. Any thread. */
bool mailbox_take(mailbox *mb, mailbox_message *out);
void mailbox_message_free(mailbox_message *m);

/* Sleeps until there is a message, or until `deadline_ms` on etcd_now_ms. With `outcome_only`, sleeps on while there
 * are only messages that the actor cannot use yet (events, snapshots, progress, requests) and the mailbox is not full.
 * This saves a wake-up for each tick. */
void mailbox_wait(mailbox *mb, int64_t deadline_ms, bool outcome_only);

/* Closes the sockets and drops queued messages. No other call may be running. NULL is allowed. */
void mailbox_close(mailbox *mb);

typedef struct outbox outbox;

/* Dials `url`; its mailbox may be opened later. nng buffers at most `buffer` messages. `space`, if not NULL, is called
 * on nng's thread when the outbox is not busy any more. */
int outbox_open(outbox **out, const char *url, size_t buffer, void (*space)(void *arg), void *arg, ew_error *err);

/* Sends a message, after the earlier ones. Never blocks. Returns EW_OK or EW_ERR_NO_MEMORY. Memory for one terminal
 * message (STOP, DOWN, SESSION) is reserved, so one of these can always be sent. Any thread. */
int outbox_send(outbox *ob, const Msg__Message *message);

/* Holds a message until the next send: outbox_join appends to it; any other send sends it first, on its own. Returns
 * EW_OK or EW_ERR_NO_MEMORY. */
int outbox_hold(outbox *ob, const Msg__Message *message);

/* Sends `message` in one body with the held message, if there is one. The bodies are concatenated, so the two messages
 * should have no field in common. If both have events, the held message is sent first, on its own. */
int outbox_join(outbox *ob, const Msg__Message *message);

/* Sends the held message, if there is one. */
int outbox_release(outbox *ob);

/* Returns whether the receiver lags: messages are kept in the outbox until the receiver has space, so a sender that can
 * wait should wait. Any thread. */
bool outbox_busy(outbox *ob);

/* Waits until everything sent has left this outbox, at most until `deadline_ms`. */
void outbox_flush(outbox *ob, int64_t deadline_ms);
void outbox_close(outbox *ob); /* NULL is allowed */

/* A PUB socket: a slow subscriber loses messages. */
typedef struct publisher publisher;
int publisher_open(publisher **out, const mailbox_place *place, ew_error *err);
void publisher_send(publisher *p, ew_slice body);
void publisher_close(publisher *p); /* NULL is allowed */

/* Return a listening socket of a mailbox or publisher; NULL if it has none. Valid until the owner is closed. */
typedef struct listening listening;
listening *mailbox_listened(const mailbox *mb); /* for messages */
listening *mailbox_served(const mailbox *mb);   /* for requests */
listening *publisher_served(const publisher *p);

/* Sets the source of the socket's records; NULL: none, for a socket that stays open after its owner was closed. `l` may
 * be NULL. */
void listening_set_log(listening *l, const log_source *from);

/* Returns the URL of the socket. For port 0 it has the port that the kernel chose. */
const char *listening_url(const listening *l);

typedef struct mailbox_connections {
    uint64_t accepted;
    uint64_t refused; /* failed handshakes, connections of web pages, and connections that this process closed */
    uint64_t silent;  /* ended without a request that could be received */
} mailbox_connections;

/* Adds the counts of `l` to `*sum`. Any thread. */
void listening_count(listening *l, mailbox_connections *sum);

/* Counts and logs the handshakes that nng has refused, and replaces a listener that does not accept any more. Does
 * nothing if the last check was less than a second ago. Returns when to call it again; INT64_MAX for inproc, which
 * needs no checks. One thread. `l` may be NULL here and in listening_count. */
int64_t listening_look(listening *l, int64_t now_ms);

/* Checks whether the files of a tls+tcp place can be used. */
int mailbox_check_tls(const mailbox_place *place, ew_error *err);

#endif
