/* The types of the ticking core. Each belongs to the file that its heading names: see ticking_private.h. */
#ifndef CORE_TICKING_TYPES_H
#define CORE_TICKING_TYPES_H

#include "core/evaluate.h"
#include "core/submit_clients.h"
#include "core/tick.h"
#include "core/ticking.h"

/* ---- ticking_queue.c ---- */

typedef enum ticking_change_kind {
    TICKING_PUT,
    TICKING_PUT_INITIAL, /* the cache still has the entry, so it takes no memory except its place in the queue */
    TICKING_DELETE,
    TICKING_PROGRESS, /* no key has changed up to the entry's mod_revision */
} ticking_change_kind;

typedef struct ticking_change {
    cache_entry *entry;
    ticking_change_kind kind;
} ticking_change;

/* Entries are shared with the cache: a waiting change is a pointer. */
typedef struct ticking_queue {
    ticking_change *list; /* from index `head` on */
    size_t head, len, capacity;
    size_t bytes; /* size of the entries that the cache may not have any more */
} ticking_queue;

/* ---- ticking_cache.c ---- */

typedef struct ticking_cache {
    cache *entries;
    int64_t observed;         /* the revision of the cache */
    int64_t received;         /* the newest received revision: above `observed` only while changes wait */
    int64_t counter;          /* the delete counter at `observed`, 0 if absent */
    int64_t counter_revision; /* the revision of its last change that was seen; 0: none */
} ticking_cache;

/* ---- ticking_effects.c ---- */

typedef struct ticking_text ticking_text; /* a detail that an effect points to */

typedef struct ticking_output {
    ticking_effects *out; /* NULL between steps */
    ticking_text *texts;
} ticking_output;

/* ---- ticking_run.c ---- */

typedef struct ticking_run {
    ticking_state state;
    bool finished; /* the reactor returned EW_FINISHED */
    int status;    /* not EW_OK: the run ends with it, as soon as no batch is in flight */
    char detail[256];
} ticking_run;

/* ---- ticking_page.c ---- */

/* The last key of the pages so far. */
typedef struct ticking_last_key {
    uint8_t *data;
    size_t len;
} ticking_last_key;

/* ---- ticking_check.c ---- */

typedef struct ticking_check {
    uint64_t number; /* of the last check */
    cache *deleted;  /* the keys deleted since it began; NULL: no check is running */
    int64_t revision;
    bool counter_found; /* a page contained the delete counter */
    ticking_last_key last;
    uint64_t differences;
    int64_t due_ms;          /* when the next check is due by the interval */
    int64_t wanted_ms;       /* when a check is due that does not wait for the interval; INT64_MAX: none */
    int64_t newer_than;      /* not 0: the next check waits until a newer revision is observed */
    int64_t unsure_revision; /* not 0: it is unknown whether the history is still the one that was seen, until a
                                snapshot, or a consistency check of this revision or a newer one */
} ticking_check;

/* ---- ticking_sync.c ---- */

typedef enum ticking_sync_state {
    TICKING_SYNC_LOADING,
    TICKING_SYNC_LOADING_BREACHED, /* a message broke the protocol: another load follows this one */
    TICKING_SYNC_LOADED,
    TICKING_SYNC_LOADED_BREACHED, /* the same, and another load was requested: the cache may be wrong until it begins */
} ticking_sync_state;

typedef struct ticking_sync {
    ticking_sync_state state;
    uint64_t epoch;
    int64_t page_ms; /* when the last page arrived */
} ticking_sync;

/* ---- ticking_updates.c ---- */

/* What the reactor gets at the beginning of the next tick. */
typedef enum ticking_show {
    TICKING_SHOW_CHANGES,
    TICKING_SHOW_RESET, /* the reactor's model is reset before the changes */
    TICKING_SHOW_CACHE, /* there were too many changes: the model is reset, and gets the whole cache instead */
} ticking_show;

typedef struct ticking_updates {
    ticking_queue queue;
    ticking_show show;
    bool visible;          /* something visible changed since the last tick */
    const cache_entry *at; /* the next entry of the cache to show */
    cache_entry *shown;    /* the entry of the last event given to the reactor */
} ticking_updates;

/* ---- ticking_history.c ---- */

typedef enum ticking_watch {
    TICKING_WATCH_UNKNOWN, /* not yet reported */
    TICKING_WATCH_CONNECTED,
    TICKING_WATCH_LOST,
} ticking_watch;

typedef struct ticking_history {
    ticking_watch watch;
    int64_t barrier;          /* -1: none */
    int64_t barrier_asked;    /* the last one for which another history was suspected */
    int64_t barrier_since_ms; /* since when a connected watch could have shown the barrier revision */
    bool committed_here;      /* something was committed since the history changed, or since the start */
} ticking_history;

/* ---- ticking_submits.c ---- */

typedef struct ticking_submits {
    group_list waiting; /* groups that are not pending yet */
    uint32_t count;     /* undecided requests, copies included */
    submit_clients clients;
} ticking_submits;

typedef struct ticking_outcome {
    int status;
    int64_t revision;
    char detail[128];
} ticking_outcome;

/* ---- ticking_groups.c ---- */

typedef struct ticking_groups {
    group_list pending; /* undecided, in order; the first ones are in the batch in flight */
    uint64_t batch;
    evaluate_patches patches;
    int64_t base_revision;  /* the revision on which the batch was evaluated; 0 if the cache was loaded again since */
    int64_t wait_revision;  /* evaluate again when this revision has been observed */
    int64_t retry_ms;       /* do not evaluate again before this time */
    int64_t again_revision; /* not 0: a patch asked for newer state than this (EW_AGAIN) */
    int64_t again_ms;       /* retry at this time even if there is no newer state */
    uint32_t refusals, agains; /* in a row */
    bool apart;                /* the next batch is a retry: do not merge groups */
    uint64_t random;
} ticking_groups;

/* ---- ticking_ticks.c ---- */

typedef struct ticking_ticks {
    ew_tick tick;
    const cache_entry *scanned; /* the entry that the tick's scan has reached */
    int64_t next_timer_ms;
    int64_t next_allowed_us; /* set by the rate limit */
} ticking_ticks;

/* ---- ticking_load.c ---- */

typedef struct ticking_load {
    int64_t revision;
    bool rewritten;  /* the snapshot is of another history */
    cache_entry *at; /* the first entry of the cache that the pages have not reached */
    ticking_last_key last;
} ticking_load;

/* ---- ticking.c ---- */

struct ticking {
    ticking_config config;
    group_scope scope;
    bool session_used; /* a group has attached a key to the session's lease; `scope` points to this */
    bool lost;         /* an event was lost because memory ran out */
    int64_t now_ms;    /* the time of the current step */
    ticking_stats stats;

    ticking_cache cache;
    ticking_output output;
    ticking_run run;
    ticking_check check;
    ticking_sync sync;
    ticking_updates updates;
    ticking_queue changes; /* waiting to be applied to the cache */
    ticking_history history;
    ticking_submits submits;
    ticking_groups groups;
    ticking_ticks ticks;
    ticking_load load;
};

#endif
