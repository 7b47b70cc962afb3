/* The ledger: exact accounting of every group. It compares what was reported to the workers with etcd's history. */
#ifndef CHAOS_LEDGER_H
#define CHAOS_LEDGER_H

#include "chaos/worker.h"

typedef struct ledger ledger;

ledger *ledger_open(void);
void ledger_close(ledger *l);

void ledger_record(ledger *l, const record *r);                 /* adds a record of a journal */
void ledger_applied(ledger *l, group_id id, int64_t revision);  /* a group's id appeared in etcd */
void ledger_state(ledger *l, int64_t revision, uint64_t state); /* the hash of etcd's state from this revision on */
int64_t ledger_made_us(const ledger *l, group_id id);           /* when the group was made; -1 if it was not */
/* etcd was stopped at `away_us` and restored to its history up to `kept`. The caller will report the whole restored
 * history again. */
void ledger_rewrite(ledger *l, int64_t kept, int64_t away_us);
void ledger_run_over(ledger *l, group_id run, bool in_order);      /* this run writes no more records */
void ledger_balance(ledger *l, unsigned account, int64_t balance); /* an account in etcd at the end */
void ledger_cells(ledger *l, unsigned row, const int64_t *cells);  /* a row in etcd at the end, WORKERS numbers */

typedef struct verdict {
    uint64_t groups;    /* made */
    uint64_t committed; /* reported as committed, and written */
    uint64_t idle;      /* reported as committed, with nothing to write */
    /* reported as unknown, or not reported because the worker was killed: applied or not, both are correct */
    uint64_t unknown;
    uint64_t given_up;   /* reported as not written */
    uint64_t undone;     /* committed in a history that was lost, and missing in the restored one */
    uint64_t lost;       /* reported as committed, and missing in etcd's history */
    uint64_t duplicated; /* in etcd's history at more than one revision */
    uint64_t wrong;      /* any other difference between reports and etcd */
    char text[400];      /* the first few lost, duplicated or wrong groups */
} verdict;

/* Compares. Call it after the last record, the last appearance and the final state. */
void ledger_judge(ledger *l, verdict *out);

#endif
