/* Fills requests from the arguments of the public functions. Nothing is copied: a request borrows the caller's slices
 * and the range made from its keys. */
#ifndef ETCD_REQUEST_H
#define ETCD_REQUEST_H

#include "etcd/blocking_request.h"

/* The range [key, end) of etcd for a user's keys. */
typedef struct range {
    ew_slice key, end;
    uint8_t *owned;
} range;

int range_init(range *r, ew_keys keys, ew_error *err); /* errors: EW_ERR_INVALID, EW_ERR_NO_MEMORY */
void range_fini(range *r);

etcd_method request_range_method(const Pb__RangeRequest *request);
int request_get(Pb__RangeRequest *out, const range *r, const ew_get_options *options, ew_error *err);
int request_put(Pb__PutRequest *out, ew_slice key, ew_slice value, const ew_put_options *options, ew_error *err);
int request_delete(Pb__DeleteRangeRequest *out, const range *r, const ew_delete_options *options, ew_error *err);

#endif
