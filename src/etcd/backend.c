#include "etcd/backend.h"
#include "etcd/queue.h"

#include <grpc/grpc_security.h>

#include <limits.h>

/* How long one attempt to connect may take, with its TLS handshake. */
#define CONNECT_TIMEOUT_MS 3000
/* How far gRPC reads ahead of a stream's reader. */
#define READ_AHEAD_BYTES (1 << 20)
/* How often a connection to another cluster is asked again. */
#define OTHER_CLUSTER_ASK_MS 30000

/* ---- channels ---- */

static int as_int(int64_t n) {
    return n > INT_MAX ? INT_MAX : (int)n;
}

static grpc_arg arg_int(const char *key, int64_t value) {
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = as_int(value)};
}

static grpc_arg arg_text(const char *key, const char *value) {
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = (char *)(uintptr_t)value};
}

static grpc_channel *make_channel(const target *t, grpc_channel_credentials *credentials, const ew_options *o) {
    const char *name = ew_options_text(o, "server_name");
    grpc_arg args[] = {
        /* A hidden retry by gRPC would break exactly-once (ETCD P11). */
        arg_int(GRPC_ARG_ENABLE_RETRIES, 0),
        arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
        arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        /* Without this, the channels would share one connection. */
        arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        /* pick_first goes idle when it loses its connection, so that gRPC makes no new one by itself. */
        arg_text(GRPC_ARG_LB_POLICY_NAME, "pick_first"),
        /* Unused connections stay open, to be used when another one breaks. */
        arg_int(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX),
        arg_text(GRPC_ARG_DEFAULT_AUTHORITY, name[0] ? name : t->authority),
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
    return grpc_channel_create(t->uri, credentials, &list);
}

connection backend_connection(etcd_method method) {
    if (!method_get(method)->streams)
        return CONNECTION_CALLS;
    return method == ETCD_WATCH ? CONNECTION_WATCHES : CONNECTION_KEEPALIVES;
}

void backend_open(backend *b, const target *t, grpc_channel_credentials *credentials, const ew_options *o) {
    const char *question = method_get(ETCD_MEMBER_LIST)->path;
    for (int i = 0; i < CONNECTIONS; i++) {
        b->channels[i] = make_channel(t, credentials, o);
        b->questions[i] = grpc_channel_register_call(b->channels[i], question, NULL, NULL);
    }
    for (int i = 0; i < ETCD_METHODS; i++) {
        grpc_channel *channel = b->channels[backend_connection((etcd_method)i)];
        b->handles[i] = grpc_channel_register_call(channel, method_get((etcd_method)i)->path, NULL, NULL);
    }
}

void backend_close(backend *b) {
    for (int i = 0; i < CONNECTIONS; i++)
        grpc_channel_destroy(b->channels[i]);
}

/* ---- memberships ---- */

/* The membership is in the lowest two bits. */
#define MEMBERSHIP_BITS 2u
#define MEMBERSHIP_MASK 3u

unsigned backend_seen(const backend *b, connection kind) {
    return atomic_load(&b->memberships[kind]);
}

membership backend_membership(const backend *b, connection kind) {
    return (membership)(backend_seen(b, kind) & MEMBERSHIP_MASK);
}

void backend_put_off(backend *b, connection kind) {
    atomic_store(&b->ask_ms[kind], etcd_now_ms() + OTHER_CLUSTER_ASK_MS);
}

void backend_settle(backend *b, connection kind, unsigned seen, membership s) {
    if (s == MEMBERSHIP_OTHER_CLUSTER)
        backend_put_off(b, kind);
    atomic_compare_exchange_strong(&b->memberships[kind], &seen, (seen & ~MEMBERSHIP_MASK) | (unsigned)s);
}

/* Notes that the connection is not the same as before, or is gone. */
static void forget(backend *b, connection kind) {
    unsigned seen = backend_seen(b, kind);
    unsigned next = ((seen >> MEMBERSHIP_BITS) + 1) << MEMBERSHIP_BITS;
    atomic_store(&b->ask_ms[kind], 0);
    atomic_compare_exchange_strong(&b->memberships[kind], &seen, next | MEMBERSHIP_UNKNOWN);
}

void backend_doubt(backend *b) {
    for (int i = 0; i < CONNECTIONS; i++)
        forget(b, (connection)i);
}

/* ---- finding one ---- */

static bool is_put_off(const backend *b, connection kind) {
    return etcd_now_ms() < atomic_load(&b->ask_ms[kind]);
}

static bool is_left(const backend *b, connection kind) {
    return backend_membership(b, kind) == MEMBERSHIP_OTHER_CLUSTER && is_put_off(b, kind);
}

static grpc_connectivity_state state_of(const backend *b, connection kind, bool connect) {
    return grpc_channel_check_connectivity_state(b->channels[kind], connect);
}

/* Tells the channel to connect if it has no connection. A connection that is being made while the membership is unknown
 * may have an identity query waiting for it, so it is not counted as a new one. */
static bool is_ready(backend *b, connection kind) {
    grpc_connectivity_state state = state_of(b, kind, false);
    if (state == GRPC_CHANNEL_READY)
        return true;
    if (state != GRPC_CHANNEL_CONNECTING || backend_membership(b, kind) != MEMBERSHIP_UNKNOWN)
        forget(b, kind);
    state_of(b, kind, true);
    return false;
}

bool backend_is_missing(backend *b, connection kind) {
    if (is_left(b, kind))
        return false;
    return !is_ready(b, kind) || (backend_membership(b, kind) != MEMBERSHIP_OURS && !is_put_off(b, kind));
}

bool backends_are_of_other_clusters(const backend *backends, size_t count) {
    bool all = count > 0;
    for (size_t i = 0; i < count; i++)
        all &= atomic_load(&backends[i].other_cluster) != 0;
    return all;
}

int backends_find(backend *backends, size_t count, size_t turn, connection kind) {
    bool all_of_others = backends_are_of_other_clusters(backends, count);
    int found = NO_BACKEND;
    for (size_t i = 0; i < count && found == NO_BACKEND; i++) {
        size_t at = (turn + i) % count;
        if ((all_of_others || !is_left(&backends[at], kind)) && is_ready(&backends[at], kind))
            found = (int)at;
    }
    return found;
}

bool backends_fail(backend *backends, size_t count, connection kind) {
    bool all = count > 0;
    for (size_t i = 0; i < count; i++)
        all &= is_left(&backends[i], kind) || state_of(&backends[i], kind, false) == GRPC_CHANNEL_TRANSIENT_FAILURE;
    return all;
}
