/* A page of keys: of a snapshot, or of a consistency check. */
#include "core/ticking_private.h"

#include "core/arena.h"
#include "core/slice.h"

#include <stdlib.h>

static bool keep_key(ticking_last_key *last, ew_slice key) {
    uint8_t *grown = realloc(last->data, key.len + 1);
    if (!grown)
        return false;
    memcpy(grown, key.data, key.len);
    *last = (ticking_last_key){grown, key.len};
    return true;
}

static bool take_keys(ticking *t, const Pb__RangeResponse *page, ticking_last_key *last,
                      bool (*accept)(ticking *t, ew_slice key, const Pb__KeyValue *kv)) {
    for (size_t i = 0; i < page->n_kvs && !ticking_is_ending(t); i++) {
        const Pb__KeyValue *kv = page->kvs[i];
        const ew_slice key = slice_of(kv->key);
        if (kv->mod_revision <= 0 || slice_compare(key, (ew_slice){last->data, last->len}) <= 0 || !accept(t, key, kv))
            return false;
        if (!keep_key(last, key))
            ticking_no_memory(t);
    }
    return true;
}

bool ticking_read_page(ticking *t, ew_slice page, ticking_last_key *last,
                       bool (*accept)(ticking *t, ew_slice key, const Pb__KeyValue *kv)) {
    arena memory;
    arena_init(&memory);
    const Pb__RangeResponse *r = pb__range_response__unpack(&memory.allocator, page.len, page.data);
    bool sound = memory.failed || (r && take_keys(t, r, last, accept));
    if (memory.failed)
        ticking_no_memory(t);
    arena_fini(&memory);
    return sound;
}
