/* The reactor: a ticking core, the calls of the user's functions, and the messages to and from its peers, the watcher
 * and the committer. It has no lock: one thread uses it. */
#ifndef SHELL_REACTOR_H
#define SHELL_REACTOR_H

#include "core/ticking.h"
#include "shell/io.h"

typedef struct shell_reactor shell_reactor;

/* What the reactor needs besides a clock, `bad_message` and `log` of io_ops. */
typedef struct reactor_ops {
    /* Sends a message to the watcher or the committer. Never waits. EW_OK, or EW_ERR_NO_MEMORY. */
    int (*send)(shell_io *io, Msg__Actor to, const Msg__Message *message);

    /* A tick is due. Calls reactor_call before it returns, and then reactor_end_tick, at once or later. */
    void (*tick)(shell_io *io, const ew_tick *tick);

    void (*reply)(shell_io *io, uint64_t request, int status, int64_t revision, const char *detail); /* to a submit */

    bool (*session_is_lost)(shell_io *io); /* the session whose end ends the run (SEMANTICS 30) */
    bool (*stop_is_wanted)(shell_io *io);  /* the user has asked for the end: a STOP alone does not prove that */
} reactor_ops;

/* What the pointers point to must outlive the reactor; `core` is copied, and what it borrows must. */
typedef struct reactor_config {
    shell_io *io;
    const reactor_ops *ops;
    ew_reactor table; /* the user's functions, called with `self` */
    void *self;
    const ticking_config *core;
    int64_t start_timeout_ms; /* for the first load; 0: no limit */
    int64_t stop_timeout_ms;  /* for the peers' end; they get it in STOP */
} reactor_config;

/* NULL when out of memory. */
shell_reactor *reactor_new(const reactor_config *config);
void reactor_free(shell_reactor *r); /* NULL is fine. As ticking_free */

/* Takes a message from the mailbox. Not during a tick, like the next three functions and reactor_round. */
void reactor_take(shell_reactor *r, const Msg__Message *message);

/* A body was dropped because it is no Message. `why` describes it. */
void reactor_take_malformed(shell_reactor *r, const char *why);

/* A message was lost for want of memory: the run ends. `down`: the actor whose DOWN it was; 0: another message. */
void reactor_fail(shell_reactor *r, Msg__Actor down);

/* Takes a submit: `reply` is called with `request`, now or later. */
void reactor_submit(shell_reactor *r, const Msg__Submit *submit, uint64_t request);

/* Calls the user's reset and update functions for the changes, then its tick function. */
void reactor_call(shell_reactor *r);
void reactor_end_tick(shell_reactor *r);
bool reactor_is_ticking(const shell_reactor *r); /* reactor_end_tick was not called yet */

/* Does what is due; to be called after all waiting messages were taken. Returns when to call it again at the latest;
 * during a tick INT64_MAX. */
int64_t reactor_round(shell_reactor *r, int64_t now_ms);

/* Returns whether the result of the run is known. The reactor then waits for its peers. */
bool reactor_is_over(const shell_reactor *r);

/* Returns whether the reactor has ended: the result is known, and both peers have sent DOWN or had `stop_timeout_ms`
 * and REACTOR_DOWN_MARGIN_MS for it. If so, sets `*status` and `*detail`, which the reactor owns. */
enum { REACTOR_DOWN_MARGIN_MS = 2000 };
bool reactor_ended(const shell_reactor *r, int *status, const char **detail);

/* Returns whether messages that ticking_wants_outcome_only does not need may wait without waking the thread. */
bool reactor_wants_outcome_only(const shell_reactor *r);

bool reactor_is_connected(const shell_reactor *r); /* as the watcher has reported it; NULL: false */
bool reactor_is_ready(const shell_reactor *r);     /* loaded, connected, and nothing suggests that the cache is wrong */
bool reactor_misses_etcd(const shell_reactor *r, int64_t now_ms); /* for the log */

const ticking *reactor_core(const shell_reactor *r);

#endif
