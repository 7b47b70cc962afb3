/* The wire between a worker and its etcd: a TCP relay on a port of its own, which the test can cut, hold, tear, slow
 * down and mend. What goes over it is never looked at. Functions return when the relay has taken notice. */
#ifndef LIB_WIRE_H
#define LIB_WIRE_H

#include <stdint.h>

typedef struct wire wire;

typedef enum wire_way {
    WIRE_UP = 1,   /* from the client to the server */
    WIRE_DOWN = 2, /* back */
    WIRE_BOTH = 3,
} wire_way;

wire *wire_open(const char *endpoint);    /* "host:port" of IPv4; ends the test when it cannot */
const char *wire_endpoint(const wire *w); /* where to connect to */
void wire_close(wire *w);                 /* NULL is fine */

/* Faults. They add up, hold for all connections and for new ones, and last until the mend. */
void wire_cut(wire *w);                     /* breaks all connections, and new ones as soon as they are made */
void wire_hold(wire *w, wire_way way);      /* bytes stay where they are, and arrive after the mend: a partition */
void wire_swallow(wire *w, wire_way way);   /* bytes are taken and thrown away: a half-open connection. The mend breaks
                                               connections that lost some, since what follows would make no sense */
void wire_keep(wire *w, wire_way way);      /* of what is held, what is there now; what comes after it is lost */
void wire_deliver(wire *w, wire_way way);   /* what was kept goes through now: requests of long ago, whose connection is
                                               not heard of any more. The mend breaks it */
void wire_delay(wire *w, int ms);           /* latency, each way */
void wire_throttle(wire *w, int bytes_a_s); /* each way */
void wire_tear(wire *w, wire_way way);      /* once: of the next bytes, half passes, then the connection is reset */
void wire_flip(wire *w, wire_way way, unsigned at); /* once: of the next bytes, enough for a message, bit number `at`,
                                                       counted from their end, is another one */
void wire_mend(wire *w);                            /* ends all of them */

/* What has happened so far; numbers only grow. `up` is 0 and `down` is 1 in each pair. */
typedef struct wire_counts {
    uint64_t made;         /* connections */
    uint64_t broken;       /* by the relay, not by their ends; refused ones as well */
    uint64_t torn;         /* of these, in the middle of something */
    uint64_t flipped;      /* bits */
    uint64_t passed[2];    /* bytes, on time or not */
    uint64_t swallowed[2]; /* bytes */
    uint64_t held[2];      /* bytes that waited for a mend */
    uint64_t late[2];      /* bytes that were delayed, or waited because of the throttle */
} wire_counts;

wire_counts wire_count(wire *w);

#endif
