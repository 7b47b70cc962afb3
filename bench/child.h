/* The parent's side of a role (role.h): starts a child process, reads its output and ends it. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include "bench.h"

#include <sys/types.h>

typedef struct child {
    const char *role;
    pid_t pid;
    int in, out; /* its standard input and output */
    char *line;  /* output that was read and not yet returned */
    size_t len, capacity;
} child;

/* Starts a role; the format makes its arguments, separated by spaces. Returns false if that fails, which is recorded
 * with bench_fail. */
bool child_start(child *c, bench *b, const char *role, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Returns the next line of the role's output; the caller releases it. Returns NULL if the role fails or no line comes
 * within `timeout_s` seconds, which is recorded with bench_fail, or if a signal asks for a stop. */
json_t *child_read(child *c, bench *b, int timeout_s);

/* Kills the process if it still runs, and releases what `c` holds. A child that was never started is allowed. */
void child_end(child *c);

/* Starts a role, reads one line, its result, and ends it. NULL as for child_read. */
json_t *child_run(bench *b, const char *role, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
