/* Memory for one message that is unpacked, looked at and forgotten: protobuf-c asks for a piece of each key and value,
 * here each is a step in a block, and all of them are given back at once.
 *
 * Lives on the stack; small messages never leave it. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct arena {
    ProtobufCAllocator allocator; /* what is freed with it stays until arena_fini */
    bool failed;                  /* a block could not be had */
    unsigned char *at;
    size_t left;
    struct arena_block *blocks;
    size_t next_size;
    _Alignas(max_align_t) unsigned char first[2048];
} arena;

void arena_init(arena *a); /* not to be moved afterwards */
void arena_fini(arena *a);

#endif
