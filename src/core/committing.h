/* The committing core: sends a batch of atomic units as etcd transactions, exactly once. Pure; see
 * docs/architecture.md.
 *
 *            batch                 answered, more units
 *   IDLE ----------> IN_FLIGHT <-----------------------.
 *    ^ |              | | || '-------------------------'
 *    | | all decided  | | ||  certainly not applied
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
    COMMITTING_CLAIMING, /* the receipt is put again before the next transaction; nothing is undecided */
    COMMITTING_ENDED,
} committing_state;

typedef struct committing_config {
    bool counter;         /* compare and raise the delete counter (delete_counter = compat) */
    ew_slice counter_key; /* borrowed for the lifetime of the core, like all slices here */
    uint32_t max_ops;     /* etcd's limit of compares, and of operations of each branch, in one transaction (ETCD
                             P13) */
    uint32_t max_keys;    /* compares, and operations, that units may add to one transaction; 0: limited by max_ops
                             only */
    int64_t max_bytes;    /* of the serialized request */
    bool exactly_once;    /* write receipts */
    ew_slice receipt_key;
    int64_t lease;            /* the receipt's lease, used by no other worker; COMMITTING_LEASE replaces it */
    int64_t receipt_revision; /* the receipt's mod_revision at the start; 0: there is no receipt */
    int64_t sequence;         /* the last sequence number with which a receipt was put */
    ew_slice fence; /* the fence conditions: a TxnRequest fragment of compares that every transaction carries; may be
                       empty. Each compares with "equal" a lease (the session's: EW_ERR_SESSION_DONE) or a create or mod
                       revision (the leadership's: EW_ERR_LEADERSHIP_LOST) */
    uint32_t fence_compares; /* how many compares `fence` has */
    int64_t call_timeout_ms; /* maximum time to wait for a response */
    int64_t backoff_min_ms;  /* wait before a transaction that was certainly not applied is sent again; doubles, with
                                jitter */
    int64_t backoff_max_ms;
    uint64_t seed;

    ew_slice prefix;         /* normalised: units may write only below it */
    bool textual;            /* prefix_match = textual */
    ew_slice receipt_prefix; /* reserved: units may write only clients' records there; may be empty */
    bool numbered;           /* batches are numbered 1, 2, 3, ...: another number is refused */
} committing_config;

typedef enum committing_event_type {
    COMMITTING_BATCH,  /* `patches`: only in IDLE */
    COMMITTING_ANSWER, /* response to the transaction: `status` EW_OK with `bytes`, a TxnResponse; or an error with
                          `detail` */
    COMMITTING_TIMER,
    COMMITTING_LEASE, /* `lease`: a new lease for the receipt; it is attached before the next transaction is sent */
    COMMITTING_STOP,  /* decide what is in flight within `timeout_ms`, and accept no more batches */
} committing_event_type;

typedef struct committing_event {
    committing_event_type type;
    int64_t now_ms;
    const Msg__Patches *patches; /* the caller's, for the duration of the step: the core copies what it keeps */
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
    COMMITTING_DO_LEASE,   /* etcd does not know the receipt's lease: check it now; COMMITTING_LEASE follows if it is
                            lost */
    COMMITTING_DO_END,     /* status, detail: the last effect */
    COMMITTING_DO_LOG,     /* level in `status`, text in `detail` */
} committing_effect_type;

typedef struct committing_effect {
    committing_effect_type type;
    ew_slice bytes; /* borrowed: the core's, until its next step */
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
int64_t committing_deadline_ms(const committing *c); /* when COMMITTING_TIMER is due; INT64_MAX: never */
committing_state committing_get_state(const committing *c);
bool committing_has_no_space(const committing *c); /* it waits until etcd's NOSPACE alarm is disarmed */

/* The maximum number of bytes that the committer adds to one request, and of compares (or operations) that one unit may
 * have: max_keys, or what max_ops leaves after delete counter, receipt and fence conditions if that is less. The
 * ticking core is configured with both. */
int64_t committing_overhead(const committing_config *config);
uint32_t committing_max_keys(const committing_config *config);

#endif
