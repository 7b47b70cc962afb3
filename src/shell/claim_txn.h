/* The transactions of a claim (claim.h). Each has all of its parts in one struct, and borrows the strings. */
#ifndef SHELL_CLAIM_TXN_H
#define SHELL_CLAIM_TXN_H

#include "etcd.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

/* Makes the transaction that puts `key` if its mod_revision is `expected` (0: absent) and otherwise reads it. */
typedef struct put_if {
    Pb__TxnRequest txn;
    Pb__Compare compare, *compares[1];
    Pb__PutRequest put;
    Pb__RangeRequest range;
    Pb__RequestOp then, otherwise, *thens[1], *otherwises[1];
} put_if;
void put_if_make(put_if *t, const char *key, const char *value, int64_t lease, int64_t expected);
void put_always_make(put_if *t, const char *key, const char *value, int64_t lease); /* puts without a compare */

/* The result of a put_if, from its response. */
typedef struct put_if_result {
    bool done;        /* the key was put */
    bool same;        /* not done: the key already has this value */
    int64_t revision; /* done: the put's revision; otherwise the key's mod_revision, 0 if it is absent */
    int64_t lease;    /* not done: the key's lease */
} put_if_result;

/* Returns false if the response is invalid. */
bool put_if_read(const Pb__TxnResponse *r, const char *key, const char *value, put_if_result *out);

/* Makes the transaction that deletes the receipt if it still has this lease. */
typedef struct receipt_removal {
    Pb__TxnRequest txn;
    Pb__Compare compare, *compares[1];
    Pb__DeleteRangeRequest range;
    Pb__RequestOp then, *thens[1];
} receipt_removal;
void receipt_removal_make(receipt_removal *t, const char *receipt_key, int64_t lease);

#endif
