/* The leases of a worker. Only the end of a session that the user asked for ends a run (SEMANTICS 30): a given
 * session, the election's, and the worker's own with fence_session or with a key bound to it. Any other lost lease is
 * replaced. */
#include "actors/worker_private.h"

static void tell_reactor(ew_worker *w, const Msg__Session *session) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.session = (Msg__Session *)(uintptr_t)session; /* only read */
    pthread_mutex_lock(&w->lock);
    if (w->control != NULL)
        outbox_send(w->control, &m);
    pthread_mutex_unlock(&w->lock);
}

void worker_session_done(void *arg) {
    ew_worker *w = arg;
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = ew_session_lease(w->session);
    session.done = true;
    tell_reactor(w, &session);
}

bool worker_session_is_lost(void *arg) {
    const ew_worker *w = arg;
    if (w->session != NULL)
        return ew_session_is_done(w->session);
    const ticking *core = reactor_core(w->reactor.reactor);
    if (w->presence == NULL || !(w->options->fence_session || ticking_uses_session(core)))
        return false;
    return lasting_lease(w->presence) != ticking_session_lease(core);
}

int64_t worker_session_lease(const ew_worker *w) {
    return w->session != NULL ? ew_session_lease(w->session) : w->presence_lease;
}

void worker_check_receipt_lease(void *arg) {
    ew_worker *w = arg;
    lasting_check(w->records);
}

/* ---- on the keepalive loop's thread ---- */

static void tell_presence(ew_worker *w, int64_t lease) {
    Msg__Session session = MSG__SESSION__INIT;
    session.done = w->options->fence_session;
    session.lost = lease == 0;
    session.session_lease = lease;
    if (w->session == NULL)
        tell_reactor(w, &session);
}

static void presence_changed(void *arg, lasting_change change) {
    ew_worker *w = arg;
    Msg__Session taken = MSG__SESSION__INIT;
    taken.taken = true;
    if (change == LASTING_TAKEN) {
        atomic_store(&w->id_taken, true);
        tell_reactor(w, &taken);
    } else {
        tell_presence(w, change == LASTING_LOST ? 0 : lasting_lease(w->presence));
    }
}

static void tell_records(ew_worker *w, int64_t lease) {
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = lease;
    tell_reactor(w, &session);
}

static void records_changed(void *arg, lasting_change change) {
    ew_worker *w = arg;
    if (change == LASTING_GRANTED)
        tell_records(w, lasting_lease(w->records));
}

/* ---- on the worker's thread, before the run ---- */

int worker_open_presence(ew_worker *w, ew_error *err) {
    int status = lasting_open(&w->presence, w->client, w->options->session_ttl_s, 0, presence_changed, w, err);
    if (status == EW_OK)
        w->presence_lease = lasting_lease(w->presence);
    return status;
}

/* Opens the lease of the receipt and of clients' records. Records are put with the newest lease. The lease is kept
 * alive at every third of its TTL and replaced while the worker lives, so a record lives for receipt_ttl_s at least
 * and about twice that at most (SEMANTICS 34). */
int worker_open_records(ew_worker *w, ew_error *err) {
    int64_t ttl_s = w->options->receipt_ttl_s, renew_s = (ttl_s + 1) / 2;
    if (!w->options->submit)
        return lasting_open(&w->records, w->client, ttl_s, 0, records_changed, w, err);
    return lasting_open(&w->records, w->client, ttl_s + renew_s, renew_s, records_changed, w, err);
}

void worker_tell_leases(ew_worker *w) {
    int64_t presence = w->presence != NULL ? lasting_lease(w->presence) : w->presence_lease;
    int64_t records = w->records != NULL ? lasting_lease(w->records) : w->receipt_lease;
    if (atomic_load(&w->id_taken))
        presence_changed(w, LASTING_TAKEN);
    if (presence != w->presence_lease)
        tell_presence(w, presence);
    if (records != w->receipt_lease && records != 0)
        tell_records(w, records);
}
