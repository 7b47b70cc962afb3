/* What a worker's process tells the harness: a file of records that only grows. What is written is safe from then on,
 * also from a SIGKILL of the writer, since it is with the kernel. */
#ifndef CHAOS_JOURNAL_H
#define CHAOS_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A group's identity: which worker, which run of it, which group of that run (from 1). */
typedef struct group_id {
    uint32_t worker, run, number;
} group_id;

typedef enum group_kind {
    GROUP_TRANSFER, /* from one account to another: `from`, `to`, `amount` */
    GROUP_SUM,      /* raises the worker's own cell of every row */
    GROUP_SEAT,     /* takes the seat `to`, if it is free */
    GROUP_CLEAR,    /* deletes the seat `to` */
} group_kind;

typedef enum record_type {
    RECORD_STARTED = 1, /* a run begins */
    RECORD_MADE,        /* a group was made, before the tick that made it returned */
    RECORD_DONE,        /* its callback: `status`, `revision` */
    RECORD_ENDED,       /* the run ended: `status`, with `text` */
    RECORD_PROBLEM,     /* something that must never be: `text` */
} record_type;

typedef struct record {
    record_type type;
    group_id id;
    int64_t now_us; /* of the monotonic clock, which all processes share */
    int32_t status;
    group_kind kind;
    int32_t from, to, amount;
    int64_t revision; /* of a group that was made: the tick's */
    uint64_t state;   /* the same: the hash of what the tick saw */
    char text[96];
} record;

int64_t journal_now_us(void);

int journal_open(const char *path); /* to append: a descriptor; ends the program when it cannot */
void journal_write(int fd, const record *r);

/* Reads the next whole record behind `*offset` and moves that; false when there is none yet. */
bool journal_read(int fd, int64_t *offset, record *out);

/* How an id is written in values, "2.1.17", and read back. */
void group_id_print(group_id id, char *out, size_t size);
bool group_id_parse(const char *text, size_t len, group_id *out);

#endif
