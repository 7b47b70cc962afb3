#include "etcd/forked.h"
#include "etcd/connection.h"

#include <stdatomic.h>
#include <unistd.h>

/* The number of open clients, and the process that opened the last one. */
static atomic_int open_count;
static _Atomic(pid_t) opener;

int forked_check(pid_t owner, ew_error *err) {
    if (owner == getpid())
        return EW_OK;
    return ew_fail(err, EW_ERR_STATE,
                   "process %d opened the client, and this process was made by fork(), which gRPC does not support; "
                   "call exec first, or open the client after fork()",
                   (int)owner);
}

int forked_open(ew_error *err) {
    int status = atomic_load(&open_count) > 0 ? forked_check(atomic_load(&opener), err) : EW_OK;
    if (status != EW_OK)
        return status;
    atomic_store(&opener, getpid());
    atomic_fetch_add(&open_count, 1);
    return EW_OK;
}

void forked_closed(void) {
    atomic_fetch_sub(&open_count, 1);
}

int etcd_check_process(const ew_client *client, ew_error *err) {
    return forked_check(client->owner, err);
}
