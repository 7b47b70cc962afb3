/* The texts are etcd's (api/v3rpc/rpctypes/error.go). */
#include "core/error_text.h"

#include <string.h>

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
    {"etcdserver: no leader", EW_ERR_UNAVAILABLE}, /* the check that `hasleader` asks for comes before all others */
    {"etcdserver: rpc not supported for learner", EW_ERR_UNAVAILABLE}, /* a voting member accepts it (ETCD P16) */
};

int error_text_status(const char *text) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(text, known[i].text))
            return known[i].status;
    }
    return EW_OK;
}
