/* The committer: a committing core with its transaction and its way to the reactor. It has no lock: one thread at a
 * time may use it. */
#ifndef SHELL_COMMITTER_H
#define SHELL_COMMITTER_H

#include "core/committing.h"
#include "shell/piggyback.h"

typedef struct committer committer;

/* What the pointers point to must outlive the committer; `core` is copied, and what it borrows must. */
typedef struct committer_config {
    shell_io *io;         /* for transactions; and for outcomes, without `piggyback` */
    piggyback *piggyback; /* NULL: a committer by itself, without a watcher and a worker */
    const committing_config *core;
    int64_t stop_timeout_ms;        /* for the undecided transaction when a message breaks the protocol */
    void (*check_lease)(void *arg); /* the receipt's lease may be gone; must be quick; may be NULL */
    void *check_arg;
} committer_config;

/* NULL when out of memory. */
committer *committer_new(const committer_config *config);
void committer_free(committer *c); /* as watcher_free */

/* Takes a message from the mailbox. A batch's transaction is started at once. */
void committer_take(committer *c, const Msg__Message *message);

/* A body was dropped because it is not a Message. */
void committer_take_malformed(committer *c);

/* A message was lost because memory ran out: the committer ends. */
void committer_fail(committer *c);

/* Asks for the end, in the next round: what is in flight is decided within `timeout_ms`. */
void committer_stop(committer *c, int64_t timeout_ms);

/* Does what is due; returns committer_next_ms. */
int64_t committer_round(committer *c, int64_t now_ms);

/* Returns when committer_round must be called at the latest, which each function above may change. 0: now. */
int64_t committer_next_ms(const committer *c);

/* As watcher_ended. Needs no lock on the thread of the rounds, which alone ends it. */
bool committer_ended(const committer *c, int *status, const char **detail);

/* Whether etcd's quota is used up. */
bool committer_has_no_space(const committer *c);

const committing *committer_core(const committer *c); /* for descriptions */

#endif
