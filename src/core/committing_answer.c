/* Parses etcd's response to a transaction. The bytes come from outside: a response that does not match the request is
 * COMMITTING_MALFORMED, and is treated as an unknown outcome. */
#include "core/committing_private.h"

#include "core/arena.h"
#include "core/slice.h"
#include "core/unpack.h"

#include <inttypes.h>

/* Gets the key-value that the i-th response read; sets `*kv` to NULL if the key was absent. Returns false if the
 * response is not one of a read. */
static bool read_one(const Pb__TxnResponse *answer, size_t i, const Pb__KeyValue **kv) {
    const Pb__ResponseOp *op = answer->responses[i];
    if (op->response_case != PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE || op->response_range->n_kvs > 1)
        return false;
    *kv = op->response_range->n_kvs ? op->response_range->kvs[0] : NULL;
    return true;
}

/* The same for a read of one key. */
static bool read_at(const Pb__TxnResponse *answer, size_t i, ew_slice key, const Pb__KeyValue **kv) {
    return read_one(answer, i, kv) && (!*kv || (ew_slice_equal(slice_of((*kv)->key), key) && (*kv)->mod_revision > 0));
}

/* The same for a read of the newest key of a range: no key, or one that is newer than the compare allows. */
static bool read_newest_at(const Pb__TxnResponse *answer, size_t i, const Pb__Compare *c, const Pb__KeyValue **kv) {
    return read_one(answer, i, kv) && (!*kv || (*kv)->mod_revision >= c->mod_revision);
}

static bool number_is(const Pb__KeyValue *kv, int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return ew_slice_equal(slice_of(kv->value), ew_str(text));
}

/* ---- a transaction that succeeded ---- */

/* Checks the responses to a unit's operations; none is a delete unless the unit has deletes. Records, the last ones,
 * are outside the prefix. */
static bool read_ops(const committing_unit *u, Pb__ResponseOp **ops, bool *visible) {
    for (size_t i = 0; i < u->ops; i++) {
        if (ops[i]->response_case == PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
            *visible |= i + u->records < u->ops;
        else if (ops[i]->response_case != PB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE || !u->has_delete)
            return false;
        else if (ops[i]->response_delete_range->deleted > 0)
            *visible = true;
    }
    return true;
}

/* Visible: at least one operation of the units caused an event below the prefix. A put always does; a delete does only
 * if the key existed (ETCD P13). */
static void understand_success(const committing *c, const Pb__TxnResponse *answer, committing_answer *out) {
    size_t ops = 0, own = (c->config.counter && c->own.deletes) + c->config.exactly_once;
    for (size_t u = c->next; u < c->end; u++)
        ops += c->units[u].ops;
    if (!answer->header || answer->header->revision <= c->own.receipt_mod || answer->n_responses != ops + own)
        return;
    out->visible = c->config.counter && c->own.deletes;
    Pb__ResponseOp **at = answer->responses;
    for (size_t u = c->next; u < c->end; at += c->units[u++].ops)
        if (!read_ops(&c->units[u], at, &out->visible))
            return;
    out->revision = answer->header->revision;
    out->verdict = COMMITTING_SUCCEEDED;
}

/* ---- a transaction that was refused ---- */

/* No other worker puts anything with a lease that is, or was, the receipt's. */
static bool is_ours(const committing *c, int64_t lease) {
    return lease != 0 &&
           (lease == c->own.lease || lease == c->config.lease || lease == c->receipt_lease || lease == c->former_lease);
}

/* `revision` is the response's. Neither a key's mod_revision nor the store's revision ever falls. */
static void understand_receipt(const committing *c, const Pb__KeyValue *kv, int64_t revision, committing_answer *out) {
    if (!kv) {
        bool fell = revision > 0 && revision < c->own.receipt_mod;
        out->receipt = c->own.receipt_mod == 0 ? COMMITTING_RECEIPT_LAST
                       : fell                  ? COMMITTING_RECEIPT_OLDER
                                               : COMMITTING_RECEIPT_MISSING;
        return;
    }
    out->receipt_revision = kv->mod_revision;
    out->receipt_lease = kv->lease;
    snprintf(out->receipt_value, sizeof out->receipt_value, "%.*s",
             (int)(kv->value.len < sizeof out->receipt_value ? kv->value.len : sizeof out->receipt_value - 1),
             kv->value.len ? (const char *)kv->value.data : "");
    bool newer = kv->lease == c->own.lease && kv->mod_revision > c->own.receipt_mod;
    if (kv->mod_revision == c->own.receipt_mod)
        out->receipt = COMMITTING_RECEIPT_LAST;
    else if (kv->mod_revision < c->own.receipt_mod)
        out->receipt = COMMITTING_RECEIPT_OLDER;
    else if (newer && number_is(kv, c->own.sequence))
        out->receipt = COMMITTING_RECEIPT_TXN;
    else if (newer && c->fencing && number_is(kv, c->fence_sequence))
        out->receipt = COMMITTING_RECEIPT_FENCE;
    else
        out->receipt = is_ours(c, kv->lease) ? COMMITTING_RECEIPT_STRAY : COMMITTING_RECEIPT_FOREIGN;
}

/* Every unit depends on the counter. */
static void judge_counter(const committing *c, const Pb__KeyValue *kv, committing_answer *out) {
    bool holds = c->own.counter > 0 ? kv && number_is(kv, c->own.counter) : !kv;
    if (holds)
        return;
    out->status = EW_ERR_REFUSED;
    out->conflict = c->next;
    out->conflict_revision = kv ? kv->mod_revision : 0;
}

/* Returns whether the compare says that one key has a mod_revision, or that a range has none above one. */
static bool compare_is_sound(const Pb__Compare *c) {
    const bool ranged = c->range_end.len > 0;
    return c->target == PB__COMPARE__COMPARE_TARGET__MOD &&
           c->result == (ranged ? PB__COMPARE__COMPARE_RESULT__LESS : PB__COMPARE__COMPARE_RESULT__EQUAL) &&
           (!ranged || c->target_union_case == PB__COMPARE__TARGET_UNION_MOD_REVISION);
}

/* Returns whether the compares are ones that a unit may have. */
static bool unit_is_sound(const committing_unit *u, const Pb__TxnRequest *txn) {
    if (txn->n_compare != u->compares || txn->n_failure != u->compares || txn->n_success != u->ops ||
        u->records > u->compares || u->records > u->ops)
        return false;
    for (size_t i = 0; i < txn->n_compare; i++) {
        if (!compare_is_sound(txn->compare[i]))
            return false;
    }
    return true;
}

static void note_record(committing_answer *out, size_t unit, size_t place, const Pb__KeyValue *kv) {
    if (out->record_count == COMMITTING_RECORDS_MAX)
        return;
    committing_record *r = &out->records[out->record_count++];
    *r = (committing_record){.unit = unit, .place = (uint32_t)place, .mod_revision = kv ? kv->mod_revision : 0};
    if (!kv || kv->value.len == 0 || kv->value.len > sizeof r->value)
        return;
    memcpy(r->value, kv->value.data, kv->value.len);
    r->len = kv->value.len;
}

/* The positions of a unit's reads: keys below the prefix, `plain` of them from `first` on, then its records. */
typedef struct unit_reads {
    size_t unit, first, plain;
} unit_reads;

typedef struct unit_verdict {
    bool conflict;
    int64_t revision;
} unit_verdict;

/* Compares the unit's keys with what was read of them. The verdict's revision is that of keys below the prefix, for
 * which the reactor waits; it gets the records themselves. False for a malformed response. */
static bool judge_compares(const Pb__TxnRequest *txn, const Pb__TxnResponse *answer, const unit_reads *reads,
                           unit_verdict *verdict, committing_answer *out) {
    bool absent = false;
    for (size_t i = 0; i < txn->n_compare; i++) {
        const Pb__Compare *compare = txn->compare[i];
        const Pb__KeyValue *kv;
        const bool ranged = compare->range_end.len > 0;
        if (ranged ? !read_newest_at(answer, reads->first + i, compare, &kv)
                   : !read_at(answer, reads->first + i, slice_of(compare->key), &kv))
            return false;
        int64_t expected =
            compare->target_union_case == PB__COMPARE__TARGET_UNION_MOD_REVISION ? compare->mod_revision : 0;
        int64_t found = kv ? kv->mod_revision : 0;
        if (ranged ? !kv : found == expected)
            continue;
        verdict->conflict = true;
        if (i >= reads->plain) {
            note_record(out, reads->unit, i - reads->plain, kv);
            continue;
        }
        absent = absent || !kv;
        verdict->revision = found > verdict->revision ? found : verdict->revision;
    }
    if (absent)
        verdict->revision = 0;
    return true;
}

/* Finds the first unit whose compares do not hold, and the records of all units: a worker that takes over from another
 * one finds the submits of many clients at once. */
static bool judge_units(const committing *c, const Pb__TxnResponse *answer, committing_answer *out) {
    size_t first = 0;
    for (size_t u = c->next; u < c->end; u++) {
        const committing_unit *unit = &c->units[u];
        arena memory;
        arena_init(&memory);
        const Pb__TxnRequest *txn = pb__txn_request__unpack(&memory.allocator, unit->txn.len, unit->txn.data);
        bool sound = txn && unit_is_sound(unit, txn);
        const unit_reads reads = {u, first, unit->compares - unit->records};
        unit_verdict verdict = {0};
        bool fits = !sound || judge_compares(txn, answer, &reads, &verdict, out);
        arena_fini(&memory);
        if (!fits)
            return false;
        if ((!sound || verdict.conflict) && out->status == EW_OK) {
            out->status = memory.failed ? EW_ERR_NO_MEMORY : sound ? EW_ERR_REFUSED : EW_ERR_BAD_MESSAGE;
            out->conflict = u;
            out->conflict_revision = verdict.revision;
        }
        first += unit->compares;
    }
    return true;
}

static bool is_written(const Pb__TxnRequest *txn, ew_slice key) {
    for (size_t i = 0; i < txn->n_success; i++) {
        const Pb__RequestOp *op = txn->success[i];
        if ((op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT &&
             ew_slice_equal(slice_of(op->request_put->key), key)) ||
            (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE &&
             ew_slice_equal(slice_of(op->request_delete_range->key), key)))
            return true;
    }
    return false;
}

/* Returns whether a key that the unit writes still has the revision that the transaction compares: if the transaction
 * had been applied, that revision would be gone. */
static bool unit_untouched(const Pb__TxnRequest *txn, const Pb__TxnResponse *answer, size_t first) {
    for (size_t i = 0; i < txn->n_compare; i++) {
        const Pb__Compare *compare = txn->compare[i];
        const Pb__KeyValue *kv;
        if (compare->mod_revision > 0 && read_at(answer, first + i, slice_of(compare->key), &kv) && kv &&
            kv->mod_revision == compare->mod_revision && is_written(txn, slice_of(compare->key)))
            return true;
    }
    return false;
}

static bool is_untouched(const committing *c, const Pb__TxnResponse *answer) {
    bool untouched = false;
    size_t first = 0;
    for (size_t u = c->next; u < c->end && !untouched; first += c->units[u++].compares) {
        const committing_unit *unit = &c->units[u];
        arena memory;
        arena_init(&memory);
        const Pb__TxnRequest *txn = pb__txn_request__unpack(&memory.allocator, unit->txn.len, unit->txn.data);
        untouched = txn && unit_is_sound(unit, txn) && unit_untouched(txn, answer, first);
        arena_fini(&memory);
    }
    return untouched;
}

static bool fence_holds(const Pb__Compare *c, const Pb__KeyValue *kv) {
    switch (c->target) {
    case PB__COMPARE__COMPARE_TARGET__CREATE:
        return (kv ? kv->create_revision : 0) == c->create_revision;
    case PB__COMPARE__COMPARE_TARGET__MOD:
        return (kv ? kv->mod_revision : 0) == c->mod_revision;
    case PB__COMPARE__COMPARE_TARGET__LEASE:
        return (kv ? kv->lease : 0) == c->lease;
    default:
        return true; /* fence conditions have no other targets */
    }
}

/* SEMANTICS 30, 31. A compare on a lease is the session's: its session key was deleted with the lease, or was taken by
 * another worker of the same id. The other compares are the leadership's, which ends with the session. Checked before
 * conflicts, because a former leader has nothing to retry. False for a malformed response. */
static bool judge_fences(const committing *c, const Pb__TxnResponse *answer, size_t first, committing_answer *out) {
    for (size_t i = 0; i < c->fences->n_compare; i++) {
        const Pb__Compare *compare = c->fences->compare[i];
        const Pb__KeyValue *kv;
        if (!read_at(answer, first + i, slice_of(compare->key), &kv))
            return false;
        if (fence_holds(compare, kv))
            continue;
        if (compare->target == PB__COMPARE__COMPARE_TARGET__LEASE)
            out->status = kv && kv->lease != 0 ? EW_ERR_FENCED : EW_ERR_SESSION_DONE;
        else if (out->status == EW_OK)
            out->status = EW_ERR_LEADERSHIP_LOST;
    }
    out->conflict = c->next;
    return true;
}

static void understand_refusal(const committing *c, const Pb__TxnResponse *answer, committing_answer *out) {
    size_t compares = 0;
    for (size_t u = c->next; u < c->end; u++)
        compares += c->units[u].compares;
    size_t counter_at = compares + c->fences->n_compare, receipt_at = counter_at + (c->config.counter ? 1 : 0);
    if (answer->n_responses != receipt_at + (c->config.exactly_once ? 1 : 0))
        return;

    const Pb__KeyValue *kv;
    if (c->config.exactly_once) {
        if (!read_at(answer, receipt_at, c->config.receipt_key, &kv))
            return;
        understand_receipt(c, kv, answer->header ? answer->header->revision : 0, out);
        out->untouched = out->receipt == COMMITTING_RECEIPT_MISSING && is_untouched(c, answer);
    }
    if (!judge_fences(c, answer, compares, out))
        return;
    if (c->config.counter) {
        if (!read_at(answer, counter_at, c->config.counter_key, &kv))
            return;
        if (out->status == EW_OK)
            judge_counter(c, kv, out);
    }
    if (out->status == EW_OK && !judge_units(c, answer, out))
        return;
    if (out->status == EW_OK)
        out->status = EW_ERR_BAD_ANSWER; /* none of the compared keys has changed */
    out->verdict = COMMITTING_REFUSED;
}

static const committing_answer nothing_understood = {.verdict = COMMITTING_MALFORMED};

void committing_understand(const committing *c, ew_slice bytes, committing_answer *out) {
    *out = nothing_understood;
    arena memory;
    arena_init(&memory);
    const Pb__TxnResponse *answer = unpack_is_bounded(&pb__txn_response__descriptor, bytes)
                                        ? pb__txn_response__unpack(&memory.allocator, bytes.len, bytes.data)
                                        : NULL;
    if (answer && answer->succeeded)
        understand_success(c, answer, out);
    else if (answer)
        understand_refusal(c, answer, out);
    arena_fini(&memory);
}

/* A receipt bump has one compare and one read, both of the receipt. */
void committing_understand_fence(const committing *c, ew_slice bytes, committing_answer *out) {
    *out = nothing_understood;
    int status;
    Pb__TxnResponse *answer = unpack_message(&pb__txn_response__descriptor, bytes, &status);
    if (!answer)
        return;
    const Pb__KeyValue *kv;
    if (answer->succeeded && answer->header && answer->header->revision > c->own.receipt_mod) {
        out->revision = answer->header->revision;
        out->verdict = COMMITTING_SUCCEEDED;
    } else if (!answer->succeeded && answer->n_responses == 1 && read_at(answer, 0, c->config.receipt_key, &kv)) {
        understand_receipt(c, kv, answer->header ? answer->header->revision : 0, out);
        if (out->receipt != COMMITTING_RECEIPT_LAST)
            out->verdict = COMMITTING_REFUSED;
    }
    pb__txn_response__free_unpacked(answer, NULL);
}
