/* The signals that etcdworkerd handles, read from one signalfd. */
#ifndef SERVICE_SIGNALS_H
#define SERVICE_SIGNALS_H

#include <signal.h>

/* Blocks the signals in this thread, and so in every thread that it starts later; ignores SIGPIPE. `*stop` becomes the
 * set of signals that ask for a stop. Returns a signalfd of these and SIGCHLD, or -1. */
int signals_open(sigset_t *stop);

/* Returns the next pending signal; 0 if there is none. */
int signals_take(int fd);

#endif
