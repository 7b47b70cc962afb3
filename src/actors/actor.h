/* What watcher and committer have in common: a loop's thread that sleeps in a completion queue, a mailbox, an outbox,
 * and an end. The watchers of a client share one loop, and so do its committers: with one worker that is a thread for
 * each of its actors, with many it stays two. */
#ifndef ACTORS_ACTOR_H
#define ACTORS_ACTOR_H

#include "actors/mailbox.h"
#include "core/committing.h"
#include "core/log_limit.h"
#include "etcd/loop.h"

#include <etcdworker/actor.h>
#include <etcdworker/log.h>

#include <stdatomic.h>

/* The parts in which the two differ. Called on the loop's thread, `arrived` on nng's. */
typedef struct actor_ops {
    Msg__Actor which;
    etcd_loop_kind loop;
    const char *name;
    void (*start)(ew_actor *a);                    /* before the first round */
    void (*arrived)(void *actor);                  /* a message is in the mailbox, or a stop was asked for */
    void (*room)(void *actor);                     /* the outbox has room again; may be NULL */
    int64_t (*round)(ew_actor *a, int64_t now_ms); /* looks at mailbox and clock; answers the next deadline */
    bool (*needed)(const ew_actor *a);             /* after its end: whether rounds must go on; may be NULL */
    void (*fini)(ew_actor *a);                     /* after the last round */
} actor_ops;

struct ew_actor {
    etcd_task task; /* first: a task is its actor */
    const actor_ops *ops;
    const char *worker; /* the worker's name, for logs; owned */
    ew_client *client;
    etcd_queue *queue;
    mailbox *mailbox;
    outbox *outbox;
    outbox *down_outbox; /* where the end is told: `outbox`, unless the actor says otherwise before it is launched */
    bool started;        /* `start` was called */
    bool malformed;      /* a body that is no message was dropped. Of the thread that takes */
    bool out_of_memory;  /* a message is lost: the actor must end. Of the thread that takes and sends */

    _Atomic int64_t stop_timeout_ms; /* 0: nobody asked for a stop through ew_actor_stop */
    _Atomic uint64_t bad_messages;
    log_limit bad_limit; /* of the thread that takes */

    /* The end: written on the loop's thread, read after the last round. */
    bool ended, told; /* told: DOWN has been sent */
    int status;
    char detail[256];
};

/* Makes the common parts of an actor whose memory `a` begins. On failure nothing is left but the memory. */
int actor_init(ew_actor *a, const actor_ops *ops, ew_client *client, const ew_options *options, const char *mailbox_url,
               const char *peer_url, ew_error *err);

/* Begins the rounds. */
/* Of ew_watcher_start and ew_committer_start: whether one that must be given is NULL, named in `err`; `*out` is NULL
 * then.
 */
bool actor_arguments_missing(ew_actor **out, const ew_client *client, const ew_options *options,
                             const char *mailbox_url, const char *peer_url, const char *function, ew_error *err);

void actor_launch(ew_actor *a);

/* Takes apart and frees an actor that was not launched, or has had its last round. NULL is fine. */
void actor_free(ew_actor *a);

/* Notes the end; DOWN is sent after this round. */
void actor_end(ew_actor *a, int status, const char *detail);

/* Takes the next message apart: NULL when the mailbox is empty. What is no message is counted and dropped; one that
 * there is no memory for sets `out_of_memory`. To be freed with msg__message__free_unpacked(m, NULL). */
Msg__Message *actor_take(ew_actor *a);
void actor_count_bad(ew_actor *a, const char *why);

/* Sends, or sets `out_of_memory`. */
void actor_send(ew_actor *a, const Msg__Message *m);

/* What watcher and committer of one worker share, so that what is ready together travels together: the committer's
 * calls complete in the watcher's queue, on its thread, and its outcomes leave through the watcher's outbox. The answer
 * to a transaction and the event of its revision come within a millisecond of each other, in either order, and the
 * reactor needs both: so the first waits in the outbox for the second, for JOINT_HOLD_MS at most. */
enum { JOINT_HOLD_MS = 3, JOINT_HOLD_BYTES = 65536 };

typedef struct joint {
    ew_actor *watcher;
    atomic_bool in_flight;    /* a batch is out: the reactor can do nothing with events before its outcome is there */
    _Atomic int64_t revision; /* of the last events that were given to the outbox */
    _Atomic int64_t awaited;  /* the barrier revision of an outcome that waits there for its event; 0: none */
    _Atomic int64_t held_until_ms; /* what waits in the outbox waits until then; INT64_MAX: nothing does */
    atomic_bool closed;            /* the committer needs the watcher's thread no longer */
} joint;

/* On the watcher's thread: sends the event that an outcome waits for, if it has come, without looking for more. */
void watcher_send_awaited(ew_actor *watcher);

int watcher_start_joint(ew_actor **out, ew_client *client, const ew_options *options, joint *j, const char *mailbox_url,
                        const char *peer_url, ew_error *err);

/* What the options say of a committing core: the keys, the lease and the fence are still to be filled in, by who owns
 * them, and with them `exactly_once`. */
committing_config committer_config(const ew_options *options);

/* The committer for a worker: with what only a running worker knows. What `config` borrows must outlive the actor. */
typedef struct committer_binding {
    const committing_config *config;
    joint *joint;
    void (*check_lease)(void *arg); /* the receipt's; must be quick */
    void *arg;
} committer_binding;
int committer_start_bound(ew_actor **out, ew_client *client, const ew_options *options,
                          const committer_binding *binding, const char *mailbox_url, const char *peer_url,
                          ew_error *err);

/* Any thread. */
uint64_t watcher_reconnects(const ew_actor *a);
bool committer_has_no_space(const ew_actor *a);

/* An effect that is a log record of a core. */
void actor_log(const char *worker, const char *area, int level, const char *message, int64_t revision);

#endif
