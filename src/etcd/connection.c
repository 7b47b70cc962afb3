/* Sets of channels: how they are made, shared and closed. */
#include "etcd/connection.h"
#include "etcd/tls.h"

#include "core/log.h"

#include <grpc/grpc_security.h>

#include <grpc/support/alloc.h>

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

static grpc_channel *make_channel(const char *target, const connection_makings *m, const ew_options *o) {
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
        arg_text(GRPC_ARG_DEFAULT_AUTHORITY, name[0] ? name : m->names.known.authority),
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
    return grpc_channel_create(target, m->credentials, &list);
}

int makings_init(connection_makings *m, const ew_options *o, const char *text, ew_error *err) {
    *m = (connection_makings){0};
    int status = names_init(&m->names, text, err);
    if (status != EW_OK)
        return status;
    if (m->names.known.plain && tls_is_on(o))
        return ew_fail(err, EW_ERR_INVALID, "endpoints say http, but there are options for TLS");
    return tls_credentials(&m->credentials, o, m->names.known.tls, err);
}

void makings_fini(connection_makings *m) {
    if (m->credentials)
        grpc_channel_credentials_release(m->credentials);
    names_fini(&m->names);
}

static connection connection_of(etcd_method method) {
    if (!method_get(method)->streams)
        return CONNECTION_CALLS;
    return method == ETCD_WATCH ? CONNECTION_WATCHES : CONNECTION_KEEPALIVES;
}

connection_set *connection_open(const connection_makings *m, const ew_options *o) {
    connection_set *set = calloc(1, sizeof *set);
    if (!set || !targets_init(&set->targets, &m->names.known)) {
        free(set);
        return NULL;
    }
    for (size_t way = 0; way < set->targets.count; way++) {
        for (int i = 0; i < CONNECTIONS; i++)
            set->channels[i][way] = make_channel(set->targets.ways[way], m, o);
        for (int i = 0; i < ETCD_METHODS; i++) {
            grpc_channel *channel = set->channels[connection_of((etcd_method)i)][way];
            set->handles[i][way] = grpc_channel_register_call(channel, method_get((etcd_method)i)->path, NULL, NULL);
        }
    }
    atomic_init(&set->users, 1);
    return set;
}

/* ---- sets ---- */

static void watch_until(grpc_completion_queue *cq, grpc_channel *channel, grpc_connectivity_state state,
                        gpr_timespec until) {
    grpc_channel_watch_connectivity_state(channel, state, until, cq, channel);
}

static grpc_connectivity_state state_of(grpc_channel *channel) {
    return grpc_channel_check_connectivity_state(channel, 0);
}

static size_t channels_of(const connection_set *set, grpc_channel **list) {
    size_t count = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        for (size_t way = 0; way < set->targets.count; way++)
            list[count++] = set->channels[i][way];
    }
    return count;
}

/* A connection that is being made when its channel goes, and that no thread polls any more, is never freed by gRPC
 * 1.51, nor is its socket. So it gets a moment to come about, or to fail. With several endpoints a channel that has
 * one connection may still be making the others, and does not tell: it is given time in any case. */
static void settle(const connection_set *set) {
    enum { MOMENT_MS = 500, OTHERS_MS = 50 };
    int64_t now_ms = etcd_now_ms();
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    gpr_timespec until = queue_time(now_ms + MOMENT_MS), soon = queue_time(now_ms + OTHERS_MS);
    grpc_channel *all[CONNECTIONS * WAYS_MAX];
    size_t count = channels_of(set, all);
    for (size_t i = 0; i < count; i++) {
        bool in_time = true;
        while (in_time && state_of(all[i]) == GRPC_CHANNEL_CONNECTING) {
            watch_until(cq, all[i], GRPC_CHANNEL_CONNECTING, until);
            in_time = grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
        }
    }
    for (size_t i = 0; set->targets.addresses > 1 && i < count; i++) {
        if (state_of(all[i]) == GRPC_CHANNEL_READY)
            watch_until(cq, all[i], GRPC_CHANNEL_READY, soon);
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
    grpc_channel *all[CONNECTIONS * WAYS_MAX];
    settle(set);
    for (size_t i = 0, count = channels_of(set, all); i < count; i++)
        grpc_channel_destroy(all[i]);
    targets_fini(&set->targets);
    free(set);
}

connection_set *connection_exchange(ew_client *client, connection_set *next) {
    pthread_mutex_lock(&client->lock);
    connection_set *old = client->set;
    client->set = next;
    pthread_mutex_unlock(&client->lock);
    streams_renew(client);
    return old;
}

static void follow(ew_client *client, connection_set **set) {
    connection_set *newest = connection_take(client), *old = *set;
    *set = newest;
    connection_give(old);
}

/* ---- names that lead elsewhere ---- */

static bool leads_there(ew_client *client, const targets *t) {
    connection_set *set = connection_take(client);
    bool equal = targets_equal(&set->targets, t);
    connection_give(set);
    return equal;
}

/* Puts a set for the addresses that are known now in place of the client's. */
static void move(ew_client *client) {
    connection_set *next = connection_open(&client->makings, client->options);
    if (!next)
        return; /* the next lookup tries again */
    log_fields(EW_LOG_INFO, NULL, "etcd", "the endpoints have other addresses", {"endpoints", client->endpoints});
    connection_give(connection_exchange(client, next));
}

static void move_if_needed(ew_client *client) {
    targets t;
    if (!targets_init(&t, &client->makings.names.known))
        return;
    if (!leads_there(client, &t))
        move(client);
    targets_fini(&t);
}

static void seek(ew_client *client) {
    if (!client->makings.names.any || pthread_mutex_trylock(&client->reloading) != 0)
        return; /* a reload looks names up, too */
    if (names_seek(&client->makings.names, etcd_now_ms()))
        move_if_needed(client);
    pthread_mutex_unlock(&client->reloading);
}

/* ---- channels ---- */

static int find_ready(connection_set *set, etcd_method method) {
    size_t count = set->targets.count, turn = count > 1 ? atomic_fetch_add(&set->turn, 1) : 0;
    int found = NO_WAY;
    for (size_t i = 0; i < count && found == NO_WAY; i++) {
        size_t way = (turn + i) % count;
        if (grpc_channel_check_connectivity_state(set->channels[connection_of(method)][way], 1) == GRPC_CHANNEL_READY)
            found = (int)way;
    }
    return found;
}

int connection_find(ew_client *client, connection_set **set, etcd_method method) {
    follow(client, set);
    int way = find_ready(*set, method);
    if (way == NO_WAY || names_are_in_doubt(&client->makings.names))
        seek(client);
    return way;
}

/* One after the other, since it is by being watched that a channel moves. */
static grpc_channel *any_channel(connection_set *set, etcd_method method) {
    size_t count = set->targets.count, way = count > 1 ? atomic_fetch_add(&set->watch_turn, 1) % count : 0;
    return set->channels[connection_of(method)][way];
}

void connection_wait(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag) {
    grpc_channel *channel = any_channel(set, method);
    grpc_connectivity_state state = state_of(channel);
    if (state == GRPC_CHANNEL_READY) /* in the meantime, so there is nothing to wait for */
        state = GRPC_CHANNEL_CONNECTING;
    queue_watch(q, channel, state, until_ms, tag);
}

void connection_pause(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag) {
    grpc_channel *channel = any_channel(set, method);
    queue_watch(q, channel, state_of(channel), until_ms, tag);
}

grpc_call *connection_call(connection_set *set, int way, etcd_queue *q, etcd_method method, int64_t deadline_ms) {
    return grpc_channel_create_registered_call(set->channels[connection_of(method)][way], NULL, 0, queue_of(q),
                                               set->handles[method][way], queue_time(deadline_ms), NULL);
}

uint32_t connection_flags(const connection_set *set) {
    return set->targets.count == 1
               ? GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
               : 0;
}

/* A call has no peer before it is on a connection: then gRPC answers the target in its place. */
bool connection_may_have_sent(const connection_set *set, int way, grpc_call *call) {
    if (set->targets.count == 1)
        return true;
    char *peer = grpc_call_get_peer(call);
    bool sent = !peer || strcmp(peer, set->targets.ways[way]) != 0;
    gpr_free(peer);
    return sent;
}
