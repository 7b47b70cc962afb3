/* Replaces the certificates of a running client.
 *
 * A second client is opened with the same options, which reads and checks all files, and makes a call to etcd. Then the
 * two clients exchange their channels: new calls use the new channels, running calls finish on the old ones, and
 * streams are ended, so that their owners open them again. */
#include "etcd/connection.h"
#include "etcd/tls.h"

#include "core/argument.h"
#include "core/log.h"

#include <stdlib.h>

/* How long to wait for etcd's response over the new connections. */
#define TRY_MS 5000

static bool has_connection(ew_client *c) {
    connection_set *set = connection_take(c);
    bool ready = false;
    for (size_t i = 0; i < set->targets.count * CONNECTIONS; i++) {
        grpc_channel *channel = set->backends[i / CONNECTIONS].channels[i % CONNECTIONS];
        ready |= grpc_channel_check_connectivity_state(channel, 0) == GRPC_CHANNEL_READY;
    }
    connection_give(set);
    return ready;
}

/* Checks whether the new channels may replace the old ones. If the old channels have no connection either, etcd is
 * unavailable: then the new ones cannot be tried, and replacing the old ones does no harm. */
static int try_new(ew_client *c, ew_client *next, ew_error *err) {
    ew_member_status member = {.size = sizeof member};
    ew_error why = {0};
    int status = ew_client_status(next, &member, &why);
    bool away = ew_is_retryable(status) && !has_connection(c);
    if (status != EW_OK && status != EW_ERR_DENIED && !away) /* "denied" proves that the connection works */
        return ew_fail(err, status, "keeping the old connections, since the new ones fail: %s", why.detail);
    uint64_t theirs = atomic_load(&next->cluster_id);
    if (theirs && !connection_is_same_cluster(c, theirs))
        return ew_fail(err, EW_ERR_WRONG_CLUSTER,
                       "keeping the old connections, since the new ones belong to another cluster");
    if (away)
        log_fields(EW_LOG_WARN, &c->log, "etcd", "cannot try the reloaded certificates; using them",
                   {"error", ew_errname(status)}, {"detail", why.detail});
    return EW_OK;
}

static void exchange(ew_client *c, ew_client *next) {
    auth_exchange(&c->auth, &next->auth);
    tls_credentials credentials = c->config.credentials;
    c->config.credentials = next->config.credentials;
    next->config.credentials = credentials;
    next->set = connection_exchange(c, next->set);
}

/* Makes the second client visible to ew_client_cancel. */
static void set_trial(ew_client *c, ew_client *next) {
    pthread_mutex_lock(&c->lock);
    c->trial = next;
    pthread_mutex_unlock(&c->lock);
}

ew_status ew_client_reload(ew_client *c, ew_error *err) {
    if (argument_missing(c, "client", __func__, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(c, err);
    if (status != EW_OK)
        return status;
    if (!tls_is_wanted(c->options) && !auth_is_on(&c->auth))
        return EW_OK;
    pthread_mutex_lock(&c->reloading);
    ew_client *next = NULL;
    status = ew_client_open(&next, c->options, err);
    if (status == EW_OK) {
        if (next->call_timeout_ms > TRY_MS)
            next->call_timeout_ms = TRY_MS;
        atomic_store(&next->cluster_id, atomic_load(&c->cluster_id)); /* the new connections must belong to it */
        set_trial(c, next);
        status = try_new(c, next, err);
        set_trial(c, NULL);
        if (status == EW_OK)
            exchange(c, next);
        ew_client_close(next);
    }
    pthread_mutex_unlock(&c->reloading);
    return status;
}
