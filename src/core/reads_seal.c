/* Seals the reads of a tick: in order, each once, and only keys that the reactor may see. */
#include "core/reads.h"

#include "core/prefix.h"
#include "core/slice.h"

#include <stdlib.h>

/* ---- keys ---- */

static int compare_keys(const void *a, const void *b) {
    return slice_compare(((const reads_key *)a)->key, ((const reads_key *)b)->key);
}

void reads_sort_keys(reads *r) {
    size_t kept = 0;
    if (r->key_count > 1)
        qsort(r->keys, r->key_count, sizeof *r->keys, compare_keys);
    for (size_t i = 0; i < r->key_count; i++)
        if (kept == 0 || !ew_slice_equal(r->keys[kept - 1].key, r->keys[i].key))
            r->keys[kept++] = r->keys[i];
    r->key_count = kept;
}

/* Returns the first key that is not before `key`. */
static size_t find_key(const reads *r, ew_slice key) {
    size_t low = 0, high = r->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(r->keys[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- ranges ---- */

bool reads_range_holds(const reads_range *range, ew_slice key) {
    return slice_compare(key, range->start) >= 0 && (range->endless || slice_compare(key, range->end) < 0);
}

static bool is_empty(const reads_range *range) {
    return !range->endless && slice_compare(range->start, range->end) >= 0;
}

static int compare_ranges(const void *a, const void *b) {
    return slice_compare(((const reads_range *)a)->start, ((const reads_range *)b)->start);
}

/* `b` does not start before `a`. Returns whether there is no gap between them. */
static bool touches(const reads_range *a, const reads_range *b) {
    return a->endless || slice_compare(b->start, a->end) <= 0;
}

void reads_merge_ranges(reads *r) {
    size_t kept = 0;
    for (size_t i = 0; i < r->range_count; i++) {
        reads_range *range = &r->ranges[i];
        if (range->last.data)
            range->end = reads_copy(r, range->last, "");
        range->last = (ew_slice){NULL, 0};
    }
    if (r->range_count > 1)
        qsort(r->ranges, r->range_count, sizeof *r->ranges, compare_ranges);
    for (size_t i = 0; i < r->range_count; i++) {
        const reads_range *range = &r->ranges[i];
        reads_range *before = kept > 0 ? &r->ranges[kept - 1] : NULL;
        if (is_empty(range))
            continue;
        if (!before || !touches(before, range)) {
            r->ranges[kept++] = *range;
        } else if (range->endless || (!before->endless && slice_compare(range->end, before->end) > 0)) {
            before->end = range->end;
            before->endless = range->endless;
        }
    }
    r->range_count = kept;
}

/* ---- only keys that the reactor may see ---- */

typedef struct pieces {
    reads *reads;
    reads_range *list;
    size_t count, capacity;
    reads_range holes[3]; /* reserved keys */
    size_t hole_count;
} pieces;

static void add_piece(pieces *p, const reads_range *piece) {
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 8;
        reads_range *larger = realloc(p->list, capacity * sizeof *larger);
        if (!larger) {
            p->reads->failed = true;
            return;
        }
        p->list = larger;
        p->capacity = capacity;
    }
    p->list[p->count++] = *piece;
}

/* Returns the part of `a` that is in `b`. */
static reads_range intersection(const reads_range *a, const reads_range *b) {
    reads_range both = *a;
    if (slice_compare(b->start, a->start) > 0)
        both.start = b->start;
    if (a->endless || (!b->endless && slice_compare(b->end, a->end) < 0)) {
        both.end = b->end;
        both.endless = b->endless;
    }
    return both;
}

/* Adds the range without the holes from index `hole` on. */
static void cut(pieces *p, const reads_range *range, size_t hole) {
    if (is_empty(range))
        return;
    if (hole == p->hole_count) {
        add_piece(p, range);
        return;
    }
    const reads_range *h = &p->holes[hole], common = intersection(range, h);
    if (is_empty(&common)) {
        cut(p, range, hole + 1);
        return;
    }
    reads_range before = *range, after = *range;
    before.end = h->start;
    before.endless = false;
    after.start = h->end;
    cut(p, &before, hole + 1);
    cut(p, &after, hole + 1);
}

static reads_range one_key(reads *r, ew_slice key) {
    return (reads_range){.start = reads_copy(r, key, NULL), .end = reads_copy(r, key, "")};
}

/* The keys below `key`, with a slash after it: '0' is the byte after '/'. */
static reads_range below(reads *r, ew_slice key) {
    return (reads_range){.start = reads_copy(r, key, "/"), .end = reads_copy(r, key, "0")};
}

static void make_holes(pieces *p, const group_scope *scope) {
    p->holes[p->hole_count++] = one_key(p->reads, scope->counter_key);
    if (scope->receipt_prefix.len > 0) {
        p->holes[p->hole_count++] = one_key(p->reads, scope->receipt_prefix);
        p->holes[p->hole_count++] = below(p->reads, scope->receipt_prefix);
    }
}

/* The bare key of the prefix, which is before all others: read as absent unless it was returned. */
static void note_bare_key(reads *r, ew_slice prefix) {
    if (r->key_count > 0 && ew_slice_equal(r->keys[0].key, prefix))
        return;
    reads_key *larger = realloc(r->keys, (r->key_count + 1) * sizeof *larger);
    if (!larger) {
        r->failed = true;
        return;
    }
    r->keys = larger;
    memmove(r->keys + 1, r->keys, r->key_count * sizeof *r->keys);
    r->keys[0] = (reads_key){reads_copy(r, prefix, NULL), 0};
    r->key_capacity = ++r->key_count;
}

/* In the form that a transaction may have: etcd accepts no empty key. */
static reads_range everything(void) {
    return (reads_range){.start = {"\0", 1}, .endless = true};
}

static reads_range starting_with(reads *r, ew_slice prefix) {
    reads_range range = {.start = prefix, .end = reads_copy(r, prefix, NULL)};
    range.end.len = prefix_successor((unsigned char *)(uintptr_t)range.end.data, range.end.len);
    range.endless = range.end.len == 0;
    return range;
}

static void clip(reads *r, const group_scope *scope) {
    pieces p = {.reads = r};
    const bool path = scope->prefix.len > 0 && !scope->textual;
    const reads_range owned = scope->prefix.len == 0 ? everything()
                              : scope->textual       ? starting_with(r, scope->prefix)
                                                     : below(r, scope->prefix);
    make_holes(&p, scope);
    for (size_t i = 0; i < r->range_count && !r->failed; i++) {
        const reads_range range = intersection(&r->ranges[i], &owned);
        if (path && reads_range_holds(&r->ranges[i], scope->prefix))
            note_bare_key(r, scope->prefix);
        cut(&p, &range, 0);
    }
    free(r->ranges);
    r->ranges = p.list;
    r->range_count = p.count;
    r->range_capacity = p.capacity;
}

void reads_seal(reads *r, const group_scope *scope) {
    if (!r || r->too_many || r->failed)
        return;
    reads_sort_keys(r);
    for (size_t i = 0; i < r->key_count; i++)
        r->keys[i].key = reads_copy(r, r->keys[i].key, NULL);
    reads_merge_ranges(r);
    clip(r, scope);
    r->too_many = r->key_count + r->range_count > r->max;
}

/* ---- checks afterwards ---- */

bool reads_range_has_grown(const reads *r, const reads_range *range, const cache *m) {
    size_t i = find_key(r, range->start);
    for (const cache_entry *e = cache_seek(m, range->start); e; e = cache_next(m, e)) {
        const ew_slice key = cache_entry_view(e).key;
        if (!reads_range_holds(range, key))
            break;
        while (i < r->key_count && slice_compare(r->keys[i].key, key) < 0)
            i++;
        if (i == r->key_count || !ew_slice_equal(r->keys[i].key, key) || r->keys[i].mod_revision == 0)
            return true;
    }
    return false;
}
