/* Puts the keys that must exist in etcd before a run: owner key, receipt, session key. Each put may be repeated any
 * number of times, and is retried until start_timeout_ms, as the first load is. */
#include "actors/message.h"
#include "actors/reach.h"
#include "actors/worker_private.h"
#include "core/log.h"
#include "core/slice.h"
#include "etcd.pb-c.h"
#include "etcd/keepalive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

typedef int (*attempt_fn)(ew_worker *w, ew_error *err);

/* ---- waiting for etcd ---- */

/* Returns whether ew_worker_stop was called. Replies EW_ERR_UNAVAILABLE to waiting requests, because the peers do not
 * run yet. Drops all other messages, which only wake this thread: `stop_wanted` shows a stop, and worker_tell_leases
 * reads the leases when the run begins. */
static bool stop_was_asked(ew_worker *w) {
    mailbox_message m;
    while (mailbox_take(w->reactor.mailbox, &m)) {
        if (m.request != 0)
            reactor_reply(&w->reactor, m.request, EW_ERR_UNAVAILABLE, 0, "the worker has not reached etcd yet");
        mailbox_message_free(&m);
    }
    return atomic_load(&w->reactor.stop_wanted);
}

/* Waits for `ms`. Returns EW_ERR_CANCELLED at once after ew_worker_stop. */
static int pause_for(ew_worker *w, int64_t ms, ew_error *err) {
    int64_t until_ms = etcd_now_ms() + ms;
    do {
        if (stop_was_asked(w))
            return ew_fail(err, EW_ERR_CANCELLED, "stopped");
        mailbox_wait(w->reactor.mailbox, until_ms, true);
    } while (etcd_now_ms() < until_ms);
    return stop_was_asked(w) ? ew_fail(err, EW_ERR_CANCELLED, "stopped") : EW_OK;
}

static void note_absence(ew_worker *w, const char *why) {
    absence_note(&w->reactor.absence, w->options->name, why != NULL, etcd_now_ms(), why);
}

/* Waits for etcd in short attempts, because a stop is only noticed between two attempts. Each attempt is longer than
 * the one before, up to LONGEST_MS, because etcd may be slow. */
static int await_etcd(ew_worker *w, int64_t deadline_ms, ew_error *err) {
    enum { SHORTEST_MS = 250, LONGEST_MS = 4000 };
    for (int64_t attempt_ms = SHORTEST_MS;; attempt_ms = 2 * attempt_ms < LONGEST_MS ? 2 * attempt_ms : LONGEST_MS) {
        int64_t left_ms = deadline_ms - etcd_now_ms();
        ew_error why = {0};
        int status = reach_etcd(w->client, left_ms < 1 ? 1 : left_ms < attempt_ms ? left_ms : attempt_ms, &why);
        if (status == EW_OK || status == EW_ERR_NO_MEMORY)
            return status == EW_OK ? EW_OK : ew_fail(err, status, "%s", why.detail);
        note_absence(w, why.detail);
        if (etcd_now_ms() >= deadline_ms)
            return ew_fail(err, EW_ERR_UNAVAILABLE, "etcd has not answered within start_timeout_ms: %s", why.detail);
        status = pause_for(w, w->options->backoff_min_ms, err);
        if (status != EW_OK)
            return status;
    }
}

static int patiently(ew_worker *w, attempt_fn attempt, int64_t deadline_ms, ew_error *err) {
    const ew_options *o = w->options;
    int64_t backoff_ms = o->backoff_min_ms;
    for (;;) {
        int status = await_etcd(w, deadline_ms, err);
        if (status != EW_OK)
            return status;
        ew_error why = {0};
        status = attempt(w, &why);
        bool again = ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME;
        note_absence(w, again ? why.detail : NULL);
        if (!again || etcd_now_ms() + backoff_ms >= deadline_ms)
            return status == EW_OK ? EW_OK : ew_fail(err, status, "%s", why.detail);
        status = pause_for(w, backoff_ms, err);
        if (status != EW_OK)
            return status;
        backoff_ms = 2 * backoff_ms < o->backoff_max_ms ? 2 * backoff_ms : o->backoff_max_ms;
    }
}

/* ---- putting a key with a lease ---- */

/* The result of a put_if. */
typedef struct put_result {
    bool done;
    bool same;        /* not done: the key already has this value */
    int64_t revision; /* done: the put's revision; otherwise the key's mod_revision, 0 if it is absent */
    int64_t lease;    /* not done: the key's lease */
} put_result;

/* Puts the key if its mod_revision is `expected` (0: absent). Otherwise reads it. */
static int put_if(ew_worker *w, const char *key, const char *value, int64_t lease, int64_t expected, put_result *out,
                  ew_error *err) {
    const ew_keys keys = ew_keys_one(ew_str(key));
    const ew_put_options options = EW_PUT_OPTIONS(.lease = lease);
    ew_result *r;
    ew_txn *t = ew_txn_new();
    ew_txn_if(t, keys, EW_MOD_REVISION, EW_EQUAL, expected);
    ew_txn_put(t, EW_THEN, ew_str(key), ew_str(value), &options);
    ew_txn_get(t, EW_ELSE, keys, NULL);
    int status = ew_client_txn(w->client, t, &r, err);
    ew_txn_free(t);
    *out = (put_result){0};
    if (status != EW_OK)
        return status;
    const ew_result *read = ew_result_op(r, 0);
    out->done = ew_result_succeeded(r);
    if (out->done) {
        out->revision = ew_result_revision(r);
    } else if (read != NULL && ew_result_count(read) > 0) {
        const ew_kv *kv = ew_result_at(read, 0);
        out->revision = kv->mod_revision;
        out->lease = kv->lease;
        out->same = ew_slice_equal(kv->value, ew_str(value));
    }
    ew_result_free(r);
    return EW_OK;
}

/* Sets `*lease` to the current lease. Fails with EW_ERR_UNAVAILABLE, which is retried, while a lost lease is being
 * replaced. */
static int present_lease(lasting *l, int64_t *lease, ew_error *err) {
    *lease = lasting_lease(l);
    return *lease != 0 ? EW_OK : ew_fail(err, EW_ERR_UNAVAILABLE, "the worker's lease was lost, and is being replaced");
}

static int lease_status(lasting *l, int status, ew_error *err) {
    if (status != EW_ERR_NOT_FOUND)
        return status;
    lasting_check(l);
    return ew_fail(err, EW_ERR_UNAVAILABLE, "etcd does not know the worker's lease");
}

/* ---- worker_id ---- */

/* Puts the owner key of worker_id. If another worker holds the id, sets `w->rival` to that worker's lease. */
static int hold_id(ew_worker *w, ew_error *err) {
    put_result r = {0};
    int64_t lease;
    int status = present_lease(w->presence, &lease, err);
    for (int tries = 0; status == EW_OK && tries < 3; tries++) {
        status = put_if(w, w->owner_key, w->holder, lease, r.revision, &r, err);
        if (status != EW_OK)
            return lease_status(w->presence, status, err);
        bool rival = !r.done && r.revision > 0 && !r.same;
        w->rival = rival ? r.lease : 0;
        w->holds_id = r.done;
        if (r.done)
            lasting_hold(w->presence, ew_str(w->owner_key), ew_str(w->holder));
        if (r.done && lasting_lease(w->presence) != lease)
            return ew_fail(err, EW_ERR_UNAVAILABLE, "the worker's lease was replaced");
        if (r.done || rival)
            return EW_OK;
    }
    return status != EW_OK ? status : ew_fail(err, EW_ERR_UNAVAILABLE, "%s keeps changing", w->owner_key);
}

/* Returns how long the owner key of a dead rival can still exist: the TTL of its lease, and a margin for etcd to expire
 * it. */
static int64_t rival_patience_ms(ew_worker *w) {
    enum { MARGIN_MS = 5000 };
    int64_t left_s = 0, granted_s = 0;
    if (w->rival == 0 || ew_client_lease_info(w->client, w->rival, &left_s, &granted_s, NULL, NULL) != EW_OK)
        granted_s = w->options->session_ttl_s;
    return granted_s * 1000 + MARGIN_MS;
}

static int refuse(ew_worker *w, ew_error *err) {
    return ew_fail(err, EW_ERR_FENCED,
                   "worker_id \"%s\" is in use by a running worker (%s, lease %llx): give each worker an id of its "
                   "own, or stop the other one",
                   w->worker_id, w->owner_key, (unsigned long long)w->rival);
}

/* SEMANTICS 33: a worker that starts never ends a running one. A worker that died holds its id until its lease expires;
 * the wait for this does not count towards start_timeout_ms. */
static int take_id(ew_worker *w, int64_t *deadline_ms, ew_error *err) {
    enum { POLL_MS = 500 };
    int64_t until_ms = 0;
    for (;;) {
        int status = patiently(w, hold_id, *deadline_ms, err);
        if (status != EW_OK || w->holds_id)
            return status;
        int64_t now_ms = etcd_now_ms();
        if (until_ms == 0) {
            until_ms = now_ms + rival_patience_ms(w);
            log_fields(EW_LOG_WARN, w->options->name, "worker",
                       "worker_id is held by another worker: waiting for its lease to expire",
                       {"worker_id", w->worker_id, 0}, {"lease", NULL, w->rival}, {"ms", NULL, until_ms - now_ms});
        }
        if (now_ms >= until_ms)
            return refuse(w, err);
        status = pause_for(w, POLL_MS, err);
        if (status != EW_OK)
            return status;
        if (*deadline_ms != INT64_MAX)
            *deadline_ms += etcd_now_ms() - now_ms;
    }
}

/* ---- receipt and session key ---- */

/* Puts the receipt before the first transaction, so that every transaction can find out whether it still exists. An
 * existing receipt is from an earlier run with this id; late copies of that run's transactions are refused from now
 * on. */
static int claim_receipt(ew_worker *w, ew_error *err) {
    const int64_t lowest = INT64_C(1000000000000000000); /* always 19 digits, so that transactions have one size */
    uint64_t random;
    char value[24];
    put_result r = {0};
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return ew_fail(err, EW_ERR_SYSTEM, "getrandom failed: %s", strerror(errno));
    w->sequence = lowest + (int64_t)(random % (uint64_t)lowest);
    snprintf(value, sizeof value, "%lld", (long long)w->sequence);
    int status = present_lease(w->records, &w->receipt_lease, err);
    for (int tries = 0; status == EW_OK && tries < 3; tries++) {
        status = put_if(w, w->receipt_key, value, w->receipt_lease, r.revision, &r, err);
        w->receipt_revision = r.revision;
        if (status != EW_OK || r.done)
            return lease_status(w->records, status, err);
    }
    return status != EW_OK ? status : ew_fail(err, EW_ERR_UNAVAILABLE, "the receipt %s keeps changing", w->receipt_key);
}

/* SEMANTICS 30: puts the session key. The loss of a session of the user ends the run; the worker's own session has not
 * been used yet, so a lost one is replaced. */
static int put_marker(ew_worker *w, ew_error *err) {
    int64_t lease = w->session != NULL ? ew_session_lease(w->session) : 0;
    int status = lease != 0 ? EW_OK : present_lease(w->presence, &lease, err);
    if (status != EW_OK)
        return status;
    const ew_put_options options = EW_PUT_OPTIONS(.lease = lease);
    status = ew_client_put(w->client, ew_str(w->marker_key), ew_str(w->worker_id), &options, NULL, err);
    if (w->session == NULL) {
        w->presence_lease = lease;
        return lease_status(w->presence, status, err);
    }
    return status == EW_ERR_NOT_FOUND ? ew_fail(err, EW_ERR_SESSION_DONE, "the session's lease does not exist")
                                      : status;
}

int worker_prepare(ew_worker *w, ew_error *err) {
    const ew_options *o = w->options;
    int64_t deadline_ms = o->start_timeout_ms > 0 ? etcd_now_ms() + o->start_timeout_ms : INT64_MAX;
    bool guarded = o->exactly_once || o->fence_session, named = guarded && o->worker_id[0] != '\0';
    int status = EW_OK;
    if (w->session == NULL && w->election != NULL)
        w->session = ew_election_session(w->election);
    if (named || (guarded && w->session == NULL))
        status = patiently(w, worker_open_presence, deadline_ms, err);
    if (status == EW_OK && named)
        status = take_id(w, &deadline_ms, err);
    if (status == EW_OK && o->exactly_once)
        status = patiently(w, worker_open_records, deadline_ms, err);
    if (status == EW_OK && o->exactly_once)
        status = patiently(w, claim_receipt, deadline_ms, err);
    if (status == EW_OK && o->fence_session)
        status = patiently(w, put_marker, deadline_ms, err);
    return status;
}

/* ---- after the run ---- */

static void on_deleted(void *arg, int status, const char *detail, ew_slice bytes) {
    (void)detail, (void)bytes;
    *(int *)arg = status;
}

/* Deletes the receipt if it still has this lease. Returns whether etcd answered without an error. */
static bool delete_receipt(ew_worker *w, int64_t lease, int64_t timeout_ms) {
    enum { OPEN = 1 };
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__DeleteRangeRequest delete = PB__DELETE_RANGE_REQUEST__INIT;
    Pb__RequestOp then = PB__REQUEST_OP__INIT, *thens[] = {&then};
    int answer = OPEN;
    compare.key = delete.key = slice_bytes(ew_str(w->receipt_key));
    compare.target = PB__COMPARE__COMPARE_TARGET__LEASE;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
    compare.lease = lease;
    then.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    then.request_delete_range = &delete;
    txn.compare = compares;
    txn.success = thens;
    txn.n_compare = txn.n_success = 1;
    etcd_queue *queue = etcd_queue_new();
    uint8_t *bytes = malloc(pb__txn_request__get_packed_size(&txn));
    if (queue != NULL && bytes != NULL &&
        etcd_call_start(w->client, queue, ETCD_TXN, (ew_slice){bytes, pb__txn_request__pack(&txn, bytes)}, timeout_ms,
                        on_deleted, &answer) != NULL)
        while (answer == OPEN)
            etcd_queue_run(queue, INT64_MAX);
    free(bytes);
    if (queue != NULL)
        etcd_queue_free(queue);
    return answer == EW_OK;
}

/* Gives up the receipt and the owner key. With `submit`, only the receipt is deleted, because the records of submits
 * have the receipt's lease and outlive the worker; otherwise the lease is revoked. If etcd does not answer the first
 * request, there is no second one. The timeout is MOMENT_MS if the session ended or etcd is disconnected. */
void worker_release(ew_worker *w) {
    enum { MOMENT_MS = 200 };
    bool doubtful = w->reactor.status == EW_ERR_SESSION_DONE || !reactor_is_connected(w->reactor.reactor);
    int64_t timeout_ms = doubtful ? MOMENT_MS : LEASE_REVOKE_MS;
    int64_t records = w->records != NULL ? lasting_lease(w->records) : 0;
    int64_t presence = w->presence != NULL ? lasting_lease(w->presence) : 0;
    lasting_close(w->records);
    lasting_close(w->presence);
    w->records = w->presence = NULL;
    bool answers = true;
    if (records != 0)
        answers = w->options->submit ? delete_receipt(w, records, timeout_ms)
                                     : lease_revoke_soon(w->client, records, timeout_ms);
    if (presence != 0 && answers)
        lease_revoke_soon(w->client, presence, timeout_ms);
}
