#include "actors/message.h"

/* Reads a base-128 number at `*at`: false if it does not end inside the body. */
static bool varint(ew_slice body, size_t *at, uint64_t *out) {
    const uint8_t *p = body.data;
    *out = 0;
    for (unsigned shift = 0; shift < 64 && *at < body.len; shift += 7) {
        uint8_t byte = p[(*at)++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

/* The number of the field at `*at`, which becomes the place of the next one; 0 if no message has such a field. */
static uint64_t next_field(ew_slice body, size_t *at) {
    enum { VARINT = 0, LENGTH = 2 };
    uint64_t tag, number;
    if (!varint(body, at, &tag) || !varint(body, at, &number))
        return 0;
    if ((tag & 7) == LENGTH) {
        if (number > body.len - *at)
            return 0;
        *at += number;
    } else if ((tag & 7) != VARINT) {
        return 0;
    }
    return tag >> 3;
}

bool message_is_urgent(ew_slice body) {
    size_t at = 0;
    while (at < body.len) {
        switch (next_field(body, &at)) {
        case 1:  /* epoch */
        case 2:  /* snapshot */
        case 3:  /* events */
        case 4:  /* progress */
        case 12: /* audited */
            break;
        default:
            return true;
        }
    }
    return false;
}

static bool has_field(ew_slice body, uint64_t wanted) {
    size_t at = 0;
    uint64_t field = 1;
    while (at < body.len && field != 0 && field != wanted)
        field = next_field(body, &at);
    return field == wanted;
}

bool message_is_down(ew_slice body) {
    return has_field(body, 10);
}

bool message_is_stop(ew_slice body) {
    return has_field(body, 9);
}
