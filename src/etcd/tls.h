/* TLS: makes gRPC's credentials from the options. Reports what can be found without a connection: a file that is
 * missing, invalid or expired, and a key that does not belong to its certificate. */
#ifndef ETCD_TLS_H
#define ETCD_TLS_H

#include <etcdworker/options.h>

#include <grpc/grpc.h>

/* The credentials of a channel, and a digest of the files that they were made from. */
typedef struct tls_credentials {
    grpc_channel_credentials *channel;
    unsigned char digest[32];
} tls_credentials;

/* Makes credentials for TLS if `wanted`, otherwise for plain text. */
int tls_credentials_init(tls_credentials *c, const ew_options *options, bool wanted, ew_error *err);
void tls_credentials_fini(tls_credentials *c); /* all zero is allowed */

/* Returns whether both were made from files of the same content. */
bool tls_credentials_equal(const tls_credentials *a, const tls_credentials *b);

/* tls_is_on: whether options for TLS are set. tls_is_wanted: whether TLS is used, because of options or endpoints. */
bool tls_is_on(const ew_options *options);
bool tls_is_wanted(const ew_options *options);

#endif
