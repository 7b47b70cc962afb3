/* A lasting lease: kept alive like a session's, and replaced by a new one whenever it was lost, for as long as etcd is
 * away. With it, if wanted, a key that says who holds it: put again with each new lease, unless another holder has put
 * it meanwhile.
 *
 * With `renew_s` the lease is also replaced at that age while it lives: what was put with it expires a TTL after the
 * last keepalive of this lease, however long the holder lives. So what is put with the newest lease lives for
 * `ttl_s` - `ttl_s` / 3 at least, and `ttl_s` + `renew_s` at most.
 *
 * It runs as a task of the client's keepalive loop; no call here blocks but lasting_open, lasting_close. */
#ifndef ETCD_LASTING_H
#define ETCD_LASTING_H

#include <etcdworker/client.h>

typedef struct lasting lasting;

typedef enum lasting_change {
    LASTING_LOST,    /* etcd said so, or no keepalive was answered for a TTL by this machine's clock */
    LASTING_GRANTED, /* another one: lasting_lease answers it */
    LASTING_TAKEN,   /* the key is another holder's: no lease is asked for any more */
} lasting_change;

/* On the keepalive loop's thread. Must be quick, and must not close the lease. */
typedef void (*lasting_fn)(void *arg, lasting_change change);

/* Grants the first lease; blocks for at most the client's call_timeout_ms. Another one replaces it after each `renew_s`
 * seconds; 0: never. The client must outlive it. On failure `*out` is NULL. */
int lasting_open(lasting **out, ew_client *client, int64_t ttl_s, int64_t renew_s, lasting_fn fn, void *arg,
                 ew_error *err);

/* The lease that lives by all that is known; 0 while there is none. Any thread. */
int64_t lasting_lease(const lasting *l);

/* Asks etcd now whether the lease lives, and does not wait for the answer. Any thread. */
void lasting_check(lasting *l);

/* From now on `key` is put with each new lease, holding `holder`; both are borrowed until the close. The caller has put
 * it with the present lease. Once. */
void lasting_hold(lasting *l, ew_slice key, ew_slice holder);

/* Ends the keepalive and frees; the lease lives on until its TTL, or until it is revoked. NULL is fine. */
void lasting_close(lasting *l);

#endif
