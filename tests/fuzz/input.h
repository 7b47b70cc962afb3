/* The bytes from which a fuzz target makes its choices, consumed from the front; zeros after the end. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static inline uint8_t take(input *in) {
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

/* Returns a small number mostly, sometimes one near a limit. `byte` selects it. */
static inline int64_t take_number_after(input *in, uint8_t byte) {
    switch (byte) {
    case 255:
        return INT64_MAX;
    case 254:
        return INT64_MIN;
    case 253:
        return -1;
    case 252:
        return INT64_MAX - 1;
    default:
        return byte < 128 ? byte : (byte - 128) * 256 + take(in);
    }
}

static inline int64_t take_number(input *in) {
    return take_number_after(in, take(in));
}

#endif
