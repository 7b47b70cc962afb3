#include "sim/check.h"
#include "sim/worker.h"

#include "core/argument.h"
#include "core/slice.h"

#include "etcd.pb-c.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---- life ---- */

ew_sim *ew_sim_new(uint64_t seed) {
    ew_sim *s = sim_alloc(sizeof *s);
    s->seed = seed;
    s->random.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    s->schedule.random = &s->random;
    s->digest = UINT64_C(0xcbf29ce484222325);
    s->faulty = true;
    sim_arena_init(&s->arena);
    sim_arena_init(&s->scratch);
    sim_faults_draw(s);
    s->etcd = etcd_model_new(&s->etcd_config);
    s->authored = etcd_model_revision(s->etcd);
    sim_faults_start(s);
    return s;
}

void ew_sim_free(ew_sim *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->worker_count; i++)
        sim_worker_free(s->workers[i]);
    sim_network_free(s);
    for (size_t i = 0; i < s->schedule.count; i++)
        if (s->schedule.heap[i].fn == s->after)
            free(s->schedule.heap[i].arg);
    etcd_model_free(s->etcd);
    sim_schedule_fini(&s->schedule);
    sim_arena_fini(&s->arena);
    sim_arena_fini(&s->scratch);
    free(s->visible);
    free(s->workers);
    free(s->authors);
    free(s);
}

int ew_sim_add_worker(ew_sim *s, const ew_options *options, const ew_reactor *reactor, void *self, ew_error *err) {
    if (ARGUMENT_MISSING(s, err) || ARGUMENT_MISSING(options, err) || ARGUMENT_MISSING(reactor, err))
        return EW_ERR_INVALID;
    if (!reactor || reactor->size < offsetof(ew_reactor, update) || !reactor->tick)
        return ew_fail(err, EW_ERR_INVALID, "the reactor has no tick function");
    sim_reserve(s->workers, s->worker_capacity, s->worker_count + 1);
    sim_worker *w = sim_worker_new(s, (uint32_t)s->worker_count, options, reactor, self);
    if (!w)
        return ew_fail(err, EW_ERR_NO_MEMORY, "creating a simulated worker");
    s->workers[s->worker_count] = w;
    w->starting = true;
    sim_at(s, sim_now(s), sim_worker_start_task, w, w);
    return (int)s->worker_count++;
}

void ew_sim_on_end(ew_sim *s, int worker, ew_sim_ended_fn fn) {
    if (!s)
        return;
    s->workers[worker]->ended = fn;
}

void ew_sim_stop_worker(ew_sim *s, int worker) {
    if (!s)
        return;
    sim_worker_stop(s->workers[worker]);
}

bool ew_sim_is_running(const ew_sim *s, int worker) {
    if (!s)
        return false;
    return s->workers[worker]->running;
}

/* ---- time ---- */

int64_t sim_now(const ew_sim *s) {
    return s->schedule.now_ms;
}

int64_t ew_sim_now_ms(const ew_sim *s) {
    if (!s)
        return 0;
    return sim_now(s);
}

void sim_at(ew_sim *s, int64_t at_ms, sim_task_fn fn, void *arg, const void *owner) {
    sim_schedule_add(&s->schedule, at_ms, fn, arg, owner);
}

ew_status ew_sim_run(ew_sim *s, int64_t ms) {
    if (ARGUMENT_MISSING(s, NULL))
        return EW_ERR_INVALID;
    enum { STEPS_MAX = 20000 };
    int64_t until_ms = sim_now(s) + ms, before_ms = sim_now(s);
    while (!s->failed && sim_schedule_step(&s->schedule, until_ms)) {
        s->steps_at_once = sim_now(s) == before_ms ? s->steps_at_once + 1 : 0;
        before_ms = sim_now(s);
        if (s->steps_at_once > STEPS_MAX)
            ew_sim_fail(s, "endless loop: the simulated time does not advance");
    }
    return s->failed ? EW_ERR_STATE : EW_OK;
}

void ew_sim_set_faults(ew_sim *s, bool on) {
    if (!s)
        return;
    if (s->faulty && !on)
        s->calm_since_ms = sim_now(s);
    s->faulty = on;
    if (!on)
        s->away_until_ms = s->full_until_ms = 0;
}

static bool settled(const ew_sim *s) {
    for (size_t i = 0; i < s->worker_count; i++)
        if (!sim_worker_settled(s->workers[i]))
            return false;
    return true;
}

ew_status ew_sim_settle(ew_sim *s, int64_t limit_ms) {
    if (ARGUMENT_MISSING(s, NULL))
        return EW_ERR_INVALID;
    enum { LOOK_MS = 50 };
    ew_sim_set_faults(s, false);
    int64_t until_ms = sim_now(s) + limit_ms;
    while (!s->failed && !settled(s) && sim_now(s) < until_ms)
        ew_sim_run(s, LOOK_MS);
    for (size_t i = 0; i < s->worker_count && !s->failed; i++) {
        const sim_worker *w = s->workers[i];
        if (!sim_worker_settled(w))
            ew_sim_fail(s, "worker %u is not idle after %lld ms (%s)", w->number, (long long)limit_ms,
                        sim_worker_describe(w));
    }
    return s->failed ? EW_ERR_STATE : EW_OK;
}

typedef struct after {
    ew_sim *sim;
    ew_sim_fn fn;
    void *arg;
} after;

static void run_after(void *arg) {
    after *a = arg;
    after copy = *a;
    free(a);
    copy.fn(copy.sim, copy.arg);
}

void ew_sim_after(ew_sim *s, int64_t delay_ms, ew_sim_fn fn, void *arg) {
    if (!s || !fn)
        return;
    after *a = sim_alloc(sizeof *a);
    *a = (after){s, fn, arg};
    s->after = run_after;
    sim_at(s, sim_now(s) + (delay_ms > 0 ? delay_ms : 0), run_after, a, NULL);
}

uint64_t ew_sim_random(ew_sim *s) {
    if (!s)
        return 0;
    return sim_next(&s->random);
}

/* ---- failures and notes ---- */

const char *ew_sim_failure(const ew_sim *s) {
    if (!s)
        return NULL;
    return s->failed ? s->failure : NULL;
}

void ew_sim_fail(ew_sim *s, const char *format, ...) {
    if (!s)
        return;
    if (s->failed)
        return;
    s->failed = true;
    int head = snprintf(s->failure, sizeof s->failure, "at %lld ms: ", (long long)sim_now(s));
    va_list args;
    va_start(args, format);
    vsnprintf(s->failure + head, sizeof s->failure - (size_t)head, format, args);
    va_end(args);
    sim_trace(s, "FAILED %s", s->failure);
}

static void digest(ew_sim *s, uint64_t number) {
    s->digest = (s->digest ^ number) * UINT64_C(0x100000001b3);
    s->digest ^= s->digest >> 29;
}

void sim_note(ew_sim *s, const char *what, int64_t a, int64_t b) {
    digest(s, (uint64_t)sim_now(s));
    for (const char *c = what; *c; c++)
        digest(s, (uint64_t)*c);
    digest(s, (uint64_t)a);
    digest(s, (uint64_t)b);
    if (s->trace)
        fprintf(s->trace, "%8lld %s %lld %lld\n", (long long)sim_now(s), what, (long long)a, (long long)b);
}

void sim_trace(ew_sim *s, const char *format, ...) {
    if (!s->trace)
        return;
    fprintf(s->trace, "%8lld   ", (long long)sim_now(s));
    va_list args;
    va_start(args, format);
    vfprintf(s->trace, format, args);
    va_end(args);
    fputc('\n', s->trace);
}

void ew_sim_trace(ew_sim *s, FILE *out) {
    if (!s)
        return;
    s->trace = out;
}

uint64_t ew_sim_digest(const ew_sim *s) {
    if (!s)
        return 0;
    return s->digest;
}

/* ---- writes of external clients ---- */

static int64_t call(ew_sim *s, etcd_model_method method, const ProtobufCMessage *request) {
    etcd_model_advance(s->etcd, sim_now(s));
    sim_network_changed(s, (sim_author){0});
    sim_arena_reset(&s->scratch);
    etcd_model_call(s->etcd, method, sim_pack(&s->scratch, request));
    sim_network_changed(s, (sim_author){0});
    return etcd_model_revision(s->etcd);
}

int64_t sim_put(ew_sim *s, ew_slice key, ew_slice value, int64_t lease) {
    Pb__PutRequest r = PB__PUT_REQUEST__INIT;
    r.key = slice_bytes(key);
    r.value = slice_bytes(value);
    r.lease = lease;
    return call(s, ETCD_MODEL_PUT, &r.base);
}

int64_t ew_sim_put(ew_sim *s, ew_slice key, ew_slice value) {
    if (!s)
        return 0;
    return sim_put(s, key, value, 0);
}

int64_t ew_sim_delete(ew_sim *s, ew_slice key) {
    if (!s)
        return 0;
    Pb__DeleteRangeRequest r = PB__DELETE_RANGE_REQUEST__INIT;
    r.key = slice_bytes(key);
    return call(s, ETCD_MODEL_DELETE_RANGE, &r.base);
}

void sim_external_txn(ew_sim *s, const Pb__TxnRequest *txn) {
    call(s, ETCD_MODEL_TXN, &txn->base);
}

int64_t sim_record_lease(ew_sim *s) {
    enum { ID = 0x7ec0, DAY_S = 86400 };
    if (s->record_lease == 0) {
        Pb__LeaseGrantRequest r = PB__LEASE_GRANT_REQUEST__INIT;
        r.id = ID;
        r.ttl = DAY_S;
        call(s, ETCD_MODEL_LEASE_GRANT, &r.base);
        s->record_lease = ID;
    }
    return s->record_lease;
}

void sim_compact(ew_sim *s, int64_t revision) {
    Pb__CompactionRequest r = PB__COMPACTION_REQUEST__INIT;
    r.revision = revision;
    call(s, ETCD_MODEL_COMPACT, &r.base);
}

void sim_restore(ew_sim *s, int64_t revision, int64_t away_ms) {
    int64_t newest = etcd_model_revision(s->etcd);
    sim_note(s, "restore", revision, newest);
    sim_trace(s, "etcd is restored from revision %lld, at %lld", (long long)revision, (long long)newest);
    s->away_until_ms = sim_now(s) + away_ms;
    s->restores++;
    s->lost_up_to = newest > s->lost_up_to ? newest : s->lost_up_to;
    sim_network_lose_all(s);
    etcd_model_restore(s->etcd, revision);
    s->authored = revision;
    for (size_t i = 0; i < s->worker_count; i++)
        check_restored(s->workers[i]);
    sim_network_changed(s, (sim_author){0});
}

ew_status ew_sim_get(const ew_sim *s, ew_slice key, ew_entry *out) {
    if (ARGUMENT_MISSING(s, NULL) || ARGUMENT_MISSING(out, NULL))
        return EW_ERR_INVALID;
    const etcd_model_record *r = etcd_model_get(s->etcd, key, etcd_model_revision(s->etcd));
    if (!r)
        return EW_ERR_NOT_FOUND;
    *out = (ew_entry){r->key, r->value, r->mod_revision, r->create_revision, r->version, r->lease};
    return EW_OK;
}

int64_t ew_sim_revision(const ew_sim *s) {
    if (!s)
        return 0;
    return etcd_model_revision(s->etcd);
}
