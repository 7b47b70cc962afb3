/* The signals that mean something to us, taken as events of one file descriptor. */
#ifndef SERVICE_SIGNALS_H
#define SERVICE_SIGNALS_H

#include <signal.h>

/* Blocks them in this thread, and so in every thread that it starts from now on; ignores SIGPIPE. `*stop` becomes those
 * that ask us to stop. Answers a signalfd of them and SIGCHLD, or -1. */
int signals_open(sigset_t *stop);

/* The next one that is there; 0 if none is. */
int signals_take(int fd);

#endif
