/* The command line. */
#ifndef BENCH_CMDLINE_H
#define BENCH_CMDLINE_H

#include "workload.h"

enum { CMDLINE_WORKLOADS_MAX = 32 };

typedef struct cmdline {
    const workload *workloads[CMDLINE_WORKLOADS_MAX];
    size_t count;
} cmdline;

/* Fills both. Answers -1 to go on, or the exit code: after --help and --version, or when something is wrong, which is
 * said. */
int cmdline_parse(cmdline *c, bench *b, int argc, char **argv);

#endif
