/* Unknown outcomes: exactly once.
 *
 * T is a transaction. It compares the receipt's mod_revision with m, the mod_revision that our previous transaction
 * left. It puts the receipt with a sequence number s that none of our other transactions ever has, and with a lease
 * that no other worker has.
 *
 * If T's response is lost, a copy of T exists somewhere: it was applied, it was dropped, or it is still on its way.
 * Nothing may be decided about T while a copy can still be applied, because the reactor would then see its work twice,
 * or write it twice. So the committer sends T again, and the response decides:
 *
 *   case  response                                                     result
 *   1     T succeeds                                                   T is committed
 *   2     T is refused, the receipt has s and T's lease                T is committed
 *   3     T is refused, the receipt is at m                            a receipt bump decides
 *   4     T is refused, the receipt is missing                         T is built again, or its outcome is unknown
 *   5     T is refused, the receipt has another worker's lease         EW_ERR_FENCED, T's outcome is unknown
 *   6     (no T is unknown) the receipt is missing or has a new lease  the receipt is claimed
 *   7     no response, or one that says nothing about T                T is sent again
 *   8     (m is 0) the receipt is missing                              as case 3
 *   9     T is refused, the receipt is older than m                    T is refused, the prefix is loaded again
 *
 * "Copies" are all attempts of T except the one that was answered. Each copy can be applied late, at any moment after
 * the response. A "bump" is a transaction that contains only the receipt. Revisions never repeat, except in case 9.
 *
 * 1. T succeeds.
 *    At that moment the receipt was at m, so no copy had been applied before. Now the receipt is at T's own revision,
 *    which is higher, so no copy's compare can hold again. T was applied once.
 *
 * 2. T is refused, and the receipt has s and T's lease.
 *    Only a copy of T puts s, so a copy was applied. It was applied once: by (1) a second copy's compare cannot hold.
 *    The receipt's mod_revision is the revision of T, and so the barrier revision.
 *
 * 3. T is refused, and the receipt is at m.
 *    No copy has been applied yet. But T was refused because of an external write; an external delete can undo that (a
 *    compare with 0 holds again), and a late copy could then be applied unnoticed. So we send a bump F: it compares the
 *    receipt with m, and puts it with the next sequence number and T's lease. F has no other compare, so that no
 *    external write can prevent the decision.
 *    a. F succeeds: the receipt is no longer at m, so no copy of T can be applied any more. T is refused permanently.
 *       What T's refusal says about its units is valid: no copy had been applied when they were read.
 *    b. F is refused, and the receipt has F's sequence number: an earlier copy of F was applied. As (a).
 *    c. F is refused, and the receipt has s: a copy of T was applied between T's refusal and F. As (2).
 *    d. F is refused, and the receipt is missing: T is sent again, and (4) decides.
 *    e. F's outcome is unknown: F is sent again. It may be sent any number of times, because (a) to (d) hold for each
 *       copy. A copy of F cannot be applied after (c), because the receipt is no longer at m.
 *    f. F is refused, and the receipt is older than m: (9). It has another worker's lease: (5). It has a lease of ours,
 *       but neither s nor F's sequence number: (4b).
 *
 * 4. T is refused, the receipt is missing, and m is not 0.
 *    The receipt's lease was lost, or another client deleted the key. The receipt can never be at m again, so no copy
 *    of T can be applied from now on. Whether a copy was applied before:
 *    a. A key that T writes still has the revision, above 0, that T compares: T was not applied, because T would have
 *       changed that revision. The receipt is claimed again (6), and T is built again.
 *    b. Otherwise this can no longer be found out. The outcome stays unknown and ends the run: EW_ERR_UNKNOWN_OUTCOME.
 *       Unless the key was deleted, this takes an outage longer than the receipt's lease (receipt_ttl_s) with T in
 *       flight.
 *
 * 5. T is refused, and the receipt has a lease that never was ours.
 *    Another worker uses our worker_id: EW_ERR_FENCED. T's outcome stays unknown, as in (4b).
 *
 * 6. The receipt is missing, or its lease was replaced, while no outcome is unknown.
 *    All our transactions were answered, or decided as above. One that was answered as refused was not applied, and
 *    never can be, because its compare is on an m that is gone. So nothing depends on the receipt, and it is claimed
 *    (committing_claim.c): compare "missing", or the last m, and put it with the current lease. A late copy of a claim
 *    puts a receipt on a lease of ours that nothing else explains. It contains no unit. So it is adopted if no outcome
 *    is unknown; if T's outcome is unknown, it is case (4b).
 *
 * 7. Any other response to T or F (busy, no leader, a timeout, invalid bytes) says nothing about the copies.
 *    We send the same again, with backoff, until there is an answer or a stop's time is over. An error that will not
 *    change (denied, invalid) leaves the outcome unknown and ends the batch. EW_ERR_NOT_FOUND says more: a put has a
 *    lease that etcd does not know. etcd looks for the leases only if all compares hold, so the receipt was at m.
 *    a. m is above 0, and the lease of the batch's client records was replaced: T was not applied, and no copy can be.
 *       The batch is evaluated again with the new lease.
 *    b. m is above 0 otherwise: it is the session's lease, because the receipt and so its lease exist:
 *       EW_ERR_SESSION_DONE. The outcome is reported as unknown.
 *    c. m is 0: EW_ERR_UNKNOWN_OUTCOME.
 *
 * 8. m is 0 only if the core was started without a receipt. Then absence is the normal state: (3), and F creates the
 *    receipt. The worker does not start like this: it claims the receipt before its first transaction.
 *
 * 9. T is refused, and the receipt is older than m, or is missing while etcd's revision is below m.
 *    Neither revision ever falls, so etcd was restored from an older state. There T has not been applied, or the
 *    receipt would show it. No copy can be applied, because m belongs to another history. T is refused permanently; the
 *    receipt is claimed, as it is now, before the next batch; and the reactor loads the prefix again before it
 *    evaluates a group.
 *
 * A first attempt that is answered needs none of this: gRPC's own retries are off, so one attempt is one copy, and an
 * answered copy is no longer on its way. So a plain refusal needs no bump. */
#include "core/committing_private.h"

#include "core/bug.h"
#include "core/check.h"

#include <inttypes.h>

void committing_resolve(committing *c, const char *why) {
    CHECK(c->config.exactly_once);
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    snprintf(c->detail, sizeof c->detail, "the outcome of a transaction is unknown, sending it again: %s",
             why ? why : "");
    log->status = EW_LOG_WARN;
    log->detail = c->detail;
    c->fencing = false;
    c->failures = 0;
    committing_move(c, COMMITTING_RESOLVING);
    committing_send(c, &c->request);
}

void committing_resolve_again(committing *c) {
    committing_send(c, c->fencing ? &c->fence : &c->request);
}

static int key_len(const committing *c) {
    return (int)(c->config.receipt_key.len < 128 ? c->config.receipt_key.len : 128);
}

void committing_fenced(committing *c, const committing_answer *a, bool unknown) {
    char detail[sizeof c->detail];
    snprintf(detail, sizeof detail, "another worker uses this worker_id: it wrote the receipt %.*s with lease %" PRIx64,
             key_len(c), (const char *)c->config.receipt_key.data, (uint64_t)a->receipt_lease);
    committing_finish(c, EW_ERR_FENCED, unknown, detail);
}

/* Case 4, and what case 3f leads to: no copy of T can be applied any more. */
static void lost_receipt(committing *c, const committing_answer *a) {
    char detail[sizeof c->detail];
    if (a->receipt == COMMITTING_RECEIPT_FOREIGN) {
        committing_fenced(c, a, true);
    } else if (a->untouched || EW_BUG(missing_is_refused)) {
        c->resolved++;
        committing_claim_on(c, 0);
    } else {
        snprintf(detail, sizeof detail,
                 "the receipt %.*s was lost while the outcome of a transaction was unknown: its lease ended "
                 "(receipt_ttl_s), the key was deleted, or etcd was restored from an older state",
                 key_len(c), (const char *)c->config.receipt_key.data);
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, detail);
    }
}

/* Case 9. A session or leadership that was lost with the restore ends the run as usual. */
void committing_older_receipt(committing *c, const committing_answer *a) {
    committing_answer refusal = *a;
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    log->status = EW_LOG_ERROR;
    log->detail = "the receipt is older than the last one written: etcd was restored from an older state";
    if (a->status == EW_OK || a->status == EW_ERR_BAD_ANSWER)
        refusal.status = EW_ERR_REFUSED;
    refusal.conflict = c->next;
    refusal.conflict_revision = 0;
    c->receipt_mod = a->receipt_revision;
    c->claim = c->rewritten = true; /* it may have another lease, or none */
    committing_refused(c, &refusal);
}

/* Case 3: the refusal is kept, and becomes final when the bump is applied. */
static void put_fence(committing *c, const committing_event *event, const committing_answer *refusal) {
    c->refusal = *refusal;
    if (committing_build_fence(c) != EW_OK) {
        committing_back_off(c, event->now_ms); /* sends T again, which is still correct */
        return;
    }
    c->fencing = true;
    c->failures = 0;
    committing_resolve_again(c);
}

static void fence_answer(committing *c, const committing_event *event) {
    committing_answer answer;
    committing_understand_fence(c, event->bytes, &answer);
    if (answer.verdict == COMMITTING_MALFORMED) {
        committing_back_off(c, event->now_ms);
    } else if (answer.verdict == COMMITTING_SUCCEEDED || answer.receipt == COMMITTING_RECEIPT_FENCE) {
        c->receipt_mod = answer.verdict == COMMITTING_SUCCEEDED ? answer.revision : answer.receipt_revision;
        c->receipt_lease = c->own.lease;
        c->resolved++;
        committing_refused(c, &c->refusal);
    } else if (answer.receipt == COMMITTING_RECEIPT_TXN) {
        c->resolved++;
        committing_committed(c, answer.receipt_revision, committing_is_visible(c));
    } else if (answer.receipt == COMMITTING_RECEIPT_MISSING) {
        c->fencing = false; /* T's refusal also reads the keys of its units */
        committing_resolve_again(c);
    } else if (answer.receipt == COMMITTING_RECEIPT_OLDER) {
        committing_older_receipt(c, &answer);
    } else {
        lost_receipt(c, &answer);
    }
}

static void txn_answer(committing *c, const committing_event *event) {
    committing_answer answer;
    committing_understand(c, event->bytes, &answer);
    if (answer.verdict == COMMITTING_MALFORMED) {
        committing_back_off(c, event->now_ms);
    } else if (answer.verdict == COMMITTING_SUCCEEDED) {
        c->resolved++;
        committing_committed(c, answer.revision, answer.visible);
    } else if (answer.receipt == COMMITTING_RECEIPT_TXN && EW_BUG(blind_retry)) {
        c->receipt_mod = answer.receipt_revision;
        committing_refused(c, &answer);
    } else if (answer.receipt == COMMITTING_RECEIPT_TXN) {
        c->resolved++;
        committing_committed(c, answer.receipt_revision, committing_is_visible(c));
    } else if (answer.receipt == COMMITTING_RECEIPT_LAST && EW_BUG(no_fence)) {
        committing_refused(c, &answer);
    } else if (answer.receipt == COMMITTING_RECEIPT_LAST) {
        put_fence(c, event, &answer);
    } else if (answer.receipt == COMMITTING_RECEIPT_OLDER) {
        c->resolved++;
        committing_older_receipt(c, &answer);
    } else {
        lost_receipt(c, &answer);
    }
}

/* Handles a response that is EW_OK, or an error for which sending again does not help. */
void committing_resolving_answer(committing *c, const committing_event *event) {
    if (event->status == EW_OK && c->fencing)
        fence_answer(c, event);
    else if (event->status == EW_OK)
        txn_answer(c, event);
    else if (c->own.receipt_mod > 0 && committing_bound_to_lost_lease(c, event->status))
        committing_evaluate_again(c);
    else if (event->status == EW_ERR_NOT_FOUND) /* case 7b: the session's lease */
        committing_finish(c, c->own.receipt_mod > 0 ? EW_ERR_SESSION_DONE : EW_ERR_UNKNOWN_OUTCOME, true,
                          event->detail);
    else
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, event->detail);
}
