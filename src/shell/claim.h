/* What a worker puts into etcd before a run, so that every transaction can compare it: the owner key of its worker_id
 * (SEMANTICS 33), its receipt (28) and its session key (30), each with a lease that is granted first. Each put may be
 * repeated any number of times, and is retried until start_timeout_ms, as the first load is. One thread uses it. */
#ifndef SHELL_CLAIM_H
#define SHELL_CLAIM_H

#include "core/options_internal.h"
#include "etcd.pb-c.h"
#include "shell/session.h"

typedef struct shell_claim shell_claim;

/* What a claim needs. The first two are answered before they return, or later. */
typedef struct claim_ops {
    void (*open)(void *arg, session_lease which);          /* grants the first lease; then claim_opened */
    void (*txn)(void *arg, const Pb__TxnRequest *request); /* then claim_answered */

    int64_t (*lease)(void *arg, session_lease which);      /* the present lease; 0 while it is being replaced */
    void (*check)(void *arg, session_lease which);         /* etcd may not know the lease any more */
    void (*hold)(void *arg);                               /* from now on the owner key is put with each new lease */
    int64_t (*rival_ttl_s)(void *arg, int64_t lease);      /* the TTL of another worker's lease; 0: unknown */
    void (*waiting)(void *arg, int64_t lease, int64_t ms); /* for another worker's lease to expire, at most so long */
} claim_ops;

/* What is pointed to must outlive the claim. */
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
    int64_t presence_lease; /* of the worker's own session; 0: none */
    int64_t receipt_lease, receipt_revision, sequence;
} claim_result;

/* NULL when out of memory. */
shell_claim *claim_new(const claim_config *config, int64_t now_ms);
void claim_free(shell_claim *c); /* NULL is fine */

void claim_opened(shell_claim *c, int status, const char *detail, int64_t now_ms);

/* `r` is NULL unless `status` is EW_OK; its header was checked. */
void claim_answered(shell_claim *c, int status, const char *detail, const Pb__TxnResponse *r, int64_t now_ms);

/* Starts the next attempt if it is due. Returns when to call it again; INT64_MAX: after an answer. */
int64_t claim_round(shell_claim *c, int64_t now_ms);

/* Returns whether everything is put, or the run cannot begin. If so, sets `*status` and `*detail`, which the claim owns.
 */
bool claim_ended(const shell_claim *c, int *status, const char **detail);

const char *claim_trouble(const shell_claim *c); /* why the last attempt is repeated; NULL: it is not */
int64_t claim_deadline_ms(const shell_claim *c); /* by start_timeout_ms; INT64_MAX: none */
claim_result claim_get_result(const shell_claim *c);

#endif
