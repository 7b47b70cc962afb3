/* A simulated worker: what src/actors is for a real one, without threads and sockets.
 *
 * Three actors, each with a mailbox of packed messages; the shell and the cores are the library's own. A worker has lives: it can be
 * killed at any moment and started again. */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H

#include "actors.pb-c.h"
#include "core/committing.h"
#include "core/options_internal.h"
#include "core/ticking.h"
#include "core/watching.h"
#include "shell/committer.h"
#include "shell/watcher.h"
#include "sim/world.h"

typedef struct sim_message {
    ew_slice bytes;
    bool urgent; /* wakes an actor that waits for an outcome only */
    bool bulk;   /* from the watcher: what the mailbox's bound is about */
} sim_message;

/* Messages in order: on their way to a mailbox, or in it. */
typedef struct sim_fifo {
    sim_message *list;
    size_t head, tail, capacity;
} sim_fifo;

void sim_fifo_push(sim_fifo *f, sim_message m);
bool sim_fifo_take(sim_fifo *f, sim_message *out);
size_t sim_fifo_count(const sim_fifo *f);
void sim_fifo_fini(sim_fifo *f);

typedef struct sim_actor {
    sim_worker *worker;
    sim_task_fn round;
    sim_fifo box;
    int64_t wake_ms; /* when its next round is scheduled; INT64_MAX: not */
} sim_actor;

/* The way from one actor to another: first in, first out, each message with a delay of its own. */
typedef struct sim_channel {
    sim_actor *to;
    sim_fifo passing;
    int64_t last_ms;
    ew_slice kept; /* a message of an earlier epoch, to be said again */
    uint64_t kept_epoch;
} sim_channel;

/* The shell's I/O of a watcher or a committer. */
typedef struct sim_pending {
    struct sim_io *io; /* NULL: this one is free */
    io_answer_fn fn;
    void *arg;
} sim_pending;

typedef struct sim_io {
    shell_io io; /* first: the shell's I/O is a sim_io */
    sim_actor *actor;
    sim_channel *channel;   /* to the reactor */
    sim_pending pending[2]; /* of a load and of a consistency check */
    unsigned calls;
    io_stream_callbacks callbacks;
    void *stream_arg;
    bool stream_is_open;
    ew_slice held; /* what waits for another message, since */
    int64_t held_ms;
    size_t held_capacity;
    bool holds_outcome, holds_events;
} sim_io;

/* What the checks know of a life. */
typedef struct sim_seen {
    uint64_t epoch;        /* of the newest snapshot */
    int64_t tick_revision; /* of the last tick */
    int64_t tick_ms;       /* when that was */
    int64_t next_revision; /* what is shown one by one is not older */
    int64_t own_revision;  /* of its newest transaction that changed something below the prefix */
    bool resynced;         /* since the last tick: events may be made from two snapshots */
    bool wrong;            /* the last tick was not what etcd had, which may be where events are lost (ETCD P6) */
    bool adrift;           /* etcd was restored, and no tick has shown its state since the worker found out */
    uint64_t adrift_epoch; /* of the snapshot that it had then */
    bool wrote;            /* groups were made in the last tick, or decided since */
    ew_entry *keys;        /* what update has built, in byte order; it owns the bytes */
    size_t key_count, key_capacity;
    bool batch_out;
    uint64_t batch;
    int64_t stop_by_ms; /* a stop has to be done by then; INT64_MAX: none was asked for */
    size_t ticks;
} sim_seen;

/* What a life's transactions stand on, also those that arrive when it is over. */
typedef struct sim_standing {
    uint32_t life;
    char *marker_key, *leader_key; /* NULL: not compared */
    int64_t lease;                 /* the marker's */
    int64_t leader_revision;
} sim_standing;

typedef enum sim_lease_kind {
    SIM_LEASE_OWN,     /* the worker's own session, and its hold on worker_id */
    SIM_LEASE_GIVEN,   /* another worker's session */
    SIM_LEASE_RECORDS, /* the receipt's */
} sim_lease_kind;

typedef struct sim_lease {
    sim_worker *worker; /* NULL: there is none */
    sim_lease_kind kind;
    int64_t id, until_ms, sent_ms;
    int64_t key_mod; /* of the key that is held, as it was read: ours, or 0 for absent */
    bool known;      /* granted once in this life */
    bool alive, keeping;
} sim_lease;

struct sim_worker {
    ew_sim *sim;
    uint32_t number, life;
    ew_options *options;
    ew_reactor table;
    void *self;
    ew_sim_ended_fn ended;
    char *prefix, *counter_key;
    struct {
        ew_slice prefix, counter, receipts;
    } names; /* that the checks ask every key about */
    ew_slice range_key, range_end;

    /* A life. */
    bool leads;              /* set before the first life */
    sim_worker *lender;      /* so is this: whose session it uses; NULL: its own */
    sim_standing *standings; /* of all lives */
    size_t standing_count, standing_capacity;
    bool running;
    bool starting; /* will run again soon */
    bool killed;   /* being killed: callbacks that come now are not the library's promise */
    bool stop_wanted;
    char *worker_id, *receipt_key;
    char *marker_key;        /* bound to the session's lease (fence_session) */
    char *leader_key;        /* `leads`: every transaction compares it */
    int64_t leader_revision; /* that it was created at */
    ew_slice fence;
    sim_lease own, given, records;
    int64_t lease;        /* the session's, as the reactor knows it; 0: none */
    unsigned stale_reads; /* in a row */
    bool session_lost;    /* that one was */
    bool records_lost;    /* a lease of the receipt was */
    bool lender_gone;
    char *owner_key, *holder; /* worker_id: the key that is held, and what it holds */
    bool holds_id;
    int64_t claim_lease, rival_until_ms;
    int64_t receipt_lease, receipt_revision, sequence; /* of the claim */
    int64_t receipt_expected;
    int claims_left;
    bool receipt_deleted; /* by hand */
    bool marker_taken;    /* by another worker of this id, in a session of its own */
    bool user_refused;    /* a call or a watch was */
    watching_config watching_config;
    ticking_config ticking_config;
    committing_config committing_config;
    ticking *ticking;
    ticking_effects spare; /* room for the next step's */
    piggyback piggyback;
    watcher *watcher_of;
    committer *committer_of;
    sim_io watcher_io, committer_io;
    bool watcher_waits; /* for the reactor to take its messages */
    sim_actor watcher, reactor, committer;
    sim_channel watcher_to_reactor, committer_to_reactor, reactor_to_watcher, reactor_to_committer, keeper_to_reactor;
    bool busy; /* inside a tick */
    int tick_status;
    const char *tick_detail;
    bool stopping, over;
    bool cut_short;      /* the peers were stopped before the run was over: what was in flight had only so much time */
    unsigned peers_down; /* DOWN messages taken */
    int status;
    char detail[256];
    sim_seen seen;
};

sim_worker *sim_worker_new(ew_sim *s, uint32_t number, const ew_options *options, const ew_reactor *table, void *self);
void sim_worker_free(sim_worker *w);
void sim_worker_start(sim_worker *w);
void sim_worker_start_task(void *worker);
void sim_worker_stop(sim_worker *w);
const char *sim_worker_describe(const sim_worker *w); /* for a message */
void sim_worker_kill(sim_worker *w);
bool sim_worker_settled(const sim_worker *w);

/* ---- among the files of the worker ---- */

void sim_actor_wake(sim_actor *a, int64_t at_ms);
void sim_send(sim_channel *c, const Msg__Message *m, bool urgent, bool bulk);
void sim_pass(sim_channel *c, ew_slice bytes, bool urgent, bool bulk); /* a packed message, which it takes over */
/* Hands a request of another application to the reactor actor, whose answer goes to ew_sim.replied. */
bool sim_worker_takes_submits(const sim_worker *w);
void sim_worker_submit(sim_worker *w, const Msg__Submit *submit, uint64_t id);
void sim_worker_replied(sim_worker *w, uint64_t submit, int status, int64_t revision);
void sim_worker_over(sim_worker *w, int status, const char *detail); /* the run has ended */

void sim_io_init(sim_io *m, sim_actor *actor, sim_channel *channel); /* worker_io.c */
void sim_io_fini(sim_io *m);
size_t sim_watcher_backlog(const sim_worker *w);    /* its messages that the reactor has not taken */
bool sim_peers_start(sim_worker *w, bool together); /* worker_peers.c: watcher and committer, of `*_config` */
void sim_peers_free(sim_worker *w);
void sim_watcher_round(void *actor);
void sim_watcher_room(sim_worker *w); /* the reactor has taken its messages */
void sim_committer_round(void *actor);
void sim_reactor_round(void *actor);                                   /* worker_reactor.c */
void sim_lease_open(sim_worker *w, sim_lease *l, sim_lease_kind kind); /* worker_session.c */
void sim_lease_check(sim_lease *l);
void sim_session_borrow(sim_worker *w);
void sim_session_tell(sim_worker *w); /* of leases that were replaced during the start */
void sim_session_close(sim_worker *w);
typedef enum sim_claim_verdict {
    SIM_CLAIM_UNKNOWN,
    SIM_CLAIM_HELD,
    SIM_CLAIM_AGAIN,
    SIM_CLAIM_RIVAL
} sim_claim_verdict;
void sim_worker_step_start(sim_worker *w); /* worker_claim.c; after the last step sim_worker_begin follows */
void sim_claim_hold(sim_worker *w, sim_lease *l, io_answer_fn fn);
sim_claim_verdict sim_claim_read(sim_lease *l, const Pb__TxnResponse *r);
void sim_worker_begin(sim_worker *w);
void sim_worker_configure(sim_worker *w); /* worker_config.c */

#endif
