/* The receipt that a worker puts before its first transaction (src/actors/worker_session.c), so that every one can tell
 * whether it is still there. */
#include "sim/worker.h"

#include <inttypes.h>

enum { TRIES = 3 };

static void try_claim(sim_worker *w);

static void claim(void *arg) {
    sim_worker *w = arg;
    const uint64_t lowest = UINT64_C(1000000000000000000);
    w->sequence = (int64_t)(lowest + sim_next(&w->sim->random) % lowest);
    w->receipt_revision = w->receipt_expected = 0;
    w->claims_left = TRIES;
    try_claim(w);
}

static void claim_later(sim_worker *w) {
    sim_at(w->sim, sim_now(w->sim) + w->options->backoff_max_ms, claim, w, w);
}

/* Somebody else's receipt stays, and refuses the first transaction. */
static void refused(sim_worker *w, const Pb__TxnResponse *r) {
    bool read = r->responses[0]->response_case == PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE &&
                r->responses[0]->response_range->n_kvs > 0;
    const Pb__KeyValue *kv = read ? r->responses[0]->response_range->kvs[0] : NULL;
    w->receipt_expected = kv ? kv->mod_revision : 0;
    if (kv && kv->lease != w->lease)
        sim_worker_begin(w);
    else if (--w->claims_left > 0)
        try_claim(w);
    else
        claim_later(w);
}

/* What the client looks for in every answer. */
static bool makes_sense(const Pb__TxnResponse *r) {
    return r->header && r->header->cluster_id != 0 && r->header->revision > 0 && r->n_responses == 1;
}

static void claimed(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    Pb__TxnResponse *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    sim_note(w->sim, "claimed", w->number, status);
    bool good = r && makes_sense(r);
    if (good && r->succeeded) {
        w->receipt_revision = r->header->revision;
        sim_worker_begin(w);
    } else if (good) {
        refused(w, r);
    } else if (ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME) {
        claim_later(w);
    } else {
        int why = status == EW_ERR_NOT_FOUND ? EW_ERR_SESSION_DONE : status == EW_OK ? EW_ERR_BAD_ANSWER : status;
        sim_worker_over(w, why, detail);
    }
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
}

static void try_claim(sim_worker *w) {
    char value[24];
    const ProtobufCBinaryData key = sim_binary(ew_str(w->receipt_key));
    snprintf(value, sizeof value, "%" PRId64, w->sequence);
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    compare.key = key;
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = w->receipt_expected;
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    put.key = key;
    put.value = sim_binary(ew_str(value));
    put.lease = w->lease;
    Pb__RangeRequest range = PB__RANGE_REQUEST__INIT;
    range.key = key;
    Pb__RequestOp then = PB__REQUEST_OP__INIT, otherwise = PB__REQUEST_OP__INIT;
    Pb__RequestOp *puts[] = {&then}, *ranges[] = {&otherwise};
    then.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    otherwise.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    otherwise.request_range = &range;
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.n_compare = t.n_success = t.n_failure = 1;
    t.compare = compares;
    t.success = puts;
    t.failure = ranges;
    sim_arena_reset(&w->sim->scratch);
    sim_call_start(w, ETCD_MODEL_TXN, sim_pack(&w->sim->scratch, &t.base), w->options->call_timeout_ms, claimed, w);
}

void sim_receipt_claim(sim_worker *w) {
    if (w->options->exactly_once)
        claim(w);
    else
        sim_worker_begin(w);
}
