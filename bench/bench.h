/* The state of one run of the program: what was requested, and what has been measured so far. */
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
    json_t *baseline;                 /* the content of that file */
    const char *sets[BENCH_SETS_MAX]; /* name=value of the workers' options */
    int set_count;
    int runs;
    int row_s; /* a row that has taken more seconds gets no further run; 0: no limit */
    bool smoke, verbose;
    bool wide;      /* print all columns of the table */
    bool in_memory; /* the private etcd's data is on a memory file system */
    bool plain;     /* workers run without ew_process_prepare */
    int cpu;        /* of the workers; -1: any */

    /* The state. */
    const char *endpoints;
    int signals; /* a signalfd: readable once a signal asks for a stop */
    bool interrupted;
    int failures;
    char why[512];    /* the last failure */
    int64_t salt;     /* a part of all keys, so that an external etcd can be measured more than once */
    int rows_planned; /* for the progress line */
    json_t *rows;     /* name -> row; see measure.h */
} bench;

/* Returns whether a signal has asked for a stop. */
bool bench_interrupted(bench *b);

/* Records a failure in `why`; returns false always. */
bool bench_fail(bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
