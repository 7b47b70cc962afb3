/* Memory of the simulator. If there is no memory, these functions end the process with a message, so they never return
 * NULL. The cores under test allocate elsewhere and handle a lack of memory themselves. */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <etcdworker/types.h>

#include <protobuf-c/protobuf-c.h>

void *sim_alloc(size_t size); /* zeroed; free(3) it */
void *sim_grow(void *list, size_t *capacity, size_t needed, size_t element);
ew_slice sim_copy(ew_slice s); /* free(3) its data */
static inline void *sim_unconst(const void *p) {
    return (void *)(uintptr_t)p;
}

/* Ensures capacity for `needed` elements in a list, which grows by doubling. */
#define sim_reserve(list, capacity, needed) ((list) = sim_grow((list), &(capacity), (needed), sizeof *(list)))

/* An arena: memory for one request, freed all at once. */
typedef struct sim_arena {
    struct sim_block *first, *current;
    size_t used;
    ProtobufCAllocator allocator; /* for protobuf-c; unpacked messages are not freed one by one */
} sim_arena;

void sim_arena_init(sim_arena *a);
void sim_arena_fini(sim_arena *a);
void sim_arena_reset(sim_arena *a);
void *sim_arena_alloc(sim_arena *a, size_t size); /* zeroed */

/* Packs a message into the arena. */
ew_slice sim_pack(sim_arena *a, const ProtobufCMessage *message);

#endif
