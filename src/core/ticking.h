/* The ticking core: the cache, the gate, the delete counter, the pending groups, and when the reactor is ticked. Pure;
 * see docs/architecture.md.
 *
 *               last page              due, gate open              groups
 *   LOADING ------------> READY ----------------------> TICKING ----------> COMMITTING
 *                         ^ | ^                         | |                   ^   ^ |
 *                         | | '------ no groups --------' |                   |   | | outcome
 *                         | '-------- submitted groups ---|-------------------'   | |
 *                         |                               |  evaluated on newer   | |
 *                         |                               |  state                | v
 *                         |                               '-- they wait ------> AWAITING
 *                         '--------- observed >= barrier, nothing pending --------'
 *
 *   A snapshot of another history that is older than the worker's last commit moves READY to AWAITING.
 *   After EW_FINISHED: the same with DONE instead of READY.
 *   After a stop or an error: DONE as soon as no batch is in flight.
 *   A reload, in any state, clears `loaded`: no tick and no evaluation until the last page.
 */
#ifndef CORE_TICKING_H
#define CORE_TICKING_H

#include "actors.pb-c.h"
#include "core/cache.h"

#include <etcdworker/reactor.h>

typedef enum ticking_state {
    TICKING_LOADING,
    TICKING_READY,
    TICKING_TICKING,
    TICKING_COMMITTING,
    TICKING_AWAITING,
    TICKING_DONE,
} ticking_state;

typedef struct ticking_config {
    ew_slice prefix;         /* normalised (prefix.h); borrowed for the lifetime of the core, like all slices here */
    bool textual;            /* prefix_match = textual */
    bool counter;            /* delete_counter = compat */
    ew_slice counter_key;    /* hidden from the reactor, even with delete_counter = off */
    ew_slice receipt_prefix; /* reserved: the reactor cannot see or write keys below it */
    bool wants_updates;      /* the reactor has an update function: keep events for it */
    bool track_reads;        /* record what its ticks read */
    int64_t tick_interval_ms;
    bool tick_on_load;
    bool coalesce;
    int64_t max_ticks_per_second; /* 0: unlimited */
    bool serializable;            /* isolation */
    uint32_t max_txn_keys;        /* of one unit: compares or operations, without what the committer adds */
    int64_t max_txn_bytes;        /* of the request that the committer would send for this unit alone */
    int64_t txn_overhead_bytes;   /* the maximum that the committer adds to a request, delete counter and receipt;
                                     committing_overhead() */
    int64_t conflict_backoff_min_ms, conflict_backoff_max_ms;
    int64_t max_pending_update_bytes;
    uint32_t max_submits;        /* maximum number of waiting submits */
    int64_t session_lease;       /* for EW_LEASE_SESSION; 0: none */
    int64_t record_lease;        /* the lease of clients' records, which is the receipt's; 0: none */
    int64_t check_interval_ms;   /* 0: only the consistency checks that the watcher requests */
    int64_t barrier_patience_ms; /* load the prefix again if a connected watch has not shown the worker's last commit
                                    for this long; 0: never */
    uint64_t seed;
} ticking_config;

typedef enum ticking_event_type {
    TICKING_MESSAGE, /* `message`: its snapshot, events, progress, health, outcome, session's leases and page of a
                        consistency check are taken, in this order; other fields are ignored */
    TICKING_BROKEN,  /* a message arrived that is malformed, or that no actor may send; `detail` names it */
    TICKING_TICKED,  /* the reactor's tick, or one of its updates, returned `status` (EW_OK, EW_FINISHED or an error) */
    TICKING_SUBMIT,  /* `submit` with `submit_id`: TICKING_DO_REPLY follows, now or later */
    TICKING_TIMER,   /* all waiting messages have been taken: tick, evaluate or commit what is due at `now_ms` */
    TICKING_STOP,    /* end with `status` once no batch is in flight (EW_ERR_CANCELLED, EW_ERR_SESSION_DONE, a peer's
                     error) */
} ticking_event_type;

typedef struct ticking_event {
    ticking_event_type type;
    int64_t now_ms;
    const Msg__Message *message; /* the caller's, for the duration of the step */
    const Msg__Submit *submit;
    uint64_t submit_id;
    int status;
    const char *detail;
} ticking_event;

typedef enum ticking_effect_type {
    TICKING_DO_TICK,   /* take all updates (ticking_take_update), tick the reactor with `tick`, then report with
                          TICKING_TICKED. `reset`: first call the reactor's reset */
    TICKING_DO_COMMIT, /* send `patches` to the committer */
    TICKING_DO_CHECK,  /* read the keys at `revision`, with the number `check`: one or more messages with `checked` of
                          that number follow */
    TICKING_DO_STOP,   /* stop watcher and committer: the run ends, and an outcome may be lost */
    TICKING_DO_RESYNC, /* load the prefix again: a snapshot of a later epoch follows. `revision` was seen (0: none);
                          `rewritten`: etcd's history is another one since then */
    TICKING_DO_REPLY,  /* reply to the submit `submit_id`: status, revision, detail */
    TICKING_DO_END,    /* the run has ended with `status`, `detail`; the last effect */
    TICKING_DO_LOG,    /* level in `status`, text in `detail`, revision */
} ticking_effect_type;

typedef struct ticking_effect {
    ticking_effect_type type;
    ew_tick *tick;
    bool reset, rewritten;
    const Msg__Patches *patches; /* borrowed: the core's, until its next step */
    uint64_t submit_id;
    uint64_t check;
    int64_t revision;
    int status;
    const char *detail; /* borrowed: the core's, until its next step */
} ticking_effect;

/* A list that grows, because a batch may decide many submits. Zero it before the first step; ticking_effects_fini frees
 * it. */
typedef struct ticking_effects {
    ticking_effect *list;
    size_t count, capacity;
} ticking_effects;
void ticking_effects_fini(ticking_effects *effects);

typedef struct ticking ticking;

ticking *ticking_new(const ticking_config *config); /* NULL when out of memory */

/* Frees the core. Pending groups are dropped: their callbacks get EW_ERR_CANCELLED, or EW_ERR_UNKNOWN_OUTCOME for a
 * batch in flight, and their arguments are freed. */
void ticking_free(ticking *t);

/* Order of steps: TICKING_MESSAGE and TICKING_SUBMIT only take input (they may reply to submits and end the run, but
 * never give DO_TICK or DO_COMMIT), so that all waiting input is taken before a decision depends on it (SEMANTICS 5).
 * If something is due then, ticking_deadline_ms returns 0, and the TICKING_TIMER step that follows ticks or commits.
 * TICKING_TICKED may give DO_COMMIT at once (SEMANTICS 17). */

/* Runs one step. `out` is overwritten. Calls the completion callbacks of decided groups, and the patch functions of
 * groups that are evaluated. If memory runs out, the run ends with EW_ERR_NO_MEMORY. */
void ticking_step(ticking *t, const ticking_event *event, ticking_effects *out);

/* Gets the next event for the reactor, in order; false if there is none. Only while TICKING_DO_TICK is handled. The
 * event is valid until the next call on the core. */
bool ticking_take_update(ticking *t, ew_event *event);

/* Reads for checks: they are not recorded. */
int ticking_peek(const ew_tick *tick, ew_slice key, ew_entry *out);
bool ticking_peek_scan(const ew_tick *tick, ew_slice prefix, ew_entry *e);
size_t ticking_peek_count(const ew_tick *tick);

/* Returns how many groups the tick has made so far. */
uint32_t ticking_tick_groups(const ew_tick *tick);

/* Returns when TICKING_TIMER is due; INT64_MAX: never. */
int64_t ticking_deadline_ms(const ticking *t);

/* Returns whether only an outcome can make progress: then messages may wait in the mailbox without waking the
 * thread. */
bool ticking_wants_outcome_only(const ticking *t);

ticking_state ticking_get_state(const ticking *t);

/* Set the lease for EW_LEASE_SESSION, and return whether any group has attached a key to it. */
int64_t ticking_session_lease(const ticking *t);
bool ticking_uses_session(const ticking *t);

typedef struct ticking_stats {
    int64_t revision, barrier_revision;
    uint64_t ticks, events, groups_committed, groups_refused, groups_dropped, snapshots, bad_messages, keys,
        cache_bytes;
    uint64_t update_bytes; /* bytes of events that wait for the reactor's update */
    uint64_t submits, submit_repeats;
    uint64_t checks;        /* completed */
    uint64_t check_repairs; /* keys that a consistency check found to differ */
    uint64_t rewritten;     /* snapshots of another history than the one before */
    bool unsure;            /* the keys must still be compared with etcd's, because the watch was lost */
    uint64_t breaches;      /* messages that broke the protocol; included in bad_messages */
    bool synced;            /* the cache is complete, and nothing suggests that it differs from etcd */
} ticking_stats;
void ticking_get_stats(const ticking *t, ticking_stats *out);

#endif
