/* The endpoints option: from what a user writes to a target of gRPC's. */
#ifndef ETCD_ENDPOINTS_H
#define ETCD_ENDPOINTS_H

#include <etcdworker/error.h>

typedef struct endpoints {
    char *target;    /* "ipv4:///127.0.0.1:2379,127.0.0.1:22379" */
    char *authority; /* the first one, "127.0.0.1:2379"; what the requests name as their host */
    bool tls;        /* https:// was said */
    bool plain;      /* http:// was said */
} endpoints;

/* `text`: host:port, separated by commas, with http:// or https:// allowed in front; IPv4, [IPv6], a name, or one
 * unix:/path. A single name is left to gRPC, which looks it up again on every reconnect; several names are looked up
 * here, once, because gRPC takes a list of addresses only. */
int endpoints_init(endpoints *e, const char *text, ew_error *err);
void endpoints_fini(endpoints *e);

#endif
