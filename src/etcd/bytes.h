/* gRPC's byte buffers as slices. A buffer is copied only if it has several pieces. */
#ifndef ETCD_BYTES_H
#define ETCD_BYTES_H

#include <etcdworker/types.h>

#include <grpc/grpc.h>

/* Returns a buffer with a copy of `bytes`; never NULL (gRPC's allocator aborts the process when out of memory). */
grpc_byte_buffer *bytes_copy(ew_slice bytes);

/* A view of a received buffer. `joined` holds the copy if the message has several pieces. */
typedef struct bytes_view {
    ew_slice bytes;
    grpc_slice joined;
} bytes_view;

bool bytes_view_init(bytes_view *v, grpc_byte_buffer *buffer); /* false: the buffer cannot be read */
void bytes_view_fini(bytes_view *v);

/* Writes a gRPC slice to `out` as a string, cut to fit. */
void bytes_text(grpc_slice s, char *out, size_t size);

#endif
