/* Maps etcd's errors to statuses. The texts are etcd's (api/v3rpc/rpctypes/error.go): many errors have the same gRPC
 * code, so only the text distinguishes them. */
#include "etcd/method.h"

static const method_info methods[ETCD_METHODS] = {
    [ETCD_RANGE] = {.path = "/etcdserverpb.KV/Range", .needs_leader = true},
    [ETCD_RANGE_SERIALIZABLE] = {.path = "/etcdserverpb.KV/Range"},
    [ETCD_PUT] = {.path = "/etcdserverpb.KV/Put", .writes = true, .needs_leader = true},
    [ETCD_DELETE_RANGE] = {.path = "/etcdserverpb.KV/DeleteRange", .writes = true, .needs_leader = true},
    [ETCD_TXN] = {.path = "/etcdserverpb.KV/Txn", .writes = true, .needs_leader = true},
    [ETCD_COMPACT] = {.path = "/etcdserverpb.KV/Compact", .writes = true, .needs_leader = true},
    [ETCD_LEASE_GRANT] = {.path = "/etcdserverpb.Lease/LeaseGrant", .writes = true, .needs_leader = true},
    [ETCD_LEASE_REVOKE] = {.path = "/etcdserverpb.Lease/LeaseRevoke", .writes = true, .needs_leader = true},
    [ETCD_LEASE_TIME_TO_LIVE] = {.path = "/etcdserverpb.Lease/LeaseTimeToLive", .needs_leader = true},
    [ETCD_AUTHENTICATE] = {.path = "/etcdserverpb.Auth/Authenticate", .authenticates = true},
    [ETCD_STATUS] = {.path = "/etcdserverpb.Maintenance/Status"},
    [ETCD_MEMBER_LIST] = {.path = "/etcdserverpb.Cluster/MemberList"},
    [ETCD_WATCH] = {.path = "/etcdserverpb.Watch/Watch", .needs_leader = true, .streams = true},
    [ETCD_LEASE_KEEP_ALIVE] = {.path = "/etcdserverpb.Lease/LeaseKeepAlive", .needs_leader = true, .streams = true},
};

const method_info *method_get(etcd_method method) {
    return &methods[method];
}

/* Errors that etcd returns before it applies anything, so they are certain for writes too. */
static const struct known {
    const char *text;
    int status;
} known[] = {
    {"mvcc: required revision has been compacted", EW_ERR_COMPACTED},
    {"mvcc: required revision is a future revision", EW_ERR_FUTURE_REVISION},
    {"mvcc: database space exceeded", EW_ERR_NO_SPACE},
    {"etcdserver: too many operations in txn request", EW_ERR_TOO_LARGE},
    {"etcdserver: request is too large", EW_ERR_TOO_LARGE},
    {"grpc: received message larger than max", EW_ERR_TOO_LARGE}, /* the server's own limit on a request */
    {"etcdserver: too many requests", EW_ERR_BUSY},
    {"etcdserver: requested lease not found", EW_ERR_NOT_FOUND},
    {"etcdserver: key not found", EW_ERR_NOT_FOUND},
    {"etcdserver: lease already exists", EW_ERR_INVALID},
    {"etcdserver: permission denied", EW_ERR_DENIED},
    {"etcdserver: invalid auth token", EW_ERR_UNAUTHENTICATED},
    {"etcdserver: revision of auth store is old", EW_ERR_UNAUTHENTICATED},
    {"etcdserver: authentication failed", EW_ERR_UNAUTHENTICATED},
    {"etcdserver: authentication is not enabled", EW_ERR_STATE},
    {"etcdserver: user name is empty", EW_ERR_UNAUTHENTICATED},
    {"etcdserver: no leader", EW_ERR_UNAVAILABLE}, /* the refusal because of `hasleader`, before any other check */
    {"etcdserver: rpc not supported for learner", EW_ERR_UNAVAILABLE}, /* a voting member accepts it (ETCD P16) */
};

static int known_text(const char *text) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(text, known[i].text))
            return known[i].status;
    }
    return EW_OK;
}

/* Returns the status for codes that mean that nothing was applied; EW_OK for the others. */
static int known_code(grpc_status_code code) {
    switch (code) {
    case GRPC_STATUS_INVALID_ARGUMENT:
    case GRPC_STATUS_OUT_OF_RANGE:
    case GRPC_STATUS_ALREADY_EXISTS:
        return EW_ERR_INVALID;
    case GRPC_STATUS_NOT_FOUND:
        return EW_ERR_NOT_FOUND;
    case GRPC_STATUS_FAILED_PRECONDITION:
        return EW_ERR_STATE;
    case GRPC_STATUS_PERMISSION_DENIED:
        return EW_ERR_DENIED;
    case GRPC_STATUS_UNAUTHENTICATED:
        return EW_ERR_UNAUTHENTICATED;
    case GRPC_STATUS_UNIMPLEMENTED:
        return EW_ERR_UNSUPPORTED;
    default:
        return EW_OK;
    }
}

int method_status(etcd_method method, const method_end *end) {
    if (end->code == GRPC_STATUS_OK)
        return EW_OK;
    int status = known_text(end->text);
    if (status != EW_OK)
        return status;
    status = known_code(end->code);
    if (status != EW_OK)
        return status;
    if (methods[method].writes)
        return EW_ERR_UNKNOWN_OUTCOME;
    if (end->cancelled)
        return EW_ERR_CANCELLED;
    if (end->code == GRPC_STATUS_DEADLINE_EXCEEDED)
        return EW_ERR_TIMEOUT;
    if (end->code == GRPC_STATUS_RESOURCE_EXHAUSTED)
        return EW_ERR_TOO_LARGE; /* the client's limit on a response, or the server's limit on what it sends */
    return EW_ERR_UNAVAILABLE;
}

int method_reason(const char *text) {
    int status = known_text(text);
    return status != EW_OK ? status : EW_ERR_UNAVAILABLE;
}

bool method_token_is_stale(const char *text) {
    return strstr(text, "etcdserver: invalid auth token") ||
           strstr(text, "etcdserver: revision of auth store is old") ||
           strstr(text,
                  "etcdserver: user name is empty"); /* sent without a token, but authentication was enabled since */
}

bool method_wants_no_token(const char *text) {
    return strstr(text, "etcdserver: authentication is not enabled");
}
