/* The client's life: from options to channels. */
#include "etcd/connection.h"
#include "etcd/endpoints.h"
#include "etcd/tls.h"

#include "core/log.h"

#include <grpc/grpc_security.h>
#include <grpc/support/log.h>

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

/* How long one attempt to connect may take, TLS handshake included. */
#define CONNECT_TIMEOUT_MS 3000
/* How far gRPC reads ahead of a stream's reader. */
#define READ_AHEAD_BYTES (1 << 20)

static int as_int(int64_t n) {
    return n > INT_MAX ? INT_MAX : (int)n;
}

static grpc_arg arg_int(const char *key, int64_t value) {
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = as_int(value)};
}

static grpc_arg arg_text(const char *key, const char *value) {
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = (char *)(uintptr_t)value};
}

static grpc_channel *make_channel(const endpoints *e, const ew_options *o, grpc_channel_credentials *credentials) {
    const char *name = ew_options_text(o, "server_name");
    grpc_arg args[] = {
        /* A retry that we do not see would break exactly once (ETCD P11). */
        arg_int(GRPC_ARG_ENABLE_RETRIES, 0),
        arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
        arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        /* Without this, the channels would find each other's connection and share it. */
        arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        /* A member that has lost its leader refuses at once; the next attempt must go to another one. */
        arg_text(GRPC_ARG_LB_POLICY_NAME, "round_robin"),
        /* Left alone, the authority is the whole list, which no certificate carries. */
        arg_text(GRPC_ARG_DEFAULT_AUTHORITY, name[0] ? name : e->authority),
        arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, ew_options_int(o, "backoff_min_ms")),
        arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, ew_options_int(o, "backoff_max_ms")),
        arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, ew_options_int(o, "keepalive_time_ms")),
        arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ew_options_int(o, "keepalive_timeout_ms")),
        arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0),
        arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, READ_AHEAD_BYTES),
        arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, ew_options_int(o, "max_receive_bytes")),
        arg_int(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
    };
    grpc_channel_args list = {.num_args = sizeof args / sizeof args[0], .args = args};
    return grpc_channel_create(e->target, credentials, &list);
}

static int make_channels(ew_client *c, const ew_options *o, ew_error *err) {
    endpoints e;
    grpc_channel_credentials *credentials = NULL;
    int status = endpoints_init(&e, ew_options_text(o, "endpoints"), err);
    if (status != EW_OK)
        return status;
    if (e.plain && tls_is_on(o))
        status = ew_fail(err, EW_ERR_INVALID, "endpoints say http, but there are options for TLS");
    if (status == EW_OK)
        status = tls_credentials(&credentials, o, e.tls, err);
    if (status == EW_OK) {
        for (int i = 0; i < CONNECTIONS; i++)
            c->channels[i] = make_channel(&e, o, credentials);
        grpc_channel_credentials_release(credentials);
    }
    endpoints_fini(&e);
    return status;
}

grpc_channel *connection_channel(const ew_client *c, etcd_method method) {
    if (!method_get(method)->streams)
        return c->channels[CONNECTION_CALLS];
    return c->channels[method == ETCD_WATCH ? CONNECTION_WATCHES : CONNECTION_KEEPALIVES];
}

static void register_methods(ew_client *c) {
    for (int i = 0; i < ETCD_METHODS; i++) {
        const char *path = method_get((etcd_method)i)->path;
        c->handles[i] = grpc_channel_register_call(connection_channel(c, (etcd_method)i), path, NULL, NULL);
    }
}

/* gRPC would write to stderr; what it says belongs with our own records. Whoever sets GRPC_VERBOSITY wants its own. */
static void on_grpc_log(gpr_log_func_args *args) {
    if (args->severity != GPR_LOG_SEVERITY_ERROR)
        return;
    log_fields(EW_LOG_DEBUG, NULL, "grpc", "gRPC reports an error", {"text", args->message}, {"file", args->file},
               {"line", NULL, args->line});
}

static void redirect_log(void) {
    if (!getenv("GRPC_VERBOSITY"))
        gpr_set_log_function(on_grpc_log);
}

int ew_client_open(ew_client **out, const ew_options *options, ew_error *err) {
    *out = NULL;
    if (!options)
        return ew_fail(err, EW_ERR_INVALID, "options: none are given");
    if (ew_options_int(options, "backoff_min_ms") > ew_options_int(options, "backoff_max_ms"))
        return ew_fail(err, EW_ERR_INVALID, "backoff_min_ms is above backoff_max_ms");
    ew_client *c = calloc(1, sizeof *c);
    if (!c)
        return ew_fail(err, EW_ERR_NO_MEMORY, "client");
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, redirect_log);
    grpc_init();
    waiters_init(&c->waiters);
    c->endpoints = strdup(ew_options_text(options, "endpoints"));
    c->call_timeout_ms = ew_options_int(options, "call_timeout_ms");
    c->backoff_min_ms = ew_options_int(options, "backoff_min_ms");
    c->backoff_max_ms = ew_options_int(options, "backoff_max_ms");
    int status = auth_init(&c->auth, options, err);
    if (status == EW_OK && !c->endpoints)
        status = ew_fail(err, EW_ERR_NO_MEMORY, "client");
    if (status == EW_OK)
        status = make_channels(c, options, err);
    if (status != EW_OK) {
        ew_client_close(c);
        return status;
    }
    register_methods(c);
    *out = c;
    return EW_OK;
}

/* A connection that is being made when its channel goes, and that no thread polls any more, is never freed by gRPC
 * 1.51, nor is its socket. So it gets a moment to come about, or to fail. */
static void settle(ew_client *client) {
    enum { MOMENT_MS = 500 };
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    gpr_timespec until = queue_time(etcd_now_ms() + MOMENT_MS);
    for (int i = 0; i < CONNECTIONS; i++) {
        grpc_channel *channel = client->channels[i];
        bool in_time = channel != NULL;
        while (in_time && grpc_channel_check_connectivity_state(channel, 0) == GRPC_CHANNEL_CONNECTING) {
            grpc_channel_watch_connectivity_state(channel, GRPC_CHANNEL_CONNECTING, until, cq, client);
            in_time = grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
        }
    }
    grpc_completion_queue_shutdown(cq);
    while (grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(cq);
}

void ew_client_close(ew_client *client) {
    if (!client)
        return;
    waiters_fini(&client->waiters);
    settle(client);
    for (int i = 0; i < CONNECTIONS; i++) {
        if (client->channels[i])
            grpc_channel_destroy(client->channels[i]);
    }
    auth_fini(&client->auth);
    free(client->endpoints);
    free(client);
    grpc_shutdown();
}

void ew_client_cancel(ew_client *client) {
    waiters_cancel(&client->waiters);
}

grpc_call *connection_call(ew_client *client, etcd_queue *q, etcd_method method, int64_t deadline_ms) {
    return grpc_channel_create_registered_call(connection_channel(client, method), NULL, 0, queue_of(q),
                                               client->handles[method], queue_time(deadline_ms), NULL);
}

size_t connection_metadata(etcd_method method, grpc_slice token, grpc_metadata *list) {
    size_t n = 0;
    if (method_get(method)->needs_leader) {
        list[n++] = (grpc_metadata){.key = grpc_slice_from_static_string("hasleader"),
                                    .value = grpc_slice_from_static_string("true")};
    }
    if (!GRPC_SLICE_IS_EMPTY(token))
        list[n++] = (grpc_metadata){.key = grpc_slice_from_static_string("token"), .value = token};
    return n;
}
