/* Finds out why a handshake fails: gRPC only reports that the connection was closed. So a detached thread makes a
 * connection without gRPC. */
#ifndef ETCD_HANDSHAKE_H
#define ETCD_HANDSHAKE_H

#include "etcd/targets.h"

#include <etcdworker/options.h>

/* Tries the handshake with the endpoint `t`, over TLS or in plain text as the client does. Writes the reason to `out`:
 * a mismatch in the use of TLS, beginning with "TLS: ", or why there is no connection; "" if nothing was found. Blocks,
 * for about a second at most. */
void handshake_try(const target *t, bool tls, const ew_options *options, char *out, size_t size);

typedef struct handshakes handshakes;

/* Starts a thread that tries, one after the other, the endpoints for which `wanted` is true. The targets and options
 * are copied. Returns NULL without memory or a thread; otherwise the caller calls handshakes_give. */
handshakes *handshakes_start(const targets *t, const bool *wanted, bool tls, const ew_options *options);
bool handshakes_are_done(handshakes *h);
const char *handshakes_result(const handshakes *h, size_t i); /* "" if nothing was found, or not done yet */
void handshakes_give(handshakes *h);                          /* NULL is allowed */

#endif
