/* The watcher's consistency checks (ETCD P6): a second watching core, which only reads the prefix. The reactor compares
 * its pages with the cache. */
#ifndef SHELL_WATCHER_CHECK_H
#define SHELL_WATCHER_CHECK_H

#include "core/watching.h"
#include "shell/page_read.h"

typedef struct watcher_check {
    shell_io *io;
    watching_config config;
    uint64_t number, next_number; /* of the running check; of the next one, 0: none */
    int64_t next_revision;
    watching *core; /* NULL: no check runs */
    page_read read;
    bool *out_of_memory;
    bool over; /* the core has ended; it is freed in the next round */
} watcher_check;

/* What `config` points to must live as long. Sets `*out_of_memory` when a message is lost. */
void watcher_check_init(watcher_check *c, shell_io *io, const watching_config *config, int64_t call_timeout_ms,
                        bool *out_of_memory);
void watcher_check_fini(watcher_check *c); /* none of its calls may be open, or be answered any more */

/* Begins the check that was asked for, in the next round, in place of one that still runs. */
void watcher_check_start(watcher_check *c, const Msg__Check *asked);

/* Ends the checks: none runs any more when watcher_check_runs is false. */
void watcher_check_stop(watcher_check *c);
bool watcher_check_runs(const watcher_check *c);

/* The receiver has capacity again. */
void watcher_check_resume(watcher_check *c);

/* Does what is due. Returns when to call it again. */
int64_t watcher_check_round(watcher_check *c, int64_t now_ms);

#endif
