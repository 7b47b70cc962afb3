/* Why a connection comes about and is of no use: gRPC only says that it was closed. So one is made without gRPC, by a
 * thread of its own that nobody has to wait for. */
#ifndef ETCD_HANDSHAKE_H
#define ETCD_HANDSHAKE_H

#include "etcd/targets.h"

#include <etcdworker/options.h>

/* Tries the handshake with that endpoint, over TLS or in plain text as the client would. Writes what does not fit
 * together, beginning with "TLS: ", or why there is no connection; "" if nothing was found. Blocks, for about a second
 * at most. */
void handshake_try(const target *t, bool tls, const ew_options *options, char *out, size_t size);

typedef struct handshakes handshakes;

/* Tries several at once, one after the other on one thread: `wanted` says for each target whether to. The targets and
 * options are copied. NULL when that is not possible now. */
handshakes *handshakes_start(const targets *t, const bool *wanted, bool tls, const ew_options *options);
bool handshakes_are_done(handshakes *h);
const char *handshakes_result(const handshakes *h, size_t i); /* "" if nothing is known (yet) */
void handshakes_give(handshakes *h);                          /* NULL is fine */

#endif
