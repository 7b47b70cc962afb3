/* The reads of a tick: single keys, and ranges in which it has seen every key. For groups that expect all of them to be
 * unchanged (ew_group_expect_reads, SEMANTICS 37).
 *
 * The cache does not change while the tick runs, so keys are recorded as slices of the cache's memory; sealing copies
 * them. Reads beyond the number that fits a transaction are not recorded. */
#ifndef CORE_READS_H
#define CORE_READS_H

#include "core/arena.h"
#include "core/cache.h"
#include "core/group_scope.h"

typedef struct reads_key {
    ew_slice key;
    int64_t mod_revision; /* 0: absent */
} reads_key;

/* [start, end). */
typedef struct reads_range {
    ew_slice start, end;
    bool endless;  /* no end */
    ew_slice last; /* while a scan may continue: the last key that it returned, where the range ends so far */
} reads_range;

typedef struct reads {
    uint32_t refs; /* the tick's, and one for each group that expects them */
    size_t max;    /* maximum number of keys and ranges that are usable */
    int64_t revision;
    reads_key *keys; /* after sealing: in order, each once */
    size_t key_count, key_capacity;
    reads_range *ranges; /* after sealing: in order, disjoint, and without reserved keys */
    size_t range_count, range_capacity;
    bool too_many; /* more than `max`: the reads are not complete */
    bool failed;   /* out of memory: the reads are not complete */
    arena memory;
} reads;

reads *reads_new(size_t max, int64_t revision); /* NULL when out of memory */
reads *reads_ref(reads *r);
void reads_unref(reads *r); /* `r` may be NULL, here and below */

/* Records the read of a key: `found`, or absent. */
void reads_note_key(reads *r, ew_slice key, const cache_entry *found);

/* Records one step of a scan of `prefix`, which continues after `after` (NULL data: from its start). `at` is the next
 * entry in the cache, NULL if there is none; it belongs to the scan if `shown`. */
void reads_note_step(reads *r, ew_slice prefix, ew_slice after, const cache_entry *at, bool shown);

/* Records a scan of all keys. */
void reads_note_all(reads *r, const cache *m);

/* Seals the reads: copies, sorts and merges them. Call it once, when the tick is over. */
void reads_seal(reads *r, const group_scope *scope);

bool reads_range_holds(const reads_range *range, ew_slice key);

/* Returns whether the cache has a key in the range that was not read. Does not look at the keys that were read. */
bool reads_range_has_grown(const reads *r, const reads_range *range, const cache *m);

/* ---- between reads.c and reads_seal.c ---- */

ew_slice reads_copy(reads *r, ew_slice bytes, const char *behind); /* with the bytes of `behind` after it: its NUL if it
                                                                      is "" */
void reads_sort_keys(reads *r);                                    /* in order, each once */
void reads_merge_ranges(reads *r);                                 /* ended, in order, disjoint */

#endif
