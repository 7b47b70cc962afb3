/* `--dev`: an etcd of our own, on free ports of 127.0.0.1, for as long as this process lives.
 *
 * The server is not our child but that of a guard: this same program, started as `etcdworkerd --internal-dev-guard
 * ...`, which asks the kernel to be told when we die, whichever way, and then ends the server and removes its data. The
 * server asks to be killed when the guard dies. So nothing is left behind, by a crash or a kill -9 of either. Both are
 * in a session of their own: a Ctrl-C in the terminal reaches us alone, and the server is there until our last
 * transaction is decided.
 *
 * Start it before the first thread and before anything of gRPC or nng: it spawns processes. */
#ifndef SERVICE_DEV_ETCD_H
#define SERVICE_DEV_ETCD_H

#include <etcdworker/error.h>
#include <signal.h>

typedef struct dev_etcd dev_etcd;

/* Starts the server and waits until it answers, and until it is sure that it is this one that answers (its name is
 * random, and it says it). `program` is a path or a name to look for in PATH. `data` is a directory to be kept, made if
 * need be, or "" for a temporary one. `stop` must be blocked, and SIGCHLD too: one of `stop` ends the waiting.
 *   EW_ERR_INVALID      there is no such program, or the directory cannot be used
 *   EW_ERR_UNAVAILABLE  it ended, or did not answer in time; the detail has its last words
 *   EW_ERR_CANCELLED    a signal came; it stays pending for whoever waits next
 *   EW_ERR_SYSTEM, EW_ERR_NO_MEMORY */
int dev_etcd_start(dev_etcd **out, const char *program, const char *data, const sigset_t *stop, ew_error *err);

/* "127.0.0.1:port", and the directory that holds its data and etcd.log. */
const char *dev_etcd_endpoint(const dev_etcd *d);
const char *dev_etcd_directory(const dev_etcd *d);

/* Whether it has ended by itself, with its last words. For when SIGCHLD comes. */
bool dev_etcd_has_ended(dev_etcd *d, ew_error *err);

/* Ends it and waits until it is gone, and its temporary directory. NULL is fine. */
void dev_etcd_stop(dev_etcd *d);

#endif
