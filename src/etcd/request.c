#include "etcd/request.h"
#include "etcd/denied.h"

#include "core/slice.h"

#include <stdlib.h>

/* As the end of a range this means "no end", as its start "the first possible key". */
static const uint8_t zero_byte[1] = {0};
#define ZERO ((ew_slice){zero_byte, 1})

/* Sets the end of the range to the first key after all keys with the prefix: increments the last byte of the prefix
 * that is not 0xff, and cuts the bytes after it. */
static int prefix_end(range *r, ew_slice prefix, ew_error *err) {
    const uint8_t *bytes = prefix.data;
    size_t len = prefix.len;
    while (len > 0 && bytes[len - 1] == 0xff)
        len--;
    if (len == 0) {
        r->end = ZERO;
        return EW_OK;
    }
    r->owned = malloc(len);
    if (!r->owned)
        return ew_fail(err, EW_ERR_NO_MEMORY, "keys");
    memcpy(r->owned, bytes, len);
    r->owned[len - 1]++;
    r->end = (ew_slice){r->owned, len};
    return EW_OK;
}

/* Refuses ranges that are empty by byte order. For etcd the end "\0" means "no end", so [b, "\0") would be all keys
 * from b on. For other ends that are not larger than the start, etcd's behaviour differs between calls. */
static int check_between(const range *r, ew_error *err) {
    if (r->end.len == 0)
        return ew_fail(err, EW_ERR_INVALID, "keys: no end");
    if (slice_compare(r->key, r->end) < 0)
        return EW_OK;
    char text[200];
    denied_write_range(text, sizeof text, r->key, r->end);
    return ew_fail(err, EW_ERR_INVALID, "keys: the range [%s) is empty", text);
}

int range_init(range *r, ew_keys keys, ew_error *err) {
    *r = (range){.key = keys.key.len > 0 ? keys.key : ZERO};
    switch (keys.kind) {
    case EW_KEYS_ONE:
        return keys.key.len > 0 ? EW_OK : ew_fail(err, EW_ERR_INVALID, "keys: empty key");
    case EW_KEYS_PREFIX:
        return prefix_end(r, keys.key, err);
    case EW_KEYS_FROM:
        r->end = ZERO;
        return EW_OK;
    case EW_KEYS_BETWEEN:
        r->end = keys.end;
        return check_between(r, err);
    }
    return ew_fail(err, EW_ERR_INVALID, "keys: invalid kind %d", (int)keys.kind);
}

void range_fini(range *r) {
    free(r->owned);
    r->owned = NULL;
}

etcd_method request_range_method(const Pb__RangeRequest *request) {
    return request->serializable ? ETCD_RANGE_SERIALIZABLE : ETCD_RANGE;
}

int request_get(Pb__RangeRequest *out, const range *r, const ew_get_options *options, ew_error *err) {
    ew_get_options o;
    if (!blocking_options(&o, sizeof o, options, options ? options->size : 0))
        return ew_fail(err, EW_ERR_INVALID, "ew_get_options: size is not set");
    if (o.limit < 0 || o.revision < 0)
        return ew_fail(err, EW_ERR_INVALID, "get: limit and revision must not be negative");
    if ((unsigned)o.sort_by > EW_SORT_VALUE)
        return ew_fail(err, EW_ERR_INVALID, "get: invalid sort_by %d", (int)o.sort_by);
    pb__range_request__init(out);
    out->key = slice_bytes(r->key);
    out->range_end = slice_bytes(r->end);
    out->limit = o.limit;
    out->revision = o.revision;
    out->serializable = o.serializable;
    out->keys_only = o.keys_only;
    out->count_only = o.count_only;
    out->min_mod_revision = o.min_mod_revision;
    out->max_mod_revision = o.max_mod_revision;
    out->min_create_revision = o.min_create_revision;
    out->max_create_revision = o.max_create_revision;
    if (o.descending || o.sort_by != EW_SORT_KEY) {
        out->sort_target = (Pb__RangeRequest__SortTarget)o.sort_by; /* the same order as etcd's */
        out->sort_order = o.descending ? PB__RANGE_REQUEST__SORT_ORDER__DESCEND : PB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    }
    return EW_OK;
}

int request_put(Pb__PutRequest *out, ew_slice key, ew_slice value, const ew_put_options *options, ew_error *err) {
    ew_put_options o;
    if (!blocking_options(&o, sizeof o, options, options ? options->size : 0))
        return ew_fail(err, EW_ERR_INVALID, "ew_put_options: size is not set");
    if (key.len == 0)
        return ew_fail(err, EW_ERR_INVALID, "put: empty key");
    if (o.keep_value && value.len > 0)
        return ew_fail(err, EW_ERR_INVALID, "put: both keep_value and a value");
    if (o.keep_lease && o.lease != 0)
        return ew_fail(err, EW_ERR_INVALID, "put: both keep_lease and a lease");
    pb__put_request__init(out);
    out->key = slice_bytes(key);
    out->value = slice_bytes(value);
    out->lease = o.lease;
    out->prev_kv = o.previous;
    out->ignore_value = o.keep_value;
    out->ignore_lease = o.keep_lease;
    return EW_OK;
}

int request_delete(Pb__DeleteRangeRequest *out, const range *r, const ew_delete_options *options, ew_error *err) {
    ew_delete_options o;
    if (!blocking_options(&o, sizeof o, options, options ? options->size : 0))
        return ew_fail(err, EW_ERR_INVALID, "ew_delete_options: size is not set");
    pb__delete_range_request__init(out);
    out->key = slice_bytes(r->key);
    out->range_end = slice_bytes(r->end);
    out->prev_kv = o.previous;
    return EW_OK;
}
