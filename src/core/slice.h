/* Slices: etcd's key order, and conversion to and from the bytes of protobuf-c messages. */
#ifndef CORE_SLICE_H
#define CORE_SLICE_H

#include <etcdworker/types.h>

#include <protobuf-c/protobuf-c.h>
#include <string.h>

/* Compares in etcd's key order: byte by byte as unsigned numbers; a prefix of a key is less than the key. Returns a
 * value below, equal to or above 0. */
static inline int slice_compare(ew_slice a, ew_slice b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Returns whether a key is at or after the end of a range, which is not empty. "\\0" is etcd's notation for the end of
 * the keyspace. */
static inline bool slice_is_past(ew_slice key, ew_slice range_end) {
    bool open = range_end.len == 1 && *(const char *)range_end.data == '\0';
    return !open && slice_compare(key, range_end) >= 0;
}

/* Convert the bytes of a message to a slice, and a slice to the bytes of a message that is to be packed; protobuf-c
 * does not write to these. Both results borrow the memory. */
static inline ew_slice slice_of(ProtobufCBinaryData bytes) {
    return (ew_slice){bytes.data, bytes.len};
}

static inline ProtobufCBinaryData slice_bytes(ew_slice s) {
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.data};
}

#endif
