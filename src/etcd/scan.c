/* A scan: reads a range in pages at one pinned revision. For every page etcd counts the rest of the range, so a few
 * large pages are much cheaper than many small ones. The size of a page is adjusted to the size of the key-values. */
#include "etcd/request.h"
#include "etcd/result.h"

#include "core/argument.h"
#include "core/slice.h"

#include <stdlib.h>

#define SCAN_FIRST_KEYS    1000
#define SCAN_MAX_KEYS      100000
#define SCAN_DEFAULT_BYTES (4 << 20)

struct ew_scan {
    ew_client *client;
    Pb__RangeRequest request; /* for the next page; its key and end are `key` and `end` */
    uint8_t *key, *end;
    size_t key_capacity;
    int64_t page_bytes;
    Pb__RangeResponse *page;
    size_t next; /* index in the page */
    bool last;   /* no page follows */
};

static bool copy_range(ew_scan *s, const range *r) {
    s->key_capacity = r->key.len + 1;
    s->key = malloc(s->key_capacity);
    s->end = malloc(r->end.len + 1);
    if (!s->key || !s->end)
        return false;
    memcpy(s->key, r->key.data, r->key.len);
    if (r->end.len > 0)
        memcpy(s->end, r->end.data, r->end.len);
    s->request.key = (ProtobufCBinaryData){r->key.len, s->key};
    s->request.range_end = (ProtobufCBinaryData){r->end.len, s->end};
    return true;
}

ew_status ew_scan_open(ew_scan **out, ew_client *client, ew_keys keys, const ew_scan_options *options, ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    ew_scan_options o;
    range r;
    if (!blocking_options(&o, sizeof o, options, options ? options->size : 0))
        return ew_fail(err, EW_ERR_INVALID, "ew_scan_options: size is not set");
    if (o.revision < 0 || o.page_bytes < 0)
        return ew_fail(err, EW_ERR_INVALID, "scan: revision and page_bytes must not be negative");
    int status = range_init(&r, keys, err);
    if (status != EW_OK)
        return status;
    ew_scan *s = calloc(1, sizeof *s);
    if (s) {
        s->client = client;
        s->page_bytes = o.page_bytes > 0 ? o.page_bytes : SCAN_DEFAULT_BYTES;
        pb__range_request__init(&s->request);
        s->request.limit = SCAN_FIRST_KEYS;
        s->request.revision = o.revision;
        s->request.serializable = o.serializable;
        s->request.keys_only = o.keys_only;
    }
    if (!s || !copy_range(s, &r)) {
        ew_scan_close(s);
        status = ew_fail(err, EW_ERR_NO_MEMORY, "scan");
    } else {
        *out = s;
    }
    range_fini(&r);
    return status;
}

/* Returns whether the page continues where the last one ended, in ascending order. Otherwise a scan could skip keys,
 * repeat keys, or never end. */
static bool is_valid(const ew_scan *s, const Pb__RangeResponse *page) {
    ew_slice before = slice_of(s->request.key);
    ew_kv kv;
    if (page->header->revision <= 0 || (page->more && page->n_kvs == 0))
        return false;
    for (size_t i = 0; i < page->n_kvs; i++) {
        if (!result_kv(&kv, page->kvs[i]))
            return false;
        int order = slice_compare(before, kv.key);
        if (order > 0 || (order == 0 && i > 0))
            return false;
        before = kv.key;
    }
    return true;
}

/* Starts the next page at the smallest key after the last one: the last key with a zero byte appended. */
static int move_after(ew_scan *s, const ProtobufCBinaryData *last, ew_error *err) {
    size_t len = last->len + 1;
    if (len > s->key_capacity) {
        uint8_t *key = realloc(s->key, len);
        if (!key)
            return ew_fail(err, EW_ERR_NO_MEMORY, "scan");
        s->key = key;
        s->key_capacity = len;
    }
    memcpy(s->key, last->data, last->len);
    s->key[len - 1] = 0;
    s->request.key = (ProtobufCBinaryData){len, s->key};
    return EW_OK;
}

static void choose_limit(ew_scan *s, const Pb__RangeResponse *page) {
    size_t bytes = 0;
    for (size_t i = 0; i < page->n_kvs; i++)
        bytes += page->kvs[i]->key.len + page->kvs[i]->value.len + 32;
    if (page->n_kvs == 0)
        return;
    int64_t limit = s->page_bytes / (int64_t)(bytes / page->n_kvs + 1);
    s->request.limit = limit < 1 ? 1 : limit > SCAN_MAX_KEYS ? SCAN_MAX_KEYS : limit;
}

static int read_page(ew_scan *s, ew_error *err) {
    Pb__RangeResponse *page;
    int status;
    do { /* a page with larger values than expected may exceed max_receive_bytes */
        status = blocking_request(s->client, request_range_method(&s->request), &s->request,
                                  &pb__range_response__descriptor, &page, err);
        if (status == EW_ERR_TOO_LARGE)
            s->request.limit /= 2;
    } while (status == EW_ERR_TOO_LARGE && s->request.limit > 0);
    if (s->request.limit == 0)
        s->request.limit = 1;
    if (status != EW_OK)
        return status;
    bool good = is_valid(s, page);
    if (good && page->n_kvs > 0)
        status = move_after(s, &page->kvs[page->n_kvs - 1]->key, err);
    if (!good || status != EW_OK) {
        pb__range_response__free_unpacked(page, NULL);
        return good ? status : ew_fail(err, EW_ERR_BAD_ANSWER, "scan: invalid response");
    }
    if (s->page)
        pb__range_response__free_unpacked(s->page, NULL);
    s->page = page;
    s->next = 0;
    s->last = !page->more;
    if (s->request.revision == 0)
        s->request.revision = page->header->revision;
    choose_limit(s, page);
    return EW_OK;
}

int ew_scan_next(ew_scan *s, ew_kv *kv, ew_error *err) {
    if (ARGUMENT_MISSING(s, err) || ARGUMENT_MISSING(kv, err))
        return EW_ERR_INVALID;
    while (!s->page || s->next == s->page->n_kvs) {
        if (s->page && s->last)
            return EW_END;
        int status = read_page(s, err);
        if (status != EW_OK)
            return status;
    }
    result_kv(kv, s->page->kvs[s->next++]);
    return EW_OK;
}

int64_t ew_scan_revision(const ew_scan *s) {
    if (!s)
        return 0;
    return s->request.revision;
}

void ew_scan_close(ew_scan *s) {
    if (!s)
        return;
    if (s->page)
        pb__range_response__free_unpacked(s->page, NULL);
    free(s->key);
    free(s->end);
    free(s);
}
