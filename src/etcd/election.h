/* Functions that candidates and observers of elections share. */
#ifndef ETCD_ELECTION_H
#define ETCD_ELECTION_H

#include "etcd/interruption.h"

#include <etcdworker/election.h>

int election_check_name(ew_slice name, ew_error *err);

/* Returns the prefix of an election's keys, which the caller frees; NULL when out of memory. */
char *election_prefix(ew_slice name);

#endif
