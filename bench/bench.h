/* What one call of the program is about: what was asked for, and what has been measured so far. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <jansson.h>

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_SETS_MAX = 32 };

typedef struct bench {
    /* The command line. */
    const char *etcd;      /* "dev", or endpoints */
    const char *disk;      /* a directory for the private etcd's data; NULL: a memory file system */
    const char *etcd_path; /* the server's program */
    const char *json_path, *html_path, *baseline_path;
    json_t *baseline;                 /* what is in that file */
    const char *sets[BENCH_SETS_MAX]; /* name=value of the workers' options */
    int set_count;
    int runs;
    int row_s; /* after so many seconds a row gets no further run; 0: it gets them all */
    bool smoke, verbose;
    bool wide;      /* all columns of the table */
    bool in_memory; /* the private etcd's data */
    bool plain;     /* without ew_process_prepare */
    int cpu;        /* of the workers; -1: any */

    /* The state. */
    const char *endpoints;
    int signals; /* a signalfd: readable once somebody wants us to stop */
    bool interrupted;
    int failures;
    char why[512];    /* of the last failure */
    int64_t salt;     /* in all keys, so that a server that is not ours can be measured twice */
    int rows_planned; /* for the progress line */
    json_t *rows;     /* name -> row; see measure.h */
} bench;

/* Whether somebody asked us to stop. */
bool bench_interrupted(bench *b);

/* Notes a failure; always false. */
bool bench_fail(bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
