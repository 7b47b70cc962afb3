#include "lib/fake_server.h"
#include "lib/process.h"

#include "etcd.pb-c.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* One call: accepted, request read, answered, closed. */
typedef struct incoming {
    struct fake_server *server;
    enum { TAKEN, READ, CLOSED } next; /* the state that the next completion ends */
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *answer;
    grpc_slice text;
    int cancelled;
} incoming;

struct fake_server {
    pthread_t thread;
    grpc_server *server;
    grpc_completion_queue *queue;
    char endpoint[32];
    pthread_mutex_t lock; /* protects the members below */
    pthread_cond_t came;
    grpc_slice message;
    bool has_message, silent, gives_tokens, scripts_members;
    uint64_t cluster;
    int status, refusals, refusal_status, token, oldest_token;
    char text[128], refusal_text[128];
    fake_server_calls calls;
};

static void take_next(fake_server *s) {
    incoming *c = calloc(1, sizeof *c);
    c->server = s;
    c->text = grpc_empty_slice();
    grpc_call_details_init(&c->details);
    grpc_metadata_array_init(&c->metadata);
    if (grpc_server_request_call(s->server, &c->call, &c->details, &c->metadata, s->queue, s->queue, c) != GRPC_CALL_OK)
        process_die("the fake server cannot accept calls");
}

static void free_incoming(incoming *c) {
    if (c->call)
        grpc_call_unref(c->call);
    if (c->request)
        grpc_byte_buffer_destroy(c->request);
    if (c->answer)
        grpc_byte_buffer_destroy(c->answer);
    grpc_call_details_destroy(&c->details);
    grpc_metadata_array_destroy(&c->metadata);
    grpc_slice_unref(c->text);
    free(c);
}

static void start(incoming *c, const grpc_op *ops, size_t count) {
    if (grpc_call_start_batch(c->call, ops, count, c, NULL) != GRPC_CALL_OK)
        process_die("the fake server cannot start a batch");
}

/* Copies the token of a call; "" if it has none. */
static void read_token(const incoming *c, char *out, size_t size) {
    out[0] = '\0';
    for (size_t i = 0; i < c->metadata.count; i++) {
        const grpc_metadata *m = &c->metadata.metadata[i];
        if (grpc_slice_str_cmp(m->key, "token") == 0)
            snprintf(out, size, "%.*s", (int)GRPC_SLICE_LENGTH(m->value), (const char *)GRPC_SLICE_START_PTR(m->value));
    }
}

static void count_call(incoming *c) {
    fake_server_calls *calls = &c->server->calls;
    char *path = grpc_slice_to_c_string(c->details.method);
    calls->count++;
    snprintf(calls->path, sizeof calls->path, "%s", path);
    read_token(c, calls->token, sizeof calls->token);
    for (size_t i = 0; i < c->metadata.count; i++)
        calls->with_hasleader += grpc_slice_str_cmp(c->metadata.metadata[i].key, "hasleader") == 0;
    pthread_cond_broadcast(&c->server->came);
    gpr_free(path);
}

/* Answers with this message (NULL: none) and closes the call. */
static void answer_with(incoming *c, const grpc_slice *message, int status, const char *text) {
    grpc_op ops[4] = {{.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &c->cancelled},
                      {.op = GRPC_OP_SEND_INITIAL_METADATA}};
    size_t count = 2;
    if (message) {
        c->answer = grpc_raw_byte_buffer_create((grpc_slice *)(uintptr_t)message, 1);
        ops[count++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->answer};
    }
    c->text = grpc_slice_from_copied_string(text);
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[count].data.send_status_from_server.status = (grpc_status_code)status;
    ops[count++].data.send_status_from_server.status_details = &c->text;
    c->next = CLOSED;
    start(c, ops, count);
}

static bool wants_token(const incoming *c) {
    return c->server->gives_tokens && grpc_slice_str_cmp(c->details.method, "/etcdserverpb.Auth/Authenticate") == 0;
}

static void give_token(incoming *c) {
    char token[24];
    uint8_t bytes[64];
    Pb__AuthenticateResponse response = PB__AUTHENTICATE_RESPONSE__INIT;
    snprintf(token, sizeof token, "token-%d", ++c->server->token);
    response.token = token;
    c->server->calls.tokens++;
    grpc_slice message =
        grpc_slice_from_copied_buffer((const char *)bytes, pb__authenticate_response__pack(&response, bytes));
    answer_with(c, &message, GRPC_STATUS_OK, "");
    grpc_slice_unref(message);
}

/* Whether the call is the MemberList with which a client asks each new connection for its cluster. */
static bool wants_identity(const incoming *c) {
    return !c->server->scripts_members &&
           grpc_slice_str_cmp(c->details.method, "/etcdserverpb.Cluster/MemberList") == 0;
}

static void identify(incoming *c) {
    uint8_t bytes[64];
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__MemberListResponse response = PB__MEMBER_LIST_RESPONSE__INIT;
    header.cluster_id = c->server->cluster;
    header.revision = 1;
    response.header = &header;
    grpc_slice message = grpc_slice_from_copied_buffer((char *)bytes, pb__member_list_response__pack(&response, bytes));
    answer_with(c, &message, GRPC_STATUS_OK, "");
    grpc_slice_unref(message);
}

static void refuse(incoming *c) {
    fake_server *s = c->server;
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    uint8_t bytes[256];
    if (s->refusal_status != GRPC_STATUS_OK) {
        answer_with(c, NULL, s->refusal_status, s->refusal_text);
        return;
    }
    header.cluster_id = header.revision = 1;
    response.header = &header;
    response.watch_id = -1;
    response.created = response.canceled = true;
    response.cancel_reason = s->refusal_text;
    grpc_slice message = grpc_slice_from_copied_buffer((char *)bytes, pb__watch_response__pack(&response, bytes));
    answer_with(c, &message, GRPC_STATUS_OK, "");
    grpc_slice_unref(message);
}

static void answer(incoming *c) {
    fake_server *s = c->server;
    if (s->refusals > 0) {
        s->refusals--;
        refuse(c);
        return;
    }
    if (!s->silent) {
        answer_with(c, s->has_message ? &s->message : NULL, s->status, s->text);
        return;
    }
    grpc_op closed = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &c->cancelled};
    c->next = CLOSED;
    start(c, &closed, 1);
}

/* Returns whether it has closed the call because of its token. */
static bool refuse_token(incoming *c) {
    int number = 0, oldest = c->server->oldest_token;
    char token[32];
    read_token(c, token, sizeof token);
    if (oldest == 0 || (sscanf(token, "token-%d", &number) == 1 && number >= oldest))
        return false;
    if (token[0] == '\0')
        answer_with(c, NULL, GRPC_STATUS_INVALID_ARGUMENT, "etcdserver: user name is empty");
    else
        answer_with(c, NULL, GRPC_STATUS_UNAUTHENTICATED, "etcdserver: invalid auth token");
    return true;
}

static void reply(incoming *c) {
    bool asks = wants_identity(c);
    if (!asks)
        count_call(c);
    if (refuse_token(c))
        return;
    if (asks)
        identify(c);
    else
        answer(c);
}

static void go_on(incoming *c, bool ok) {
    fake_server *s = c->server;
    grpc_op read = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->request};
    if (c->next == CLOSED || !ok) {
        free_incoming(c);
        return;
    }
    if (c->next == TAKEN) {
        take_next(s);
        c->next = READ;
        start(c, &read, 1);
        return;
    }
    pthread_mutex_lock(&s->lock);
    if (wants_token(c))
        give_token(c);
    else
        reply(c);
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *arg) {
    fake_server *s = arg;
    for (;;) {
        grpc_event e = grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (e.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (e.tag == s) /* the server is shut down: no more completions */
            grpc_completion_queue_shutdown(s->queue);
        else
            go_on(e.tag, e.success != 0);
    }
}

fake_server *fake_server_start(void) {
    fake_server *s = calloc(1, sizeof *s);
    grpc_init();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->came, NULL);
    s->message = grpc_empty_slice();
    s->silent = true;
    s->cluster = 1;
    s->queue = grpc_completion_queue_create_for_next(NULL);
    s->server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(s->server, s->queue, NULL);
    grpc_server_credentials *open = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(s->server, "127.0.0.1:0", open);
    grpc_server_credentials_release(open);
    if (port <= 0)
        process_die("the fake server has no port");
    snprintf(s->endpoint, sizeof s->endpoint, "127.0.0.1:%d", port);
    grpc_server_start(s->server);
    take_next(s);
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        process_die("the fake server has no thread");
    return s;
}

const char *fake_server_endpoint(const fake_server *s) {
    return s->endpoint;
}

void fake_server_stop(fake_server *s) {
    grpc_server_shutdown_and_notify(s->server, s->queue, s);
    grpc_server_cancel_all_calls(s->server);
    pthread_join(s->thread, NULL);
    grpc_server_destroy(s->server);
    grpc_completion_queue_destroy(s->queue);
    grpc_slice_unref(s->message);
    pthread_cond_destroy(&s->came);
    pthread_mutex_destroy(&s->lock);
    free(s);
    grpc_shutdown();
}

void fake_server_answer(fake_server *s, ew_slice message, int status, const char *text) {
    pthread_mutex_lock(&s->lock);
    grpc_slice_unref(s->message);
    s->has_message = message.data != NULL;
    s->message = grpc_slice_from_copied_buffer(message.data ? message.data : "", message.len);
    s->silent = false;
    s->status = status;
    snprintf(s->text, sizeof s->text, "%s", text);
    pthread_mutex_unlock(&s->lock);
}

void fake_server_give_tokens(fake_server *s) {
    pthread_mutex_lock(&s->lock);
    s->gives_tokens = true;
    pthread_mutex_unlock(&s->lock);
}

void fake_server_want_tokens(fake_server *s, int oldest) {
    pthread_mutex_lock(&s->lock);
    s->oldest_token = oldest;
    pthread_mutex_unlock(&s->lock);
}

void fake_server_set_cluster(fake_server *s, uint64_t cluster) {
    pthread_mutex_lock(&s->lock);
    s->cluster = cluster;
    pthread_mutex_unlock(&s->lock);
}

void fake_server_script_members(fake_server *s, bool on) {
    pthread_mutex_lock(&s->lock);
    s->scripts_members = on;
    pthread_mutex_unlock(&s->lock);
}

void fake_server_refuse(fake_server *s, int refusals, int status, const char *text) {
    pthread_mutex_lock(&s->lock);
    s->refusals = refusals;
    s->refusal_status = status;
    snprintf(s->refusal_text, sizeof s->refusal_text, "%s", text);
    pthread_mutex_unlock(&s->lock);
}

void fake_server_be_silent(fake_server *s) {
    pthread_mutex_lock(&s->lock);
    s->silent = true;
    pthread_mutex_unlock(&s->lock);
}

fake_server_calls fake_server_take_calls(fake_server *s) {
    pthread_mutex_lock(&s->lock);
    fake_server_calls calls = s->calls;
    s->calls = (fake_server_calls){0};
    pthread_mutex_unlock(&s->lock);
    return calls;
}

void fake_server_await_call(fake_server *s) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    pthread_mutex_lock(&s->lock);
    while (s->calls.count == 0) {
        if (pthread_cond_timedwait(&s->came, &s->lock, &until) != 0)
            process_die("no call to the fake server within 30 s");
    }
    pthread_mutex_unlock(&s->lock);
}
