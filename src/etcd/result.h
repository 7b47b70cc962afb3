/* Checks responses and turns them into results of the public API. */
#ifndef ETCD_RESULT_H
#define ETCD_RESULT_H

#include "etcd/blocking_request.h"

/* Makes a result of a Pb__RangeResponse, PutResponse, DeleteRangeResponse or TxnResponse. Takes ownership of the
 * response, also on failure. If `out` is NULL, the response is only checked. */
int result_take(ew_result **out, ProtobufCMessage *answer, ew_error *err);

/* Returns the status of a call for whose response there is no memory: EW_ERR_NO_MEMORY if the call only reads,
 * otherwise EW_ERR_UNKNOWN_OUTCOME, since NO_MEMORY would mean that nothing was written. */
int result_no_memory(const ProtobufCMessageDescriptor *type, ew_error *err);

/* Makes a result that has only keys. Takes ownership of the response that the keys point into. */
int result_take_keys(ew_result **out, ProtobufCMessage *answer, const Pb__ResponseHeader *header,
                     const ProtobufCBinaryData *keys, size_t count, ew_error *err);

/* Reads one key-value of a response; false if it is invalid. */
bool result_kv(ew_kv *out, const Pb__KeyValue *kv);

#endif
