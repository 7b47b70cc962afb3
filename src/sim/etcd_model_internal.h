/* Declarations that the files of the model share. */
#ifndef SIM_ETCD_MODEL_INTERNAL_H
#define SIM_ETCD_MODEL_INTERNAL_H

#include "etcd.pb-c.h"
#include "sim/etcd_model.h"
#include "sim/memory.h"

typedef struct model_key {
    ew_slice name;
    size_t last; /* position of its newest record, plus 1 */
} model_key;

typedef struct model_lease {
    int64_t id, ttl_s, expires_ms;
    int64_t granted, ended; /* the revisions at which it was granted and ended */
} model_lease;

struct etcd_model {
    etcd_model_config config;
    bool full;
    sim_arena arena; /* for one call's request and response */
    int64_t now_ms;

    etcd_model_record *records; /* in the order of history */
    size_t record_count, record_capacity;
    size_t *firsts; /* firsts[r]: the position of the first record of revision r */
    size_t first_capacity;
    model_key *keys; /* in byte order */
    size_t key_count, key_capacity;
    int64_t revision, compacted;
    bool writing; /* records of revision + 1 may exist; reads of `revision` do not see them */

    model_lease *leases;
    size_t lease_count, lease_capacity;
    model_lease *past_leases; /* leases that have ended, for a restore to an earlier state */
    size_t past_lease_count, past_lease_capacity;
    int64_t next_lease;

    etcd_model_stream *streams;
};

/* ---- history (etcd_model.c) ---- */

/* Returns the position of the key, or the position at which it would be inserted. */
size_t model_find(const etcd_model *m, ew_slice key, bool *found);
const etcd_model_record *model_at(const etcd_model *m, const model_key *k, int64_t revision);

/* A write transaction: any number of puts and deletes between begin and commit. */
void model_begin(etcd_model *m);
void model_put(etcd_model *m, ew_slice key, ew_slice value, int64_t lease);
size_t model_delete_range(etcd_model *m, ew_slice key, ew_slice range_end);
int64_t model_view(const etcd_model *m); /* the revision that a read sees now; a transaction sees its own writes */
void model_commit(etcd_model *m);

/* Converts [key, range_end) to positions [*from, *to). Handles etcd's "\0" and empty ends. */
void model_bounds(const etcd_model *m, ew_slice key, ew_slice range_end, size_t *from, size_t *to);

Pb__ResponseHeader *model_header(etcd_model *m, int64_t revision);
Pb__KeyValue *model_kv(etcd_model *m, const etcd_model_record *r, bool keys_only);
etcd_model_answer model_fail(int status, const char *detail);
etcd_model_answer model_answer(etcd_model *m, const ProtobufCMessage *response);

/* ---- requests (etcd_model_kv.c, etcd_model_txn.c, etcd_model_lease.c) ---- */

etcd_model_answer model_range_call(etcd_model *m, ew_slice request, int64_t as_of);
etcd_model_answer model_put_call(etcd_model *m, ew_slice request);
etcd_model_answer model_delete_call(etcd_model *m, ew_slice request);
etcd_model_answer model_txn_call(etcd_model *m, ew_slice request);
etcd_model_answer model_compact_call(etcd_model *m, ew_slice request);
etcd_model_answer model_lease_call(etcd_model *m, etcd_model_method method, ew_slice request);

/* The parts that a transaction shares with the plain calls. The checks return a status other than EW_OK before anything
 * is changed. */
etcd_model_answer model_check_range(const etcd_model *m, const Pb__RangeRequest *r, int64_t as_of);
etcd_model_answer model_check_put(const Pb__PutRequest *r);
etcd_model_answer model_check_space(const etcd_model *m);
etcd_model_answer model_check_put_state(const etcd_model *m, const Pb__PutRequest *r); /* checked when it is applied */
Pb__RangeResponse *model_do_range(etcd_model *m, const Pb__RangeRequest *r, int64_t as_of);
Pb__PutResponse *model_do_put(etcd_model *m, const Pb__PutRequest *r);
Pb__DeleteRangeResponse *model_do_delete(etcd_model *m, const Pb__DeleteRangeRequest *r);

void model_restore_leases(etcd_model *m);
model_lease *model_lease_find(const etcd_model *m, int64_t id);

/* ---- watches (etcd_model_watch.c) ---- */

/* Handles the commit of revision `m->revision`. */
void model_notify(etcd_model *m);

#endif
