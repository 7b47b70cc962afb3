#include "core/unpack.h"

#include "core/wire_field.h"

#include <stdlib.h>

static void *allocate(void *status, size_t size) {
    void *piece = malloc(size);
    if (!piece)
        *(int *)status = EW_ERR_NO_MEMORY;
    return piece;
}

static void release(void *status, void *piece) {
    (void)status;
    free(piece);
}

typedef struct nesting {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *end;
} nesting;

/* Returns the type of the message in the field; NULL if the field has something else, or `type` does not have it. */
static const ProtobufCMessageDescriptor *message_in(const ProtobufCMessageDescriptor *type, const field *f) {
    const ProtobufCFieldDescriptor *d =
        f->wire == BYTES ? protobuf_c_message_descriptor_get_field(type, f->number) : NULL;
    return d && d->type == PROTOBUF_C_TYPE_MESSAGE ? d->descriptor : NULL;
}

bool unpack_is_bounded(const ProtobufCMessageDescriptor *type, ew_slice bytes) {
    nesting stack[UNPACK_DEPTH_MAX];
    const uint8_t *at = bytes.len > 0 ? bytes.data : (const uint8_t *)"";
    size_t depth = 1;
    stack[0] = (nesting){type, at + bytes.len};
    while (depth > 0) {
        field f;
        if (at == stack[depth - 1].end) {
            depth--;
            continue;
        }
        if (!read_field(&at, stack[depth - 1].end, &f))
            return false;
        const ProtobufCMessageDescriptor *inner = message_in(stack[depth - 1].type, &f);
        if (!inner)
            continue;
        if (depth == UNPACK_DEPTH_MAX)
            return false;
        at = f.bytes.data; /* and continues after the nested message */
        stack[depth++] = (nesting){inner, at + f.bytes.len};
    }
    return true;
}

void *unpack_message(const ProtobufCMessageDescriptor *type, ew_slice bytes, int *status) {
    int why = EW_ERR_BAD_MESSAGE;
    ProtobufCAllocator allocator = {allocate, release, &why};
    void *message =
        unpack_is_bounded(type, bytes) ? protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data) : NULL;
    *status = message ? EW_OK : why;
    return message;
}
