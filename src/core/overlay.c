/* A failed allocation inside uthash leaves the element out instead of ending the process. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((void)(element))

#include "core/overlay.h"

#include <stdlib.h>

#define CHUNK_BYTES 4096

struct overlay_chunk {
    overlay_chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

void overlay_init(overlay *o, const cache *m) {
    *o = (overlay){.cache = m};
}

void overlay_fini(overlay *o) {
    overlay_cell *cell, *next;
    HASH_ITER(hh, o->cells, cell, next) {
        HASH_DEL(o->cells, cell);
        free(cell);
    }
    for (overlay_chunk *chunk = o->chunks, *behind; chunk; chunk = behind) {
        behind = chunk->next;
        free(chunk);
    }
    free(o->log);
    *o = (overlay){0};
}

static uint8_t *reserve(overlay *o, size_t len) {
    if (!o->chunks || o->chunks->size - o->chunks->used < len) {
        size_t size = len > CHUNK_BYTES ? len : CHUNK_BYTES;
        overlay_chunk *chunk = malloc(sizeof *chunk + size);
        if (!chunk)
            return NULL;
        *chunk = (overlay_chunk){.next = o->chunks, .size = size};
        o->chunks = chunk;
    }
    uint8_t *at = o->chunks->bytes + o->chunks->used;
    o->chunks->used += len;
    return at;
}

ew_slice overlay_copy(overlay *o, ew_slice bytes) {
    uint8_t *at = reserve(o, bytes.len);
    if (at && bytes.len)
        memcpy(at, bytes.data, bytes.len);
    return (ew_slice){at, at ? bytes.len : 0};
}

overlay_cell *overlay_cell_of(overlay *o, ew_slice key) {
    overlay_cell *cell;
    HASH_FIND(hh, o->cells, key.data, key.len, cell);
    if (cell)
        return cell;
    cell = calloc(1, sizeof *cell + key.len);
    if (!cell)
        return NULL;
    if (key.len)
        memcpy(cell + 1, key.data, key.len);
    cell->key = (ew_slice){cell + 1, key.len};
    const cache_entry *e = cache_get(o->cache, key);
    if (e) {
        ew_entry view = cache_entry_view(e);
        cell->seen = e;
        cell->base = view.mod_revision;
        cell->now = (overlay_state){.present = true, .value = view.value};
    }
    HASH_ADD_KEYPTR(hh, o->cells, cell->key.data, cell->key.len, cell);
    if (!cell->hh.tbl) {
        free(cell);
        return NULL;
    }
    return cell;
}

static bool remember(overlay *o, overlay_cell *cell) {
    if (o->log_len == o->log_capacity) {
        size_t capacity = o->log_capacity ? 2 * o->log_capacity : 16;
        overlay_undo *grown = realloc(o->log, capacity * sizeof *grown);
        if (!grown)
            return false;
        o->log = grown;
        o->log_capacity = capacity;
    }
    o->log[o->log_len++] = (overlay_undo){cell, cell->now};
    return true;
}

bool overlay_put(overlay *o, overlay_cell *cell, ew_slice value, overlay_lease lease, uint32_t writer) {
    if (!remember(o, cell))
        return false;
    cell->now = (overlay_state){.present = true, .changed = true, .lease = lease, .value = value, .writer = writer};
    return true;
}

bool overlay_delete(overlay *o, overlay_cell *cell, uint32_t writer) {
    if (!remember(o, cell))
        return false;
    cell->now = (overlay_state){.changed = true, .writer = writer};
    return true;
}

/* A put that is not committed yet has none of etcd's numbers. */
ew_entry overlay_view(const overlay_cell *cell) {
    if (!cell->now.changed)
        return cache_entry_view(cell->seen);
    return (ew_entry){.key = cell->key, .value = cell->now.value};
}

bool overlay_changes_in(const overlay *o, const reads_range *range) {
    if (o->log_len == 0)
        return false;
    for (const overlay_cell *cell = o->cells; cell; cell = cell->hh.next)
        if (cell->now.changed && reads_range_holds(range, cell->key))
            return true;
    return false;
}

size_t overlay_mark(const overlay *o) {
    return o->log_len;
}

void overlay_undo_to(overlay *o, size_t mark) {
    while (o->log_len > mark) {
        const overlay_undo *last = &o->log[--o->log_len];
        last->cell->now = last->before;
    }
}
