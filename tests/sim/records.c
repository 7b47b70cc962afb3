/* The accounting of groups: compares what each group reported with etcd's history. */
#include "scenario.h"

#include <assert.h>
#include <stdlib.h>

/* Returns the number at the beginning of the value; 0 if there is none. This function is called most often. */
int64_t number_of(ew_slice value) {
    if (value.len == 0)
        return 0;
    const char *at = value.data, *end = at + value.len;
    bool negative = at < end && *at == '-';
    int64_t number = 0;
    for (at += negative; at < end && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return negative ? -number : number;
}

char *write_digits(char *at, uint64_t number) {
    char digits[20];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        *at++ = digits[--count];
    *at = '\0';
    return at;
}

void write_name(char out[32], const char *kind, uint64_t number) {
    size_t len = strlen(kind);
    assert(5 + len + 1 + 20 < 32);
    memcpy(out, "/app/", 5);
    memcpy(out + 5, kind, len);
    out[5 + len] = '/';
    write_digits(out + 5 + len + 1, number);
}

/* Chooses a key that no other undecided group of the worker has, since these may share a transaction. */
static bool choose_mark(record *r) {
    actor *a = r->actor;
    for (int i = 0; i < MARKS; i++) {
        uint32_t slot = a->next_mark++ % MARKS;
        if (a->marked[slot] && a->marked[slot]->state == RECORD_PENDING && a->marked[slot]->life == a->life)
            continue;
        a->marked[slot] = r;
        write_name(r->mark, "mark", (uint64_t)a->worker);
        size_t len = strlen(r->mark);
        r->mark[len] = '/';
        write_digits(r->mark + len + 1, slot);
        return true;
    }
    return false;
}

record *record_new(actor *a, record_kind kind) {
    scenario *sc = a->scenario;
    record *r = sim_alloc(sizeof *r);
    sim_reserve(sc->records, sc->record_capacity, sc->record_count + 1);
    r->actor = a;
    r->number = (uint32_t)sc->record_count;
    r->life = a->life;
    r->kind = kind;
    r->dice = sim_next(&sc->random);
    r->marked = sim_chance(&sc->random, 700) && choose_mark(r);
    sc->records[sc->record_count++] = r;
    return r;
}

touched *record_touch(record *r, const char *key) {
    for (uint32_t i = 0; i < r->touched_count; i++)
        if (strcmp(r->touched[i].key, key) == 0)
            return &r->touched[i];
    if (r->touched_count == TOUCHED_MAX)
        return NULL;
    touched *t = &r->touched[r->touched_count++];
    *t = (touched){0};
    size_t len = strlen(key);
    assert(len < sizeof t->key);
    memcpy(t->key, key, len + 1);
    return t;
}

/* ---- when a group is decided ---- */

static const etcd_model_record *written_at(scenario *sc, const char *key, int64_t revision) {
    size_t count;
    if (revision < 1 || revision > etcd_model_revision(sc->sim->etcd))
        return NULL;
    const etcd_model_record *list = etcd_model_records(sc->sim->etcd, revision, &count);
    for (size_t i = 0; i < count; i++)
        if (ew_slice_equal(list[i].key, ew_str(key)))
            return &list[i];
    return NULL;
}

/* Whether an earlier group of the same transaction wrote the key: then the group read that write. Earlier groups are
 * those that are already decided: submits follow groups that were made later. */
static bool written_before(const record *r, const char *key) {
    const scenario *sc = r->actor->scenario;
    for (size_t i = sc->record_count; i-- > 0;) {
        const record *b = sc->records[i];
        for (uint32_t k = 0; b != r && b->actor == r->actor && b->life == r->life && b->state == RECORD_COMMITTED &&
                             b->revision == r->revision && k < b->touched_count;
             k++)
            if (b->touched[k].wrote && strcmp(b->touched[k].key, key) == 0)
                return true;
    }
    return false;
}

/* No other writer changed a key between the group's read and its write: of the keys that it wrote (snapshot), or of all
 * keys that it read (serializable). A key that an earlier group of the same transaction wrote has the commit's own
 * revision. */
static void check_isolation(const record *r) {
    scenario *sc = r->actor->scenario;
    /* A group that changed nothing (deleted an absent key) has no revision of its own. */
    bool own = sc->sim->authors[r->revision].worker == (uint32_t)r->actor->worker + 1;
    for (uint32_t i = 0; i < r->touched_count; i++) {
        const touched *t = &r->touched[i];
        if (!t->read || !(t->wrote || t->guarded || r->actor->serializable) || (t->found && t->mod_revision == 0))
            continue;
        const etcd_model_record *before = etcd_model_get(sc->sim->etcd, ew_str(t->key), r->revision - own);
        int64_t was = before ? before->mod_revision : 0, seen = t->found ? t->mod_revision : 0;
        if (was != seen && !written_before(r, t->key))
            ew_sim_fail(sc->sim, "group %u committed at %lld read %s at %lld, but it was changed at %lld", r->number,
                        (long long)r->revision, t->key, (long long)seen, (long long)was);
    }
}

/* The compares of a submit held right before it was written. */
static void check_compared(const record *r) {
    scenario *sc = r->actor->scenario;
    const etcd_model_record *before = etcd_model_get(sc->sim->etcd, ew_str(r->compared), r->revision - 1);
    bool held = r->absent ? !before : before && ew_slice_equal(before->value, ew_str(r->expected));
    if (!held && !written_before(r, r->compared))
        ew_sim_fail(sc->sim, "submit %u committed at %lld compared %s with %s, but it was %s", r->number,
                    (long long)r->revision, r->compared, r->absent ? "absent" : r->expected,
                    before ? "something else" : "absent");
}

/* Everything that the group wrote is at the revision that was reported. Keys that come and go may have been written
 * again by a later group of the same transaction, so only the others are checked. */
static void check_written(const record *r) {
    scenario *sc = r->actor->scenario;
    bool stays = r->kind == RECORD_INCREMENT || r->kind == RECORD_TRANSFER || r->kind == RECORD_PAIR;
    for (uint32_t i = 0; i < r->touched_count && stays; i++)
        if (r->touched[i].wrote && !written_at(sc, r->touched[i].key, r->revision))
            ew_sim_fail(sc->sim, "group %u was reported at %lld, but %s was not written then", r->number,
                        (long long)r->revision, r->touched[i].key);
    const etcd_model_record *mark = r->marked ? written_at(sc, r->mark, r->revision) : NULL;
    if (r->marked && (!mark || mark->deleted || number_of(mark->value) != r->number))
        ew_sim_fail(sc->sim, "group %u was reported at %lld, but its mark was not written then", r->number,
                    (long long)r->revision);
}

/* Whether an earlier group wrote the same key in the same transaction: then keeping the lease means the lease of that
 * group. */
static bool came_second(const record *r) {
    const scenario *sc = r->actor->scenario;
    for (size_t i = r->number; i-- > 0;) {
        const record *b = sc->records[i];
        if (b->actor == r->actor && b->kind == RECORD_LEASE && b->state == RECORD_COMMITTED &&
            b->revision == r->revision && b->dice % LEASED == r->dice % LEASED)
            return true;
    }
    return false;
}

/* The key is bound to the worker's lease, or has kept its lease. */
static void check_lease(const record *r) {
    scenario *sc = r->actor->scenario;
    char key[40];
    snprintf(key, sizeof key, "/app/lease/%llu", (unsigned long long)(r->dice % LEASED));
    const etcd_model_record *now = written_at(sc, key, r->revision);
    const etcd_model_record *before = etcd_model_get(sc->sim->etcd, ew_str(key), r->revision - 1);
    if (!now || number_of(now->value) != r->number || (r->lease == EW_LEASE_KEEP && came_second(r)))
        return;
    int64_t want = r->lease == EW_LEASE_SESSION          ? sc->sim->workers[r->actor->worker]->lease
                   : r->lease == EW_LEASE_KEEP && before ? before->lease
                                                         : 0;
    if (now->lease != want)
        ew_sim_fail(sc->sim, "group %u put %s with lease %llx, not %llx", r->number, key,
                    (unsigned long long)now->lease, (unsigned long long)want);
}

/* SEMANTICS 26: exact at the limit. */
static void check_size(const record *r, int status) {
    scenario *sc = r->actor->scenario;
    uint32_t keys = r->keys + r->marked, limit = sc->sim->workers[r->actor->worker]->ticking_config.max_txn_keys;
    if (r->kind != RECORD_MANY || sc->sim->bend.max_txn_bytes > 0)
        return;
    if ((status == EW_OK && keys > limit) || (status == EW_ERR_TOO_LARGE && keys <= limit))
        ew_sim_fail(sc->sim, "group %u of %u keys was %s, the limit is %u", r->number, keys,
                    status == EW_OK ? "committed" : "too large", limit);
}

/* Only a group that expects something may be stale, and only a group that asks for it may be dropped. */
static void check_dropped(const record *r, int status) {
    bool drops = r->kind == RECORD_DROP && r->dice >> 30 & 1;
    if (r->kind == RECORD_SUBMIT)
        return;
    if ((status == EW_ERR_STALE && r->seen_count == 0) || (status == EW_ERR_REFUSED && !drops) ||
        (status == EW_OK && drops))
        ew_sim_fail(r->actor->scenario->sim, "group %u ended with %s, which it cannot", r->number, ew_errname(status));
}

static record_state state_of(const record *r, int status) {
    check_size(r, status);
    check_dropped(r, status);
    if (status == EW_OK)
        return RECORD_COMMITTED;
    bool large = r->kind == RECORD_MANY || r->kind == RECORD_SEAT; /* a seat's tick may have read too much */
    if (status == EW_ERR_TOO_LARGE && !large && r->actor->scenario->sim->bend.max_txn_bytes == 0)
        ew_sim_fail(r->actor->scenario->sim, "group %u of a few keys was refused as too large", r->number);
    return status == EW_ERR_UNKNOWN_OUTCOME ? RECORD_UNKNOWN : RECORD_REFUSED;
}

void record_decided(void *arg, ew_status status, int64_t revision) {
    record *r = arg;
    scenario *sc = r->actor->scenario;
    sim_worker *w = sc->sim->workers[r->actor->worker];
    if (w->killed)
        return; /* a killed process reports nothing */
    sim_note(sc->sim, "decided", r->number, status);
    sim_trace(sc->sim, "group %u of worker %d: %s at %lld", r->number, r->actor->worker, ew_strerror(status),
              (long long)revision);
    if (r->state != RECORD_PENDING)
        ew_sim_fail(sc->sim, "group %u was decided twice", r->number);
    r->status = status;
    r->revision = revision;
    r->state = state_of(r, status);
    if (r->kind != RECORD_SUBMIT)
        r->actor->pending--;
    if (status == EW_ERR_STALE)
        r->actor->finished = false; /* SEMANTICS 36: the reactor is ticked again */
    if (r->state != RECORD_COMMITTED || !(r->writes || r->marked))
        return;
    if (r->kind != RECORD_SUBMIT && revision < r->actor->last_revision)
        ew_sim_fail(sc->sim, "group %u was committed at %lld, an earlier one at %lld", r->number, (long long)revision,
                    (long long)r->actor->last_revision);
    r->actor->last_revision = revision;
    check_written(r);
    check_isolation(r);
    claims_check(r);
    if (r->compares)
        check_compared(r);
    if (r->kind == RECORD_LEASE)
        check_lease(r);
}

void record_forget(actor *a) {
    scenario *sc = a->scenario;
    for (size_t i = 0; i < sc->record_count; i++) {
        record *r = sc->records[i];
        if (r->actor == a && r->state == RECORD_PENDING && r->life == a->life)
            r->state = RECORD_UNKNOWN;
    }
    a->pending = a->submits = 0;
}

/* ---- at the end ---- */

/* Counts how often each group's mark is in the history. */
static uint32_t *count_marks(scenario *sc) {
    uint32_t *counts = sim_alloc((sc->record_count + 1) * sizeof *counts);
    for (int64_t at = 1; at <= etcd_model_revision(sc->sim->etcd); at++) {
        size_t count;
        const etcd_model_record *list = etcd_model_records(sc->sim->etcd, at, &count);
        for (size_t i = 0; i < count; i++) {
            ew_slice key = list[i].key;
            if (list[i].deleted || key.len < 10 || memcmp(key.data, "/app/mark/", 10) != 0)
                continue;
            int64_t number = number_of(list[i].value);
            if (number >= 0 && number < (int64_t)sc->record_count)
                counts[number]++;
        }
    }
    return counts;
}

static void check_marks(scenario *sc) {
    uint32_t *counts = count_marks(sc);
    for (size_t i = 0; i < sc->record_count; i++) {
        const record *r = sc->records[i];
        if (r->state == RECORD_PENDING)
            ew_sim_fail(sc->sim, "group %zu of worker %d was never decided", i, r->actor->worker);
        if (!r->marked)
            continue;
        if ((r->state == RECORD_COMMITTED && counts[i] != 1) || (r->state == RECORD_REFUSED && counts[i] != 0) ||
            counts[i] > 1)
            ew_sim_fail(sc->sim, "group %zu of worker %d (%s) was written %u times", i, r->actor->worker,
                        r->state == RECORD_COMMITTED ? "committed"
                        : r->state == RECORD_REFUSED ? "not committed"
                                                     : "unknown",
                        counts[i]);
    }
    free(counts);
}

/* Each cell counts the groups that incremented it: all that committed, and any number of the unknown ones. */
static void check_cells(scenario *sc) {
    for (int cell = 0; cell < CELLS; cell++) {
        char key[32];
        snprintf(key, sizeof key, "/app/cell/%d", cell);
        int64_t least = 0, most = 0;
        for (size_t i = 0; i < sc->record_count; i++) {
            const record *r = sc->records[i];
            if (r->kind != RECORD_INCREMENT || !(r->dice >> cell & 1))
                continue;
            least += r->state == RECORD_COMMITTED;
            most += r->state == RECORD_COMMITTED || r->state == RECORD_UNKNOWN;
        }
        ew_entry e;
        int64_t is = ew_sim_get(sc->sim, ew_str(key), &e) == EW_OK ? number_of(e.value) : 0;
        if (is < least || is > most)
            ew_sim_fail(sc->sim, "%s is %lld, but between %lld and %lld groups incremented it", key, (long long)is,
                        (long long)least, (long long)most);
    }
}

void record_check(scenario *sc) {
    check_marks(sc);
    check_cells(sc);
}
