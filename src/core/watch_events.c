#include "core/watch_events.h"

#include "core/slice.h"
#include "core/wire_field.h"

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

bool watch_events_kv(ew_slice kv, watch_event *out) {
    *out = (watch_event){.key = {"", 0}, .value = {"", 0}};
    return read_kv(kv, out);
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
        else if (f.number == EVENT_PREV_KV)
            out->previous = f.bytes;
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

static bool is_watched(const Pb__WatchCreateRequest *create, ew_slice key) {
    ew_slice end = slice_of(create->range_end);
    int order = slice_compare(key, slice_of(create->key));
    return end.len == 0 ? order == 0 : order >= 0 && !slice_is_past(key, end);
}

static bool is_possible(const Pb__WatchCreateRequest *create, const watch_event *e) {
    const bool known = e->type == PB__EVENT__EVENT_TYPE__PUT || e->type == PB__EVENT__EVENT_TYPE__DELETE;
    return known && e->has_kv && e->mod_revision > 0 && is_watched(create, e->key);
}

bool watch_events_summarise(const Pb__WatchCreateRequest *create, ew_slice response, watch_events_summary *out) {
    watch_event e;
    watch_events events = watch_events_of(response);
    const uint8_t *from = events.at;
    for (*out = (watch_events_summary){0}; watch_events_next(&events, &e); out->count++, from = events.at) {
        if (out->count == 0)
            out->lowest = e.mod_revision;
        if (!is_possible(create, &e) || out->highest < 0 || e.mod_revision < out->highest) {
            out->highest = -1; /* etcd orders events by revision */
        } else if (e.mod_revision > out->highest) {
            out->before = out->highest;
            out->newest_before = out->newest;
            out->highest = e.mod_revision;
            out->newest = (ew_slice){from, (size_t)(events.end - from)};
        }
    }
    out->rest = events.rest;
    return !events.malformed;
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

static uint64_t mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

/* Hashes eight bytes at a time, because values may be large. */
static uint64_t mix_bytes(uint64_t h, ew_slice s) {
    const uint8_t *at = s.data;
    size_t left = s.len;
    uint64_t word;
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = mix(h, word);
    }
    word = 0;
    if (left > 0)
        memcpy(&word, at, left);
    return mix(mix(h, word), s.len);
}

uint64_t watch_events_digest(const watch_event *e) {
    uint64_t h = (uint64_t)e->type;
    h = mix(mix(h, (uint64_t)e->mod_revision), (uint64_t)e->create_revision);
    h = mix(mix(h, (uint64_t)e->version), (uint64_t)e->lease);
    return mix_bytes(mix_bytes(h, e->key), e->value) | 1;
}
