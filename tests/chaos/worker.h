/* A worker in a process of its own, with the reactor of Bank and Sum, and what it and the harness share.
 *
 * Keys below the prefix, and who writes them:
 *   account/NN    a balance; a transfer changes two of them, so they add up to zero
 *   row/N         one number for each worker; a sum raises the worker's own number in all rows, so they are all equal
 *   seat/N        free, or the id of the group that took it; groups that clear seats delete them
 *   id/W/SLOT     the id of each group of worker W that writes anything but a seat
 * So every group that was applied shows its id at exactly one revision. A group that takes a seat writes nothing else:
 * when the seat is cleared, all that it compared is as it was before, and only a receipt tells that it was applied. */
#ifndef CHAOS_WORKER_H
#define CHAOS_WORKER_H

#include "chaos/journal.h"
#include "chaos/model.h"

#include <stdatomic.h>

enum { SLOTS = 128 }; /* more than groups of one worker can be undecided at once */

/* A page of shared memory for each worker, kept from run to run. */
typedef struct control {
    /* The harness's orders. */
    _Atomic int slow_ms;       /* how long each tick takes */
    _Atomic bool seats_only;   /* make one group each tick, which takes a seat */
    _Atomic bool clearing;     /* clear seats in each tick */
    _Atomic unsigned restores; /* of etcd, from an older state: after each a tick may be older than the one before */

    /* What the worker says of itself, every few milliseconds. */
    _Atomic unsigned run;
    _Atomic bool ready, no_space;
    _Atomic uint64_t ticks, slow_ticks, snapshots, reconnects, refused, txns, resolved, repeats, rewritten;
} control;

control *control_open(const char *directory, unsigned worker);
void control_close(control *c);

/* The directory of the socket at which a worker takes submits, if its options say that it does. */
void submits_path(const char *directory, unsigned worker, char *out, size_t size);

/* The path of the journal of a run. */
void journal_path(const char *directory, group_id run, char *out, size_t size);

/* `chaos --worker NUMBER RUN DIRECTORY NAME=VALUE...`: runs one worker with these options until it ends, or SIGTERM.
 * Answers the process's exit code: 0 whatever the run ended with, since the journal says that. */
int chaos_worker(int argc, char **argv);

#endif
