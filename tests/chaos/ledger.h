/* Exact accounting: of every group, what its worker was told, and what etcd's history shows. */
#ifndef CHAOS_LEDGER_H
#define CHAOS_LEDGER_H

#include "chaos/worker.h"

typedef struct ledger ledger;

ledger *ledger_open(void);
void ledger_close(ledger *l);

void ledger_record(ledger *l, const record *r);                 /* a line of a journal */
void ledger_applied(ledger *l, group_id id, int64_t revision);  /* the id appeared in etcd */
void ledger_state(ledger *l, int64_t revision, uint64_t state); /* the hash of what etcd held from then on */
int64_t ledger_made_us(const ledger *l, group_id id);           /* when it was made; -1 if it was not */
/* etcd was taken away at `away_us`, and came back with the history up to `kept`: all of it will be told again. */
void ledger_rewrite(ledger *l, int64_t kept, int64_t away_us);
void ledger_run_over(ledger *l, group_id run, bool in_order);      /* no more lines of this run will come */
void ledger_balance(ledger *l, unsigned account, int64_t balance); /* what etcd holds at the end */
void ledger_cells(ledger *l, unsigned row, const int64_t *cells);  /* the same, WORKERS numbers */

typedef struct verdict {
    uint64_t groups;     /* made */
    uint64_t committed;  /* told so, and written */
    uint64_t idle;       /* told so, with nothing to write */
    uint64_t unknown;    /* told so, or not told because the worker was killed: applied or not, both are right */
    uint64_t given_up;   /* told that nothing was written */
    uint64_t undone;     /* committed in a history that was lost, and not in the one that is */
    uint64_t lost;       /* told committed, and not in etcd's history */
    uint64_t duplicated; /* in it at more than one revision */
    uint64_t wrong;      /* any other difference between what was told and what is */
    char text[400];      /* the first few of these three */
} verdict;

/* After the last record, the last appearance, and the final state. */
void ledger_judge(ledger *l, verdict *out);

#endif
