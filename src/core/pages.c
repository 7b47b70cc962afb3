#include "core/pages.h"

#include "core/slice.h"

const char *pages_check(const Pb__RangeResponse *page, ew_slice from, int64_t revision) {
    if (revision == 0)
        revision = page->header->revision;
    if (page->header->revision < revision || revision <= 0)
        return "page with an invalid revision";
    if (page->more && page->n_kvs == 0)
        return "page without keys that announces more keys";
    for (size_t i = 0; i < page->n_kvs; i++) {
        const Pb__KeyValue *kv = page->kvs[i];
        int order = slice_compare(from, slice_of(kv->key));
        if (order > 0 || (order == 0 && i > 0))
            return "page with keys out of order";
        if (kv->mod_revision <= 0 || kv->mod_revision > revision)
            return "page with an invalid mod_revision";
        from = slice_of(kv->key);
    }
    return NULL;
}

bool pages_next(buffer *next, const Pb__RangeResponse *page) {
    ew_slice last = slice_of(page->kvs[page->n_kvs - 1]->key);
    buffer key = {.data = next->data, .capacity = next->capacity};
    if (!buffer_reserve(&key, last.len + 1))
        return false;
    buffer_append(&key, last);
    buffer_append(&key, (ew_slice){"", 1});
    *next = key;
    return true;
}
