/* Runs the shell's claim on the worker's thread, and gives up its keys after the run. */
#include "actors/message.h"
#include "actors/reach.h"
#include "actors/worker_private.h"
#include "core/log.h"
#include "etcd.pb-c.h"
#include "etcd/blocking_request.h"
#include "etcd/keepalive.h"
#include "shell/claim_txn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- waiting for etcd ---- */

/* Returns whether ew_worker_stop was called. Replies EW_ERR_UNAVAILABLE to waiting requests, because the peers do not
 * run yet. Drops all other messages, which only wake this thread: `stop_wanted` shows a stop, and session_begin reads
 * the leases when the run begins. */
static bool stop_was_asked(ew_worker *w) {
    mailbox_message m;
    while (mailbox_take(w->reactor.mailbox, &m)) {
        if (m.request != 0)
            reactor_reply(&w->reactor, m.request, EW_ERR_UNAVAILABLE, 0, "the worker has not reached etcd yet");
        mailbox_message_free(&m);
    }
    return atomic_load(&w->reactor.stop_wanted);
}

/* Waits for `ms`. Returns EW_ERR_CANCELLED as soon as ew_worker_stop is called. */
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
    absence_note(&w->reactor.absence, &w->reactor.log, why != NULL, etcd_now_ms(), why);
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

/* ---- the claim's functions: calls that block ---- */

static void open_lease(void *arg, session_lease which) {
    ew_worker *w = arg;
    ew_error why = {0};
    int status = worker_open_lease(w, which, &why);
    claim_opened(w->claim, status, why.detail, etcd_now_ms());
}

static void send_txn(void *arg, const Pb__TxnRequest *request) {
    const ew_worker *w = arg;
    ew_error why = {0};
    Pb__TxnResponse *r = NULL;
    int status = blocking_request(w->client, ETCD_TXN, request, &pb__txn_response__descriptor, &r, &why);
    claim_answered(w->claim, status, why.detail, r, etcd_now_ms());
    if (r)
        pb__txn_response__free_unpacked(r, NULL);
}

static void check_lease(void *arg, session_lease which) {
    lasting_check(worker_lasting(arg, which));
}

static void hold(void *arg) {
    const ew_worker *w = arg;
    lasting_hold(w->presence, ew_str(w->owner_key), ew_str(w->holder));
}

static int64_t rival_ttl_s(void *arg, int64_t lease) {
    const ew_worker *w = arg;
    int64_t left_s = 0, granted_s = 0;
    int status = ew_client_lease_info(w->client, lease, &left_s, &granted_s, NULL, NULL);
    return status == EW_OK ? granted_s : 0;
}

static void waiting(void *arg, int64_t lease, int64_t ms) {
    const ew_worker *w = arg;
    log_fields(EW_LOG_WARN, &w->reactor.log, "worker",
               "worker_id is held by another worker: waiting for its lease to expire", {"worker_id", w->worker_id, 0},
               {"lease", NULL, lease}, {"ms", NULL, ms});
}

static shell_claim *new_claim(ew_worker *w, uint64_t seed) {
    static const claim_ops ops = {
        .open = open_lease,
        .txn = send_txn,
        .lease = worker_lease,
        .check = check_lease,
        .hold = hold,
        .rival_ttl_s = rival_ttl_s,
        .waiting = waiting,
    };
    return claim_new(
        &(claim_config){
            .ops = &ops,
            .arg = w,
            .options = w->options,
            .worker_id = w->worker_id,
            .owner_key = w->owner_key,
            .receipt_key = w->receipt_key,
            .session_key = w->session_key,
            .holder = w->holder,
            .session_lease = w->session ? ew_session_lease(w->session) : 0,
            .seed = seed,
        },
        etcd_now_ms());
}

/* ---- before the run ---- */

static int run_claim(ew_worker *w, ew_error *err) {
    shell_claim *c = w->claim;
    int status;
    const char *detail;
    while (!claim_ended(c, &status, &detail)) {
        int reached = await_etcd(w, claim_deadline_ms(c), err);
        if (reached != EW_OK)
            return reached;
        int64_t next_ms = claim_round(c, etcd_now_ms()), now_ms = etcd_now_ms();
        note_absence(w, claim_trouble(c));
        int paused = next_ms > now_ms && next_ms != INT64_MAX ? pause_for(w, next_ms - now_ms, err) : EW_OK;
        if (paused != EW_OK)
            return paused;
    }
    return status == EW_OK ? EW_OK : ew_fail(err, status, "%s", detail);
}

int worker_prepare(ew_worker *w, ew_error *err) {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return ew_fail(err, EW_ERR_SYSTEM, "getrandom failed: %s", strerror(errno));
    if (!w->session && w->election)
        w->session = ew_election_session(w->election);
    w->leases.given = w->session != NULL;
    w->claim = new_claim(w, seed);
    if (!w->claim)
        return worker_out_of_memory(err);
    int status = run_claim(w, err);
    w->claimed = claim_get_result(w->claim);
    claim_free(w->claim);
    w->claim = NULL;
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
    int answer = OPEN;
    receipt_removal removal;
    receipt_removal_make(&removal, w->receipt_key, lease);
    ew_slice request = blocking_pack(&removal.txn);
    etcd_queue *queue = etcd_queue_new();
    if (queue && request.data && etcd_call_start(w->client, queue, ETCD_TXN, request, timeout_ms, on_deleted, &answer))
        while (answer == OPEN)
            etcd_queue_run(queue, INT64_MAX);
    free((void *)(uintptr_t)request.data);
    if (queue)
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
    int64_t records = worker_lease(w, SESSION_RECORDS), presence = worker_lease(w, SESSION_PRESENCE);
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
