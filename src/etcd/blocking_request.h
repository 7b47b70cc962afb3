/* Blocking calls: requests and responses. */
#ifndef ETCD_BLOCKING_REQUEST_H
#define ETCD_BLOCKING_REQUEST_H

#include "etcd/etcd.h"

#include "etcd.pb-c.h"

/* Sends `request`, waits, and sets `*answer` to the response, unpacked as `type`. The caller frees it with
 * protobuf_c_message_free_unpacked. Its header is checked; the caller checks the rest. */
int blocking_call(ew_client *client, etcd_method method, ew_slice request, const ProtobufCMessageDescriptor *type,
                  void *answer, ew_error *err);

/* The same with an unpacked request: a pointer to any Pb__...Request. */
int blocking_request(ew_client *client, etcd_method method, const void *request, const ProtobufCMessageDescriptor *type,
                     void *answer, ew_error *err);

/* Packs a message. The caller frees the bytes; `data` is NULL when out of memory. */
ew_slice blocking_pack(const void *message);

/* Copies a user's option struct, which may be of an older (shorter) or newer (longer) version. False: its size is not
 * set. If `given` is NULL, all options are zero. */
bool blocking_options(void *to, size_t size, const void *given, size_t given_size);

#endif
