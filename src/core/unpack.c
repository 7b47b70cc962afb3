#include "core/unpack.h"

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

void *unpack_message(const ProtobufCMessageDescriptor *type, ew_slice bytes, int *status) {
    int why = EW_ERR_BAD_MESSAGE;
    ProtobufCAllocator allocator = {allocate, release, &why};
    void *message = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data);
    *status = message ? EW_OK : why;
    return message;
}
