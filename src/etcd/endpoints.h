/* The endpoints option: what a user writes, and the addresses behind the names in it. */
#ifndef ETCD_ENDPOINTS_H
#define ETCD_ENDPOINTS_H

#include <etcdworker/error.h>

typedef enum endpoint_kind { ENDPOINT_IPV4, ENDPOINT_IPV6, ENDPOINT_NAME, ENDPOINT_UNIX } endpoint_kind;

/* An address of a name, as text. */
typedef struct endpoint_address {
    char text[64]; /* with room for the zone of a link-local one */
    bool ipv6;
} endpoint_address;

typedef struct endpoint {
    endpoint_kind kind;
    char host[256]; /* without brackets; a path for ENDPOINT_UNIX */
    int port;
    bool tls, plain;             /* https:// or http:// was said */
    endpoint_address *addresses; /* of a name, in order; NULL while none is known */
    size_t address_count;
    int problem; /* getaddrinfo's, of the last time */
} endpoint;

typedef struct endpoints {
    endpoint *list;
    size_t count;
    bool tls;   /* https:// was said */
    bool plain; /* http:// was said */
    bool named; /* some are host names */
} endpoints;

/* `text`: separated by commas, in any mixture: host:port, where the host is an IPv4 address, an [IPv6] address or a
 * name, with http:// or https:// allowed in front and then one slash behind; and unix:/path. No I/O. */
int endpoints_init(endpoints *e, const char *text, ew_error *err);
void endpoints_fini(endpoints *e);

/* Looks up the addresses of every name. Blocks, perhaps for seconds. */
void endpoints_look_up(endpoints *e);

/* Takes the addresses of those names that have none over from an earlier look at the same text. */
void endpoints_inherit(endpoints *e, endpoints *from);

#endif
