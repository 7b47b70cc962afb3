#include "shell/claim.h"

#include "core/bug.h"
#include "core/random.h"
#include "shell/claim_txn.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The steps of a claim, in this order. A worker skips those that its options do not need. */
typedef enum claim_step {
    OPEN_PRESENCE,
    PUT_OWNER,
    OPEN_RECORDS,
    PUT_RECEIPT,
    PUT_SESSION,
    STEPS,
} claim_step;

struct shell_claim {
    claim_config config;
    uint64_t random;
    claim_step step;
    bool waiting; /* an answer is outstanding */
    int64_t deadline_ms, next_ms;
    int64_t backoff_ms;
    int64_t lease;          /* of the last put */
    int64_t expected;       /* the mod_revision that the last put compares */
    int tries;              /* puts of this attempt */
    int64_t rival_until_ms; /* until when to wait for the lease of another worker that holds the id; 0: none does */
    bool awaits_rival;      /* `next_ms` is when to look again whether that lease has expired */
    claim_result result;
    bool troubled; /* the last attempt will be repeated; `detail` says why */
    bool over;
    int status;
    char detail[256];
};

static void set_detail(shell_claim *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set_detail(shell_claim *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->detail, sizeof c->detail, format, args);
    va_end(args);
}

static void end(shell_claim *c, int status) {
    c->over = true;
    c->status = status;
}

/* ---- steps ---- */

static bool is_needed(const claim_config *config, claim_step step) {
    const ew_options *o = config->options;
    bool guarded = o->exactly_once || o->fence_session, named = guarded && o->worker_id[0] != '\0';
    switch (step) {
    case OPEN_PRESENCE:
        return named || (guarded && config->session_lease == 0);
    case PUT_OWNER:
        return named;
    case OPEN_RECORDS:
    case PUT_RECEIPT:
        return o->exactly_once;
    case PUT_SESSION:
        return o->fence_session;
    case STEPS:
        break;
    }
    return true;
}

static void begin_step(shell_claim *c, claim_step step, int64_t now_ms) {
    while (!is_needed(&c->config, step))
        step++;
    c->step = step;
    c->troubled = false;
    c->next_ms = now_ms;
    c->backoff_ms = c->config.options->backoff_min_ms;
    if (step == STEPS) {
        c->detail[0] = '\0';
        end(c, EW_OK);
    }
}

/* Schedules another attempt if that can help, otherwise ends the claim. The reason is in `detail`. */
static void repeat(shell_claim *c, int status, int64_t now_ms) {
    int64_t most_ms = c->config.options->backoff_max_ms;
    c->troubled = ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME;
    if (!c->troubled || now_ms + c->backoff_ms >= c->deadline_ms) {
        end(c, status);
        return;
    }
    c->next_ms = now_ms + c->backoff_ms;
    c->backoff_ms = 2 * c->backoff_ms < most_ms ? 2 * c->backoff_ms : most_ms;
}

/* ---- attempts ---- */

static session_lease lease_of(claim_step step) {
    return step == OPEN_RECORDS || step == PUT_RECEIPT ? SESSION_RECORDS : SESSION_PRESENCE;
}

static bool is_given(const shell_claim *c) {
    return c->step == PUT_SESSION && c->config.session_lease != 0;
}

static void put(shell_claim *c) {
    const claim_config *config = &c->config;
    char value[24];
    put_if t;
    snprintf(value, sizeof value, "%" PRId64, c->result.sequence);
    if (c->step == PUT_OWNER)
        put_if_make(&t, config->owner_key, config->holder, c->lease, c->expected);
    else if (c->step == PUT_RECEIPT)
        put_if_make(&t, config->receipt_key, value, c->lease, c->expected);
    else
        put_always_make(&t, config->session_key, config->worker_id, c->lease);
    c->waiting = true;
    config->ops->txn(config->arg, &t.txn);
}

static void attempt_put(shell_claim *c, int64_t now_ms) {
    const int64_t lowest = INT64_C(1000000000000000000); /* always 19 digits, so that transactions have one size */
    c->lease = is_given(c) ? c->config.session_lease : c->config.ops->lease(c->config.arg, lease_of(c->step));
    c->expected = 0;
    c->tries = 1;
    if (c->step == PUT_RECEIPT)
        c->result.sequence = lowest + (int64_t)(random_next(&c->random) % (uint64_t)lowest);
    if (c->lease == 0) {
        set_detail(c, "the worker's lease was lost, and is being replaced");
        repeat(c, EW_ERR_UNAVAILABLE, now_ms);
    } else if (c->step == PUT_RECEIPT && EW_BUG(receipt_unclaimed)) {
        c->result.receipt_lease = c->lease;
        begin_step(c, c->step + 1, now_ms);
    } else {
        put(c);
    }
}

static void put_off_deadline(shell_claim *c, int64_t ms) {
    if (c->deadline_ms != INT64_MAX)
        c->deadline_ms += ms;
}

int64_t claim_round(shell_claim *c, int64_t now_ms) {
    if (!c->over && !c->waiting && now_ms >= c->next_ms) {
        if (c->awaits_rival)
            put_off_deadline(c, now_ms - c->next_ms);
        c->awaits_rival = false;
        if (c->step == OPEN_PRESENCE || c->step == OPEN_RECORDS) {
            c->waiting = true;
            c->config.ops->open(c->config.arg, lease_of(c->step));
        } else {
            attempt_put(c, now_ms);
        }
    }
    return c->over || c->waiting ? INT64_MAX : c->next_ms;
}

/* ---- answers ---- */

void claim_opened(shell_claim *c, int status, const char *detail, int64_t now_ms) {
    c->waiting = false;
    if (status != EW_OK) {
        set_detail(c, "%s", detail);
        repeat(c, status, now_ms);
        return;
    }
    if (c->step == OPEN_PRESENCE)
        c->result.presence_lease = c->config.ops->lease(c->config.arg, SESSION_PRESENCE);
    begin_step(c, c->step + 1, now_ms);
}

/* SEMANTICS 33: a worker that starts never ends a running one. A worker that died holds its id until etcd expires its
 * lease, which may be late by a margin. This wait does not count towards start_timeout_ms. */
static void await_rival(shell_claim *c, int64_t lease, int64_t now_ms) {
    enum { POLL_MS = 500, MARGIN_MS = 5000 };
    const claim_config *config = &c->config;
    if (c->rival_until_ms == 0) {
        int64_t ttl_s = lease != 0 ? config->ops->rival_ttl_s(config->arg, lease) : 0;
        c->rival_until_ms = now_ms + (ttl_s != 0 ? ttl_s : config->options->session_ttl_s) * 1000 + MARGIN_MS;
        config->ops->waiting(config->arg, lease, c->rival_until_ms - now_ms);
    }
    if (now_ms < c->rival_until_ms) {
        c->next_ms = now_ms + POLL_MS;
        c->backoff_ms = config->options->backoff_min_ms;
        c->awaits_rival = true;
        put_off_deadline(c, POLL_MS); /* and if the next look is later than that, claim_round adds the rest */
        return;
    }
    set_detail(c,
               "worker_id \"%s\" is in use by a running worker (%s, lease %" PRIx64
               "): give each worker an id of its own, or stop the other one",
               config->worker_id, config->owner_key, (uint64_t)lease);
    end(c, EW_ERR_FENCED);
}

/* Puts the key again, now expecting it at `revision`. An existing receipt is from an earlier run with this id. After
 * the put, etcd refuses late copies of that run's transactions. */
static void put_again(shell_claim *c, const char *key, int64_t revision, int64_t now_ms) {
    enum { TRIES = 3 };
    c->expected = revision;
    if (c->tries++ < TRIES) {
        put(c);
        return;
    }
    set_detail(c, "%s keeps changing", key);
    repeat(c, EW_ERR_UNAVAILABLE, now_ms);
}

static void take_owner(shell_claim *c, const put_if_result *r, int64_t now_ms) {
    const claim_config *config = &c->config;
    if (!r->done && r->revision > 0 && !r->same) {
        await_rival(c, r->lease, now_ms);
    } else if (!r->done) {
        put_again(c, config->owner_key, r->revision, now_ms);
    } else {
        config->ops->hold(config->arg);
        if (config->ops->lease(config->arg, SESSION_PRESENCE) == c->lease) {
            begin_step(c, c->step + 1, now_ms);
        } else {
            set_detail(c, "the worker's lease was replaced");
            repeat(c, EW_ERR_UNAVAILABLE, now_ms);
        }
    }
}

static void take_receipt(shell_claim *c, const put_if_result *r, int64_t now_ms) {
    if (!r->done) {
        put_again(c, c->config.receipt_key, r->revision, now_ms);
        return;
    }
    c->result.receipt_lease = c->lease;
    c->result.receipt_revision = r->revision;
    begin_step(c, c->step + 1, now_ms);
}

/* Handles a failed put. If the user's session is lost, the run ends. The worker's own session was not used yet, so a
 * lost one is replaced. */
static void fail(shell_claim *c, int status, const char *detail, int64_t now_ms) {
    if (status != EW_ERR_NOT_FOUND) {
        set_detail(c, "%s", detail);
        repeat(c, status, now_ms);
    } else if (is_given(c)) {
        set_detail(c, "the session's lease does not exist");
        end(c, EW_ERR_SESSION_DONE);
    } else {
        c->config.ops->check(c->config.arg, lease_of(c->step));
        set_detail(c, "etcd does not know the worker's lease");
        repeat(c, EW_ERR_UNAVAILABLE, now_ms);
    }
}

void claim_answered(shell_claim *c, int status, const char *detail, const Pb__TxnResponse *r, int64_t now_ms) {
    const claim_config *config = &c->config;
    const char *key = c->step == PUT_OWNER ? config->owner_key : config->receipt_key;
    put_if_result result;
    c->waiting = false;
    c->troubled = false;
    if (status != EW_OK) {
        fail(c, status, detail, now_ms);
    } else if (!put_if_read(r, key, config->holder, &result)) {
        set_detail(c, "TxnResponse: invalid response");
        end(c, EW_ERR_BAD_ANSWER);
    } else if (c->step == PUT_OWNER) {
        take_owner(c, &result, now_ms);
    } else if (c->step == PUT_RECEIPT) {
        take_receipt(c, &result, now_ms);
    } else {
        if (!is_given(c))
            c->result.presence_lease = c->lease;
        begin_step(c, c->step + 1, now_ms);
    }
}

/* ---- state ---- */

bool claim_ended(const shell_claim *c, int *status, const char **detail) {
    if (!c->over)
        return false;
    *status = c->status;
    *detail = c->detail;
    return true;
}

const char *claim_trouble(const shell_claim *c) {
    return c->troubled ? c->detail : NULL;
}

int64_t claim_deadline_ms(const shell_claim *c) {
    return c->deadline_ms;
}

claim_result claim_get_result(const shell_claim *c) {
    return c->result;
}

/* ---- life ---- */

shell_claim *claim_new(const claim_config *config, int64_t now_ms) {
    shell_claim *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    int64_t timeout_ms = config->options->start_timeout_ms;
    c->config = *config;
    c->random = config->seed;
    c->deadline_ms = timeout_ms > 0 ? now_ms + timeout_ms : INT64_MAX;
    begin_step(c, OPEN_PRESENCE, now_ms);
    return c;
}

void claim_free(shell_claim *c) {
    free(c);
}
