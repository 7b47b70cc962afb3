/* Compares the simulator's model of etcd with a real etcd: the same random requests must give the same answers.
 *
 * Both start empty. Compared are the status and every byte of the answer except cluster, member and term. */
#include "etcd.pb-c.h"
#include "etcd/etcd.h"
#include "lib/etcd_server.h"
#include "sim/etcd_model.h"
#include "sim/memory.h"
#include "sim/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { REQUESTS = 3000, TIMEOUT_MS = 10000, KEYS = 12, LEASES = 4, OPS_MAX = 6 };

static etcd_server *server;
static ew_client *client;
static etcd_queue *queue;
static etcd_model *model;
static sim_arena arena;
static sim_random dice;

static int setup(void **state) {
    (void)state;
    server = etcd_server_start(NULL);
    client = etcd_server_client(server);
    queue = etcd_queue_new();
    assert_non_null(queue);
    etcd_model_config config = etcd_model_defaults;
    model = etcd_model_new(&config);
    sim_arena_init(&arena);
    dice.state = 20240603;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sim_arena_fini(&arena);
    etcd_model_free(model);
    etcd_queue_free(queue);
    ew_client_close(client);
    etcd_server_free(server);
    return 0;
}

/* ---- one call to both ---- */

typedef struct real_answer {
    bool answered;
    int status;
    char detail[128];
    ew_slice bytes;
} real_answer;

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    real_answer *a = arg;
    a->answered = true;
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s", detail ? detail : "");
    a->bytes = sim_copy(bytes);
}

static real_answer ask_real(etcd_method method, ew_slice request) {
    real_answer a = {0};
    assert_non_null(etcd_call_start(client, queue, method, request, TIMEOUT_MS, answered, &a));
    int64_t deadline_ms = etcd_now_ms() + 2 * TIMEOUT_MS;
    while (!a.answered && etcd_now_ms() < deadline_ms)
        etcd_queue_run(queue, deadline_ms);
    assert_true(a.answered);
    return a;
}

typedef struct method {
    const char *name;
    etcd_method real;
    etcd_model_method model;
    const ProtobufCMessageDescriptor *answer;
} method;

static const method methods[] = {
    {"range", ETCD_RANGE, ETCD_MODEL_RANGE, &pb__range_response__descriptor},
    {"put", ETCD_PUT, ETCD_MODEL_PUT, &pb__put_response__descriptor},
    {"delete", ETCD_DELETE_RANGE, ETCD_MODEL_DELETE_RANGE, &pb__delete_range_response__descriptor},
    {"txn", ETCD_TXN, ETCD_MODEL_TXN, &pb__txn_response__descriptor},
    {"compact", ETCD_COMPACT, ETCD_MODEL_COMPACT, &pb__compaction_response__descriptor},
    {"grant", ETCD_LEASE_GRANT, ETCD_MODEL_LEASE_GRANT, &pb__lease_grant_response__descriptor},
    {"revoke", ETCD_LEASE_REVOKE, ETCD_MODEL_LEASE_REVOKE, &pb__lease_revoke_response__descriptor},
};
enum { RANGE, PUT, DELETE, TXN, COMPACT, GRANT, REVOKE };

/* Returns the answer without cluster, member and term. Every response begins with its header. */
static ew_slice normal(const method *m, ew_slice bytes) {
    ProtobufCMessage *message = protobuf_c_message_unpack(m->answer, &arena.allocator, bytes.len, bytes.data);
    assert_non_null(message);
    Pb__ResponseHeader **header = (Pb__ResponseHeader **)(void *)(message + 1);
    assert_non_null(*header);
    (*header)->cluster_id = (*header)->member_id = (*header)->raft_term = 0;
    return sim_pack(&arena, message);
}

static void print_bytes(const char *who, ew_slice s) {
    print_error("%s:", who);
    for (size_t i = 0; i < s.len; i++)
        print_error(" %02x", ((const uint8_t *)s.data)[i]);
    print_error("\n");
}

static void ask_both(const method *m, const ProtobufCMessage *request, int number) {
    ew_slice bytes = sim_pack(&arena, request);
    real_answer real = ask_real(m->real, bytes);
    etcd_model_answer modelled = etcd_model_call(model, m->model, bytes);
    bool same = real.status == modelled.status;
    if (same && real.status == EW_OK) {
        ew_slice a = normal(m, real.bytes), b = normal(m, modelled.bytes);
        same = ew_slice_equal(a, b);
        if (!same) {
            print_bytes("etcd ", a);
            print_bytes("model", b);
        }
    }
    if (!same) {
        print_bytes("request", bytes);
        fail_msg("request %d, %s: etcd answered %s (%s), the model %s (%s)", number, m->name, ew_errname(real.status),
                 real.detail, ew_errname(modelled.status), modelled.detail);
    }
    free((void *)(uintptr_t)real.bytes.data);
}

/* ---- random requests ---- */

static int64_t between(int64_t low, int64_t high) {
    return sim_between(&dice, low, high);
}

static bool chance(int64_t permille) {
    return sim_chance(&dice, permille);
}

static ProtobufCBinaryData text(const char *format, int64_t number) {
    char *out = sim_arena_alloc(&arena, 32);
    int length = snprintf(out, 32, format, (long long)number);
    return (ProtobufCBinaryData){(size_t)length, (uint8_t *)out};
}

static ProtobufCBinaryData some_key(void) {
    if (chance(10))
        return (ProtobufCBinaryData){0, NULL};
    return text("/k/%02lld", between(0, KEYS - 1));
}

static ProtobufCBinaryData some_end(void) {
    static uint8_t nul[] = {0};
    if (chance(100))
        return (ProtobufCBinaryData){1, nul};
    return chance(300) ? text("/k/%02lld", between(0, KEYS)) : (ProtobufCBinaryData){0, NULL};
}

static int64_t some_revision(void) {
    int64_t newest = etcd_model_revision(model);
    return chance(600) ? 0 : between(newest > 60 ? newest - 60 : 0, newest + 1);
}

static Pb__RangeRequest *some_range(void) {
    Pb__RangeRequest *r = sim_arena_alloc(&arena, sizeof *r);
    pb__range_request__init(r);
    r->key = some_key();
    r->range_end = some_end();
    r->limit = chance(300) ? between(1, 5) : 0;
    r->revision = some_revision();
    r->keys_only = chance(200);
    r->count_only = chance(100);
    if (chance(300)) /* sorted by key only: etcd does not define the order of equal elements */
        r->sort_order = (Pb__RangeRequest__SortOrder)between(0, 2);
    if (chance(100))
        r->min_mod_revision = some_revision();
    if (chance(100))
        r->max_create_revision = some_revision();
    return r;
}

static Pb__PutRequest *some_put(void) {
    Pb__PutRequest *r = sim_arena_alloc(&arena, sizeof *r);
    pb__put_request__init(r);
    r->key = some_key();
    r->value = chance(100) ? (ProtobufCBinaryData){0, NULL} : text("value %lld", between(0, 5));
    r->lease = chance(200) ? between(1, LEASES) : 0;
    r->prev_kv = chance(200);
    r->ignore_value = chance(50);
    r->ignore_lease = chance(50);
    return r;
}

static Pb__DeleteRangeRequest *some_delete(void) {
    Pb__DeleteRangeRequest *r = sim_arena_alloc(&arena, sizeof *r);
    pb__delete_range_request__init(r);
    r->key = some_key();
    r->range_end = chance(200) ? some_end() : (ProtobufCBinaryData){0, NULL};
    r->prev_kv = chance(300);
    return r;
}

static Pb__Compare *some_compare(void) {
    Pb__Compare *c = sim_arena_alloc(&arena, sizeof *c);
    pb__compare__init(c);
    c->key = some_key();
    if (chance(100))
        c->range_end = some_end();
    c->result = (Pb__Compare__CompareResult)between(0, 3);
    c->target = (Pb__Compare__CompareTarget)between(0, 4);
    c->target_union_case = (Pb__Compare__TargetUnionCase)(c->target + 4);
    if (c->target == PB__COMPARE__COMPARE_TARGET__VALUE)
        c->value = text("value %lld", between(0, 5));
    else if (c->target == PB__COMPARE__COMPARE_TARGET__VERSION)
        c->version = between(0, 3);
    else if (c->target == PB__COMPARE__COMPARE_TARGET__LEASE)
        c->lease = between(0, LEASES);
    else
        c->mod_revision = chance(500) ? 0 : some_revision();
    return c;
}

static Pb__RequestOp **some_ops(size_t *count) {
    *count = (size_t)between(0, OPS_MAX);
    if (chance(10))
        *count = (size_t)between(127, 130);
    Pb__RequestOp **list = sim_arena_alloc(&arena, (*count + 1) * sizeof *list);
    for (size_t i = 0; i < *count; i++) {
        Pb__RequestOp *op = list[i] = sim_arena_alloc(&arena, sizeof *op);
        pb__request_op__init(op);
        int64_t kind = *count > OPS_MAX ? 0 : between(0, 2);
        if (kind == 0) {
            op->request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
            op->request_range = some_range();
        } else if (kind == 1) {
            op->request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
            op->request_put = some_put();
        } else {
            op->request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
            op->request_delete_range = some_delete();
        }
    }
    return list;
}

static void ask_txn(int number) {
    Pb__TxnRequest t = PB__TXN_REQUEST__INIT;
    t.n_compare = (size_t)between(0, 3);
    t.compare = sim_arena_alloc(&arena, (t.n_compare + 1) * sizeof *t.compare);
    for (size_t i = 0; i < t.n_compare; i++)
        t.compare[i] = some_compare();
    t.success = some_ops(&t.n_success);
    t.failure = some_ops(&t.n_failure);
    ask_both(&methods[TXN], &t.base, number);
}

static void ask_other(int number) {
    if (chance(300)) {
        Pb__CompactionRequest r = PB__COMPACTION_REQUEST__INIT;
        r.revision = between(etcd_model_revision(model) - 80, etcd_model_revision(model) + 1);
        if (r.revision > 0)
            ask_both(&methods[COMPACT], &r.base, number);
    } else if (chance(600)) {
        Pb__LeaseGrantRequest r = PB__LEASE_GRANT_REQUEST__INIT;
        r.id = between(1, LEASES);
        r.ttl = 10000;
        ask_both(&methods[GRANT], &r.base, number);
    } else {
        Pb__LeaseRevokeRequest r = PB__LEASE_REVOKE_REQUEST__INIT;
        r.id = between(1, LEASES);
        ask_both(&methods[REVOKE], &r.base, number);
    }
}

static void ask_something(int number) {
    sim_arena_reset(&arena);
    int64_t what = between(0, 99);
    if (what < 20)
        ask_both(&methods[RANGE], &some_range()->base, number);
    else if (what < 45)
        ask_both(&methods[PUT], &some_put()->base, number);
    else if (what < 60)
        ask_both(&methods[DELETE], &some_delete()->base, number);
    else if (what < 95)
        ask_txn(number);
    else
        ask_other(number);
}

static void test_same_answers(void **state) {
    (void)state;
    for (int i = 0; i < REQUESTS; i++)
        ask_something(i);
}

/* ---- watches ---- */

typedef struct seen {
    sim_arena arena;
    Pb__Event *events;
    size_t count, capacity;
    bool canceled, ended;
    int64_t compact_revision, newest;
} seen;

static void look(seen *s, ew_slice bytes) {
    Pb__WatchResponse *r = pb__watch_response__unpack(&s->arena.allocator, bytes.len, bytes.data);
    assert_non_null(r);
    s->canceled |= r->canceled;
    if (r->canceled)
        s->compact_revision = r->compact_revision;
    for (size_t i = 0; i < r->n_events; i++) {
        sim_reserve(s->events, s->capacity, s->count + 1);
        s->events[s->count++] = *r->events[i];
        s->newest = r->events[i]->kv->mod_revision;
    }
}

static void stream_message(void *arg, ew_slice bytes) {
    look(arg, bytes);
}

static void stream_ended(void *arg, int status, const char *detail) {
    (void)status;
    (void)detail;
    ((seen *)arg)->ended = true;
}

static ew_slice watch_request(int64_t start, const char *key, const char *end) {
    Pb__WatchCreateRequest *c = sim_arena_alloc(&arena, sizeof *c);
    Pb__WatchRequest *r = sim_arena_alloc(&arena, sizeof *r);
    pb__watch_create_request__init(c);
    pb__watch_request__init(r);
    c->key = text(key, 0);
    c->range_end = text(end, 0);
    c->start_revision = start;
    c->fragment = true;
    c->prev_kv = chance(500);
    r->request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    r->create_request = c;
    return sim_pack(&arena, &r->base);
}

/* Reads the model's watch to its end, then etcd's to the same revision. */
static void watch_both(int64_t start, const char *key, const char *end) {
    sim_arena_reset(&arena);
    ew_slice request = watch_request(start, key, end), bytes;
    seen modelled = {0}, real = {0};
    sim_arena_init(&modelled.arena);
    sim_arena_init(&real.arena);
    etcd_model_stream *m = etcd_model_stream_open(model);
    assert_int_equal(etcd_model_stream_request(m, request), EW_OK);
    for (bool behind = true; behind;) {
        behind = etcd_model_stream_sync(m);
        while (etcd_model_stream_take(m, &bytes)) {
            look(&modelled, bytes);
            free((void *)(uintptr_t)bytes.data);
        }
    }
    etcd_model_stream_close(m);

    etcd_stream *s =
        etcd_stream_open(client, queue, ETCD_WATCH, (etcd_stream_callbacks){stream_message, stream_ended}, &real);
    assert_non_null(s);
    assert_int_equal(etcd_stream_send(s, request), EW_OK);
    int64_t deadline_ms = etcd_now_ms() + TIMEOUT_MS;
    while ((real.canceled ? false : modelled.canceled || real.count < modelled.count) && etcd_now_ms() < deadline_ms)
        etcd_queue_run(queue, deadline_ms);
    etcd_stream_cancel(s);
    while (!real.ended)
        etcd_queue_run(queue, deadline_ms);

    assert_int_equal(real.canceled, modelled.canceled);
    assert_int_equal(real.compact_revision, modelled.compact_revision);
    assert_int_equal(real.count, modelled.count);
    for (size_t i = 0; i < real.count; i++) {
        ew_slice a = sim_pack(&real.arena, &real.events[i].base), b = sim_pack(&real.arena, &modelled.events[i].base);
        if (!ew_slice_equal(a, b)) {
            print_bytes("etcd ", a);
            print_bytes("model", b);
            fail_msg("watch from %lld: event %zu differs", (long long)start, i);
        }
    }
    free(real.events);
    free(modelled.events);
    sim_arena_fini(&real.arena);
    sim_arena_fini(&modelled.arena);
}

static void test_same_watches(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 150; i++)
            ask_something(i);
        int64_t newest = etcd_model_revision(model), oldest = etcd_model_compacted(model);
        watch_both(between(oldest + 1, newest), "/k/", "/k0");
        watch_both(between(oldest + 1, newest), "/k/03", "/k/07");
        watch_both(between(1, newest), "/k/", "/k0"); /* perhaps compacted */
    }
}

/* A backlog of more than 1,000 revisions comes in batches (ETCD P1), a large one in fragments (P3). */
static void test_same_backlog(void **state) {
    (void)state;
    for (int i = 0; i < 2500; i++) {
        sim_arena_reset(&arena);
        Pb__PutRequest *r = some_put();
        r->key = text("/k/%02lld", between(0, KEYS - 1));
        r->ignore_value = r->ignore_lease = false;
        r->lease = 0;
        char *big = sim_arena_alloc(&arena, 2000);
        memset(big, 'x', 2000);
        r->value = (ProtobufCBinaryData){2000, (uint8_t *)big};
        ask_both(&methods[PUT], &r->base, i);
    }
    watch_both(2, "/k/", "/k0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_watches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_backlog, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
