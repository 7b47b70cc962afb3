#include "core/cache.h"
#include "core/slice.h"

#include <bsd/sys/tree.h>
#include <stdlib.h>

/* Key and value are stored after the struct, in this order: one allocation per entry, and comparing a key needs no
 * second memory access. With 20-byte keys and 256-byte values an entry costs 1.33 times its bytes, including tree and
 * malloc. So the tree is a red-black tree, whose order costs three pointers and a colour per entry. */
struct cache_entry {
    RB_ENTRY(cache_entry) link;
    int64_t mod_revision, create_revision, version, lease;
    uint32_t refs;
    uint32_t key_len;
    uint32_t value_len;
    unsigned char bytes[];
};

RB_HEAD(tree, cache_entry);

struct cache {
    struct tree tree;
    cache_entry *found; /* the last result of cache_find; NULL: none that is still in the tree */
    size_t count;
    size_t bytes;
};

static ew_slice key_of(const cache_entry *e) {
    return (ew_slice){e->bytes, e->key_len};
}

static int compare_entries(const cache_entry *a, const cache_entry *b) {
    return slice_compare(key_of(a), key_of(b));
}

/* Replaces RB_GENERATE_STATIC, whose `__unused` is not defined on every system. */
RB_GENERATE_INTERNAL(tree, cache_entry, link, compare_entries, __attribute__((unused)) static)

/* ---- entries ---- */

/* The memory of an entry as glibc's malloc counts it: one word before each block, block sizes in steps of two words, at
 * least four. */
static size_t block_size(size_t key_len, size_t value_len) {
    const size_t word = sizeof(size_t);
    size_t size = offsetof(cache_entry, bytes) + key_len + value_len;
    if (size < sizeof(cache_entry))
        size = sizeof(cache_entry);
    return (size + word + 2 * word - 1) / (2 * word) * (2 * word);
}

static void set_numbers(cache_entry *e, const ew_entry *from) {
    e->mod_revision = from->mod_revision;
    e->create_revision = from->create_revision;
    e->version = from->version;
    e->lease = from->lease;
}

cache_entry *cache_entry_new(const ew_entry *from) {
    const ew_slice key = from->key, value = from->value;
    /* Lengths are stored in 32 bits. No response of etcd comes near that, so this is reported as out of memory. */
    if (key.len > UINT32_MAX || value.len > UINT32_MAX)
        return NULL;
    cache_entry *e = malloc(block_size(key.len, value.len) - sizeof(size_t));
    if (!e)
        return NULL;
    set_numbers(e, from);
    e->refs = 1;
    e->key_len = (uint32_t)key.len;
    e->value_len = (uint32_t)value.len;
    if (key.len > 0)
        memcpy(e->bytes, key.data, key.len);
    if (value.len > 0)
        memcpy(e->bytes + key.len, value.data, value.len);
    return e;
}

cache_entry *cache_entry_ref(cache_entry *e) {
    e->refs++;
    return e;
}

void cache_entry_unref(cache_entry *e) {
    if (e && --e->refs == 0)
        free(e);
}

ew_entry cache_entry_view(const cache_entry *e) {
    return (ew_entry){.key = key_of(e),
                      .value = {e->bytes + e->key_len, e->value_len},
                      .mod_revision = e->mod_revision,
                      .create_revision = e->create_revision,
                      .version = e->version,
                      .lease = e->lease};
}

size_t cache_entry_bytes(const cache_entry *e) {
    return block_size(e->key_len, e->value_len);
}

/* ---- the map ---- */

cache *cache_new(void) {
    cache *m = calloc(1, sizeof *m);
    if (m)
        RB_INIT(&m->tree);
    return m;
}

/* Frees the leaves first, without balancing the tree, because it is not used again. */
void cache_free(cache *m) {
    if (!m)
        return;
    cache_entry *e = RB_ROOT(&m->tree);
    while (e) {
        cache_entry *parent = RB_PARENT(e, link);
        if (RB_LEFT(e, link)) {
            e = RB_LEFT(e, link);
        } else if (RB_RIGHT(e, link)) {
            e = RB_RIGHT(e, link);
        } else {
            if (parent && RB_LEFT(parent, link) == e)
                RB_LEFT(parent, link) = NULL;
            else if (parent)
                RB_RIGHT(parent, link) = NULL;
            cache_entry_unref(e);
            e = parent;
        }
    }
    free(m);
}

void cache_put(cache *m, cache_entry *e) {
    m->bytes += cache_entry_bytes(e);
    cache_entry *old = RB_INSERT(tree, &m->tree, e);
    if (!old) {
        m->count++;
        return;
    }
    m->bytes -= cache_entry_bytes(old);
    if (old != e) {
        /* Remove and insert instead of replacing the node: that would need the internals of the tree, which differ
         * between versions of libbsd. */
        RB_REMOVE(tree, &m->tree, old);
        RB_INSERT(tree, &m->tree, e);
        if (m->found == old)
            m->found = e;
    }
    cache_entry_unref(old);
}

cache_entry *cache_replace(cache *m, cache_entry *old, const ew_entry *now) {
    const ew_slice value = now->value;
    if (old && old->refs == 1 && value.len <= UINT32_MAX &&
        block_size(now->key.len, value.len) == cache_entry_bytes(old)) {
        if (value.len > 0)
            memcpy(old->bytes + old->key_len, value.data, value.len);
        old->value_len = (uint32_t)value.len;
        set_numbers(old, now);
        return old;
    }
    cache_entry *e = cache_entry_new(now);
    if (e)
        cache_put(m, e);
    return e;
}

bool cache_delete(cache *m, ew_slice key) {
    cache_entry *e = cache_get(m, key);
    if (!e)
        return false;
    RB_REMOVE(tree, &m->tree, e);
    if (m->found == e)
        m->found = NULL;
    m->count--;
    m->bytes -= cache_entry_bytes(e);
    cache_entry_unref(e);
    return true;
}

cache_entry *cache_get(const cache *m, ew_slice key) {
    cache_entry *e = RB_ROOT(&m->tree);
    while (e) {
        int order = slice_compare(key, key_of(e));
        if (order == 0)
            return e;
        e = order < 0 ? RB_LEFT(e, link) : RB_RIGHT(e, link);
    }
    return NULL;
}

cache_entry *cache_find(cache *m, ew_slice key) {
    cache_entry *e = m->found;
    int order = e ? slice_compare(key, key_of(e)) : 0;
    if (order > 0) {
        e = RB_NEXT(tree, &m->tree, e);
        order = e ? slice_compare(key, key_of(e)) : 0;
    }
    if (!e || order != 0)
        e = cache_get(m, key);
    if (e)
        m->found = e;
    return e;
}

cache_entry *cache_seek(const cache *m, ew_slice key) {
    cache_entry *e = RB_ROOT(&m->tree), *found = NULL;
    while (e) {
        int order = slice_compare(key, key_of(e));
        if (order == 0)
            return e;
        if (order < 0)
            found = e;
        e = order < 0 ? RB_LEFT(e, link) : RB_RIGHT(e, link);
    }
    return found;
}

cache_entry *cache_next(const cache *m, const cache_entry *e) {
    (void)m;
    return RB_NEXT(tree, &m->tree, (cache_entry *)e);
}

size_t cache_count(const cache *m) {
    return m->count;
}

size_t cache_bytes(const cache *m) {
    return sizeof *m + m->bytes;
}
