/* Transactions. Concatenated protobuf messages parse as one merged message, so a builder holds the packed request, and
 * each function appends a packed request with one compare or one operation. */
#include "etcd/request.h"
#include "etcd/result.h"

#include "core/argument.h"
#include "core/buffer.h"
#include "core/slice.h"

#include <stdio.h>
#include <stdlib.h>

struct ew_txn {
    ew_error error; /* the first error */
    buffer request;
    int depth; /* of the nested transactions; 0: none */
};

ew_txn *ew_txn_new(void) {
    return calloc(1, sizeof(ew_txn));
}

void ew_txn_free(ew_txn *t) {
    if (!t)
        return;
    buffer_fini(&t->request);
    free(t);
}

static int append(ew_txn *t, const Pb__TxnRequest *piece) {
    if (!buffer_reserve(&t->request, pb__txn_request__get_packed_size(piece)))
        return ew_fail(&t->error, EW_ERR_NO_MEMORY, "transaction");
    t->request.len += pb__txn_request__pack(piece, t->request.data + t->request.len);
    return EW_OK;
}

static int append_compare(ew_txn *t, ew_keys keys, ew_relation relation, Pb__Compare *compare) {
    range r;
    if (t->error.code != EW_OK)
        return t->error.code;
    if ((unsigned)relation > EW_NOT_EQUAL)
        return ew_fail(&t->error, EW_ERR_INVALID, "compare: invalid relation %d", (int)relation);
    int status = range_init(&r, keys, &t->error);
    if (status == EW_OK) {
        Pb__TxnRequest piece = PB__TXN_REQUEST__INIT;
        compare->result = (Pb__Compare__CompareResult)relation; /* the same order as etcd's */
        compare->key = slice_bytes(r.key);
        compare->range_end = slice_bytes(r.end);
        piece.compare = &compare;
        piece.n_compare = 1;
        status = append(t, &piece);
    }
    range_fini(&r);
    return status;
}

ew_status ew_txn_if(ew_txn *t, ew_keys keys, ew_target target, ew_relation relation, int64_t number) {
    if (!t)
        return EW_ERR_NO_MEMORY;
    Pb__Compare c = PB__COMPARE__INIT;
    switch (target) {
    case EW_VERSION_OF:
        c.target = PB__COMPARE__COMPARE_TARGET__VERSION;
        c.target_union_case = PB__COMPARE__TARGET_UNION_VERSION;
        c.version = number;
        break;
    case EW_CREATE_REVISION:
        c.target = PB__COMPARE__COMPARE_TARGET__CREATE;
        c.target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
        c.create_revision = number;
        break;
    case EW_MOD_REVISION:
        c.target = PB__COMPARE__COMPARE_TARGET__MOD;
        c.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
        c.mod_revision = number;
        break;
    case EW_LEASE_OF:
        c.target = PB__COMPARE__COMPARE_TARGET__LEASE;
        c.target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
        c.lease = number;
        break;
    default:
        return t->error.code != EW_OK ? t->error.code
                                      : ew_fail(&t->error, EW_ERR_INVALID, "compare: invalid target %d", (int)target);
    }
    return append_compare(t, keys, relation, &c);
}

ew_status ew_txn_if_value(ew_txn *t, ew_keys keys, ew_relation relation, ew_slice value) {
    if (!t)
        return EW_ERR_NO_MEMORY;
    Pb__Compare c = PB__COMPARE__INIT;
    c.target = PB__COMPARE__COMPARE_TARGET__VALUE;
    c.target_union_case = PB__COMPARE__TARGET_UNION_VALUE;
    c.value = slice_bytes(value);
    return append_compare(t, keys, relation, &c);
}

static int append_op(ew_txn *t, ew_branch branch, Pb__RequestOp *op) {
    Pb__TxnRequest piece = PB__TXN_REQUEST__INIT;
    if (branch == EW_THEN) {
        piece.success = &op;
        piece.n_success = 1;
    } else if (branch == EW_ELSE) {
        piece.failure = &op;
        piece.n_failure = 1;
    } else {
        return ew_fail(&t->error, EW_ERR_INVALID, "transaction: invalid branch %d", (int)branch);
    }
    return append(t, &piece);
}

ew_status ew_txn_put(ew_txn *t, ew_branch branch, ew_slice key, ew_slice value, const ew_put_options *options) {
    if (!t)
        return EW_ERR_NO_MEMORY;
    if (t->error.code != EW_OK)
        return t->error.code;
    Pb__PutRequest put;
    Pb__RequestOp op = PB__REQUEST_OP__INIT;
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    int status = request_put(&put, key, value, options, &t->error);
    return status == EW_OK ? append_op(t, branch, &op) : status;
}

ew_status ew_txn_get(ew_txn *t, ew_branch branch, ew_keys keys, const ew_get_options *options) {
    if (!t)
        return EW_ERR_NO_MEMORY;
    if (t->error.code != EW_OK)
        return t->error.code;
    range r;
    Pb__RangeRequest get;
    Pb__RequestOp op = PB__REQUEST_OP__INIT;
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op.request_range = &get;
    int status = range_init(&r, keys, &t->error);
    if (status == EW_OK)
        status = request_get(&get, &r, options, &t->error);
    if (status == EW_OK)
        status = append_op(t, branch, &op);
    range_fini(&r);
    return status;
}

ew_status ew_txn_delete(ew_txn *t, ew_branch branch, ew_keys keys, const ew_delete_options *options) {
    if (!t)
        return EW_ERR_NO_MEMORY;
    if (t->error.code != EW_OK)
        return t->error.code;
    range r;
    Pb__DeleteRangeRequest delete;
    Pb__RequestOp op = PB__REQUEST_OP__INIT;
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &delete;
    int status = range_init(&r, keys, &t->error);
    if (status == EW_OK)
        status = request_delete(&delete, &r, options, &t->error);
    if (status == EW_OK)
        status = append_op(t, branch, &op);
    range_fini(&r);
    return status;
}

ew_status ew_txn_nest(ew_txn *t, ew_branch branch, const ew_txn *inner) {
    if (!t)
        return EW_ERR_NO_MEMORY;
    if (t->error.code != EW_OK)
        return t->error.code;
    if (!inner) /* creating it failed; the outer transaction must not be sent without it */
        return ew_fail(&t->error, EW_ERR_NO_MEMORY, "nested transaction");
    if (inner->error.code != EW_OK) {
        t->error = inner->error;
        return t->error.code;
    }
    if (inner->depth >= EW_TXN_DEPTH_MAX)
        return ew_fail(&t->error, EW_ERR_TOO_LARGE, "transaction: nested %d deep, at most %d are allowed",
                       inner->depth + 1, EW_TXN_DEPTH_MAX);
    Pb__TxnRequest *unpacked = pb__txn_request__unpack(NULL, inner->request.len, inner->request.data);
    if (!unpacked)
        return ew_fail(&t->error, EW_ERR_NO_MEMORY, "transaction");
    Pb__RequestOp op = PB__REQUEST_OP__INIT;
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op.request_txn = unpacked;
    int status = append_op(t, branch, &op);
    pb__txn_request__free_unpacked(unpacked, NULL);
    if (status == EW_OK && t->depth <= inner->depth)
        t->depth = inner->depth + 1;
    return status;
}

/* ---- sending ---- */

static bool fits(const Pb__TxnRequest *request, const Pb__TxnResponse *answer);

/* Operations of the same kind have the same number in requests and in responses. */
static bool op_fits(const Pb__RequestOp *op, const Pb__ResponseOp *answer) {
    if ((int)op->request_case != (int)answer->response_case)
        return false;
    return op->request_case != PB__REQUEST_OP__REQUEST_REQUEST_TXN || fits(op->request_txn, answer->response_txn);
}

/* Returns whether there is one response of the right kind for each operation of the branch. Readers of the results rely
 * on it. */
static bool fits(const Pb__TxnRequest *request, const Pb__TxnResponse *answer) {
    Pb__RequestOp **ops = answer->succeeded ? request->success : request->failure;
    size_t count = answer->succeeded ? request->n_success : request->n_failure;
    bool good = count == answer->n_responses;
    for (size_t i = 0; good && i < count; i++)
        good = op_fits(ops[i], answer->responses[i]);
    return good;
}

static int check_answer(const ew_txn *t, const Pb__TxnResponse *answer, ew_error *err) {
    Pb__TxnRequest *request = pb__txn_request__unpack(NULL, t->request.len, t->request.data);
    if (!request)
        return result_no_memory(answer->base.descriptor, err);
    bool good = fits(request, answer);
    pb__txn_request__free_unpacked(request, NULL);
    return good ? EW_OK
                : ew_fail(err, EW_ERR_BAD_ANSWER,
                          "transaction: invalid response: the responses do not match the operations");
}

ew_status ew_client_txn(ew_client *client, const ew_txn *t, ew_result **out, ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    if (out)
        *out = NULL;
    if (!t)
        return ew_fail(err, EW_ERR_NO_MEMORY, "transaction");
    if (t->error.code != EW_OK)
        return ew_fail(err, t->error.code, "%s", t->error.detail);
    Pb__TxnResponse *answer;
    ew_slice request = buffer_bytes(&t->request);
    int status = blocking_call(client, ETCD_TXN, request, &pb__txn_response__descriptor, &answer, err);
    if (status != EW_OK)
        return status;
    status = check_answer(t, answer, err);
    if (status != EW_OK) {
        pb__txn_response__free_unpacked(answer, NULL);
        return status;
    }
    return result_take(out, &answer->base, err);
}
