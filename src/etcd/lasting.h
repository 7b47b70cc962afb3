/* A lasting lease: a lease that is kept alive like a session's, and replaced by a new one when it is lost, even if etcd
 * is unavailable for a long time. Optionally it maintains a key that names the holder of the lease: the key is put
 * again with each new lease, unless another holder has put it meanwhile.
 *
 * With `renew_s` the lease is also replaced at that age while it lives, so that keys with the old lease expire a TTL
 * after its last keepalive, however long the holder runs. A key that is put with the newest lease lives for `ttl_s` -
 * `ttl_s` / 3 at least, and for `ttl_s` + `renew_s` at most.
 *
 * It runs as a task of the client's keepalive loop. Only lasting_open and lasting_close block. */
#ifndef ETCD_LASTING_H
#define ETCD_LASTING_H

#include <etcdworker/client.h>

typedef struct lasting lasting;

typedef enum lasting_change {
    LASTING_LOST,    /* etcd does not know the lease, or answered no keepalive for a TTL of this machine's clock */
    LASTING_GRANTED, /* there is a new lease: lasting_lease returns it */
    LASTING_TAKEN,   /* another holder has put the key: no more leases are granted */
} lasting_change;

/* Called on the keepalive loop's thread. Must be quick, and must not close the lease. */
typedef void (*lasting_fn)(void *arg, lasting_change change);

/* Grants the first lease; blocks for at most the client's call_timeout_ms. The lease is replaced after each `renew_s`
 * seconds; 0: never. The client must outlive the lasting lease. On failure `*out` is NULL. */
int lasting_open(lasting **out, ew_client *client, int64_t ttl_s, int64_t renew_s, lasting_fn fn, void *arg,
                 ew_error *err);

/* Returns the current lease; 0 while it is lost. Any thread. */
int64_t lasting_lease(const lasting *l);

/* Makes a keepalive be sent now, to check whether the lease lives. Does not wait for the response. Any thread. */
void lasting_check(lasting *l);

/* From now on puts `key` with the value `holder` and each new lease; both are borrowed until lasting_close. The caller
 * has already put the key with the current lease. To be called once at most. */
void lasting_hold(lasting *l, ew_slice key, ew_slice holder);

/* Ends the keepalive and frees `l`. The lease lives until its TTL, or until it is revoked. NULL is allowed. */
void lasting_close(lasting *l);

#endif
