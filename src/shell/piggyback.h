/* Piggybacking: the watcher and the committer of one worker share the way to the reactor, so that messages which are
 * ready together travel in one body. The answer to a transaction and the event of its revision come within a
 * millisecond of each other, in either order, and the reactor needs both: so the first waits for the second, for
 * PIGGYBACK_HOLD_MS at most.
 *
 * The watcher's rounds and callbacks and the committer's answers run on one thread. A batch, and an outcome that needs
 * no answer of etcd's, may come on another thread: hence the atomics. */
#ifndef SHELL_PIGGYBACK_H
#define SHELL_PIGGYBACK_H

#include "shell/io.h"

#include <stdatomic.h>

enum { PIGGYBACK_HOLD_MS = 3, PIGGYBACK_HOLD_BYTES = 65536 };

typedef struct piggyback {
    shell_io *io; /* the watcher's */
    /* Sends the events that an outcome waits for, if the watcher has them. On the watcher's thread. */
    void (*send_awaited)(void *watcher);
    void *watcher;

    atomic_bool in_flight;         /* a batch is undecided: events alone cannot move the reactor on */
    atomic_bool unwatched;         /* the watcher has ended: no event will come */
    _Atomic int64_t revision;      /* of the last events that were sent or held */
    _Atomic int64_t awaited;       /* the barrier revision of the held outcome; 0: no outcome is held */
    _Atomic int64_t held_until_ms; /* INT64_MAX: nothing is held */
} piggyback;

void piggyback_init(piggyback *p);

/* Sends or holds `message`, which has `bytes` bytes of events up to `revision`. EW_OK, or EW_ERR_NO_MEMORY. */
int piggyback_send_events(piggyback *p, const Msg__Message *message, int64_t revision, size_t bytes);

/* A batch has come to the committer. */
void piggyback_begin_batch(piggyback *p);

/* Sends or holds the outcome of that batch. EW_OK, or EW_ERR_NO_MEMORY. */
int piggyback_send_outcome(piggyback *p, const Msg__Message *message);

/* Returns the revision whose events a held outcome waits for; 0 if there is none. */
int64_t piggyback_awaited(const piggyback *p);

/* Sends what was held for long enough. Sets `*next_ms` to when to call it again. EW_OK, or EW_ERR_NO_MEMORY. */
int piggyback_release(piggyback *p, int64_t now_ms, int64_t *next_ms);

#endif
