/* Keeps one lease alive: a stream that is opened again when it breaks, and the clock that decides when the lease counts
 * as lost. Only the thread of its task may use it. */
#ifndef ETCD_KEEPALIVE_H
#define ETCD_KEEPALIVE_H

#include "etcd/loop.h"

#include "etcd.pb-c.h"

/* The longest TTL that etcd grants (MaxLeaseTTL in its source). In milliseconds it does not overflow an int64_t. */
#define LEASE_TTL_MAX_S INT64_C(9000000000)

typedef struct keepalive keepalive;

/* Returns the time of the clock that leases expire by. Unlike etcd_now_ms it counts the time while the machine is
 * suspended, because etcd's clock goes on then. */
int64_t keepalive_now_ms(void);

/* Makes a keepalive of a lease. `granted_ms`: when the request that granted it was sent, on keepalive_now_ms. Returns
 * NULL when out of memory. */
keepalive *keepalive_new(ew_client *client, etcd_task *task, int64_t lease, int64_t ttl_s, int64_t granted_ms);
void keepalive_free(keepalive *k); /* only before the first step, or when stopped */

int64_t keepalive_deadline_ms(const keepalive *k); /* when the next step is due, on etcd_now_ms */
void keepalive_ask(keepalive *k);                  /* makes the next step send a keepalive at once */
bool keepalive_step(keepalive *k);                 /* does what is due; true: the lease is lost */

/* Returns whether `r`, which may be NULL, is a valid response to a keepalive of that lease. */
bool keepalive_answers(const Pb__LeaseKeepAliveResponse *r, int64_t lease);

/* Revokes a lease and waits for the response, at most `timeout_ms`: a stop should not wait for an unavailable etcd, and
 * without the revoke the lease expires at its TTL. Returns whether etcd answered. */
enum { LEASE_REVOKE_MS = 2000 };
bool lease_revoke_soon(ew_client *client, int64_t lease, int64_t timeout_ms);

void keepalive_stop(keepalive *k);          /* cancels the stream */
bool keepalive_stopped(const keepalive *k); /* whether the stream has ended */

#endif
