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

/* A patch group of plain puts, deletes and compares, to be sent over a REQ socket to ew_worker_submit_url(). */
typedef struct ew_submit ew_submit;

EW_API ew_submit *ew_submit_new(void); /* NULL when out of memory; every function below takes a NULL */
EW_API void ew_submit_free(ew_submit *s);

/* Keys and values are copied. An error sticks and is answered again by ew_submit_pack. */
EW_API int ew_submit_put(ew_submit *s, ew_slice key, ew_slice value);
EW_API int ew_submit_delete(ew_submit *s, ew_slice key);
/* The group is refused, for good, unless the key has this value, or is absent. */
EW_API int ew_submit_if_value(ew_submit *s, ew_slice key, ew_slice value);
EW_API int ew_submit_if_absent(ew_submit *s, ew_slice key);

/* The message body; free(3) it. */
EW_API int ew_submit_pack(const ew_submit *s, void **body, size_t *size);

/* What the worker answers. Every status but the first two means that nothing was written: EW_ERR_REFUSED (a compare did
 * not hold), EW_ERR_OUTSIDE_PREFIX, EW_ERR_TOO_LARGE, EW_ERR_BUSY (too many submits are waiting), EW_ERR_CANCELLED (the
 * worker stopped), EW_ERR_BAD_MESSAGE, EW_ERR_NO_MEMORY, or the error that ended the run. */
typedef struct ew_submit_reply {
    int status;       /* EW_OK: committed; EW_ERR_UNKNOWN_OUTCOME: the run ended, and nobody knows */
    int64_t revision; /* of the commit; for a refusal, the revision at which the compare did not hold */
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
