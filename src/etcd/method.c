#include "etcd/method.h"

#include "core/error_text.h"

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
    int status = error_text_status(end->text);
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

bool method_is_final(int status) {
    return status == EW_ERR_DENIED || status == EW_ERR_UNAUTHENTICATED || status == EW_ERR_UNSUPPORTED ||
           status == EW_ERR_TOO_LARGE || status == EW_ERR_BAD_ANSWER || status == EW_ERR_INVALID ||
           status == EW_ERR_WRONG_CLUSTER;
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
