/* Unknown outcomes: exactly once.
 *
 * A transaction T compares the receipt's mod_revision with the one that our last transaction left (m), and puts the
 * receipt with a sequence s that no other transaction of ours ever carries, bound to our lease. When T's answer is
 * lost, a copy of T is somewhere: applied, dropped, or still on its way. Nothing may be decided on T while a copy can
 * still be applied, since the reactor would then see, or write, its work twice. So we ask by sending T again, and what
 * comes back decides as follows. "Copies" are all attempts at T but the one that was answered; each can be applied
 * late, after our answer, at any moment.
 *
 *  1. T succeeds. At that moment the receipt was at m, so no copy had been applied; now it is at T's own revision,
 * which is higher, and revisions never repeat: no copy's compare holds ever again. T happened once.
 *  2. T is refused, the receipt carries s and our lease. Only a copy of T puts s: it was applied, once, since by (1)
 * the second one's compare could not hold. The receipt's mod_revision is the revision of T: the barrier.
 *  3. T is refused, the receipt is at m. No copy has been applied - yet: what refused T (a foreign write) may be undone
 *     by a foreign delete (a compare with 0 holds again), and a late copy would then be applied behind our back. So we
 *     put a fence F: compare the receipt's m, put the next sequence. F carries no other compare, because no foreign
 * write may keep us from deciding. a. F succeeds: the receipt has left m, no copy of T can be applied any more. T is
 * refused, for good, and what T's refusal said of its units holds: they had not been applied when it was read. b. F is
 * refused, the receipt carries F's sequence: an earlier copy of F was applied. As (a). c. F is refused, the receipt
 * carries s: a copy of T was applied between T's refusal and F. As (2). d. F's outcome is unknown: F is sent again; it
 * may be sent any number of times, since (a) to (c) hold for each copy. A copy of F that is applied after (c) is
 * impossible: the receipt has left m.
 *  4. The receipt is gone, though it was there: the lease expired or was revoked, or somebody deleted the key. T may
 * have been applied before that. With the lease gone no copy of T can be applied any more (etcd refuses the put of a
 * key with an unknown lease), with the key deleted by hand none either (m is gone for good), but whether one was is
 * lost with the receipt. The session is done, the outcome stays unknown. A worker puts its receipt before its first
 * transaction, so that this holds for all of them. Without that (m == 0, "the receipt does not exist") absence is the
 * normal case before the first: (3), and F creates the receipt; one that somebody deletes by hand meanwhile takes that
 *     guarantee away.
 *  5. The receipt is somebody else's (another lease, another sequence): another worker uses our id. Sequences start by
 * chance, so that two with the same lease do not take each other's for their own. EW_ERR_FENCED, and as in (4) the
 *     outcome stays unknown.
 *  6. Whatever else is answered to T or F - busy, no leader, a timeout, bytes that make no sense - says nothing about
 * the copies. We ask again, with backoff, for as long as it takes or until a stop's time is over. What can only be
 *     answered one way from now on (denied, invalid) leaves the outcome unknown, and ends the batch so.
 *
 * A first attempt whose answer did arrive needs none of this: gRPC's own retries are off, so one attempt is one copy,
 * and an answered copy is not on its way any more. That is why a plain refusal puts no fence. */
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

void committing_lost_receipt(committing *c, const committing_answer *a, bool unknown) {
    char detail[sizeof c->detail];
    const int len = (int)(c->config.receipt_key.len < 128 ? c->config.receipt_key.len : 128);
    const char *key = c->config.receipt_key.data;
    if (a->receipt == COMMITTING_RECEIPT_MISSING) {
        snprintf(detail, sizeof detail, "the receipt %.*s is gone: its lease has expired, or it was deleted", len, key);
        committing_finish(c, EW_ERR_SESSION_DONE, unknown, detail);
        return;
    }
    snprintf(detail, sizeof detail, "the receipt %.*s was written by another worker: lease %" PRIx64 ", sequence %s",
             len, key, (uint64_t)a->receipt_lease, a->receipt_value);
    committing_finish(c, EW_ERR_FENCED, unknown, detail);
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
        c->resolved++;
        committing_refused(c, &c->refusal);
    } else if (answer.receipt == COMMITTING_RECEIPT_TXN) {
        c->resolved++;
        committing_committed(c, answer.receipt_revision, committing_is_visible(c));
    } else {
        committing_lost_receipt(c, &answer, true);
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
    } else {
        committing_lost_receipt(c, &answer, true);
    }
}

/* An answer that is EW_OK or says that asking again is of no use. */
void committing_resolving_answer(committing *c, const committing_event *event) {
    if (event->status == EW_OK && c->fencing)
        fence_answer(c, event);
    else if (event->status == EW_OK)
        txn_answer(c, event);
    else if (event->status == EW_ERR_NOT_FOUND)
        committing_finish(c, EW_ERR_SESSION_DONE, true, event->detail);
    else
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, event->detail);
}
