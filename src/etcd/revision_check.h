/* Finds out whether etcd still has a revision that was seen, or was restored from an older state. Makes several
 * linearizable reads, since one may be stale (ETCD P7), and retries for as long as etcd is unavailable. */
#ifndef ETCD_REVISION_CHECK_H
#define ETCD_REVISION_CHECK_H

#include "etcd/backoff.h"
#include "etcd/etcd.h"

#include <etcdworker/error.h>

typedef struct revision_check {
    ew_client *client;
    etcd_queue *queue;
    ew_slice key; /* any key that the user may read; borrowed */
    int64_t timeout_ms;
    backoff backoff;

    bool wanted; /* the check is running: there is no result yet */
    int64_t seen;
    etcd_call *call;
    int64_t next_ms; /* when to read again */
    unsigned falls;
    int status; /* the result: EW_OK, EW_ERR_REVISION_FELL, or why etcd refuses the reads; with `detail` */
    char detail[256];
} revision_check;

/* Starts a check for the revision `seen`. */
void revision_check_want(revision_check *c, int64_t seen);

/* Starts a read if it is time. Returns when to call this again; INT64_MAX: after the queue has run. */
int64_t revision_check_run(revision_check *c);

/* Cancels the check, and waits until its call has ended. */
void revision_check_end(revision_check *c);

#endif
