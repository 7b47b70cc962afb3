/* Where a page ends. etcd 3.4 counts all the keys of the range that is asked for, not only those of the page: a million
 * keys in pages of 10,000 take it 10 s, and 1.8 s if each page's range is bounded to about as many keys.
 *
 * Where the key is that stands so far ahead nobody knows, but keys are names: the next subtree is likely to be as large
 * as the last one. So a page is bounded to a *subtree*, the keys that share their first `level` bytes with the page's
 * first key. A page that is full shows a level (what all its keys share) which holds a page at least; one that finds
 * its whole subtree small goes one byte up. A wrong guess costs a page that is short, or one that is counted far; never
 * a key, since the next page starts exactly where the bound was. */
#include "core/prefix.h"
#include "core/slice.h"
#include "core/watching_internal.h"

#include <stdlib.h>

/* Fewer pages than these are left: their counting costs less than a wrong guess. */
#define PAGES_UNBOUNDED 4

bool watching_is_behind_range(const watching *w, ew_slice key) {
    ew_slice end = w->config.range_end;
    bool open = end.len == 1 && *(const char *)end.data == '\0'; /* etcd's sign for the end of the keyspace */
    return !open && slice_compare(key, end) >= 0;
}

bool watching_set_bound(watching *w) {
    w->bound_len = 0;
    if (w->level == 0 || w->left < PAGES_UNBOUNDED * w->limit)
        return true;
    uint8_t *bound = realloc(w->bound, w->next_len);
    if (!bound)
        return false;
    w->bound = bound;
    size_t level = w->level < w->next_len ? w->level : w->next_len;
    memcpy(bound, w->next_key, level);
    size_t len = prefix_successor(bound, level);
    if (len > 0 && !watching_is_behind_range(w, (ew_slice){bound, len}))
        w->bound_len = len;
    return true;
}

static size_t shared(ProtobufCBinaryData a, ProtobufCBinaryData b) {
    size_t len = 0;
    while (len < a.len && len < b.len && a.data[len] == b.data[len])
        len++;
    return len;
}

void watching_learn_bound(watching *w, const Pb__RangeResponse *page) {
    if (w->bound_len == 0)
        w->left = page->count > 0 ? page->count : 0;
    w->left -= (int64_t)page->n_kvs;
    if (page->more) {
        bool telling = page->n_kvs >= WATCHING_LIMIT_MIN; /* of a few keys, what they share says nothing */
        w->level = telling ? shared(page->kvs[0]->key, page->kvs[page->n_kvs - 1]->key) : 0;
    } else {
        bool small = w->from_bound && (int64_t)page->n_kvs < w->limit / 4;
        w->level = small ? w->bound_len - 1 : w->bound_len;
    }
}
