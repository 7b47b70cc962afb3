/* Makes, shares and closes sets of channels. */
#include "etcd/connection.h"
#include "etcd/tls.h"

#include "core/log.h"

#include <grpc/grpc_security.h>

#include <stdlib.h>

int channel_config_init(channel_config *m, const ew_options *o, const char *text, ew_error *err) {
    *m = (channel_config){0};
    int status = names_init(&m->names, text, err);
    if (status != EW_OK)
        return status;
    if (m->names.known.plain && tls_is_on(o))
        return ew_fail(err, EW_ERR_INVALID, "endpoints are http://, but options for TLS are set");
    m->tls = m->names.known.tls || tls_is_on(o);
    return tls_credentials_init(&m->credentials, o, m->tls, err);
}

void channel_config_fini(channel_config *m) {
    tls_credentials_fini(&m->credentials);
    names_fini(&m->names);
}

static void free_set(connection_set *set) {
    for (size_t i = 0; set->backends && i < set->targets.count; i++)
        backend_close(&set->backends[i]);
    if (set->nowhere)
        grpc_channel_destroy(set->nowhere);
    targets_fini(&set->targets);
    free(set->backends);
    free(set);
}

connection_set *connection_open(const channel_config *m, const ew_options *o) {
    connection_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    if (targets_init(&set->targets, &m->names.known))
        set->backends = calloc(set->targets.count + 1, sizeof *set->backends);
    if (!set->backends) {
        free_set(set);
        return NULL;
    }
    for (size_t i = 0; i < set->targets.count; i++)
        backend_open(&set->backends[i], &set->targets.list[i], m->credentials.channel, o);
    set->nowhere = grpc_lame_client_channel_create("nowhere", GRPC_STATUS_UNAVAILABLE, "no address is known");
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

/* gRPC 1.51 never frees a connection attempt, nor its socket, if the channel is destroyed during the attempt and no
 * thread polls it any more. So this waits a moment until attempts have succeeded or failed. */
static void settle(const connection_set *set) {
    enum { MOMENT_MS = 500 };
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    gpr_timespec until = queue_time(etcd_now_ms() + MOMENT_MS);
    for (size_t i = 0; i < set->targets.count * CONNECTIONS; i++) {
        grpc_channel *channel = set->backends[i / CONNECTIONS].channels[i % CONNECTIONS];
        bool in_time = true;
        while (in_time && state_of(channel) == GRPC_CHANNEL_CONNECTING) {
            watch_until(cq, channel, GRPC_CHANNEL_CONNECTING, until);
            in_time = grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
        }
    }
    grpc_completion_queue_shutdown(cq);
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
    free_set(set);
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

/* ---- host names with new addresses ---- */

static bool has_targets(ew_client *client, const targets *t) {
    connection_set *set = connection_take(client);
    bool equal = targets_equal(&set->targets, t);
    connection_give(set);
    return equal;
}

/* Replaces the client's set by one for the current addresses and certificates; false when out of memory. */
static bool move(ew_client *client, const char *why) {
    connection_set *next = connection_open(&client->config, client->options);
    if (!next)
        return false;
    log_fields(EW_LOG_INFO, &client->log, "etcd", why, {"endpoints", client->endpoints});
    connection_give(connection_exchange(client, next));
    return true;
}

static void move_if_needed(ew_client *client) {
    targets t;
    if (!targets_init(&t, &client->config.names.known))
        return;
    if (!has_targets(client, &t))
        move(client, "the addresses of the endpoints have changed"); /* after a failure the next lookup tries again */
    targets_fini(&t);
}

static void seek(ew_client *client) {
    if (!client->config.names.any || pthread_mutex_trylock(&client->reloading) != 0)
        return; /* the reload looks names up, too */
    if (names_seek(&client->config.names, etcd_now_ms()))
        move_if_needed(client);
    pthread_mutex_unlock(&client->reloading);
}

/* ---- backends ---- */

int connection_find(ew_client *client, connection_set **set, etcd_method method) {
    follow(client, set);
    size_t count = (*set)->targets.count, turn = count > 1 ? atomic_fetch_add(&(*set)->turn, 1) % count : 0;
    int found = backends_find((*set)->backends, count, turn, backend_connection(method));
    if (found == NO_BACKEND || names_are_in_doubt(&client->config.names))
        seek(client);
    return found;
}

static bool renew(ew_client *client) {
    channel_config *m = &client->config;
    tls_credentials next;
    bool other = tls_credentials_init(&next, client->options, m->tls, NULL) == EW_OK &&
                 !tls_credentials_equal(&next, &m->credentials);
    if (other) {
        tls_credentials before = m->credentials;
        m->credentials = next;
        next = before;
        other = move(client, "a handshake was refused and the certificates have changed; using the new ones");
    }
    tls_credentials_fini(&next);
    return other;
}

bool connection_renew(ew_client *client) {
    if (!client->config.tls || pthread_mutex_trylock(&client->reloading) != 0)
        return false; /* the reload reads the certificates, too */
    bool renewed = renew(client);
    pthread_mutex_unlock(&client->reloading);
    return renewed;
}

bool connection_is_verified(const connection_set *set, int which, etcd_method method) {
    return backend_membership(&set->backends[which], backend_connection(method)) == MEMBERSHIP_OURS;
}

bool connection_fails(connection_set *set, etcd_method method) {
    return backends_fail(set->backends, set->targets.count, backend_connection(method));
}

/* Returns the channels in turn, since a channel makes progress only while it is watched. Skips connected channels. */
static grpc_channel *any_channel(connection_set *set, etcd_method method) {
    size_t count = set->targets.count, turn = count > 1 ? atomic_fetch_add(&set->watch_turn, 1) : 0;
    grpc_channel *channel = set->nowhere;
    for (size_t i = 0; i < count; i++) {
        channel = set->backends[(turn + i) % count].channels[backend_connection(method)];
        if (state_of(channel) != GRPC_CHANNEL_READY)
            break;
    }
    return channel;
}

void connection_wait(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag) {
    grpc_channel *channel = any_channel(set, method);
    grpc_connectivity_state state = state_of(channel);
    if (state == GRPC_CHANNEL_READY) /* it has connected in the meantime: complete at once */
        state = GRPC_CHANNEL_CONNECTING;
    queue_watch(q, channel, state, until_ms, tag);
}

void connection_pause(connection_set *set, etcd_queue *q, etcd_method method, int64_t until_ms, queue_tag *tag) {
    grpc_channel *channel = any_channel(set, method);
    queue_watch(q, channel, state_of(channel), until_ms, tag);
}

grpc_call *connection_call(connection_set *set, int which, etcd_queue *q, etcd_method method, int64_t deadline_ms) {
    const backend *b = &set->backends[which];
    return grpc_channel_create_registered_call(b->channels[backend_connection(method)], NULL, 0, queue_of(q),
                                               b->handles[method], queue_time(deadline_ms), NULL);
}

bool connection_is_same_cluster(ew_client *client, uint64_t id) {
    uint64_t first = 0;
    if (atomic_compare_exchange_strong(&client->cluster_id, &first, id) || first == id)
        return true;
    connection_set *set = connection_take(client);
    for (size_t i = 0; i < set->targets.count; i++)
        backend_doubt(&set->backends[i]);
    connection_give(set);
    return false;
}
