/* TLS: from the options to gRPC's credentials. What can be seen to be wrong without a connection is said here: a file
 * that is missing, holds nothing of use, has expired, or a key that is another certificate's. */
#ifndef ETCD_TLS_H
#define ETCD_TLS_H

#include <etcdworker/options.h>

#include <grpc/grpc.h>

/* `wanted`: the endpoints say https. `*out` is what a channel needs, for TLS or for plain text. */
int tls_credentials(grpc_channel_credentials **out, const ew_options *options, bool wanted, ew_error *err);

/* Whether there are options for TLS; whether it is used, because of them or of the endpoints. */
bool tls_is_on(const ew_options *options);
bool tls_is_wanted(const ew_options *options);

#endif
