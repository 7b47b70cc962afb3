/* An etcd v3 client: calls with deadlines, transactions, scans, watches, leases. Usable by itself, without a worker,
 * and without anything of gRPC or nng in the program:  cc program.c $(pkg-config --cflags --libs etcdworker)
 *
 *     ew_error err;
 *     ew_client *client;
 *     ew_options *options = ew_options_new();
 *     ew_options_set(options, "endpoints", "10.0.0.1:2379,10.0.0.2:2379", &err);
 *     int status = ew_client_open(&client, options, &err);
 *     ew_options_free(options);
 *     if (status == EW_OK) {
 *         status = ew_client_put(client, EW_STR("/app/name"), EW_STR("value"), NULL, NULL, &err);
 *         ew_client_close(client);
 *     }
 *     if (status != EW_OK)
 *         fprintf(stderr, "%s: %s\n", ew_strerror(status), err.detail);
 *
 * examples/client.c shows a transaction and a watch as well.
 *
 * WHERE ETCD IS. The option `endpoints` (<etcdworker/options.h>) is a list, separated by commas, of host:port and
 * unix:/path in any mixture; a host is an IPv4 address, an [IPv6] address or a name. All of them are used: calls go to
 * one after the other, what dies is left at once, and is come back to about `backoff_max_ms` after its return. A name
 * stands for all of its addresses. It is looked up when the client is opened, and again, at most every second, while a
 * connection is missing and after one broke: when it leads elsewhere by then, calls, watches and sessions follow. While
 * it cannot be looked up, the addresses it had are kept. Names are looked up as getaddrinfo(3) does, so /etc/hosts and
 * nsswitch.conf count.
 *
 * ONE CLUSTER. The endpoints must belong to one cluster. Each new connection is asked for its cluster before anything
 * else is sent on it. The client's cluster is that of the endpoints that answer the first question (those that do not
 * answer are waited for, for 2 s at most). If these name different clusters, it is the one that more than half of them
 * name; if there is none, nothing is sent and calls fail with EW_ERR_WRONG_CLUSTER, which names each endpoint with its
 * cluster. An endpoint of another cluster is not used, the log names it once, and it is asked again every 30 s. An
 * endpoint that answers only users is asked with a token. One that does not tell it to this user either (etcd 3.5.28
 * tells only root), or to a client without a user, is used, and the answer of each call is checked.
 *
 * ENCRYPTION AND USERS. `ca_file`, `cert_file` with `key_file`, `server_name`, or https:// in front of the endpoints,
 * make it TLS. A server's certificate must carry the host of its own endpoint, as it is written there, or `server_name`
 * if that is set. With `user`, and `password_file` or `password`, the client gets itself a token, and another before
 * etcd forgets it (`auth_token_ttl_s`) or when etcd does not take it any more. A password is in no error and on no log
 * line. When etcd refuses the password, password_file is read again. A client that has been let in before goes on
 * trying for a minute if the file has not changed (EW_ERR_UNAVAILABLE), because the file may be renewed a little after
 * the server; then, and at the first try of a client, it is EW_ERR_UNAUTHENTICATED. Certificates are read again while
 * there is no connection and an endpoint refuses the handshake.
 *
 * CALLS block until they are answered, or until `call_timeout_ms` (option), or until ew_client_cancel; where there is
 * no connection, finding out why may take half a second more. What surely did not happen because no member answered or
 * none was the leader is tried again within that time, after a wait that doubles from `backoff_min_ms` to
 * `backoff_max_ms`, with jitter. Everything else is answered at once:
 *  - EW_ERR_UNKNOWN_OUTCOME: a write was sent and its answer lost: it may have been applied, or still may be. It is
 *    never repeated here; whether to is the caller's decision.
 *  - EW_ERR_UNAVAILABLE: nothing was done: no endpoint was there in time. The detail lists each with its own reason.
 *    Where waiting does not help, because all of them have refused the TLS handshake, it comes at once.
 *  - EW_ERR_TIMEOUT: a read was not answered in time.
 *  - EW_ERR_DENIED: the user may not; the detail names the keys and ranges, or else the method.
 *  - EW_ERR_UNAUTHENTICATED: etcd does not know the user, or wants one.
 *  - EW_ERR_NO_SPACE: etcd's quota is used up; it takes deletes only until its alarm is taken back.
 *  - EW_ERR_WRONG_CLUSTER: nothing was done: the endpoints belong to another cluster than before, or to different ones.
 *  - EW_ERR_BAD_ANSWER: what answers is no etcd, or out of its mind.
 *
 * ew_is_retryable tells which of them may be gone by themselves (<etcdworker/error.h>).
 *
 * THREADS. A client is one connection pool. Its functions may be called from any thread, several at once; the objects
 * made from it (transactions, scans, watches, results) are used by one thread at a time, unless it says otherwise.
 *
 * OWNERSHIP. What is passed in is borrowed for the length of the call. What is handed out is the caller's to free, and
 * the slices in it point into it. `*out` is NULL after a failure, so that freeing it is always right. `err` may be
 * NULL.
 *
 * OPTION STRUCTS start zeroed, with `size` set by their macro: `&EW_GET_OPTIONS(.limit = 10)`. NULL is all defaults.
 *
 * CAVEATS
 *  - gRPC does not survive fork(): fork and exec children before the first client is opened, or use posix_spawn. In a
 *    child, everything that its parent made from a client is refused with EW_ERR_STATE, closing it does nothing, and
 *    while the parent had a client open, the child cannot open one.
 *  - Nothing here may be called from a signal handler.
 *  - A value may hold up to 1.5 MiB less the request's overhead, and a transaction 128 operations: those are etcd's
 *    defaults, and EW_ERR_TOO_LARGE is what is beyond them. */
#ifndef ETCDWORKER_CLIENT_H
#define ETCDWORKER_CLIENT_H

#include <etcdworker/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_client ew_client;

/* Makes a client from the options of group "client", which are copied. Does not connect: the first call does, so an
 * etcd that is away is no error here. Names are looked up, which takes as long as the name servers take; one that is
 * not found is no error either. EW_ERR_INVALID names a malformed endpoint, or the file that holds no certificate, an
 * expired one, no key or another certificate's; EW_ERR_SYSTEM the file that cannot be read. */
EW_API int ew_client_open(ew_client **out, const ew_options *options, ew_error *err);

/* Closes the connections and frees. No call may be running and no object made from the client may be alive. NULL is
 * fine. */
EW_API void ew_client_close(ew_client *client);

/* Reads the files of certificates, keys and password again, for when they have been renewed. What is wrong with them is
 * said as by ew_client_open; then etcd is asked for an answer over new connections, for at most five seconds. Only if
 * all of that goes well, or if there is no connection to lose, are the new ones used from now on: calls under way end
 * on the old ones, which are closed behind them, while watches and sessions go over to the new ones without losing
 * anything. Otherwise nothing changes. Without TLS and user there is nothing to do. A worker
 * goes over with the client that it was given by ew_worker_set_client. Any thread. */
EW_API int ew_client_reload(ew_client *client, ew_error *err);

/* Ends what other threads are waiting for on this client: their calls, and ew_watch_next, answer EW_ERR_CANCELLED, or
 * EW_ERR_UNKNOWN_OUTCOME for a write that had been sent. Later calls are not affected. Any thread. */
EW_API void ew_client_cancel(ew_client *client);

/* ---- keys ---- */

/* Which keys a call is about. Made by the functions below; borrows its slices. */
typedef enum ew_keys_kind { EW_KEYS_ONE, EW_KEYS_PREFIX, EW_KEYS_FROM, EW_KEYS_BETWEEN } ew_keys_kind;
typedef struct ew_keys {
    ew_keys_kind kind;
    ew_slice key;
    ew_slice end;
} ew_keys;

static inline ew_keys ew_keys_one(ew_slice key) {
    ew_keys k = {EW_KEYS_ONE, key, {NULL, 0}};
    return k;
}
/* Every key that starts with the bytes of `prefix`; every key there is, if it is empty. */
static inline ew_keys ew_keys_prefix(ew_slice prefix) {
    ew_keys k = {EW_KEYS_PREFIX, prefix, {NULL, 0}};
    return k;
}
/* Every key that is `first` or behind it in byte order. */
static inline ew_keys ew_keys_from(ew_slice first) {
    ew_keys k = {EW_KEYS_FROM, first, {NULL, 0}};
    return k;
}
/* From `first`, which belongs to it, to `end`, which does not. An empty `first` is the first key there is. A range that
 * holds no key, because `end` is not larger than `first` in byte order, is refused with EW_ERR_INVALID by every call:
 * [b, "\0") among them, which etcd itself would read as "b and all larger keys" (that is ew_keys_from). */
static inline ew_keys ew_keys_between(ew_slice first, ew_slice end) {
    ew_keys k = {EW_KEYS_BETWEEN, first, end};
    return k;
}

/* A key and all that etcd keeps about it. */
typedef struct ew_kv {
    ew_slice key;
    ew_slice value;
    int64_t create_revision; /* of the put that made it */
    int64_t mod_revision;    /* of its last put */
    int64_t version;         /* puts since it was made, from 1 */
    int64_t lease;           /* 0: none */
} ew_kv;

/* ---- results ---- */

/* What a call answered. It owns what its slices point at; free it with ew_result_free. */
typedef struct ew_result ew_result;

EW_API void ew_result_free(ew_result *r); /* NULL is fine; never one that ew_result_op gave */

/* The revision of the store: of a write, its own; of a read, the newest when it was served. */
EW_API int64_t ew_result_revision(const ew_result *r);

/* The keys: those found by a get, or those that a put or a delete replaced if `previous` was asked for. The i-th, NULL
 * behind the last. */
EW_API size_t ew_result_count(const ew_result *r);
EW_API const ew_kv *ew_result_at(const ew_result *r, size_t i);

/* How many keys there are in all, with `limit` and `count_only` left out of account; of a delete, how many it deleted.
 */
EW_API int64_t ew_result_total(const ew_result *r);

/* Whether a get with a limit left some out. */
EW_API bool ew_result_more(const ew_result *r);

/* Of a transaction: whether its compares held, and the results of the operations of the branch that was taken, in
 * order. They belong to `r`. NULL behind the last. */
EW_API bool ew_result_succeeded(const ew_result *r);
EW_API const ew_result *ew_result_op(const ew_result *r, size_t i);

/* ---- reading and writing ---- */

typedef enum ew_sort { EW_SORT_KEY, EW_SORT_VERSION, EW_SORT_CREATE, EW_SORT_MOD, EW_SORT_VALUE } ew_sort;

typedef struct ew_get_options {
    size_t size;
    int64_t limit;     /* at most so many keys; 0: all */
    int64_t revision;  /* as of this revision; 0: the newest */
    bool serializable; /* answered by any member from what it has, perhaps stale, also without a leader */
    bool keys_only;    /* leave the values out */
    bool count_only;   /* only ew_result_total */
    ew_sort sort_by;
    bool descending;
    int64_t min_mod_revision, max_mod_revision; /* leave out what is outside; 0: no bound */
    int64_t min_create_revision, max_create_revision;
} ew_get_options;

/* `out` may not be NULL. No key found is EW_OK with a count of 0. EW_ERR_COMPACTED and EW_ERR_FUTURE_REVISION for a
 * `revision` that etcd does not have. */
EW_API int ew_client_get(ew_client *client, ew_keys keys, const ew_get_options *options, ew_result **out,
                         ew_error *err);

typedef struct ew_put_options {
    size_t size;
    int64_t lease;   /* bind the key to it; 0: to none. EW_ERR_NOT_FOUND if there is no such lease */
    bool keep_lease; /* leave the key's lease as it is, or EW_ERR_NOT_FOUND if there is no such key */
    bool keep_value; /* leave its value as it is; `value` must be empty. The same error */
    bool previous;   /* give back what was there */
} ew_put_options;

/* `out` may be NULL, here and below. */
EW_API int ew_client_put(ew_client *client, ew_slice key, ew_slice value, const ew_put_options *options,
                         ew_result **out, ew_error *err);

/* Deletes the keys; `previous` gives back what was there. Deleting nothing is EW_OK and does not raise the revision. */
EW_API int ew_client_delete(ew_client *client, ew_keys keys, bool previous, ew_result **out, ew_error *err);

/* Forgets the history before `revision`. With `physical`, returns when the space is free again. */
EW_API int ew_client_compact(ew_client *client, int64_t revision, bool physical, ew_error *err);

/* ---- transactions ---- */

/* Compares, and two lists of operations: the first is done if every compare holds, otherwise the second. Everything is
 * copied. An error sticks and is answered again by ew_client_txn, so the answers of the builder may be ignored.
 *
 *     ew_txn *t = ew_txn_new();
 *     ew_txn_if(t, ew_keys_one(key), EW_CREATE_REVISION, EW_EQUAL, 0);
 *     ew_txn_put(t, EW_THEN, key, EW_STR("mine"), NULL);
 *     ew_txn_get(t, EW_ELSE, ew_keys_one(key), NULL);
 *     status = ew_client_txn(client, t, &result, &err);
 *     ew_txn_free(t); */
typedef struct ew_txn ew_txn;

EW_API ew_txn *ew_txn_new(void); /* NULL when out of memory; every function below takes a NULL */
EW_API void ew_txn_free(ew_txn *t);

typedef enum ew_target { EW_VERSION_OF, EW_CREATE_REVISION, EW_MOD_REVISION, EW_LEASE_OF } ew_target;
typedef enum ew_relation { EW_EQUAL, EW_GREATER, EW_LESS, EW_NOT_EQUAL } ew_relation;
typedef enum ew_branch { EW_THEN, EW_ELSE } ew_branch;

/* A compare must hold for every key of `keys`. A missing key counts as 0 in each of the numbers; a compare of its value
 * is false, whatever the relation. */
EW_API int ew_txn_if(ew_txn *t, ew_keys keys, ew_target target, ew_relation relation, int64_t number);
EW_API int ew_txn_if_value(ew_txn *t, ew_keys keys, ew_relation relation, ew_slice value);

/* No key may be put twice in a branch (EW_ERR_INVALID). */
EW_API int ew_txn_put(ew_txn *t, ew_branch branch, ew_slice key, ew_slice value, const ew_put_options *options);
EW_API int ew_txn_get(ew_txn *t, ew_branch branch, ew_keys keys, const ew_get_options *options);
EW_API int ew_txn_delete(ew_txn *t, ew_branch branch, ew_keys keys, bool previous);

/* Adds a copy of `inner` as one operation. `inner` may hold nested transactions itself: up to EW_TXN_DEPTH_MAX levels
 * below `t`; one more is EW_ERR_TOO_LARGE, which names the depth. */
#define EW_TXN_DEPTH_MAX 64
EW_API int ew_txn_nest(ew_txn *t, ew_branch branch, const ew_txn *inner);

/* A transaction may be sent any number of times. That its compares did not hold is EW_OK: see ew_result_succeeded. */
EW_API int ew_client_txn(ew_client *client, const ew_txn *t, ew_result **out, ew_error *err);

/* ---- scans: any number of keys at one revision, page by page ---- */

typedef struct ew_scan ew_scan;

typedef struct ew_scan_options {
    size_t size;
    int64_t revision; /* 0: the newest when the first page is read; the same for all pages */
    bool serializable;
    bool keys_only;
    int64_t page_bytes; /* what a page is sized towards; 0: 4 MiB */
} ew_scan_options;

/* No I/O yet. The scan copies `keys`. */
EW_API int ew_scan_open(ew_scan **out, ew_client *client, ew_keys keys, const ew_scan_options *options, ew_error *err);

/* The next key in byte order: EW_OK and `*kv`, valid until the next call; EW_END; or an error, after which it may be
 * called again and goes on where it was. EW_ERR_COMPACTED: the scan took longer than etcd keeps history. */
EW_API int ew_scan_next(ew_scan *s, ew_kv *kv, ew_error *err);

/* The revision that the scan sees; 0 before the first ew_scan_next. */
EW_API int64_t ew_scan_revision(const ew_scan *s);
EW_API void ew_scan_close(ew_scan *s); /* NULL is fine */

/* ---- watches ---- */

/* A watch gives whole revisions, in order, each exactly once. It reconnects by itself and goes on where it was. What it
 * cannot see is a cluster that was put back to an earlier state under the same id (from a backup): revisions that it
 * has given are not given again, though they may be others now. A worker looks for that and refuses to go on.
 * It has no thread: its connection is looked after only inside ew_watch_next. Whoever stays away holds etcd back, and
 * after some seconds the connection may have to be made again, but nothing is lost. */
typedef struct ew_watch ew_watch;

typedef struct ew_watch_options {
    size_t size;
    int64_t start_revision; /* the first that is wanted; 0: what comes from now on */
    bool previous;          /* with each event, what the key was before */
    bool no_puts, no_deletes;
    bool progress; /* also tell, every ten minutes or as etcd is configured, that nothing has happened */
} ew_watch_options;

typedef struct ew_watch_event {
    ew_event_kind kind;
    ew_kv kv;          /* of a deletion: the key, and in mod_revision the revision of the deletion */
    bool has_previous; /* asked for, and there was one */
    ew_kv previous;
} ew_watch_event;

typedef struct ew_watch_batch {
    int64_t revision; /* everything up to it has been seen */
    size_t count;     /* 0: a progress notification */
    const ew_watch_event *events;
} ew_watch_batch;

/* Opens a watch and waits until etcd has made it, so that nothing written afterwards is missed. */
EW_API int ew_watch_open(ew_watch **out, ew_client *client, ew_keys keys, const ew_watch_options *options,
                         ew_error *err);

/* Waits for the next batch, at most `timeout_ms` (-1: for ever). What it points at is valid until the next call.
 *   EW_OK              `*batch`
 *   EW_ERR_TIMEOUT     nothing has come, perhaps because etcd is away: the watch goes on looking for it. A connection
 *                      that has died without a sign is given up after `keepalive_time_ms` + `keepalive_timeout_ms`,
 *                      a stream on which nothing comes, not even the answer to a question, after
 *                      2 x `watch_silence_ms` of waiting here; one after the other twice as late each time, up to 16
 *                      times, since a large message on a slow wire is silence as well. Calls that follow each other
 *                      within a quarter of watch_silence_ms count as waiting, also with a timeout of 0
 *   EW_ERR_CANCELLED   ew_watch_cancel or ew_client_cancel
 * and these, which end the watch and are answered again by every later call:
 *   EW_ERR_COMPACTED   the next revision is gone: `batch->revision` is the oldest that etcd still has
 *   EW_ERR_REVISION_FELL  etcd was restored from an older state under the same cluster id: its revision is below what
 * was given, or what was given last does not come again after a reconnect. The text names the revisions. Read
 * everything again. A watch that has given no events yet, or whose last one was compacted before the reconnect, cannot
 * tell where etcd's revision has passed what was seen EW_ERR_TOO_LARGE   a single revision does not fit into
 * `max_receive_bytes` EW_ERR_DENIED, EW_ERR_UNAUTHENTICATED, EW_ERR_INVALID (etcd refused the watch),
 * EW_ERR_UNSUPPORTED, EW_ERR_WRONG_CLUSTER, EW_ERR_BAD_ANSWER, EW_ERR_NO_MEMORY */
EW_API int ew_watch_next(ew_watch *w, int64_t timeout_ms, ew_watch_batch *batch, ew_error *err);

/* Is given one batch after the other, which is valid until it returns. EW_OK: go on; anything else ends the run. */
typedef int (*ew_watch_fn)(void *arg, const ew_watch_batch *batch);

/* ew_watch_next again and again, on the calling thread, with `fn` for each batch. Answers what `fn` has ended it with
 * (then `err` is `fn`'s to fill), EW_ERR_CANCELLED, or what ended the watch; after EW_ERR_COMPACTED, ew_watch_next says
 * which revision is the oldest. What `fn` ended may be run again: it goes on with the next batch. An ew_client_cancel
 * that comes while `fn` runs is not noticed; an ew_watch_cancel always is. */
EW_API int ew_watch_run(ew_watch *w, ew_watch_fn fn, void *arg, ew_error *err);

/* Makes the ew_watch_next that is waiting, and every later one, answer EW_ERR_CANCELLED. Any thread. */
EW_API void ew_watch_cancel(ew_watch *w);
EW_API void ew_watch_close(ew_watch *w); /* NULL is fine */

/* ---- leases ---- */

/* Grants a lease of `ttl_s` seconds under the id `*lease`, or under one of etcd's choosing if that is 0. etcd may raise
 * the TTL: `*granted_s` (may be NULL) has what it gave. See <etcdworker/session.h> for one that is kept alive. */
EW_API int ew_client_lease_grant(ew_client *client, int64_t ttl_s, int64_t *lease, int64_t *granted_s, ew_error *err);

/* Ends a lease, which deletes its keys. These three answer EW_ERR_NOT_FOUND when there is no such lease. */
EW_API int ew_client_lease_revoke(ew_client *client, int64_t lease, ew_error *err);

/* Starts the lease's time again; `*ttl_s` (may be NULL) is what it has now. */
EW_API int ew_client_lease_keepalive(ew_client *client, int64_t lease, int64_t *ttl_s, ew_error *err);

/* What is left of it, what it was granted (both may be NULL), and, if `keys` is not NULL, its keys without values. */
EW_API int ew_client_lease_info(ew_client *client, int64_t lease, int64_t *left_s, int64_t *granted_s, ew_result **keys,
                                ew_error *err);

/* ---- the cluster ---- */

/* How the member that answered is doing. */
typedef struct ew_member_status {
    size_t size; /* set to sizeof(ew_member_status) before the call */
    char version[32];
    uint64_t cluster_id, member_id;
    uint64_t leader_id; /* 0: it knows of none */
    int64_t revision;
    int64_t db_bytes, db_bytes_in_use;
    uint64_t raft_term, raft_index, raft_applied_index;
    bool is_learner;
    bool has_errors; /* alarms are raised, or it is corrupt */
} ew_member_status;

EW_API int ew_client_status(ew_client *client, ew_member_status *out, ew_error *err);

typedef struct ew_member {
    uint64_t id;
    const char *name;               /* "" before it has started */
    const char *const *peer_urls;   /* ended by NULL */
    const char *const *client_urls; /* ended by NULL */
    bool is_learner;
} ew_member;

typedef struct ew_members ew_members;

EW_API int ew_client_members(ew_client *client, ew_members **out, ew_error *err);
EW_API const ew_member *ew_members_at(const ew_members *m, size_t i); /* NULL behind the last */
EW_API void ew_members_free(ew_members *m);                           /* NULL is fine */

/* Initialisers that fill `size`, in C and in C++: &EW_GET_OPTIONS(.limit = 10, .keys_only = true). In C++ they may be
 * used inside functions only. */
#ifdef __cplusplus
#define EW_OPTIONS_(type, ...) ew_cxx_lasting_(EW_CXX_FILLED_(type, [&], __VA_ARGS__))
#else
#define EW_OPTIONS_(type, ...) ((type){.size = sizeof(type), __VA_ARGS__})
#endif
#define EW_GET_OPTIONS(...)   EW_OPTIONS_(ew_get_options, __VA_ARGS__)
#define EW_PUT_OPTIONS(...)   EW_OPTIONS_(ew_put_options, __VA_ARGS__)
#define EW_SCAN_OPTIONS(...)  EW_OPTIONS_(ew_scan_options, __VA_ARGS__)
#define EW_WATCH_OPTIONS(...) EW_OPTIONS_(ew_watch_options, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
