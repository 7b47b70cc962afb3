/* The checks that the reactor of Bank and Sum makes in each tick. */
#include "chaos/reactor.h"

#include <stdarg.h>
#include <stdio.h>

void teller_problem(teller *b, const char *format, ...) {
    if (b->troubled)
        return;
    b->troubled = true;
    record r = {.type = RECORD_PROBLEM, .id = b->id};
    va_list args;
    va_start(args, format);
    vsnprintf(r.text, sizeof r.text, format, args);
    va_end(args);
    journal_write(b->journal, &r);
}

/* ---- the model ---- */

int teller_reset(void *self) {
    teller *b = self;
    b->model = (model){0};
    return EW_OK;
}

/* SEMANTICS 8: once for each event, in order. */
int teller_update(void *self, const ew_event *event) {
    teller *b = self;
    const ew_entry *e = &event->entry;
    model_key *k = model_find(&b->model, b->prefix, e->key);
    if (!k)
        return EW_OK;
    if (e->mod_revision <= k->mod_revision && b->control->restores == 0)
        teller_problem(b, "%.*s: revision %lld after %lld", (int)e->key.len, (const char *)e->key.data,
                       (long long)e->mod_revision, (long long)k->mod_revision);
    model_set(k, event->kind, e->value, e->mod_revision);
    return EW_OK;
}

/* ---- the checks ---- */

/* Scans the keys of one kind and compares each with the model. Returns their number. */
static unsigned scan(teller *b, const ew_tick *t, const char *kind, void (*visit)(teller *, const ew_entry *, void *),
                     void *arg) {
    char prefix[96];
    unsigned count = 0;
    ew_entry e = {0};
    snprintf(prefix, sizeof prefix, "%s/%s/", b->prefix, kind);
    for (; ew_tick_scan(t, ew_str(prefix), &e); count++) {
        const model_key *k = model_find(&b->model, b->prefix, e.key);
        if (!k || !k->present || k->mod_revision != e.mod_revision || !ew_slice_equal(ew_str(k->value), e.value))
            teller_problem(b, "%.*s at %lld differs from the updates", (int)e.key.len, (const char *)e.key.data,
                           (long long)ew_tick_revision(t));
        if (visit)
            visit(b, &e, arg);
    }
    return count;
}

static void add_balance(teller *b, const ew_entry *e, void *arg) {
    int64_t balance = 0, *sum = arg;
    if (!ew_slice_int(e->value, &balance))
        teller_problem(b, "an account is not a number");
    *sum += balance;
}

static void compare_row(teller *b, const ew_entry *e, void *arg) {
    ew_slice *first = arg;
    if (!first->data)
        *first = e->value;
    if (!ew_slice_equal(*first, e->value))
        teller_problem(b, "rows differ: \"%.*s\", \"%.*s\"", (int)first->len, (const char *)first->data,
                       (int)e->value.len, (const char *)e->value.data);
}

void teller_check(teller *b, const ew_tick *t) {
    int64_t sum = 0, revision = ew_tick_revision(t);
    ew_slice first = {0};
    if (b->undecided != 0)
        teller_problem(b, "a tick with %u groups undecided", b->undecided);
    bool fell = revision < b->last_revision || revision < b->barrier; /* SEMANTICS 15 */
    if (fell && b->restores < b->control->restores) {                 /* SEMANTICS 14 */
        b->restores = b->control->restores;
        b->barrier = 0;
    } else if (fell)
        teller_problem(b, "a tick at %lld after one at %lld, own commit at %lld", (long long)revision,
                       (long long)b->last_revision, (long long)b->barrier);
    b->last_revision = revision;
    unsigned count = scan(b, t, "account", add_balance, &sum);
    if (sum != 0)
        teller_problem(b, "the accounts add up to %lld at %lld", (long long)sum, (long long)revision);
    unsigned rows = scan(b, t, "row", compare_row, &first);
    if (rows != 0 && rows != ROWS)
        teller_problem(b, "%u rows at %lld", rows, (long long)revision);
    count += rows + scan(b, t, "seat", NULL, NULL);
    for (size_t i = 0; i < MODEL_KEYS; i++)
        count -= b->model.keys[i].present;
    if (count != 0)
        teller_problem(b, "the updates gave other keys than there are at %lld", (long long)revision);
    b->state = model_hash(&b->model);
}
