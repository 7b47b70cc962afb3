/* A worker process with the reactor of Bank and Sum, and the memory that it shares with the harness.
 *
 * Keys below the prefix, and their writers:
 *   account/NN    a balance; a transfer changes two of them, so their sum is zero
 *   row/N         one number for each worker; a sum increments the worker's own in all rows, so all rows are equal
 *   seat/N        absent if free, else the id of the group that took it; groups that clear seats delete these keys
 *   id/W/SLOT     the id of each group of worker W that writes anything other than a seat
 * So the id of every applied group appears at exactly one revision. A group that takes a seat writes nothing else.
 * After the seat is cleared, everything that the group compared is as before, and only the receipt shows that it was applied.
 */
#ifndef CHAOS_WORKER_H
#define CHAOS_WORKER_H

#include "chaos/journal.h"
#include "chaos/model.h"

#include <stdatomic.h>

enum { SLOTS = 128 }; /* greater than the number of undecided groups that one worker can have */

/* Shared memory, one page for each worker, kept over all of its runs. */
typedef struct control {
    /* Orders of the harness. */
    _Atomic int slow_ms;     /* duration of each tick */
    _Atomic bool seats_only; /* make one group in each tick, which takes a seat */
    _Atomic bool clearing;   /* clear seats in each tick */
    _Atomic bool idle;       /* make no groups */
    /* number of restores of etcd from an older state; after each, a tick may be older than the one before */
    _Atomic unsigned restores;

    /* Written by the worker every few milliseconds. */
    _Atomic unsigned run;
    _Atomic bool ready, no_space;
    _Atomic uint64_t ticks, slow_ticks, snapshots, reconnects, refused, txns, resolved, repeats, rewritten;
} control;

control *control_open(const char *directory, unsigned worker);
void control_close(control *c);

/* Writes the directory of the worker's submit socket, which exists if its options enable submits. */
void submits_path(const char *directory, unsigned worker, char *out, size_t size);

/* Writes the path of a run's journal. */
void journal_path(const char *directory, group_id run, char *out, size_t size);

/* `chaos --worker NUMBER RUN DIRECTORY NAME=VALUE...`: runs one worker with these options until it ends or gets
 * SIGTERM. Returns the process's exit code: 0 for every status of the run, since the journal has the status. */
int chaos_worker(int argc, char **argv);

#endif
