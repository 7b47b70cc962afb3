/* Slices in the order of etcd's keys, and to and from the bytes of protobuf-c's messages. */
#ifndef CORE_SLICE_H
#define CORE_SLICE_H

#include <etcdworker/types.h>

#include <protobuf-c/protobuf-c.h>
#include <string.h>

/* etcd's order of keys: bytes as unsigned numbers, and of two that start alike the shorter one first. Below, at or
 * above 0. */
static inline int slice_compare(ew_slice a, ew_slice b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The bytes of a message as a slice, and a slice as bytes of a message that is to be packed: protobuf-c writes to
 * neither. Both are views. */
static inline ew_slice slice_of(ProtobufCBinaryData bytes) {
    return (ew_slice){bytes.data, bytes.len};
}

static inline ProtobufCBinaryData slice_bytes(ew_slice s) {
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.data};
}

#endif
