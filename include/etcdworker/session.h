/* Sessions: a session is a lease that a dedicated thread keeps alive, and reports reliably when it has ended. The
 * sessions of a client share that thread. */
#ifndef ETCDWORKER_SESSION_H
#define ETCDWORKER_SESSION_H

#include <etcdworker/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_session ew_session;

/* Opens a session: requests a lease of `ttl_s` seconds from etcd and renews it every third of that time. `ttl_s` is 1
 * to 9,000,000,000, etcd's own range; etcd may raise it to its minimum, about 1.5 election timeouts. Blocks for at most
 * the client's call_timeout_ms. The client must outlive the session. On success the caller frees `*out` with
 * ew_session_close; on failure `*out` is NULL. */
EW_API ew_status ew_session_open(ew_session **out, ew_client *client, int64_t ttl_s, ew_error *err);

/* Returns the lease's id. Any thread. */
EW_API int64_t ew_session_lease(const ew_session *s);

/* Returns whether the session has ended: etcd reported it, or no keepalive was answered for one TTL. The TTL is
 * measured with this machine's monotonic clock, from the time at which the last answered keepalive was sent. Once true
 * it stays true. Any thread. */
EW_API bool ew_session_is_done(const ew_session *s);

/* Registers `fn`, which is called once when the session ends, on the sessions' thread; if the session has already
 * ended, it is called at once, on the caller's thread. `fn` must not close the session, and must be quick, because the
 * client's other sessions wait for it. A session takes at most 8 callbacks (EW_ERR_STATE). `ew_session_forget` removes
 * the callback; when it returns, `fn` is not running and will not be called. */
typedef void (*ew_session_fn)(void *arg);
EW_API ew_status ew_session_on_done(ew_session *s, ew_session_fn fn, void *arg);
EW_API void ew_session_forget(ew_session *s, ew_session_fn fn, void *arg);

/* What ew_session_close does with the lease. */
typedef enum ew_session_end {
    EW_SESSION_REVOKE = 0,     /* revokes the lease, which deletes its keys */
    EW_SESSION_KEEP_LEASE = 1, /* leaves the lease until its TTL expires, as a crash would */
} ew_session_end;

/* Ends the session: stops the keepalive, revokes or keeps the lease as `end` says, and frees the session. Blocks for at
 * most 2 s; if the revocation is not answered in that time, the lease expires at its TTL. `s` may be NULL. */
EW_API void ew_session_close(ew_session *s, ew_session_end end);

#ifdef __cplusplus
}
#endif
#endif
