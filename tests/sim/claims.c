/* The classic claim: a worker claims a job for a member of a crew if its tick saw the job, the member and no claim.
 * Other clients put jobs, delete unclaimed jobs, and let members come and go. So a claim implies a job at every
 * revision, if and only if what the tick decided on still holds when the group commits (SEMANTICS 36). */
#include "scenario.h"

#include "core/slice.h"
#include "etcd.pb-c.h"

enum { JOBS = 4, MEMBERS = 3 };

/* ---- decisions of a tick ---- */

/* Reads the key in the tick, and makes the group expect that it stays so. */
static bool expects(record *r, const ew_tick *t, ew_group *g, const char *kind, uint64_t number) {
    as_seen *x = &r->seen[r->seen_count++];
    ew_entry e;
    write_name(x->key, kind, number);
    bool present = ew_tick_get(t, ew_str(x->key), &e) == EW_OK;
    x->mod_revision = present ? e.mod_revision : 0;
    ew_group_expect(g, ew_str(x->key));
    return present;
}

static void writes(record *r, const char *key) {
    record_touch(r, key)->wrote = true;
    r->writes = true;
}

void claims_decide(record *r, const ew_tick *t, ew_group *g) {
    const uint64_t number = r->dice % JOBS, member = (r->dice >> 8) % MEMBERS;
    bool job = expects(r, t, g, "job", number), claimed = expects(r, t, g, "claim", number);
    const char *job_key = r->seen[0].key, *claim_key = r->seen[1].key;
    if (claimed && r->dice >> 16 & 1) { /* the job is done */
        writes(r, job_key);
        writes(r, claim_key);
        ew_group_delete(g, ew_str(job_key));
        ew_group_delete(g, ew_str(claim_key));
    } else if (!claimed && expects(r, t, g, "crew", member) && job) {
        char text[24];
        write_digits(text, member);
        writes(r, claim_key);
        ew_group_put(g, ew_str(claim_key), ew_str(text));
    }
}

/* ---- checks ---- */

static bool wrote(const record *r, const char *key) {
    for (uint32_t i = 0; i < r->touched_count; i++)
        if (r->touched[i].wrote && strcmp(r->touched[i].key, key) == 0)
            return true;
    return false;
}

/* Whether an earlier group of the same transaction wrote the key. */
static bool written_before(const record *r, const char *key) {
    const scenario *sc = r->actor->scenario;
    for (size_t i = 0; i < r->number; i++) {
        const record *b = sc->records[i];
        if (b->actor == r->actor && b->life == r->life && b->kind != RECORD_SUBMIT && b->state == RECORD_COMMITTED &&
            b->revision == r->revision && wrote(b, key))
            return true;
    }
    return false;
}

void claims_check(const record *r) {
    scenario *sc = r->actor->scenario;
    if (r->kind == RECORD_SEAT && sc->sim->sampled.lose_events > 0)
        return; /* a key that the tick has missed is not newer than the tick (SEMANTICS 32) */
    for (uint32_t i = 0; i < r->seen_count; i++) {
        const as_seen *x = &r->seen[i];
        const etcd_model_record *before = etcd_model_get(sc->sim->etcd, ew_str(x->key), r->revision - 1);
        int64_t was = before ? before->mod_revision : 0;
        if (was != x->mod_revision)
            ew_sim_fail(sc->sim, "group %u committed at %lld expected %s as of %lld, but it was changed at %lld",
                        r->number, (long long)r->revision, x->key, (long long)x->mod_revision, (long long)was);
        if (written_before(r, x->key))
            ew_sim_fail(sc->sim, "group %u committed at %lld expected %s, which an earlier group wrote", r->number,
                        (long long)r->revision, x->key);
    }
}

void claims_check_tick(const actor *a, const ew_tick *t) {
    ew_sim *sim = a->scenario->sim;
    ew_entry claim = {0}, job;
    while (sim->sampled.lose_events == 0 && ticking_peek_scan(t, EW_STR("/app/claim/"), &claim)) {
        char key[32];
        snprintf(key, sizeof key, "/app/job/%.*s", (int)(claim.key.len - strlen("/app/claim/")),
                 (const char *)claim.key.data + strlen("/app/claim/"));
        if (ticking_peek(t, ew_str(key), &job) != EW_OK)
            ew_sim_fail(sim, "worker %d sees a claim as of %lld, but no %s", a->worker, (long long)claim.mod_revision,
                        key);
    }
}

/* ---- other clients ---- */

static void delete_both(scenario *sc, const char *job, const char *claim) {
    Pb__DeleteRangeRequest deletes[2] = {PB__DELETE_RANGE_REQUEST__INIT, PB__DELETE_RANGE_REQUEST__INIT};
    Pb__RequestOp ops[2] = {PB__REQUEST_OP__INIT, PB__REQUEST_OP__INIT}, *list[] = {&ops[0], &ops[1]};
    deletes[0].key = slice_bytes(ew_str(job));
    deletes[1].key = slice_bytes(ew_str(claim));
    for (int i = 0; i < 2; i++) {
        ops[i].request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        ops[i].request_delete_range = &deletes[i];
    }
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.n_success = 2;
    t.success = list;
    sim_external_txn(sc->sim, &t);
}

static bool exists(const scenario *sc, const char *key) {
    ew_entry e;
    return ew_sim_get(sc->sim, ew_str(key), &e) == EW_OK;
}

void claims_write(scenario *sc) {
    sim_random *random = &sc->random;
    const uint64_t number = (uint64_t)sim_between(random, 0, JOBS - 1);
    char job[32], claim[32], member[32];
    write_name(job, "job", number);
    write_name(claim, "claim", number);
    write_name(member, "crew", (uint64_t)sim_between(random, 0, MEMBERS - 1));
    if (sim_chance(random, 300)) {
        if (exists(sc, member) && sim_chance(random, 500))
            ew_sim_delete(sc->sim, ew_str(member));
        else
            ew_sim_put(sc->sim, ew_str(member), EW_STR("here"));
    } else if (!exists(sc, job) || sim_chance(random, 200)) {
        ew_sim_put(sc->sim, ew_str(job), EW_STR("to be done"));
    } else if (exists(sc, claim)) {
        delete_both(sc, job, claim);
    } else {
        ew_sim_delete(sc->sim, ew_str(job));
    }
}
