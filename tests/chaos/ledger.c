#include "chaos/ledger.h"

#include "lib/process.h"

#include <etcdworker/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

typedef struct group_entry {
    group_id id;
    bool made, done, written;
    group_kind kind;
    int from, to, amount;
    int64_t made_us, done_us, tick_revision;
    uint64_t tick_state;
    int status;
    int64_t reported_revision;
    unsigned dones, appearances;
    int64_t revisions[2]; /* of the first and the last appearance */
    UT_hash_handle hh;
} group_entry;

/* A run of a worker. The key has number 0. */
typedef struct run_entry {
    group_id id;
    bool in_order;
    UT_hash_handle hh;
} run_entry;

typedef struct moment {
    int64_t revision;
    uint64_t state;
} moment;

/* A history that was lost after revision `kept`. */
typedef struct lost_history {
    int64_t kept, away_us;
    moment *moments;
    size_t moment_count;
} lost_history;

struct ledger {
    group_entry *groups;
    run_entry *runs;
    moment *moments; /* sorted by revision */
    size_t moment_count, moment_capacity;
    lost_history *lost;
    size_t lost_count;
    int64_t balances[ACCOUNTS], cells[ROWS][WORKERS];
};

ledger *ledger_open(void) {
    ledger *l = calloc(1, sizeof *l);
    if (!l)
        process_die("out of memory");
    return l;
}

void ledger_close(ledger *l) {
    group_entry *p, *next_group;
    run_entry *r, *next_run;
    if (!l)
        return;
    HASH_ITER(hh, l->groups, p, next_group) {
        HASH_DEL(l->groups, p);
        free(p);
    }
    HASH_ITER(hh, l->runs, r, next_run) {
        HASH_DEL(l->runs, r);
        free(r);
    }
    for (size_t i = 0; i < l->lost_count; i++)
        free(l->lost[i].moments);
    free(l->lost);
    free(l->moments);
    free(l);
}

static group_entry *page_of(ledger *l, group_id id) {
    group_entry *p;
    HASH_FIND(hh, l->groups, &id, sizeof id, p);
    if (p)
        return p;
    p = calloc(1, sizeof *p);
    if (!p)
        process_die("out of memory");
    p->id = id;
    HASH_ADD(hh, l->groups, id, sizeof p->id, p);
    return p;
}

void ledger_record(ledger *l, const record *r) {
    if (r->type != RECORD_MADE && r->type != RECORD_DONE)
        return;
    group_entry *p = page_of(l, r->id);
    if (r->type == RECORD_MADE) {
        p->made = true;
        p->made_us = r->now_us;
        p->tick_revision = r->revision;
        p->tick_state = r->state;
        p->kind = r->kind;
        p->from = r->from;
        p->to = r->to;
        p->amount = r->amount;
    } else {
        p->done = true;
        p->dones++;
        p->done_us = r->now_us;
        p->status = r->status;
        p->reported_revision = r->revision;
        p->written = r->amount != 0;
    }
}

int64_t ledger_made_us(const ledger *l, group_id id) {
    group_entry *p;
    HASH_FIND(hh, l->groups, &id, sizeof id, p);
    return p && p->made ? p->made_us : -1;
}

void ledger_applied(ledger *l, group_id id, int64_t revision) {
    group_entry *p = page_of(l, id);
    if (p->appearances++ == 0)
        p->revisions[0] = revision;
    p->revisions[1] = revision;
}

void ledger_state(ledger *l, int64_t revision, uint64_t state) {
    if (l->moment_count == l->moment_capacity) {
        l->moment_capacity = l->moment_capacity > 0 ? 2 * l->moment_capacity : 1024;
        l->moments = realloc(l->moments, l->moment_capacity * sizeof *l->moments);
        if (!l->moments)
            process_die("out of memory");
    }
    l->moments[l->moment_count++] = (moment){revision, state};
}

void ledger_rewrite(ledger *l, int64_t kept, int64_t away_us) {
    group_entry *p, *next;
    l->lost = realloc(l->lost, (l->lost_count + 1) * sizeof *l->lost);
    if (!l->lost)
        process_die("out of memory");
    l->lost[l->lost_count++] = (lost_history){kept, away_us, l->moments, l->moment_count};
    l->moments = NULL;
    l->moment_count = l->moment_capacity = 0;
    HASH_ITER(hh, l->groups, p, next) {
        p->appearances = 0;
        p->revisions[0] = p->revisions[1] = 0;
    }
}

void ledger_run_over(ledger *l, group_id run, bool in_order) {
    run_entry *r = calloc(1, sizeof *r);
    if (!r)
        process_die("out of memory");
    run.number = 0;
    r->id = run;
    r->in_order = in_order;
    HASH_ADD(hh, l->runs, id, sizeof r->id, r);
}

void ledger_balance(ledger *l, unsigned account, int64_t balance) {
    if (account < ACCOUNTS)
        l->balances[account] = balance;
}

void ledger_cells(ledger *l, unsigned row, const int64_t *cells) {
    if (row < ROWS)
        memcpy(l->cells[row], cells, sizeof l->cells[row]);
}

/* ---- the verdict ---- */

static void complain(verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(verdict *v, const char *format, ...) {
    size_t used = strlen(v->text);
    va_list args;
    va_start(args, format);
    vsnprintf(v->text + used, sizeof v->text - used, format, args);
    va_end(args);
    used = strlen(v->text);
    snprintf(v->text + used, sizeof v->text - used, "; ");
}

static bool ended_in_order(ledger *l, group_id id) {
    run_entry *r;
    id.number = 0;
    HASH_FIND(hh, l->runs, &id, sizeof id, r);
    return r && r->in_order;
}

static void wrong(verdict *v, const group_entry *p, const char *what) {
    v->wrong++;
    complain(v, "group %u.%u.%u %s: %s at %lld, seen %u times, at %lld", p->id.worker, p->id.run, p->id.number, what,
             p->done ? ew_errname(p->status) : "not reported", (long long)p->reported_revision, p->appearances,
             (long long)p->revisions[0]);
}

static bool is_undone(const ledger *l, const group_entry *p) {
    for (size_t i = 0; i < l->lost_count; i++)
        if (p->done_us < l->lost[i].away_us && p->reported_revision > l->lost[i].kept)
            return true;
    return false;
}

/* Checks what <etcdworker/group.h> promises for ew_group_on_done. */
static void judge_promise(ledger *l, verdict *v, const group_entry *p) {
    if (!p->done) {
        v->unknown++;
        if (ended_in_order(l, p->id))
            wrong(v, p, "was never reported");
    } else if (p->dones > 1) {
        wrong(v, p, "was reported more than once");
    } else if (p->status == EW_ERR_UNKNOWN_OUTCOME) {
        v->unknown++;
    } else if (p->status != EW_OK) {
        v->given_up++;
        if (p->appearances > 0)
            wrong(v, p, "was reported as not written");
    } else if (!p->written) {
        v->idle++;
        if (p->appearances > 0)
            wrong(v, p, "was reported as having nothing to write");
    } else {
        v->committed++;
        if (p->appearances == 0 && is_undone(l, p)) {
            v->undone++;
        } else if (p->appearances == 0) {
            v->lost++;
            complain(v, "group %u.%u.%u is lost: committed at %lld", p->id.worker, p->id.run, p->id.number,
                     (long long)p->reported_revision);
        } else if (p->appearances == 1 && p->revisions[0] != p->reported_revision) {
            wrong(v, p, "was reported with another revision");
        }
    }
}

/* Returns the hash of what etcd held at that revision. */
static uint64_t state_at(const moment *moments, size_t count, int64_t revision) {
    size_t low = 0, high = count; /* search for the last moment that is not after the revision */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (moments[middle].revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    const model nothing = {0};
    return low > 0 ? moments[low - 1].state : model_hash(&nothing);
}

/* SEMANTICS 15: checks that the tick saw what etcd held at its revision. A state of a lost history is allowed while the
 * worker could not yet know of the loss. */
static void judge_tick(const ledger *l, verdict *v, const group_entry *p) {
    enum { FOUND_OUT_US = 20000000 };
    bool was = state_at(l->moments, l->moment_count, p->tick_revision) == p->tick_state;
    for (size_t i = 0; i < l->lost_count && !was; i++) {
        const lost_history *h = &l->lost[i];
        was = p->made_us < h->away_us + FOUND_OUT_US &&
              state_at(h->moments, h->moment_count, p->tick_revision) == p->tick_state;
    }
    if (!was)
        wrong(v, p, "was made by a tick that saw a state that etcd never had");
}

static void judge(ledger *l, verdict *v, const group_entry *p) {
    if (!p->made) {
        wrong(v, p, "was never made");
        return;
    }
    v->groups++;
    judge_tick(l, v, p);
    judge_promise(l, v, p);
    if (p->appearances > 1) {
        v->duplicated++;
        complain(v, "group %u.%u.%u is duplicated: at %lld and %lld", p->id.worker, p->id.run, p->id.number,
                 (long long)p->revisions[0], (long long)p->revisions[1]);
    }
}

/* Checks that the final state is the sum of the groups that were applied. */
static void judge_state(ledger *l, verdict *v) {
    int64_t balances[ACCOUNTS] = {0}, sums[WORKERS] = {0};
    group_entry *p, *next;
    HASH_ITER(hh, l->groups, p, next) {
        if (p->appearances == 0 || !p->made)
            continue;
        if (p->kind == GROUP_TRANSFER) {
            balances[p->from] -= p->amount;
            balances[p->to] += p->amount;
        }
        sums[p->id.worker] += p->kind == GROUP_SUM;
    }
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        if (balances[i] == l->balances[i])
            continue;
        v->wrong++;
        complain(v, "account %u holds %lld, expected %lld", i, (long long)l->balances[i], (long long)balances[i]);
    }
    for (unsigned row = 0; row < ROWS; row++) {
        for (unsigned i = 0; i < WORKERS; i++) {
            if (l->cells[row][i] == sums[i])
                continue;
            v->wrong++;
            complain(v, "cell %u of row %u is %lld, expected %lld", i, row, (long long)l->cells[row][i],
                     (long long)sums[i]);
        }
    }
}

void ledger_judge(ledger *l, verdict *out) {
    group_entry *p, *next;
    *out = (verdict){0};
    HASH_ITER(hh, l->groups, p, next) {
        judge(l, out, p);
    }
    judge_state(l, out);
}
