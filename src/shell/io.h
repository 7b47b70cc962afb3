/* What the shell needs from the world around it, as a table of functions: a clock, etcd's calls and streams, the way to
 * another actor, a wake-up and a log. src/actors implements it with gRPC and nng, src/sim with the simulated etcd. */
#ifndef SHELL_IO_H
#define SHELL_IO_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct shell_io shell_io;
typedef struct io_call io_call;
typedef struct io_stream io_stream;

typedef enum io_method {
    IO_RANGE,
    IO_TXN,
} io_method;

/* The answer of a call: EW_OK and the serialized response, or an error and its text, as in etcd/etcd.h. `detail` and
 * `bytes` are valid until the callback returns. */
typedef void (*io_answer_fn)(void *arg, int status, const char *detail, ew_slice bytes);

typedef struct io_stream_callbacks {
    void (*message)(void *arg, ew_slice bytes);
    void (*ended)(void *arg, int status, const char *detail); /* always the last one, and never with EW_OK */
} io_stream_callbacks;

/* How a message leaves. Messages that are packed into one body arrive together. */
typedef enum io_mode {
    IO_SEND, /* now, after the held message */
    IO_HOLD, /* not yet: it becomes the held message, and the one that was held before is sent */
    IO_JOIN, /* now, in one body with the held message; if both have events, after it */
} io_mode;

typedef struct io_ops {
    int64_t (*now_ms)(shell_io *io);

    /* Starts a call; the request is copied. Returns NULL when out of memory, and then `fn` is not called. */
    io_call *(*call)(shell_io *io, io_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn, void *arg);
    void (*call_cancel)(shell_io *io, io_call *call); /* its answer still comes */

    /* Opens a stream of the Watch service. Returns NULL when out of memory, and then no callback is called. */
    io_stream *(*stream_open)(shell_io *io, io_stream_callbacks callbacks, void *arg);
    int (*stream_send)(shell_io *io, io_stream *stream, ew_slice request); /* EW_OK, or EW_ERR_NO_MEMORY */
    void (*stream_pause)(shell_io *io, io_stream *stream, bool paused);    /* stops reading it, or goes on */
    void (*stream_cancel)(shell_io *io, io_stream *stream);                /* `ended` follows */

    /* Sends a message to the reactor. Never waits. EW_OK, or EW_ERR_NO_MEMORY. */
    int (*send)(shell_io *io, const Msg__Message *message, io_mode mode);
    int (*release)(shell_io *io); /* sends the held message, if there is one */
    bool (*busy)(shell_io *io);   /* the receiver has no capacity left: a sender that can wait should */

    void (*due)(shell_io *io);                          /* asks for a round soon; on the thread of the rounds */
    void (*bad_message)(shell_io *io, const char *why); /* counts and logs a message that was dropped */
    void (*log)(shell_io *io, const char *area, int level, const char *message, int64_t revision);
} io_ops;

/* Begins the implementation's own struct. */
struct shell_io {
    const io_ops *ops;
};

#endif
