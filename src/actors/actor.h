/* What the actors around the shell's watcher and committer have in common: a task of one of the client's loops, whose
 * thread sleeps in a completion queue; a mailbox; and the shell's I/O over gRPC and nng. The watchers of a client share
 * one loop, and so do its committers: one worker has a thread for each of its actors, and many share the same two. */
#ifndef ACTORS_ACTOR_H
#define ACTORS_ACTOR_H

#include "actors/mailbox.h"
#include "core/log.h"
#include "core/log_limit.h"
#include "etcd/loop.h"
#include "shell/committer.h"
#include "shell/watcher.h"

#include <etcdworker/actor.h>

#include <stdatomic.h>

/* The parts in which the two differ. Called on the loop's thread, `arrived` on nng's. */
typedef struct actor_ops {
    etcd_loop_kind loop;
    const char *name;
    void (*start)(ew_actor *a);                    /* before the first round */
    void (*arrived)(void *actor);                  /* a message is in the mailbox, or a stop was asked for */
    void (*capacity)(void *actor);                 /* the outbox has capacity again; may be NULL */
    int64_t (*round)(ew_actor *a, int64_t now_ms); /* looks at mailbox and clock; returns the next deadline */
    bool (*ended)(const ew_actor *a, int *status, const char **detail);
    bool (*needed)(const ew_actor *a); /* after its end: whether rounds must go on; may be NULL */
    void (*fini)(ew_actor *a);         /* after the last round */
} actor_ops;

struct ew_actor {
    etcd_task task; /* first: a task is its actor */
    shell_io io;    /* the shell's; actor_io_ops unless the actor has others */
    const actor_ops *ops;
    log_source log; /* owns the name */
    ew_client *client;
    etcd_queue *queue;
    mailbox *mailbox;
    outbox *outbox;
    bool started;                    /* `start` was called */
    _Atomic int64_t stop_timeout_ms; /* 0: nobody asked for a stop through ew_actor_close */
    _Atomic uint64_t bad_messages;
    log_limit bad_limit; /* of the thread that takes */
};

extern const io_ops actor_io_ops;
ew_actor *actor_of(shell_io *io);

/* Makes the common parts of an actor whose memory `a` begins. On failure nothing is left but the memory. */
int actor_init(ew_actor *a, const actor_ops *ops, ew_client *client, const ew_options *options, const char *mailbox_url,
               const char *peer_url, ew_error *err);

/* Begins the rounds. */
void actor_launch(ew_actor *a);

/* Takes apart and frees an actor that was not launched, or has had its last round. `a` may be NULL. */
void actor_free(ew_actor *a);

/* Of ew_watcher_open and ew_committer_open: whether one that must be given is NULL, named in `err`; `*out` is NULL
 * then. */
bool actor_arguments_missing(ew_actor **out, const ew_client *client, const ew_options *options,
                             const char *mailbox_url, const char *peer_url, const char *function, ew_error *err);

typedef enum actor_taken {
    ACTOR_TAKEN,     /* a message, to be freed with msg__message__free_unpacked(m, NULL) */
    ACTOR_EMPTY,     /* the mailbox is empty */
    ACTOR_MALFORMED, /* a body that is not a Message was counted and dropped */
    ACTOR_NO_MEMORY, /* a message was dropped because there was no memory to unpack it */
} actor_taken;

/* Takes the next message of the mailbox. */
actor_taken actor_take(ew_actor *a, Msg__Message **out);

/* Writes a log record of a core. */
void actor_log(const log_source *from, const char *area, int level, const char *message, int64_t revision);

/* ---- the actors of a worker ---- */

/* `p` may be NULL. */
int watcher_start_bound(ew_actor **out, ew_client *client, const ew_options *options, piggyback *p,
                        const char *mailbox_url, const char *peer_url, ew_error *err);

/* The committer of that watcher is gone: the watcher's thread, on which its answers came, is not needed for it any
 * more. */
void watcher_release(ew_actor *watcher);

/* What the options say of a committing core. The owner fills in the keys, the lease and the fence, and with them
 * `exactly_once`. */
committing_config committer_options(const ew_options *options);

/* The committer for a worker: with what only a running worker knows. What `config` borrows must outlive the actor. */
typedef struct committer_binding {
    const committing_config *config;
    piggyback *piggyback;
    ew_actor *watcher;              /* in whose queue the answers come */
    void (*check_lease)(void *arg); /* the receipt's; must be quick */
    void *arg;
} committer_binding;
int committer_start_bound(ew_actor **out, ew_client *client, const ew_options *options,
                          const committer_binding *binding, const char *mailbox_url, const char *peer_url,
                          ew_error *err);

/* Any thread. */
uint64_t watcher_reconnects(const ew_actor *a);
bool committer_is_out_of_space(const ew_actor *a);

#endif
