/* The claim of a worker: the one of src/shell, with the calls of the network. */
#include "sim/worker.h"

static void advance(void *worker);

/* Checks what the client checks in every response. */
static int check_header(const Pb__TxnResponse *r) {
    if (!r || !r->header || r->header->cluster_id == 0 || r->header->revision < 0)
        return EW_ERR_BAD_ANSWER;
    return r->header->cluster_id == 0xbad ? EW_ERR_WRONG_CLUSTER : EW_OK;
}

int sim_txn_read(int status, ew_slice bytes, Pb__TxnResponse **r) {
    *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (status == EW_OK)
        status = check_header(*r);
    if (status != EW_OK && *r) {
        pb__txn_response__free_unpacked(*r, NULL);
        *r = NULL;
    }
    return status;
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    Pb__TxnResponse *r;
    status = sim_txn_read(status, bytes, &r);
    sim_note(w->sim, "claimed", w->number, status);
    claim_answered(w->claim, status, detail, r, sim_now(w->sim));
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
    advance(w);
}

void sim_claim_opened(sim_worker *w, int status, const char *detail) {
    claim_opened(w->claim, status, detail, sim_now(w->sim));
    advance(w);
}

/* ---- what the claim needs ---- */

static void open_lease(void *arg, session_lease which) {
    sim_worker *w = arg;
    sim_lease_open(w, sim_lease_of(w, which), which == SESSION_PRESENCE ? SIM_LEASE_OWN : SIM_LEASE_RECORDS);
}

static void send_txn(void *arg, const Pb__TxnRequest *request) {
    sim_worker *w = arg;
    sim_arena_reset(&w->sim->scratch);
    sim_call_start(w, ETCD_MODEL_TXN, sim_pack(&w->sim->scratch, &request->base), w->options->call_timeout_ms, answered,
                   w);
}

static void check_lease(void *arg, session_lease which) {
    sim_lease_check(sim_lease_of(arg, which));
}

static void hold(void *arg) {
    ((sim_worker *)arg)->holds_id = true;
}

static int64_t rival_ttl_s(void *arg, int64_t lease) {
    (void)arg;
    (void)lease;
    return 0;
}

static void waiting(void *arg, int64_t lease, int64_t ms) {
    sim_note(((sim_worker *)arg)->sim, "worker_id is held", lease, ms);
}

/* ---- rounds ---- */

static void finish(sim_worker *w, int status, const char *detail) {
    if (status != EW_OK) {
        sim_worker_over(w, status, detail);
        return;
    }
    w->claimed = claim_get_result(w->claim);
    claim_free(w->claim);
    w->claim = NULL;
    sim_worker_begin(w);
}

static void advance(void *worker) {
    sim_worker *w = worker;
    int status;
    const char *detail;
    int64_t next_ms = claim_round(w->claim, sim_now(w->sim));
    if (claim_ended(w->claim, &status, &detail))
        finish(w, status, detail);
    else if (next_ms != INT64_MAX)
        sim_at(w->sim, next_ms, advance, w, w);
}

void sim_worker_claim(sim_worker *w) {
    static const claim_ops ops = {
        .open = open_lease,
        .txn = send_txn,
        .lease = sim_worker_lease,
        .check = check_lease,
        .hold = hold,
        .rival_ttl_s = rival_ttl_s,
        .waiting = waiting,
    };
    w->session.given = w->given.worker != NULL;
    w->claim = claim_new(
        &(claim_config){
            .ops = &ops,
            .arg = w,
            .options = w->options,
            .worker_id = w->worker_id,
            .owner_key = w->owner_key,
            .receipt_key = w->receipt_key,
            .session_key = w->session_key,
            .holder = w->holder,
            .session_lease = w->given.id,
            .seed = sim_next(&w->sim->random),
        },
        sim_now(w->sim));
    if (w->claim)
        advance(w);
    else
        ew_sim_fail(w->sim, "cannot create a claim: out of memory");
}
