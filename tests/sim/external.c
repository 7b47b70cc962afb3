/* All other writers of this etcd: programs that know nothing of the workers, TiCDC's own workers, nng applications. */
#include "scenario.h"

#include "core/slice.h"
#include "etcd.pb-c.h"

#include <stdlib.h>

static void name(char out[40], const char *kind, int64_t number) {
    snprintf(out, 40, "/app/%s/%lld", kind, (long long)number);
}

/* Deletes a key as TiCDC does: with the delete counter, if no other writer was faster. */
static void delete_as_original(scenario *sc, const char *key) {
    ew_entry counter;
    int64_t n = 0;
    if (ew_sim_get(sc->sim, EW_STR("/app/meta/ticdc-delete-etcd-key-count"), &counter) == EW_OK)
        n = number_of(counter.value);
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n + 1);
    Pb__PutRequest p = PB__PUT_REQUEST__INIT;
    p.key = slice_bytes(EW_STR("/app/meta/ticdc-delete-etcd-key-count"));
    p.value = slice_bytes(ew_str(text));
    Pb__DeleteRangeRequest d = PB__DELETE_RANGE_REQUEST__INIT;
    d.key = slice_bytes(ew_str(key));
    Pb__RequestOp ops[2] = {PB__REQUEST_OP__INIT, PB__REQUEST_OP__INIT}, *list[] = {&ops[0], &ops[1]};
    ops[0].request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &p;
    ops[1].request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[1].request_delete_range = &d;
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.n_success = 2;
    t.success = list;
    sim_external_txn(sc->sim, &t);
}

static void disappear(ew_sim *sim, void *arg) {
    scenario *sc = arg;
    char key[40];
    name(key, "junk", sc->flickering[sc->flickered++ % FLICKERS]);
    ew_sim_delete(sim, ew_str(key));
}

static void appear(ew_sim *sim, void *arg) {
    scenario *sc = arg;
    char key[40];
    name(key, "junk", sc->flickering[sc->appeared++ % FLICKERS]);
    ew_sim_put(sim, ew_str(key), EW_STR("for a moment"));
    ew_sim_after(sim, sim_between(&sc->random, 0, sc->hot ? 40 : 300), disappear, sc);
}

static void write_something(scenario *sc) {
    sim_random *r = &sc->random;
    char key[40], text[64];
    snprintf(text, sizeof text, "external %lld", (long long)sim_between(r, 0, 1000000));
    name(key, "junk", sim_between(r, 0, sc->junk - 1));
    if (sc->old > 0 && sim_chance(r, 100))
        name(key, "old", sim_between(r, 0, sc->old - 1));
    switch (sc->hot && sim_chance(r, 600) ? 8 : sim_between(r, 0, 10)) {
    case 0:
    case 1:
    case 2:
        ew_sim_put(sc->sim, ew_str(key), ew_str(text));
        break;
    case 3:
    case 4:
        if (sc->counter)
            delete_as_original(sc, key);
        else
            ew_sim_delete(sc->sim, ew_str(key));
        break;
    case 5: /* an external writer that ignores the delete counter */
        ew_sim_delete(sc->sim, ew_str(key));
        break;
    case 6: /* a sibling of the prefix, which no worker sees */
        ew_sim_put(sc->sim, sim_chance(r, 500) ? EW_STR("/app-other/1") : EW_STR("/apple"), ew_str(text));
        break;
    case 7: /* revisions outside the prefix */
        ew_sim_put(sc->sim, EW_STR("/elsewhere"), ew_str(text));
        break;
    case 8: /* created and deleted: a compare with an absent key holds again */
        ew_sim_delete(sc->sim, ew_str(key));
        sc->flickering[sc->flicker++ % FLICKERS] = sim_between(r, 0, sc->junk - 1);
        ew_sim_after(sc->sim, sim_between(r, 0, sc->hot ? 40 : 300), appear, sc);
        break;
    case 9: /* the bare key of the prefix */
        if (sim_chance(r, 500))
            ew_sim_put(sc->sim, EW_STR("/app"), ew_str(text));
        else
            ew_sim_delete(sc->sim, EW_STR("/app"));
        break;
    default:
        if (sc->counter && sim_chance(r, 200))
            /* resets the counter (SEMANTICS 9) */
            ew_sim_delete(sc->sim, EW_STR("/app/meta/ticdc-delete-etcd-key-count"));
        else
            ew_sim_put(sc->sim, ew_str(key), EW_STR(""));
        break;
    }
}

/* ---- submits ---- */

void external_submit_replied(void *arg, uint32_t worker, uint64_t submit, int status, int64_t revision) {
    scenario *sc = arg;
    actor *a = &sc->actors[worker];
    a->submits--;
    if (submit >= CLIENT_SUBMIT_BASE) {
        clients_replied(sc, worker, submit - CLIENT_SUBMIT_BASE, status, revision);
        return;
    }
    if (status == EW_ERR_BUSY && a->submits < sc->sim->workers[worker]->options->max_submits)
        ew_sim_fail(sc->sim, "worker %u refused a submit, although only %u wait", worker, a->submits);
    record_decided(sc->records[submit], status, revision);
}

/* Adds a compare: that a key is absent, or has its current value, or another value. */
static void sample_compare(scenario *sc, record *r, Msg__Submit__Compare *compare) {
    sim_random *random = &sc->random;
    ew_entry now = {0};
    r->compares = true;
    name(r->compared, "junk", sim_between(random, 0, sc->junk - 1));
    r->absent = ew_sim_get(sc->sim, ew_str(r->compared), &now) != EW_OK || sim_chance(random, 300);
    if (sim_chance(random, 100))
        r->absent = !r->absent;
    if (!r->absent && sim_chance(random, 900) && now.value.len > 0 && now.value.len < sizeof r->expected)
        memcpy(r->expected, now.value.data, now.value.len);
    compare->key = slice_bytes(ew_str(r->compared));
    compare->absent = r->absent;
    if (!r->absent)
        compare->value = slice_bytes(ew_str(r->expected));
}

static void submit(scenario *sc, actor *a) {
    sim_random *random = &sc->random;
    sim_worker *w = sc->sim->workers[a->worker];
    if (!sim_worker_takes_submits(w))
        return;
    record *r = record_new(a, RECORD_SUBMIT);
    if (!r->marked) {
        r->state = RECORD_REFUSED; /* it is not sent */
        return;
    }
    char text[16];
    snprintf(text, sizeof text, "%u", r->number);
    Msg__Submit m = MSG__SUBMIT__INIT;
    Msg__Submit__Put put = MSG__SUBMIT__PUT__INIT, *puts[] = {&put};
    put.key = slice_bytes(ew_str(r->mark));
    put.value = slice_bytes(ew_str(text));
    m.n_puts = 1;
    m.puts = puts;
    Msg__Submit__Compare compare = MSG__SUBMIT__COMPARE__INIT, *compares[] = {&compare};
    if (sim_chance(random, 500)) {
        sample_compare(sc, r, &compare);
        m.n_compares = 1;
        m.compares = compares;
    }
    ProtobufCBinaryData removed = slice_bytes(EW_STR("/app/junk/0"));
    if (sim_chance(random, 300)) {
        m.n_deletes = 1;
        m.deletes = &removed;
        touched *t = record_touch(r, "/app/junk/0");
        t->wrote = t->removed = true; /* a later group of the same revision may have read it */
    }
    a->submits++;
    sim_worker_submit(w, &m, r->number);
    if (a->submits > w->options->max_submits)
        ew_sim_fail(sc->sim, "worker %d: %u submits wait, the limit is %lld", a->worker, a->submits,
                    (long long)w->options->max_submits);
}

/* Submits one group, or sometimes more than may wait at once. */
static void submit_some(scenario *sc) {
    enum { MANY = 12 };
    actor *a = &sc->actors[sim_between(&sc->random, 0, sc->actor_count - 1)];
    int64_t count = sim_chance(&sc->random, 50) ? MANY : 1;
    while (count-- > 0)
        submit(sc, a);
}

/* ---- */

static void round_of(ew_sim *sim, void *arg) {
    scenario *sc = arg;
    if (sc->quiet)
        return;
    int64_t burst = sim_chance(&sc->random, 50) ? sim_between(&sc->random, 5, 60) : 1;
    while (burst-- > 0)
        write_something(sc);
    if (sim_chance(&sc->random, 500))
        claims_write(sc);
    if (sim_chance(&sc->random, 300))
        seats_write(sc);
    if (sim_chance(&sc->random, 300))
        submit_some(sc);
    ew_sim_after(sim, sim_between(&sc->random, 1, sc->external_ms), round_of, sc);
}

void external_start(scenario *sc) {
    sc->sim->replied = external_submit_replied;
    sc->sim->replied_arg = sc;
    clients_start(sc);
    if (sc->external_ms > 0)
        round_of(sc->sim, sc);
}
