/* A call that is waited for: what goes in and what comes out. */
#ifndef ETCD_BLOCKING_REQUEST_H
#define ETCD_BLOCKING_REQUEST_H

#include "etcd/etcd.h"

#include "etcd.pb-c.h"

/* Sends `request` and gives the answer, unpacked as `type`, to be freed with protobuf_c_message_free_unpacked. Its
 * header is there and makes sense; the rest is the caller's to check. */
int blocking_call(ew_client *client, etcd_method method, ew_slice request, const ProtobufCMessageDescriptor *type,
                  void *answer, ew_error *err);

/* The same for a request that is not packed yet: a pointer to any Pb__...Request. */
int blocking_request(ew_client *client, etcd_method method, const void *request, const ProtobufCMessageDescriptor *type,
                     void *answer, ew_error *err);

/* Packs a message into bytes to be freed; `data` is NULL when out of memory. */
ew_slice blocking_pack(const void *message);

/* Copies a user's option struct, which may be of an older, shorter or a newer, longer version. False: its size is not
 * set. `given` NULL is all zero. */
bool blocking_options(void *to, size_t size, const void *given, size_t given_size);

#endif
