/* Shared by the files of the ticking core:
 *   ticking.c          creation, steps, transitions
 *   ticking_ticks.c    when a tick is due, and its result
 *   ticking_effects.c  the list of effects
 *   ticking_load.c     snapshots: the first load, and reloads in place
 *   ticking_changes.c  events: their effect on the cache
 *   ticking_audit.c    consistency checks: the cache compared with etcd
 *   ticking_history.c  signs that the cache is wrong: another history, a change that never came
 *   ticking_updates.c  events that wait for the reactor
 *   ticking_groups.c   pending groups: evaluation, commit, outcomes, the end
 *   ticking_submits.c  groups from other applications
 *   ticking_breach.c   messages that break the protocol */
#ifndef CORE_TICKING_PRIVATE_H
#define CORE_TICKING_PRIVATE_H

#include "core/evaluate.h"
#include "core/submit_clients.h"
#include "core/ticking.h"
#include "etcd.pb-c.h"

#include <etcdworker/log.h>

/* A tick, while the reactor runs. */
struct ew_tick {
    ticking *core;
    int64_t revision;
    uint64_t number;
    int64_t now_ms;
    ew_group *first, *last;
    uint64_t groups;
    bool no_memory;
    ew_error error;              /* set by ew_tick_fail */
    reads *reads;                /* NULL: reads are not recorded */
    const mirror_entry *scanned; /* the last entry that a scan returned: most scans continue after it */
};

typedef struct ticking_list {
    ew_group *first, *last;
} ticking_list;

/* A change that was received. It is applied at once, or, with `coalesce` off, one revision per tick. */
typedef struct ticking_change {
    mirror_entry *entry; /* NULL: progress */
    bool deleted;
    int64_t revision;
} ticking_change;

/* A change that the reactor has not seen yet. */
typedef struct ticking_update {
    mirror_entry *entry;
    bool deleted, initial;
} ticking_update;

typedef struct ticking_text ticking_text; /* a detail that an effect points to */

struct ticking {
    ticking_config config;
    ticking_state state;
    group_scope scope;
    bool session_used; /* referenced by the scope */
    mirror *mirror;
    ticking_stats stats;

    int64_t observed;         /* the revision of the cache */
    int64_t received;         /* the newest received revision: above `observed` only while changes wait */
    int64_t barrier;          /* -1: none */
    int64_t counter;          /* the delete counter at `observed`, 0 if absent */
    int64_t counter_revision; /* revision of its last seen change; 0: none */

    /* Loading. */
    uint64_t epoch;
    bool loaded;      /* the snapshot of this epoch is complete */
    bool loaded_once; /* a snapshot has been complete before */
    int64_t load_revision;
    bool load_rewritten;   /* it is of another history */
    mirror_entry *load_at; /* the first entry of the cache that the pages have not reached */
    bool load_counter;     /* a page contained the delete counter */
    uint8_t *load_key;     /* the last key of the pages */
    size_t load_key_len;

    /* After a message that broke the protocol. */
    bool resync_asked;      /* a reload was requested: until it begins the cache may be wrong */
    bool resync_after_load; /* request it when the current load is complete */
    int64_t page_ms;        /* when the last page arrived */

    /* Consistency checks; see ticking_audit.c. */
    bool auditing;
    uint64_t audit; /* the number of the last one */
    int64_t audit_revision;
    mirror *audit_deleted; /* the keys deleted since it began */
    bool audit_counter;    /* a page contained the delete counter */
    uint8_t *audit_key;    /* the last key of the pages */
    size_t audit_key_len;
    uint64_t audit_found;     /* number of differences */
    int64_t audit_due_ms;     /* the next one */
    int64_t audit_newer_than; /* 0, or it waits until a newer revision is observed */
    bool audit_wanted;        /* one is due at `audit_wanted_ms`, regardless of the interval */
    int64_t audit_wanted_ms;
    bool unsure; /* it is unknown whether the history is still the one that was seen, until a snapshot, or a consistency
                    check of `unsure_revision` or newer */
    int64_t unsure_revision;

    /* The watch. */
    bool connected;
    bool away;                /* the watcher reported that the watch is lost: what it does next is better than a
                                 consistency check */
    int64_t barrier_asked;    /* the last one for which another history was suspected */
    int64_t barrier_since_ms; /* since when a connected watch could have shown the barrier revision */

    /* Changes that wait to be applied, from index `changes_head` on. */
    ticking_change *changes;
    size_t changes_head, changes_len, changes_capacity;
    size_t changes_bytes;

    /* Updates that wait for the reactor, from index `updates_head` on. */
    ticking_update *updates;
    size_t updates_head, updates_len, updates_capacity;
    size_t updates_bytes;
    bool reset;                  /* reset the reactor's model at the next tick */
    bool overflowed;             /* and send it the cache instead of the updates */
    const mirror_entry *show_at; /* the position of that */
    mirror_entry *shown;         /* the entry of the last event given to the reactor */

    /* Ticks. */
    struct ew_tick tick;
    bool dirty;     /* something visible changed since the last tick */
    bool first_due; /* the tick that follows a complete load */
    int64_t next_timer_ms;
    int64_t next_allowed_us; /* set by the rate limit */
    uint64_t group_number;

    /* Groups. */
    ticking_list pending;  /* undecided, in order; the first ones are in the batch in flight */
    ticking_list submits;  /* wait to be appended to `pending` */
    uint32_t submit_count; /* waiting requests, copies included */
    submit_clients clients;
    uint64_t batch;
    evaluate_patches patches;
    bool committed_here;   /* something was committed since the history changed, or since the start */
    int64_t base_revision; /* the revision on which the batch was evaluated; 0 if the cache was loaded again since */
    int64_t wait_revision; /* evaluate again when this revision has been observed */
    int64_t retry_ms;      /* and not before */
    bool again;            /* a patch asked for newer state than `again_revision`; if there is none, retry at
                              `again_ms` */
    int64_t again_revision, again_ms;
    uint32_t refusals, agains; /* in a row */
    bool no_glue;              /* the next batch is a retry: do not merge groups */
    uint64_t random;

    /* The end. */
    bool finished; /* the reactor returned EW_FINISHED */
    bool ending;   /* with `end_status`, as soon as no batch is in flight */
    int end_status;
    char end_detail[256];
    bool lost; /* an event was lost because memory ran out */

    int64_t now_ms; /* of the current step */
    ticking_effects *out;
    ticking_text *texts;
};

static inline bool ticking_batch_is_out(const ticking *t) {
    return t->state == TICKING_COMMITTING;
}

/* ticking.c */
void ticking_move(ticking *t, ticking_state to);
void ticking_end(ticking *t, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void ticking_no_memory(ticking *t);

/* ticking_ticks.c */
void ticking_take_time(ticking *t); /* ticks or evaluates what is due */
void ticking_take_ticked(ticking *t, const ticking_event *event);

/* ticking_effects.c */
bool ticking_effects_reserve(ticking_effects *effects, size_t count);
ticking_effect *ticking_emit(ticking *t, ticking_effect_type type);
void ticking_log(ticking *t, ew_log_level level, const char *text);
const char *ticking_keep_text(ticking *t, const char *text); /* until the next step */
void ticking_drop_texts(ticking *t);

/* ticking_breach.c: a message that breaks the protocol; the text names the message and the field. */
void ticking_breach(ticking *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ticking_breach_outcome(ticking *t, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* the outcome of the batch in flight may be lost with it */
void ticking_breach_stale(ticking *t, const char *message, uint64_t epoch); /* the message is dropped */
void ticking_breach_load_begins(ticking *t);
void ticking_breach_load_ends(ticking *t);
bool ticking_is_synced(const ticking *t);

/* ticking_load.c */
void ticking_take_snapshot(ticking *t, uint64_t epoch, const Msg__Snapshot *s);

/* ticking_changes.c */
void ticking_take_events(ticking *t, uint64_t epoch, const Msg__Events *e);
void ticking_take_progress(ticking *t, uint64_t epoch, const Msg__Progress *p);
void ticking_put_change(ticking *t, mirror_entry *old, const ew_entry *now, bool initial); /* replaces `old` */
void ticking_delete_change(ticking *t, mirror_entry *e, int64_t revision);
bool ticking_is_counter(const ticking *t, ew_slice key);
void ticking_set_counter(ticking *t, ew_slice value); /* ends the run if it is corrupt */
void ticking_apply_revision(ticking *t);              /* the next waiting one */
void ticking_apply_all(ticking *t);
bool ticking_changes_wait(const ticking *t);
void ticking_drop_changes(ticking *t);

/* ticking_updates.c */
void ticking_queue_update(ticking *t, mirror_entry *e, bool deleted, bool initial); /* takes its own reference */
void ticking_drop_updates(ticking *t);
void ticking_show_begin(ticking *t);
void ticking_show_end(ticking *t);

/* ticking_audit.c */
int64_t ticking_audit_due_ms(const ticking *t);
void ticking_take_audit_time(ticking *t);
void ticking_take_audited(ticking *t, const Msg__Audited *a);
void ticking_note_deletion(ticking *t, ew_slice key, int64_t revision);
void ticking_drop_audit(ticking *t); /* the next one follows after an interval */
void ticking_want_audit(ticking *t, int64_t in_ms);
void ticking_take_health(ticking *t, uint64_t epoch, const Msg__Health *h);
void ticking_load_again(ticking *t, int64_t revision, bool rewritten); /* the cache is wrong */
int64_t ticking_barrier_due_ms(const ticking *t);
void ticking_take_barrier_time(ticking *t);

/* ticking_groups.c */
void ticking_append(ticking_list *list, ticking_list *behind); /* leaves `behind` empty */
int64_t ticking_evaluate_due_ms(const ticking *t);
void ticking_evaluate(ticking *t);
void ticking_take_outcome(ticking *t, const Msg__Outcome *o);
void ticking_decide_group(ticking *t, ew_group *g, int status, int64_t revision, const char *detail); /* and free it */
void ticking_give_up(ticking *t, ticking_list *list);

/* ticking_submits.c */
typedef struct ticking_reply {
    int status;
    int64_t revision;
    char detail[128];
} ticking_reply;
void ticking_take_submit(ticking *t, uint64_t id, const Msg__Submit *s);
void ticking_answer_submit(ticking *t, const ew_group *g, int status, int64_t revision, const char *detail);
int ticking_abandoned_status(bool has_identity);
bool ticking_submit_is_known(const ew_group *g, ticking_reply *out); /* decided before: by a copy, or by a later
                                                                        submit */
void ticking_prepare_submit(ticking *t, ew_group *g);                /* makes the record before the evaluation */
void ticking_note_decision(const ew_group *g, int status, int64_t revision);
void ticking_submit_committed(ticking *t, ew_group *g, int64_t revision, ticking_reply *out);
bool ticking_learn_records(ticking *t, const Msg__Outcome *o); /* returns whether there were any */

#endif
