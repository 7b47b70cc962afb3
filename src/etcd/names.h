/* Looks up the host names of the endpoints: when the client is opened, and again in the background while a connection
 * is missing and after one broke. */
#ifndef ETCD_NAMES_H
#define ETCD_NAMES_H

#include "etcd/targets.h"

#include <stdatomic.h>

struct lookup;

typedef struct names {
    bool any;         /* there are host names */
    atomic_int need;  /* set by any thread */
    const char *text; /* the option's text; borrowed */
    endpoints known;  /* with the addresses that were found last */
    struct lookup *running;
    int64_t next_ms; /* when the next lookup may start */
} names;

/* Parses the option and looks up its host names, which may take seconds. A host name without an address is not an
 * error: it is looked up again while a connection is missing. */
int names_init(names *n, const char *text, ew_error *err);
void names_fini(names *n); /* all zero is allowed */

/* Notes that a connection broke, so the addresses may have changed. Any thread. */
void names_doubt(names *n);
bool names_are_in_doubt(const names *n); /* true until a lookup that started after the last names_doubt has ended */

/* Starts a lookup, if it is time, or takes the result of one that has ended. True: `known` is updated. Does not block.
 * One thread at a time. */
bool names_seek(names *n, int64_t now_ms);

#endif
