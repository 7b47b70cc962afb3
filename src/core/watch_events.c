#include "core/watch_events.h"

#include "core/wire_field.h"

#include <string.h>

/* Fields of etcd's messages (proto/etcd.proto). */
enum { RESPONSE_EVENTS = 11, EVENT_TYPE = 1, EVENT_KV = 2, EVENT_PREV_KV = 3 };
enum { KV_KEY = 1, KV_CREATE_REVISION = 2, KV_MOD_REVISION = 3, KV_VERSION = 4, KV_VALUE = 5, KV_LEASE = 6 };

/* If a field occurs twice the last one counts. If a message occurs twice, this holds for each of its fields, because
 * protobuf merges the two. */
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
