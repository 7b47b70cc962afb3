/* From what a user asks to the fields of a request. Nothing is copied: a request borrows from the caller's slices and
 * from the range that was made of its keys. */
#ifndef ETCD_REQUEST_H
#define ETCD_REQUEST_H

#include "etcd/blocking_request.h"

/* etcd's [key, end) of a user's keys. */
typedef struct range {
    ew_slice key, end;
    uint8_t *owned;
} range;

int range_init(range *r, ew_keys keys, ew_error *err); /* EW_ERR_INVALID, EW_ERR_NO_MEMORY */
void range_fini(range *r);

etcd_method request_range_method(const Pb__RangeRequest *request);
int request_get(Pb__RangeRequest *out, const range *r, const ew_get_options *options, ew_error *err);
int request_put(Pb__PutRequest *out, ew_slice key, ew_slice value, const ew_put_options *options, ew_error *err);
void request_delete(Pb__DeleteRangeRequest *out, const range *r, bool previous);

#endif
