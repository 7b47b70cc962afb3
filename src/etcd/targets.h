/* Turns endpoints into gRPC target URIs: one target for each address of an endpoint, so that each address has its own
 * connections, its own name in the TLS handshake, and its own reason when it cannot be used. */
#ifndef ETCD_TARGETS_H
#define ETCD_TARGETS_H

#include "etcd/endpoints.h"

#include <stddef.h>

typedef struct target {
    char *uri;       /* for gRPC: "ipv4:///127.0.0.1:2379" */
    char *shown;     /* for logs and errors: "127.0.0.1:2379", "etcd.example:2379 (10.0.0.1)", "unix:/path" */
    char *authority; /* the host in requests, for which the certificate must be valid: "etcd.example:2379" */
    char *address;   /* to connect to without gRPC: "127.0.0.1", or the path of a socket */
    int port;        /* 0 for a socket */
} target;

typedef struct targets {
    target *list;
    size_t count;  /* 0 while no host name has an address */
    char *unknown; /* the host names without an address, each with its reason; "" if there are none */
} targets;

bool targets_init(targets *out, const endpoints *e); /* false when out of memory */
void targets_fini(targets *t);
bool targets_equal(const targets *a, const targets *b); /* whether their URIs are equal */

#endif
