/* A whole run of etcdworkerd: from the settings to the exit status. */
#ifndef SERVICE_RUN_H
#define SERVICE_RUN_H

#include "service/settings.h"

/* Runs until the reactor finishes, a signal comes, or --seconds have passed. Returns the exit status. Call it on the
 * process's first thread. */
int run_service(const settings *s);

/* Checks what a run would start with, without contacting etcd: files, endpoints, the worker's options, the reactor, the
 * HTTP address. Errors go to `problems`. Returns EXIT_DONE, EXIT_CONFIG or EXIT_FAILED (memory). */
int run_check(const settings *s, FILE *problems);

#endif
