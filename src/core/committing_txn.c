/* The bytes of a transaction: the units' fragments unchanged, followed by what the committer adds. protobuf merges
 * messages by concatenation: appending the bytes of fragments joins them, and repeated fields keep their order. */
#include "core/committing_private.h"

#include "core/bug.h"
#include "core/slice.h"

#include <inttypes.h>
#include <stdlib.h>

/* What the committer adds, as one message: at most the counter and the receipt. */
typedef struct own_txn {
    Pb__TxnRequest txn;
    Pb__Compare compares[2], *compare_list[2];
    Pb__RequestOp ops[2], *op_list[2];
    Pb__PutRequest puts[2];
    Pb__RequestOp reads[2], *read_list[2];
    Pb__RangeRequest ranges[2];
    char counter_now[24], counter_next[24], receipt[24];
} own_txn;

static Pb__Compare *add_compare(own_txn *t, ew_slice key) {
    size_t i = t->txn.n_compare++;
    pb__compare__init(&t->compares[i]);
    t->compares[i].key = slice_bytes(key);
    t->compares[i].result = PB__COMPARE__COMPARE_RESULT__EQUAL;
    t->compare_list[i] = &t->compares[i];
    return &t->compares[i];
}

static Pb__PutRequest *add_put(own_txn *t, ew_slice key, const char *value) {
    size_t i = t->txn.n_success++;
    pb__request_op__init(&t->ops[i]);
    pb__put_request__init(&t->puts[i]);
    t->ops[i].request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    t->ops[i].request_put = &t->puts[i];
    t->puts[i].key = slice_bytes(key);
    t->puts[i].value = slice_bytes(ew_str(value));
    t->op_list[i] = &t->ops[i];
    return &t->puts[i];
}

static void add_read(own_txn *t, ew_slice key) {
    size_t i = t->txn.n_failure++;
    pb__request_op__init(&t->reads[i]);
    pb__range_request__init(&t->ranges[i]);
    t->reads[i].request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    t->reads[i].request_range = &t->ranges[i];
    t->ranges[i].key = slice_bytes(key);
    t->read_list[i] = &t->reads[i];
}

/* SEMANTICS 24: the counter is always compared, and put once if the transaction deletes. */
static void add_counter(own_txn *t, ew_slice key, const committing_own *own) {
    Pb__Compare *compare = add_compare(t, key);
    if (own->counter > 0) {
        snprintf(t->counter_now, sizeof t->counter_now, "%" PRId64, own->counter);
        compare->target = PB__COMPARE__COMPARE_TARGET__VALUE;
        compare->target_union_case = PB__COMPARE__TARGET_UNION_VALUE;
        compare->value = slice_bytes(ew_str(t->counter_now));
    } else {
        compare->target = PB__COMPARE__COMPARE_TARGET__CREATE;
        compare->target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = 0;
    }
    if (EW_BUG(counter_not_compared)) { /* always holds */
        compare->target = PB__COMPARE__COMPARE_TARGET__CREATE;
        compare->target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->result = PB__COMPARE__COMPARE_RESULT__GREATER;
        compare->create_revision = -1;
    }
    if (own->deletes) {
        snprintf(t->counter_next, sizeof t->counter_next, "%" PRId64, own->counter + 1);
        add_put(t, key, t->counter_next);
    }
    add_read(t, key);
}

/* The receipt is compared by its mod_revision, which no client can write twice. A worker that took over this one's id
 * after its lease expired may have reached the same sequence number, but never at the same revision. 0 means absent. */
static void add_receipt(own_txn *t, const committing_config *config, const committing_own *own) {
    Pb__Compare *compare = add_compare(t, config->receipt_key);
    compare->target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare->target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->mod_revision = own->receipt_mod;
    snprintf(t->receipt, sizeof t->receipt, "%" PRId64, own->sequence);
    add_put(t, config->receipt_key, t->receipt)->lease = own->lease;
    add_read(t, config->receipt_key);
}

static void own_init(own_txn *t, const committing_config *config, const committing_own *own) {
    pb__txn_request__init(&t->txn);
    t->txn.compare = t->compare_list;
    t->txn.success = t->op_list;
    t->txn.failure = t->read_list;
    if (config->counter)
        add_counter(t, config->counter_key, own);
    if (config->exactly_once)
        add_receipt(t, config, own);
}

size_t committing_own_bytes(const committing_config *config, const committing_own *own) {
    own_txn t;
    own_init(&t, config, own);
    return pb__txn_request__get_packed_size(&t.txn);
}

bool committing_append_own(const committing_config *config, const committing_own *own, buffer *b) {
    own_txn t;
    own_init(&t, config, own);
    if (!buffer_reserve(b, pb__txn_request__get_packed_size(&t.txn)))
        return false;
    b->len += pb__txn_request__pack(&t.txn, b->data + b->len);
    return true;
}

/* ---- the fence conditions of every transaction ---- */

static bool append_read(buffer *b, ProtobufCBinaryData key) {
    own_txn t;
    pb__txn_request__init(&t.txn);
    t.txn.failure = t.read_list;
    add_read(&t, (ew_slice){key.data, key.len});
    if (!buffer_reserve(b, pb__txn_request__get_packed_size(&t.txn)))
        return false;
    b->len += pb__txn_request__pack(&t.txn, b->data + b->len);
    return true;
}

/* The compares of the configuration, and a read of each key, so that a refusal shows whether a fence condition
 * failed. */
bool committing_make_fences(const committing_config *config, Pb__TxnRequest **txn, buffer *bytes) {
    const size_t len = EW_BUG(fence_left_out) ? 0 : config->fence.len;
    *txn = pb__txn_request__unpack(NULL, len, config->fence.data);
    bool ok = *txn && buffer_append(bytes, (ew_slice){config->fence.data, len});
    for (size_t i = 0; ok && i < (*txn)->n_compare; i++)
        ok = append_read(bytes, (*txn)->compare[i]->key);
    return ok;
}

int64_t committing_overhead(const committing_config *config) {
    const committing_own longest = {INT64_MAX - 1, true, INT64_MAX, INT64_MAX, INT64_MAX};
    buffer fences = {0};
    Pb__TxnRequest *txn;
    /* If there is no memory to measure the reads, uses their upper bound: the compares, which contain the same keys. */
    if (!committing_make_fences(config, &txn, &fences))
        fences.len = 2 * config->fence.len;
    if (txn)
        pb__txn_request__free_unpacked(txn, NULL);
    free(fences.data);
    return (int64_t)(committing_own_bytes(config, &longest) + fences.len);
}

uint32_t committing_max_keys(const committing_config *config) {
    uint32_t own = (config->counter ? 1 : 0) + (config->exactly_once ? 1 : 0);
    uint32_t compares = own + config->fence_compares;
    uint32_t left = compares < config->max_ops ? config->max_ops - compares : 0;
    return config->max_keys > 0 && config->max_keys < left ? config->max_keys : left;
}

/* Takes units from `next` on while they fit (SEMANTICS 26). EW_ERR_TOO_LARGE if not even the first one fits. */
int committing_build(committing *c) {
    const uint32_t max_keys = committing_max_keys(&c->config);
    committing_own own = {c->counter, false, c->sequence + 1, c->receipt_mod, c->config.lease};
    const size_t own_plain = committing_own_bytes(&c->config, &own);
    own.deletes = true;
    const size_t own_deletes = committing_own_bytes(&c->config, &own);
    own.deletes = false;

    uint64_t compares = 0, ops = 0, bytes = 0;
    size_t end = c->next;
    while (end < c->limit && end - c->next < c->together) {
        const committing_unit *u = &c->units[end];
        bool deletes = own.deletes || u->has_delete;
        if (compares + u->compares > max_keys || ops + u->ops > max_keys ||
            bytes + u->txn.len + c->fence_bytes.len + (deletes ? own_deletes : own_plain) >
                (uint64_t)c->config.max_bytes)
            break;
        compares += u->compares;
        ops += u->ops;
        bytes += u->txn.len;
        own.deletes = deletes;
        end++;
    }
    if (end == c->next)
        return EW_ERR_TOO_LARGE;

    c->request.len = 0;
    /* The units are stored one after the other in the batch's bytes. */
    if (!buffer_append(&c->request, (ew_slice){c->units[c->next].txn.data, bytes}) ||
        !buffer_append(&c->request, buffer_bytes(&c->fence_bytes)) ||
        !committing_append_own(&c->config, &own, &c->request))
        return EW_ERR_NO_MEMORY;
    c->end = end;
    c->own = own;
    c->sequence = own.sequence;
    return EW_OK;
}

/* Builds a request with only the receipt into `fence`: neither the counter nor the leadership may prevent this put. */
static bool build_receipt(committing *c, const committing_own *own) {
    committing_config receipt_only = c->config;
    receipt_only.counter = false;
    c->fence.len = 0;
    if (!committing_append_own(&receipt_only, own, &c->fence))
        return false;
    c->sequence = own->sequence;
    return true;
}

/* Uses the lease of the transaction in question: the receipt that it compares proves that this lease exists. */
int committing_build_fence(committing *c) {
    const committing_own own = {0, false, c->sequence + 1, c->receipt_mod, c->own.lease};
    if (!build_receipt(c, &own))
        return EW_ERR_NO_MEMORY;
    c->fence_sequence = own.sequence;
    return EW_OK;
}

int committing_build_claim(committing *c) {
    c->own = (committing_own){0, false, c->sequence + 1, c->receipt_mod, c->config.lease};
    return build_receipt(c, &c->own) ? EW_OK : EW_ERR_NO_MEMORY;
}

static bool deletes_existing(const Pb__TxnRequest *txn, ProtobufCBinaryData key) {
    for (size_t i = 0; i < txn->n_compare; i++) {
        const Pb__Compare *compare = txn->compare[i];
        if (compare->range_end.len == 0 && compare->key.len == key.len &&
            memcmp(compare->key.data, key.data, key.len) == 0 &&
            compare->target_union_case == PB__COMPARE__TARGET_UNION_MOD_REVISION && compare->mod_revision > 0)
            return true;
    }
    return false;
}

/* Returns whether the applied transaction causes an event on the watch. The deletion of an absent key does not
 * (SEMANTICS 27), and the receipt is outside the prefix. If it is not certain, returns false: a gate that opens too
 * early costs a refusal, one that never opens costs the run. */
bool committing_is_visible(const committing *c) {
    if (c->config.counter && c->own.deletes)
        return true;
    bool visible = false;
    for (size_t u = c->next; u < c->end && !visible; u++) {
        Pb__TxnRequest *txn = pb__txn_request__unpack(NULL, c->units[u].txn.len, c->units[u].txn.data);
        for (size_t i = 0; txn && i + c->units[u].records < txn->n_success && !visible; i++) {
            const Pb__RequestOp *op = txn->success[i];
            visible = op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT ||
                      (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE &&
                       deletes_existing(txn, op->request_delete_range->key));
        }
        pb__txn_request__free_unpacked(txn, NULL);
    }
    return visible;
}
