/* The reactor of every worker of a scenario. It checks sums and pairs, and that none of its groups is undecided when it
 * is ticked. */
#include "scenario.h"

#include <stdlib.h>

/* ---- patches ---- */

/* Reads a key and records what was read the first time; later reads may see the group's own writes. */
static int64_t look(record *r, ew_view *v, const char *key, bool *found) {
    ew_entry e = {0};
    *found = ew_view_get(v, ew_str(key), &e) == EW_OK;
    touched *t = record_touch(r, key);
    if (t && !t->read && !t->wrote) {
        t->read = true;
        t->found = *found;
        t->mod_revision = *found ? e.mod_revision : 0;
    }
    return *found ? number_of(e.value) : 0;
}

static void write_text(record *r, ew_view *v, const char *key, const char *text) {
    touched *t = record_touch(r, key);
    if (t) {
        t->wrote = true;
        t->removed = false;
    }
    r->writes = true;
    ew_view_put(v, ew_str(key), ew_str(text));
}

static void write_number(record *r, ew_view *v, const char *key, int64_t number) {
    char text[24];
    text[0] = '-';
    write_digits(text + (number < 0), number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    write_text(r, v, key, text);
}

static void erase(record *r, ew_view *v, const char *key) {
    touched *t = record_touch(r, key);
    if (t)
        t->wrote = t->removed = true;
    r->writes = true;
    ew_view_delete(v, ew_str(key));
}

static void increment(record *r, ew_view *v) {
    char key[32];
    bool found;
    for (int cell = 0; cell < CELLS; cell++) {
        write_name(key, "cell", (uint64_t)cell);
        if (r->dice >> cell & 1)
            write_number(r, v, key, look(r, v, key, &found) + 1);
    }
}

static void transfer(record *r, ew_view *v) {
    char from[32], to[32];
    bool found;
    uint64_t a = r->dice % ACCOUNTS, b = (a + 1 + (r->dice >> 8) % (ACCOUNTS - 1)) % ACCOUNTS;
    int64_t amount = (int64_t)(r->dice >> 16 & 0xff) - 128;
    write_name(from, "bank", a);
    write_name(to, "bank", b);
    write_number(r, v, from, look(r, v, from, &found) - amount);
    write_number(r, v, to, look(r, v, to, &found) + amount);
}

/* Changes a few keys: puts, empties, deletes, deletes an absent key, creates again. */
static void junk(record *r, ew_view *v) {
    char key[32], text[80];
    bool found;
    uint64_t dice = r->dice;
    for (uint64_t i = 0; i <= (r->dice >> 60) % 4; i++, dice = dice * 6364136223846793005u + 1442695040888963407u) {
        write_name(key, "junk", (dice >> 33) % (uint64_t)r->actor->scenario->junk);
        if (dice >> 50 & 1)
            look(r, v, key, &found);
        snprintf(text, sizeof text, "%u %.*s", r->number, (int)(dice >> 44 & 31), "...............................");
        switch (dice >> 40 & 7) {
        case 0:
        case 1:
        case 2:
            erase(r, v, key);
            break;
        case 3:
            write_text(r, v, key, "");
            break;
        default:
            write_text(r, v, key, text);
            break;
        }
    }
}

/* Takes one key of a pair if both are free, or frees its own. Two groups that each read both keys and write one must
 * not both commit; only serializable groups guarantee that. */
static void pair(record *r, ew_view *v) {
    char keys[2][32];
    bool found;
    for (uint64_t side = 0; side < 2; side++)
        write_name(keys[side], "pair", 2 * (r->dice % PAIRS) + side);
    uint64_t own = r->dice >> 20 & 1;
    int64_t mine = look(r, v, keys[own], &found), other = look(r, v, keys[1 - own], &found);
    if (mine)
        write_number(r, v, keys[own], 0);
    else if (!other)
        write_number(r, v, keys[own], 1);
}

static void many(record *r, ew_view *v) {
    char key[32];
    for (uint64_t i = 0; i < r->keys; i++) {
        write_name(key, "many", i);
        write_number(r, v, key, r->number);
    }
}

/* For ew_group_modify: reads, writes, deletes or keeps one key. */
static int modify(void *arg, const ew_entry *current, ew_value *next) {
    record *r = arg;
    char key[32];
    write_name(key, "junk", r->dice % (uint64_t)r->actor->scenario->junk);
    touched *t = record_touch(r, key);
    t->read = true;
    t->found = current != NULL;
    t->mod_revision = current ? current->mod_revision : 0;
    int64_t what = (int64_t)(r->dice >> 20 & 7);
    if (what == 0)
        return EW_UNCHANGED;
    r->writes = t->wrote = true;
    if (what <= 2)
        return EW_REMOVE;
    return ew_value_set_int(next, (current ? number_of(current->value) : 0) + 1);
}

/* Returns EW_AGAIN a few times after it has written something, which must not be seen. */
static int again(record *r, ew_view *v) {
    ew_view_put(v, EW_STR("/app/ignored"), EW_STR("must not be seen"));
    if (++r->evaluations % 4 != 0)
        return EW_AGAIN;
    ew_view_delete(v, EW_STR("/app/ignored"));
    return EW_OK;
}

/* Whether the group drops itself after it has written something. */
static bool drops(const record *r) {
    return r->kind == RECORD_DROP && r->dice >> 30 & 1;
}

static int patch(void *arg, ew_view *v) {
    record *r = arg;
    bool found;
    char key[32];
    if (r->kind == RECORD_CLAIM || r->kind == RECORD_SEAT)
        return EW_OK; /* the tick has decided everything */
    r->touched_count = 0;
    r->writes = false;
    switch (r->kind) {
    case RECORD_INCREMENT:
        increment(r, v);
        break;
    case RECORD_TRANSFER:
        transfer(r, v);
        break;
    case RECORD_JUNK:
        junk(r, v);
        break;
    case RECORD_DROP:
        junk(r, v);
        return drops(r) ? EW_DROP : EW_OK;
    case RECORD_PAIR:
        pair(r, v);
        break;
    case RECORD_MANY:
        many(r, v);
        break;
    case RECORD_MODIFY:
    case RECORD_LEASE:
        break; /* the group's next patch does it */
    case RECORD_AGAIN:
        return again(r, v);
    case RECORD_GUARD:
        write_name(key, "cell", r->dice % CELLS);
        look(r, v, key, &found);
        record_touch(r, key)->guarded = true;
        break;
    default:
        look(r, v, "/app/cell/0", &found);
        break;
    }
    return EW_OK;
}

/* A patch that writes something and returns EW_IGNORE: nothing of it may remain (SEMANTICS 20). */
static int ignored(void *arg, ew_view *v) {
    (void)arg;
    ew_view_put(v, EW_STR("/app/ignored"), EW_STR("must not be seen"));
    ew_view_delete(v, EW_STR("/app/cell/0"));
    return EW_IGNORE;
}

/* ---- groups ---- */

static record_kind draw_kind(scenario *sc) {
    static const record_kind kinds[] = {
        RECORD_INCREMENT, RECORD_INCREMENT, RECORD_INCREMENT, RECORD_TRANSFER, RECORD_TRANSFER, RECORD_JUNK,
        RECORD_JUNK,      RECORD_JUNK,      RECORD_PAIR,      RECORD_PAIR,     RECORD_NOTHING,  RECORD_MANY,
        RECORD_MODIFY,    RECORD_GUARD,     RECORD_AGAIN,     RECORD_LEASE,    RECORD_CLAIM,    RECORD_CLAIM,
        RECORD_DROP,      RECORD_SEAT,      RECORD_SEAT};
    if (sc->hot && sim_chance(&sc->random, 700))
        return RECORD_JUNK;
    return kinds[sim_between(&sc->random, 0, sizeof kinds / sizeof *kinds - 1)];
}

static void add_special(record *r, const ew_tick *t, ew_group *g) {
    scenario *sc = r->actor->scenario;
    char key[32], text[16];
    snprintf(text, sizeof text, "%u", r->number);
    if (r->kind == RECORD_MODIFY) {
        write_name(key, "junk", r->dice % (uint64_t)sc->junk);
        ew_group_modify(g, ew_str(key), modify, r, NULL);
    } else if (r->kind == RECORD_GUARD) {
        write_name(key, "cell", r->dice % CELLS);
        ew_group_guard(g, ew_str(key));
    } else if (r->kind == RECORD_CLAIM) {
        claims_decide(r, t, g);
    } else if (r->kind == RECORD_SEAT) {
        seats_decide(r, t, g);
    } else if (r->kind == RECORD_LEASE) {
        write_name(key, "lease", r->dice % LEASED);
        bool session = sc->sim->workers[r->actor->worker]->lease != 0;
        r->lease = (ew_put_lease)(r->dice >> 10 & 3) % 3;
        if (r->lease == EW_LEASE_SESSION && !session)
            r->lease = EW_LEASE_NONE;
        ew_group_put_lease(g, ew_str(key), ew_str(text), r->lease);
    }
}

static void make_group(actor *a, ew_tick *t) {
    scenario *sc = a->scenario;
    record *r = record_new(a, draw_kind(sc));
    ew_group *g = ew_tick_group(t);
    if (r->kind == RECORD_MANY) {
        /* Close to the limit: below it, exactly at it, above it. */
        r->keys = a->max_keys - r->marked + (uint32_t)sim_between(&sc->random, 0, 2) - 1;
        if (r->keys > a->max_keys + 1)
            r->keys = 1;
    }
    if (r->kind == RECORD_NOTHING)
        r->marked = r->marked && sim_chance(&sc->random, 500);
    if (sim_chance(&sc->random, 100))
        ew_group_patch(g, ignored, NULL, NULL);
    ew_group_patch(g, patch, r, NULL);
    add_special(r, t, g);
    if (sim_chance(&sc->random, 100))
        ew_group_patch(g, ignored, NULL, NULL);
    if (r->marked) {
        char text[16];
        snprintf(text, sizeof text, "%u", r->number);
        ew_group_put(g, ew_str(r->mark), ew_str(text));
    }
    ew_group_on_done(g, record_decided, r);
    a->pending++;
}

/* ---- the tick ---- */

static int64_t sum_of(const ew_tick *t, ew_slice prefix) {
    int64_t sum = 0;
    ew_entry e = {0};
    while (ticking_peek_scan(t, prefix, &e))
        sum += number_of(e.value);
    return sum;
}

static void check_sums(actor *a, const ew_tick *t) {
    scenario *sc = a->scenario;
    if (sc->sim->sampled.lose_events > 0)
        return; /* the tick may lack events until a consistency check finds that */
    if (sum_of(t, EW_STR("/app/bank/")) != 0)
        ew_sim_fail(sc->sim, "worker %d sees balances with the sum %lld", a->worker,
                    (long long)sum_of(t, EW_STR("/app/bank/")));
    ew_entry e;
    if (ticking_peek(t, EW_STR("/app/ignored"), &e) == EW_OK)
        ew_sim_fail(sc->sim, "a write of an ignored patch exists");
    for (int p = 0; p < PAIRS && sc->serializable_all; p++) {
        int64_t both = 0;
        for (int side = 0; side < 2; side++) {
            char key[32];
            write_name(key, "pair", (uint64_t)(2 * p + side));
            if (ticking_peek(t, ew_str(key), &e) == EW_OK)
                both += number_of(e.value);
        }
        if (both > 1)
            ew_sim_fail(sc->sim, "worker %d sees pair %d taken twice", a->worker, p);
    }
}

static int tick(void *self, ew_tick *t) {
    actor *a = self;
    scenario *sc = a->scenario;
    sc->total_ticks++;
    a->ticks++;
    if (a->finished)
        ew_sim_fail(sc->sim, "worker %d was ticked after it had finished", a->worker);
    if (a->pending)
        ew_sim_fail(sc->sim, "worker %d was ticked while %u of its groups were undecided", a->worker, a->pending);
    check_sums(a, t);
    claims_check_tick(a, t);
    seats_check_tick(a, t);
    if (sc->quiet) {
        a->finished = sc->twins && a->worker == 1; /* otherwise one of the two would block the other for ever */
        return a->finished ? EW_FINISHED : EW_OK;
    }
    if (sim_chance(&sc->random, 700))
        for (int64_t i = sim_between(&sc->random, 0, 4); i > 0; i--)
            make_group(a, t);
    a->finished = a->finish_at && (int64_t)a->ticks >= a->finish_at;
    return a->finished ? EW_FINISHED : EW_OK;
}

static ew_status update(void *self, const ew_event *event) {
    actor *a = self;
    (void)event;
    if (a->pending)
        ew_sim_fail(a->scenario->sim, "worker %d was shown an event while %u of its groups were undecided", a->worker,
                    a->pending);
    a->updates_seen++;
    return EW_OK;
}

static ew_status reset(void *self) {
    (void)self;
    return EW_OK;
}

const ew_reactor scenario_reactor = EW_REACTOR(.tick = tick, .track_reads = true);
const ew_reactor scenario_reactor_with_updates =
    EW_REACTOR(.tick = tick, .update = update, .reset = reset, .track_reads = true);

/* ---- the end of a run ---- */

bool scenario_ended(void *self, ew_status status, const char *detail, bool killed) {
    actor *a = self;
    (void)detail;
    if (killed)
        record_forget(a);
    else if (a->pending)
        ew_sim_fail(a->scenario->sim, "worker %d ended (%s) without reporting %u of its groups", a->worker,
                    ew_strerror(status), a->pending);
    if (!killed && !a->finished && status == EW_OK)
        ew_sim_fail(a->scenario->sim, "worker %d ended with success, although its last tick must not count", a->worker);
    if (!killed && a->finished && status == EW_OK)
        for (size_t i = 0; i < a->scenario->record_count; i++) {
            const record *r = a->scenario->records[i];
            if (r->actor == a && r->life == a->life && r->kind != RECORD_SUBMIT && r->state != RECORD_COMMITTED &&
                r->status != EW_ERR_TOO_LARGE && r->status != EW_ERR_STALE && r->status != EW_ERR_REFUSED)
                ew_sim_fail(a->scenario->sim, "worker %d finished with success, but group %u was not committed",
                            a->worker, r->number);
        }
    a->life++;
    a->ticks = 0;
    bool refused = status == EW_ERR_FENCED && a->scenario->quiet; /* the other worker with its id runs */
    bool again = !a->finished && !a->scenario->quiet_end && !refused;
    a->finished = false;
    a->pending = a->submits = 0;
    return again || killed;
}
