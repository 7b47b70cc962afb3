/* The endpoints option: its text, parsed, and the addresses of its host names. */
#ifndef ETCD_ENDPOINTS_H
#define ETCD_ENDPOINTS_H

#include <etcdworker/error.h>

typedef enum endpoint_kind { ENDPOINT_IPV4, ENDPOINT_IPV6, ENDPOINT_NAME, ENDPOINT_UNIX } endpoint_kind;

/* An address of a host name, as text. */
typedef struct endpoint_address {
    char text[64]; /* with space for the zone of a link-local one */
    bool ipv6;
} endpoint_address;

typedef struct endpoint {
    endpoint_kind kind;
    char host[256]; /* without brackets; a path for ENDPOINT_UNIX */
    int port;
    bool tls, plain;             /* the text says https:// or http:// */
    endpoint_address *addresses; /* of a host name, sorted; NULL while no address is known */
    size_t address_count;
    int problem; /* the result of the last getaddrinfo */
} endpoint;

typedef struct endpoints {
    endpoint *list;
    size_t count;
    bool tls;   /* an endpoint says https:// */
    bool plain; /* an endpoint says http:// */
    bool named; /* an endpoint is a host name */
} endpoints;

/* Parses `text`: endpoints separated by commas. Each is host:port, where the host is an IPv4 address, an [IPv6] address
 * or a host name; http:// or https:// may precede it, and one slash may follow then; or unix:/path. No I/O. */
int endpoints_init(endpoints *e, const char *text, ew_error *err);
void endpoints_fini(endpoints *e);

/* Looks up the addresses of all host names. Blocks, perhaps for seconds. */
void endpoints_look_up(endpoints *e);

/* For host names without an address, moves the addresses from `from`, an earlier lookup of the same text. */
void endpoints_inherit(endpoints *e, endpoints *from);

#endif
