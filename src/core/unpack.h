/* protobuf-c's unpacking, which does not say by itself whether a message is malformed or memory ran out. */
#ifndef CORE_UNPACK_H
#define CORE_UNPACK_H

#include <etcdworker/error.h>

#include <protobuf-c/protobuf-c.h>

/* Unpacks a message, to be freed with protobuf_c_message_free_unpacked(m, NULL). NULL on failure, and in `*status`
 * which it was: EW_ERR_NO_MEMORY or EW_ERR_BAD_MESSAGE. */
void *unpack_message(const ProtobufCMessageDescriptor *type, ew_slice bytes, int *status);

#endif
