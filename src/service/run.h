/* A whole run of etcdworkerd: from the settings to the exit status. */
#ifndef SERVICE_RUN_H
#define SERVICE_RUN_H

#include "service/settings.h"

/* Runs until the reactor is done, a signal, or --seconds. On the process's first thread, which it keeps. */
int run_service(const settings *s);

/* Looks at what a run would start with, without touching etcd: endpoints, the worker's options, the plugin. Problems go
 * to `problems`. EXIT_DONE, EXIT_CONFIG or EXIT_FAILED (memory). */
int run_check(const settings *s, FILE *problems);

#endif
