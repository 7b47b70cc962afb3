/* A worker's leases (src/etcd/lasting.c, src/actors/worker_session.c): the lease of its own session and its owner key,
 * and the lease of the receipt. They are granted before the run, kept alive every third of their TTL, and replaced
 * when they are lost. A worker may use another worker's session instead; its loss ends the run. */
#include "sim/worker.h"

#include "core/slice.h"
#include "etcd.pb-c.h"

#include <stdlib.h>

static void keep(void *arg);
static void try_grant(void *arg);

static int64_t ttl_ms(const sim_lease *l) {
    const ew_options *o = l->worker->options;
    return (l->kind == SIM_LEASE_RECORDS ? o->receipt_ttl_s : o->session_ttl_s) * 1000;
}

static void later(sim_lease *l, sim_task_fn fn) {
    sim_worker *w = l->worker;
    sim_at(w->sim, sim_now(w->sim) + w->options->backoff_max_ms, fn, l, w);
}

static void call(sim_lease *l, etcd_model_method method, const ProtobufCMessage *request, io_answer_fn fn) {
    sim_worker *w = l->worker;
    l->sent_ms = sim_now(w->sim);
    sim_arena_reset(&w->sim->scratch);
    sim_call_start(w, method, sim_pack(&w->sim->scratch, request), w->options->call_timeout_ms, fn, l);
}

/* ---- messages to the reactor ---- */

static void tell(sim_worker *w, const Msg__Session *session) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.session = sim_unconst(session);
    if (w->reactor_of)
        sim_send(&w->keeper_to_reactor, &m, true, false);
}

static void tell_lost(sim_lease *l, int64_t id) {
    sim_worker *w = l->worker;
    Msg__Session session = MSG__SESSION__INIT;
    session.done = l->kind == SIM_LEASE_GIVEN || w->options->fence_session;
    session.lease = session.done ? id : 0;
    session.lost = true;
    if (l->kind == SIM_LEASE_RECORDS || (l->kind == SIM_LEASE_OWN && w->given.worker))
        return; /* this worker's session is not bound to this lease */
    if (id == w->lease)
        w->session_lost = true;
    if (w->reactor_of)
        tell(w, &session);
    else if (session.done)
        sim_worker_over(w, EW_ERR_SESSION_DONE, "the session's lease expired or was revoked");
}

static void tell_granted(sim_lease *l) {
    sim_worker *w = l->worker;
    Msg__Session session = MSG__SESSION__INIT;
    if (l->kind == SIM_LEASE_RECORDS)
        session.lease = l->id;
    else if (!w->given.worker)
        session.session_lease = l->id;
    session.done = session.session_lease != 0 && w->options->fence_session;
    if (w->reactor_of)
        tell(w, &session);
}

void sim_session_tell(sim_worker *w) {
    if (w->records.id != 0 && w->records.id != w->receipt_lease)
        tell_granted(&w->records);
    if (w->own.id != 0 && w->own.id != w->lease)
        tell_granted(&w->own);
}

/* worker_session_is_lost of src/actors. */
bool sim_session_is_lost(const sim_worker *w) {
    const ticking *core = reactor_core(w->reactor_of);
    if (w->given.worker)
        return !w->given.alive;
    if (!w->own.worker || !(w->options->fence_session || ticking_uses_session(core)))
        return false;
    return (w->own.alive ? w->own.id : 0) != ticking_session_lease(core);
}

/* ---- granting ---- */

static void alive(sim_lease *l) {
    sim_worker *w = l->worker;
    l->until_ms = l->sent_ms + ttl_ms(l);
    l->alive = true;
    sim_at(w->sim, l->sent_ms + ttl_ms(l) / 3, keep, l, w);
}

/* The first lease of a life continues its start; a later one is sent to the reactor. */
static void ready(sim_lease *l) {
    sim_worker *w = l->worker;
    bool first = !l->known;
    l->known = true;
    sim_note(w->sim, l->kind == SIM_LEASE_RECORDS ? "receipt lease" : "session", w->number, l->id);
    alive(l);
    if (first)
        sim_worker_step_start(w);
    else
        tell_granted(l);
}

static void held(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_lease *l = arg;
    sim_worker *w = l->worker;
    Pb__TxnResponse *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    sim_claim_verdict verdict = sim_claim_read(l, r);
    Msg__Session taken = MSG__SESSION__INIT;
    (void)detail;
    taken.taken = true;
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
    if (verdict == SIM_CLAIM_HELD)
        ready(l);
    else if (verdict == SIM_CLAIM_RIVAL && w->reactor_of)
        tell(w, &taken);
    else if (verdict == SIM_CLAIM_RIVAL)
        sim_worker_over(w, EW_ERR_FENCED, "another worker has taken this worker_id");
    else if (verdict == SIM_CLAIM_AGAIN)
        sim_claim_hold(w, l, held);
    else
        later(l, try_grant);
}

static void granted(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_lease *l = arg;
    sim_worker *w = l->worker;
    (void)detail;
    Pb__LeaseGrantResponse *r = status == EW_OK ? pb__lease_grant_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (!r || r->id == 0) {
        later(l, try_grant);
    } else {
        l->id = r->id;
        if (l->kind == SIM_LEASE_OWN && w->holds_id)
            sim_claim_hold(w, l, held);
        else
            ready(l);
    }
    if (r)
        pb__lease_grant_response__free_unpacked(r, NULL);
}

static void try_grant(void *arg) {
    sim_lease *l = arg;
    Pb__LeaseGrantRequest r = PB__LEASE_GRANT_REQUEST__INIT;
    r.ttl = ttl_ms(l) / 1000;
    call(l, ETCD_MODEL_LEASE_GRANT, &r.base, granted);
}

void sim_lease_open(sim_worker *w, sim_lease *l, sim_lease_kind kind) {
    *l = (sim_lease){.worker = w, .kind = kind};
    try_grant(l);
}

static void try_borrow(void *arg) {
    sim_worker *w = arg;
    const sim_worker *lender = w->lender;
    if (!lender->running && !lender->starting) {
        w->lender_gone = true;
        sim_worker_step_start(w);
        return;
    }
    if (!lender->own.alive || lender->given.worker) {
        sim_at(w->sim, sim_now(w->sim) + w->options->backoff_max_ms, try_borrow, w, w);
        return;
    }
    w->given = (sim_lease){.worker = w, .kind = SIM_LEASE_GIVEN, .id = lender->own.id, .known = true, .alive = true};
    w->given.until_ms = lender->own.until_ms;
    sim_note(w->sim, "session shared", w->number, w->given.id);
    sim_at(w->sim, sim_now(w->sim), keep, &w->given, w);
    sim_worker_step_start(w);
}

void sim_session_borrow(sim_worker *w) {
    try_borrow(w);
}

/* ---- keeping ---- */

static void lost(sim_lease *l) {
    sim_worker *w = l->worker;
    if (!l->alive)
        return;
    int64_t id = l->id;
    l->alive = false;
    sim_note(w->sim, l->kind == SIM_LEASE_RECORDS ? "receipt lease lost" : "session lost", w->number, id);
    w->records_lost |= l->kind == SIM_LEASE_RECORDS;
    if (l->kind != SIM_LEASE_GIVEN)
        later(l, try_grant);
    tell_lost(l, id); /* may end the life */
}

static void kept(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_lease *l = arg;
    (void)detail;
    Pb__LeaseKeepAliveResponse *r =
        status == EW_OK && bytes.len > 0 ? pb__lease_keep_alive_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    l->keeping = false;
    bool here = r && r->id == l->id, gone = here && r->ttl <= 0;
    if (here && !gone && l->alive)
        l->until_ms = l->sent_ms + r->ttl * 1000;
    if (r)
        pb__lease_keep_alive_response__free_unpacked(r, NULL);
    if (gone)
        lost(l);
}

static void ask(sim_lease *l) {
    if (l->keeping)
        return;
    Pb__LeaseKeepAliveRequest r = PB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    r.id = l->id;
    l->keeping = true;
    call(l, ETCD_MODEL_LEASE_KEEP_ALIVE, &r.base, kept);
}

/* The worker's own clock also ends a lease (SEMANTICS 30). */
static void keep(void *arg) {
    sim_lease *l = arg;
    sim_worker *w = l->worker;
    int64_t now = sim_now(w->sim);
    if (!l->alive)
        return;
    if (now >= l->until_ms) {
        lost(l);
        return;
    }
    ask(l);
    int64_t next = now + ttl_ms(l) / 3 < l->until_ms ? now + ttl_ms(l) / 3 : l->until_ms;
    sim_at(w->sim, next, keep, l, w);
}

void sim_lease_check(sim_lease *l) {
    if (l->alive)
        ask(l);
}

/* ---- giving back ---- */

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    (void)arg;
    (void)status;
    (void)detail;
    (void)bytes;
}

/* The records of submits have the receipt's lease and outlive the worker. */
static void delete_receipt(sim_worker *w) {
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__DeleteRangeRequest removal = PB__DELETE_RANGE_REQUEST__INIT;
    Pb__RequestOp then = PB__REQUEST_OP__INIT, *thens[] = {&then};
    compare.key = removal.key = slice_bytes(ew_str(w->receipt_key));
    compare.target = PB__COMPARE__COMPARE_TARGET__LEASE;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
    compare.lease = w->records.id;
    then.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    then.request_delete_range = &removal;
    txn.compare = compares;
    txn.success = thens;
    txn.n_compare = txn.n_success = 1;
    call(&w->records, ETCD_MODEL_TXN, &txn.base, answered);
}

/* The responses are ignored: a lease whose revocation is lost ends at its TTL. */
void sim_session_close(sim_worker *w) {
    if (w->records.alive)
        delete_receipt(w);
    if (w->own.alive) {
        Pb__LeaseRevokeRequest r = PB__LEASE_REVOKE_REQUEST__INIT;
        r.id = w->own.id;
        call(&w->own, ETCD_MODEL_LEASE_REVOKE, &r.base, answered);
    }
    w->own.alive = w->given.alive = w->records.alive = false;
}
