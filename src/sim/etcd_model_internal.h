/* What the files of the model share. */
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
    int64_t granted, ended; /* the revision then */
} model_lease;

struct etcd_model {
    etcd_model_config config;
    bool full;
    sim_arena arena; /* one call's request and answer */
    int64_t now_ms;

    etcd_model_record *records; /* in the order of history */
    size_t record_count, record_capacity;
    size_t *firsts; /* firsts[r]: the position of the first record of revision r */
    size_t first_capacity;
    model_key *keys; /* in byte order */
    size_t key_count, key_capacity;
    int64_t revision, compacted;
    bool writing; /* records of revision + 1 may be there, which readers of `revision` do not see */

    model_lease *leases;
    size_t lease_count, lease_capacity;
    model_lease *past_leases; /* that have ended, for a restore of the time before */
    size_t past_lease_count, past_lease_capacity;
    int64_t next_lease;

    etcd_model_stream *streams;
};

/* ---- history (etcd_model.c) ---- */

/* The position at which the key is, or would be. */
size_t model_find(const etcd_model *m, ew_slice key, bool *found);
const etcd_model_record *model_at(const etcd_model *m, const model_key *k, int64_t revision);

/* A write transaction: any number of puts and deletes between begin and commit. */
void model_begin(etcd_model *m);
void model_put(etcd_model *m, ew_slice key, ew_slice value, int64_t lease);
size_t model_delete_range(etcd_model *m, ew_slice key, ew_slice range_end);
int64_t model_view(const etcd_model *m); /* the revision that a read sees now: within a transaction its own writes */
void model_commit(etcd_model *m);

/* The keys of [key, range_end) as positions [*from, *to); etcd's "\0" and empty ends are understood. */
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

/* The parts that a transaction shares with the plain calls. The checks answer a status other than EW_OK before anything
 * is done. */
etcd_model_answer model_check_range(const etcd_model *m, const Pb__RangeRequest *r, int64_t as_of);
etcd_model_answer model_check_put(const Pb__PutRequest *r);
etcd_model_answer model_check_space(const etcd_model *m);
etcd_model_answer model_check_put_state(const etcd_model *m, const Pb__PutRequest *r); /* as it is to be applied */
Pb__RangeResponse *model_do_range(etcd_model *m, const Pb__RangeRequest *r, int64_t as_of);
Pb__PutResponse *model_do_put(etcd_model *m, const Pb__PutRequest *r);
Pb__DeleteRangeResponse *model_do_delete(etcd_model *m, const Pb__DeleteRangeRequest *r);

void model_restore_leases(etcd_model *m);
model_lease *model_lease_find(const etcd_model *m, int64_t id);

/* ---- watches (etcd_model_watch.c) ---- */

/* Revision `m->revision` has just been committed. */
void model_notify(etcd_model *m);

#endif
