/* A fault proxy: a TCP relay between a client and its etcd, on a port of its own, which the test can make fail. It
 * never looks at the bytes. Each function returns after the relay's thread has applied the order. */
#ifndef TESTS_LIB_FAULT_PROXY_H
#define TESTS_LIB_FAULT_PROXY_H

#include <stdint.h>

typedef struct fault_proxy fault_proxy;

typedef enum fault_proxy_direction {
    FAULT_PROXY_UP = 1,   /* from the client to the server */
    FAULT_PROXY_DOWN = 2, /* from the server to the client */
    FAULT_PROXY_BOTH = 3,
} fault_proxy_direction;

/* Opens a proxy to `endpoint`, "host:port" with an IPv4 address. Ends the test program if it cannot. */
fault_proxy *fault_proxy_open(const char *endpoint);

/* Returns the proxy's own "host:port", to which clients connect. */
const char *fault_proxy_endpoint(const fault_proxy *proxy);

/* Accepts NULL. */
void fault_proxy_close(fault_proxy *proxy);

/* ---- faults: they add up, apply to existing and new connections, and last until fault_proxy_mend ---- */

/* Closes all connections, and each new one as soon as it is accepted. */
void fault_proxy_cut(fault_proxy *proxy);

/* A partition: bytes wait and are delivered after the mend. */
void fault_proxy_hold(fault_proxy *proxy, fault_proxy_direction direction);

/* A half-open connection: bytes are read and discarded. The mend closes the connections that lost bytes, since the rest
 * of their stream would be invalid. */
void fault_proxy_swallow(fault_proxy *proxy, fault_proxy_direction direction);

/* Keeps the bytes that are held now. Bytes that come later are discarded. */
void fault_proxy_keep(fault_proxy *proxy, fault_proxy_direction direction);

/* Delivers the kept bytes: old requests, late, on connections that get nothing else. The mend closes these connections.
 */
void fault_proxy_deliver(fault_proxy *proxy, fault_proxy_direction direction);

/* Adds latency in each direction. */
void fault_proxy_delay(fault_proxy *proxy, int ms);

/* Limits the rate in each direction. */
void fault_proxy_throttle(fault_proxy *proxy, int bytes_a_s);

/* Once: passes half of the next bytes, then resets the connection. */
void fault_proxy_tear(fault_proxy *proxy, fault_proxy_direction direction);

/* Once: inverts bit number `at`, counted from the end, of the next bytes that are enough for a message. */
void fault_proxy_flip(fault_proxy *proxy, fault_proxy_direction direction, unsigned at);

/* Ends all faults. */
void fault_proxy_mend(fault_proxy *proxy);

/* Counts since fault_proxy_open; they never decrease. In each pair, element 0 is up and element 1 is down. */
typedef struct fault_proxy_counts {
    uint64_t made;         /* connections */
    uint64_t broken;       /* connections that the proxy closed or refused */
    uint64_t torn;         /* of these: connections that fault_proxy_tear reset */
    uint64_t flipped;      /* bits */
    uint64_t passed[2];    /* bytes, late ones included */
    uint64_t swallowed[2]; /* bytes */
    uint64_t held[2];      /* bytes that waited for a mend */
    uint64_t late[2];      /* bytes that were delayed or throttled */
} fault_proxy_counts;

fault_proxy_counts fault_proxy_count(fault_proxy *proxy);

#endif
