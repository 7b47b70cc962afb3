/* The roles with plain etcd, besides the floor: the external writer, the bare watch, the bare paging, and the status of
 * the server. */
#include "hand.h"
#include "stamp.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the external writer: several concurrent writers, each with one pending transaction ---- */

typedef struct writer {
    hand hand;
    const char *prefix;
    int64_t events, per_txn, keys, value_bytes;
    int64_t next, running;
    int64_t first_revision, last_revision;
} writer;

static void write_next(writer *w);

static void on_written(void *arg, int status, const char *detail, ew_slice bytes) {
    writer *w = arg;
    Pb__TxnResponse *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (!r)
        role_fail("write failed: %s %s", ew_strerror(status), detail);
    int64_t revision = r->header->revision;
    pb__txn_response__free_unpacked(r, NULL);
    if (w->first_revision == 0 || revision < w->first_revision)
        w->first_revision = revision;
    if (revision > w->last_revision)
        w->last_revision = revision;
    w->running--;
    write_next(w);
}

static void write_next(writer *w) {
    enum { MOST = 128, VALUE_MOST = 4096 };
    static Pb__PutRequest puts[MOST];
    static Pb__RequestOp ops[MOST];
    static char keys[MOST][128], values[MOST][VALUE_MOST];
    Pb__RequestOp *list[MOST];
    size_t n = 0;
    int64_t now = now_ns();
    for (; n < (size_t)w->per_txn && w->next < w->events; n++, w->next++) {
        int len = snprintf(keys[n], sizeof keys[n], "%s/%08lld", w->prefix, (long long)(w->next % w->keys));
        stamp_write(values[n], (size_t)w->value_bytes, now, w->next);
        puts[n] = (Pb__PutRequest)PB__PUT_REQUEST__INIT;
        puts[n].key = hand_bytes(keys[n], (size_t)len);
        puts[n].value = hand_bytes(values[n], (size_t)w->value_bytes);
        ops[n] = (Pb__RequestOp)PB__REQUEST_OP__INIT;
        ops[n].request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[n].request_put = &puts[n];
        list[n] = &ops[n];
    }
    if (n == 0)
        return;
    Pb__TxnRequest request = PB__TXN_REQUEST__INIT;
    request.n_success = n;
    request.success = list;
    w->running++;
    hand_txn(&w->hand, &request, on_written, w);
}

void role_write(const role_args *a) {
    static writer w;
    w.prefix = args_text(a, "prefix", "/bench");
    w.events = args_int(a, "events", 1000);
    w.per_txn = args_int(a, "per_txn", 1);
    w.keys = args_int(a, "keys", 1024);
    w.value_bytes = args_int(a, "value_bytes", 256);
    w.next = args_int(a, "first", 0);
    int64_t first = w.next;
    if (w.per_txn > 128 || w.value_bytes < STAMP_BYTES || w.value_bytes > 4096 || w.per_txn > w.keys)
        role_fail("invalid arguments: per_txn is at most 128 and keys, value_bytes is %d to 4096", STAMP_BYTES);
    hand_open(&w.hand, a);
    usage from = usage_now();
    for (int64_t i = args_int(a, "writers", 8); i > 0; i--)
        write_next(&w);
    while (w.running > 0)
        hand_turn(&w.hand);
    usage to = usage_now();
    json_t *result = json_object();
    usage_report(result, &from, &to, w.events - first);
    json_object_set_new(result, "first_revision", json_integer(w.first_revision));
    json_object_set_new(result, "last_revision", json_integer(w.last_revision));
    hand_close(&w.hand);
    role_say(result);
}

/* ---- a bare watch on one thread: the floor of workloads that follow a prefix ---- */

typedef struct watcher {
    stamp_set stamps;
    bool begun;
    usage from;
    histogram delay;
} watcher;

static void on_events(void *arg, const Pb__WatchResponse *response) {
    watcher *w = arg;
    int64_t now = now_ns(), at_ns, number;
    if (!w->begun) {
        w->begun = true;
        w->from = usage_now();
    }
    for (size_t i = 0; i < response->n_events; i++) {
        ProtobufCBinaryData value = response->events[i]->kv->value;
        if (!stamp_read((ew_slice){value.data, value.len}, &at_ns, &number))
            continue;
        if (!stamp_set_add(&w->stamps, number))
            role_fail("change %lld was repeated, or is out of range", (long long)number);
        histogram_add(&w->delay, (uint64_t)(now - at_ns));
    }
}

void role_watch(const role_args *a) {
    static watcher w;
    hand h;
    if (!stamp_set_init(&w.stamps, args_int(a, "events", 1000)))
        role_fail("out of memory");
    hand_open(&h, a);
    char below[256];
    snprintf(below, sizeof below, "%s/", args_text(a, "prefix", "/bench"));
    int64_t revision = args_int(a, "revision", 0);
    if (revision > 0) { /* all changes are written already: the clock starts with the watch */
        w.from = usage_now();
        w.begun = true;
    }
    hand_watch *watch = hand_watch_open(&h, below, revision, on_events, &w);
    role_say(json_pack("{s: I}", "ready_revision", (json_int_t)revision));
    while (w.stamps.seen < w.stamps.count)
        hand_turn(&h);
    usage to = usage_now();
    json_t *result = json_object();
    usage_report(result, &w.from, &to, w.stamps.count);
    role_add_latency(result, &w.delay);
    hand_watch_close(watch);
    hand_close(&h);
    stamp_set_fini(&w.stamps);
    role_say(result);
}

/* ---- the prefix, page by page: the floor of a load ---- */

void role_page(const role_args *a) {
    hand h;
    ew_scan *scan;
    ew_error err = {0};
    ew_kv kv;
    int64_t bytes = 0, keys = 0;
    int status;
    usage from = usage_now();
    hand_open(&h, a);
    char below[256];
    snprintf(below, sizeof below, "%s/", args_text(a, "prefix", "/bench"));
    status = ew_scan_open(&scan, h.client, ew_keys_prefix(ew_str(below)),
                          &EW_SCAN_OPTIONS(.page_bytes = ew_options_int(h.options, "page_bytes")), &err);
    while (status == EW_OK && (status = ew_scan_next(scan, &kv, &err)) == EW_OK) {
        bytes += (int64_t)(kv.key.len + kv.value.len);
        keys++;
    }
    if (status != EW_END)
        role_fail("paging failed: %s", err.detail);
    usage to = usage_now();
    json_t *result = json_pack("{s: I}", "bytes", (json_int_t)bytes);
    usage_report(result, &from, &to, keys);
    ew_scan_close(scan);
    hand_close(&h);
    role_say(result);
}

/* ---- the status of the server ---- */

static void on_status(void *arg, int status, const char *detail, ew_slice bytes) {
    json_t **result = arg;
    Pb__StatusResponse *r = status == EW_OK ? pb__status_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (!r)
        role_fail("etcd: %s %s", ew_strerror(status), detail);
    *result =
        json_pack("{s: s, s: I}", "etcd", r->version, "revision", (json_int_t)(r->header ? r->header->revision : 0));
    pb__status_response__free_unpacked(r, NULL);
}

void role_probe(const role_args *a) {
    hand h;
    json_t *result = NULL;
    hand_open(&h, a);
    if (!etcd_call_start(h.client, h.queue, ETCD_STATUS, (ew_slice){0}, args_int(a, "timeout_ms", 10000), on_status,
                         &result))
        role_fail("out of memory");
    while (!result)
        hand_turn(&h);
    hand_close(&h);
    role_say(result);
}
