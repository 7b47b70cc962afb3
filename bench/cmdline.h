/* The command line. */
#ifndef BENCH_CMDLINE_H
#define BENCH_CMDLINE_H

#include "workload.h"

enum { CMDLINE_WORKLOADS_MAX = 32 };

typedef struct cmdline {
    const workload *workloads[CMDLINE_WORKLOADS_MAX];
    size_t count;
} cmdline;

/* Fills `c` and `b`. Returns -1 to continue, or the exit status: after --help and --version, or after an error, which
 * has been printed. */
int cmdline_parse(cmdline *c, bench *b, int argc, char **argv);

#endif
