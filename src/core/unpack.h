/* Unpacking with protobuf-c, which itself does not tell a malformed message from a lack of memory. */
#ifndef CORE_UNPACK_H
#define CORE_UNPACK_H

#include <etcdworker/error.h>

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>

/* Unpacks a message, to be freed with protobuf_c_message_free_unpacked(m, NULL). On failure returns NULL and sets
 * `*status` to EW_ERR_NO_MEMORY or EW_ERR_BAD_MESSAGE. */
void *unpack_message(const ProtobufCMessageDescriptor *type, ew_slice bytes, int *status);

/* protobuf-c unpacks by recursion. No message of ours or of etcd's is nested deeper than this in any type: a
 * TxnResponse takes two levels for each nested transaction, of which there are at most EW_TXN_DEPTH_MAX. */
#define UNPACK_DEPTH_MAX 160

/* Returns whether the message may be unpacked: false if it is nested deeper than UNPACK_DEPTH_MAX, or malformed. Must
 * be checked before a message is unpacked whose type contains itself; unpack_message does it. */
bool unpack_is_bounded(const ProtobufCMessageDescriptor *type, ew_slice bytes);

#endif
