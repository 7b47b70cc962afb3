/* For nng applications: the messages that a worker accepts and publishes on its sockets.
 *
 * This header does not include nng: it converts between calls and message bodies, which the caller sends and receives
 * with its own nng. The schema, for programs in other languages, is actors.proto, installed in share/etcdworker. */
#ifndef ETCDWORKER_NNG_H
#define ETCDWORKER_NNG_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A patch group of plain puts, deletes and compares, to be sent over a REQ socket to ew_worker_submit_url().
 *
 * A submit has an identity: a client id and a sequence number. All copies of a submit are decided once, together. A
 * copy is the same packed body, sent again by the program or by nng (a REQ socket sends again after
 * NNG_OPT_REQ_RESENDTIME and when its connection breaks). A copy is answered with the first outcome and its revision,
 * also by a restarted worker, by another worker of the prefix, and after a worker has died before the decision. If the
 * outcome of a submit is unknown, send the same submit again; a new ew_submit is a different submit.
 *
 * In nng before 1.6 (Debian 12), a dialer whose connection is closed during nng's handshake, as by a worker that is
 * killed at that moment, never dials again. A program that waits too long for a reply should close its socket, open
 * another one, and send the same submit there.
 *
 * etcd keeps the last submit of each client below `receipt_prefix`, for `receipt_ttl_s` at least after it was decided,
 * and for about twice that time at most. */
typedef struct ew_submit ew_submit;

/* Makes a submit with a client id of its own, which no other process or thread has. Up to 64 submits made by one thread
 * may be outstanding at once. A submit that is sent again after 64 later ones of its thread were decided may get
 * EW_ERR_TOO_OLD. Returns NULL when out of memory; every function below accepts NULL. Free it with ew_submit_free. */
EW_API ew_submit *ew_submit_new(void);
EW_API void ew_submit_free(ew_submit *s);

/* Add an operation. Keys and values are copied. The submit keeps its first error, and ew_submit_pack returns it. */
EW_API ew_status ew_submit_put(ew_submit *s, ew_slice key, ew_slice value);
EW_API ew_status ew_submit_delete(ew_submit *s, ew_slice key);
/* Add a condition: the group is refused permanently unless the key has this value, or is absent. */
EW_API ew_status ew_submit_if_value(ew_submit *s, ew_slice key, ew_slice value);
EW_API ew_status ew_submit_if_absent(ew_submit *s, ew_slice key);

/* Sets the caller's own identity, for a program that keeps it across restarts. `client` has 1 to 64 bytes and
 * `sequence` is at least 1, otherwise EW_ERR_INVALID. A client must have only one submit outstanding at a time, and
 * each submit must have a higher sequence than the previous one. An empty client with sequence 0 removes the identity:
 * then every copy that is sent may be applied. */
EW_API ew_status ew_submit_identity(ew_submit *s, ew_slice client, uint64_t sequence);

/* Packs the message body, the same bytes each time; the caller frees `*body` with free(3). */
EW_API ew_status ew_submit_pack(const ew_submit *s, void **body, size_t *size);

/* The worker's reply.
 *
 * The submit is decided, and every copy gets the same reply:
 *   EW_OK                   committed, once, at `revision`
 *   EW_ERR_REFUSED          a compare did not hold, at `revision`; nothing was or will be written
 *   EW_ERR_OUTSIDE_PREFIX   nothing was or will be written: no worker with these options accepts it; the detail says
 *                           why
 *   EW_ERR_TOO_LARGE        the same; also for more than `max_submit_bytes`, which another worker may accept
 *   EW_ERR_BAD_MESSAGE      the same; also if a submit with other content has used this client and sequence
 *   EW_ERR_TOO_OLD          a later submit of the client was sent; the outcome of this one is not kept
 * The submit was not accepted, and nothing of this copy was or will be written. Send the same submit again:
 *   EW_ERR_BUSY             too many submits are waiting
 *   EW_ERR_UNAVAILABLE      the worker has not reached etcd yet
 *   EW_ERR_NO_MEMORY
 * The run ended first:
 *   EW_ERR_UNKNOWN_OUTCOME  it may have been committed, or may still be: by this worker, or, if the submit has an
 *                           identity, by a worker that accepted an earlier copy. If the submit has an identity, sending
 *                           it again decides it
 *   EW_ERR_CANCELLED, or the error that ended the run
 *                           only for a submit without an identity: nothing of this copy was written */
typedef struct ew_submit_reply {
    size_t size; /* set to sizeof(ew_submit_reply) before the call; not changed */
    ew_status status;
    int64_t revision;
    char detail[256];
} ew_submit_reply;

/* Unpacks a reply. EW_ERR_BAD_MESSAGE: the body is not a reply. EW_ERR_INVALID: `out->size` is not set.
 * EW_ERR_NO_MEMORY. Any thread. */
EW_API ew_status ew_submit_reply_unpack(const void *body, size_t size, ew_submit_reply *out);

/* Published after each tick, on a PUB socket. As with every PUB socket, a slow subscriber loses messages. */
typedef struct ew_tick_note {
    size_t size;      /* set to sizeof(ew_tick_note) before the call; not changed */
    uint64_t number;  /* the tick's number */
    int64_t revision; /* the revision that the tick saw */
    uint32_t groups;  /* the number of groups that the tick made */
} ew_tick_note;

/* Unpacks a tick note. EW_ERR_BAD_MESSAGE: the body is not a tick note. EW_ERR_INVALID: `out->size` is not set.
 * EW_ERR_NO_MEMORY. Any thread. */
EW_API ew_status ew_tick_note_unpack(const void *body, size_t size, ew_tick_note *out);

#ifdef __cplusplus
}
#endif
#endif
