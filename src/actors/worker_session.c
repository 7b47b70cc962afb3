#include "actors/reach.h"
#include "actors/worker_private.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

void worker_tell_reactor(ew_worker *w, const Msg__Message *m) {
    pthread_mutex_lock(&w->lock);
    if (w->control != NULL)
        outbox_send(w->control, m);
    pthread_mutex_unlock(&w->lock);
}

void worker_session_done(void *arg) {
    ew_worker *w = arg;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = ew_session_lease(w->session);
    session.done = true;
    m.session = &session;
    worker_tell_reactor(w, &m);
}

static bool needs_session(const ew_worker *w) {
    return w->options->exactly_once || w->options->fence_session;
}

/* Before the peers run, a message can only be the stop of ew_worker_stop; requests are answered that it is too early.
 */
static bool stop_was_asked(ew_worker *w) {
    bool asked = false;
    mailbox_message m;
    while (!asked && mailbox_take(w->reactor.mailbox, &m)) {
        asked = m.request == 0;
        if (!asked)
            reactor_reply(&w->reactor, m.request, EW_ERR_UNAVAILABLE, 0, "the worker has not reached etcd yet");
        mailbox_message_free(&m);
    }
    return asked;
}

/* Waits for etcd in short attempts, between which a stop is heard; longer ones each time, since etcd may be slow. */
static int await_etcd(ew_worker *w, int64_t deadline_ms, ew_error *err) {
    enum { SHORTEST_MS = 250, LONGEST_MS = 4000 };
    for (int64_t attempt_ms = SHORTEST_MS;; attempt_ms = 2 * attempt_ms < LONGEST_MS ? 2 * attempt_ms : LONGEST_MS) {
        int64_t left_ms = deadline_ms - etcd_now_ms();
        ew_error why = {0};
        int status = reach_etcd(w->client, left_ms < 1 ? 1 : left_ms < attempt_ms ? left_ms : attempt_ms, &why);
        if (status == EW_OK || status == EW_ERR_NO_MEMORY)
            return status == EW_OK ? EW_OK : ew_fail(err, status, "%s", why.detail);
        if (etcd_now_ms() >= deadline_ms)
            return ew_fail(err, EW_ERR_UNAVAILABLE, "etcd has not answered within start_timeout_ms: %s", why.detail);
        mailbox_wait(w->reactor.mailbox, etcd_now_ms() + w->options->backoff_min_ms, true);
        if (stop_was_asked(w))
            return ew_fail(err, EW_ERR_CANCELLED, "stopped");
    }
}

static int open_session(ew_worker *w, ew_error *err) {
    int status = ew_session_open(&w->session, w->client, w->options->session_ttl_s, err);
    w->own_session = status == EW_OK;
    return status;
}

/* Of a put with the session's lease, which is the only thing that may be missing. */
static int session_status(int status, ew_error *err) {
    return status == EW_ERR_NOT_FOUND ? ew_fail(err, EW_ERR_SESSION_DONE, "the session's lease is gone") : status;
}

/* May be done any number of times. */
static int put_marker(ew_worker *w, ew_error *err) {
    const ew_put_options options = EW_PUT_OPTIONS(.lease = ew_session_lease(w->session));
    return session_status(ew_client_put(w->client, ew_str(w->marker_key), ew_str(w->worker_id), &options, NULL, err),
                          err);
}

/* Puts the receipt in place of that of `expected` (0: of none). Otherwise reads it. */
static int try_claim(ew_worker *w, int64_t expected, ew_result **r, ew_error *err) {
    char value[24];
    const ew_keys key = ew_keys_one(ew_str(w->receipt_key));
    const ew_put_options options = EW_PUT_OPTIONS(.lease = ew_session_lease(w->session));
    snprintf(value, sizeof value, "%lld", (long long)w->sequence);
    ew_txn *t = ew_txn_new();
    ew_txn_if(t, key, EW_MOD_REVISION, EW_EQUAL, expected);
    ew_txn_put(t, EW_THEN, ew_str(w->receipt_key), ew_str(value), &options);
    ew_txn_get(t, EW_ELSE, key, NULL);
    int status = ew_client_txn(w->client, t, r, err);
    ew_txn_free(t);
    return session_status(status, err);
}

/* Puts the receipt before the first transaction, which then can tell, as every later one, whether it is still there. A
 * receipt of our lease was left by an earlier run with this session and this id, whose late copies are refused from now
 * on; or it is another worker's that has both, which notices with its next transaction, since its numbers are not ours.
 * One of another lease stays, and refuses our first transaction. May be done any number of times. */
static int claim_receipt(ew_worker *w, ew_error *err) {
    const int64_t lowest = INT64_C(1000000000000000000); /* all have 19 digits: transactions of one size */
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return ew_fail(err, EW_ERR_SYSTEM, "no random numbers: %s", strerror(errno));
    w->sequence = lowest + (int64_t)(random % (uint64_t)lowest);
    w->receipt_revision = 0;
    int64_t expected = 0;
    for (int tries = 0; tries < 3; tries++) {
        ew_result *r;
        int status = try_claim(w, expected, &r, err);
        if (status != EW_OK)
            return status;
        const ew_result *read = ew_result_op(r, 0);
        const ew_kv *kv =
            ew_result_succeeded(r) || read == NULL || ew_result_count(read) == 0 ? NULL : ew_result_at(read, 0);
        bool foreign = kv != NULL && kv->lease != ew_session_lease(w->session);
        if (ew_result_succeeded(r))
            w->receipt_revision = ew_result_revision(r);
        expected = kv != NULL ? kv->mod_revision : 0;
        ew_result_free(r);
        if (w->receipt_revision > 0 || foreign)
            return EW_OK;
    }
    return ew_fail(err, EW_ERR_UNAVAILABLE, "the receipt %s changes all the time", w->receipt_key);
}

/* What must be in etcd before the run: as patient as the load of the first snapshot, and as easily stopped. */
static int patiently(ew_worker *w, int (*attempt)(ew_worker *w, ew_error *err), int64_t deadline_ms, ew_error *err) {
    const ew_options *o = w->options;
    int64_t backoff_ms = o->backoff_min_ms;
    for (;;) {
        int status = await_etcd(w, deadline_ms, err);
        if (status != EW_OK)
            return status;
        status = attempt(w, err);
        if (status == EW_OK || !(ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME) ||
            etcd_now_ms() + backoff_ms >= deadline_ms)
            return status;
        log_fields(EW_LOG_WARN, o->name, "worker", "no session yet", {"error", ew_strerror(status), 0});
        mailbox_wait(w->reactor.mailbox, etcd_now_ms() + backoff_ms, true);
        if (stop_was_asked(w))
            return ew_fail(err, EW_ERR_CANCELLED, "stopped");
        backoff_ms = 2 * backoff_ms < o->backoff_max_ms ? 2 * backoff_ms : o->backoff_max_ms;
    }
}

int worker_ensure_session(ew_worker *w, ew_error *err) {
    const int64_t timeout_ms = w->options->start_timeout_ms;
    int64_t deadline_ms = timeout_ms > 0 ? etcd_now_ms() + timeout_ms : INT64_MAX;
    int status = EW_OK;
    if (w->session == NULL && w->election != NULL)
        w->session = ew_election_session(w->election);
    if (w->session == NULL && needs_session(w))
        status = patiently(w, open_session, deadline_ms, err);
    if (status == EW_OK && w->options->exactly_once)
        status = patiently(w, claim_receipt, deadline_ms, err);
    if (status == EW_OK && w->options->fence_session)
        status = patiently(w, put_marker, deadline_ms, err);
    return status;
}
