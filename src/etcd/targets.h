/* From endpoints to what gRPC takes: targets. */
#ifndef ETCD_TARGETS_H
#define ETCD_TARGETS_H

#include "etcd/endpoints.h"

/* A target of gRPC's is a list of addresses of one scheme. One is enough for all TCP addresses, since an IPv4 address
 * can be written as an IPv6 one; sockets of the file system need another. Each target is a way to reach etcd. */
#define WAYS_MAX 2

typedef struct targets {
    char *ways[WAYS_MAX]; /* "ipv4:///127.0.0.1:2379,127.0.0.1:22379" */
    size_t count;         /* at least one, which is without addresses if no name has any */
    size_t addresses;     /* of all of them */
    char *unknown;        /* the names without an address, each with its reason; "" when there is none */
} targets;

bool targets_init(targets *out, const endpoints *e); /* false when out of memory */
void targets_fini(targets *t);
bool targets_equal(const targets *a, const targets *b); /* whether they lead to the same addresses */

#endif
