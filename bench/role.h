/* Roles: the tasks of the benchmark's child processes.
 *
 * The program starts itself again as `etcdworker-bench --child ROLE endpoints=... name=value ...`, so that what is
 * measured has its own process, and thus its own CPU time, memory and context switches. A role writes lines of JSON to
 * its standard output, the last of which is its result. If it takes commands, it reads them as lines from its standard
 * input. */
#ifndef BENCH_ROLE_H
#define BENCH_ROLE_H

#include "histogram.h"
#include "usage.h"

#include <etcdworker/options.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct role_args {
    int count;
    char **words; /* name=value */
} role_args;

/* Return one argument; `otherwise` if it is missing. */
int64_t args_int(const role_args *a, const char *name, int64_t otherwise);
const char *args_text(const role_args *a, const char *name, const char *otherwise);

/* Returns the worker's options: the endpoints, the prefix, and the settings of --set. The caller frees them. */
ew_options *args_options(const role_args *a);

/* Prints one line for the parent, and releases `line`. */
void role_say(json_t *line);

/* Adds a histogram to a result. */
void role_add_latency(json_t *result, const histogram *h);

/* Waits for a line from the parent; ends the process if there is none. */
void role_await(void);

/* Prints an error for the parent and ends the process. */
_Noreturn void role_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One role. A list of roles ends with one that has no name. */
typedef struct role {
    const char *name;
    void (*run)(const role_args *a);
    bool worker; /* it measures a worker: the process is prepared (ew_process_prepare) */
} role;

/* The roles. Each ends with role_say or role_fail. */
void role_floor(const role_args *a);    /* one thread: a transaction, then its event */
void role_watch(const role_args *a);    /* one thread: reads a watch */
void role_write(const role_args *a);    /* an external writer */
void role_page(const role_args *a);     /* one thread: reads a prefix page by page */
void role_probe(const role_args *a);    /* the server's version and revision */
void role_chain(const role_args *a);    /* a worker: one key */
void role_groups(const role_args *a);   /* a worker: 64 groups a tick */
void role_follow(const role_args *a);   /* a worker that writes nothing */
void role_contend(const role_args *a);  /* workers that compete for one key */
void role_fanin(const role_args *a);    /* many workers with one client */
void role_pingpong(const role_args *a); /* nng alone */

/* Runs `--child ROLE name=value ...`; `argv` begins with ROLE. Returns the exit status. */
int role_main(const role *roles, int argc, char **argv);

#endif
