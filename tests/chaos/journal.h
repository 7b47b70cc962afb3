/* A worker process's journal: an append-only file of records that the harness reads. A written record survives a
 * SIGKILL of the process, because the kernel has it. */
#ifndef CHAOS_JOURNAL_H
#define CHAOS_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A group's identity: the worker, the run of that worker, and the group's number in that run (from 1). */
typedef struct group_id {
    uint32_t worker, run, number;
} group_id;

typedef enum group_kind {
    GROUP_TRANSFER, /* between accounts: `from`, `to`, `amount` */
    GROUP_SUM,      /* increments the worker's own cell of every row */
    GROUP_SEAT,     /* takes the seat `to` if it is free */
    GROUP_CLEAR,    /* deletes the seat `to` */
} group_kind;

typedef enum record_type {
    RECORD_STARTED = 1, /* a run begins */
    RECORD_MADE,        /* a group was made; written before the tick that made it returns */
    RECORD_DONE,        /* its callback was called: `status`, `revision` */
    RECORD_ENDED,       /* the run ended: `status`, with `text` */
    RECORD_PROBLEM,     /* a violation: `text` */
} record_type;

typedef struct record {
    record_type type;
    group_id id;
    int64_t now_us; /* CLOCK_MONOTONIC, which all processes share */
    int32_t status;
    group_kind kind;
    int32_t from, to, amount;
    int64_t revision; /* RECORD_MADE: the tick's revision */
    uint64_t state;   /* RECORD_MADE: the hash of what the tick saw */
    char text[96];
} record;

int64_t journal_now_us(void);

int journal_open(const char *path); /* opens for append and returns a descriptor; ends the program on errors */
void journal_write(int fd, const record *r);

/* Reads the next complete record at `*offset` and advances `*offset`. Returns false if there is none yet. */
bool journal_read(int fd, int64_t *offset, record *out);

/* Writes an id as text, "2.1.17", and parses it. */
void group_id_print(group_id id, char *out, size_t size);
bool group_id_parse(const char *text, size_t len, group_id *out);

#endif
