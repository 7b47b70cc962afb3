/* The watcher: a watching core with its range calls, its stream, its consistency checks and its way to the reactor.
 * Not locked: everything runs on the thread of its rounds. */
#ifndef SHELL_WATCHER_H
#define SHELL_WATCHER_H

#include "core/watching.h"
#include "shell/piggyback.h"

typedef struct watcher watcher;

/* What `config` and `piggyback` point to must outlive the watcher. */
typedef struct watcher_config {
    shell_io *io;
    piggyback *piggyback; /* NULL: a watcher by itself, without a committer and a worker */
    const watching_config *core;
    int64_t call_timeout_ms;
} watcher_config;

/* NULL when out of memory. */
watcher *watcher_new(const watcher_config *config);

/* Only when no call and no stream is open, or none of their callbacks will come any more. `w` may be NULL. */
void watcher_free(watcher *w);

/* Begins the load. */
void watcher_start(watcher *w);

/* Takes a message from the mailbox. */
void watcher_take(watcher *w, const Msg__Message *message);

/* A body was dropped because it is not a Message. It may have asked for a load or a consistency check, so the watcher
 * of a worker loads the prefix. */
void watcher_take_malformed(watcher *w);

/* A message was lost because memory ran out: the watcher ends. */
void watcher_fail(watcher *w);

/* Begins the end: calls and streams are cancelled. */
void watcher_stop(watcher *w);

/* The receiver has capacity again: paused reads go on. */
void watcher_resume(watcher *w);

/* Does what is due. Returns when to call it again at the latest; INT64_MAX: after the next call of a function above. */
int64_t watcher_round(watcher *w, int64_t now_ms);

/* Whether the watcher has ended: no call and no stream is open, and DOWN was sent. If so, sets `*status` and
 * `*detail`, which the watcher owns. */
bool watcher_ended(const watcher *w, int *status, const char **detail);

/* Returns how often the watch was interrupted. Any thread. */
uint64_t watcher_get_reconnects(const watcher *w);

const watching *watcher_core(const watcher *w); /* for descriptions */

#endif
