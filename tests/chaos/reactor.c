#include "chaos/reactor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST_TRANSFERS = 2 };

uint64_t teller_roll(teller *b, uint64_t sides) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random % sides;
}

/* ---- one group ---- */

/* What a group does. Shared by the group's patch and its callback; the later of them frees it. */
typedef struct group_work {
    teller *teller;
    group_id id;
    group_kind kind;
    int from, to;
    int64_t amount;
    bool writes; /* whether the patch's last run wrote anything; for the journal only */
    int users;
} group_work;

static void leave(void *arg) {
    group_work *e = arg;
    if (--e->users == 0)
        free(e);
}

static ew_slice key_of(const group_work *e, const char *kind, int n, char *out, size_t size) {
    return (ew_slice){out, (size_t)snprintf(out, size, "%s/%s/%02d", e->teller->prefix, kind, n)};
}

static int move_money(const group_work *e, ew_view *view, int account, int64_t amount) {
    char key[96], text[32];
    ew_entry entry;
    int64_t balance = 0;
    ew_slice k = key_of(e, "account", account, key, sizeof key);
    if (ew_view_get(view, k, &entry) == EW_OK && !ew_slice_int(entry.value, &balance))
        return EW_ERR_REACTOR;
    snprintf(text, sizeof text, "%" PRId64, balance + amount);
    return ew_view_put(view, k, ew_str(text));
}

static int raise_cells(const group_work *e, ew_view *view) {
    for (int row = 0; row < ROWS; row++) {
        char key[96], text[MODEL_VALUE];
        ew_entry entry;
        int64_t cells[WORKERS] = {0};
        ew_slice k = key_of(e, "row", row, key, sizeof key);
        if (ew_view_get(view, k, &entry) == EW_OK && !row_parse(entry.value, cells))
            return EW_ERR_REACTOR;
        cells[e->id.worker]++;
        row_print(cells, text, sizeof text);
        int status = ew_view_put(view, k, ew_str(text));
        if (status != EW_OK)
            return status;
    }
    return EW_OK;
}

static int take_seat(group_work *e, ew_view *view) {
    char key[96], text[48];
    ew_entry entry;
    ew_slice k = key_of(e, "seat", e->to, key, sizeof key);
    e->writes = ew_view_get(view, k, &entry) != EW_OK;
    if (!e->writes)
        return EW_IGNORE;
    group_id_print(e->id, text, sizeof text);
    return ew_view_put(view, k, ew_str(text));
}

static int put_id(const group_work *e, ew_view *view) {
    char key[96], text[48];
    snprintf(key, sizeof key, "%s/id/%u/%03u", e->teller->prefix, e->id.worker, e->id.number % SLOTS);
    group_id_print(e->id, text, sizeof text);
    return ew_view_put(view, ew_str(key), ew_str(text));
}

static int run_errand(void *arg, ew_view *view) {
    group_work *e = arg;
    char key[96];
    int status = EW_OK;
    e->writes = true;
    switch (e->kind) {
    case GROUP_TRANSFER:
        status = move_money(e, view, e->from, -e->amount);
        if (status == EW_OK)
            status = move_money(e, view, e->to, e->amount);
        break;
    case GROUP_SUM:
        status = raise_cells(e, view);
        break;
    case GROUP_SEAT:
        return take_seat(e, view);
    case GROUP_CLEAR:
        status = ew_view_delete(view, key_of(e, "seat", e->to, key, sizeof key));
        break;
    }
    return status == EW_OK ? put_id(e, view) : status;
}

static void done(void *arg, ew_status status, int64_t revision) {
    group_work *e = arg;
    teller *b = e->teller;
    if (b->undecided == 0)
        teller_problem(b, "group %u: more groups were reported than made", e->id.number);
    else
        b->undecided--;
    if (status == EW_OK && e->writes && revision > b->barrier)
        b->barrier = revision;
    /* `amount` is whether the group had anything to write. */
    record r = {.type = RECORD_DONE, .id = e->id, .kind = e->kind, .status = status, .revision = revision};
    r.amount = e->writes;
    journal_write(b->journal, &r);
    leave(e);
}

static void make_group(teller *b, ew_tick *t, group_kind kind, int from, int to, int amount) {
    group_work *e = calloc(1, sizeof *e);
    ew_group *g = ew_tick_group(t);
    if (!e || !g) {
        free(e);
        return;
    }
    b->id.number++;
    *e = (group_work){.teller = b, .id = b->id, .kind = kind, .from = from, .to = to, .amount = amount, .users = 2};
    record r = {.type = RECORD_MADE, .id = b->id, .kind = kind, .from = from, .to = to, .amount = amount};
    r.revision = ew_tick_revision(t);
    r.state = b->state;
    journal_write(b->journal, &r);
    ew_group_patch(g, run_errand, e, leave);
    ew_group_on_done(g, done, e);
    b->undecided++;
}

void teller_make_groups(teller *b, ew_tick *t) {
    if (b->control->idle)
        return;
    if (b->control->seats_only) {
        make_group(b, t, GROUP_SEAT, 0, (int)teller_roll(b, SEATS), 0);
        return;
    }
    for (uint64_t i = 1 + teller_roll(b, MOST_TRANSFERS); i > 0; i--) {
        int from = (int)teller_roll(b, ACCOUNTS);
        int to = (int)((uint64_t)from + 1 + teller_roll(b, ACCOUNTS - 1)) % ACCOUNTS;
        make_group(b, t, GROUP_TRANSFER, from, to, (int)teller_roll(b, 100));
    }
    if (teller_roll(b, 2) == 0)
        make_group(b, t, GROUP_SUM, 0, 0, 0);
    /* Different seats: groups of one batch share a transaction, of which etcd keeps only the final result. */
    bool clearing = b->control->clearing;
    int seat = (int)teller_roll(b, SEATS), other = (seat + 1) % SEATS;
    if (teller_roll(b, clearing ? 2 : 4) == 0)
        make_group(b, t, GROUP_SEAT, 0, seat, 0);
    if (teller_roll(b, clearing ? 2 : 8) == 0)
        make_group(b, t, GROUP_CLEAR, 0, other, 0);
}

static int teller_tick(void *self, ew_tick *t) {
    teller *b = self;
    teller_check(b, t);
    int slow_ms = b->control->slow_ms;
    if (slow_ms > 0) /* the fault itself: a slow reactor */
        nanosleep(&(struct timespec){.tv_sec = slow_ms / 1000, .tv_nsec = slow_ms % 1000 * 1000000L}, NULL);
    teller_make_groups(b, t);
    return EW_OK;
}

const ew_reactor teller_reactor = EW_REACTOR(.tick = teller_tick, .update = teller_update, .reset = teller_reset);
