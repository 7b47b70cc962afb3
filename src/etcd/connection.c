/* Sets of channels: how they are made, shared and closed. */
#include "etcd/connection.h"
#include "etcd/endpoints.h"
#include "etcd/tls.h"

#include <grpc/grpc_security.h>

#include <limits.h>
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

static void register_methods(connection_set *set) {
    for (int i = 0; i < ETCD_METHODS; i++) {
        const char *path = method_get((etcd_method)i)->path;
        set->handles[i] = grpc_channel_register_call(connection_channel(set, (etcd_method)i), path, NULL, NULL);
    }
}

int connection_open(connection_set **out, const ew_options *o, ew_error *err) {
    endpoints e;
    grpc_channel_credentials *credentials = NULL;
    int status = endpoints_init(&e, ew_options_text(o, "endpoints"), err);
    if (status != EW_OK)
        return status;
    if (e.plain && tls_is_on(o))
        status = ew_fail(err, EW_ERR_INVALID, "endpoints say http, but there are options for TLS");
    if (status == EW_OK)
        status = tls_credentials(&credentials, o, e.tls, err);
    connection_set *set = status == EW_OK ? calloc(1, sizeof *set) : NULL;
    if (status == EW_OK && !set)
        status = ew_fail(err, EW_ERR_NO_MEMORY, "client");
    if (status == EW_OK) {
        for (int i = 0; i < CONNECTIONS; i++)
            set->channels[i] = make_channel(&e, o, credentials);
        register_methods(set);
        set->several = strchr(e.target, ',') != NULL;
        atomic_init(&set->users, 1);
    }
    if (credentials)
        grpc_channel_credentials_release(credentials);
    endpoints_fini(&e);
    *out = set;
    return status;
}

/* ---- sets ---- */

static void watch_until(grpc_completion_queue *cq, grpc_channel *channel, grpc_connectivity_state state,
                        gpr_timespec until) {
    grpc_channel_watch_connectivity_state(channel, state, until, cq, channel);
}

/* A connection that is being made when its channel goes, and that no thread polls any more, is never freed by gRPC
 * 1.51, nor is its socket. So it gets a moment to come about, or to fail. With several endpoints a channel that has
 * one connection may still be making the others, and does not tell: it is given time in any case. */
static void settle(const connection_set *set) {
    enum { MOMENT_MS = 500, OTHERS_MS = 50 };
    int64_t now_ms = etcd_now_ms();
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    gpr_timespec until = queue_time(now_ms + MOMENT_MS), soon = queue_time(now_ms + OTHERS_MS);
    for (int i = 0; i < CONNECTIONS; i++) {
        grpc_channel *channel = set->channels[i];
        bool in_time = true;
        while (in_time && grpc_channel_check_connectivity_state(channel, 0) == GRPC_CHANNEL_CONNECTING) {
            watch_until(cq, channel, GRPC_CHANNEL_CONNECTING, until);
            in_time = grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
        }
    }
    for (int i = 0; set->several && i < CONNECTIONS; i++) {
        if (grpc_channel_check_connectivity_state(set->channels[i], 0) == GRPC_CHANNEL_READY)
            watch_until(cq, set->channels[i], GRPC_CHANNEL_READY, soon);
    }
    grpc_completion_queue_shutdown(cq); /* which waits for the watches */
    while (grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(cq);
}

connection_set *connection_take(ew_client *client) {
    pthread_mutex_lock(&client->lock);
    connection_set *set = client->set;
    atomic_fetch_add(&set->users, 1);
    pthread_mutex_unlock(&client->lock);
    return set;
}

void connection_give(connection_set *set) {
    if (!set || atomic_fetch_sub(&set->users, 1) > 1)
        return;
    settle(set);
    for (int i = 0; i < CONNECTIONS; i++)
        grpc_channel_destroy(set->channels[i]);
    free(set);
}

void connection_follow(ew_client *client, connection_set **set) {
    connection_set *newest = connection_take(client), *old = *set;
    *set = newest;
    connection_give(old);
}

grpc_channel *connection_channel(const connection_set *set, etcd_method method) {
    if (!method_get(method)->streams)
        return set->channels[CONNECTION_CALLS];
    return set->channels[method == ETCD_WATCH ? CONNECTION_WATCHES : CONNECTION_KEEPALIVES];
}

grpc_call *connection_call(connection_set *set, etcd_queue *q, etcd_method method, int64_t deadline_ms) {
    return grpc_channel_create_registered_call(connection_channel(set, method), NULL, 0, queue_of(q),
                                               set->handles[method], queue_time(deadline_ms), NULL);
}
