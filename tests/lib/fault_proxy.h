/* The fault proxy between a worker and its etcd: a TCP relay on a port of its own, which the test can cut, hold, tear, slow
 * down and mend. What goes over it is never looked at. Functions return when the relay has taken notice. */
#ifndef TESTS_LIB_FAULT_PROXY_H
#define TESTS_LIB_FAULT_PROXY_H

#include <stdint.h>

typedef struct fault_proxy fault_proxy;

typedef enum fault_proxy_direction {
    FAULT_PROXY_UP = 1,   /* from the client to the server */
    FAULT_PROXY_DOWN = 2, /* back */
    FAULT_PROXY_BOTH = 3,
} fault_proxy_direction;

fault_proxy *fault_proxy_open(const char *endpoint);        /* "host:port" of IPv4; ends the test when it cannot */
const char *fault_proxy_endpoint(const fault_proxy *proxy); /* where to connect to */
void fault_proxy_close(fault_proxy *proxy);                 /* NULL is fine */

/* Faults. They add up, hold for all connections and for new ones, and last until the mend. */
void fault_proxy_cut(fault_proxy *proxy); /* breaks all connections, and new ones as soon as they are made */
void fault_proxy_hold(
    fault_proxy *proxy,
    fault_proxy_direction direction); /* bytes stay where they are, and arrive after the mend: a partition */
void fault_proxy_swallow(
    fault_proxy *proxy,
    fault_proxy_direction direction); /* bytes are taken and thrown away: a half-open connection. The mend breaks
                                               connections that lost some, since what follows would make no sense */
void fault_proxy_keep(
    fault_proxy *proxy,
    fault_proxy_direction direction); /* of what is held, what is there now; what comes after it is lost */
void fault_proxy_deliver(
    fault_proxy *proxy,
    fault_proxy_direction direction); /* what was kept goes through now: requests of long ago, whose connection is
                                               not heard of any more. The mend breaks it */
void fault_proxy_delay(fault_proxy *proxy, int ms);           /* latency, each direction */
void fault_proxy_throttle(fault_proxy *proxy, int bytes_a_s); /* each direction */
void fault_proxy_tear(
    fault_proxy *proxy,
    fault_proxy_direction direction); /* once: of the next bytes, half passes, then the connection is reset */
void fault_proxy_flip(fault_proxy *proxy, fault_proxy_direction direction,
                      unsigned at);        /* once: of the next bytes, enough for a message, bit number `at`,
                                                       counted from their end, is another one */
void fault_proxy_mend(fault_proxy *proxy); /* ends all of them */

/* What has happened so far; numbers only grow. `up` is 0 and `down` is 1 in each pair. */
typedef struct fault_proxy_counts {
    uint64_t made;         /* connections */
    uint64_t broken;       /* by the relay, not by their ends; refused ones as well */
    uint64_t torn;         /* of these, in the middle of something */
    uint64_t flipped;      /* bits */
    uint64_t passed[2];    /* bytes, on time or not */
    uint64_t swallowed[2]; /* bytes */
    uint64_t held[2];      /* bytes that waited for a mend */
    uint64_t late[2];      /* bytes that were delayed, or waited because of the throttle */
} fault_proxy_counts;

fault_proxy_counts fault_proxy_count(fault_proxy *proxy);

#endif
