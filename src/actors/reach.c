#include "actors/reach.h"

#include "etcd/etcd.h"

typedef struct answer {
    bool here;
    int status;
    ew_error *err;
} answer;

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    answer *a = arg;
    (void)bytes;
    a->here = true;
    bool silent = status == EW_ERR_UNAVAILABLE || status == EW_ERR_TIMEOUT || status == EW_ERR_NO_MEMORY;
    a->status = silent ? ew_fail(a->err, status, "%s", detail) : EW_OK;
}

int reach_etcd(ew_client *client, int64_t timeout_ms, ew_error *err) {
    answer a = {.status = EW_ERR_NO_MEMORY, .err = err};
    etcd_queue *q = etcd_queue_new();
    if (!q)
        return ew_fail(err, EW_ERR_NO_MEMORY, "asking etcd for its status");
    /* The request has no fields: nothing to serialize. */
    if (!etcd_call_start(client, q, ETCD_STATUS, (ew_slice){"", 0}, timeout_ms, answered, &a))
        ew_fail(err, EW_ERR_NO_MEMORY, "asking etcd for its status");
    else
        while (!a.here)
            etcd_queue_run(q, INT64_MAX);
    etcd_queue_free(q);
    return a.status;
}
