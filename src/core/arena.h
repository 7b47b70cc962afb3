/* Memory for one message that is unpacked, read and discarded. protobuf-c allocates each key and value by itself; here
 * each allocation takes the next bytes of a block, and all blocks are freed together.
 *
 * An arena is on the stack; a small message needs no other memory. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct arena {
    ProtobufCAllocator allocator; /* memory freed with it stays allocated until arena_fini */
    bool failed;                  /* a block could not be allocated */
    unsigned char *at;
    size_t left;
    struct arena_block *blocks;
    size_t next_size;
    _Alignas(max_align_t) unsigned char first[2048];
} arena;

void arena_init(arena *a); /* the arena must not be moved afterwards */
void arena_fini(arena *a);

#endif
