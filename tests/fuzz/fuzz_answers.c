/* Feeds arbitrary bytes to what the client reads from etcd: watch messages and answers of calls. It must not crash.
 * What it returns must be as promised: whole revisions, in ascending order, each once. */
#include "etcd/result.h"
#include "etcd/watch_response.h"

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

static void read_batch(const watch_reader *r, int64_t *seen) {
    CHECK(r->event_count > 0);
    for (size_t i = 0; i < r->event_count; i++) {
        const ew_watch_event *e = &r->events[i];
        read_kv(&e->kv);
        CHECK(e->kv.mod_revision > *seen);
        CHECK(i == 0 || e->kv.mod_revision >= r->events[i - 1].kv.mod_revision);
        if (e->has_previous)
            read_kv(&e->previous);
    }
    CHECK(r->events[r->event_count - 1].kv.mod_revision == r->revision);
    *seen = r->revision;
}

/* Reads a stream: a length, a message of that many bytes, and so on. */
static void read_stream(const uint8_t *data, size_t size) {
    watch_reader r = {.next_revision = size % 2 ? 5 : 0, .created = size % 3 > 0, .max_bytes = 200};
    int64_t seen = r.next_revision > 0 ? 4 : 0;
    while (size > 0) {
        size_t len = *data++;
        size--;
        if (len > size)
            len = size;
        watch_news news = watch_reader_take(&r, (ew_slice){data, len});
        data += len;
        size -= len;
        if (news == WATCH_EVENTS)
            read_batch(&r, &seen);
        if (news == WATCH_BROKEN || r.cut)
            r.created = false; /* another stream */
        if (news == WATCH_EVENTS || news == WATCH_BROKEN)
            watch_reader_clear(&r);
        if (news == WATCH_PROGRESS) {
            CHECK(r.revision > seen);
            seen = r.revision;
        }
        if (news == WATCH_OVER) {
            CHECK(r.status < 0 && r.detail[0] != '\0');
            break;
        }
    }
    watch_reader_fini(&r);
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
