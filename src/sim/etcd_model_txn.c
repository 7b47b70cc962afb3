/* Txn: what etcd refuses before it compares, how it compares, and how it applies (ETCD P13). */
#include "sim/etcd_model_internal.h"

#include "core/slice.h"

static const char no_key[] = "etcdserver: key is not provided";
static const char duplicate[] = "etcdserver: duplicate key given in txn request";

/* ---- refused before the compares ---- */

static bool op_covers(const Pb__RequestOp *op, ew_slice key) {
    if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT)
        return ew_slice_equal(slice_of(op->request_put->key), key);
    if (op->request_case != PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
        return false;
    ew_slice from = slice_of(op->request_delete_range->key), end = slice_of(op->request_delete_range->range_end);
    if (end.len == 0)
        return ew_slice_equal(from, key);
    /* etcd treats an open end ("\0") as an interval that ends before it begins, so it covers no key here. */
    return slice_compare(key, from) >= 0 && slice_compare(key, end) < 0;
}

/* A key that is put must not be put again or deleted in the same list; two deletions may overlap. */
static bool has_duplicates(Pb__RequestOp **ops, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != PB__REQUEST_OP__REQUEST_REQUEST_PUT)
            continue;
        for (size_t j = 0; j < count; j++)
            if (j != i && op_covers(ops[j], slice_of(ops[i]->request_put->key)))
                return true;
    }
    return false;
}

static etcd_model_answer check_op(const Pb__RequestOp *op) {
    switch (op->request_case) {
    case PB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return op->request_range->key.len ? model_fail(EW_OK, "") : model_fail(EW_ERR_INVALID, no_key);
    case PB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return model_check_put(op->request_put);
    case PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return op->request_delete_range->key.len ? model_fail(EW_OK, "") : model_fail(EW_ERR_INVALID, no_key);
    case PB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return model_fail(EW_ERR_UNSUPPORTED, "a transaction inside a transaction is not modelled");
    default:
        return model_fail(EW_ERR_INVALID, "etcdserver: key not found"); /* an operation without a request */
    }
}

static etcd_model_answer check_ops(Pb__RequestOp **ops, size_t count) {
    for (size_t i = 0; i < count; i++) {
        etcd_model_answer checked = check_op(ops[i]);
        if (checked.status)
            return checked;
    }
    return has_duplicates(ops, count) ? model_fail(EW_ERR_INVALID, duplicate) : model_fail(EW_OK, "");
}

/* Checks both lists, because etcd checks before it compares. */
static bool puts_any(Pb__RequestOp **ops, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT)
            return true;
    return false;
}

static etcd_model_answer check_request(const etcd_model *m, const Pb__TxnRequest *r, ew_slice request) {
    size_t limit = m->config.max_txn_ops;
    if (r->n_compare > limit || r->n_success > limit || r->n_failure > limit)
        return model_fail(EW_ERR_TOO_LARGE, "etcdserver: too many operations in txn request");
    for (size_t i = 0; i < r->n_compare; i++)
        if (r->compare[i]->key.len == 0)
            return model_fail(EW_ERR_INVALID, no_key);
    etcd_model_answer checked = check_ops(r->success, r->n_success);
    if (checked.status == EW_OK)
        checked = check_ops(r->failure, r->n_failure);
    if (checked.status == EW_OK && request.len > m->config.max_request_bytes)
        checked = model_fail(EW_ERR_TOO_LARGE, "etcdserver: request is too large");
    if (checked.status == EW_OK && (puts_any(r->success, r->n_success) || puts_any(r->failure, r->n_failure)))
        checked = model_check_space(m);
    return checked;
}

/* ---- comparing ---- */

static bool holds(Pb__Compare__CompareResult result, int order) {
    switch (result) {
    case PB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case PB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case PB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case PB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    default:
        return true; /* as etcd's switch falls through */
    }
}

static int64_t expected(const Pb__Compare *c, Pb__Compare__TargetUnionCase wanted) {
    if (c->target_union_case != wanted)
        return 0;
    return c->version; /* the numeric members of the union have the same place */
}

static bool compare_one(const Pb__Compare *c, const etcd_model_record *kv) {
    int64_t have = 0, want = 0;
    switch (c->target) {
    case PB__COMPARE__COMPARE_TARGET__VALUE: {
        bool given = c->target_union_case == PB__COMPARE__TARGET_UNION_VALUE;
        return holds(c->result, slice_compare(kv->value, given ? slice_of(c->value) : (ew_slice){"", 0}));
    }
    case PB__COMPARE__COMPARE_TARGET__VERSION:
        have = kv->version, want = expected(c, PB__COMPARE__TARGET_UNION_VERSION);
        break;
    case PB__COMPARE__COMPARE_TARGET__CREATE:
        have = kv->create_revision, want = expected(c, PB__COMPARE__TARGET_UNION_CREATE_REVISION);
        break;
    case PB__COMPARE__COMPARE_TARGET__MOD:
        have = kv->mod_revision, want = expected(c, PB__COMPARE__TARGET_UNION_MOD_REVISION);
        break;
    case PB__COMPARE__COMPARE_TARGET__LEASE:
        have = kv->lease, want = expected(c, PB__COMPARE__TARGET_UNION_LEASE);
        break;
    default:
        return true;
    }
    return holds(c->result, (have > want) - (have < want));
}

static bool compare_range(const etcd_model *m, const Pb__Compare *c) {
    size_t from, to;
    model_bounds(m, slice_of(c->key), slice_of(c->range_end), &from, &to);
    bool any = false;
    for (size_t i = from; i < to; i++) {
        const etcd_model_record *kv = model_at(m, &m->keys[i], m->revision);
        if (!kv)
            continue;
        any = true;
        if (!compare_one(c, kv))
            return false;
    }
    if (any)
        return true;
    /* A VALUE compare on an absent key never holds; the other compares use 0 (P13). */
    const etcd_model_record missing = {0};
    return c->target != PB__COMPARE__COMPARE_TARGET__VALUE && compare_one(c, &missing);
}

/* ---- applying ---- */

/* etcd checks the chosen list before it applies any of it: first the puts' leases and keys, then the reads' revisions.
 */
static etcd_model_answer check_state(const etcd_model *m, Pb__RequestOp **ops, size_t count) {
    etcd_model_answer checked = model_fail(EW_OK, "");
    for (size_t i = 0; i < count && checked.status == EW_OK; i++)
        if (ops[i]->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT)
            checked = model_check_put_state(m, ops[i]->request_put);
    for (size_t i = 0; i < count && checked.status == EW_OK; i++)
        if (ops[i]->request_case == PB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            checked = model_check_range(m, ops[i]->request_range, m->revision);
    return checked;
}

static Pb__ResponseOp *apply_op(etcd_model *m, const Pb__RequestOp *op) {
    Pb__ResponseOp *done = sim_arena_alloc(&m->arena, sizeof *done);
    pb__response_op__init(done);
    Pb__ResponseHeader *header = NULL;
    if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
        done->response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        done->response_range = model_do_range(m, op->request_range, model_view(m));
        header = done->response_range->header;
    } else if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        done->response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        done->response_put = model_do_put(m, op->request_put);
        header = done->response_put->header;
    } else {
        done->response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        done->response_delete_range = model_do_delete(m, op->request_delete_range);
        header = done->response_delete_range->header;
    }
    header->cluster_id = header->member_id = header->raft_term = 0; /* inner headers only have the revision */
    return done;
}

etcd_model_answer model_txn_call(etcd_model *m, ew_slice request) {
    const Pb__TxnRequest *r = pb__txn_request__unpack(&m->arena.allocator, request.len, request.data);
    if (!r)
        return model_fail(EW_ERR_INVALID, "the request is malformed");
    etcd_model_answer checked = check_request(m, r, request);
    if (checked.status)
        return checked;
    bool succeeded = true;
    for (size_t i = 0; i < r->n_compare && succeeded; i++)
        succeeded = compare_range(m, r->compare[i]);
    Pb__RequestOp **ops = succeeded ? r->success : r->failure;
    size_t count = succeeded ? r->n_success : r->n_failure;
    checked = check_state(m, ops, count);
    if (checked.status)
        return checked;

    Pb__TxnResponse response = PB__TXN_RESPONSE__INIT;
    response.succeeded = succeeded;
    response.responses = sim_arena_alloc(&m->arena, (count + 1) * sizeof *response.responses);
    model_begin(m);
    for (size_t i = 0; i < count; i++)
        response.responses[response.n_responses++] = apply_op(m, ops[i]);
    model_commit(m);
    response.header = model_header(m, m->revision);
    return model_answer(m, &response.base);
}
