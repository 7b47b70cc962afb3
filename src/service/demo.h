/* `--demo`: a small sample, put into etcd by the library's own client, whose members come and go on a schedule; and a
 * reactor around the chosen one that shows who holds what (demo_board.h). */
#ifndef SERVICE_DEMO_H
#define SERVICE_DEMO_H

#include "service/chosen.h"
#include "service/settings.h"

#include <etcdworker/log.h>

typedef struct demo demo;

extern const ew_reactor demo_reactor; /* its self is a demo */

/* Loads the sample and starts the thread that changes it. etcd must be there. `inner` must outlive it. */
int demo_start(demo **out, const ew_options *o, const chosen *inner, ew_error *err);

/* Ends the thread and its sessions, and gives the terminal back. After the worker's end. NULL is fine. */
void demo_stop(demo *d);

/* The keyboard's file descriptor, -1 without one or without a demo; and whether the key that ends the demo was typed.
 */
int demo_fd(const demo *d);
bool demo_is_ended_by_key(const demo *d);

/* As at the end of a process that is not going to call demo_stop. */
void demo_restore_terminal(void);

/* The level of the log: the user's; but by default a picture is not written over by what is merely interesting. */
ew_log_level demo_log_level(const settings *s);

#endif
