#include "core/event_digest.h"

#include <string.h>

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

uint64_t event_digest(int32_t type, ew_slice key, ew_slice value, const int64_t numbers[EVENT_NUMBERS]) {
    uint64_t h = (uint64_t)type;
    for (size_t i = 0; i < EVENT_NUMBERS; i++)
        h = mix(h, (uint64_t)numbers[i]);
    return mix_bytes(mix_bytes(h, key), value) | 1;
}
