/* `--dev`: a private etcd, on free ports of 127.0.0.1, for the lifetime of this process.
 *
 * The server is the child of a guard process: the same program, started as `etcdworkerd --internal-dev-guard ...`. The
 * guard asks the kernel for a signal when this process dies for any reason, and then ends the server and removes its
 * data. The server asks the kernel to be killed when the guard dies. So a crash or a kill -9 of either process leaves
 * nothing. Guard and server are in a session of their own: Ctrl-C in the terminal reaches only this process, and the
 * server runs until the last transaction is decided.
 *
 * Start it before the first thread and before any use of gRPC or nng, because it spawns processes. */
#ifndef SERVICE_DEV_ETCD_H
#define SERVICE_DEV_ETCD_H

#include <etcdworker/error.h>
#include <signal.h>

typedef struct dev_etcd dev_etcd;

/* Starts the server and waits until it answers with its own random name, which proves that no other server has the
 * port. `program` is a path, or a name to look up in PATH. `data` is a directory to keep, created if needed, or "" for
 * a temporary one. The signals of `stop`, and SIGCHLD, must be blocked; a signal of `stop` ends the wait.
 *   EW_ERR_INVALID      there is no such program, or the directory cannot be used
 *   EW_ERR_UNAVAILABLE  the server exited, or did not answer in time; the detail has its last log line
 *   EW_ERR_CANCELLED    a signal came; it stays pending, for the next wait
 *   EW_ERR_SYSTEM, EW_ERR_NO_MEMORY */
int dev_etcd_start(dev_etcd **out, const char *program, const char *data, const sigset_t *stop, ew_error *err);

/* Return "127.0.0.1:port", and the directory with the server's data and etcd.log. */
const char *dev_etcd_endpoint(const dev_etcd *d);
const char *dev_etcd_directory(const dev_etcd *d);

/* Returns whether the server has exited by itself; then `err` has its last log line. Call it after SIGCHLD. */
bool dev_etcd_has_ended(dev_etcd *d, ew_error *err);

/* Ends the server, waits until it has exited, removes its temporary directory and frees `d`. NULL is allowed. */
void dev_etcd_stop(dev_etcd *d);

#endif
