/* Feeds the watching core any sequence of events, with answers of etcd that are valid, invalid or random bytes. It must
 * not crash, its effects must follow the contract (watching_witness.h), and it must never wait without a call in flight
 * or a deadline. */
#include "../watching_witness.h"
#include "etcd.pb-c.h"
#include "input.h"

typedef struct bench {
    watching *core;
    watching_effects out;
    witness witness;
    int64_t now_ms;
    uint8_t bytes[4096];
} bench;

static volatile uint8_t sink;

static void happens(bench *b, watching_event event) {
    if (b->witness.ended)
        return;
    event.now_ms = b->now_ms;
    witness_event(&b->witness, &event);
    watching_step(b->core, &event, &b->out);
    witness_effects(&b->witness, &b->out);
    watching_state state = watching_get_state(b->core);
    bool under_way = b->witness.range_out || b->witness.stream_out;
    CHECK(under_way || b->witness.ended || state == WATCHING_IDLE || watching_deadline_ms(b->core) < INT64_MAX);
    CHECK(!b->witness.ended || state == WATCHING_STOPPED || state == WATCHING_FAILED);
    for (size_t i = 0; i < b->out.count; i++) { /* borrowed memory must be readable */
        const watching_effect *e = &b->out.list[i];
        for (size_t j = 0; j < e->bytes.len; j++)
            sink ^= ((const uint8_t *)e->bytes.data)[j];
    }
}

/* ---- what etcd may send ---- */

static Pb__ResponseHeader *take_header(input *in, Pb__ResponseHeader *h) {
    uint8_t kind = take(in);
    pb__response_header__init(h);
    h->cluster_id = kind == 255 ? 2 : kind == 254 ? 0 : 1;
    h->revision = take_number(in);
    return kind == 253 ? NULL : h;
}

static void take_kv(input *in, Pb__KeyValue *kv, uint8_t key[3]) {
    static const char alphabet[] = "/a0\0";
    pb__key_value__init(kv);
    kv->key.len = take(in) % 4;
    kv->key.data = key;
    for (size_t i = 0; i < kv->key.len; i++)
        key[i] = (uint8_t)alphabet[take(in) % 4];
    kv->mod_revision = take_number(in);
}

static ew_slice take_page(bench *b, input *in) {
    Pb__RangeResponse r = PB__RANGE_RESPONSE__INIT;
    Pb__ResponseHeader h;
    Pb__KeyValue kvs[4], *list[4];
    uint8_t keys[4][3];
    r.header = take_header(in, &h);
    r.more = take(in) & 1;
    r.kvs = list;
    for (size_t count = take(in) % 5; r.n_kvs < count; r.n_kvs++)
        take_kv(in, list[r.n_kvs] = &kvs[r.n_kvs], keys[r.n_kvs]);
    CHECK(pb__range_response__get_packed_size(&r) <= sizeof b->bytes);
    return (ew_slice){b->bytes, pb__range_response__pack(&r, b->bytes)};
}

/* A page of a large prefix: many keys in order, which lead to bounded pages. */
static ew_slice take_large_page(bench *b, input *in) {
    Pb__RangeResponse r = PB__RANGE_RESPONSE__INIT;
    Pb__ResponseHeader h;
    Pb__KeyValue kvs[64], *list[64];
    uint8_t keys[64][3], start = take(in) % 64, middle = take(in);
    r.header = take_header(in, &h);
    r.more = take(in) & 1;
    r.count = (int64_t)((uint64_t)take_number(in) * 8);
    r.kvs = list;
    for (size_t count = 64u - start; r.n_kvs < count; r.n_kvs++) {
        Pb__KeyValue *kv = list[r.n_kvs] = &kvs[r.n_kvs];
        uint8_t *key = memcpy(keys[r.n_kvs], (uint8_t[]){'/', middle, (uint8_t)(r.n_kvs + start)}, 3);
        pb__key_value__init(kv);
        kv->key = (ProtobufCBinaryData){3, key};
        kv->mod_revision = 1;
    }
    CHECK(pb__range_response__get_packed_size(&r) <= sizeof b->bytes);
    return (ew_slice){b->bytes, pb__range_response__pack(&r, b->bytes)};
}

static ew_slice take_response(bench *b, input *in) {
    static const char *const reasons[] = {"", "permission denied", "invalid auth token", "no leader"};
    Pb__WatchResponse r = PB__WATCH_RESPONSE__INIT;
    Pb__ResponseHeader h;
    Pb__Event events[4], *list[4];
    Pb__KeyValue kvs[4];
    uint8_t keys[4][3], flags = take(in), count = take(in) % 5;
    r.header = take_header(in, &h);
    r.watch_id = (int64_t)(take(in) % 4) - 1;
    r.created = flags & 1;
    r.fragment = flags & 2;
    r.canceled = (flags & 12) == 12;
    if (r.canceled) {
        r.cancel_reason = (char *)(uintptr_t)reasons[take(in) % 4];
        r.compact_revision = take_number(in);
    }
    r.events = list;
    for (; r.n_events < count; r.n_events++) {
        Pb__Event *e = list[r.n_events] = &events[r.n_events];
        pb__event__init(e);
        e->type = (Pb__Event__EventType)(take(in) % 16 == 15 ? 2 : flags >> 7);
        take_kv(in, &kvs[r.n_events], keys[r.n_events]);
        e->kv = flags & 64 ? NULL : &kvs[r.n_events];
    }
    CHECK(pb__watch_response__get_packed_size(&r) <= sizeof b->bytes);
    return (ew_slice){b->bytes, pb__watch_response__pack(&r, b->bytes)};
}

/* Feeds the rest of the input in a block of its size, so that a read past the end is detected. */
static void noise_comes(bench *b, input *in, watching_event_type type) {
    size_t size = take(in);
    if (size > in->size)
        size = in->size;
    uint8_t *copy = malloc(size + 1);
    CHECK(copy);
    memcpy(copy, in->data, size);
    in->data += size;
    in->size -= size;
    happens(b, (watching_event){.type = type, .bytes = {copy, size}});
    free(copy);
}

/* ---- a run ---- */

static void one_event(bench *b, input *in) {
    watching_event e = {.detail = "no luck"};
    switch (take(in) % 10) {
    case 0:
        b->now_ms += take_number(in) & 0xffff;
        e.type = WATCHING_TIMER;
        break;
    case 1:
        if (watching_deadline_ms(b->core) != INT64_MAX && watching_deadline_ms(b->core) > b->now_ms)
            b->now_ms = watching_deadline_ms(b->core);
        e.type = WATCHING_TIMER;
        break;
    case 2:
        e.type = WATCHING_PAGE;
        e.bytes = take_page(b, in);
        break;
    case 3:
        e.type = WATCHING_PAGE;
        e.bytes = take_large_page(b, in);
        break;
    case 4:
        e.type = WATCHING_PAGE_FAILED;
        e.status = -(take(in) % 30);
        break;
    case 5:
        e.type = WATCHING_STREAM_ENDED;
        e.status = -(take(in) % 30);
        break;
    case 6:
        noise_comes(b, in, take(in) & 1 ? WATCHING_PAGE : WATCHING_RESPONSE);
        return;
    case 7:
        e.type = take(in) < 16 ? WATCHING_STOP : WATCHING_START;
        break;
    default:
        e.type = WATCHING_RESPONSE;
        e.bytes = take_response(b, in);
        break;
    }
    happens(b, e);
}

/* A stop must end it once everything in flight has completed. */
static void is_stopped(bench *b) {
    happens(b, (watching_event){.type = WATCHING_STOP});
    if (b->witness.range_out)
        happens(b, (watching_event){.type = WATCHING_PAGE_FAILED, .status = EW_ERR_CANCELLED});
    if (b->witness.stream_out)
        happens(b, (watching_event){.type = WATCHING_STREAM_ENDED, .status = EW_ERR_CANCELLED});
    CHECK(b->witness.ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const watching_config config = {
        .key = {"/", 1},
        .range_end = {"0", 1},
        .page_bytes = 64,
        .backoff_min_ms = 50,
        .backoff_max_ms = 1000,
        .silence_ms = 5000,
        .seed = 1,
    };
    input in = {data, size};
    bench *b = calloc(1, sizeof *b);
    CHECK(b);
    b->core = watching_new(&config);
    CHECK(b->core);
    if (take(&in) % 8 != 0)
        happens(b, (watching_event){.type = WATCHING_START});
    while (in.size > 0 && !b->witness.ended)
        one_event(b, &in);
    is_stopped(b);
    watching_free(b->core);
    free(b);
    return 0;
}
