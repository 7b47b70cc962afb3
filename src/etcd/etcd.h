/* What the actors use of the client layer: completion queues, calls and streams that do not block.
 *
 * gRPC stays behind this header. A completion queue moves only while a thread is inside etcd_queue_run: an actor's
 * thread sleeps there and nowhere else. Callbacks run on that thread, inside etcd_queue_run. Calls may be started
 * from any thread. */
#ifndef ETCD_ETCD_H
#define ETCD_ETCD_H

#include <etcdworker/client.h>

/* EW_ERR_STATE in a process that was forked off from the one that opened the client: it must not be used there, nor
 * closed, nor what is made from it. */
int etcd_check_process(const ew_client *client, ew_error *err);

/* Milliseconds of the monotonic clock that every deadline here is measured by. */
int64_t etcd_now_ms(void);

typedef struct etcd_queue etcd_queue;

etcd_queue *etcd_queue_new(void);    /* NULL when out of memory */
void etcd_queue_free(etcd_queue *q); /* nothing may be under way on it: every call answered, every stream ended */

/* Sleeps until something completes, etcd_queue_wake, or `deadline_ms` (INT64_MAX: none); then runs the callbacks of all
 * that is ready. One thread at a time. */
void etcd_queue_run(etcd_queue *q, int64_t deadline_ms);

/* Makes a sleeping or the next etcd_queue_run return. Any thread. Wakes between two runs are joined. */
void etcd_queue_wake(etcd_queue *q);

typedef enum etcd_method {
    ETCD_RANGE,
    ETCD_RANGE_SERIALIZABLE, /* the same for a request that says so: a member may answer it by itself */
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

/* The answer: EW_OK and the serialized response, or an error and etcd's text. For methods that write, a failure that
 * may have been applied is EW_ERR_UNKNOWN_OUTCOME (ETCD P11); for those that read it is EW_ERR_UNAVAILABLE,
 * EW_ERR_TIMEOUT or EW_ERR_CANCELLED. `bytes` and `detail` are valid until the callback returns; the call is freed
 * after it. */
typedef void (*etcd_answer_fn)(void *arg, int status, const char *detail, ew_slice bytes);

/* Starts a call; the request is copied. Answers NULL when out of memory, and then `fn` is not called; otherwise `fn` is
 * called exactly once. */
etcd_call *etcd_call_start(ew_client *client, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                           etcd_answer_fn fn, void *arg);

/* Asks a call to end early; its answer still comes. Only before its callback has returned. Any thread. */
void etcd_call_cancel(etcd_call *call);

/* ---- one stream ---- */

typedef struct etcd_stream etcd_stream;

typedef struct etcd_stream_callbacks {
    /* One message. The next one is asked for when this returns, unless etcd_stream_pause was called: then after
     * etcd_stream_resume. */
    void (*message)(void *arg, ew_slice bytes);
    /* The stream's end, always the last callback, exactly once: never EW_OK (a stream that the server closed is
     * EW_ERR_UNAVAILABLE; one that etcd_stream_cancel ended is EW_ERR_CANCELLED). The stream is freed after it. */
    void (*ended)(void *arg, int status, const char *detail);
} etcd_stream_callbacks;

/* Opens a stream and starts to connect. Messages that are sent before it is connected wait. NULL when out of memory.
 * The queue's thread only, or before it runs. */
etcd_stream *etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method, etcd_stream_callbacks callbacks,
                              void *arg);

/* Sends one message (copied), after those before it. EW_ERR_NO_MEMORY, or EW_OK. The queue's thread only. */
int etcd_stream_send(etcd_stream *s, ew_slice message);

/* What the stream said means that its token is not known: the next stream and the next call ask for another one. A
 * stream that ends with such a status says so by itself. */
void etcd_stream_refuse_token(etcd_stream *s);

/* Stops and restarts reading: while paused no message is told, and gRPC's flow control holds etcd back. A message that
 * came into the pause is told by etcd_stream_resume itself, or is lost if the stream ends before. The queue's thread
 * only. */
void etcd_stream_pause(etcd_stream *s);
void etcd_stream_resume(etcd_stream *s);

/* Ends the stream from our side. `ended` follows. The queue's thread only. */
void etcd_stream_cancel(etcd_stream *s);

/* Whether any gRPC thread or object of this process is left: for tests, after the last client is closed. Waits at most
 * `timeout_ms`. */
bool etcd_all_released(int64_t timeout_ms);

#endif
