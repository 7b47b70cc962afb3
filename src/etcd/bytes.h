/* gRPC's byte buffers as slices, copied only when there is no way around it. */
#ifndef ETCD_BYTES_H
#define ETCD_BYTES_H

#include <etcdworker/types.h>

#include <grpc/grpc.h>

/* A buffer with a copy of `bytes`; never NULL (gRPC's allocator ends the process instead). */
grpc_byte_buffer *bytes_copy(ew_slice bytes);

/* A view of a received buffer. `joined` holds the copy when the message came in several pieces. */
typedef struct bytes_view {
    ew_slice bytes;
    grpc_slice joined;
} bytes_view;

bool bytes_view_init(bytes_view *v, grpc_byte_buffer *buffer); /* false: the buffer cannot be read */
void bytes_view_fini(bytes_view *v);

/* A gRPC slice as text, cut to fit. */
void bytes_text(grpc_slice s, char *out, size_t size);

#endif
