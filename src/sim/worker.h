/* A simulated worker: replaces src/actors, without threads and sockets.
 *
 * It has three actors, each with a mailbox of packed messages; the shell and the cores are the library's own. A worker
 * has lives: it can be killed at any moment and started again. */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H

#include "actors.pb-c.h"
#include "core/committing.h"
#include "core/options_internal.h"
#include "core/ticking.h"
#include "core/watching.h"
#include "shell/claim.h"
#include "shell/committer.h"
#include "shell/reactor.h"
#include "shell/watcher.h"
#include "sim/world.h"

typedef struct sim_message {
    ew_slice bytes;
    bool urgent; /* also wakes an actor that only waits for an outcome */
    bool bulk;   /* from the watcher: counts for the mailbox's bound */
} sim_message;

/* A queue of messages in flight to a mailbox, or in it. */
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
    int64_t wake_ms; /* the time of the next scheduled round; INT64_MAX: none is scheduled */
} sim_actor;

/* The connection from one actor to another: first in, first out; each message has its own delay. */
typedef struct sim_channel {
    sim_actor *to;
    sim_fifo passing;
    int64_t last_ms;
    ew_slice kept; /* a message of an earlier epoch, to be sent again (echo) */
    uint64_t kept_epoch;
} sim_channel;

/* The shell's I/O of an actor. */
typedef struct sim_pending {
    struct sim_io *io; /* NULL: unused */
    io_answer_fn fn;
    void *arg;
} sim_pending;

typedef struct sim_io {
    shell_io io; /* first: the shell's I/O is a sim_io */
    sim_actor *actor;
    sim_channel *channel;   /* to the reactor; NULL: its own */
    sim_pending pending[2]; /* of a load and of a consistency check */
    int64_t heard_revision; /* of etcd when it last got an answer or a message of its stream */
    io_stream_callbacks callbacks;
    void *stream_arg;
    bool stream_is_open;
    ew_slice held; /* a message held for piggybacking, since `held_ms` */
    int64_t held_ms;
    size_t held_capacity;
    bool holds_outcome, holds_events;
} sim_io;

/* What the checks know about a life. */
typedef struct sim_seen {
    uint64_t epoch;        /* of the newest snapshot */
    int64_t tick_revision; /* of the last tick */
    int64_t tick_ms;       /* when that was */
    int64_t next_revision; /* updates that are shown one by one are not older */
    int64_t own_revision;  /* of its newest transaction that changed something below the prefix */
    bool resynced;         /* a load since the last tick: events may be differences of two snapshots */
    bool wrong;            /* the last tick differed from etcd, which is allowed while events are lost (ETCD P6) */
    bool adrift;           /* etcd was restored, and no tick has shown the restored state yet */
    uint64_t adrift_epoch; /* the epoch at the restore */
    bool wrote;            /* groups were made in the last tick, or decided since */
    ew_entry *keys;        /* the state according to the updates, in byte order; owns the bytes */
    size_t key_count, key_capacity;
    bool loaded;       /* the first load is complete */
    bool session_used; /* a group had bound a key to the session before the present call of the reactor */
    bool batch_out;
    uint64_t batch;
    int64_t stop_by_ms; /* the deadline of a stop; INT64_MAX: no stop was requested */
    size_t ticks;
} sim_seen;

/* The fence conditions of a life's transactions, also of those that arrive after its end. */
typedef struct sim_fences {
    uint32_t life;
    char *session_key, *leader_key; /* NULL: not compared */
    int64_t lease;                  /* of the session key */
    int64_t leader_revision;
} sim_fences;

typedef enum sim_lease_kind {
    SIM_LEASE_OWN,     /* of the worker's own session and its owner key */
    SIM_LEASE_GIVEN,   /* of another worker's session */
    SIM_LEASE_RECORDS, /* of the receipt */
} sim_lease_kind;

typedef struct sim_lease {
    sim_worker *worker; /* NULL: no lease */
    sim_lease_kind kind;
    int64_t id, until_ms, sent_ms;
    int64_t key_mod; /* mod_revision of the owner key as it was read, if it is ours; 0: absent */
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
    } names; /* the checks compare every key with these */
    ew_slice range_key, range_end;

    /* A life. */
    bool leads;         /* set before the first life */
    sim_worker *lender; /* set before the first life: the worker whose session this one uses; NULL: its own */
    sim_fences *fences; /* of all lives */
    size_t fences_count, fences_capacity;
    bool running;
    bool starting; /* will run again soon */
    bool killed;   /* being killed: callbacks that are called now are not promised by the library */
    bool stop_wanted;
    char *worker_id, *receipt_key;
    char *session_key;       /* the session key, bound to the session's lease (fence_session) */
    char *leader_key;        /* `leads`: every transaction compares it */
    int64_t leader_revision; /* the leader key's create_revision */
    ew_slice fence;
    sim_lease own, given, records;
    int64_t lease;            /* the session's, as the reactor knows it; 0: none */
    unsigned stale_reads;     /* in a row */
    bool session_lost;        /* the session was lost */
    bool records_lost;        /* a lease of the receipt was lost */
    char *owner_key, *holder; /* the owner key of worker_id, and its value */
    bool holds_id;
    shell_claim *claim; /* NULL: it has ended */
    claim_result claimed;
    shell_session session;
    bool receipt_deleted;   /* by the fault delete_receipt, or by another worker of this id */
    bool session_key_taken; /* the session key was put by another worker of this id, with its own session */
    bool user_refused;      /* a call or a watch was refused for its token */
    watching_config watching_config;
    ticking_config ticking_config;
    committing_config committing_config;
    piggyback piggyback;
    watcher *watcher_of;
    committer *committer_of;
    shell_reactor *reactor_of; /* NULL: the run has not begun */
    sim_io watcher_io, committer_io, reactor_io;
    bool watcher_waits; /* the watcher waits until the reactor takes its messages */
    sim_actor watcher, reactor, committer;
    sim_channel watcher_to_reactor, committer_to_reactor, reactor_to_watcher, reactor_to_committer, session_to_reactor;
    int64_t started_ms, began_ms; /* the start of the life, and of its reactor */
    bool cut_short; /* the peers were stopped before the run ended, so a transaction in flight had limited time */
    int status;
    char detail[256];
    sim_seen seen;
};

sim_worker *sim_worker_new(ew_sim *s, uint32_t number, const ew_options *options, const ew_reactor *table, void *self);
void sim_worker_free(sim_worker *w);
void sim_worker_start(sim_worker *w);
void sim_worker_start_task(void *worker);
void sim_worker_stop(sim_worker *w);
const char *sim_worker_describe(const sim_worker *w); /* text for a failure */
void sim_worker_kill(sim_worker *w);
bool sim_worker_settled(const sim_worker *w);

/* ---- shared by the files of the worker ---- */

void sim_actor_wake(sim_actor *a, int64_t at_ms);
void sim_send(sim_channel *c, const Msg__Message *m, bool urgent, bool bulk);
/* Sends a packed message. Takes ownership of its bytes. */
void sim_pass(sim_channel *c, ew_slice bytes, bool urgent, bool bulk);
bool sim_worker_takes_submits(const sim_worker *w);
/* Sends a submit of another application to the reactor actor; ew_sim.replied gets the reply. */
void sim_worker_submit(sim_worker *w, const Msg__Submit *submit, uint64_t id);
void sim_worker_replied(sim_worker *w, uint64_t submit, int status, int64_t revision);
void sim_worker_over(sim_worker *w, int status, const char *detail); /* the run has ended */

void sim_io_init(sim_io *m, sim_actor *actor, sim_channel *channel); /* worker_io.c */
void sim_io_fini(sim_io *m);
sim_worker *sim_io_worker(shell_io *io);
bool sim_io_calls(const sim_io *m);                 /* whether an answer is still to come */
size_t sim_watcher_backlog(const sim_worker *w);    /* messages of the watcher that the reactor has not taken */
bool sim_peers_start(sim_worker *w, bool together); /* worker_peers.c: starts watcher and committer with `*_config` */
void sim_peers_free(sim_worker *w);
void sim_watcher_round(void *actor);
void sim_watcher_space(sim_worker *w); /* the reactor has taken its messages */
void sim_committer_round(void *actor);
bool sim_reactor_start(sim_worker *w); /* worker_reactor.c: starts the reactor with `ticking_config` */
void sim_reactor_free(sim_worker *w);
void sim_reactor_round(void *actor);
void sim_lease_open(sim_worker *w, sim_lease *l, sim_lease_kind kind); /* worker_session.c */
void sim_lease_check(sim_lease *l);
sim_lease *sim_lease_of(sim_worker *w, session_lease which);
int64_t sim_worker_lease(void *worker, session_lease which); /* the current one; 0: lost, or not opened */
void sim_session_init(sim_worker *w);
void sim_session_borrow(sim_worker *w); /* then sim_worker_claim */
void sim_session_close(sim_worker *w);
void sim_worker_claim(sim_worker *w); /* worker_claim.c; sim_worker_begin or sim_worker_over follows */
void sim_claim_opened(sim_worker *w, int status, const char *detail); /* the first lease of a kind */
/* Unpacks the answer of a transaction. Returns the status that the client would give; EW_OK: `*r` is to be freed. */
int sim_txn_read(int status, ew_slice bytes, Pb__TxnResponse **r);
void sim_worker_begin(sim_worker *w);
void sim_worker_configure(sim_worker *w); /* worker_config.c */

#endif
