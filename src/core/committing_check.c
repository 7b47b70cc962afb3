/* What a unit may write: puts and deletes of single keys below the prefix, and only reads in its else branch. The
 * sender of a batch may have an error, and etcd executes every request. */
#include "core/committing_private.h"

#include "core/arena.h"
#include "core/group_scope.h"
#include "core/slice.h"
#include "core/unpack.h"

/* The records of clients that submit. */
static bool is_record(const committing_config *config, ew_slice key) {
    static const char folder[] = "/submit/";
    const size_t len = config->receipt_prefix.len, whole = len + sizeof folder - 1;
    return len > 0 && key.len > whole && memcmp(key.data, config->receipt_prefix.data, len) == 0 &&
           memcmp((const char *)key.data + len, folder, sizeof folder - 1) == 0;
}

static bool owns(const committing_config *config, ew_slice key) {
    const group_scope scope = {.prefix = config->prefix,
                               .textual = config->textual,
                               .counter_key = config->counter ? config->counter_key : (ew_slice){"", 0},
                               .receipt_prefix = config->receipt_prefix};
    return group_scope_owns(&scope, key);
}

/* Returns the reason why this operation must not be part of a transaction, or NULL. Sets `*key` to its key. */
static const char *check_op(const committing_config *config, const Pb__RequestOp *op, ew_slice *key) {
    *key = (ew_slice){"", 0};
    if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        *key = slice_of(op->request_put->key);
        return owns(config, *key) || is_record(config, *key) ? NULL : "puts a key outside the prefix";
    }
    if (op->request_case != PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
        return "has an operation that is neither a put nor a delete";
    *key = slice_of(op->request_delete_range->key);
    if (op->request_delete_range->range_end.len > 0)
        return "deletes a range";
    return owns(config, *key) ? NULL : "deletes a key outside the prefix";
}

static const char *check_txn(const committing_config *config, const Pb__TxnRequest *txn, ew_slice *key) {
    const char *why = NULL;
    for (size_t i = 0; i < txn->n_success && !why; i++)
        why = check_op(config, txn->success[i], key);
    for (size_t i = 0; i < txn->n_failure && !why; i++) {
        if (txn->failure[i]->request_case != PB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            why = "has an operation other than a read in its else branch";
    }
    return why;
}

int committing_check_unit(const committing_config *config, ew_slice unit, size_t number, char *detail, size_t size) {
    arena memory;
    ew_slice key = {"", 0};
    char text[64];
    arena_init(&memory);
    const Pb__TxnRequest *txn = unpack_is_bounded(&pb__txn_request__descriptor, unit)
                                    ? pb__txn_request__unpack(&memory.allocator, unit.len, unit.data)
                                    : NULL;
    const char *why = txn ? check_txn(config, txn, &key) : "is not a TxnRequest";
    if (why)
        snprintf(detail, size, "PATCHES: unit %zu %s%s%s", number, why, key.len > 0 ? ": " : "",
                 group_key_text(key, text, sizeof text));
    int status = memory.failed ? EW_ERR_NO_MEMORY : why ? EW_ERR_BAD_MESSAGE : EW_OK;
    arena_fini(&memory);
    return status;
}
