/* The calls get, put, delete and compact. */
#include "etcd/request.h"
#include "etcd/result.h"

#include "core/argument.h"

ew_status ew_client_get(ew_client *client, ew_keys keys, const ew_get_options *options, ew_result **out,
                        ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    range r;
    Pb__RangeRequest request;
    ProtobufCMessage *answer;
    if (!out)
        return ew_fail(err, EW_ERR_INVALID, "get: out is NULL");
    *out = NULL;
    int status = range_init(&r, keys, err);
    if (status == EW_OK)
        status = request_get(&request, &r, options, err);
    if (status == EW_OK)
        status = blocking_request(client, request_range_method(&request), &request, &pb__range_response__descriptor,
                                  &answer, err);
    range_fini(&r);
    return status == EW_OK ? result_take(out, answer, err) : status;
}

ew_status ew_client_put(ew_client *client, ew_slice key, ew_slice value, const ew_put_options *options, ew_result **out,
                        ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    Pb__PutRequest request;
    ProtobufCMessage *answer;
    if (out)
        *out = NULL;
    int status = request_put(&request, key, value, options, err);
    if (status == EW_OK)
        status = blocking_request(client, ETCD_PUT, &request, &pb__put_response__descriptor, &answer, err);
    return status == EW_OK ? result_take(out, answer, err) : status;
}

ew_status ew_client_delete(ew_client *client, ew_keys keys, const ew_delete_options *options, ew_result **out,
                           ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    range r;
    Pb__DeleteRangeRequest request;
    ProtobufCMessage *answer;
    if (out)
        *out = NULL;
    int status = range_init(&r, keys, err);
    if (status == EW_OK)
        status = request_delete(&request, &r, options, err);
    if (status == EW_OK)
        status =
            blocking_request(client, ETCD_DELETE_RANGE, &request, &pb__delete_range_response__descriptor, &answer, err);
    range_fini(&r);
    return status == EW_OK ? result_take(out, answer, err) : status;
}

ew_status ew_client_compact(ew_client *client, int64_t revision, const ew_compact_options *options, ew_error *err) {
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    ew_compact_options o;
    if (!blocking_options(&o, sizeof o, options, options ? options->size : 0))
        return ew_fail(err, EW_ERR_INVALID, "ew_compact_options: size is not set");
    Pb__CompactionRequest request = PB__COMPACTION_REQUEST__INIT;
    Pb__CompactionResponse *answer;
    request.revision = revision;
    request.physical = o.physical;
    int status = blocking_request(client, ETCD_COMPACT, &request, &pb__compaction_response__descriptor, &answer, err);
    if (status == EW_OK)
        pb__compaction_response__free_unpacked(answer, NULL);
    return status;
}
