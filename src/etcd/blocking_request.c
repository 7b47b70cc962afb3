#include "etcd/blocking_request.h"

#include <stdlib.h>

ew_slice blocking_pack(const void *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    return (ew_slice){bytes, bytes ? protobuf_c_message_pack(message, bytes) : 0};
}

int blocking_request(ew_client *client, etcd_method method, const void *request, const ProtobufCMessageDescriptor *type,
                     void *answer_out, ew_error *err) {
    ew_slice bytes = blocking_pack(request);
    if (!bytes.data)
        return ew_fail(err, EW_ERR_NO_MEMORY, "%s", type->short_name);
    int status = blocking_call(client, method, bytes, type, answer_out, err);
    free((void *)(uintptr_t)bytes.data);
    return status;
}

bool blocking_options(void *to, size_t size, const void *given, size_t given_size) {
    memset(to, 0, size);
    if (!given)
        return true;
    memcpy(to, given, given_size < size ? given_size : size);
    return given_size > 0;
}
