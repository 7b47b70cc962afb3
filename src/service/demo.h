/* `--demo`: writes sample keys to etcd with the library's own client, and makes the sample's members join and leave on
 * a schedule. Its reactor wraps the chosen one and shows which member holds which task (demo_board.h). */
#ifndef SERVICE_DEMO_H
#define SERVICE_DEMO_H

#include "service/chosen.h"
#include "service/settings.h"

#include <etcdworker/log.h>

typedef struct demo demo;

extern const ew_reactor demo_reactor; /* its self is a demo */

/* Writes the sample and starts the thread that changes it. etcd must be running. `inner` must outlive the demo. */
int demo_start(demo **out, const ew_options *o, const chosen *inner, ew_error *err);

/* Ends the thread and its sessions, restores the terminal and frees `d`. Call it after the worker has ended. NULL is
 * allowed. */
void demo_stop(demo *d);

/* Returns the keyboard's file descriptor; -1 without a keyboard or without a demo. */
int demo_fd(const demo *d);

/* Reads the keyboard without waiting; returns whether the key that ends the demo was typed. */
bool demo_is_ended_by_key(const demo *d);

/* Restores the terminal, for a process that exits without demo_stop. */
void demo_restore_terminal(void);

/* Returns the log level: that of the options. While the demo runs and stderr is a terminal, the default is `error`, so
 * that records do not overwrite the picture. */
ew_log_level demo_log_level(const settings *s);

#endif
