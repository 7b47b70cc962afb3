/* Mailboxes: the messages between actors, over nng. The one place (with mailbox.c) where nng is known.
 *
 * A mailbox is a PULL socket that listens, an outbox a PUSH socket that dials one; both are bounded, and nothing is
 * dropped. nng hands a message to a mailbox on a thread of its own, where it is queued; that costs one wake-up. A
 * second one, of the actor's thread, is spent only when the actor waits for that kind of message: see mailbox_wait.
 *
 * nng 1.5 must not close a socket that a thread is about to receive from or send on; here nothing but an aio ever does
 * either, and it is stopped before the socket is closed. */
#ifndef ACTORS_MAILBOX_H
#define ACTORS_MAILBOX_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

typedef struct mailbox mailbox;

/* A message, or a request that wants a reply. Freed by mailbox_message_free. */
typedef struct mailbox_message {
    ew_slice body;
    uint64_t request; /* 0: a message; otherwise what mailbox_reply wants */
    size_t too_large; /* of a request over the limit: its length; its body was dropped. 0: it was not */
    void *owner;
} mailbox_message;

/* Where a socket for other programs listens. A socket file is made with mode 0660. */
typedef struct mailbox_place {
    const char *url;
    const char *worker;                         /* the worker's name, for logs; NULL: none */
    size_t max_bytes;                           /* of a request */
    const char *cert_file, *key_file, *ca_file; /* of tls+tcp, which asks for a client certificate; else not used */
} mailbox_place;

/* A message to a mailbox over a transport other than inproc may have so many bytes. A longer one ends its connection.
 */
enum { MAILBOX_MESSAGE_BYTES = 64 << 20 };

/* Listens at `url` and starts to receive, holding at most `bound` messages and about 32 MiB (beyond that the senders
 * wait). `arrived`, if not NULL, is called on nng's thread after each message is queued, one call at a time. */
int mailbox_open(mailbox **out, const char *url, size_t bound, void (*arrived)(void *arg), void *arg, ew_error *err);

/* Also takes requests (REP) at `place`, at most `bound` at once: they arrive in the mailbox as messages with `request`
 * set. A request over `max_bytes` arrives without its body; one over MAILBOX_GRACE times that ends its connection
 * (inproc excepted, whose messages are in this process already). */
enum { MAILBOX_GRACE = 4 };
int mailbox_serve(mailbox *mb, const mailbox_place *place, size_t bound, ew_error *err);

/* Answers a request; the body is copied. What cannot be sent is dropped: the requester asks again. */
void mailbox_reply(mailbox *mb, uint64_t request, ew_slice body);

/* Takes the oldest message: false if there is none. Any thread. */
bool mailbox_take(mailbox *mb, mailbox_message *out);
void mailbox_message_free(mailbox_message *m);

/* Sleeps until there is a message, or until `deadline_ms` of etcd_now_ms. With `outcome_only`, messages that cannot
 * move the actor on (events, snapshots, progress, requests) wait for one that can, or until the mailbox is
 * full: a wake-up saved each tick. */
void mailbox_wait(mailbox *mb, int64_t deadline_ms, bool outcome_only);

/* Closes the sockets, dropping what is queued. No other call may be running. NULL is fine. */
void mailbox_close(mailbox *mb);

typedef struct outbox outbox;

/* Dials `url`, whose mailbox may come later. At most `buffer` messages wait inside nng. `room`, if not NULL, is called
 * on nng's thread when an outbox that was busy no longer is. */
int outbox_open(outbox **out, const char *url, size_t buffer, void (*room)(void *arg), void *arg, ew_error *err);

/* Sends a message, after those before it. Never blocks. EW_OK, or EW_ERR_NO_MEMORY; but once there is always memory for
 * a stop, a session's end or an actor's. Any thread. */
int outbox_send(outbox *ob, const Msg__Message *message);

/* The same, but the message waits here for what will soon be ready too: outbox_join appends to it, any other send is
 * preceded by it. EW_OK, or EW_ERR_NO_MEMORY. */
int outbox_hold(outbox *ob, const Msg__Message *message);

/* Sends `message` in one body with the one that is held, if there is one: bodies are joined by appending them, so the
 * two should have no field in common. Where both have events, the held one is sent first, by itself. */
int outbox_join(outbox *ob, const Msg__Message *message);

/* Sends what is held, if anything is. */
int outbox_release(outbox *ob);

/* Whether the receiver is behind: what is sent now is kept here until there is room, so a sender that can wait should.
 * Any thread. */
bool outbox_busy(outbox *ob);

/* Waits until everything sent has left this outbox, at most until `deadline_ms`. */
void outbox_flush(outbox *ob, int64_t deadline_ms);
void outbox_close(outbox *ob); /* NULL is fine */

/* A PUB socket: whoever is behind loses messages. */
typedef struct publisher publisher;
int publisher_open(publisher **out, const mailbox_place *place, ew_error *err);
void publisher_send(publisher *p, ew_slice body);
void publisher_close(publisher *p); /* NULL is fine */

/* The listening socket of one of these, to look at; NULL without one. Valid until it is closed. */
typedef struct listening listening;
listening *mailbox_listened(const mailbox *mb); /* for messages */
listening *mailbox_served(const mailbox *mb);   /* for requests */
listening *publisher_served(const publisher *p);

/* The URL that is listened at, with the port that was chosen for a port 0. */
const char *listening_url(const listening *l);

typedef struct mailbox_connections {
    uint64_t accepted;
    uint64_t refused; /* in the handshake: without a valid certificate, or from a web page */
    uint64_t silent;  /* ended without a request that could be taken */
} mailbox_connections;

/* Adds the counts of `l` to `*sum`. Any thread. */
void listening_count(listening *l, mailbox_connections *sum);

/* Counts the handshakes that nng has refused, logs them, and replaces a listener that has stopped to accept. Does
 * nothing if that was done less than a second ago. Answers when to call it again; INT64_MAX for inproc, which needs
 * none of this. One thread. NULL is fine for both. */
int64_t listening_look(listening *l, int64_t now_ms);

/* Whether the files of a tls+tcp place can be used. */
int mailbox_check_tls(const mailbox_place *place, ew_error *err);

#endif
