/* The reactor: runs a ticking core, calls the user's functions, and exchanges messages with its peers, the watcher and
 * the committer. It has no lock: use it from one thread. */
#ifndef SHELL_REACTOR_H
#define SHELL_REACTOR_H

#include "core/ticking.h"
#include "shell/io.h"

typedef struct shell_reactor shell_reactor;

/* What the reactor needs besides a clock, `bad_message` and `log` of io_ops. */
typedef struct reactor_ops {
    /* Sends a message to the watcher or the committer. Never waits. EW_OK, or EW_ERR_NO_MEMORY. */
    int (*send)(shell_io *io, Msg__Actor to, const Msg__Message *message);

    /* Runs a tick that is due: calls reactor_call before it returns, then reactor_end_tick, at once or later. */
    void (*tick)(shell_io *io, const ew_tick *tick);

    /* Replies to the submit `request`. */
    void (*reply)(shell_io *io, uint64_t request, int status, int64_t revision, const char *detail);

    bool (*session_is_lost)(shell_io *io); /* whether the session whose end ends the run is lost (SEMANTICS 30) */
    bool (*stop_is_wanted)(shell_io *io);  /* whether the user has stopped the worker; a STOP alone does not prove it */
} reactor_ops;

/* What the pointers point to must outlive the reactor. `*core` is copied; what it borrows must outlive the reactor. */
typedef struct reactor_config {
    shell_io *io;
    const reactor_ops *ops;
    ew_reactor table; /* the user's functions, called with `self` */
    void *self;
    const ticking_config *core;
    int64_t start_timeout_ms; /* for the first load; 0: no limit */
    int64_t stop_timeout_ms;  /* how long the peers may take to end; STOP carries it */
} reactor_config;

/* Returns NULL when out of memory. */
shell_reactor *reactor_new(const reactor_config *config);

/* Frees the reactor, which may be NULL. Drops pending groups as ticking_free does. */
void reactor_free(shell_reactor *r);

/* The next four functions and reactor_round must not be called during a tick. */

/* Takes a message from the mailbox. */
void reactor_take(shell_reactor *r, const Msg__Message *message);

/* Reports a body that was dropped because it is not a Message. `why` describes the body. */
void reactor_take_malformed(shell_reactor *r, const char *why);

/* Ends the run because a message was lost when memory ran out. `down`: the actor that sent it, if it was a DOWN;
 * otherwise 0. */
void reactor_fail(shell_reactor *r, Msg__Actor down);

/* Takes a submit. Calls `reply` with `request`, before it returns or later. */
void reactor_submit(shell_reactor *r, const Msg__Submit *submit, uint64_t request);

/* Calls the user's reset and update functions for the changes, then the user's tick function. */
void reactor_call(shell_reactor *r);
void reactor_end_tick(shell_reactor *r);
bool reactor_is_ticking(const shell_reactor *r); /* a tick has begun, and reactor_end_tick was not called yet */

/* Does what is due. Call it when all waiting messages have been taken. Returns when to call it again at the latest;
 * INT64_MAX if a tick is running then. */
int64_t reactor_round(shell_reactor *r, int64_t now_ms);

/* Returns whether the result of the run is known. From then on the reactor only waits for its peers to end. */
bool reactor_is_over(const shell_reactor *r);

/* Returns whether the reactor has ended: the result is known, and both peers have sent DOWN, or did not
 * within `stop_timeout_ms` + REACTOR_DOWN_MARGIN_MS. If so, sets `*status` and `*detail`, which the reactor owns. */
enum { REACTOR_DOWN_MARGIN_MS = 2000 };
bool reactor_ended(const shell_reactor *r, int *status, const char **detail);

/* Returns whether messages that ticking_wants_outcome_only does not need may wait without waking the thread. */
bool reactor_wants_outcome_only(const shell_reactor *r);

bool reactor_is_connected(const shell_reactor *r); /* as last reported by the watcher; `r` NULL: false */
bool reactor_is_ready(const shell_reactor *r);     /* loaded, connected, and nothing suggests that the cache is wrong */

/* Returns whether the log must report that etcd is missing. */
bool reactor_misses_etcd(const shell_reactor *r, int64_t now_ms);

const ticking *reactor_core(const shell_reactor *r);

#endif
