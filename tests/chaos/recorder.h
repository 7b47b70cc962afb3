/* Records etcd's history beside the workers, through its own connections. */
#ifndef CHAOS_RECORDER_H
#define CHAOS_RECORDER_H

#include "chaos/ledger.h"

#include <etcdworker/options.h>

typedef struct recorder recorder;

/* Watches everything below `prefix`, from `revision` on. */
recorder *recorder_open(const ew_options *client, const char *prefix, int64_t revision);
void recorder_close(recorder *r);

/* Moves what was recorded since the last call to the ledger. */
void recorder_drain(recorder *r, ledger *l);

int64_t recorder_revision(const recorder *r); /* everything up to it has been recorded */

/* Return how many groups of the worker, and how many deletions by all other workers, were recorded. */
uint64_t recorder_groups(recorder *r, unsigned worker);
uint64_t recorder_deletions(recorder *r, unsigned others_than);

/* Returns the error that ended the recorder, which is a failure; NULL while it runs. */
const char *recorder_problem(recorder *r);

#endif
