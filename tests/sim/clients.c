/* Programs that submit with an identity: one submit after the other, each sent again and again, to any worker, until it
 * is decided. Every reply must be true, and the same each time (SEMANTICS 34, 35). */
#include "core/slice.h"
#include "scenario.h"

#include <stdlib.h>

static void next_client_submit(client *c) {
    scenario *sc = c->scenario;
    sim_reserve(sc->client_submits, sc->client_submit_capacity, sc->client_submit_count + 1);
    c->current = (uint32_t)sc->client_submit_count++;
    client_submit *e = &sc->client_submits[c->current];
    *e = (client_submit){.client = c->number,
                         .sequence = ++c->sequence,
                         .since = etcd_model_revision(sc->sim->etcd),
                         .kind =
                             (client_submit_kind)sim_between(&sc->random, CLIENT_SUBMIT_PLAIN, CLIENT_SUBMIT_COMPARED)};
    write_name(e->key, e->kind == CLIENT_SUBMIT_ONCE ? "once" : "said",
               e->kind == CLIENT_SUBMIT_ONCE ? c->current : c->number);
    if (e->kind == CLIENT_SUBMIT_ONCE)
        write_name(e->compared, "once", c->current);
    else
        write_name(e->compared, "junk", (uint64_t)sim_between(&sc->random, 0, sc->junk - 1));
}

/* Sends one copy to a worker that accepts it. */
static void send_copy(scenario *sc, uint32_t number) {
    actor *a = &sc->actors[sim_between(&sc->random, 0, sc->actor_count - 1)];
    sim_worker *w = sc->sim->workers[a->worker];
    if (!sim_worker_takes_submits(w))
        return;
    const client_submit *e = &sc->client_submits[number];
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
    m.n_compares = e->kind != CLIENT_SUBMIT_PLAIN;
    m.client = slice_bytes(ew_str(id));
    m.sequence = e->sequence;
    a->submits++;
    sim_worker_submit(w, &m, CLIENT_SUBMIT_BASE + number);
}

/* Sometimes sends several copies at once, to several workers, and a copy of an old submit. */
static void go_on(ew_sim *sim, void *arg) {
    client *c = arg;
    scenario *sc = c->scenario;
    if (sc->quiet_end)
        return;
    if (sc->client_submits[c->current].decided && !sc->quiet)
        next_client_submit(c);
    if (!sc->client_submits[c->current].decided)
        for (int64_t copies = sim_chance(&sc->random, 300) ? 3 : 1; copies > 0; copies--)
            send_copy(sc, c->current);
    if (sim_chance(&sc->random, 50))
        send_copy(sc, (uint32_t)sim_between(&sc->random, 0, (int64_t)sc->client_submit_count - 1));
    ew_sim_after(sim, sim_between(&sc->random, 20, sc->quiet ? 500 : 2000), go_on, c);
}

void clients_start(scenario *sc) {
    for (uint32_t i = 0; i < sc->client_count; i++) {
        client *c = &sc->clients[i];
        *c = (client){.scenario = sc, .number = i};
        next_client_submit(c);
        ew_sim_after(sc->sim, sim_between(&sc->random, 1, 1000), go_on, c);
    }
}

/* ---- replies ---- */

static bool was_written(const scenario *sc, uint32_t number, int64_t revision) {
    const client_submit *e = &sc->client_submits[number];
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

/* Returns whether etcd has deleted the client's record, with its lease, since the submit was begun. What was decided
 * before that may be decided again (SEMANTICS 34). */
static bool record_was_lost(const scenario *sc, const client_submit *e) {
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

static bool may_be(const scenario *sc, const client_submit *e, int status) {
    switch (status) {
    case EW_OK:
        return true;
    case EW_ERR_REFUSED:
        /* Only this submit puts its key. If the record is lost, an earlier copy may have put it. */
        return e->kind == CLIENT_SUBMIT_COMPARED || record_was_lost(sc, e);
    case EW_ERR_TOO_LARGE:
        return sc->sim->bend.max_txn_bytes > 0;
    default:
        return false;
    }
}

void clients_replied(scenario *sc, uint32_t worker, uint64_t number, int status, int64_t revision) {
    client_submit *e = &sc->client_submits[number];
    sim_trace(sc->sim, "client submit %u.%llu at worker %u: %s at %lld", e->client, (unsigned long long)e->sequence,
              worker, ew_strerror(status), (long long)revision);
    if (status == EW_ERR_UNKNOWN_OUTCOME || status == EW_ERR_BUSY)
        return; /* it is sent again */
    if (status == EW_ERR_TOO_OLD) {
        if (!e->decided)
            ew_sim_fail(sc->sim, "client submit %u is too old, although it was not decided", (uint32_t)number);
        return;
    }
    if (!may_be(sc, e, status))
        ew_sim_fail(sc->sim, "client submit %u got the reply %s", (uint32_t)number, ew_strerror(status));
    if (e->decided && (status != e->status || revision != e->revision) && !record_was_lost(sc, e))
        ew_sim_fail(sc->sim, "client submit %u got the reply %s at %lld, and before %s at %lld", (uint32_t)number,
                    ew_strerror(status), (long long)revision, ew_strerror(e->status), (long long)e->revision);
    if (status == EW_OK && !was_written(sc, (uint32_t)number, revision))
        ew_sim_fail(sc->sim, "client submit %u got a reply at %lld, but was not written then", (uint32_t)number,
                    (long long)revision);
    e->decided = true;
    e->status = status;
    e->revision = revision;
}

/* ---- at the end ---- */

static bool all_decided(const scenario *sc) {
    for (size_t i = 0; i < sc->client_submit_count; i++)
        if (!sc->client_submits[i].decided)
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
        ew_sim_fail(sc->sim, "a client submit was never decided");
}

void clients_check(scenario *sc) {
    for (size_t i = 0; i < sc->client_submit_count; i++) {
        uint32_t written = 0;
        const client_submit *e = &sc->client_submits[i];
        for (int64_t at = 1; at <= etcd_model_revision(sc->sim->etcd); at++)
            written += was_written(sc, (uint32_t)i, at);
        bool wrong = written > 1 || (e->decided && written != (e->status == EW_OK));
        if (wrong && !record_was_lost(sc, e))
            ew_sim_fail(sc->sim, "client submit %zu (%s) was written %u times", i,
                        e->decided ? ew_strerror(e->status) : "undecided", written);
    }
}
