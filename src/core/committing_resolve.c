/* Unknown outcomes: exactly once.
 *
 * A transaction T compares the receipt's mod_revision with the one that our last transaction left (m), and puts the
 * receipt with a sequence s that no other transaction of ours ever carries, bound to a lease that no other worker has.
 * When T's answer is lost, a copy of T is somewhere: applied, dropped, or still on its way. Nothing may be decided on T
 * while a copy can still be applied, since the reactor would then see, or write, its work twice. So the committer sends
 * T again, and the answer decides as listed below. "Copies" are all attempts at T but the one that was answered; each
 * can be applied late, after our answer, at any moment. "Bump" is a transaction that carries the receipt alone. */
/* clang-format off */
/*
 * 1. T succeeds. At that moment the receipt was at m, so no copy had been applied; now it is at T's own revision, which
 *    is higher, and revisions never repeat: no copy's compare holds ever again. T happened once.
 *
 * 2. T is refused, the receipt carries s and T's lease. Only a copy of T puts s: it was applied, and once, since by (1)
 *    the second one's compare could not hold. The receipt's mod_revision is the revision of T: the barrier.
 *
 * 3. T is refused, the receipt is at m. No copy has been applied - yet: what refused T (an external write) may be undone
 *    by an external delete (a compare with 0 holds again), and a late copy would then be applied unnoticed. So we put a
 *    bump F: compare the receipt's m, put the next sequence, with T's lease. F carries no other compare, because no
 *    external write may keep us from deciding.
 *    a. F succeeds: the receipt has left m, no copy of T can be applied any more. T is refused, for good, and what T's
 *       refusal said of its units holds: they had not been applied when it was read.
 *    b. F is refused, the receipt carries F's sequence: an earlier copy of F was applied. As (a).
 *    c. F is refused, the receipt carries s: a copy of T was applied between T's refusal and F. As (2).
 *    d. F is refused, the receipt is missing: T is sent again, and (4) decides.
 *    e. F's outcome is unknown: F is sent again; it may be sent any number of times, since (a) to (d) hold for each
 *       copy. A copy of F that is applied after (c) is impossible: the receipt has left m.
 *
 * 4. T is refused, the receipt is missing, and m is not 0: its lease was lost, or somebody deleted the key. m is gone
 *    for good, so no copy of T can be applied from now on. Whether one was applied before:
 *    a. A key that T writes is still at the revision above 0 that T compares. Applied, T would have changed that
 *       revision, and revisions never repeat. So T was not applied; the receipt is claimed again (6), and T is built anew.
 *    b. Otherwise that is lost with the receipt. The outcome stays unknown, and ends the run: EW_ERR_UNKNOWN_OUTCOME.
 *       The receipt's lease (receipt_ttl_s) is so long that this takes an outage longer than that, with T in flight.
 *
 * 5. The receipt is on a lease that never was ours: another worker uses our id. EW_ERR_FENCED, and as in (4b) the
 *    outcome stays unknown.
 *
 * 6. The receipt is missing, or its lease was replaced, while nothing is unknown: all transactions of ours were answered
 *    or decided as above. One that was answered as refused was not applied, and never can be: its compare is on an m
 *    that is gone. So nothing hangs on the receipt, and it is claimed (committing_claim.c): compare "missing", or the
 *    last m, and put it with the lease of now. A late copy of a claim puts a receipt on a lease of ours that nothing
 *    else explains: it carries no unit, so it is adopted where nothing is unknown, and is (4b) where T is.
 *
 * 7. Whatever else is answered to T or F - busy, no leader, a timeout, invalid bytes - says nothing about the copies. We
 *    ask again, with backoff, for as long as it takes or until a stop's time is over. What can only be answered one way
 *    from now on (denied, invalid) leaves the outcome unknown, and ends the batch so.
 *
 * 8. m is 0 only where the core was started without a receipt. Absence is the normal case then: (3), and F creates the
 *    receipt. The worker does not start so: it claims the receipt before the first transaction.
 *
 * 9. The receipt is older than m, or missing while etcd's revision is below m: neither ever falls, so etcd was restored
 *    from an older state. There T has not been applied, or the receipt would say so, and no copy can be, since m is of
 *    another history. T is refused, for good; the receipt is claimed as it is now before the next batch, and the reactor
 *    loads the prefix again before it evaluates anything.
 *
 * A first attempt whose answer did arrive needs none of this: gRPC's own retries are off, so one attempt is one copy,
 * and an answered copy is not on its way any more. That is why a plain refusal puts no bump.
 */
/* clang-format on */
#include "core/committing_private.h"

#include "core/bug.h"
#include "core/check.h"

#include <inttypes.h>

void committing_resolve(committing *c, const char *why) {
    CHECK(c->config.exactly_once);
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    snprintf(c->detail, sizeof c->detail, "the outcome of a transaction is unknown, asking again: %s", why ? why : "");
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

/* Case 4: what no copy can change any more. */
static void lost_receipt(committing *c, const committing_answer *a) {
    char detail[sizeof c->detail];
    if (a->receipt == COMMITTING_RECEIPT_FOREIGN) {
        committing_fenced(c, a, true);
    } else if (a->untouched || EW_BUG(missing_is_refused)) {
        c->resolved++;
        committing_claim_on(c, 0);
    } else {
        snprintf(detail, sizeof detail,
                 "the receipt %.*s vanished while the outcome of a transaction was unknown: its lease was lost "
                 "(receipt_ttl_s), the key was deleted, or etcd was restored from an older state",
                 key_len(c), (const char *)c->config.receipt_key.data);
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, detail);
    }
}

/* Case 9. What the session or the leadership has lost with the restore ends the run as it does otherwise. */
void committing_older_receipt(committing *c, const committing_answer *a) {
    committing_answer refusal = *a;
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    log->status = EW_LOG_ERROR;
    log->detail = "the receipt is older than it was: etcd was restored from an older state";
    if (a->status == EW_OK || a->status == EW_ERR_BAD_ANSWER)
        refusal.status = EW_ERR_REFUSED;
    refusal.conflict = c->next;
    refusal.conflict_revision = 0;
    c->receipt_mod = a->receipt_revision;
    c->claim = c->rewritten = true; /* its lease may be another one, or none */
    committing_refused(c, &refusal);
}

/* Case 3: the refusal is kept, and holds as soon as the fence is there. */
static void put_fence(committing *c, const committing_event *event, const committing_answer *refusal) {
    c->refusal = *refusal;
    if (committing_build_fence(c) != EW_OK) {
        committing_back_off(c, event->now_ms); /* asks again with T, which is still right */
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
        c->fencing = false; /* T's own refusal reads its keys too */
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

/* An answer that is EW_OK or says that asking again is of no use. */
void committing_resolving_answer(committing *c, const committing_event *event) {
    if (event->status == EW_OK && c->fencing)
        fence_answer(c, event);
    else if (event->status == EW_OK)
        txn_answer(c, event);
    else if (c->own.receipt_mod > 0 && committing_bound_to_lost_lease(c, event->status))
        committing_evaluate_again(c);
    else if (event->status == EW_ERR_NOT_FOUND) /* the session's lease, of a put: the receipt is there, and so is its */
        committing_finish(c, c->own.receipt_mod > 0 ? EW_ERR_SESSION_DONE : EW_ERR_UNKNOWN_OUTCOME, true,
                          event->detail);
    else
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, event->detail);
}
