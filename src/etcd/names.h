/* The host names among the endpoints: they are looked up when the client is opened, and again, without anybody having
 * to wait for it, while a connection is missing and after one broke. */
#ifndef ETCD_NAMES_H
#define ETCD_NAMES_H

#include "etcd/targets.h"

#include <stdatomic.h>

struct lookup;

typedef struct names {
    bool any;         /* or there is never anything to do */
    atomic_int need;  /* any thread */
    const char *text; /* the option; the owner's */
    endpoints known;  /* with the addresses that were found last */
    struct lookup *running;
    int64_t next_ms; /* when to look again */
} names;

/* Reads the option and looks its names up, which may take seconds. A name without an address is no error: it is looked
 * up again when it is missed. */
int names_init(names *n, const char *text, ew_error *err);
void names_fini(names *n); /* what is zeroed is fine */

/* A connection broke, so the addresses may be old ones. Any thread. */
void names_doubt(names *n);
bool names_are_in_doubt(const names *n); /* until they have been looked up since */

/* Begins to look the names up again, if it is time, or takes what was found: then true, and `known` is new. Does not
 * block. One thread at a time. */
bool names_seek(names *n, int64_t now_ms);

#endif
