#include "core/reads.h"

#include "core/prefix.h"
#include "core/slice.h"

#include <stdlib.h>

reads *reads_new(size_t max, int64_t revision) {
    reads *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->refs = 1;
    r->max = max;
    r->revision = revision;
    arena_init(&r->memory);
    return r;
}

reads *reads_ref(reads *r) {
    r->refs++;
    return r;
}

void reads_unref(reads *r) {
    if (!r || --r->refs > 0)
        return;
    arena_fini(&r->memory);
    free(r->keys);
    free(r->ranges);
    free(r);
}

/* `behind` "" appends a NUL byte, which makes the next key after these bytes. NULL appends nothing. */
ew_slice reads_copy(reads *r, ew_slice bytes, const char *behind) {
    const size_t more = !behind ? 0 : behind[0] ? strlen(behind) : 1;
    uint8_t *copy = r->memory.allocator.alloc(r->memory.allocator.allocator_data, bytes.len + more + 1);
    if (!copy) {
        r->failed = true;
        return (ew_slice){"", 0};
    }
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    if (more)
        memcpy(copy + bytes.len, behind, more);
    return (ew_slice){copy, bytes.len + more};
}

static bool is_closed(const reads *r) {
    return !r || r->too_many || r->failed;
}

/* Makes space for one more element; NULL when out of memory. */
static void *grown(reads *r, void *list, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return list;
    size_t more = *capacity ? 2 * *capacity : 16;
    void *larger = realloc(list, more * size);
    if (!larger)
        r->failed = true;
    else
        *capacity = more;
    return larger;
}

/* ---- keys ---- */

static void push_key(reads *r, ew_slice key, int64_t mod_revision) {
    if (r->key_count > 2 * r->max) { /* the same keys read repeatedly, or really too many */
        reads_sort_keys(r);
        r->too_many = r->key_count > r->max;
    }
    reads_key *list = is_closed(r) ? NULL : grown(r, r->keys, r->key_count, &r->key_capacity, sizeof *list);
    if (!list)
        return;
    r->keys = list;
    r->keys[r->key_count++] = (reads_key){key, mod_revision};
}

void reads_note_key(reads *r, ew_slice key, const cache_entry *found) {
    if (is_closed(r))
        return;
    if (found) {
        const ew_entry view = cache_entry_view(found);
        push_key(r, view.key, view.mod_revision);
    } else {
        key = reads_copy(r, key, NULL);
        push_key(r, key, 0);
    }
}

void reads_note_all(reads *r, const cache *m) {
    const ew_slice everything = {"", 0};
    if (is_closed(r))
        return;
    r->too_many = cache_count(m) > r->max;
    reads_note_step(r, everything, (ew_slice){NULL, 0}, NULL, false);
    for (const cache_entry *e = cache_seek(m, everything); e && !is_closed(r); e = cache_next(m, e))
        reads_note_key(r, everything, e);
}

/* ---- ranges ---- */

static reads_range *push_range(reads *r, ew_slice start) {
    if (r->range_count > 2 * r->max) {
        reads_merge_ranges(r);
        r->too_many = r->range_count > r->max;
    }
    reads_range *list = is_closed(r) ? NULL : grown(r, r->ranges, r->range_count, &r->range_capacity, sizeof *list);
    if (!list)
        return NULL;
    r->ranges = list;
    r->ranges[r->range_count] = (reads_range){.start = start};
    return &r->ranges[r->range_count++];
}

/* Returns the range that ends where a scan continues; a few scans may be interleaved. */
static reads_range *continued(reads *r, ew_slice after) {
    enum { SIDE_BY_SIDE = 4 };
    for (size_t i = 0; i < SIDE_BY_SIDE && i < r->range_count; i++) {
        reads_range *range = &r->ranges[r->range_count - 1 - i];
        if (range->last.data && range->last.data == after.data && range->last.len == after.len)
            return range;
    }
    return NULL;
}

/* There are no more keys below the prefix. The range ends at the end of the prefix, or, if the scan began before the
 * prefix, at the next entry. */
static void end_range(reads *r, reads_range *range, ew_slice prefix, const cache_entry *at) {
    ew_slice end = reads_copy(r, prefix, NULL);
    end.len = prefix_successor((unsigned char *)(uintptr_t)end.data, end.len);
    range->last = (ew_slice){NULL, 0};
    range->endless = end.len == 0;
    range->end = end;
    if (at && (range->endless || slice_compare(cache_entry_view(at).key, end) < 0)) {
        range->endless = false;
        range->end = reads_copy(r, cache_entry_view(at).key, NULL);
    }
}

void reads_note_step(reads *r, ew_slice prefix, ew_slice after, const cache_entry *at, bool shown) {
    if (is_closed(r))
        return;
    reads_range *range = after.data ? continued(r, after) : NULL;
    if (!range) {
        const ew_slice start = after.data ? reads_copy(r, after, "") : reads_copy(r, prefix, NULL);
        range = push_range(r, start);
    }
    if (!range)
        return;
    if (!shown) {
        end_range(r, range, prefix, at);
        return;
    }
    range->last = cache_entry_view(at).key;
    reads_note_key(r, prefix, at);
}
