#include "etcd/bytes.h"

#include <grpc/byte_buffer_reader.h>

grpc_byte_buffer *bytes_copy(ew_slice bytes) {
    grpc_slice s = grpc_slice_from_copied_buffer(bytes.data, bytes.len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
    return buffer;
}

bool bytes_view_init(bytes_view *v, grpc_byte_buffer *buffer) {
    *v = (bytes_view){.joined = grpc_empty_slice()};
    const grpc_slice_buffer *pieces = &buffer->data.raw.slice_buffer;
    if (buffer->type == GRPC_BB_RAW && buffer->data.raw.compression == GRPC_COMPRESS_NONE && pieces->count <= 1) {
        if (pieces->count == 1) {
            const grpc_slice *piece = &pieces->slices[0];
            v->bytes = (ew_slice){GRPC_SLICE_START_PTR(*piece), GRPC_SLICE_LENGTH(*piece)};
        }
        return true;
    }
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return false;
    v->joined = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    v->bytes = (ew_slice){GRPC_SLICE_START_PTR(v->joined), GRPC_SLICE_LENGTH(v->joined)};
    return true;
}

void bytes_view_fini(bytes_view *v) {
    grpc_slice_unref(v->joined);
}

void bytes_text(grpc_slice s, char *out, size_t size) {
    size_t len = GRPC_SLICE_LENGTH(s);
    if (len >= size)
        len = size - 1;
    memcpy(out, GRPC_SLICE_START_PTR(s), len);
    out[len] = '\0';
}
