/* One bidirectional stream.
 *
 * If the client has a user, the stream first makes a new token, unless there is a very new one: older servers give the
 * same error for an old token as for a denied request (ETCD P10). The cost is low, since streams are opened rarely.
 *
 * While there is no connection the stream waits as a call does, so it uses the client's newest channels.
 *
 * Each of its four batches has a tag: the start (metadata in both directions), the status, the message that is being
 * read, and the message that is being sent. The stream ends when its status arrives, and is freed when no batch is
 * pending. */
#include "etcd/bytes.h"
#include "etcd/connection.h"
#include "etcd/identity.h"
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>

#define TOKEN_MAX_AGE_MS 10000
#define TOKEN_TIMEOUT_MS 10000
/* How often to check whether another call or stream has made a token. */
#define TOKEN_WAIT_MS 10

typedef struct waiting {
    struct waiting *next;
    grpc_byte_buffer *buffer;
} waiting;

/* A tag that knows its stream. */
typedef struct stream_tag {
    queue_tag tag; /* first */
    etcd_stream *stream;
} stream_tag;

struct etcd_stream {
    stream_tag started, ended, received, sent;
    int out; /* batches that are pending */
    ew_client *client;
    connection_set *set;          /* the set that the call uses, or will use */
    etcd_stream *next, *previous; /* in the client's list, once there is a call */
    etcd_queue *queue;
    etcd_method method;
    etcd_stream_callbacks callbacks;
    void *arg;
    etcd_call *fetching; /* the call that makes a token */
    inquiry *asking;     /* for the cluster of the endpoint, or why there is no connection */
    int64_t why_ms;      /* when to ask again why there is no connection */
    bool ask_with_token; /* an endpoint names its cluster only to users */
    int refusals;        /* refused tokens of identity queries */
    int which;           /* index of the backend in the set */
    grpc_slice token;
    uint64_t generation; /* of the token */
    grpc_call *call;     /* NULL while there is no connection or no token */
    grpc_metadata metadata[CONNECTION_METADATA_MAX];
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *incoming; /* while no read is pending: a message that arrived after a pause */
    grpc_status_code code;
    grpc_slice text;
    waiting *first, *last; /* messages to send; the first is being sent */
    bool reading, paused, cancelled, over;
};

static void start(etcd_stream *s, stream_tag *tag, const grpc_op *ops, size_t count) {
    s->out++;
    queue_start(s->call, ops, count, &tag->tag);
}

/* ---- the client's list of streams, used by streams_renew ---- */

static void renew(etcd_stream *s) {
    grpc_call_cancel_with_status(s->call, GRPC_STATUS_UNAVAILABLE, "the client has new connections", NULL);
}

static void list(etcd_stream *s) {
    pthread_mutex_lock(&s->client->lock);
    s->next = s->client->streams;
    if (s->next)
        s->next->previous = s;
    s->client->streams = s;
    if (s->set != s->client->set) /* replaced since the stream took it */
        renew(s);
    pthread_mutex_unlock(&s->client->lock);
}

static void unlist(etcd_stream *s) {
    pthread_mutex_lock(&s->client->lock);
    if (s->previous)
        s->previous->next = s->next;
    else
        s->client->streams = s->next;
    if (s->next)
        s->next->previous = s->previous;
    pthread_mutex_unlock(&s->client->lock);
}

void streams_renew(ew_client *client) {
    pthread_mutex_lock(&client->lock);
    for (etcd_stream *s = client->streams; s; s = s->next) {
        if (s->set != client->set)
            renew(s);
    }
    pthread_mutex_unlock(&client->lock);
}

static void free_stream(etcd_stream *s) {
    for (waiting *w = s->first, *next; w; w = next) {
        next = w->next;
        grpc_byte_buffer_destroy(w->buffer);
        free(w);
    }
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_byte_buffer_destroy(s->incoming);
    grpc_slice_unref(s->text);
    grpc_slice_unref(s->token);
    if (s->call) {
        unlist(s);
        grpc_call_unref(s->call);
    }
    connection_give(s->set);
    free(s);
}

static void report_end(etcd_stream *s) {
    if (s->code == GRPC_STATUS_UNAVAILABLE && !s->cancelled)
        names_doubt(&s->client->config.names);
    char text[256];
    bytes_text(s->text, text, sizeof text);
    method_end end = {.code = s->code, .text = text, .cancelled = s->cancelled};
    int status = method_status(s->method, &end);
    if (status == EW_OK) { /* the server closed it; the end of a stream is never a success */
        status = s->cancelled ? EW_ERR_CANCELLED : EW_ERR_UNAVAILABLE;
        snprintf(text, sizeof text, "the server closed the stream");
    }
    if (status == EW_ERR_UNAUTHENTICATED && method_token_is_stale(text))
        etcd_stream_refuse_token(s);
    s->callbacks.ended(s->arg, status, text);
}

/* Returns the stream of a tag whose batch has completed. */
static etcd_stream *take(queue_tag *tag) {
    etcd_stream *s = ((stream_tag *)tag)->stream;
    s->out--;
    return s;
}

static void end_if_over(etcd_stream *s) {
    if (!s->over || s->out > 0)
        return;
    report_end(s);
    free_stream(s);
}

static void read_next(etcd_stream *s) {
    if (!s->call || s->reading || s->paused || s->cancelled || s->over)
        return;
    s->reading = true;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->incoming};
    start(s, &s->received, &op, 1);
}

static void send_first(etcd_stream *s) {
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = s->first->buffer};
    start(s, &s->sent, &op, 1);
}

static void on_started(queue_tag *tag, bool ok) {
    (void)ok; /* if not, the status says why */
    end_if_over(take(tag));
}

static void on_ended(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_stream *s = take(tag);
    s->over = true;
    end_if_over(s);
}

static void deliver_message(etcd_stream *s) {
    grpc_byte_buffer *message = s->incoming;
    s->incoming = NULL;
    bytes_view view;
    /* After a cancel no message is delivered; an unreadable message ends the stream. */
    if (!bytes_view_init(&view, message)) {
        etcd_stream_cancel(s);
    } else {
        if (!s->cancelled)
            s->callbacks.message(s->arg, view.bytes);
        bytes_view_fini(&view);
    }
    grpc_byte_buffer_destroy(message);
    read_next(s);
}

static void on_received(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_stream *s = take(tag);
    s->reading = false;
    if (s->incoming && !s->paused)
        deliver_message(s);
    /* Without a message the stream has ended: the status follows. */
    end_if_over(s);
}

static void on_sent(queue_tag *tag, bool ok) {
    etcd_stream *s = take(tag);
    waiting *done = s->first;
    s->first = done->next;
    if (!s->first)
        s->last = NULL;
    grpc_byte_buffer_destroy(done->buffer);
    free(done);
    if (ok && s->first && !s->over)
        send_first(s);
    end_if_over(s);
}

/* Starts the three batches of a new stream. The queue's thread may handle the first completions while the last batch is
 * being started, so all fields that it reads are set before. The status batch is started last, because nothing is freed
 * before it completes. */
static void start_batches(etcd_stream *s) {
    s->reading = !s->paused;
    s->out = s->reading ? 3 : 2;
    /* gRPC delivers no message unless receiving the initial metadata was started. etcd sends it only with its first
     * message, so this batch may be pending for long. */
    grpc_op ops[2] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &s->initial},
    };
    ops[0].data.send_initial_metadata.count = connection_metadata(s->method, s->token, s->metadata);
    ops[0].data.send_initial_metadata.metadata = s->metadata;
    queue_start(s->call, ops, 2, &s->started.tag);

    grpc_op message = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->incoming};
    if (s->reading)
        queue_start(s->call, &message, 1, &s->received.tag);

    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &s->trailing;
    status.data.recv_status_on_client.status = &s->code;
    status.data.recv_status_on_client.status_details = &s->text;
    queue_start(s->call, &status, 1, &s->ended.tag);
}

/* ---- a connection and a token ---- */

/* Ends a stream that was never sent. */
static void end_early(etcd_stream *s, int status, const char *detail) {
    s->callbacks.ended(s->arg, status, s->cancelled ? "cancelled" : detail);
    free_stream(s);
}

static void end_with_token(etcd_stream *s, int status, const char *detail) {
    char text[300];
    snprintf(text, sizeof text, "authentication: %s", detail);
    end_early(s, status, text);
}

static void prepare(etcd_stream *s);

static void on_token(void *arg, int status, const char *detail, ew_slice bytes) {
    etcd_stream *s = arg;
    auth *a = &s->client->auth;
    s->fetching = NULL;
    if (status == EW_OK) {
        status = auth_made(a, bytes);
    } else if (method_wants_no_token(detail)) {
        auth_not_wanted(a);
        status = EW_OK;
    } else if (status == EW_ERR_UNAUTHENTICATED) {
        auth_verdict verdict = auth_refuse_password(a, detail);
        status = verdict == AUTH_CHANGED ? EW_OK : verdict == AUTH_LATER ? EW_ERR_UNAVAILABLE : status;
    } else {
        auth_failed(a);
    }
    if (s->cancelled)
        end_early(s, EW_ERR_CANCELLED, "");
    else if (status == EW_OK)
        prepare(s);
    else
        end_with_token(s, status, detail);
}

static void on_explained(void *arg, int status, const char *detail) {
    etcd_stream *s = arg;
    s->asking = NULL;
    if (s->cancelled)
        end_early(s, EW_ERR_CANCELLED, "");
    else if (atomic_load(&s->client->refused))
        end_early(s, status, detail);
    else
        prepare(s);
}

/* Finds out why there is no connection. A stream waits for a connection without limit, unless the reason does not go
 * away with time. */
static void explain(etcd_stream *s) {
    s->why_ms = etcd_now_ms() + WHY_INTERVAL_MS;
    s->asking = inquiry_new_why(s->client, s->set, s->method, s->queue);
    if (s->asking)
        inquiry_start(s->asking, on_explained, s);
    else
        prepare(s);
}

static void on_waited(queue_tag *tag, bool ok) {
    (void)ok;
    etcd_stream *s = take(tag);
    if (s->cancelled)
        end_early(s, EW_ERR_CANCELLED, "");
    else if (etcd_now_ms() >= s->why_ms && connection_fails(s->set, s->method))
        explain(s);
    else
        prepare(s);
}

/* Tries again when there may be a connection, or after CONNECT_WAIT_MS. */
static void wait_for_connection(etcd_stream *s) {
    s->out++;
    s->started.tag.done = on_waited;
    connection_wait(s->set, s->queue, s->method, etcd_now_ms() + CONNECT_WAIT_MS, &s->started.tag);
}

static void pause_for(etcd_stream *s, int64_t ms) {
    s->out++;
    s->started.tag.done = on_waited;
    connection_pause(s->set, s->queue, s->method, etcd_now_ms() + ms, &s->started.tag);
}

static void go_on(etcd_stream *s);

/* Repeats the identity query with a token, because the endpoint names its cluster only to users. */
static void ask_as_user(etcd_stream *s, const char *detail) {
    if (!s->ask_with_token) {
        s->ask_with_token = true;
        go_on(s);
    } else if (s->refusals++ < AUTH_REFUSALS_MAX) {
        etcd_stream_refuse_token(s);
        prepare(s);
    } else {
        end_early(s, EW_ERR_UNAUTHENTICATED, detail);
    }
}

static void ask_later(etcd_stream *s, int status) {
    if (status == EW_ERR_TIMEOUT && s->ask_with_token)
        etcd_stream_refuse_token(s); /* it may belong to another cluster (identity.h) */
    pause_for(s, CONNECT_WAIT_MS);
}

static void on_asked(void *arg, int status, const char *detail) {
    etcd_stream *s = arg;
    s->asking = NULL;
    if (s->cancelled) {
        end_early(s, EW_ERR_CANCELLED, "");
    } else if (status == EW_OK && connection_is_verified(s->set, s->which, s->method)) {
        go_on(s);
    } else if (status == EW_OK) {
        prepare(s);
    } else if (status == EW_ERR_UNAVAILABLE || status == EW_ERR_TIMEOUT) {
        ask_later(s, status);
    } else if (status == EW_ERR_UNAUTHENTICATED) {
        ask_as_user(s, detail);
    } else {
        end_early(s, status, detail);
    }
}

static void ask(etcd_stream *s) {
    s->asking = inquiry_new(s->client, s->set, s->which, s->method, s->queue, s->token, INT64_MAX);
    if (s->asking)
        inquiry_start(s->asking, on_asked, s);
    else
        pause_for(s, CONNECT_WAIT_MS); /* out of memory: try again */
}

static void begin(etcd_stream *s) {
    bool to_send = s->first != NULL;
    s->started.tag.done = on_started;
    s->call = connection_call(s->set, s->which, s->queue, s->method, INT64_MAX);
    list(s);
    start_batches(s);
    if (to_send)
        send_first(s);
}

static void fetch_token(etcd_stream *s) {
    ew_slice request = auth_request(&s->client->auth);
    s->fetching = request.data
                      ? etcd_call_start(s->client, s->queue, ETCD_AUTHENTICATE, request, TOKEN_TIMEOUT_MS, on_token, s)
                      : NULL;
    free((void *)(uintptr_t)request.data);
    if (!s->fetching) {
        auth_failed(&s->client->auth);
        pause_for(s, TOKEN_WAIT_MS); /* out of memory: try again */
    }
}

/* Takes the next step with a connection: asks for its cluster, makes a token, or sends the stream. */
static void go_on(etcd_stream *s) {
    bool verified = connection_is_verified(s->set, s->which, s->method);
    if (!verified && !s->ask_with_token) {
        ask(s);
        return;
    }
    if (auth_is_on(&s->client->auth)) {
        grpc_slice_unref(s->token);
        s->token = grpc_empty_slice();
        switch (auth_get(&s->client->auth, TOKEN_MAX_AGE_MS, &s->token, &s->generation)) {
        case AUTH_READY:
            break;
        case AUTH_FETCH:
            fetch_token(s);
            return;
        case AUTH_WAIT:
            pause_for(s, TOKEN_WAIT_MS);
            return;
        }
    }
    if (!verified) {
        ask(s);
        return;
    }
    identity_greet(s->client, s->set, s->which, s->method, s->queue, s->token);
    begin(s);
}

/* Waits for a connection, or goes on with one. */
static void prepare(etcd_stream *s) {
    s->which = connection_find(s->client, &s->set, s->method);
    if (s->which == NO_BACKEND)
        wait_for_connection(s);
    else
        go_on(s);
}

etcd_stream *etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method, etcd_stream_callbacks callbacks,
                              void *arg) {
    etcd_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->started = (stream_tag){{on_started}, s};
    s->ended = (stream_tag){{on_ended}, s};
    s->received = (stream_tag){{on_received}, s};
    s->sent = (stream_tag){{on_sent}, s};
    s->client = client;
    s->queue = q;
    s->token = grpc_empty_slice();
    s->method = method;
    s->callbacks = callbacks;
    s->arg = arg;
    s->text = grpc_empty_slice();
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    prepare(s);
    return s;
}

void etcd_stream_refuse_token(etcd_stream *s) {
    auth_refused(&s->client->auth, s->generation);
}

int etcd_stream_send(etcd_stream *s, ew_slice message) {
    waiting *w = malloc(sizeof *w);
    if (!w)
        return EW_ERR_NO_MEMORY;
    *w = (waiting){.buffer = bytes_copy(message)};
    bool idle = !s->first;
    if (s->last)
        s->last->next = w;
    else
        s->first = w;
    s->last = w;
    if (idle && s->call && !s->over)
        send_first(s);
    return EW_OK;
}

void etcd_stream_pause(etcd_stream *s) {
    s->paused = true;
}

void etcd_stream_resume(etcd_stream *s) {
    s->paused = false;
    if (s->incoming && !s->reading)
        deliver_message(s);
    else
        read_next(s);
}

void etcd_stream_cancel(etcd_stream *s) {
    s->cancelled = true;
    if (s->fetching)
        etcd_call_cancel(s->fetching);
    if (s->asking)
        inquiry_cancel(s->asking);
    if (s->call)
        grpc_call_cancel(s->call, NULL);
}

bool stream_has_begun(const etcd_stream *s) {
    return s->call != NULL;
}
