/* What a tick has read: single keys, and ranges in which it has seen every key. For groups that stand on all of it
 * (ew_group_expect_reads, SEMANTICS 37).
 *
 * While the tick runs the mirror stands still, so that keys are noted as slices of the mirror's own; sealing copies
 * them. Nothing is noted beyond what fits a transaction. */
#ifndef CORE_READS_H
#define CORE_READS_H

#include "core/arena.h"
#include "core/group_scope.h"
#include "core/mirror.h"

typedef struct reads_key {
    ew_slice key;
    int64_t mod_revision; /* 0: absent */
} reads_key;

/* [start, end). */
typedef struct reads_range {
    ew_slice start, end;
    bool endless;  /* there is no end */
    ew_slice last; /* while a scan may go on: the last key that it has shown, where the range ends so far */
} reads_range;

typedef struct reads {
    uint32_t refs; /* the tick's, and one of each group that stands on it */
    size_t max;    /* keys and ranges that are of use */
    int64_t revision;
    reads_key *keys; /* once sealed: in order, each once */
    size_t key_count, key_capacity;
    reads_range *ranges; /* once sealed: in order, apart, and without reserved keys */
    size_t range_count, range_capacity;
    bool too_many; /* more than `max`: what was read is not known in full */
    bool failed;   /* out of memory: the same */
    arena memory;
} reads;

reads *reads_new(size_t max, int64_t revision); /* NULL when out of memory */
reads *reads_ref(reads *r);
void reads_unref(reads *r); /* NULL is fine, here and below */

/* A key, which is `found`, or absent. */
void reads_note_key(reads *r, ew_slice key, const mirror_entry *found);

/* One step of a scan of `prefix`, on from behind `after` (NULL data: from its start). `at` is the entry that comes next
 * in the mirror, NULL if none does; it belongs to the scan if `shown`. */
void reads_note_step(reads *r, ew_slice prefix, ew_slice after, const mirror_entry *at, bool shown);

/* Every key there is. */
void reads_note_all(reads *r, const mirror *m);

/* Once, when the tick is over. */
void reads_seal(reads *r, const group_scope *scope);

bool reads_range_holds(const reads_range *range, ew_slice key);

/* Whether the range has exactly the keys in the mirror that were read in it; their revisions are not looked at. */
bool reads_range_is_same(const reads *r, const reads_range *range, const mirror *m);

/* ---- between reads.c and reads_seal.c ---- */

ew_slice reads_copy(reads *r, ew_slice bytes, const char *behind); /* with the bytes of `behind`, its NUL if it is "" */
void reads_sort_keys(reads *r);                                    /* in order, each once */
void reads_merge_ranges(reads *r);                                 /* ended, in order, apart */

#endif
