/* The methods of etcd's API: their paths, and what a failure of each means. */
#ifndef ETCD_METHOD_H
#define ETCD_METHOD_H

#include "etcd/etcd.h"

#include <grpc/status.h>

#define ETCD_METHODS (ETCD_LEASE_KEEP_ALIVE + 1)

typedef struct method_info {
    const char *path;
    bool writes;       /* a failure with an unknown outcome is EW_ERR_UNKNOWN_OUTCOME (ETCD P11) */
    bool needs_leader; /* sent with `hasleader: true`, so that a partitioned member refuses it at once (ETCD P9) */
    bool streams;
    bool authenticates; /* makes a token, so it is sent without one */
} method_info;

const method_info *method_get(etcd_method method);

/* How a call ended after it was given to gRPC, which may have sent it or not. */
typedef struct method_end {
    grpc_status_code code;
    const char *text;
    bool cancelled; /* by this process */
} method_end;

/* Returns the status of a call that ended. EW_OK only if the code is GRPC_STATUS_OK. */
int method_status(etcd_method method, const method_end *end);

/* Returns whether a new attempt would fail in the same way: etcd refuses the request, or the response is larger than
 * max_receive_bytes. */
bool method_is_final(int status);

/* Returns whether the error means that the token is not valid any more, so that a new token may help. */
bool method_token_is_stale(const char *text);

/* Returns whether the error of ETCD_AUTHENTICATE means that etcd's authentication is disabled, so that calls need no
 * token. */
bool method_wants_no_token(const char *text);

#endif
