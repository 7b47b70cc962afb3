/* For nng applications: the messages that a worker takes and publishes on its sockets.
 *
 * This header includes no nng: it turns calls into message bodies (bytes that the caller sends with its own nng) and
 * back. The schema is actors.proto, installed in share/etcdworker, for programs in other languages. */
#ifndef ETCDWORKER_NNG_H
#define ETCDWORKER_NNG_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A patch group of plain puts, deletes and compares, to be sent over a REQ socket to ew_worker_submit_url().
 *
 * A submit has an identity: a client and a sequence. All copies of it that are sent are decided together, once: the
 * packed body that is sent again, by the program or by nng (a REQ socket does, after NNG_OPT_REQ_RESENDTIME and when
 * its connection breaks), is answered with the first outcome and its revision, also by a worker that has been started
 * again, by another worker of the prefix, and after a worker has died in the middle. So where it is not known what
 * became of a submit, send the same one again; a new ew_submit is another submit.
 *
 * What is kept is the last submit of each client, in etcd below `receipt_prefix`, for `receipt_ttl_s` at least after it
 * was decided, and for about twice that at most. */
typedef struct ew_submit ew_submit;

/* A submit with an identity of its own, which no other process or thread has. Of one thread, up to 64 may be
 * outstanding at once; one that is sent again after 64 later ones of that thread were decided may be EW_ERR_TOO_OLD.
 * NULL when out of memory; every function below takes a NULL. */
EW_API ew_submit *ew_submit_new(void);
EW_API void ew_submit_free(ew_submit *s);

/* Keys and values are copied. An error sticks and is answered again by ew_submit_pack. */
EW_API int ew_submit_put(ew_submit *s, ew_slice key, ew_slice value);
EW_API int ew_submit_delete(ew_submit *s, ew_slice key);
/* The group is refused, for good, unless the key has this value, or is absent. */
EW_API int ew_submit_if_value(ew_submit *s, ew_slice key, ew_slice value);
EW_API int ew_submit_if_absent(ew_submit *s, ew_slice key);

/* Gives the submit an identity of the caller's, for a program that keeps its own over a restart: `client` has 1 to 64
 * bytes, `sequence` is at least 1, or it is EW_ERR_INVALID. A client has one submit outstanding at a time, and each has
 * a higher sequence than the one before. An empty client with sequence 0 takes the identity away: each copy that is
 * sent of such a submit may be applied. */
EW_API int ew_submit_identity(ew_submit *s, ew_slice client, uint64_t sequence);

/* The message body, the same each time; free(3) it. */
EW_API int ew_submit_pack(const ew_submit *s, void **body, size_t *size);

/* What the worker answers.
 *
 * Decided, whatever is sent again:
 *   EW_OK                   committed, once, at `revision`
 *   EW_ERR_REFUSED          nothing was written, nor will be: a compare did not hold, at `revision`
 *   EW_ERR_OUTSIDE_PREFIX, EW_ERR_TOO_LARGE, EW_ERR_BAD_MESSAGE
 *                           the same: no worker with these options takes it; the detail says why. EW_ERR_TOO_LARGE
 *                           also for more than `max_submit_bytes`, which another worker may take. EW_ERR_BAD_MESSAGE
 *                           also for a client and sequence that a submit of other content had
 *   EW_ERR_TOO_OLD          a later submit of the client was sent: what became of this one is not kept
 * Not taken; nothing of this copy was written, nor will be. Send the same submit again:
 *   EW_ERR_BUSY             too many submits are waiting
 *   EW_ERR_UNAVAILABLE      the worker has not reached etcd yet
 *   EW_ERR_NO_MEMORY
 * The run ended first:
 *   EW_ERR_UNKNOWN_OUTCOME  it may have been committed, or may be: by this worker, or, where there is an identity, by a
 *                           worker that took an earlier copy. Sent again with its identity it is decided
 *   EW_ERR_CANCELLED, or the error that ended the run
 *                           to a submit without an identity only: nothing of this copy was written */
typedef struct ew_submit_reply {
    int status;
    int64_t revision;
    char detail[256];
} ew_submit_reply;

/* EW_ERR_BAD_MESSAGE when the body is no reply; EW_ERR_NO_MEMORY. */
EW_API int ew_submit_reply_unpack(const void *body, size_t size, ew_submit_reply *out);

/* What the worker publishes after each tick, on a PUB socket. A slow subscriber loses messages, as with any PUB. */
typedef struct ew_tick_note {
    uint64_t number;  /* of the tick */
    int64_t revision; /* that it saw */
    uint32_t groups;  /* that it made */
} ew_tick_note;

EW_API int ew_tick_note_unpack(const void *body, size_t size, ew_tick_note *out);

#ifdef __cplusplus
}
#endif
#endif
