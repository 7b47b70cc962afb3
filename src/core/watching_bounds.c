/* Where a page ends. etcd 3.4 counts all keys of the requested range, not only those of the page: a million keys in
 * pages of 10,000 take 10 s, and 1.8 s if each page's range is bounded to about as many keys as the page has.
 *
 * The key so far ahead is unknown, but keys are names: the next subtree is likely to be as large as the last one. So a
 * page is bounded to a *subtree*: the keys that share their first `level` bytes with the page's first key. A full page
 * shows a level (the bytes that all its keys share) whose subtree holds at least a page. If a page finds its whole
 * subtree small, the level goes one byte up. A wrong guess costs a page that is short, or one whose range is counted
 * far; it never loses a key, because the next page starts exactly at the bound. */
#include "core/prefix.h"
#include "core/slice.h"
#include "core/watching_internal.h"

#include <stdlib.h>

/* If fewer pages than this are left, counting them costs less than a wrong guess. */
#define PAGES_UNBOUNDED 4

bool watching_set_bound(watching *w) {
    w->bound.len = 0;
    if (w->level == 0 || w->left < PAGES_UNBOUNDED * w->limit)
        return true;
    size_t level = w->level < w->next.len ? w->level : w->next.len;
    if (!buffer_append(&w->bound, (ew_slice){w->next.data, level}))
        return false;
    w->bound.len = prefix_successor(w->bound.data, level);
    if (slice_is_past(buffer_bytes(&w->bound), w->config.range_end))
        w->bound.len = 0;
    return true;
}

static size_t shared(ProtobufCBinaryData a, ProtobufCBinaryData b) {
    size_t len = 0;
    while (len < a.len && len < b.len && a.data[len] == b.data[len])
        len++;
    return len;
}

void watching_learn_bound(watching *w, const Pb__RangeResponse *page) {
    if (w->bound.len == 0)
        w->left = page->count > 0 ? page->count : 0;
    w->left -= (int64_t)page->n_kvs;
    if (page->more) {
        bool telling = page->n_kvs >= WATCHING_LIMIT_MIN; /* what a few keys share says nothing */
        w->level = telling ? shared(page->kvs[0]->key, page->kvs[page->n_kvs - 1]->key) : 0;
    } else {
        bool small = w->from_bound && (int64_t)page->n_kvs < w->limit / 4;
        w->level = small ? w->bound.len - 1 : w->bound.len;
    }
}
