/* A model of etcd: what a client can see of a healthy cluster, in memory, in simulated time.
 *
 * Requests and responses are serialized protobuf, as on the network. The model responds at once and never fails by
 * itself: network*.c adds delay, loss, reordering, duplicated requests and stale members. Behaviour of etcd is cited as
 * in docs/etcd.md (ETCD P1...). tests/integration compares the model's responses with those of a real etcd.
 *
 * It keeps its whole history, including compacted revisions, so that invariants can be checked against any revision. */
#ifndef SIM_ETCD_MODEL_H
#define SIM_ETCD_MODEL_H

#include <etcdworker/error.h>

typedef struct etcd_model etcd_model;

typedef struct etcd_model_config {
    uint64_t cluster_id;
    uint32_t max_txn_ops;      /* etcd: 128 */
    size_t max_request_bytes;  /* etcd: 1.5 MiB */
    uint32_t batch_revisions;  /* revisions in one batch of an unsynced watch; etcd: 1000 (P1) */
    size_t fragment_bytes;     /* larger responses are split if the watch requested fragments; etcd: 2 MiB (P3) */
    size_t queue_responses;    /* a watch with more queued responses becomes unsynced; etcd: 128 */
    int64_t min_lease_ttl_s;   /* etcd: 1.5 election timeouts, 2 */
    bool progress_overtakes;   /* a requested progress reply overtakes events (P2) */
    bool progress_unanswered;  /* a requested progress reply never comes (P2) */
    bool silent_cancel_reason; /* etcd before 3.5: a compacted watch is cancelled without a reason (P4) */
} etcd_model_config;

/* etcd's defaults. */
extern const etcd_model_config etcd_model_defaults;

etcd_model *etcd_model_new(const etcd_model_config *config);
void etcd_model_free(etcd_model *m);

/* ---- unary calls ---- */

typedef enum etcd_model_method {
    ETCD_MODEL_RANGE,
    ETCD_MODEL_PUT,
    ETCD_MODEL_DELETE_RANGE,
    ETCD_MODEL_TXN,
    ETCD_MODEL_COMPACT,
    ETCD_MODEL_LEASE_GRANT,
    ETCD_MODEL_LEASE_REVOKE,
    ETCD_MODEL_LEASE_KEEP_ALIVE, /* one message of the stream */
    ETCD_MODEL_LEASE_TIME_TO_LIVE,
} etcd_model_method;

typedef struct etcd_model_answer {
    int status;         /* EW_OK, or the status to which the client maps etcd's error */
    const char *detail; /* etcd's own text; static */
    ew_slice bytes;     /* the response; valid until the next call on the model */
} etcd_model_answer;

etcd_model_answer etcd_model_call(etcd_model *m, etcd_model_method method, ew_slice request);

/* Responds to a Range as a member that has applied nothing after `revision` (P7). */
etcd_model_answer etcd_model_stale_range(etcd_model *m, ew_slice request, int64_t revision);

/* Sets whether the quota is exhausted: then puts and lease grants are refused, as with etcd's NOSPACE alarm. */
void etcd_model_set_full(etcd_model *m, bool full);

/* Restores the state at `revision`, under the same cluster id: later revisions are lost, and their numbers are used
 * again. The caller must close the streams and lose the requests and responses in flight. */
void etcd_model_restore(etcd_model *m, int64_t revision);

/* Sets the time: leases expire. The revision rises by one for each lease that had keys. */
void etcd_model_advance(etcd_model *m, int64_t now_ms);
int64_t etcd_model_next_expiry_ms(const etcd_model *m); /* INT64_MAX: none */

/* Ends a lease at once, as a wrong revocation does (P8). Returns false if the lease does not exist. */
bool etcd_model_lease_lose(etcd_model *m, int64_t lease);

/* ---- watch streams ---- */

typedef struct etcd_model_stream etcd_model_stream;

etcd_model_stream *etcd_model_stream_open(etcd_model *m);
void etcd_model_stream_close(etcd_model_stream *s);

/* Handles a WatchRequest. Returns EW_ERR_INVALID if it is malformed. */
int etcd_model_stream_request(etcd_model_stream *s, ew_slice request);

/* Takes the next queued response. Returns false if there is none. The caller frees its data with free(3). */
bool etcd_model_stream_take(etcd_model_stream *s, ew_slice *response);

/* Runs one round of etcd's loop for unsynced watches: each gets one batch (P1). etcd runs it every 100 ms. Returns
 * whether a watch of the stream is still unsynced. */
bool etcd_model_stream_sync(etcd_model_stream *s);
bool etcd_model_stream_behind(const etcd_model_stream *s);

/* Fires etcd's progress ticker: synced watches that requested progress get a notification after their events. */
void etcd_model_stream_progress(etcd_model_stream *s);

/* Makes the watch unsynced, as a slow client does. */
void etcd_model_stream_lag(etcd_model_stream *s);

/* Sends events from `revision` on again, as after a restored snapshot (P5). */
void etcd_model_stream_replay(etcd_model_stream *s, int64_t revision);

/* Makes the watch skip the next `revisions` revisions without a sign (P6). */
void etcd_model_stream_lose(etcd_model_stream *s, int64_t revisions);

/* ---- history, for checks ---- */

typedef struct etcd_model_record {
    ew_slice key, value;
    bool deleted;
    int64_t create_revision, mod_revision, version, lease;
    size_t previous; /* position of the key's previous record, plus 1; 0: none */
} etcd_model_record;

int64_t etcd_model_revision(const etcd_model *m);
int64_t etcd_model_compacted(const etcd_model *m);

/* Returns the records of one revision, in the order of the transaction. The first revision has none. */
const etcd_model_record *etcd_model_records(const etcd_model *m, int64_t revision, size_t *count);

/* Returns the key's record at `revision`; NULL if absent. Valid until the model changes. */
const etcd_model_record *etcd_model_get(const etcd_model *m, ew_slice key, int64_t revision);

/* Returns the key's record before `r`, which may be a deletion; NULL if `r` is the first. */
const etcd_model_record *etcd_model_before(const etcd_model *m, const etcd_model_record *r);

/* Iterates over the keys in byte order: start with position 0. Returns NULL after the last. The cost is proportional to
 * the number of keys that ever existed. */
const etcd_model_record *etcd_model_scan(const etcd_model *m, size_t *position, int64_t revision);

/* Returns whether the lease exists. */
bool etcd_model_lease_alive(const etcd_model *m, int64_t lease);

#endif
