/* Sessions: a lease that is kept alive by a thread that does nothing else, and the certainty of when it is over. The
 * sessions of a client share that thread. */
#ifndef ETCDWORKER_SESSION_H
#define ETCDWORKER_SESSION_H

#include <etcdworker/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_session ew_session;

/* Grants a lease of `ttl_s` seconds (1 to 9,000,000,000, etcd's own range; etcd may raise it to its minimum, about 1.5
 * election timeouts) and keeps it alive every third of it. Blocks for at most the client's call_timeout_ms. The client
 * must outlive the session. On failure `*out` is NULL. */
EW_API int ew_session_open(ew_session **out, ew_client *client, int64_t ttl_s, ew_error *err);

/* The lease's id. Any thread. */
EW_API int64_t ew_session_lease(const ew_session *s);

/* Whether the session is over: etcd said so, or no keepalive was answered for a TTL by this machine's monotonic clock,
 * counted from when the last answered one was sent. Once true it stays true. Any thread. */
EW_API bool ew_session_is_done(const ew_session *s);

/* Calls `fn` once when the session is done, on the sessions' thread; at once, on the caller's, if it already is. It
 * must not close the session, and must be quick: the client's other sessions wait for it. At most 8 callbacks.
 * `ew_session_forget` takes it back and returns when `fn` is not running and will not run. */
typedef void (*ew_session_fn)(void *arg);
EW_API int ew_session_on_done(ew_session *s, ew_session_fn fn, void *arg);
EW_API void ew_session_forget(ew_session *s, ew_session_fn fn, void *arg);

/* Ends the session: stops the keepalive, revokes the lease (which deletes its keys) unless `keep_lease`, and frees. A
 * revoke that is not answered within 2 s is left to the TTL; so this blocks for no longer. NULL is fine. */
EW_API void ew_session_close(ew_session *s, bool keep_lease);

#ifdef __cplusplus
}
#endif
#endif
