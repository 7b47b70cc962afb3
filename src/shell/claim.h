/* The claim: puts the keys that every transaction of the run can compare. These are the owner key of the worker_id
 * (SEMANTICS 33), the receipt (28) and the session key (30), each with a lease that is granted first. Each put may
 * safely be repeated any number of times, and is retried until start_timeout_ms, like the first load. Use it from one
 * thread. */
#ifndef SHELL_CLAIM_H
#define SHELL_CLAIM_H

#include "core/options_internal.h"
#include "etcd.pb-c.h"
#include "shell/session.h"

typedef struct shell_claim shell_claim;

/* The functions that a claim calls. The answers of the first two come before they return, or later. */
typedef struct claim_ops {
    void (*open)(void *arg, session_lease which);          /* grants the first lease, then calls claim_opened */
    void (*txn)(void *arg, const Pb__TxnRequest *request); /* runs it, then calls claim_answered */

    int64_t (*lease)(void *arg, session_lease which);      /* the current lease; 0 while it is being replaced */
    void (*check)(void *arg, session_lease which);         /* checks the lease: etcd may not know it any more */
    void (*hold)(void *arg);                               /* from now on the owner key is put with each new lease */
    int64_t (*rival_ttl_s)(void *arg, int64_t lease);      /* the TTL of another worker's lease; 0: unknown */
    void (*waiting)(void *arg, int64_t lease, int64_t ms); /* the claim waits for another worker's lease to expire,
                                                              `ms` at most */
} claim_ops;

/* What the pointers point to must outlive the claim. */
typedef struct claim_config {
    const claim_ops *ops;
    void *arg;
    const ew_options *options;
    const char *worker_id, *owner_key, *receipt_key, *session_key;
    const char *holder;    /* the value of the owner key, which no other worker has */
    int64_t session_lease; /* of the given session; 0: the worker opens its own */
    uint64_t seed;         /* for the sequence number of the receipt */
} claim_config;

typedef struct claim_result {
    int64_t presence_lease; /* the lease of the worker's own session; 0: it has none */
    int64_t receipt_lease, receipt_revision, sequence;
} claim_result;

/* Returns NULL when out of memory. */
shell_claim *claim_new(const claim_config *config, int64_t now_ms);
void claim_free(shell_claim *c); /* `c` may be NULL */

/* Takes the answer of `open`. */
void claim_opened(shell_claim *c, int status, const char *detail, int64_t now_ms);

/* Takes the answer of `txn`. `r` is NULL unless `status` is EW_OK; the caller has checked its header. */
void claim_answered(shell_claim *c, int status, const char *detail, const Pb__TxnResponse *r, int64_t now_ms);

/* Starts the next attempt if it is due. Returns when to call it again; INT64_MAX: after the next answer, or never if
 * the claim has ended. */
int64_t claim_round(shell_claim *c, int64_t now_ms);

/* Returns whether the claim has ended: all keys are put (EW_OK), or the run cannot begin. If so, sets `*status` and
 * `*detail`, which the claim owns. */
bool claim_ended(const shell_claim *c, int *status, const char **detail);

const char *claim_trouble(const shell_claim *c); /* why the last attempt will be repeated; NULL: it is not */
int64_t claim_deadline_ms(const shell_claim *c); /* the end of start_timeout_ms; INT64_MAX: no limit */
claim_result claim_get_result(const shell_claim *c);

#endif
