/* The methods of etcd's API: where they are, and what a failure of each may have left behind. */
#ifndef ETCD_METHOD_H
#define ETCD_METHOD_H

#include "etcd/etcd.h"

#include <grpc/status.h>

#define ETCD_METHODS (ETCD_LEASE_KEEP_ALIVE + 1)

typedef struct method_info {
    const char *path;
    bool writes;       /* a failure whose outcome is not known is EW_ERR_UNKNOWN_OUTCOME (ETCD P11) */
    bool needs_leader; /* sent with `hasleader: true`, so that a partitioned member says so at once (ETCD P9) */
    bool streams;
    bool authenticates; /* needs no token, because it makes one */
} method_info;

const method_info *method_get(etcd_method method);

/* How a call ended that was given to gRPC, which may or may not have sent it. */
typedef struct method_end {
    grpc_status_code code;
    const char *text;
    bool cancelled; /* by ourselves */
} method_end;

/* What that means. Never EW_OK unless the code is GRPC_STATUS_OK. */
int method_status(etcd_method method, const method_end *end);

/* The same for the reason text of a watch that etcd cancelled, which has no code (ETCD P10). */
int method_reason(const char *text);

/* Whether a new token may heal it. */
bool method_token_is_stale(const char *text);

/* Of ETCD_AUTHENTICATE: etcd has its authentication switched off, and calls go without. */
bool method_wants_no_token(const char *text);

#endif
