/* protobuf-c's unpacking, which does not say by itself whether a message is malformed or memory ran out. */
#ifndef CORE_UNPACK_H
#define CORE_UNPACK_H

#include <etcdworker/error.h>

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>

/* Unpacks a message, to be freed with protobuf_c_message_free_unpacked(m, NULL). NULL on failure, and in `*status`
 * which it was: EW_ERR_NO_MEMORY or EW_ERR_BAD_MESSAGE. */
void *unpack_message(const ProtobufCMessageDescriptor *type, ew_slice bytes, int *status);

/* protobuf-c unpacks by recursion. No message of ours or of etcd's is nested deeper than this, in messages of any type:
 * a TxnResponse takes two for each transaction in it, of which there are at most EW_TXN_DEPTH_MAX. */
#define UNPACK_DEPTH_MAX 160

/* Whether the message may be unpacked: false if it is nested deeper than UNPACK_DEPTH_MAX, or malformed. To be asked
 * where a message whose type contains itself is unpacked; unpack_message does. */
bool unpack_is_bounded(const ProtobufCMessageDescriptor *type, ew_slice bytes);

#endif
