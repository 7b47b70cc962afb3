/* An etcd v3 client: calls with deadlines, transactions, scans, watches, leases. It can be used without a worker,
 * and the program needs no gRPC or nng headers or libraries:  cc program.c $(pkg-config --cflags --libs etcdworker)
 *
 *     ew_error err;
 *     ew_client *client;
 *     ew_options *options = ew_options_new();
 *     ew_options_set(options, "endpoints", "10.0.0.1:2379,10.0.0.2:2379", &err);
 *     ew_status status = ew_client_open(&client, options, &err);
 *     ew_options_free(options);
 *     if (status == EW_OK) {
 *         status = ew_client_put(client, EW_STR("/app/name"), EW_STR("value"), NULL, NULL, &err);
 *         ew_client_close(client);
 *     }
 *     if (status != EW_OK)
 *         fprintf(stderr, "%s: %s\n", ew_strerror(status), err.detail);
 *
 * examples/client.c also shows a transaction and a watch.
 *
 * ENDPOINTS. The option `endpoints` (<etcdworker/options.h>) is a list of host:port and unix:/path, separated by
 * commas; both forms may be mixed. A host is an IPv4 address, an [IPv6] address or a name. The client uses all
 * endpoints: it sends calls to them in turn, stops using an endpoint as soon as it fails, and uses it again about
 * `backoff_max_ms` after it is available again. A name stands for all of its addresses. The client looks a name up
 * when it is opened, and again, at most once a second, while a connection is missing and after a connection broke.
 * If the addresses have changed, calls, watches and sessions move to the new ones. While a lookup fails, the client
 * keeps the addresses that it has. Lookups use getaddrinfo(3), so /etc/hosts and nsswitch.conf apply.
 *
 * ONE CLUSTER. The endpoints must belong to one cluster. The client asks each new connection for its cluster id
 * before it sends anything else on it. The client's cluster is that of the endpoints that answer this first
 * question; the client waits for the others for at most 2 s. If the answers name different clusters, the client uses
 * the one that more than half of these endpoints name. If there is no such majority, nothing is sent and calls fail
 * with EW_ERR_WRONG_CLUSTER; the error detail names each endpoint with its cluster. The client does not use an
 * endpoint of another cluster: it logs the endpoint once, and asks it again every 30 s. If an endpoint names its
 * cluster only to users, the client asks it with a token. If the endpoint refuses this user too (etcd 3.5.28 answers
 * only root), or the client has no user, the client uses the endpoint and checks the cluster id in each response.
 *
 * TLS AND USERS. The client uses TLS if `ca_file`, `cert_file` with `key_file`, or `server_name` is set, or if the
 * endpoints begin with https://. A server's certificate must contain the host of its endpoint as written in
 * `endpoints`, or `server_name` if that is set. With `user`, and `password_file` or `password`, the client requests
 * a token from etcd. It replaces the token before etcd drops it (`auth_token_ttl_s`), and when etcd rejects it. A
 * password never appears in an error or in the log. When etcd rejects the password, the client reads password_file
 * again. If the file is unchanged, a client that was authenticated before retries for one minute
 * (EW_ERR_UNAVAILABLE), because the file may be updated a little later than the server. After that minute, and at a
 * client's first attempt, the error is EW_ERR_UNAUTHENTICATED. The client reads the certificates again while there
 * is no connection and an endpoint rejects the handshake.
 *
 * CALLS block until the response arrives, until `call_timeout_ms` (option) is over, or until ew_client_cancel. If
 * there is no connection, finding the reason may take half a second more. If a request certainly had no effect,
 * because no member answered or none was the leader, the client retries it within that time, after a wait that
 * doubles from `backoff_min_ms` to `backoff_max_ms`, with jitter. All other errors are returned at once:
 *  - EW_ERR_UNKNOWN_OUTCOME: a write was sent and its response was lost. The write may have been applied, or may
 *    still be applied. The client never repeats it; the caller decides whether to.
 *  - EW_ERR_UNAVAILABLE: nothing was done: no endpoint was available in time. The detail lists the reason of each
 *    endpoint. If waiting does not help, because all endpoints have rejected the TLS handshake, this error is
 *    returned at once.
 *  - EW_ERR_TIMEOUT: a read was not answered in time.
 *  - EW_ERR_DENIED: the user lacks a permission; the detail names the keys and ranges, or else the method.
 *  - EW_ERR_UNAUTHENTICATED: etcd does not know the user, or requires one.
 *  - EW_ERR_NO_SPACE: etcd's quota is used up; it accepts only deletes until its NOSPACE alarm is disarmed.
 *  - EW_ERR_WRONG_CLUSTER: nothing was done: the endpoints belong to another cluster than before, or to different
 *    clusters.
 *  - EW_ERR_BAD_ANSWER: the server is not etcd, or sent an invalid response.
 *
 * ew_is_retryable says which errors may disappear without a change by the caller (<etcdworker/error.h>).
 *
 * THREADS. A client is one connection pool. Its functions may be called from any thread, from several at once. An
 * object made from a client (transaction, scan, watch, result) may be used by one thread at a time, unless its
 * comment says otherwise.
 *
 * OWNERSHIP. Arguments are borrowed for the duration of the call. The caller frees what a function returns; the
 * slices in a returned object point into that object. After a failure `*out` is NULL, so that it may always be
 * freed. `err` may be NULL.
 *
 * OPTION STRUCTS start zeroed, and their macro sets `size`: `&EW_GET_OPTIONS(.limit = 10)`. NULL means all defaults; a
 * `size` of 0 is EW_ERR_INVALID.
 *
 * NUMBERS. A time or size that names neither an option nor etcd is a constant of this library.
 *
 * CAVEATS
 *  - gRPC does not survive fork(): fork and exec children before the first client is opened, or use posix_spawn. In
 *    a child, every object that the parent made from a client is refused with EW_ERR_STATE, and closing it does
 *    nothing. If the parent had a client open at the fork, the child cannot open a client.
 *  - No function of this header may be called from a signal handler.
 *  - With etcd's default limits, a value may have up to 1.5 MiB minus the request's overhead, and a transaction may
 *    have 128 operations. Larger ones fail with EW_ERR_TOO_LARGE. */
#ifndef ETCDWORKER_CLIENT_H
#define ETCDWORKER_CLIENT_H

#include <etcdworker/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_client ew_client;

/* Makes a client from the options of group "client", which are copied. Does not connect: the first call connects, so
 * an unavailable etcd is not an error here. Looks names up, which takes as long as the name servers take; a name
 * that is not found is not an error either. On success the caller closes `*out` with ew_client_close.
 * EW_ERR_INVALID: an endpoint is malformed; or a file contains no certificate, an expired certificate, no key, or
 * the key of another certificate. EW_ERR_SYSTEM: a file cannot be read. The detail names the endpoint or the file. */
EW_API ew_status ew_client_open(ew_client **out, const ew_options *options, ew_error *err);

/* Closes the connections and frees the client. No call may be running, and all objects made from the client must
 * have been freed. `client` may be NULL. */
EW_API void ew_client_close(ew_client *client);

/* Reads the certificate, key and password files again, after they have been renewed. Reports errors in them as
 * ew_client_open does. Then sends a test request over new connections, for at most five seconds. If all of this
 * succeeds, or if there is no connection to lose, the client uses the new files and connections from now on: running
 * calls finish on the old connections, which are closed afterwards; watches and sessions move to the new connections
 * without losing anything. Otherwise nothing changes. Does nothing if neither TLS nor a user is configured. A worker
 * that uses this client (ew_worker_set_client) moves with it. Any thread. */
EW_API ew_status ew_client_reload(ew_client *client, ew_error *err);

/* Cancels what other threads are waiting for on this client: their calls and ew_watch_next return EW_ERR_CANCELLED,
 * or EW_ERR_UNKNOWN_OUTCOME for a write that had been sent. Does not affect later calls. Any thread. */
EW_API void ew_client_cancel(ew_client *client);

/* ---- keys ---- */

/* The keys that a call applies to. Made by the functions below; borrows its slices. */
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
/* All keys that start with the bytes of `prefix`; all keys of etcd if `prefix` is empty. */
static inline ew_keys ew_keys_prefix(ew_slice prefix) {
    ew_keys k = {EW_KEYS_PREFIX, prefix, {NULL, 0}};
    return k;
}
/* All keys greater than or equal to `first` in byte order. */
static inline ew_keys ew_keys_from(ew_slice first) {
    ew_keys k = {EW_KEYS_FROM, first, {NULL, 0}};
    return k;
}
/* The keys from `first` (included) to `end` (excluded). An empty `first` means the first key of etcd. Every call
 * refuses a range that can hold no key, because `end` is not greater than `first` in byte order, with
 * EW_ERR_INVALID. This includes [b, "\0"), which etcd itself reads as "b and all greater keys"; use ew_keys_from for
 * that. */
static inline ew_keys ew_keys_between(ew_slice first, ew_slice end) {
    ew_keys k = {EW_KEYS_BETWEEN, first, end};
    return k;
}

/* A key with its value and etcd's metadata. */
typedef struct ew_kv {
    ew_slice key;
    ew_slice value;
    int64_t create_revision; /* revision of the put that created the key */
    int64_t mod_revision;    /* revision of its last put */
    int64_t version;         /* number of puts since it was created, from 1 */
    int64_t lease;           /* 0: no lease */
} ew_kv;

/* ---- results ---- */

/* The response of a call. Owns the bytes that its slices point to; free it with ew_result_free. */
typedef struct ew_result ew_result;

EW_API void ew_result_free(ew_result *r); /* `r` may be NULL; must not come from ew_result_op */

/* Returns the store's revision. For a write, it is the revision of that write; for a read, the newest one when it
 * was served. */
EW_API int64_t ew_result_revision(const ew_result *r);

/* Return the number of keys, and the i-th key or NULL if `i` is not less than that number. For a get these are the
 * keys found; for a put or delete with `previous`, the replaced keys. */
EW_API size_t ew_result_count(const ew_result *r);
EW_API const ew_kv *ew_result_at(const ew_result *r, size_t i);

/* Returns how many keys match, regardless of `limit` and `count_only`; for a delete, how many keys it deleted. */
EW_API int64_t ew_result_total(const ew_result *r);

/* Returns whether a get with a limit omitted keys. */
EW_API bool ew_result_more(const ew_result *r);

/* For a transaction: return whether its compares held, and the result of the i-th operation of the executed branch,
 * or NULL if there is no such operation. The operation's result belongs to `r`. */
EW_API bool ew_result_succeeded(const ew_result *r);
EW_API const ew_result *ew_result_op(const ew_result *r, size_t i);

/* ---- reading and writing ---- */

typedef enum ew_sort { EW_SORT_KEY, EW_SORT_VERSION, EW_SORT_CREATE, EW_SORT_MOD, EW_SORT_VALUE } ew_sort;

typedef struct ew_get_options {
    size_t size;
    int64_t limit;     /* maximum number of keys; 0: all */
    int64_t revision;  /* read at this revision; 0: the newest */
    bool serializable; /* any member may answer from its own state, which may be stale; works without a leader */
    bool keys_only;    /* omit the values */
    bool count_only;   /* return only ew_result_total */
    ew_sort sort_by;
    bool descending;
    int64_t min_mod_revision, max_mod_revision; /* omit keys outside these bounds; 0: no bound */
    int64_t min_create_revision, max_create_revision;
} ew_get_options;

/* Reads keys. `out` must not be NULL. If no key is found, returns EW_OK with a count of 0. EW_ERR_COMPACTED or
 * EW_ERR_FUTURE_REVISION: etcd does not have `revision`. */
EW_API ew_status ew_client_get(ew_client *client, ew_keys keys, const ew_get_options *options, ew_result **out,
                               ew_error *err);

typedef struct ew_put_options {
    size_t size;
    int64_t lease;   /* attach the key to this lease; 0: to none. EW_ERR_NOT_FOUND if the lease does not exist */
    bool keep_lease; /* keep the key's lease; EW_ERR_NOT_FOUND if the key does not exist */
    bool keep_value; /* keep the key's value; `value` must be empty. EW_ERR_NOT_FOUND if the key does not exist */
    bool previous;   /* return the replaced key */
} ew_put_options;

/* Writes one key. `out` may be NULL, here and in the functions below. */
EW_API ew_status ew_client_put(ew_client *client, ew_slice key, ew_slice value, const ew_put_options *options,
                               ew_result **out, ew_error *err);

typedef struct ew_delete_options {
    size_t size;
    bool previous; /* return the deleted keys */
} ew_delete_options;

/* Deletes the keys. If no key exists, returns EW_OK and the revision does not rise. */
EW_API ew_status ew_client_delete(ew_client *client, ew_keys keys, const ew_delete_options *options, ew_result **out,
                                  ew_error *err);

typedef struct ew_compact_options {
    size_t size;
    bool physical; /* return only after the space has been freed */
} ew_compact_options;

/* Compacts: discards the history before `revision`. */
EW_API ew_status ew_client_compact(ew_client *client, int64_t revision, const ew_compact_options *options,
                                   ew_error *err);

/* ---- transactions ---- */

/* A list of compares and two lists of operations: etcd executes the first list if all compares hold, otherwise the
 * second. All arguments are copied. The transaction keeps its first error, and ew_client_txn returns it, so the
 * results of the functions that build it may be ignored.
 *
 *     ew_txn *t = ew_txn_new();
 *     ew_txn_if(t, ew_keys_one(key), EW_CREATE_REVISION, EW_EQUAL, 0);
 *     ew_txn_put(t, EW_THEN, key, EW_STR("mine"), NULL);
 *     ew_txn_get(t, EW_ELSE, ew_keys_one(key), NULL);
 *     status = ew_client_txn(client, t, &result, &err);
 *     ew_txn_free(t); */
typedef struct ew_txn ew_txn;

EW_API ew_txn *ew_txn_new(void); /* NULL when out of memory; every function below accepts NULL */
EW_API void ew_txn_free(ew_txn *t);

typedef enum ew_target { EW_VERSION_OF, EW_CREATE_REVISION, EW_MOD_REVISION, EW_LEASE_OF } ew_target;
typedef enum ew_relation { EW_EQUAL, EW_GREATER, EW_LESS, EW_NOT_EQUAL } ew_relation;
typedef enum ew_branch { EW_THEN, EW_ELSE } ew_branch;

/* Add a compare, which must hold for every key of `keys`. For a missing key each of the numbers is 0, and a compare
 * of its value is false for every relation. */
EW_API ew_status ew_txn_if(ew_txn *t, ew_keys keys, ew_target target, ew_relation relation, int64_t number);
EW_API ew_status ew_txn_if_value(ew_txn *t, ew_keys keys, ew_relation relation, ew_slice value);

/* Add an operation to a branch. A branch may put a key only once (EW_ERR_INVALID). */
EW_API ew_status ew_txn_put(ew_txn *t, ew_branch branch, ew_slice key, ew_slice value, const ew_put_options *options);
EW_API ew_status ew_txn_get(ew_txn *t, ew_branch branch, ew_keys keys, const ew_get_options *options);
EW_API ew_status ew_txn_delete(ew_txn *t, ew_branch branch, ew_keys keys, const ew_delete_options *options);

/* Adds a copy of `inner` as one operation. `inner` may contain nested transactions, up to EW_TXN_DEPTH_MAX levels
 * below `t`. One level more is EW_ERR_TOO_LARGE; the detail names the depth. 64 is a limit of this library, not of
 * etcd. */
#define EW_TXN_DEPTH_MAX 64
EW_API ew_status ew_txn_nest(ew_txn *t, ew_branch branch, const ew_txn *inner);

/* Sends a transaction. The same transaction may be sent any number of times. Returns EW_OK also if the compares did
 * not hold: see ew_result_succeeded. */
EW_API ew_status ew_client_txn(ew_client *client, const ew_txn *t, ew_result **out, ew_error *err);

/* ---- scans: any number of keys at one revision, page by page ---- */

typedef struct ew_scan ew_scan;

typedef struct ew_scan_options {
    size_t size;
    int64_t revision; /* 0: the newest one when the first page is read; the same for all pages */
    bool serializable;
    bool keys_only;
    int64_t page_bytes; /* target size of a page; 0: 4 MiB */
} ew_scan_options;

/* Makes a scan. Sends nothing yet. Copies `keys`. */
EW_API ew_status ew_scan_open(ew_scan **out, ew_client *client, ew_keys keys, const ew_scan_options *options,
                              ew_error *err);

/* Gets the next key in byte order.
 *   EW_OK                 `*kv` is set, and valid until the next call
 *   EW_END                there are no more keys
 *   EW_ERR_COMPACTED      the scan took longer than etcd keeps its history
 * After any error, the function may be called again and continues where it was. */
EW_API int ew_scan_next(ew_scan *s, ew_kv *kv, ew_error *err);

/* Returns the revision that the scan reads; 0 before the first ew_scan_next. */
EW_API int64_t ew_scan_revision(const ew_scan *s);
EW_API void ew_scan_close(ew_scan *s); /* `s` may be NULL */

/* ---- watches ---- */

/* A watch delivers whole revisions, in order, each exactly once. It reconnects by itself and resumes where it was.
 * It detects most cases in which etcd was restored from an older state under the same cluster id
 * (EW_ERR_REVISION_FELL of ew_watch_next has the exceptions); it never delivers a revision again. A watch has no
 * thread: it handles its connection only inside ew_watch_next. A slow consumer applies back-pressure to etcd; after
 * some seconds without a call of ew_watch_next the connection may have to be made again, but no event is lost. */
typedef struct ew_watch ew_watch;

typedef struct ew_watch_options {
    size_t size;
    int64_t start_revision; /* the first revision to deliver; 0: events from now on */
    bool previous;          /* deliver with each event the key as it was before */
    bool no_puts, no_deletes;
    bool progress; /* also report that nothing has happened, every ten minutes or as etcd is configured */
} ew_watch_options;

typedef struct ew_watch_event {
    ew_event_kind kind;
    ew_kv kv;          /* of a deletion: the key, and in mod_revision the revision of the deletion */
    bool has_previous; /* `previous` was requested, and the key existed before */
    ew_kv previous;
} ew_watch_event;

typedef struct ew_watch_batch {
    int64_t revision; /* all events up to this revision have been delivered */
    size_t count;     /* 0: a progress notification */
    const ew_watch_event *events;
} ew_watch_batch;

/* Opens a watch and waits until etcd has created it, so that no later write is missed. On success the caller closes
 * `*out` with ew_watch_close. */
EW_API ew_status ew_watch_open(ew_watch **out, ew_client *client, ew_keys keys, const ew_watch_options *options,
                               ew_error *err);

/* Waits for the next batch for at most `timeout_ms` (-1: without a limit). The batch is valid until the next call.
 *   EW_OK                  `*batch` is set
 *   EW_ERR_TIMEOUT         no event came, perhaps because etcd is unavailable; the watch keeps trying to reach it
 *   EW_ERR_CANCELLED       ew_watch_cancel or ew_client_cancel was called
 * The following errors end the watch, and every later call returns them again:
 *   EW_ERR_COMPACTED       the next revision has been compacted; `batch->revision` is the oldest one that etcd still
 *                          has
 *   EW_ERR_REVISION_FELL   etcd was restored from an older state under the same cluster id: its revision is below what
 *                          the watch delivered, or the last delivered revision does not come again after a reconnect.
 *                          The detail names the revisions. Read everything again. If the watch has not delivered any
 *                          event yet, or its last one was compacted before the reconnect, the watch cannot detect a
 *                          restore after which etcd's revision has already passed the delivered one
 *   EW_ERR_TOO_LARGE       a single revision does not fit into `max_receive_bytes`
 *   EW_ERR_INVALID         etcd refused the watch
 *   EW_ERR_DENIED, EW_ERR_UNAUTHENTICATED, EW_ERR_UNSUPPORTED, EW_ERR_WRONG_CLUSTER, EW_ERR_BAD_ANSWER,
 *   EW_ERR_NO_MEMORY
 *
 * The watch gives up a connection that died silently after `keepalive_time_ms` + `keepalive_timeout_ms`. It replaces a
 * stream on which nothing comes, not even the answer to a progress request, after 2 x `watch_silence_ms` of waiting in
 * this function. Each further replacement in a row takes twice as long, up to 16 times that, because a large message on
 * a slow link is silent too. Calls that follow each other within a quarter of watch_silence_ms count as waiting, also
 * with a timeout of 0. */
EW_API ew_status ew_watch_next(ew_watch *w, int64_t timeout_ms, ew_watch_batch *batch, ew_error *err);

/* Receives one batch, which is valid until the function returns. EW_OK continues; any other value ends ew_watch_run. */
typedef int (*ew_watch_fn)(void *arg, const ew_watch_batch *batch);

/* Calls ew_watch_next in a loop, on the calling thread, and calls `fn` for each batch. Returns the value with which
 * `fn` ended the loop (then `fn` fills `err`), EW_ERR_CANCELLED, or the error that ended the watch. After
 * EW_ERR_COMPACTED, ew_watch_next returns the oldest revision. If `fn` ended the loop, the function may be called
 * again and continues with the next batch. An ew_client_cancel during `fn` is not noticed; an ew_watch_cancel always
 * is. */
EW_API int ew_watch_run(ew_watch *w, ew_watch_fn fn, void *arg, ew_error *err);

/* Makes a waiting ew_watch_next, and every later one, return EW_ERR_CANCELLED. Any thread. */
EW_API void ew_watch_cancel(ew_watch *w);
EW_API void ew_watch_close(ew_watch *w); /* `w` may be NULL */

/* ---- leases ---- */

/* Grants a lease of `ttl_s` seconds with the id `*lease`, or with an id that etcd chooses if that is 0; sets
 * `*lease` to the id. etcd may raise the TTL: `*granted_s` (may be NULL) is set to the granted one. For a lease that
 * is kept alive see <etcdworker/session.h>. */
EW_API ew_status ew_client_lease_grant(ew_client *client, int64_t ttl_s, int64_t *lease, int64_t *granted_s,
                                       ew_error *err);

/* Revokes a lease, which deletes its keys. This function and the next two return EW_ERR_NOT_FOUND if there is no
 * such lease. */
EW_API ew_status ew_client_lease_revoke(ew_client *client, int64_t lease, ew_error *err);

/* Renews the lease once; sets `*ttl_s` (may be NULL) to its TTL. */
EW_API ew_status ew_client_lease_keepalive(ew_client *client, int64_t lease, int64_t *ttl_s, ew_error *err);

/* Gets the remaining and the granted time in seconds (both may be NULL), and, if `keys` is not NULL, the lease's
 * keys without values; free `*keys` with ew_result_free. */
EW_API ew_status ew_client_lease_info(ew_client *client, int64_t lease, int64_t *left_s, int64_t *granted_s,
                                      ew_result **keys, ew_error *err);

/* ---- the cluster ---- */

/* The status of the member that answered. */
typedef struct ew_member_status {
    size_t size; /* set to sizeof(ew_member_status) before the call */
    char version[32];
    uint64_t cluster_id, member_id;
    uint64_t leader_id; /* 0: the member knows no leader */
    int64_t revision;
    int64_t db_bytes, db_bytes_in_use;
    uint64_t raft_term, raft_index, raft_applied_index;
    bool is_learner;
    bool has_errors; /* the member has active alarms, or its data are corrupt */
} ew_member_status;

/* Asks one member for its status. EW_ERR_INVALID: `size` is not set. */
EW_API ew_status ew_client_status(ew_client *client, ew_member_status *out, ew_error *err);

typedef struct ew_member {
    uint64_t id;
    const char *name;               /* "" before the member has started */
    const char *const *peer_urls;   /* NULL-terminated */
    const char *const *client_urls; /* NULL-terminated */
    bool is_learner;
} ew_member;

typedef struct ew_members ew_members;

/* Gets the members of the cluster. On success the caller frees `*out` with ew_members_free. */
EW_API ew_status ew_client_members(ew_client *client, ew_members **out, ew_error *err);
EW_API const ew_member *ew_members_at(const ew_members *m, size_t i); /* NULL if there is no i-th member */
EW_API void ew_members_free(ew_members *m);                           /* `m` may be NULL */

/* Initialisers that fill `size`, in C and in C++: &EW_GET_OPTIONS(.limit = 10, .keys_only = true). In C++ they may be
 * used inside functions only. */
#ifdef __cplusplus
#define EW_OPTIONS_(type, ...) ew_cxx_lasting_(EW_CXX_FILLED_(type, [&], __VA_ARGS__))
#else
#define EW_OPTIONS_(type, ...) ((type){.size = sizeof(type), __VA_ARGS__})
#endif
#define EW_GET_OPTIONS(...)     EW_OPTIONS_(ew_get_options, __VA_ARGS__)
#define EW_PUT_OPTIONS(...)     EW_OPTIONS_(ew_put_options, __VA_ARGS__)
#define EW_DELETE_OPTIONS(...)  EW_OPTIONS_(ew_delete_options, __VA_ARGS__)
#define EW_COMPACT_OPTIONS(...) EW_OPTIONS_(ew_compact_options, __VA_ARGS__)
#define EW_SCAN_OPTIONS(...)    EW_OPTIONS_(ew_scan_options, __VA_ARGS__)
#define EW_WATCH_OPTIONS(...)   EW_OPTIONS_(ew_watch_options, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
