#include "etcd/revision_check.h"

#include "core/slice.h"
#include "core/unpack.h"
#include "etcd.pb-c.h"
#include "etcd/blocking.h"
#include "etcd/method.h"
#include "etcd/request.h"

#include <stdio.h>
#include <stdlib.h>

enum { FALLS_MAX = 5 };

void revision_check_want(revision_check *c, int64_t seen) {
    c->wanted = true;
    c->seen = seen;
    c->falls = 0;
    c->next_ms = etcd_now_ms();
}

static void decide(revision_check *c, int status, const char *detail) {
    c->wanted = false;
    c->status = status;
    snprintf(c->detail, sizeof c->detail, "%s", detail);
}

static void take_revision(revision_check *c, int64_t revision) {
    char detail[192];
    if (revision >= c->seen) {
        decide(c, EW_OK, "");
    } else if (c->falls++ == FALLS_MAX) {
        snprintf(detail, sizeof detail,
                 "etcd is at revision %lld, and revision %lld was seen: it was restored from an older state",
                 (long long)revision, (long long)c->seen);
        decide(c, EW_ERR_REVISION_FELL, detail);
    }
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    revision_check *c = arg;
    c->call = NULL;
    c->next_ms = etcd_now_ms() + backoff_next_ms(&c->backoff);
    int unpacked;
    Pb__RangeResponse *r = status == EW_OK ? unpack_message(&pb__range_response__descriptor, bytes, &unpacked) : NULL;
    if (r && r->header && r->header->revision > 0)
        take_revision(c, r->header->revision);
    else if (status != EW_OK && method_is_final(status))
        decide(c, status, detail);
    if (r)
        pb__range_response__free_unpacked(r, NULL);
}

static void ask(revision_check *c) {
    Pb__RangeRequest request = PB__RANGE_REQUEST__INIT;
    request.key = slice_bytes(c->key);
    request.limit = 1;
    request.keys_only = true;
    ew_slice bytes = blocking_pack(&request);
    if (bytes.data)
        c->call = etcd_call_start(c->client, c->queue, ETCD_RANGE, bytes, c->timeout_ms, answered, c);
    free((void *)(uintptr_t)bytes.data);
    if (!c->call) /* out of memory */
        c->next_ms = etcd_now_ms() + backoff_next_ms(&c->backoff);
}

int64_t revision_check_run(revision_check *c) {
    if (!c->call && etcd_now_ms() >= c->next_ms)
        ask(c);
    return c->call ? INT64_MAX : c->next_ms;
}

void revision_check_end(revision_check *c) {
    c->wanted = false;
    if (c->call)
        etcd_call_cancel(c->call);
    while (c->call)
        etcd_queue_run(c->queue, INT64_MAX);
}
