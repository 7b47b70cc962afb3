#include "core/arena.h"

#include <stdint.h>
#include <stdlib.h>

enum { SECOND_BLOCK = 16 << 10, LARGEST_STEP = 1 << 20 };

typedef struct arena_block {
    struct arena_block *before;
    _Alignas(max_align_t) unsigned char bytes[];
} arena_block;

/* The block size doubles, so that there are few blocks; the rest of the previous block stays unused. */
static bool add_block(arena *a, size_t least) {
    size_t size = least > a->next_size ? least : a->next_size;
    arena_block *b = least <= SIZE_MAX - sizeof *b ? malloc(sizeof *b + size) : NULL;
    if (!b) {
        a->failed = true;
        return false;
    }
    b->before = a->blocks;
    a->blocks = b;
    a->at = b->bytes;
    a->left = size;
    if (a->next_size < LARGEST_STEP)
        a->next_size *= 2;
    return true;
}

static void *give_piece(void *arg, size_t size) {
    arena *a = arg;
    const size_t unit = _Alignof(max_align_t);
    if (size > SIZE_MAX - unit) {
        a->failed = true;
        return NULL;
    }
    size = (size + unit - 1) / unit * unit;
    if (size > a->left && !add_block(a, size))
        return NULL;
    void *piece = a->at;
    a->at += size;
    a->left -= size;
    return piece;
}

static void forget_piece(void *arg, void *piece) {
    (void)arg;
    (void)piece;
}

void arena_init(arena *a) {
    a->allocator = (ProtobufCAllocator){give_piece, forget_piece, a};
    a->failed = false;
    a->at = a->first;
    a->left = sizeof a->first;
    a->blocks = NULL;
    a->next_size = SECOND_BLOCK;
}

void arena_fini(arena *a) {
    while (a->blocks) {
        arena_block *b = a->blocks;
        a->blocks = b->before;
        free(b);
    }
}
