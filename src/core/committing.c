/* The committing core: creation, steps and transitions. */
#include "core/committing_private.h"

#include "core/backoff.h"
#include "core/bug.h"
#include "core/check.h"
#include "core/deadline.h"

#include <stdlib.h>

/* The allowed transitions, with the text that logs each. */
static const char *const moves[COMMITTING_ENDED + 1][COMMITTING_ENDED + 1] = {
    [COMMITTING_IDLE] = {[COMMITTING_IN_FLIGHT] = "idle -> in flight",
                         [COMMITTING_CLAIMING] = "idle -> claiming",
                         [COMMITTING_ENDED] = "idle -> ended"},
    [COMMITTING_IN_FLIGHT] = {[COMMITTING_IDLE] = "in flight -> idle",
                              [COMMITTING_CLAIMING] = "in flight -> claiming",
                              [COMMITTING_BACKING_OFF] = "in flight -> backing off",
                              [COMMITTING_RESOLVING] = "in flight -> resolving"},
    [COMMITTING_BACKING_OFF] =
        {[COMMITTING_IN_FLIGHT] = "backing off -> in flight", [COMMITTING_IDLE] = "backing off -> idle"},
    [COMMITTING_RESOLVING] = {[COMMITTING_IN_FLIGHT] = "resolving -> in flight",
                              [COMMITTING_CLAIMING] = "resolving -> claiming",
                              [COMMITTING_IDLE] = "resolving -> idle"},
    [COMMITTING_CLAIMING] = {[COMMITTING_IN_FLIGHT] = "claiming -> in flight", [COMMITTING_IDLE] = "claiming -> idle"},
};

committing *committing_new(const committing_config *config) {
    committing *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->config = *config;
    c->timer_ms = c->stop_ms = INT64_MAX;
    c->random = config->seed;
    c->receipt_mod = config->receipt_revision;
    c->receipt_lease = config->lease;
    c->sequence = config->sequence;
    if (!committing_make_fences(config, &c->fences, &c->fence_bytes)) {
        committing_free(c);
        return NULL;
    }
    return c;
}

void committing_free(committing *c) {
    if (!c)
        return;
    committing_drop_batch(c);
    if (c->fences)
        pb__txn_request__free_unpacked(c->fences, NULL);
    free(c->fence_bytes.data);
    free(c->revisions);
    free(c->request.data);
    free(c->fence.data);
    free(c);
}

bool committing_has_no_space(const committing *c) {
    return c->no_space;
}

committing_state committing_get_state(const committing *c) {
    return c->state;
}

int64_t committing_deadline_ms(const committing *c) {
    if (c->state == COMMITTING_ENDED)
        return INT64_MAX;
    return deadline_earlier(c->timer_ms, c->stop_ms);
}

committing_effect *committing_emit(committing *c, committing_effect_type type) {
    CHECK(c->out->count < COMMITTING_EFFECTS_MAX);
    committing_effect *e = &c->out->list[c->out->count++];
    *e = (committing_effect){.type = type};
    return e;
}

/* What must hold in each state. Otherwise a transaction would be sent twice, or lost. */
static void check_invariant(const committing *c) {
    CHECK(c->in_batch == (c->state != COMMITTING_IDLE && c->state != COMMITTING_ENDED));
    CHECK(c->next <= c->limit && c->limit <= c->unit_count);
    CHECK(c->call_out || c->state != COMMITTING_IN_FLIGHT);
    CHECK(!c->call_out || c->state == COMMITTING_IN_FLIGHT || c->state == COMMITTING_RESOLVING ||
          c->state == COMMITTING_CLAIMING);
    CHECK(c->call_out == (c->timer_ms == INT64_MAX) || !c->in_batch);
    CHECK((c->state != COMMITTING_RESOLVING && c->state != COMMITTING_CLAIMING) || c->config.exactly_once);
    CHECK(!c->fencing || c->state == COMMITTING_RESOLVING);
}

void committing_move(committing *c, committing_state to) {
    if (c->state == to)
        return;
    CHECK(moves[c->state][to]);
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    log->status = EW_LOG_DEBUG;
    log->detail = moves[c->state][to];
    c->state = to;
}

/* When a leader dies, etcd does not answer the requests that were on their way to it for 7 s (ETCD P11), although there
 * is a new leader after one or two seconds. With receipts it is safe to ask again earlier (docs/architecture.md,
 * Exactly once). In case etcd is only slow, every second attempt without an answer doubles the time of the next one.
 * Not every attempt, because the second one may still have been sent to the dead leader. */
static int64_t patience_ms(const committing *c) {
    enum { PATIENCE_MS = 2000 };
    int64_t most = c->config.call_timeout_ms, ms = c->config.exactly_once ? PATIENCE_MS : most;
    for (uint32_t i = 1; i < c->unanswered && ms < most; i += 2)
        ms *= 2;
    return ms < most ? ms : most;
}

void committing_send(committing *c, const buffer *request) {
    CHECK(!c->call_out);
    committing_effect *txn = committing_emit(c, COMMITTING_DO_TXN);
    txn->bytes = (ew_slice){request->data, request->len};
    txn->timeout_ms = patience_ms(c);
    c->call_out = true;
    c->timer_ms = INT64_MAX;
    c->txns++;
}

void committing_back_off(committing *c, int64_t now_ms) {
    int64_t min_ms = c->config.backoff_min_ms > 0 ? c->config.backoff_min_ms : 1; /* never at once */
    c->timer_ms = now_ms + backoff_ms(min_ms, c->config.backoff_max_ms, c->failures++, &c->random);
}

typedef enum answer_class { ANSWER_OK, ANSWER_RETRY, ANSWER_UNKNOWN, ANSWER_DEFINITE } answer_class;

/* ETCD P11. If it is not certain, the outcome is unknown: treating an applied transaction as not applied would apply it
 * twice. */
static answer_class classify(int status) {
    switch (status) {
    case EW_OK:
        return ANSWER_OK;
    case EW_ERR_BUSY:
    case EW_ERR_NO_SPACE:
    case EW_ERR_UNAVAILABLE:
        return ANSWER_RETRY;
    case EW_ERR_INVALID:
    case EW_ERR_TOO_LARGE:
    case EW_ERR_NOT_FOUND:
    case EW_ERR_DENIED:
    case EW_ERR_UNAUTHENTICATED:
    case EW_ERR_UNSUPPORTED:
    case EW_ERR_NO_MEMORY:
    case EW_ERR_SESSION_DONE:
    case EW_ERR_LEADERSHIP_LOST:
    case EW_ERR_STATE:
        return ANSWER_DEFINITE;
    default:
        return ANSWER_UNKNOWN;
    }
}

static void in_flight_unknown(committing *c, const char *why) {
    if (c->config.exactly_once)
        committing_resolve(c, why);
    else
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, why);
}

static void in_flight_understood(committing *c, const committing_answer *a) {
    if (a->verdict == COMMITTING_SUCCEEDED)
        committing_committed(c, a->revision, a->visible);
    else if (a->verdict == COMMITTING_MALFORMED)
        in_flight_unknown(c, "invalid response to a transaction");
    else if (c->config.exactly_once && a->receipt == COMMITTING_RECEIPT_TXN)
        committing_committed(c, a->receipt_revision, committing_is_visible(c)); /* an earlier attempt was applied */
    else if (c->config.exactly_once && a->receipt == COMMITTING_RECEIPT_OLDER)
        committing_older_receipt(c, a);
    else if (c->config.exactly_once && a->receipt == COMMITTING_RECEIPT_FOREIGN)
        committing_fenced(c, a, false);
    else if (c->config.exactly_once && a->receipt != COMMITTING_RECEIPT_LAST)
        committing_claim_on(c, a->receipt_revision); /* refused, and its compare can never hold again */
    else if (a->status == EW_ERR_BAD_ANSWER)
        in_flight_unknown(c, "etcd refused a transaction although all of its compares hold");
    else
        committing_refused(c, a);
}

static void in_flight_answer(committing *c, const committing_event *event) {
    committing_answer answer;
    switch (classify(event->status)) {
    case ANSWER_OK:
        committing_understand(c, event->bytes, &answer);
        in_flight_understood(c, &answer);
        break;
    case ANSWER_RETRY:
        if (c->stopping) {
            committing_finish(c, EW_ERR_CANCELLED, false, event->detail);
            break;
        }
        committing_back_off(c, event->now_ms);
        committing_move(c, COMMITTING_BACKING_OFF);
        break;
    case ANSWER_UNKNOWN:
        in_flight_unknown(c, event->detail);
        break;
    case ANSWER_DEFINITE:
        /* With a receipt, its lease exists too, so the missing lease is another one: the session's, of a put. */
        if (event->status == EW_ERR_NOT_FOUND && c->config.exactly_once && c->own.receipt_mod == 0)
            committing_claim_on(c, 0);
        else if (committing_bound_to_lost_lease(c, event->status))
            committing_evaluate_again(c);
        else
            committing_failed(c, event->status, event->detail);
        break;
    }
}

/* Logged once when it begins and once when it is over. */
static void note_space(committing *c, int status) {
    bool none = status == EW_ERR_NO_SPACE;
    if (none == c->no_space || (!none && status != EW_OK))
        return; /* unchanged, or a response that says nothing about space */
    c->no_space = none;
    committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
    log->status = none ? EW_LOG_WARN : EW_LOG_INFO;
    log->detail =
        none ? "etcd is out of space: transactions wait until the NOSPACE alarm is disarmed" : "etcd has space again";
}

static void take_answer(committing *c, const committing_event *event) {
    if (!c->call_out)
        return; /* response to a cancelled call */
    note_space(c, event->status);
    c->unanswered = event->status == EW_ERR_UNKNOWN_OUTCOME ? c->unanswered + 1 : 0;
    c->call_out = false;
    answer_class answer = classify(event->status);
    bool says_nothing = answer == ANSWER_RETRY || answer == ANSWER_UNKNOWN || event->status == EW_ERR_NO_MEMORY;
    if ((c->state == COMMITTING_RESOLVING || c->state == COMMITTING_CLAIMING) && says_nothing)
        committing_back_off(c, event->now_ms); /* the outcome is still unknown */
    else if (c->state == COMMITTING_CLAIMING)
        committing_claim_answer(c, event);
    else if (c->state == COMMITTING_RESOLVING)
        committing_resolving_answer(c, event);
    else
        in_flight_answer(c, event);
}

static void take_timer(committing *c, int64_t now_ms) {
    if (now_ms >= c->stop_ms && c->in_batch) {
        c->call_out = false;
        committing_finish(c, EW_ERR_UNKNOWN_OUTCOME, true, "stopped before the outcome was known");
    } else if (now_ms < c->timer_ms) {
        return;
    } else if (c->state == COMMITTING_BACKING_OFF) {
        committing_send(c, &c->request);
        committing_move(c, COMMITTING_IN_FLIGHT);
    } else if (c->state == COMMITTING_RESOLVING) {
        committing_resolve_again(c);
    } else if (c->state == COMMITTING_CLAIMING) {
        committing_claim(c);
    }
}

/* SEMANTICS 7: what is in flight is decided first, and nothing new is started. */
static void take_stop(committing *c, const committing_event *event) {
    int64_t timeout_ms = event->timeout_ms > 0 ? event->timeout_ms : 0;
    int64_t stop_ms = timeout_ms < INT64_MAX - event->now_ms ? event->now_ms + timeout_ms : INT64_MAX;
    c->stop_ms = deadline_earlier(stop_ms, c->stop_ms);
    if (c->stopping)
        return;
    c->stopping = true;
    if (c->state == COMMITTING_BACKING_OFF || c->state == COMMITTING_CLAIMING ||
        (EW_BUG(stop_forgets) && c->state == COMMITTING_IN_FLIGHT))
        committing_finish(c, EW_ERR_CANCELLED, false, "stopped");
    else if (c->state == COMMITTING_IDLE)
        committing_move(c, COMMITTING_ENDED);
}

void committing_step(committing *c, const committing_event *event, committing_effects *out) {
    out->count = 0;
    if (c->state == COMMITTING_ENDED)
        return;
    c->out = out;
    switch (event->type) {
    case COMMITTING_BATCH:
        committing_take(c, event->patches);
        break;
    case COMMITTING_ANSWER:
        take_answer(c, event);
        break;
    case COMMITTING_TIMER:
        take_timer(c, event->now_ms);
        break;
    case COMMITTING_LEASE:
        committing_replace_lease(c, event->lease);
        break;
    case COMMITTING_STOP:
        take_stop(c, event);
        break;
    }
    if (c->state == COMMITTING_ENDED)
        committing_emit(c, COMMITTING_DO_END);
    check_invariant(c);
    c->out = NULL;
}
