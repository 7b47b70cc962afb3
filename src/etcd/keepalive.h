/* Keeping one lease alive: a stream that is opened again when it breaks, and the clock that says when the lease must be
 * given up. One thread: the one of the task that it belongs to. */
#ifndef ETCD_KEEPALIVE_H
#define ETCD_KEEPALIVE_H

#include "etcd/loop.h"

#include "etcd.pb-c.h"

/* etcd grants no lease for longer (MaxLeaseTTL in its source); in milliseconds that is no number to overflow with. */
#define LEASE_TTL_MAX_S INT64_C(9000000000)

typedef struct keepalive keepalive;

/* The clock of expiry. Unlike etcd_now_ms it counts the time that the machine is suspended, because etcd's clock goes
 * on then. */
int64_t keepalive_now_ms(void);

/* `granted_ms`: when the request that granted the lease was sent, on this clock. NULL when out of memory. */
keepalive *keepalive_new(ew_client *client, etcd_task *task, int64_t lease, int64_t ttl_s, int64_t granted_ms);
void keepalive_free(keepalive *k); /* only before its first step, or when stopped */

int64_t keepalive_deadline_ms(const keepalive *k); /* of etcd_now_ms: when the next step is due */
void keepalive_ask(keepalive *k);                  /* the next step sends a keepalive, whenever it was due */
bool keepalive_step(keepalive *k);                 /* does what is due; true: the lease is over, for good */

/* Whether `r`, which may be NULL, is an answer to a keepalive of that lease, with a header that makes sense. */
bool keepalive_answers(const Pb__LeaseKeepAliveResponse *r, int64_t lease);

/* Revokes a lease, and waits for the answer for so long at most: without it the lease ends at its TTL, and a stop
 * should not wait for an etcd that is away. Whether etcd answered. */
enum { LEASE_REVOKE_MS = 2000 };
bool lease_revoke_soon(ew_client *client, int64_t lease, int64_t timeout_ms);

void keepalive_stop(keepalive *k); /* ends the stream; it has stopped when that has ended */
bool keepalive_stopped(const keepalive *k);

#endif
