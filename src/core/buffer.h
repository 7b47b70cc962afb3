/* A buffer that grows at its end, used to concatenate serialized messages. protobuf merges concatenated messages: a
 * repeated field continues in the next message, and of any other field the last value counts. */
#ifndef CORE_BUFFER_H
#define CORE_BUFFER_H

#include <etcdworker/types.h>

#include <stdlib.h>

typedef struct buffer {
    uint8_t *data; /* malloced */
    size_t len, capacity;
} buffer;

/* Makes space for `len` more bytes. Returns false when out of memory; then the buffer is unchanged. */
static inline bool buffer_reserve(buffer *b, size_t len) {
    if (b->data && len <= b->capacity - b->len)
        return true;
    size_t capacity = (b->len + len + 1) * 2;
    uint8_t *grown = realloc(b->data, capacity);
    if (!grown)
        return false;
    b->data = grown;
    b->capacity = capacity;
    return true;
}

static inline bool buffer_append(buffer *b, ew_slice bytes) {
    if (!buffer_reserve(b, bytes.len))
        return false;
    if (bytes.len > 0)
        memcpy(b->data + b->len, bytes.data, bytes.len);
    b->len += bytes.len;
    return true;
}

static inline ew_slice buffer_bytes(const buffer *b) {
    return (ew_slice){b->data, b->len};
}

static inline void buffer_fini(buffer *b) {
    free(b->data);
    *b = (buffer){0};
}

#endif
