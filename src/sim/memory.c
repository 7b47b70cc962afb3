#include "sim/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 64 * 1024 };

typedef struct sim_block {
    struct sim_block *next;
    size_t size;
    _Alignas(max_align_t) unsigned char bytes[];
} sim_block;

static void out_of_memory(void) {
    fputs("the simulator is out of memory\n", stderr);
    abort();
}

void *sim_alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *sim_grow(void *list, size_t *capacity, size_t needed, size_t element) {
    if (needed <= *capacity)
        return list;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    if (wanted < needed)
        wanted = needed;
    void *p = realloc(list, wanted * element);
    if (!p)
        out_of_memory();
    *capacity = wanted;
    return p;
}

ew_slice sim_copy(ew_slice s) {
    void *p = sim_alloc(s.len);
    if (s.len)
        memcpy(p, s.data, s.len);
    return (ew_slice){p, s.len};
}

static void *arena_take(void *arena, size_t size) {
    return sim_arena_alloc(arena, size);
}

static void arena_ignore(void *arena, void *p) {
    (void)arena;
    (void)p;
}

void sim_arena_init(sim_arena *a) {
    *a = (sim_arena){.allocator = {arena_take, arena_ignore, a}};
}

void sim_arena_fini(sim_arena *a) {
    for (sim_block *b = a->first; b;) {
        sim_block *next = b->next;
        free(b);
        b = next;
    }
    a->first = a->current = NULL;
}

void sim_arena_reset(sim_arena *a) {
    a->current = a->first;
    a->used = 0;
}

void *sim_arena_alloc(sim_arena *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    while (!a->current || a->current->size - a->used < size) {
        sim_block *next = a->current ? a->current->next : a->first;
        if (!next || next->size < size) {
            size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
            sim_block *made = malloc(sizeof *made + bytes);
            if (!made)
                out_of_memory();
            made->size = bytes;
            made->next = next;
            *(a->current ? &a->current->next : &a->first) = made;
            next = made;
        }
        a->current = next;
        a->used = 0;
    }
    void *p = a->current->bytes + a->used;
    a->used += size;
    memset(p, 0, size);
    return p;
}

ew_slice sim_pack(sim_arena *a, const ProtobufCMessage *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = sim_arena_alloc(a, size);
    protobuf_c_message_pack(message, bytes);
    return (ew_slice){bytes, size};
}
