/* The wire between a worker and its etcd: a TCP relay on a port of its own, which the test can cut and mend. What goes
 * over it is never looked at. */
#ifndef LIB_WIRE_H
#define LIB_WIRE_H

typedef struct wire wire;

wire *wire_open(const char *endpoint);    /* "host:port" of IPv4; ends the test when it cannot */
const char *wire_endpoint(const wire *w); /* where to connect to */
void wire_cut(wire *w);                   /* breaks all connections, and new ones as soon as they are made */
void wire_mend(wire *w);                  /* lets new connections through */
void wire_close(wire *w);                 /* NULL is fine */

#endif
