/* The part of the client layer that the actors use: completion queues, and calls and streams that do not block.
 *
 * This header hides gRPC. A completion queue makes progress only while a thread is inside etcd_queue_run: an actor's
 * thread sleeps there and nowhere else. Callbacks run on that thread, inside etcd_queue_run. Calls may be started
 * from any thread. */
#ifndef ETCD_ETCD_H
#define ETCD_ETCD_H

#include <etcdworker/client.h>

/* Returns EW_ERR_STATE in a child of the process that opened the client. A child must not use or close the client, nor
 * anything made from it. */
int etcd_check_process(const ew_client *client, ew_error *err);

/* Returns the time of the monotonic clock in milliseconds. All deadlines in this header are times of this clock. */
int64_t etcd_now_ms(void);

typedef struct etcd_queue etcd_queue;

etcd_queue *etcd_queue_new(void);    /* NULL when out of memory */
void etcd_queue_free(etcd_queue *q); /* every call on it must have completed, every stream ended */

/* Sleeps until an operation completes, etcd_queue_wake is called, or `deadline_ms` (INT64_MAX: none); then runs the
 * callbacks of all operations that have completed. One thread at a time. */
void etcd_queue_run(etcd_queue *q, int64_t deadline_ms);

/* Makes the etcd_queue_run that sleeps, or the next one, return. Several calls between two runs count as one. Any
 * thread. */
void etcd_queue_wake(etcd_queue *q);

typedef enum etcd_method {
    ETCD_RANGE,
    ETCD_RANGE_SERIALIZABLE, /* Range with `serializable` set: a member may answer it without a leader */
    ETCD_PUT,
    ETCD_DELETE_RANGE,
    ETCD_TXN,
    ETCD_COMPACT,
    ETCD_LEASE_GRANT,
    ETCD_LEASE_REVOKE,
    ETCD_LEASE_TIME_TO_LIVE,
    ETCD_AUTHENTICATE,
    ETCD_STATUS,
    ETCD_MEMBER_LIST,
    ETCD_WATCH,            /* a stream */
    ETCD_LEASE_KEEP_ALIVE, /* a stream */
} etcd_method;

/* ---- one call ---- */

typedef struct etcd_call etcd_call;

/* Gets the result: EW_OK and the serialized response, or an error and etcd's text. If a method that writes fails but
 * may have been applied, the error is EW_ERR_UNKNOWN_OUTCOME (ETCD P11); a method that reads fails with
 * EW_ERR_UNAVAILABLE, EW_ERR_TIMEOUT or EW_ERR_CANCELLED then. `bytes` and `detail` are valid until the callback
 * returns; the call is freed after it. */
typedef void (*etcd_answer_fn)(void *arg, int status, const char *detail, ew_slice bytes);

/* Starts a call; the request is copied. Returns NULL when out of memory, and `fn` is not called then; otherwise `fn` is
 * called exactly once. */
etcd_call *etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                           etcd_answer_fn fn, void *arg);

/* Asks a call to end early; its callback is still called. Only before that callback has returned. Any thread. */
void etcd_call_cancel(etcd_call *call);

/* ---- one stream ---- */

typedef struct etcd_stream etcd_stream;

typedef struct etcd_stream_callbacks {
    /* Gets one message. The next one is read when this returns; while the stream is paused, after
     * etcd_stream_resume. */
    void (*message)(void *arg, ew_slice bytes);
    /* The stream ended. Called exactly once, as the last callback, never with EW_OK: EW_ERR_UNAVAILABLE if the server
     * closed the stream, EW_ERR_CANCELLED after etcd_stream_cancel. The stream is freed after it. */
    void (*ended)(void *arg, int status, const char *detail);
} etcd_stream_callbacks;

/* Opens a stream and starts to connect. Messages that are sent before it is connected are queued. Returns NULL when out
 * of memory. The queue's thread only, or before that thread runs. */
etcd_stream *etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method, etcd_stream_callbacks callbacks,
                              void *arg);

/* Sends a copy of one message, after the earlier ones. Returns EW_OK or EW_ERR_NO_MEMORY. The queue's thread only. */
int etcd_stream_send(etcd_stream *s, ew_slice message);

/* Notes that etcd does not know the stream's token: the next stream or call gets another one. Called when a message of
 * the stream says so; a stream that ends with such a status does this by itself. */
void etcd_stream_refuse_token(etcd_stream *s);

/* Stop and resume reading. While the stream is paused the message callback is not called, and gRPC's flow control
 * applies back-pressure to etcd. A message that arrives after the pause is delivered inside etcd_stream_resume, or is
 * lost if the stream ends first. The queue's thread only. */
void etcd_stream_pause(etcd_stream *s);
void etcd_stream_resume(etcd_stream *s);

/* Cancels the stream. `ended` is called later. The queue's thread only. */
void etcd_stream_cancel(etcd_stream *s);

/* Returns whether all of gRPC's threads and objects in this process are gone. For tests, after the last client is
 * closed. Waits at most `timeout_ms`. */
bool etcd_all_released(int64_t timeout_ms);

#endif
