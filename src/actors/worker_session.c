/* The leases of a worker: connects the shell's session with the lasting leases of src/etcd. */
#include "actors/worker_private.h"

lasting *worker_lasting(const ew_worker *w, session_lease which) {
    return which == SESSION_PRESENCE ? w->presence : w->records;
}

int64_t worker_lease(void *worker, session_lease which) {
    const lasting *l = worker_lasting(worker, which);
    return l ? lasting_lease(l) : 0;
}

/* ---- the session's functions ---- */

static bool given_is_lost(void *arg) {
    const ew_worker *w = arg;
    return ew_session_is_done(w->session);
}

static void tell_reactor(void *arg, const Msg__Message *message) {
    ew_worker *w = arg;
    pthread_mutex_lock(&w->lock);
    if (w->control)
        outbox_send(w->control, message);
    pthread_mutex_unlock(&w->lock);
}

void worker_session_init(ew_worker *w) {
    static const session_ops ops = {.lease = worker_lease, .given_is_lost = given_is_lost, .tell = tell_reactor};
    w->leases.ops = &ops;
    w->leases.arg = w;
    w->leases.fenced = w->options->fence_session;
}

/* ---- on the worker's thread ---- */

bool worker_session_is_lost(void *arg) {
    const ew_worker *w = arg;
    return session_is_lost(&w->leases, reactor_core(w->reactor.reactor));
}

int64_t worker_session_lease(const ew_worker *w) {
    return w->session ? ew_session_lease(w->session) : w->claimed.presence_lease;
}

/* ---- changes ---- */

void worker_session_done(void *arg) {
    ew_worker *w = arg;
    session_ended(&w->leases, ew_session_lease(w->session));
}

void worker_check_receipt_lease(void *arg) {
    ew_worker *w = arg;
    lasting_check(w->records);
}

static session_change change_of(lasting_change change) {
    switch (change) {
    case LASTING_LOST:
        break;
    case LASTING_GRANTED:
        return SESSION_GRANTED;
    case LASTING_TAKEN:
        return SESSION_TAKEN;
    }
    return SESSION_LOST;
}

/* Both callbacks run on the keep loop's thread. */
static void presence_changed(void *arg, lasting_change change) {
    ew_worker *w = arg;
    session_changed(&w->leases, SESSION_PRESENCE, change_of(change));
}

static void records_changed(void *arg, lasting_change change) {
    ew_worker *w = arg;
    session_changed(&w->leases, SESSION_RECORDS, change_of(change));
}

/* ---- before the run ---- */

/* Opens the lease of the receipt and of clients' records. Records are put with the newest lease. It is kept alive at
 * every third of its TTL and replaced while the worker lives, so a record lives for receipt_ttl_s at least and about
 * twice that at most (SEMANTICS 34). */
static int open_records(ew_worker *w, ew_error *err) {
    int64_t ttl_s = w->options->receipt_ttl_s, renew_s = (ttl_s + 1) / 2;
    if (!w->options->submit)
        return lasting_open(&w->records, w->client, ttl_s, 0, records_changed, w, err);
    return lasting_open(&w->records, w->client, ttl_s + renew_s, renew_s, records_changed, w, err);
}

int worker_open_lease(ew_worker *w, session_lease which, ew_error *err) {
    return which == SESSION_RECORDS
               ? open_records(w, err)
               : lasting_open(&w->presence, w->client, w->options->session_ttl_s, 0, presence_changed, w, err);
}
