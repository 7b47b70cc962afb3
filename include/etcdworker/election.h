/* Elections: of all candidates for one name, one is the leader. When the leader is gone, the candidate that has waited
 * longest becomes the leader.
 *
 *     ew_session_open(&session, client, 10, &err);
 *     ew_election_open(&election, client, session, EW_STR("/app/leader"), &err);
 *     status = ew_election_campaign(election, EW_STR("me"), -1, &err);     this candidate is the leader if EW_OK
 *     ...
 *     ew_election_resign(election, &err);
 *     ew_election_close(election);
 *     ew_session_close(session, EW_SESSION_REVOKE);
 *
 * A candidate has a key `<name>/<lease in hexadecimal>` with its value, attached to its session's lease. The candidate
 * whose key was created first is the leader. Go's `concurrency.Election` and `etcdctl elect` use the same keys, so all
 * three can take part in one election.
 *
 * CAVEATS
 *  - Leadership alone protects nothing. A leader that was paused or cut off learns that it has lost its leadership only
 *    after another candidate has become the leader, and its requests may still arrive meanwhile. Add the leadership to
 *    each transaction that writes: compare EW_CREATE_REVISION of ew_election_key with ew_election_revision
 *    (ew_worker_set_election does this).
 *  - The keys of two elections must not overlap: "/app" and "/app/x" would be one election.
 *  - Calls to etcd block as described in <etcdworker/client.h>. To cancel these calls too, give the election a client
 *    of its own, and call ew_client_cancel after ew_election_cancel. */
#ifndef ETCDWORKER_ELECTION_H
#define ETCDWORKER_ELECTION_H

#include <etcdworker/session.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- candidates ---- */

typedef struct ew_election ew_election;

/* Makes a candidate. Sends nothing. Use a session for one candidate per name: two candidates of one session and name
 * would share one key. The client and the session must outlive the election; the client may be another one than the
 * session's, but must be of the same cluster. On success the caller frees `*out` with ew_election_close; on failure
 * `*out` is NULL. EW_ERR_INVALID: the name is empty or contains a NUL. EW_ERR_STATE: the session has its maximum of 8
 * callbacks. */
EW_API ew_status ew_election_open(ew_election **out, ew_client *client, ew_session *session, ew_slice name,
                                  ew_error *err);

/* Frees the candidate. Does not resign: the key stays until the session's lease ends. No other call may be running. `e`
 * may be NULL. */
EW_API void ew_election_close(ew_election *e);

/* Campaigns: creates the candidate's key and waits until this candidate is the leader, for at most `timeout_ms` (-1:
 * without a limit). Keeps trying while etcd is unavailable.
 *   EW_OK                 this candidate is the leader, with `value`; also if it already was
 *   EW_ERR_TIMEOUT        it did not become the leader in time
 *   EW_ERR_CANCELLED      ew_election_cancel was called
 *   EW_ERR_SESSION_DONE   the session has ended: this candidate can never lead again
 *   EW_ERR_DENIED and other errors that waiting does not resolve
 * After any error the candidacy is withdrawn: the key is deleted, or, if etcd cannot be reached, deleted when its lease
 * ends. The functions of an election may be used by one thread at a time, except those marked "Any thread". */
EW_API ew_status ew_election_campaign(ew_election *e, ew_slice value, int64_t timeout_ms, ew_error *err);

/* Makes a waiting ew_election_campaign or ew_election_await_loss, and every later one, return EW_ERR_CANCELLED. A
 * running call to etcd is completed first. Any thread. */
EW_API void ew_election_cancel(ew_election *e);

/* Changes the leader's value. EW_ERR_STATE: this candidate is not the leader. EW_ERR_LEADERSHIP_LOST: it was the leader
 * but has lost the leadership. After EW_ERR_UNKNOWN_OUTCOME it may be called again with the same value. */
EW_API ew_status ew_election_proclaim(ew_election *e, ew_slice value, ew_error *err);

/* Gives up the leadership by deleting the key. Returns EW_OK also if this candidate is not the leader. On failure the
 * key may still exist: call the function again, or close the session. */
EW_API ew_status ew_election_resign(ew_election *e, ew_error *err);

/* Waits until the leadership is lost, for at most `timeout_ms` (-1: without a limit). Keeps trying while etcd is
 * unavailable, until the session ends.
 *   EW_ERR_LEADERSHIP_LOST  the key is gone
 *   EW_ERR_SESSION_DONE   the session has ended
 *   EW_ERR_CANCELLED      ew_election_cancel was called
 *   EW_ERR_TIMEOUT        this candidate is still the leader
 *   EW_ERR_STATE          this candidate was not the leader */
EW_API ew_status ew_election_await_loss(ew_election *e, int64_t timeout_ms, ew_error *err);

/* Returns the candidate's key, which is valid until ew_election_close. Any thread. */
EW_API ew_slice ew_election_key(const ew_election *e);

/* Return the create revision of the candidate's key while this candidate is the leader, as far as this process knows,
 * otherwise 0; and the candidate's session. The revision is never used twice, so it can serve as a fencing token. Any
 * thread. */
EW_API int64_t ew_election_revision(const ew_election *e);
EW_API ew_session *ew_election_session(const ew_election *e);

/* ---- observers ---- */

/* Gets the leader: its key and value are ew_result_at(*out, 0); free `*out` with ew_result_free. EW_ERR_NOT_FOUND:
 * there is no leader. Any thread. */
EW_API ew_status ew_election_leader(ew_client *client, ew_slice name, ew_result **out, ew_error *err);

/* Observes leadership changes. Used by one thread at a time. */
typedef struct ew_observer ew_observer;

/* Makes an observer. Sends nothing yet. The client must outlive it. On success the caller frees `*out` with
 * ew_observer_close. */
EW_API ew_status ew_observer_open(ew_observer **out, ew_client *client, ew_slice name, ew_error *err);
EW_API void ew_observer_close(ew_observer *o); /* `o` may be NULL */

/* The first call returns the current leader; every later call waits for a change of the leader or its value. Waits for
 * at most `timeout_ms` (-1: without a limit). Changes that follow each other quickly may be reported as one.
 *   EW_OK                 `*leader` is set, and valid until the next call; an empty key means that there is no leader
 *   EW_ERR_TIMEOUT        nothing has changed
 *   EW_ERR_CANCELLED      ew_observer_cancel or ew_client_cancel was called
 *   any other error of ew_client_get or ew_watch_open
 * After an error the function may be called again and continues where it was. */
EW_API ew_status ew_observer_next(ew_observer *o, int64_t timeout_ms, ew_kv *leader, ew_error *err);

/* Makes a waiting ew_observer_next, and every later one, return EW_ERR_CANCELLED. Any thread. */
EW_API void ew_observer_cancel(ew_observer *o);

#ifdef __cplusplus
}
#endif
#endif
