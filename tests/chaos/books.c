#include "chaos/books.h"

#include "lib/process.h"

#include <etcdworker/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

typedef struct page {
    group_id id;
    bool made, done, written;
    group_kind kind;
    int from, to, amount;
    int64_t made_us, done_us, tick_revision;
    uint64_t tick_state;
    int status;
    int64_t told_revision;
    unsigned dones, appearances;
    int64_t revisions[2]; /* of the first and the last appearance */
    UT_hash_handle hh;
} page;

/* A run of a worker; its number is 0 in the key. */
typedef struct run_page {
    group_id id;
    bool in_order;
    UT_hash_handle hh;
} run_page;

typedef struct moment {
    int64_t revision;
    uint64_t state;
} moment;

/* A history that was lost, from `kept` on. */
typedef struct lost_history {
    int64_t kept, away_us;
    moment *moments;
    size_t moment_count;
} lost_history;

struct books {
    page *pages;
    run_page *runs;
    moment *moments; /* by revision */
    size_t moment_count, moment_capacity;
    lost_history *lost;
    size_t lost_count;
    int64_t balances[ACCOUNTS], cells[ROWS][WORKERS];
};

books *books_open(void) {
    books *b = calloc(1, sizeof *b);
    if (b == NULL)
        process_die("out of memory");
    return b;
}

void books_close(books *b) {
    page *p, *next_page;
    run_page *r, *next_run;
    if (b == NULL)
        return;
    HASH_ITER(hh, b->pages, p, next_page) {
        HASH_DEL(b->pages, p);
        free(p);
    }
    HASH_ITER(hh, b->runs, r, next_run) {
        HASH_DEL(b->runs, r);
        free(r);
    }
    for (size_t i = 0; i < b->lost_count; i++)
        free(b->lost[i].moments);
    free(b->lost);
    free(b->moments);
    free(b);
}

static page *page_of(books *b, group_id id) {
    page *p;
    HASH_FIND(hh, b->pages, &id, sizeof id, p);
    if (p != NULL)
        return p;
    p = calloc(1, sizeof *p);
    if (p == NULL)
        process_die("out of memory");
    p->id = id;
    HASH_ADD(hh, b->pages, id, sizeof p->id, p);
    return p;
}

void books_record(books *b, const record *r) {
    if (r->type != RECORD_MADE && r->type != RECORD_DONE)
        return;
    page *p = page_of(b, r->id);
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
        p->told_revision = r->revision;
        p->written = r->amount != 0;
    }
}

int64_t books_made_us(const books *b, group_id id) {
    page *p;
    HASH_FIND(hh, b->pages, &id, sizeof id, p);
    return p != NULL && p->made ? p->made_us : -1;
}

void books_applied(books *b, group_id id, int64_t revision) {
    page *p = page_of(b, id);
    if (p->appearances++ == 0)
        p->revisions[0] = revision;
    p->revisions[1] = revision;
}

void books_state(books *b, int64_t revision, uint64_t state) {
    if (b->moment_count == b->moment_capacity) {
        b->moment_capacity = b->moment_capacity > 0 ? 2 * b->moment_capacity : 1024;
        b->moments = realloc(b->moments, b->moment_capacity * sizeof *b->moments);
        if (b->moments == NULL)
            process_die("out of memory");
    }
    b->moments[b->moment_count++] = (moment){revision, state};
}

void books_rewrite(books *b, int64_t kept, int64_t away_us) {
    page *p, *next;
    b->lost = realloc(b->lost, (b->lost_count + 1) * sizeof *b->lost);
    if (b->lost == NULL)
        process_die("out of memory");
    b->lost[b->lost_count++] = (lost_history){kept, away_us, b->moments, b->moment_count};
    b->moments = NULL;
    b->moment_count = b->moment_capacity = 0;
    HASH_ITER(hh, b->pages, p, next) {
        p->appearances = 0;
        p->revisions[0] = p->revisions[1] = 0;
    }
}

void books_run_over(books *b, group_id run, bool in_order) {
    run_page *r = calloc(1, sizeof *r);
    if (r == NULL)
        process_die("out of memory");
    run.number = 0;
    r->id = run;
    r->in_order = in_order;
    HASH_ADD(hh, b->runs, id, sizeof r->id, r);
}

void books_balance(books *b, unsigned account, int64_t balance) {
    if (account < ACCOUNTS)
        b->balances[account] = balance;
}

void books_cells(books *b, unsigned row, const int64_t *cells) {
    if (row < ROWS)
        memcpy(b->cells[row], cells, sizeof b->cells[row]);
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

static bool ended_in_order(books *b, group_id id) {
    run_page *r;
    id.number = 0;
    HASH_FIND(hh, b->runs, &id, sizeof id, r);
    return r != NULL && r->in_order;
}

static void wrong(verdict *v, const page *p, const char *what) {
    v->wrong++;
    complain(v, "group %u.%u.%u %s: %s at %lld, seen %u times, at %lld", p->id.worker, p->id.run, p->id.number, what,
             p->done ? ew_errname(p->status) : "not done", (long long)p->told_revision, p->appearances,
             (long long)p->revisions[0]);
}

static bool is_undone(const books *b, const page *p) {
    for (size_t i = 0; i < b->lost_count; i++)
        if (p->done_us < b->lost[i].away_us && p->told_revision > b->lost[i].kept)
            return true;
    return false;
}

/* What <etcdworker/group.h> promises at ew_group_on_done. */
static void judge_promise(books *b, verdict *v, const page *p) {
    if (!p->done) {
        v->unknown++;
        if (ended_in_order(b, p->id))
            wrong(v, p, "was never told of");
    } else if (p->dones > 1) {
        wrong(v, p, "was told of more than once");
    } else if (p->status == EW_ERR_UNKNOWN_OUTCOME) {
        v->unknown++;
    } else if (p->status != EW_OK) {
        v->given_up++;
        if (p->appearances > 0)
            wrong(v, p, "was told as not written");
    } else if (!p->written) {
        v->idle++;
        if (p->appearances > 0)
            wrong(v, p, "was told to have had nothing to write");
    } else {
        v->committed++;
        if (p->appearances == 0 && is_undone(b, p)) {
            v->undone++;
        } else if (p->appearances == 0) {
            v->lost++;
            complain(v, "group %u.%u.%u is lost: committed at %lld", p->id.worker, p->id.run, p->id.number,
                     (long long)p->told_revision);
        } else if (p->appearances == 1 && p->revisions[0] != p->told_revision) {
            wrong(v, p, "has another revision");
        }
    }
}

/* What etcd held at that revision. */
static uint64_t state_at(const moment *moments, size_t count, int64_t revision) {
    size_t low = 0, high = count; /* the last moment that is not after it */
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

/* SEMANTICS 15: what the tick saw is what etcd held at that revision; in a history that is lost, if the worker could
 * not have found that out. */
static void judge_tick(const books *b, verdict *v, const page *p) {
    enum { FOUND_OUT_US = 20000000 };
    bool was = state_at(b->moments, b->moment_count, p->tick_revision) == p->tick_state;
    for (size_t i = 0; i < b->lost_count && !was; i++) {
        const lost_history *l = &b->lost[i];
        was = p->made_us < l->away_us + FOUND_OUT_US &&
              state_at(l->moments, l->moment_count, p->tick_revision) == p->tick_state;
    }
    if (!was)
        wrong(v, p, "was made by a tick that saw what never was");
}

static void judge(books *b, verdict *v, const page *p) {
    if (!p->made) {
        wrong(v, p, "was never made");
        return;
    }
    v->groups++;
    judge_tick(b, v, p);
    judge_promise(b, v, p);
    if (p->appearances > 1) {
        v->doubled++;
        complain(v, "group %u.%u.%u is doubled: at %lld and %lld", p->id.worker, p->id.run, p->id.number,
                 (long long)p->revisions[0], (long long)p->revisions[1]);
    }
}

/* The final state must be what the groups that were seen add up to. */
static void judge_state(books *b, verdict *v) {
    int64_t balances[ACCOUNTS] = {0}, sums[WORKERS] = {0};
    page *p, *next;
    HASH_ITER(hh, b->pages, p, next) {
        if (p->appearances == 0 || !p->made)
            continue;
        if (p->kind == GROUP_TRANSFER) {
            balances[p->from] -= p->amount;
            balances[p->to] += p->amount;
        }
        sums[p->id.worker] += p->kind == GROUP_SUM;
    }
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        if (balances[i] == b->balances[i])
            continue;
        v->wrong++;
        complain(v, "account %u holds %lld instead of %lld", i, (long long)b->balances[i], (long long)balances[i]);
    }
    for (unsigned row = 0; row < ROWS; row++) {
        for (unsigned i = 0; i < WORKERS; i++) {
            if (b->cells[row][i] == sums[i])
                continue;
            v->wrong++;
            complain(v, "cell %u of row %u is %lld instead of %lld", i, row, (long long)b->cells[row][i],
                     (long long)sums[i]);
        }
    }
}

void books_judge(books *b, verdict *out) {
    page *p, *next;
    *out = (verdict){0};
    HASH_ITER(hh, b->pages, p, next) {
        judge(b, out, p);
    }
    judge_state(b, out);
}
