/* What a call answered, checked and made readable. */
#ifndef ETCD_RESULT_H
#define ETCD_RESULT_H

#include "etcd/blocking_request.h"

/* Takes over the answer, also on failure: a Pb__RangeResponse, PutResponse, DeleteRangeResponse or TxnResponse. `out`
 * may be NULL: then it is only checked. */
int result_take(ew_result **out, ProtobufCMessage *answer, ew_error *err);

/* What it means that there is no memory for what such an answer tells: EW_ERR_NO_MEMORY if it was only read, otherwise
 * EW_ERR_UNKNOWN_OUTCOME, since NO_MEMORY would say that nothing was written. */
int result_no_memory(const ProtobufCMessageDescriptor *type, ew_error *err);

/* A result of keys alone, which takes over the answer that they point into. */
int result_take_keys(ew_result **out, ProtobufCMessage *answer, const Pb__ResponseHeader *header,
                     const ProtobufCBinaryData *keys, size_t count, ew_error *err);

/* One key of an answer; false if no server can mean it. */
bool result_kv(ew_kv *out, const Pb__KeyValue *kv);

#endif
