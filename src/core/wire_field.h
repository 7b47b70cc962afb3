/* Reads the fields of a serialized protobuf message in place, one after the other. In a header, because most of a
 * worker's input passes through it. */
#ifndef CORE_WIRE_FIELD_H
#define CORE_WIRE_FIELD_H

#include <etcdworker/types.h>

#include <stdbool.h>
#include <stdint.h>

/* protobuf's wire types */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct field {
    uint32_t number;
    unsigned wire;
    uint64_t varint;
    ew_slice bytes;
} field;

static inline bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *out) {
    enum { BYTES_MAX = 10 };
    uint64_t value = 0;
    if (*at < end && **at < 0x80) { /* the usual case: tags, short lengths */
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
        return false; /* groups, which are not used */
    }
}

#endif
