/* Exact accounting: of every group, what its worker was told, and what etcd's history shows. */
#ifndef CHAOS_BOOKS_H
#define CHAOS_BOOKS_H

#include "chaos/worker.h"

typedef struct books books;

books *books_open(void);
void books_close(books *b);

void books_record(books *b, const record *r);                 /* a line of a journal */
void books_applied(books *b, group_id id, int64_t revision);  /* the id appeared in etcd */
void books_state(books *b, int64_t revision, uint64_t state); /* the hash of what etcd held from then on */
int64_t books_made_us(const books *b, group_id id);           /* when it was made; -1 if it was not */
/* etcd was taken away at `away_us`, and came back with the history up to `kept`: all of it will be told again. */
void books_rewrite(books *b, int64_t kept, int64_t away_us);
void books_run_over(books *b, group_id run, bool in_order);      /* no more lines of this run will come */
void books_balance(books *b, unsigned account, int64_t balance); /* what etcd holds at the end */
void books_cells(books *b, unsigned row, const int64_t *cells);  /* the same, WORKERS numbers */

typedef struct verdict {
    uint64_t groups;    /* made */
    uint64_t committed; /* told so, and written */
    uint64_t idle;      /* told so, with nothing to write */
    uint64_t unknown;   /* told so, or not told because the worker was killed: applied or not, both are right */
    uint64_t given_up;  /* told that nothing was written */
    uint64_t undone;    /* committed in a history that was lost, and not in the one that is */
    uint64_t lost;      /* told committed, and not in etcd's history */
    uint64_t doubled;   /* in it at more than one revision */
    uint64_t wrong;     /* any other difference between what was told and what is */
    char text[400];     /* the first few of these three */
} verdict;

/* After the last record, the last appearance, and the final state. */
void books_judge(books *b, verdict *out);

#endif
