#include "core/ticking_private.h"

#include <stdlib.h>

static size_t entry_bytes(const ticking_change *c) {
    return c->kind == TICKING_PUT || c->kind == TICKING_DELETE ? cache_entry_bytes(c->entry) : 0;
}

bool ticking_queue_is_empty(const ticking_queue *q) {
    return q->head == q->len;
}

int64_t ticking_queue_revision(const ticking_queue *q) {
    return cache_entry_view(q->list[q->head].entry).mod_revision;
}

static bool make_space(ticking_queue *q) {
    if (q->len < q->capacity)
        return true;
    if (q->head > 0) {
        q->len -= q->head;
        memmove(q->list, q->list + q->head, q->len * sizeof *q->list);
        q->head = 0;
        return true;
    }
    size_t capacity = q->capacity ? 2 * q->capacity : 16;
    ticking_change *grown = realloc(q->list, capacity * sizeof *grown);
    if (!grown)
        return false;
    q->list = grown;
    q->capacity = capacity;
    return true;
}

bool ticking_queue_push(ticking_queue *q, cache_entry *e, ticking_change_kind kind) {
    if (!make_space(q))
        return false;
    ticking_change *c = &q->list[q->len++];
    *c = (ticking_change){cache_entry_ref(e), kind};
    q->bytes += entry_bytes(c);
    return true;
}

ticking_change ticking_queue_pop(ticking_queue *q) {
    ticking_change c = q->list[q->head++];
    q->bytes -= entry_bytes(&c);
    if (ticking_queue_is_empty(q))
        q->head = q->len = 0;
    return c;
}

void ticking_queue_drop(ticking_queue *q) {
    for (size_t i = q->head; i < q->len; i++)
        cache_entry_unref(q->list[i].entry);
    free(q->list);
    *q = (ticking_queue){0};
}

size_t ticking_queue_bytes(const ticking_queue *q) {
    return q->bytes + (q->len - q->head) * sizeof *q->list;
}
