/* Puts the keys that must exist before the first transaction (src/actors/worker_claim.c), step by step: the owner key
 * and the receipt, so that every transaction can find out whether the receipt still exists. */
#include "sim/worker.h"

#include "core/slice.h"

#include <inttypes.h>

enum { TRIES = 3 };

static void claim(void *arg);
static void hold(void *arg);

static void later(sim_worker *w, int64_t ms, sim_task_fn fn) {
    sim_at(w->sim, sim_now(w->sim) + ms, fn, w, w);
}

/* Checks what the client checks in every response. */
static bool makes_sense(const Pb__TxnResponse *r) {
    return r && r->header && r->header->cluster_id != 0 && r->header->cluster_id != 0xbad && r->header->revision > 0 &&
           r->n_responses == 1;
}

static bool ends(sim_worker *w, int status, const char *detail) {
    if (status == EW_OK || ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME || status == EW_ERR_NOT_FOUND)
        return false;
    sim_worker_over(w, status, detail);
    return true;
}

/* ---- the owner key ---- */

/* Puts `key` with a lease if its mod_revision is `expected` (0: absent), and otherwise reads it. */
static void put_if(sim_worker *w, const char *key_text, const char *value, int64_t lease, int64_t expected,
                   io_answer_fn fn, void *arg) {
    const ProtobufCBinaryData key = slice_bytes(ew_str(key_text));
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    compare.key = key;
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = expected;
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    put.key = key;
    put.value = slice_bytes(ew_str(value));
    put.lease = lease;
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
    sim_call_start(w, ETCD_MODEL_TXN, sim_pack(&w->sim->scratch, &t.base), w->options->call_timeout_ms, fn, arg);
}

/* Gets the key that a refused put_if has read: `*kv` is NULL if it is absent. Returns false for an invalid response. */
static bool read_key(const Pb__TxnResponse *r, const char *key, const Pb__KeyValue **kv) {
    const Pb__ResponseOp *op = r->responses[0];
    if (op->response_case != PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE || op->response_range->n_kvs > 1)
        return false;
    *kv = op->response_range->n_kvs ? op->response_range->kvs[0] : NULL;
    return !*kv || (ew_slice_equal(slice_of((*kv)->key), ew_str(key)) && (*kv)->mod_revision > 0);
}

/* Puts the key if it is absent, or ours and unchanged since it was read. */
void sim_claim_hold(sim_worker *w, sim_lease *l, io_answer_fn fn) {
    put_if(w, w->owner_key, w->holder, l->id, l->key_mod, fn, l);
}

sim_claim_verdict sim_claim_read(sim_lease *l, const Pb__TxnResponse *r) {
    const sim_worker *w = l->worker;
    const Pb__KeyValue *kv;
    if (!makes_sense(r))
        return SIM_CLAIM_UNKNOWN;
    if (r->succeeded)
        return SIM_CLAIM_HELD;
    if (!read_key(r, w->owner_key, &kv))
        return SIM_CLAIM_UNKNOWN;
    l->key_mod = kv ? kv->mod_revision : 0;
    return kv && !ew_slice_equal(slice_of(kv->value), ew_str(w->holder)) ? SIM_CLAIM_RIVAL : SIM_CLAIM_AGAIN;
}

/* A worker that has died holds its id until its lease expires. */
static void rival(sim_worker *w) {
    enum { MARGIN_MS = 5000, POLL_MS = 500 };
    int64_t now = sim_now(w->sim);
    if (w->rival_until_ms == 0)
        w->rival_until_ms = now + w->options->session_ttl_s * 1000 + MARGIN_MS;
    if (now >= w->rival_until_ms)
        sim_worker_over(w, EW_ERR_FENCED, "worker_id is in use by a running worker");
    else
        later(w, POLL_MS, hold);
}

static void held(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_lease *l = arg;
    sim_worker *w = l->worker;
    if (ends(w, status, detail))
        return;
    Pb__TxnResponse *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    sim_claim_verdict verdict = sim_claim_read(l, r);
    sim_note(w->sim, "worker_id", w->number, verdict);
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
    if (verdict == SIM_CLAIM_RIVAL) {
        l->key_mod = 0; /* wait until it does not exist */
        rival(w);
    } else if (verdict == SIM_CLAIM_HELD && w->claim_lease == w->own.id && w->own.alive) {
        w->holds_id = true;
        sim_worker_step_start(w);
    } else {
        if (status == EW_ERR_NOT_FOUND)
            sim_lease_check(&w->own);
        later(w, w->options->backoff_max_ms, hold);
    }
}

static void hold(void *arg) {
    sim_worker *w = arg;
    w->claim_lease = w->own.id;
    if (w->own.alive)
        sim_claim_hold(w, &w->own, held);
    else
        later(w, w->options->backoff_max_ms, hold);
}

/* ---- the receipt ---- */

static void try_claim(sim_worker *w);

static void refused(sim_worker *w, const Pb__TxnResponse *r) {
    const Pb__KeyValue *kv = NULL;
    w->receipt_expected = read_key(r, w->receipt_key, &kv) && kv ? kv->mod_revision : 0;
    if (--w->claims_left > 0)
        try_claim(w);
    else
        later(w, w->options->backoff_max_ms, claim);
}

static void claimed(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    sim_note(w->sim, "claimed", w->number, status);
    if (ends(w, status, detail))
        return;
    Pb__TxnResponse *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    bool good = makes_sense(r);
    if (good && r->succeeded) {
        w->receipt_revision = r->header->revision;
        sim_worker_step_start(w);
    } else if (good) {
        refused(w, r);
    } else {
        if (status == EW_ERR_NOT_FOUND)
            sim_lease_check(&w->records);
        later(w, w->options->backoff_max_ms, claim);
    }
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
}

static void try_claim(sim_worker *w) {
    char value[24];
    snprintf(value, sizeof value, "%" PRId64, w->sequence);
    put_if(w, w->receipt_key, value, w->receipt_lease, w->receipt_expected, claimed, w);
}

static void claim(void *arg) {
    sim_worker *w = arg;
    const uint64_t lowest = UINT64_C(1000000000000000000);
    if (!w->records.alive) {
        later(w, w->options->backoff_max_ms, claim);
        return;
    }
    w->sequence = (int64_t)(lowest + sim_next(&w->sim->random) % lowest);
    w->receipt_lease = w->records.id;
    w->receipt_revision = w->receipt_expected = 0;
    w->claims_left = TRIES;
    try_claim(w);
}

/* ---- step by step ---- */

/* Called at the start, and after each finished step. */
void sim_worker_step_start(sim_worker *w) {
    const ew_options *o = w->options;
    bool guarded = o->exactly_once || o->fence_session, named = guarded && o->worker_id[0] != '\0';
    if (w->reactor_of)
        return;
    if (guarded && w->lender && !w->given.worker && !w->lender_gone)
        sim_session_borrow(w);
    else if ((named || (guarded && !w->given.worker)) && !w->own.known)
        sim_lease_open(w, &w->own, SIM_LEASE_OWN);
    else if (named && !w->holds_id)
        hold(w);
    else if (o->exactly_once && !w->records.known)
        sim_lease_open(w, &w->records, SIM_LEASE_RECORDS);
    else if (o->exactly_once && w->receipt_revision == 0)
        claim(w);
    else
        sim_worker_begin(w);
}
