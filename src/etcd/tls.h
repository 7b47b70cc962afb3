/* TLS: from the options to gRPC's credentials. What can be seen to be wrong without a connection is said here: a file
 * that is missing, holds nothing of use, has expired, or a key that is another certificate's. */
#ifndef ETCD_TLS_H
#define ETCD_TLS_H

#include <etcdworker/options.h>

#include <grpc/grpc.h>

/* What a channel needs, and what it was made of: a digest of the files. */
typedef struct tls_credentials {
    grpc_channel_credentials *channel;
    unsigned char digest[32];
} tls_credentials;

/* For TLS if `wanted`, or else for plain text. */
int tls_credentials_init(tls_credentials *c, const ew_options *options, bool wanted, ew_error *err);
void tls_credentials_fini(tls_credentials *c); /* what is zeroed is fine */

/* Whether two were made of the same files. */
bool tls_credentials_equal(const tls_credentials *a, const tls_credentials *b);

/* Whether there are options for TLS; whether it is used, because of them or of the endpoints. */
bool tls_is_on(const ew_options *options);
bool tls_is_wanted(const ew_options *options);

#endif
