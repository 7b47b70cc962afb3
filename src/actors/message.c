#include "actors/message.h"

/* Reads a varint at `*at` and moves `*at` after it. Returns false if it does not end inside the body. */
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

/* Returns the number of the field at `*at` and moves `*at` to the next field; 0 if no message can have this field. */
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
        case 12: /* checked */
            break;
        default:
            return true;
        }
    }
    return false;
}

/* Returns the value of the varint field with the number `wanted`; 0 if it is absent. */
static uint64_t number_in(ew_slice body, uint64_t wanted) {
    size_t at = 0;
    for (uint64_t field = 1; at < body.len && field != 0;) {
        size_t value_at = at;
        uint64_t tag, value;
        field = next_field(body, &at);
        if (field == wanted && varint(body, &value_at, &tag) && varint(body, &value_at, &value))
            return value;
    }
    return 0;
}

Msg__Actor message_down_actor(ew_slice body) {
    enum { DOWN = 10, ACTOR = 1 };
    size_t at = 0, len_at;
    for (uint64_t field = 1; at < body.len && field != 0;) {
        uint64_t tag, len;
        len_at = at;
        field = next_field(body, &at);
        if (field == DOWN && varint(body, &len_at, &tag) && varint(body, &len_at, &len))
            return (Msg__Actor)number_in((ew_slice){(const uint8_t *)body.data + len_at, at - len_at}, ACTOR);
    }
    return MSG__ACTOR__NONE;
}
