/* What candidates and observers of elections share. */
#ifndef ETCD_ELECTION_H
#define ETCD_ELECTION_H

#include "etcd/interruption.h"

#include <etcdworker/election.h>

int election_check_name(ew_slice name, ew_error *err);

/* What the keys of an election begin with, to be freed; NULL when out of memory. */
char *election_prefix(ew_slice name);

#endif
