/* Whether etcd still has a revision that was seen, or was restored from an older state: several linearizable reads,
 * since one may be stale (ETCD P7), while etcd is asked as patiently as it takes. */
#ifndef ETCD_REVISION_CHECK_H
#define ETCD_REVISION_CHECK_H

#include "etcd/backoff.h"
#include "etcd/etcd.h"

#include <etcdworker/error.h>

typedef struct revision_check {
    ew_client *client;
    etcd_queue *queue;
    ew_slice key; /* any that may be read; borrowed */
    int64_t timeout_ms;
    backoff backoff;

    bool wanted; /* there is no verdict yet */
    int64_t seen;
    etcd_call *call;
    int64_t next_ms; /* when to ask again */
    unsigned falls;
    int status; /* the verdict: EW_OK, EW_ERR_REVISION_FELL, or why etcd cannot be asked; with a text */
    char detail[256];
} revision_check;

void revision_check_want(revision_check *c, int64_t seen);

/* Asks if it is time. Answers when it wants to be called again; INT64_MAX while the queue must run first. */
int64_t revision_check_run(revision_check *c);

/* Gives the question up, and waits for its call. */
void revision_check_end(revision_check *c);

#endif
