#include "etcd/result.h"

#include "core/unpack.h"

#include <stdlib.h>

/* The nesting of a response: two messages for each transaction, then an operation, its range and a key. */
_Static_assert(UNPACK_DEPTH_MAX >= 2 * EW_TXN_DEPTH_MAX + 4, "the response to each request can be unpacked");

struct ew_result {
    ProtobufCMessage *owned; /* of the outermost result only */
    int64_t revision, total;
    bool more, succeeded;
    ew_kv *kvs;
    size_t count;
    ew_result *ops;
    size_t op_count;
};

bool result_kv(ew_kv *out, const Pb__KeyValue *kv) {
    *out = (ew_kv){.key = {kv->key.data, kv->key.len},
                   .value = {kv->value.data, kv->value.len},
                   .create_revision = kv->create_revision,
                   .mod_revision = kv->mod_revision,
                   .version = kv->version,
                   .lease = kv->lease};
    return kv->key.len > 0 && kv->mod_revision > 0 && kv->create_revision > 0 &&
           kv->create_revision <= kv->mod_revision && kv->version > 0;
}

static int take_kvs(ew_result *r, Pb__KeyValue *const *kvs, size_t count) {
    if (count == 0)
        return EW_OK;
    r->kvs = calloc(count, sizeof *r->kvs);
    if (!r->kvs)
        return EW_ERR_NO_MEMORY;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        if (!result_kv(&r->kvs[i], kvs[i]))
            return EW_ERR_BAD_ANSWER;
    }
    return EW_OK;
}

static int take_range(ew_result *r, const Pb__RangeResponse *m) {
    r->total = m->count;
    r->more = m->more;
    if (m->count < 0 || (uint64_t)m->count < m->n_kvs)
        return EW_ERR_BAD_ANSWER;
    return take_kvs(r, m->kvs, m->n_kvs);
}

static int take_put(ew_result *r, const Pb__PutResponse *m) {
    r->total = 1;
    return take_kvs(r, &m->prev_kv, m->prev_kv ? 1 : 0);
}

static int take_delete(ew_result *r, const Pb__DeleteRangeResponse *m) {
    r->total = m->deleted;
    return m->deleted < 0 ? EW_ERR_BAD_ANSWER : take_kvs(r, m->prev_kvs, m->n_prev_kvs);
}

static int take_txn(ew_result *r, const Pb__TxnResponse *m, int depth);

static int take_op(ew_result *r, const Pb__ResponseOp *op, int depth) {
    switch (op->response_case) {
    case PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
        return take_range(r, op->response_range);
    case PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
        return take_put(r, op->response_put);
    case PB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
        return take_delete(r, op->response_delete_range);
    case PB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
        return take_txn(r, op->response_txn, depth + 1);
    default:
        return EW_ERR_BAD_ANSWER;
    }
}

static int take_txn(ew_result *r, const Pb__TxnResponse *m, int depth) {
    r->succeeded = m->succeeded;
    if (m->n_responses == 0)
        return EW_OK;
    if (depth > EW_TXN_DEPTH_MAX) /* a response is not deeper than its request */
        return EW_ERR_BAD_ANSWER;
    r->ops = calloc(m->n_responses, sizeof *r->ops);
    if (!r->ops)
        return EW_ERR_NO_MEMORY;
    r->op_count = m->n_responses;
    for (size_t i = 0; i < r->op_count; i++) {
        r->ops[i].revision = r->revision; /* not every server sets the headers of the operations */
        int status = take_op(&r->ops[i], m->responses[i], depth);
        if (status != EW_OK)
            return status;
    }
    return EW_OK;
}

static int take(ew_result *r) {
    const void *m = r->owned;
    const ProtobufCMessageDescriptor *type = r->owned->descriptor;
    r->revision = ((const Pb__TxnResponse *)m)->header->revision; /* the first field of each response */
    if (r->revision <= 0)
        return EW_ERR_BAD_ANSWER;
    if (type == &pb__range_response__descriptor)
        return take_range(r, m);
    if (type == &pb__put_response__descriptor)
        return take_put(r, m);
    if (type == &pb__delete_range_response__descriptor)
        return take_delete(r, m);
    return take_txn(r, m, 0);
}

int result_no_memory(const ProtobufCMessageDescriptor *type, ew_error *err) {
    bool reads = type == &pb__range_response__descriptor || type == &pb__lease_time_to_live_response__descriptor;
    return ew_fail(err, reads ? EW_ERR_NO_MEMORY : EW_ERR_UNKNOWN_OUTCOME, "%s: no memory for the response",
                   type->short_name);
}

static int finish(ew_result **out, ew_result *r, int status, ew_error *err) {
    const ProtobufCMessageDescriptor *type = r->owned->descriptor;
    if (status == EW_OK && out) {
        *out = r;
        return EW_OK;
    }
    ew_result_free(r);
    if (status == EW_ERR_NO_MEMORY)
        return result_no_memory(type, err);
    return status == EW_OK ? EW_OK : ew_fail(err, status, "%s: invalid response", type->short_name);
}

int result_take(ew_result **out, ProtobufCMessage *answer, ew_error *err) {
    const ProtobufCMessageDescriptor *type = answer->descriptor;
    ew_result *r = calloc(1, sizeof *r);
    if (!r) {
        protobuf_c_message_free_unpacked(answer, NULL);
        return result_no_memory(type, err);
    }
    r->owned = answer;
    return finish(out, r, take(r), err);
}

int result_take_keys(ew_result **out, ProtobufCMessage *answer, const Pb__ResponseHeader *header,
                     const ProtobufCBinaryData *keys, size_t count, ew_error *err) {
    ew_result *r = calloc(1, sizeof *r);
    if (r)
        r->kvs = calloc(count + 1, sizeof *r->kvs);
    if (!r || !r->kvs) {
        const ProtobufCMessageDescriptor *type = answer->descriptor;
        free(r);
        protobuf_c_message_free_unpacked(answer, NULL);
        return result_no_memory(type, err);
    }
    r->owned = answer;
    r->revision = header->revision;
    r->total = (int64_t)count;
    r->count = count;
    for (size_t i = 0; i < count; i++)
        r->kvs[i].key = (ew_slice){keys[i].data, keys[i].len};
    return finish(out, r, EW_OK, err);
}

static void free_parts(ew_result *r) {
    for (size_t i = 0; i < r->op_count; i++)
        free_parts(&r->ops[i]);
    free(r->ops);
    free(r->kvs);
}

void ew_result_free(ew_result *r) {
    if (!r)
        return;
    free_parts(r);
    protobuf_c_message_free_unpacked(r->owned, NULL);
    free(r);
}

int64_t ew_result_revision(const ew_result *r) {
    if (!r)
        return 0;
    return r->revision;
}

size_t ew_result_count(const ew_result *r) {
    if (!r)
        return 0;
    return r->count;
}

const ew_kv *ew_result_at(const ew_result *r, size_t i) {
    if (!r)
        return NULL;
    return i < r->count ? &r->kvs[i] : NULL;
}

int64_t ew_result_total(const ew_result *r) {
    if (!r)
        return 0;
    return r->total;
}

bool ew_result_more(const ew_result *r) {
    if (!r)
        return false;
    return r->more;
}

bool ew_result_succeeded(const ew_result *r) {
    if (!r)
        return false;
    return r->succeeded;
}

const ew_result *ew_result_op(const ew_result *r, size_t i) {
    if (!r)
        return NULL;
    return i < r->op_count ? &r->ops[i] : NULL;
}
