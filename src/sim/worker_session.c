/* A worker's lease: granted before the run, kept alive every third of its life, and given back after it. Or it is
 * another worker's, which gives it back. */
#include "sim/worker.h"

#include "etcd.pb-c.h"

static void keep(void *arg);
static void try_grant(void *arg);

static void granted(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    (void)detail;
    Pb__LeaseGrantResponse *r = status == EW_OK ? pb__lease_grant_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (!r || r->id == 0) {
        sim_at(w->sim, sim_now(w->sim) + w->options->backoff_max_ms, try_grant, w, w);
    } else {
        w->lease = r->id;
        w->leased = true;
        w->lease_until_ms = w->lease_sent_ms + r->ttl * 1000;
        sim_at(w->sim, w->lease_sent_ms + r->ttl * 1000 / 3, keep, w, w);
    }
    if (r)
        pb__lease_grant_response__free_unpacked(r, NULL);
    if (w->leased)
        sim_receipt_claim(w);
}

static void call(sim_worker *w, etcd_model_method method, const ProtobufCMessage *request, sim_answer_fn fn) {
    w->lease_sent_ms = sim_now(w->sim);
    sim_arena_reset(&w->sim->scratch);
    sim_call_start(w, method, sim_pack(&w->sim->scratch, request), w->options->call_timeout_ms, fn, w);
}

static void try_grant(void *arg) {
    sim_worker *w = arg;
    Pb__LeaseGrantRequest r = PB__LEASE_GRANT_REQUEST__INIT;
    r.ttl = w->options->session_ttl_s;
    call(w, ETCD_MODEL_LEASE_GRANT, &r.base, granted);
}

static void try_borrow(void *arg) {
    sim_worker *w = arg;
    const sim_worker *lender = w->lender;
    if (!lender->running && !lender->starting) {
        try_grant(w);
        return;
    }
    if (!lender->leased) {
        sim_at(w->sim, sim_now(w->sim) + w->options->backoff_max_ms, try_borrow, w, w);
        return;
    }
    w->lease = lender->lease;
    w->lease_until_ms = lender->lease_until_ms;
    w->leased = w->borrowed = true;
    sim_note(w->sim, "session shared", w->number, w->lease);
    sim_at(w->sim, sim_now(w->sim), keep, w, w);
    sim_receipt_claim(w);
}

void sim_session_open(sim_worker *w) {
    if (w->lender)
        try_borrow(w);
    else
        try_grant(w);
}

static void session_done(sim_worker *w) {
    if (!w->leased)
        return;
    w->leased = false;
    sim_note(w->sim, "session done", w->number, w->lease);
    if (!w->ticking) {
        sim_worker_over(w, EW_ERR_SESSION_DONE, "the session's lease expired or was revoked");
        return;
    }
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = w->lease;
    session.done = true;
    m.session = &session;
    sim_send(&w->keeper_to_reactor, &m, true, false);
}

static void kept(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_worker *w = arg;
    (void)detail;
    Pb__LeaseKeepAliveResponse *r =
        status == EW_OK && bytes.len > 0 ? pb__lease_keep_alive_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (r && r->ttl <= 0)
        session_done(w);
    else if (r && w->leased)
        w->lease_until_ms = w->lease_sent_ms + r->ttl * 1000;
    if (r)
        pb__lease_keep_alive_response__free_unpacked(r, NULL);
    w->keeping = false;
}

/* The clock of this side ends a session too (SEMANTICS 30). */
static void keep(void *arg) {
    sim_worker *w = arg;
    int64_t now = sim_now(w->sim), third_ms = w->options->session_ttl_s * 1000 / 3;
    if (!w->leased)
        return;
    if (now >= w->lease_until_ms) {
        session_done(w);
        return;
    }
    if (!w->keeping) {
        Pb__LeaseKeepAliveRequest r = PB__LEASE_KEEP_ALIVE_REQUEST__INIT;
        r.id = w->lease;
        w->keeping = true;
        call(w, ETCD_MODEL_LEASE_KEEP_ALIVE, &r.base, kept);
    }
    int64_t next = now + third_ms < w->lease_until_ms ? now + third_ms : w->lease_until_ms;
    sim_at(w->sim, next, keep, w, w);
}

static void revoked(void *arg, int status, const char *detail, ew_slice bytes) {
    (void)arg;
    (void)status;
    (void)detail;
    (void)bytes;
}

/* The answer is nobody's: a revocation that is lost is left to the TTL. */
void sim_session_close(sim_worker *w) {
    if (w->borrowed) {
        w->leased = false;
        return;
    }
    Pb__LeaseRevokeRequest r = PB__LEASE_REVOKE_REQUEST__INIT;
    r.id = w->lease;
    w->leased = false;
    call(w, ETCD_MODEL_LEASE_REVOKE, &r.base, revoked);
}
