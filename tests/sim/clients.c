/* Programs that submit with an identity: one errand after the other, each sent again and again, to any worker, until it
 * is decided. Every reply must be true, and the same each time (SEMANTICS 34, 35). */
#include "core/slice.h"
#include "scenario.h"

#include <stdlib.h>

static void next_errand(client *c) {
    scenario *sc = c->scenario;
    sim_reserve(sc->errands, sc->errand_capacity, sc->errand_count + 1);
    c->current = (uint32_t)sc->errand_count++;
    errand *e = &sc->errands[c->current];
    *e = (errand){.client = c->number,
                  .sequence = ++c->sequence,
                  .since = etcd_model_revision(sc->sim->etcd),
                  .kind = (errand_kind)sim_between(&sc->random, ERRAND_PLAIN, ERRAND_COMPARED)};
    write_name(e->key, e->kind == ERRAND_ONCE ? "once" : "said", e->kind == ERRAND_ONCE ? c->current : c->number);
    if (e->kind == ERRAND_ONCE)
        write_name(e->compared, "once", c->current);
    else
        write_name(e->compared, "junk", (uint64_t)sim_between(&sc->random, 0, sc->junk - 1));
}

/* One copy, to a worker that takes it. */
static void send_copy(scenario *sc, uint32_t number) {
    actor *a = &sc->actors[sim_between(&sc->random, 0, sc->actor_count - 1)];
    sim_worker *w = sc->sim->workers[a->worker];
    if (!sim_worker_takes_submits(w))
        return;
    const errand *e = &sc->errands[number];
    char text[24], id[24];
    snprintf(text, sizeof text, "%u", number);
    snprintf(id, sizeof id, "client-%u", e->client);
    Msg__Submit m = MSG__SUBMIT__INIT;
    Msg__Submit__Put put = MSG__SUBMIT__PUT__INIT, *puts[] = {&put};
    Msg__Submit__Compare compare = MSG__SUBMIT__COMPARE__INIT, *compares[] = {&compare};
    put.key = slice_bytes(ew_str(e->key));
    put.value = slice_bytes(ew_str(text));
    m.puts = puts;
    m.n_puts = 1;
    compare.key = slice_bytes(ew_str(e->compared));
    compare.absent = true;
    m.compares = compares;
    m.n_compares = e->kind != ERRAND_PLAIN;
    m.client = slice_bytes(ew_str(id));
    m.sequence = e->sequence;
    a->submits++;
    sim_worker_submit(w, &m, ERRAND_BASE + number);
}

/* Now and then several copies at once, to several workers, and one of an errand of long ago. */
static void go_on(ew_sim *sim, void *arg) {
    client *c = arg;
    scenario *sc = c->scenario;
    if (sc->quiet_end)
        return;
    if (sc->errands[c->current].decided && !sc->quiet)
        next_errand(c);
    if (!sc->errands[c->current].decided)
        for (int64_t copies = sim_chance(&sc->random, 300) ? 3 : 1; copies > 0; copies--)
            send_copy(sc, c->current);
    if (sim_chance(&sc->random, 50))
        send_copy(sc, (uint32_t)sim_between(&sc->random, 0, (int64_t)sc->errand_count - 1));
    ew_sim_after(sim, sim_between(&sc->random, 20, sc->quiet ? 500 : 2000), go_on, c);
}

void clients_start(scenario *sc) {
    for (uint32_t i = 0; i < sc->client_count; i++) {
        client *c = &sc->clients[i];
        *c = (client){.scenario = sc, .number = i};
        next_errand(c);
        ew_sim_after(sc->sim, sim_between(&sc->random, 1, 1000), go_on, c);
    }
}

/* ---- replies ---- */

static bool was_written(const scenario *sc, uint32_t number, int64_t revision) {
    const errand *e = &sc->errands[number];
    size_t count;
    if (revision < 1 || revision > etcd_model_revision(sc->sim->etcd))
        return false;
    const etcd_model_record *list = etcd_model_records(sc->sim->etcd, revision, &count);
    for (size_t i = 0; i < count; i++)
        if (ew_slice_equal(list[i].key, ew_str(e->key)) && !list[i].deleted &&
            number_of(list[i].value) == (int64_t)number)
            return true;
    return false;
}

/* Whether etcd deleted the client's record since the errand was begun, together with the lease that it hung on. What
 * was decided before that may be decided again (SEMANTICS 34). */
static bool record_was_lost(const scenario *sc, const errand *e) {
    char key[128], id[24];
    int len = snprintf(key, sizeof key, "/etcdworker/receipts/submit/");
    snprintf(id, sizeof id, "client-%u", e->client);
    for (const char *c = id; *c; c++)
        len += snprintf(key + len, sizeof key - (size_t)len, "%02x", (unsigned)(unsigned char)*c);
    for (int64_t at = e->since + 1; at <= etcd_model_revision(sc->sim->etcd); at++) {
        size_t count;
        const etcd_model_record *list = etcd_model_records(sc->sim->etcd, at, &count);
        for (size_t i = 0; i < count; i++)
            if (list[i].deleted && ew_slice_equal(list[i].key, ew_str(key)))
                return true;
    }
    return false;
}

static bool may_be(const scenario *sc, const errand *e, int status) {
    switch (status) {
    case EW_OK:
        return true;
    case EW_ERR_REFUSED:
        /* Nobody else puts the key of the others; but their first copy has, where its record is gone. */
        return e->kind == ERRAND_COMPARED || record_was_lost(sc, e);
    case EW_ERR_TOO_LARGE:
        return sc->sim->bend.max_txn_bytes > 0;
    default:
        return false;
    }
}

void clients_replied(scenario *sc, uint32_t worker, uint64_t number, int status, int64_t revision) {
    errand *e = &sc->errands[number];
    sim_trace(sc->sim, "errand %u.%llu at worker %u: %s at %lld", e->client, (unsigned long long)e->sequence, worker,
              ew_strerror(status), (long long)revision);
    if (status == EW_ERR_UNKNOWN_OUTCOME || status == EW_ERR_BUSY)
        return; /* it is sent again */
    if (status == EW_ERR_TOO_OLD) {
        if (!e->decided)
            ew_sim_fail(sc->sim, "errand %u is too old, though it is not decided", (uint32_t)number);
        return;
    }
    if (!may_be(sc, e, status))
        ew_sim_fail(sc->sim, "errand %u is replied: %s", (uint32_t)number, ew_strerror(status));
    if (e->decided && (status != e->status || revision != e->revision) && !record_was_lost(sc, e))
        ew_sim_fail(sc->sim, "errand %u is replied: %s at %lld, and before: %s at %lld", (uint32_t)number,
                    ew_strerror(status), (long long)revision, ew_strerror(e->status), (long long)e->revision);
    if (status == EW_OK && !was_written(sc, (uint32_t)number, revision))
        ew_sim_fail(sc->sim, "errand %u is replied at %lld, but was not written then", (uint32_t)number,
                    (long long)revision);
    e->decided = true;
    e->status = status;
    e->revision = revision;
}

/* ---- at the end ---- */

static bool all_decided(const scenario *sc) {
    for (size_t i = 0; i < sc->errand_count; i++)
        if (!sc->errands[i].decided)
            return false;
    return true;
}

static bool is_served(const scenario *sc) {
    for (int i = 0; i < sc->actor_count; i++)
        if (ew_sim_is_running(sc->sim, i))
            return true;
    return false;
}

void clients_finish(scenario *sc) {
    enum { LOOKS = 200, LOOK_MS = 500 };
    for (int i = 0; i < LOOKS && !all_decided(sc) && is_served(sc) && !ew_sim_failure(sc->sim); i++)
        ew_sim_run(sc->sim, LOOK_MS);
    if (!all_decided(sc) && is_served(sc))
        ew_sim_fail(sc->sim, "a submit that is sent again is never decided");
}

void clients_audit(scenario *sc) {
    for (size_t i = 0; i < sc->errand_count; i++) {
        uint32_t written = 0;
        const errand *e = &sc->errands[i];
        for (int64_t at = 1; at <= etcd_model_revision(sc->sim->etcd); at++)
            written += was_written(sc, (uint32_t)i, at);
        bool wrong = written > 1 || (e->decided && written != (e->status == EW_OK));
        if (wrong && !record_was_lost(sc, e))
            ew_sim_fail(sc->sim, "errand %zu (%s) was written %u times", i,
                        e->decided ? ew_strerror(e->status) : "undecided", written);
    }
}
