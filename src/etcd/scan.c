/* A scan: reads a range in pages at one pinned revision. For every page etcd counts the rest of the range, so a few
 * large pages are much cheaper than many small ones. The size of a page is adjusted to the size of the key-values. */
#include "etcd/request.h"
#include "etcd/result.h"

#include "core/argument.h"
#include "core/pages.h"
#include "core/slice.h"

#include <stdlib.h>

#define SCAN_FIRST_KEYS    1000
#define SCAN_MAX_KEYS      100000
#define SCAN_DEFAULT_BYTES (4 << 20)

struct ew_scan {
    ew_client *client;
    Pb__RangeRequest request; /* for the next page; its key and end are `key` and `end` */
    buffer key, end;
    int64_t page_bytes;
    Pb__RangeResponse *page;
    size_t next; /* index in the page */
    bool last;   /* no page follows */
};

static bool copy_range(ew_scan *s, const range *r) {
    if (!buffer_append(&s->key, r->key) || !buffer_append(&s->end, r->end))
        return false;
    s->request.key = slice_bytes(buffer_bytes(&s->key));
    s->request.range_end = slice_bytes(buffer_bytes(&s->end));
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

/* Checks the page; if it is good, the next page starts after it. */
static int take_page(ew_scan *s, const Pb__RangeResponse *page, ew_error *err) {
    const char *wrong = pages_check(page, slice_of(s->request.key), s->request.revision);
    ew_kv kv;
    for (size_t i = 0; !wrong && i < page->n_kvs; i++)
        wrong = result_kv(&kv, page->kvs[i]) ? NULL : "page with an invalid key-value";
    if (wrong)
        return ew_fail(err, EW_ERR_BAD_ANSWER, "scan: invalid response: %s", wrong);
    if (page->n_kvs > 0 && !pages_next(&s->key, page))
        return ew_fail(err, EW_ERR_NO_MEMORY, "scan");
    s->request.key = slice_bytes(buffer_bytes(&s->key));
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
    status = take_page(s, page, err);
    if (status != EW_OK) {
        pb__range_response__free_unpacked(page, NULL);
        return status;
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
    buffer_fini(&s->key);
    buffer_fini(&s->end);
    free(s);
}
