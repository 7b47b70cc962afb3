/* Feeds arbitrary bytes to what the client reads from etcd: watch messages and answers of calls. It must not crash.
 * What it returns must be as promised: whole revisions, in ascending order, each once. */
#include "etcd/result.h"
#include "etcd/watch_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) ((condition) ? (void)0 : abort())

static volatile uint8_t sink;

static void read_bytes(ew_slice s) {
    for (size_t i = 0; i < s.len; i++)
        sink ^= ((const uint8_t *)s.data)[i];
}

static void read_kv(const ew_kv *kv) {
    read_bytes(kv->key);
    read_bytes(kv->value);
    CHECK(kv->key.len > 0 && kv->mod_revision > 0);
}

static void read_batch(const watch_batch *b, int64_t first, int64_t last) {
    for (size_t i = 0; i < b->count; i++) {
        const ew_watch_event *e = &b->events[i];
        read_kv(&e->kv);
        CHECK(e->kv.mod_revision >= first && e->kv.mod_revision <= last);
        CHECK(i == 0 || e->kv.mod_revision >= b->events[i - 1].kv.mod_revision);
        if (e->has_previous)
            read_kv(&e->previous);
    }
}

/* Returns whether the stream goes on. */
static bool read_news(watch_stream *s, watch_batch *b, const watch_stream_news *n) {
    switch (n->kind) {
    case WATCH_STREAM_NOTHING:
        return true;
    case WATCH_STREAM_EVENTS:
    case WATCH_STREAM_FULL:
        CHECK(n->lowest > 0 && n->lowest <= n->highest && n->revision <= n->highest);
        if (watch_batch_read(b, n, s->seen + 1) != EW_OK)
            return false;
        read_batch(b, s->seen + 1, n->revision);
        if (n->revision > s->seen)
            watch_stream_accept(s, n);
        return n->kind == WATCH_STREAM_EVENTS;
    case WATCH_STREAM_PROGRESS:
        CHECK(n->revision > s->seen);
        watch_stream_accept(s, n);
        return true;
    case WATCH_STREAM_DOUBTED:
        CHECK(n->revision > 0 && n->revision < s->seen);
        return false;
    default:
        CHECK(n->status < 0 && n->detail[0] != '\0');
        return false;
    }
}

/* Reads streams, one after the other: a length, a message of that many bytes, and so on. */
static void read_stream(const uint8_t *data, size_t size) {
    watch_stream s = {.joined_max = 200, .silence_ms = 1000, .copies = size % 2};
    watch_batch b = {0};
    Pb__WatchRequest request;
    pb__watch_create_request__init(&s.create);
    s.create.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) ""};
    watch_stream_open(&s, &request, 0, 0, 0);
    while (size > 0) {
        size_t len = *data++;
        size--;
        if (len > size)
            len = size;
        const watch_stream_news n = watch_stream_take(&s, (ew_slice){data, len}, 0);
        data += len;
        size -= len;
        if (read_news(&s, &b, &n))
            continue;
        watch_stream_open(&s, &request, s.seen + 1, 0, 0);
        CHECK(s.create.start_revision == s.seen + 1 || (s.create.start_revision == s.last && s.last > 0));
    }
    watch_stream_fini(&s);
    free(b.events);
}

static void read_result(const ew_result *r) {
    CHECK(ew_result_revision(r) > 0 && ew_result_total(r) >= 0);
    for (size_t i = 0; i < ew_result_count(r); i++)
        read_kv(ew_result_at(r, i));
    for (size_t i = 0; ew_result_op(r, i); i++)
        read_result(ew_result_op(r, i));
}

static void read_answer(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size) {
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, size, data);
    ew_result *r;
    ew_error err;
    if (!m)
        return;
    if (!((const Pb__TxnResponse *)(const void *)m)->header) { /* the client checks this before it makes a result */
        protobuf_c_message_free_unpacked(m, NULL);
        return;
    }
    if (result_take(&r, m, &err) != EW_OK)
        return;
    read_result(r);
    ew_result_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] >= 0xf0) {
        read_answer(&pb__put_response__descriptor, data + 1, size - 1);
        return 0;
    }
    switch (data[0] % 4) {
    case 0:
        read_stream(data + 1, size - 1);
        break;
    case 1:
        read_answer(&pb__range_response__descriptor, data + 1, size - 1);
        break;
    case 2:
        read_answer(&pb__delete_range_response__descriptor, data + 1, size - 1);
        break;
    default:
        read_answer(&pb__txn_response__descriptor, data + 1, size - 1);
    }
    return 0;
}
