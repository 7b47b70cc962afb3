#include "core/watch_events.h"

#include <string.h>

/* protobuf's wire types. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* Fields of etcd's messages (proto/etcd.proto). */
enum { RESPONSE_EVENTS = 11, EVENT_TYPE = 1, EVENT_KV = 2, EVENT_PREV_KV = 3 };
enum { KV_KEY = 1, KV_CREATE_REVISION = 2, KV_MOD_REVISION = 3, KV_VERSION = 4, KV_VALUE = 5, KV_LEASE = 6 };

typedef struct field {
    uint32_t number;
    unsigned wire;
    uint64_t varint;
    ew_slice bytes;
} field;

static inline bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *out) {
    enum { BYTES_MAX = 10 };
    uint64_t value = 0;
    if (*at < end && **at < 0x80) { /* as most are: tags, short lengths */
        *out = *(*at)++;
        return true;
    }
    for (unsigned i = 0; i < BYTES_MAX && *at < end; i++) {
        const uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static inline bool read_span(const uint8_t **at, const uint8_t *end, uint64_t len, ew_slice *out) {
    if (len > (uint64_t)(end - *at))
        return false;
    *out = (ew_slice){*at, (size_t)len};
    *at += len;
    return true;
}

static inline bool read_field(const uint8_t **at, const uint8_t *end, field *f) {
    uint64_t tag, len;
    if (!read_varint(at, end, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
        return false;
    f->number = (uint32_t)(tag >> 3);
    f->wire = tag & 7;
    switch (f->wire) {
    case VARINT:
        return read_varint(at, end, &f->varint);
    case FIXED64:
        return read_span(at, end, sizeof(uint64_t), &f->bytes);
    case BYTES:
        return read_varint(at, end, &len) && read_span(at, end, len, &f->bytes);
    case FIXED32:
        return read_span(at, end, sizeof(uint32_t), &f->bytes);
    default:
        return false; /* groups, which nobody sends */
    }
}

/* Of a field that stands twice the last one counts, also where a message stands twice: protobuf merges these. */
static bool read_kv(ew_slice kv, watch_event *out) {
    const uint8_t *at = kv.data, *end = at + kv.len;
    field f;
    out->has_kv = true;
    while (at < end) {
        if (!read_field(&at, end, &f))
            return false;
        const unsigned wire = f.number == KV_KEY || f.number == KV_VALUE ? BYTES : VARINT;
        if (f.number <= KV_LEASE && f.wire != wire)
            return false;
        if (f.number == KV_KEY)
            out->key = f.bytes;
        else if (f.number == KV_VALUE)
            out->value = f.bytes;
        else if (f.number == KV_CREATE_REVISION)
            out->create_revision = (int64_t)f.varint;
        else if (f.number == KV_MOD_REVISION)
            out->mod_revision = (int64_t)f.varint;
        else if (f.number == KV_VERSION)
            out->version = (int64_t)f.varint;
        else if (f.number == KV_LEASE)
            out->lease = (int64_t)f.varint;
    }
    return true;
}

static bool read_event(ew_slice event, watch_event *out) {
    const uint8_t *at = event.data, *end = at + event.len;
    field f;
    *out = (watch_event){.key = {"", 0}, .value = {"", 0}};
    while (at < end) {
        if (!read_field(&at, end, &f))
            return false;
        if (f.number <= EVENT_PREV_KV && f.wire != (f.number == EVENT_TYPE ? VARINT : BYTES))
            return false;
        if (f.number == EVENT_TYPE)
            out->type = (int32_t)f.varint;
        else if (f.number == EVENT_KV && !read_kv(f.bytes, out))
            return false;
    }
    return true;
}

watch_events watch_events_of(ew_slice response) {
    const uint8_t *at = response.len > 0 ? response.data : (const uint8_t *)"";
    return (watch_events){.at = at, .end = at + response.len};
}

bool watch_events_next(watch_events *s, watch_event *out) {
    field f;
    for (const uint8_t *from = s->at; s->at < s->end; from = s->at) {
        if (!read_field(&s->at, s->end, &f)) {
            s->malformed = true;
            return false;
        }
        if (f.number != RESPONSE_EVENTS) {
            s->rest += (size_t)(s->at - from);
            continue;
        }
        s->malformed = f.wire != BYTES || !read_event(f.bytes, out);
        return !s->malformed;
    }
    return false;
}

void watch_events_rest(ew_slice response, uint8_t *rest) {
    field f;
    watch_events s = watch_events_of(response);
    for (const uint8_t *from = s.at; s.at < s.end && read_field(&s.at, s.end, &f); from = s.at) {
        if (f.number == RESPONSE_EVENTS)
            continue;
        memcpy(rest, from, (size_t)(s.at - from));
        rest += s.at - from;
    }
}
