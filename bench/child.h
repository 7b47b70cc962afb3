/* The parent's side of a role (role.h): a process that is started, spoken to, and ended. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include "bench.h"

#include <sys/types.h>

typedef struct child {
    const char *role;
    pid_t pid;
    int in, out; /* its standard input and output */
    char *line;  /* what has been read of it */
    size_t len, capacity;
} child;

/* Starts a role; the format makes its arguments, separated by spaces. False, and noted, when that fails. */
bool child_start(child *c, bench *b, const char *role, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The next line it says. NULL, and noted, when it fails, is silent for `timeout_s`, or we are asked to stop. */
json_t *child_read(child *c, bench *b, int timeout_s);

/* Ends the process if it has not ended by itself. A child that was never started is fine. */
void child_end(child *c);

/* All three in one, for a role that needs no more: its result. */
json_t *child_run(bench *b, const char *role, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
