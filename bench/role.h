/* Roles: what a child process of the benchmark can be.
 *
 * The program starts itself again as `etcdworker-bench --child ROLE endpoints=... name=value ...`, so that what is
 * measured has a process, and with it the CPU time, the memory and the context switches, to itself. A role answers with
 * lines of JSON on its standard output, the last of which is its result; commands, where it takes any, are lines on its
 * standard input. */
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

/* One argument; `otherwise` if it was not given. */
int64_t args_int(const role_args *a, const char *name, int64_t otherwise);
const char *args_text(const role_args *a, const char *name, const char *otherwise);

/* The worker's options: the endpoints, the prefix, and what the command line gave with --set. */
ew_options *args_options(const role_args *a);

/* Prints one line for the parent. The result is freed. */
void role_say(json_t *line);

/* Adds the histogram to a result. */
void role_add_latency(json_t *result, const histogram *h);

/* Waits for a line from the parent; the role ends when there is none. */
void role_await(void);

/* Tells the parent what went wrong, and ends the process. */
_Noreturn void role_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a program can be. A list of them ends with one that has no name. */
typedef struct role {
    const char *name;
    void (*run)(const role_args *a);
    bool worker; /* what is measured is a worker: the process is prepared as one */
} role;

/* The roles. Each ends by role_say or role_fail. */
void role_floor(const role_args *a);    /* one thread: a transaction, then its event */
void role_watch(const role_args *a);    /* one thread: reads a watch */
void role_write(const role_args *a);    /* a foreign writer */
void role_page(const role_args *a);     /* one thread: reads a prefix page by page */
void role_probe(const role_args *a);    /* what server is there */
void role_chain(const role_args *a);    /* a worker: one key */
void role_groups(const role_args *a);   /* a worker: 64 groups a tick */
void role_follow(const role_args *a);   /* a worker that writes nothing */
void role_contend(const role_args *a);  /* workers that fight for one key */
void role_fanin(const role_args *a);    /* many workers with one client */
void role_pingpong(const role_args *a); /* nng alone */

/* Runs `--child ROLE name=value ...`; `argv` begins at ROLE. Answers the exit code. */
int role_main(const role *roles, int argc, char **argv);

#endif
