/* A worker's leases (src/etcd/lasting.c, src/actors/worker_session.c): the lease of its own session and its owner key,
 * and the lease of the receipt. They are granted before the run, kept alive every third of their TTL, and replaced
 * when they are lost. A worker may use another worker's session instead; its loss ends the run. */
#include "sim/worker.h"

#include "etcd.pb-c.h"
#include "shell/claim_txn.h"

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

/* ---- what the session needs ---- */

sim_lease *sim_lease_of(sim_worker *w, session_lease which) {
    return which == SESSION_PRESENCE ? &w->own : &w->records;
}

int64_t sim_worker_lease(void *worker, session_lease which) {
    const sim_lease *l = sim_lease_of(worker, which);
    return l->alive ? l->id : 0;
}

static bool given_is_lost(void *arg) {
    return !((const sim_worker *)arg)->given.alive;
}

static void tell(void *arg, const Msg__Message *m) {
    sim_worker *w = arg;
    if (w->reactor_of)
        sim_send(&w->session_to_reactor, m, true, false);
}

void sim_session_init(sim_worker *w) {
    static const session_ops ops = {.lease = sim_worker_lease, .given_is_lost = given_is_lost, .tell = tell};
    w->session = (shell_session){.ops = &ops, .arg = w, .fenced = w->options->fence_session};
}

static void changed(sim_lease *l, session_change change) {
    session_changed(&l->worker->session, l->kind == SIM_LEASE_RECORDS ? SESSION_RECORDS : SESSION_PRESENCE, change);
}

/* ---- a new lease ---- */

static void alive(sim_lease *l) {
    sim_worker *w = l->worker;
    l->until_ms = l->sent_ms + ttl_ms(l);
    l->alive = true;
    sim_at(w->sim, l->sent_ms + ttl_ms(l) / 3, keep, l, w);
}

static void ready(sim_lease *l) {
    sim_worker *w = l->worker;
    bool first = !l->known;
    l->known = true;
    sim_note(w->sim, l->kind == SIM_LEASE_RECORDS ? "receipt lease" : "session", w->number, l->id);
    alive(l);
    if (first)
        sim_claim_opened(w, EW_OK, "");
    else
        changed(l, SESSION_GRANTED);
}

/* ---- the owner key, with each new lease ---- */

static void hold(sim_lease *l);

static void held(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_lease *l = arg;
    const sim_worker *w = l->worker;
    Pb__TxnResponse *r;
    put_if_result read = {0};
    (void)detail;
    bool valid = sim_txn_read(status, bytes, &r) == EW_OK && put_if_read(r, w->owner_key, w->holder, &read);
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
    l->key_mod = read.revision;
    if (!valid)
        later(l, try_grant);
    else if (read.done)
        ready(l);
    else if (read.revision > 0 && !read.same)
        changed(l, SESSION_TAKEN);
    else
        hold(l);
}

/* Puts the key if it is absent, or ours and unchanged since it was read. */
static void hold(sim_lease *l) {
    const sim_worker *w = l->worker;
    put_if t;
    put_if_make(&t, w->owner_key, w->holder, l->id, l->key_mod);
    call(l, ETCD_MODEL_TXN, &t.txn.base, held);
}

/* ---- granting ---- */

static void granted(void *arg, int status, const char *detail, ew_slice bytes) {
    sim_lease *l = arg;
    Pb__LeaseGrantResponse *r = status == EW_OK ? pb__lease_grant_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    l->id = r ? r->id : 0;
    if (r)
        pb__lease_grant_response__free_unpacked(r, NULL);
    if (l->id == 0 && l->known)
        later(l, try_grant);
    else if (l->id == 0)
        sim_claim_opened(l->worker, status != EW_OK ? status : EW_ERR_BAD_ANSWER, detail);
    else if (l->kind == SIM_LEASE_OWN && l->worker->holds_id)
        hold(l);
    else
        ready(l);
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
        sim_worker_claim(w);
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
    sim_worker_claim(w);
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
    w->session_lost |= l->kind != SIM_LEASE_RECORDS && id == w->lease;
    if (l->kind == SIM_LEASE_GIVEN) {
        session_ended(&w->session, id);
    } else {
        later(l, try_grant);
        changed(l, SESSION_LOST);
    }
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
    receipt_removal t;
    receipt_removal_make(&t, w->receipt_key, w->records.id);
    call(&w->records, ETCD_MODEL_TXN, &t.txn.base, answered);
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
