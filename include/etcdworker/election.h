/* Elections: of all who stand for one name, one leads; when it is gone, the one that has waited longest does.
 *
 *     ew_session_open(&session, client, 10, &err);
 *     ew_election_open(&election, client, session, EW_STR("/app/leader"), &err);
 *     status = ew_election_campaign(election, EW_STR("me"), -1, &err);     leads when this is EW_OK
 *     ...
 *     ew_election_resign(election, &err);
 *     ew_election_close(election);
 *     ew_session_close(session, false);
 *
 * Whoever stands keeps a key `<name>/<lease in hexadecimal>`, bound to its session's lease, with its value; the key
 * that was created first belongs to the leader. These are the keys of Go's `concurrency.Election` and of `etcdctl
 * elect`, so that all three may stand against each other.
 *
 * CAVEATS
 *  - Leading protects nothing by itself. A leader that is paused, or cut off, learns that it leads no more after
 *    somebody else does, and what it sends meanwhile arrives. Who writes must put leadership into the transaction:
 *    compare EW_CREATE_REVISION of ew_election_key with ew_election_revision (ew_worker_set_election does).
 *  - A name must not be the beginning of another one's keys: "/app" and "/app/x" are two elections that are one.
 *  - Calls to etcd block as <etcdworker/client.h> says. To interrupt them too, give the election a client of its own,
 *    and call ew_client_cancel behind ew_election_cancel. */
#ifndef ETCDWORKER_ELECTION_H
#define ETCDWORKER_ELECTION_H

#include <etcdworker/session.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- standing ---- */

typedef struct ew_election ew_election;

/* Makes a candidate. No I/O. A session stands once for a name: a second candidate of the same session would be the
 * same one. Client and session must outlive the election; the client may be another one than the session's, of the same
 * cluster. EW_ERR_INVALID for an empty name; EW_ERR_STATE when the session has no room for another callback. On failure
 * `*out` is NULL. */
EW_API int ew_election_open(ew_election **out, ew_client *client, ew_session *session, ew_slice name, ew_error *err);

/* Frees. Does not resign: the key stays until the session's lease ends. No other call may be running. NULL is fine. */
EW_API void ew_election_close(ew_election *e);

/* Stands, and waits until it leads, for at most `timeout_ms` (-1: for ever). That etcd is away is waited out.
 *   EW_OK                 leads, with `value`; also when it did so before
 *   EW_ERR_TIMEOUT, EW_ERR_CANCELLED (ew_election_cancel)
 *   EW_ERR_SESSION_DONE   the session is over: it can never lead again
 *   EW_ERR_DENIED and others that waiting does not heal
 * Whoever gives up stands no more: its key is deleted, or, if etcd cannot be reached, left to the lease. One thread at
 * a time, for all functions of an election but those that say otherwise. */
EW_API int ew_election_campaign(ew_election *e, ew_slice value, int64_t timeout_ms, ew_error *err);

/* Makes the ew_election_campaign or ew_election_await_loss that is waiting, and every later one, answer
 * EW_ERR_CANCELLED. A call to etcd that is under way is waited for. Any thread. */
EW_API void ew_election_cancel(ew_election *e);

/* Changes the leader's value. EW_ERR_STATE if it does not lead, EW_ERR_LEADERSHIP_LOST if it does no longer. After
 * EW_ERR_UNKNOWN_OUTCOME it may be called again with the same value. */
EW_API int ew_election_proclaim(ew_election *e, ew_slice value, ew_error *err);

/* Leads no more, by deleting the key; EW_OK also for who does not lead. On failure the key may still be there: call it
 * again, or close the session. */
EW_API int ew_election_resign(ew_election *e, ew_error *err);

/* Waits until leadership is lost, for at most `timeout_ms` (-1: for ever): EW_ERR_LEADERSHIP_LOST when the key is gone,
 * EW_ERR_SESSION_DONE, EW_ERR_CANCELLED, EW_ERR_TIMEOUT while it leads, EW_ERR_STATE if it did not lead. That etcd is
 * away is waited out, until the session ends. */
EW_API int ew_election_await_loss(ew_election *e, int64_t timeout_ms, ew_error *err);

/* The candidate's key. Any thread; valid as long as the election. */
EW_API ew_slice ew_election_key(const ew_election *e);

/* The key's create revision while it leads, as far as is known here; otherwise 0. It never comes twice, so it may serve
 * as a fencing token. Any thread. */
EW_API int64_t ew_election_revision(const ew_election *e);
EW_API ew_session *ew_election_session(const ew_election *e);

/* ---- looking on ---- */

/* Who leads: one key and its value, ew_result_at(*out, 0), to be freed with ew_result_free. EW_ERR_NOT_FOUND if nobody
 * does. Any thread. */
EW_API int ew_election_leader(ew_client *client, ew_slice name, ew_result **out, ew_error *err);

/* Who leads, and each change of it. Used by one thread at a time. */
typedef struct ew_observer ew_observer;

/* No I/O yet. */
EW_API int ew_observer_open(ew_observer **out, ew_client *client, ew_slice name, ew_error *err);
EW_API void ew_observer_close(ew_observer *o); /* NULL is fine */

/* The first call answers who leads, every later one waits for a change of leader or value, for at most `timeout_ms`
 * (-1: for ever). Changes that follow each other fast may be seen as one.
 *   EW_OK               `*leader`, valid until the next call; with an empty key, nobody leads
 *   EW_ERR_TIMEOUT      nothing has changed
 *   EW_ERR_CANCELLED    ew_observer_cancel or ew_client_cancel
 *   any other error of ew_client_get or ew_watch_open; it may be called again and goes on where it was */
EW_API int ew_observer_next(ew_observer *o, int64_t timeout_ms, ew_kv *leader, ew_error *err);

/* Makes the ew_observer_next that is waiting, and every later one, answer EW_ERR_CANCELLED. Any thread. */
EW_API void ew_observer_cancel(ew_observer *o);

#ifdef __cplusplus
}
#endif
#endif
