/* The ticking core: the mirror, the gate, the delete counter, the pending groups, and when the reactor is ticked. Pure;
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
 *   A snapshot of another history that is older than the own last commit moves READY to AWAITING.
 *   After EW_FINISHED: the same with FINISHING in place of READY, then DONE. A stop or an error: DONE once no batch is
 * out. A re-sync sets LOADING's flag (`loaded` false) in any state: no tick, no evaluation until the last page.
 */
#ifndef CORE_TICKING_H
#define CORE_TICKING_H

#include "actors.pb-c.h"
#include "core/mirror.h"

#include <etcdworker/reactor.h>

typedef enum ticking_state {
    TICKING_LOADING,
    TICKING_READY,
    TICKING_TICKING,
    TICKING_COMMITTING,
    TICKING_AWAITING,
    TICKING_FINISHING,
    TICKING_DONE,
} ticking_state;

typedef struct ticking_config {
    ew_slice prefix;         /* normalised (prefix.h); borrowed for the core's life, as all slices here */
    bool textual;            /* prefix_match = textual */
    bool counter;            /* delete_counter = compat */
    ew_slice counter_key;    /* hidden from the reactor, whether or not it counts */
    ew_slice receipt_prefix; /* reserved: no reactor sees or writes below it */
    bool wants_updates;      /* the reactor has an update function: keep events for it */
    bool track_reads;        /* note what its ticks read */
    int64_t tick_interval_ms;
    bool tick_on_load;
    bool coalesce;
    int64_t max_ticks_per_second; /* 0: unlimited */
    bool serializable;            /* isolation */
    uint32_t max_txn_keys;        /* of one unit, compares or operations, less what the committer adds */
    int64_t max_txn_bytes;        /* of the request that the committer would send for one unit alone */
    int64_t txn_overhead_bytes;   /* what the committer adds to every request at most, counter and receipt;
                                     committing_overhead() */
    int64_t conflict_backoff_min_ms, conflict_backoff_max_ms;
    int64_t max_pending_update_bytes;
    uint32_t max_submits;        /* that may wait */
    int64_t session_lease;       /* for EW_LEASE_SESSION; 0: none */
    int64_t record_lease;        /* the lease of idempotency records, the receipt's; 0: none */
    int64_t audit_interval_ms;   /* 0: no audits, but those that the watcher asks for */
    int64_t barrier_patience_ms; /* load the prefix again when a connected watch has not shown the own last commit for
                                    so long; 0: never */
    uint64_t seed;
} ticking_config;

typedef enum ticking_event_type {
    TICKING_MESSAGE, /* `message`: its snapshot, events, progress, health, outcome, session's leases and page of an
                        audit are taken, in this order; other fields are not looked at */
    TICKING_BROKEN,  /* a malformed message, or one that no actor may send, has arrived; `detail` names it */
    TICKING_TICKED,  /* the reactor's tick, or one of its updates, answered `status` (EW_OK, EW_FINISHED or an error) */
    TICKING_SUBMIT,  /* `submit` under `submit_id`: TICKING_DO_REPLY follows, now or later */
    TICKING_TIMER,   /* everything ready has been taken: tick, evaluate or commit what is due at `now_ms` */
    TICKING_STOP, /* end with `status` once no batch is out (EW_ERR_CANCELLED, EW_ERR_SESSION_DONE, a peer's error) */
} ticking_event_type;

typedef struct ticking_event {
    ticking_event_type type;
    int64_t now_ms;
    const Msg__Message *message; /* the caller's for the length of the step */
    const Msg__Submit *submit;
    uint64_t submit_id;
    int status;
    const char *detail;
} ticking_event;

typedef enum ticking_effect_type {
    TICKING_DO_TICK,   /* take every update (ticking_take_update), tick the reactor with `tick`, answer with
                          TICKING_TICKED. `reset` first: call the reactor's reset */
    TICKING_DO_COMMIT, /* send `patches` to the committer */
    TICKING_DO_AUDIT,  /* have the keys read as of `revision`, under the number `audit`: a message with `audited` of
                          that number follows, or several */
    TICKING_DO_STOP,   /* have watcher and committer stop: the run ends, and an outcome may be lost */
    TICKING_DO_RESYNC, /* have the prefix loaded again: a snapshot of a later epoch follows. `revision` was seen (0:
                          none), `rewritten`: and etcd's history is another one since */
    TICKING_DO_REPLY,  /* answer the submit `submit_id`: status, revision, detail */
    TICKING_DO_END,    /* the run is over with `status`, `detail`; the last effect */
    TICKING_DO_LOG,    /* level in `status`, text in `detail`, revision */
} ticking_effect_type;

typedef struct ticking_effect {
    ticking_effect_type type;
    ew_tick *tick;
    bool reset, rewritten;
    const Msg__Patches *patches; /* borrowed: the core's, until its next step */
    uint64_t submit_id;
    uint64_t audit;
    int64_t revision;
    int status;
    const char *detail; /* borrowed: the core's, until its next step */
} ticking_effect;

/* A list that grows: a batch may answer many submits. Zero it before the first step; ticking_effects_fini frees it. */
typedef struct ticking_effects {
    ticking_effect *list;
    size_t count, capacity;
} ticking_effects;
void ticking_effects_fini(ticking_effects *effects);

typedef struct ticking ticking;

ticking *ticking_new(const ticking_config *config); /* NULL when out of memory */

/* Drops what is pending: callbacks get EW_ERR_CANCELLED, those of a batch that is out EW_ERR_UNKNOWN_OUTCOME; arguments
 * are dropped. */
void ticking_free(ticking *t);

/* The rule of steps: TICKING_MESSAGE and TICKING_SUBMIT only take things in (they may answer submits and end the run,
 * but never give DO_TICK or DO_COMMIT), so that all that is ready is taken before anything is decided on it (SEMANTICS
 * 5). When something is due then, ticking_deadline_ms answers 0, and the TICKING_TIMER step that follows ticks or
 * commits. TICKING_TICKED may give DO_COMMIT at once (SEMANTICS 17). */

/* One step. `out` is filled from the start. Calls the completion callbacks of decided groups, and the patch functions
 * of groups that are evaluated. Running out of memory ends the run with EW_ERR_NO_MEMORY. */
void ticking_step(ticking *t, const ticking_event *event, ticking_effects *out);

/* The next event for the reactor, in order: false when there is none. Only while TICKING_DO_TICK is handled. The event
 * is valid until the next call on the core. */
bool ticking_take_update(ticking *t, ew_event *event);

/* Reads that only check: they are not noted. */
int ticking_peek(const ew_tick *tick, ew_slice key, ew_entry *out);
bool ticking_peek_scan(const ew_tick *tick, ew_slice prefix, ew_entry *e);
size_t ticking_peek_count(const ew_tick *tick);

/* How many groups the tick has made so far. */
uint32_t ticking_tick_groups(const ew_tick *tick);

/* When TICKING_TIMER is due; INT64_MAX for never. */
int64_t ticking_deadline_ms(const ticking *t);

/* Whether nothing but an outcome can move the core on: events may wait in the mailbox without waking anybody. */
bool ticking_wants_outcome_only(const ticking *t);

ticking_state ticking_get_state(const ticking *t);

/* The lease that EW_LEASE_SESSION means, and whether any group has bound a key to it. */
int64_t ticking_session_lease(const ticking *t);
bool ticking_uses_session(const ticking *t);

typedef struct ticking_stats {
    int64_t revision, barrier_revision;
    uint64_t ticks, events, groups_committed, groups_refused, groups_dropped, snapshots, bad_messages, keys,
        mirror_bytes;
    uint64_t update_bytes; /* that wait for the reactor's update */
    uint64_t submits, submit_repeats;
    uint64_t audits;        /* completed */
    uint64_t audit_repairs; /* keys that an audit found to differ */
    uint64_t rewritten;     /* snapshots of another history than the one before */
    bool unsure;            /* the keys are still to be compared with etcd's, since the watch was lost */
    uint64_t breaches;      /* messages that broke the protocol; among bad_messages */
    bool synced;            /* the mirror is complete, and there is no sign that it is wrong */
} ticking_stats;
void ticking_get_stats(const ticking *t, ticking_stats *out);

#endif
