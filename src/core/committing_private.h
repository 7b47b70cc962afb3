/* Shared by the files of the committing core:
 *   committing.c          creation, steps, transitions
 *   committing_batch.c    accepting a batch, sending its units in order, its outcome
 *   committing_txn.c      the bytes of a transaction
 *   committing_answer.c   the content of a response
 *   committing_resolve.c  resolving an unknown outcome, and the proof
 *   committing_claim.c    putting the receipt again when it is missing or its lease was replaced
 *   committing_check.c    refusing units that must not be sent */
#ifndef CORE_COMMITTING_PRIVATE_H
#define CORE_COMMITTING_PRIVATE_H

#include "core/buffer.h"
#include "core/committing.h"
#include "etcd.pb-c.h"

#include <etcdworker/log.h>

#include <stdio.h>

/* A unit as it was received; `txn` points into the batch's bytes. */
typedef struct committing_unit {
    ew_slice txn;
    uint32_t compares, ops;
    uint32_t records; /* how many of the last compares and ops are clients' records */
    bool has_delete;
} committing_unit;

/* What a transaction contains in addition to its units. */
typedef struct committing_own {
    int64_t counter; /* the value that is compared; if `deletes`, the value plus one is put */
    bool deletes;
    int64_t sequence;    /* the receipt's new sequence number */
    int64_t receipt_mod; /* the receipt's mod_revision, compared; 0: there is no receipt yet */
    int64_t lease;       /* the receipt's lease */
} committing_own;

/* What the receipt, as read by a refused transaction, says about its last writer. */
typedef enum committing_receipt {
    COMMITTING_RECEIPT_LAST,    /* as our last transaction left it: the refused one has not been applied */
    COMMITTING_RECEIPT_TXN,     /* written by the transaction in question: it was applied */
    COMMITTING_RECEIPT_FENCE,   /* written by the receipt bump in question */
    COMMITTING_RECEIPT_MISSING, /* absent, although we wrote it */
    COMMITTING_RECEIPT_STRAY,   /* on a lease of ours, but none of the above: a late copy of an earlier claim */
    COMMITTING_RECEIPT_FOREIGN, /* another worker's */
    COMMITTING_RECEIPT_OLDER,   /* older than the one we wrote: etcd was restored from an older state */
} committing_receipt;

typedef enum committing_verdict {
    COMMITTING_SUCCEEDED,
    COMMITTING_REFUSED,
    COMMITTING_MALFORMED,
} committing_verdict;

enum { COMMITTING_RECORDS_MAX = 16, COMMITTING_RECORD_BYTES = 48 };

/* A client's record that is not as its unit expected (SEMANTICS 34). A value longer than any record is left empty,
 * which is malformed too. */
typedef struct committing_record {
    size_t unit;
    uint32_t place; /* index among the records of the unit */
    int64_t mod_revision;
    size_t len;
    uint8_t value[COMMITTING_RECORD_BYTES];
} committing_record;

/* A parsed response. */
typedef struct committing_answer {
    committing_verdict verdict;
    int64_t revision; /* COMMITTING_SUCCEEDED */
    bool visible;     /* COMMITTING_SUCCEEDED: a key below the prefix changed, so the watch will show it */
    /* COMMITTING_REFUSED: */
    committing_receipt receipt;
    int64_t receipt_revision;
    int64_t receipt_lease;
    char receipt_value[24];
    bool untouched;  /* COMMITTING_RECEIPT_MISSING: a key that the transaction writes is unchanged */
    int status;      /* EW_ERR_REFUSED, or the error if the refusal is not a conflict */
    size_t conflict; /* the first unit that conflicts */
    int64_t conflict_revision;
    committing_record records[COMMITTING_RECORDS_MAX]; /* of all units; further ones are found by a later refusal */
    size_t record_count;
} committing_answer;

struct committing {
    committing_config config;
    committing_state state;

    /* The compares of `config.fence`, which every transaction contains, each with a read of its key. */
    Pb__TxnRequest *fences;
    buffer fence_bytes;

    /* The batch; without a batch `unit_count` is 0 and `in_batch` false. */
    bool in_batch;
    uint64_t batch;
    uint8_t *bytes;
    committing_unit *units;
    int64_t *revisions; /* of the committed units */
    size_t unit_count;
    size_t next;  /* the first undecided unit */
    size_t limit; /* the first unit that will not be sent, because it was refused or is malformed; else `unit_count` */
    size_t together;  /* how many units may share a transaction */
    int limit_status; /* the result of the unit at `limit` */
    int64_t conflict_revision;
    committing_record found[COMMITTING_RECORDS_MAX]; /* by the refusal at `limit` */
    size_t found_count;
    Msg__FoundRecord records[COMMITTING_RECORDS_MAX], *record_list[COMMITTING_RECORDS_MAX]; /* of the outcome */
    bool rewritten; /* the receipt was found to be older than before */
    int64_t counter;
    int64_t barrier_revision;
    uint32_t txns, resolved;

    /* The current transaction: units [next, end). */
    size_t end;
    committing_own own;
    buffer request;
    bool call_out;       /* a DO_TXN waits for its response */
    uint32_t unanswered; /* attempts in a row whose outcome is unknown */

    /* Receipts: as our last transaction left it, and the last sequence number used. */
    int64_t receipt_mod;
    int64_t receipt_lease; /* its lease */
    int64_t former_lease;  /* the lease that `config.lease` has replaced; 0: none */
    int64_t batch_lease;   /* the lease of the clients' records in the batch */
    int64_t base_revision; /* the revision on which the batch was evaluated */
    bool claim;            /* the receipt must be put before the next transaction */
    int64_t sequence;
    bool fencing; /* RESOLVING: the receipt bump is being put, and `refusal` becomes final once it is applied */
    int64_t fence_sequence;
    buffer fence;
    committing_answer refusal;

    int64_t timer_ms, stop_ms; /* INT64_MAX: none */
    bool stopping;
    bool no_space;     /* etcd's last response said so */
    uint32_t failures; /* failures in a row, for the backoff */
    uint64_t random;
    char detail[256];
    bool limits_said; /* it was logged that the server accepts less than the options say */
    char limits_text[256];
    char limit_detail[128]; /* why the unit at `limit` is not sent; empty: limit_status says it all */

    committing_effects *out; /* of the current step */
};

/* committing.c */
committing_effect *committing_emit(committing *c, committing_effect_type type);
void committing_move(committing *c, committing_state to);
void committing_send(committing *c, const buffer *request);
void committing_back_off(committing *c, int64_t now_ms); /* sets the timer */

/* committing_batch.c */
void committing_take(committing *c, const Msg__Patches *patches);
void committing_advance(committing *c); /* sends the next transaction, or ends the batch */
void committing_committed(committing *c, int64_t revision, bool visible);
void committing_refused(committing *c, const committing_answer *answer);
void committing_failed(committing *c, int status, const char *detail); /* certainly not applied, and repeating does not
                                                                          help */
bool committing_bound_to_lost_lease(const committing *c, int status);
void committing_evaluate_again(committing *c); /* with the current lease */
void committing_finish(committing *c, int status, bool unknown, const char *detail);
void committing_drop_batch(committing *c);

/* committing_txn.c */
bool committing_append_own(const committing_config *config, const committing_own *own, buffer *b);
size_t committing_own_bytes(const committing_config *config, const committing_own *own);
bool committing_make_fences(const committing_config *config, Pb__TxnRequest **txn, buffer *bytes);
int committing_build(committing *c);       /* the transaction from `next` on: sets end, own, request */
int committing_build_fence(committing *c); /* sets fence, fence_sequence */
int committing_build_claim(committing *c); /* sets own, fence */
bool committing_is_visible(const committing *c);

/* committing_answer.c */
void committing_understand(const committing *c, ew_slice bytes, committing_answer *out);
void committing_understand_fence(const committing *c, ew_slice bytes, committing_answer *out);

/* committing_resolve.c */
void committing_resolve(committing *c, const char *why);
void committing_resolve_again(committing *c);
void committing_resolving_answer(committing *c, const committing_event *event);
void committing_fenced(committing *c, const committing_answer *answer, bool unknown); /* ends the batch */
void committing_older_receipt(committing *c, const committing_answer *answer);

/* committing_claim.c */
void committing_claim(committing *c);                         /* puts the receipt, then continues the batch */
void committing_claim_on(committing *c, int64_t receipt_mod); /* as it was found; 0: missing */
void committing_claim_answer(committing *c, const committing_event *event);
void committing_replace_lease(committing *c, int64_t lease);

/* committing_check.c: returns EW_ERR_BAD_MESSAGE, with `detail`, if the unit must not be sent; EW_ERR_NO_MEMORY. */
int committing_check_unit(const committing_config *config, ew_slice unit, size_t number, char *detail, size_t size);

#endif
