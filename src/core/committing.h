/* The committing core: how a batch of units becomes etcd transactions, exactly once. Pure; see docs/architecture.md.
 *
 *            batch                 answered, more units
 *   IDLE ----------> IN_FLIGHT <-----------------------.
 *    ^ |              | | || '-------------------------'
 *    | | all decided  | | ||  surely not applied
 *    |-|--------------' | |'--------------------> BACKING_OFF --- timer --> IN_FLIGHT
 *    | |                | | receipt missing
 *    | '----------------|-'---------------------> CLAIMING --- the receipt is there again --> IN_FLIGHT
 *    |   another lease  | unknown outcome
 *    '--- resolved ---- RESOLVING <--- the same transaction again, then a receipt bump
 */
#ifndef CORE_COMMITTING_H
#define CORE_COMMITTING_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

typedef enum committing_state {
    COMMITTING_IDLE,
    COMMITTING_IN_FLIGHT,
    COMMITTING_BACKING_OFF,
    COMMITTING_RESOLVING,
    COMMITTING_CLAIMING, /* the receipt is put again, before the next transaction: nothing is undecided */
    COMMITTING_ENDED,
} committing_state;

typedef struct committing_config {
    bool counter;         /* compare and raise the delete counter (delete_counter = compat) */
    ew_slice counter_key; /* borrowed for the core's life, as all slices here */
    uint32_t max_ops;     /* etcd's limit of compares, and of operations of each branch, of one transaction (P13) */
    uint32_t max_keys;    /* compares, and operations, that units may bring into one; 0: no limit but max_ops */
    int64_t max_bytes;    /* of the serialized request */
    bool exactly_once;    /* receipts */
    ew_slice receipt_key;
    int64_t lease;            /* the receipt's lease, no other worker's; COMMITTING_LEASE replaces it */
    int64_t receipt_revision; /* its mod_revision, if it is there at the start; 0: it is not */
    int64_t sequence;         /* the last number that a receipt was put with */
    ew_slice fence; /* a TxnRequest fragment of compares that every transaction carries; may be empty. "Equal", of a
                       lease (the session's: EW_ERR_SESSION_DONE), or of a create or mod revision (the leadership's:
                       EW_ERR_LEADERSHIP_LOST) */
    uint32_t fence_compares; /* how many these are */
    int64_t call_timeout_ms; /* how long an answer is waited for, at most */
    int64_t backoff_min_ms;  /* before sending again what surely did not happen; doubles, with jitter */
    int64_t backoff_max_ms;
    uint64_t seed;

    ew_slice prefix; /* normalised: units may write below it alone */
    bool textual;    /* prefix_match = textual */
    ew_slice
        receipt_prefix; /* reserved: units may put there what clients' records are, and nothing else; may be empty */
    bool numbered;      /* batches are numbered 1, 2, 3, ...: another number is refused */
} committing_config;

typedef enum committing_event_type {
    COMMITTING_BATCH,  /* `patches`: only in IDLE */
    COMMITTING_ANSWER, /* the transaction was answered: `status` EW_OK with `bytes`, a TxnResponse; or an error with
                          `detail` */
    COMMITTING_TIMER,
    COMMITTING_LEASE, /* `lease`: another one for the receipt; the next transaction is sent after the receipt has it */
    COMMITTING_STOP,  /* decide what is in flight within `timeout_ms`, take no more */
} committing_event_type;

typedef struct committing_event {
    committing_event_type type;
    int64_t now_ms;
    const Msg__Patches *patches; /* the caller's for the length of the step: the core copies what it keeps */
    int status;
    const char *detail;
    ew_slice bytes;
    int64_t timeout_ms;
    int64_t lease;
} committing_event;

typedef enum committing_effect_type {
    COMMITTING_DO_TXN,     /* send `bytes`, a TxnRequest, and wait for `timeout_ms`: one call at a time;
                              COMMITTING_ANSWER follows */
    COMMITTING_DO_OUTCOME, /* send `outcome` */
    COMMITTING_DO_LEASE, /* etcd does not know the receipt's lease: check it now; COMMITTING_LEASE follows if it is lost
                          */
    COMMITTING_DO_END,   /* status, detail: the last effect */
    COMMITTING_DO_LOG,   /* level in `status`, text in `detail` */
} committing_effect_type;

typedef struct committing_effect {
    committing_effect_type type;
    ew_slice bytes; /* borrowed: from the core until its next step */
    int64_t timeout_ms;
    Msg__Outcome outcome;
    int status;
    const char *detail;
} committing_effect;

#define COMMITTING_EFFECTS_MAX 8
typedef struct committing_effects {
    committing_effect list[COMMITTING_EFFECTS_MAX];
    size_t count;
} committing_effects;

typedef struct committing committing;

committing *committing_new(const committing_config *config); /* NULL when out of memory */
void committing_free(committing *c);
void committing_step(committing *c, const committing_event *event, committing_effects *out);
int64_t committing_deadline_ms(const committing *c); /* when COMMITTING_TIMER is due; INT64_MAX for never */
committing_state committing_get_state(const committing *c);
bool committing_has_no_space(const committing *c); /* it waits until etcd's NOSPACE alarm is taken back */

/* How many bytes the committer adds to one request at most, and how many compares (or operations) one unit may bring:
 * max_keys, or what max_ops leaves beside counter, receipt and fence if that is less. The ticking core is configured
 * with both. */
int64_t committing_overhead(const committing_config *config);
uint32_t committing_max_keys(const committing_config *config);

#endif
