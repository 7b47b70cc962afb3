/* A model of one etcd: what a client can see of a healthy cluster, in memory, in simulated time.
 *
 * Requests and answers are serialized protobuf, as on the wire. The model answers at once and never fails by itself:
 * delay, loss, reordering, doubled requests and stale members are the network's (wire.h). What etcd promises and what
 * it does beyond or below its promises is cited as in docs/etcd.md (ETCD P1...). tests/integration compares the model's
 * answers with those of a real etcd.
 *
 * It keeps its whole history, also what is compacted, so that invariants can be checked against any revision. */
#ifndef SIM_ETCD_MODEL_H
#define SIM_ETCD_MODEL_H

#include <etcdworker/error.h>

typedef struct etcd_model etcd_model;

typedef struct etcd_model_config {
    uint64_t cluster_id;
    uint32_t max_txn_ops;      /* etcd: 128 */
    size_t max_request_bytes;  /* etcd: 1.5 MiB */
    uint32_t batch_revisions;  /* what an unsynced watch is given at once; etcd: 1000 (P1) */
    size_t fragment_bytes;     /* responses over this size are split if the watch asked for it; etcd: 2 MiB (P3) */
    size_t queue_responses;    /* a watch whose client is further behind becomes unsynced; etcd: 128 */
    int64_t min_lease_ttl_s;   /* etcd: 1.5 election timeouts, 2 */
    bool progress_overtakes;   /* a requested progress reply overtakes events (P2) */
    bool progress_unanswered;  /* a requested progress reply never comes (P2) */
    bool silent_cancel_reason; /* etcd before 3.5: a compacted watch is cancelled without a reason (P4) */
} etcd_model_config;

/* etcd's own numbers. */
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
    int status;         /* EW_OK, or what the client layer makes of etcd's error */
    const char *detail; /* etcd's own text; static */
    ew_slice bytes;     /* the response; valid until the next call on the model */
} etcd_model_answer;

etcd_model_answer etcd_model_call(etcd_model *m, etcd_model_method method, ew_slice request);

/* A Range as a member answers it that has applied nothing beyond `revision` (P7). */
etcd_model_answer etcd_model_stale_range(etcd_model *m, ew_slice request, int64_t revision);

/* The quota is used up: from now on what puts or grants is refused, as under etcd's NOSPACE alarm. */
void etcd_model_set_full(etcd_model *m, bool full);

/* etcd was restored from what it was at `revision`, under the same cluster id: what came later has never been, and its
 * revisions are given out again. The streams must be cut, and what is under way lost. */
void etcd_model_restore(etcd_model *m, int64_t revision);

/* Time passes: leases expire. The revision rises by one for each lease that had keys. */
void etcd_model_advance(etcd_model *m, int64_t now_ms);
int64_t etcd_model_next_expiry_ms(const etcd_model *m); /* INT64_MAX: none */

/* Ends a lease at once, as a wrong revocation does (P8). False if there is none. */
bool etcd_model_lease_lose(etcd_model *m, int64_t lease);

/* ---- watch streams ---- */

typedef struct etcd_model_stream etcd_model_stream;

etcd_model_stream *etcd_model_stream_open(etcd_model *m);
void etcd_model_stream_close(etcd_model_stream *s);

/* A WatchRequest arrives. EW_ERR_INVALID for what is no request. */
int etcd_model_stream_request(etcd_model_stream *s, ew_slice request);

/* Takes the next response that is ready to be sent: false if there is none. free(3) its data. */
bool etcd_model_stream_take(etcd_model_stream *s, ew_slice *response);

/* One round of etcd's loop for watches that are behind: each gets one batch (P1). Etcd runs it every 100 ms. True while
 * a watch of the stream is still behind. */
bool etcd_model_stream_sync(etcd_model_stream *s);
bool etcd_model_stream_behind(const etcd_model_stream *s);

/* Etcd's progress ticker fires: watches that asked for it and are synced get a notification, behind their events. */
void etcd_model_stream_progress(etcd_model_stream *s);

/* The watch falls behind, as it does when its client is slow. */
void etcd_model_stream_lag(etcd_model_stream *s);

/* The watch is given events again from `revision` on, as after a restored snapshot (P5). */
void etcd_model_stream_replay(etcd_model_stream *s, int64_t revision);

/* The watch skips what comes next, and nobody is told (P6). */
void etcd_model_stream_lose(etcd_model_stream *s, int64_t revisions);

/* ---- history, for whoever checks ---- */

typedef struct etcd_model_record {
    ew_slice key, value;
    bool deleted;
    int64_t create_revision, mod_revision, version, lease;
    size_t previous; /* position of the key's record before this one, plus 1; 0: none */
} etcd_model_record;

int64_t etcd_model_revision(const etcd_model *m);
int64_t etcd_model_compacted(const etcd_model *m);

/* The records of one revision, in the order of the transaction; `*count` 0 for the first revision, which has none. */
const etcd_model_record *etcd_model_records(const etcd_model *m, int64_t revision, size_t *count);

/* The key as it stood at `revision`: NULL if absent. Valid until the model changes. */
const etcd_model_record *etcd_model_get(const etcd_model *m, ew_slice key, int64_t revision);

/* The key's record before `r`, deletions included; NULL if it is the first. */
const etcd_model_record *etcd_model_before(const etcd_model *m, const etcd_model_record *r);

/* Walks the keys in byte order: start with position 0. NULL behind the last. Cost: the keys that ever existed. */
const etcd_model_record *etcd_model_scan(const etcd_model *m, size_t *position, int64_t revision);

/* Whether the lease exists. */
bool etcd_model_lease_alive(const etcd_model *m, int64_t lease);

#endif
