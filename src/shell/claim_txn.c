#include "shell/claim_txn.h"

#include "core/slice.h"

#include <etcdworker/types.h>

static void init_put(Pb__RequestOp *op, Pb__PutRequest *put, ProtobufCBinaryData key, const char *value,
                     int64_t lease) {
    pb__put_request__init(put);
    put->key = key;
    put->value = slice_bytes(ew_str(value));
    put->lease = lease;
    pb__request_op__init(op);
    op->request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
}

void put_if_make(put_if *t, const char *key_text, const char *value, int64_t lease, int64_t expected) {
    const ProtobufCBinaryData key = slice_bytes(ew_str(key_text));
    pb__compare__init(&t->compare);
    t->compare.key = key;
    t->compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    t->compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    t->compare.mod_revision = expected;
    init_put(&t->then, &t->put, key, value, lease);
    pb__range_request__init(&t->range);
    t->range.key = key;
    pb__request_op__init(&t->otherwise);
    t->otherwise.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    t->otherwise.request_range = &t->range;
    pb__txn_request__init(&t->txn);
    t->compares[0] = &t->compare;
    t->thens[0] = &t->then;
    t->otherwises[0] = &t->otherwise;
    t->txn.compare = t->compares;
    t->txn.success = t->thens;
    t->txn.failure = t->otherwises;
    t->txn.n_compare = t->txn.n_success = t->txn.n_failure = 1;
}

void put_always_make(put_if *t, const char *key, const char *value, int64_t lease) {
    put_if_make(t, key, value, lease, 0);
    t->txn.n_compare = t->txn.n_failure = 0;
}

static bool read_key(const Pb__ResponseOp *op, const char *key, const char *value, put_if_result *out) {
    if (op->response_case != PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE || op->response_range->n_kvs > 1)
        return false;
    if (op->response_range->n_kvs == 0)
        return true;
    const Pb__KeyValue *kv = op->response_range->kvs[0];
    out->revision = kv->mod_revision;
    out->lease = kv->lease;
    out->same = ew_slice_equal(slice_of(kv->value), ew_str(value));
    return ew_slice_equal(slice_of(kv->key), ew_str(key)) && kv->mod_revision > 0;
}

bool put_if_read(const Pb__TxnResponse *r, const char *key, const char *value, put_if_result *out) {
    *out = (put_if_result){.done = r->succeeded};
    if (!r->header || r->header->revision <= 0 || r->n_responses != 1)
        return false;
    if (!r->succeeded)
        return read_key(r->responses[0], key, value, out);
    out->revision = r->header->revision;
    return r->responses[0]->response_case == PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
}

void receipt_removal_make(receipt_removal *t, const char *receipt_key, int64_t lease) {
    const ProtobufCBinaryData key = slice_bytes(ew_str(receipt_key));
    pb__compare__init(&t->compare);
    t->compare.key = key;
    t->compare.target = PB__COMPARE__COMPARE_TARGET__LEASE;
    t->compare.target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
    t->compare.lease = lease;
    pb__delete_range_request__init(&t->range);
    t->range.key = key;
    pb__request_op__init(&t->then);
    t->then.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    t->then.request_delete_range = &t->range;
    pb__txn_request__init(&t->txn);
    t->compares[0] = &t->compare;
    t->thens[0] = &t->then;
    t->txn.compare = t->compares;
    t->txn.success = t->thens;
    t->txn.n_compare = t->txn.n_success = 1;
}
