/* Claims: puts the receipt again when it is missing while nothing is undecided, and when its lease was replaced. A
 * claim contains only the receipt, so a late copy of a claim only puts the receipt. Such a receipt is recognised by its
 * lease, which no other worker has, and adopted. */
#include "core/committing_private.h"

#include <stdlib.h>

static void log_claim(committing *c) {
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    log->status = EW_LOG_INFO;
    log->detail = "the receipt is missing, or its lease was replaced: putting it again";
}

void committing_claim(committing *c) {
    if (c->stopping) {
        committing_finish(c, EW_ERR_CANCELLED, false, "stopped");
        return;
    }
    if (committing_build_claim(c) != EW_OK) {
        committing_finish(c, EW_ERR_NO_MEMORY, false, "putting the receipt again");
        return;
    }
    if (c->state != COMMITTING_CLAIMING) {
        log_claim(c);
        c->failures = 0;
    }
    c->in_batch = c->claim = true;
    c->fencing = false;
    committing_send(c, &c->fence);
    committing_move(c, COMMITTING_CLAIMING);
}

void committing_claim_on(committing *c, int64_t receipt_mod) {
    c->receipt_mod = receipt_mod;
    committing_claim(c);
}

/* Puts the receipt on top of what was found. The first time this is done at once, later with backoff, so that a server
 * with contradictory responses is not asked in a loop. */
static void claim_again(committing *c, int64_t now_ms, int64_t receipt_mod) {
    bool first = c->failures == 0;
    c->receipt_mod = receipt_mod;
    committing_back_off(c, now_ms);
    if (first)
        committing_claim(c);
}

static void claimed(committing *c, int64_t now_ms, int64_t revision, int64_t lease) {
    c->receipt_lease = lease;
    if (lease != c->config.lease) { /* replaced meanwhile, or a late copy with the previous lease */
        claim_again(c, now_ms, revision);
        return;
    }
    c->receipt_mod = revision;
    c->claim = false;
    committing_advance(c);
}

/* Handles a response that is EW_OK, or an error for which sending again does not help. */
void committing_claim_answer(committing *c, const committing_event *event) {
    committing_answer a;
    if (event->status == EW_ERR_NOT_FOUND) {
        committing_emit(c, COMMITTING_DO_LEASE);
        committing_back_off(c, event->now_ms);
        return;
    }
    if (event->status != EW_OK) {
        committing_finish(c, event->status, false, event->detail);
        return;
    }
    committing_understand_fence(c, event->bytes, &a);
    if (a.verdict == COMMITTING_MALFORMED)
        committing_back_off(c, event->now_ms);
    else if (a.verdict == COMMITTING_SUCCEEDED)
        claimed(c, event->now_ms, a.revision, c->own.lease);
    else if (a.receipt == COMMITTING_RECEIPT_FOREIGN)
        committing_fenced(c, &a, false);
    else if (a.receipt == COMMITTING_RECEIPT_MISSING)
        claim_again(c, event->now_ms, 0);
    else
        claimed(c, event->now_ms, a.receipt_revision, a.receipt_lease);
}

/* A transaction in flight keeps the lease with which it was built. */
void committing_replace_lease(committing *c, int64_t lease) {
    if (!c->config.exactly_once || lease == 0 || lease == c->config.lease)
        return;
    c->former_lease = c->config.lease;
    c->config.lease = lease;
    c->claim = true;
    if (c->state == COMMITTING_CLAIMING && !c->call_out)
        committing_claim(c);
}
