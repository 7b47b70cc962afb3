/* A committing core, a tiny etcd, and the ways in which a call between them can fail. */
#ifndef UNIT_COMMITTING_FIXTURE_H
#define UNIT_COMMITTING_FIXTURE_H

#include "core/committing.h"
#include "unit/tiny_etcd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LEASE   0x77
#define RECEIPT "/receipts/w"
#define COUNTER "/a/meta/ticdc-delete-etcd-key-count"

typedef struct sent {
    size_t len;
    uint8_t bytes[131072];
} sent;

typedef struct world {
    tiny_etcd etcd;
    committing_config config;
    committing *c;
    int64_t now;
    committing_effects effects;
    bool txn; /* a transaction was sent and not answered: `last` */
    sent last;
    int64_t timeout_ms; /* the time limit of its call */
    bool has_outcome;
    Msg__Outcome outcome;
    int64_t revisions[300];
    char records[2048]; /* of the last outcome: "unit.place@mod_revision=value " for each */
    char detail[256];
    bool ended;
    size_t logs;
    size_t lease_checks; /* how many lease checks the core requested */
    tiny_answer answer;
} world;

static const committing_config plain_config = {
    .counter = true,
    .counter_key = {COUNTER, sizeof COUNTER - 1},
    .max_ops = 128,
    .max_bytes = 1310720,
    .exactly_once = true,
    .receipt_key = {RECEIPT, sizeof RECEIPT - 1},
    .lease = LEASE,
    .call_timeout_ms = 10000,
    .backoff_min_ms = 50,
    .backoff_max_ms = 1000,
    .seed = 1,
};

static inline world *world_new(const committing_config *config) {
    world *w = calloc(1, sizeof *w);
    w->config = *config;
    w->etcd.revision = 1;
    w->now = 1000;
    w->c = committing_new(config);
    assert_non_null(w->c);
    return w;
}

static inline void world_free(world *w) {
    committing_free(w->c);
    free(w);
}

static inline void take_effect(world *w, const committing_effect *e) {
    assert_false(w->ended); /* DO_END is the last effect */
    switch (e->type) {
    case COMMITTING_DO_TXN:
        assert_false(w->txn); /* one call at a time */
        w->txn = true;
        assert_true(e->bytes.len <= sizeof w->last.bytes);
        memcpy(w->last.bytes, e->bytes.data, e->bytes.len);
        w->last.len = e->bytes.len;
        w->timeout_ms = e->timeout_ms;
        break;
    case COMMITTING_DO_OUTCOME:
        assert_false(w->has_outcome);
        w->has_outcome = true;
        w->outcome = e->outcome;
        snprintf(w->detail, sizeof w->detail, "%s", e->outcome.detail);
        for (size_t i = 0; i < e->outcome.n_revisions && i < 300; i++)
            w->revisions[i] = e->outcome.revisions[i];
        w->records[0] = '\0';
        for (size_t i = 0; i < e->outcome.n_records; i++) {
            const Msg__FoundRecord *r = e->outcome.records[i];
            size_t used = strlen(w->records);
            snprintf(w->records + used, sizeof w->records - used, "%u.%u@%lld=%.*s ", r->unit, r->place,
                     (long long)r->mod_revision, (int)r->value.len, (const char *)r->value.data);
        }
        assert_int_equal(e->outcome.n_revisions, e->outcome.units);
        break;
    case COMMITTING_DO_LEASE:
        w->lease_checks++;
        break;
    case COMMITTING_DO_END:
        w->ended = true;
        assert_int_equal(e->status, EW_OK);
        break;
    case COMMITTING_DO_LOG:
        w->logs++;
        assert_non_null(e->detail);
        break;
    }
}

static inline void step(world *w, committing_event event) {
    event.now_ms = w->now;
    w->has_outcome = false;
    if (event.type == COMMITTING_ANSWER)
        w->txn = false;
    committing_step(w->c, &event, &w->effects);
    for (size_t i = 0; i < w->effects.count; i++)
        take_effect(w, &w->effects.list[i]);
}

/* ---- answers ---- */

static inline void answer_status(world *w, int status) {
    step(w, (committing_event){.type = COMMITTING_ANSWER, .status = status, .detail = "as told"});
}

static inline void answer_bytes(world *w, const void *bytes, size_t len) {
    step(w, (committing_event){.type = COMMITTING_ANSWER, .bytes = {bytes, len}});
}

/* etcd applies the transaction that was sent, and the answer arrives. */
static inline void applied(world *w) {
    assert_int_equal(w->txn, true);
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    if (w->answer.status == EW_OK)
        answer_bytes(w, w->answer.bytes, w->answer.len);
    else
        answer_status(w, w->answer.status);
}

/* etcd applies the transaction that was sent, and the answer is lost. */
static inline void applied_lost(world *w) {
    assert_int_equal(w->txn, true);
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
}

/* The transaction that was sent gets no answer, and may arrive later (`late`). Returns a copy of it; `late` frees
 * it. */
static inline sent *delayed(world *w) {
    size_t size = offsetof(sent, bytes) + w->last.len;
    sent *copy = malloc(size);
    memcpy(copy, &w->last, size);
    answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
    return copy;
}

static inline bool late(world *w, sent *copy) {
    tiny_answer *a = malloc(sizeof *a);
    int64_t before = w->etcd.revision;
    tiny_txn(&w->etcd, copy->bytes, copy->len, a);
    free(a);
    free(copy);
    return w->etcd.revision != before;
}

/* Gives the receipt another lease. */
static inline void replace_lease(world *w, int64_t lease) {
    step(w, (committing_event){.type = COMMITTING_LEASE, .lease = lease});
}

/* Advances the clock to the core's deadline and sends TIMER. */
static inline void wait_timer(world *w) {
    int64_t deadline = committing_deadline_ms(w->c);
    assert_true(deadline < INT64_MAX);
    w->now = deadline > w->now ? deadline : w->now;
    step(w, (committing_event){.type = COMMITTING_TIMER});
}

static inline void stop_committing(world *w, int64_t timeout_ms) {
    step(w, (committing_event){.type = COMMITTING_STOP, .timeout_ms = timeout_ms});
}

/* ---- batches ---- */

typedef struct batch {
    Msg__Patches patches;
    Msg__Unit units[300], *list[300];
    uint8_t bytes[262144];
    size_t used;
} batch;

static inline batch *batch_new(uint64_t number, int64_t counter) {
    batch *b = malloc(sizeof *b);
    msg__patches__init(&b->patches);
    b->used = 0;
    b->patches.batch = number;
    b->patches.delete_counter = counter;
    b->patches.units = b->list;
    return b;
}

static inline void batch_unit(batch *b) {
    size_t i = b->patches.n_units++;
    msg__unit__init(&b->units[i]);
    b->list[i] = &b->units[i];
    b->units[i].groups = 1;
    b->units[i].txn.data = b->bytes + b->used;
}

/* Adds a key to the last atomic unit. It is compared with `mod`, then put; with `value` NULL it is deleted; with "?" it
 * is only compared. */
static inline void batch_key(batch *b, const char *key, int64_t mod, const char *value) {
    const ProtobufCBinaryData k = {strlen(key), (uint8_t *)key};
    Msg__Unit *u = b->list[b->patches.n_units - 1];
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__RequestOp op = PB__REQUEST_OP__INIT, *ops[] = {&op}, read = PB__REQUEST_OP__INIT, *reads[] = {&read};
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    Pb__DeleteRangeRequest removal = PB__DELETE_RANGE_REQUEST__INIT;
    Pb__RangeRequest range = PB__RANGE_REQUEST__INIT;
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.key = put.key = removal.key = range.key = k;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = mod;
    range.keys_only = 1;
    read.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    read.request_range = &range;
    if (value) {
        op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op.request_put = &put;
        put.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
    } else {
        op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op.request_delete_range = &removal;
        u->has_delete = 1;
    }
    txn.compare = compares;
    txn.n_compare = 1;
    txn.failure = reads;
    txn.n_failure = 1;
    if (!value || strcmp(value, "?") != 0) {
        txn.success = ops;
        txn.n_success = 1;
        u->ops++;
    }
    u->compares++;
    assert_true(b->used + pb__txn_request__get_packed_size(&txn) <= sizeof b->bytes);
    size_t len = pb__txn_request__pack(&txn, b->bytes + b->used);
    b->used += len;
    u->txn.len += len;
}

/* Adds a client's record to the last atomic unit: compared with `mod`, put, and read with its value if refused. */
static inline void batch_record(batch *b, const char *key, int64_t mod, const char *value) {
    const ProtobufCBinaryData k = {strlen(key), (uint8_t *)key};
    Msg__Unit *u = b->list[b->patches.n_units - 1];
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__RequestOp op = PB__REQUEST_OP__INIT, *ops[] = {&op}, read = PB__REQUEST_OP__INIT, *reads[] = {&read};
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    Pb__RangeRequest range = PB__RANGE_REQUEST__INIT;
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.key = put.key = range.key = k;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = mod;
    read.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    read.request_range = &range;
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    put.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
    txn.compare = compares;
    txn.success = ops;
    txn.failure = reads;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    u->compares++;
    u->ops++;
    u->records++;
    assert_true(b->used + pb__txn_request__get_packed_size(&txn) <= sizeof b->bytes);
    size_t len = pb__txn_request__pack(&txn, b->bytes + b->used);
    b->used += len;
    u->txn.len += len;
}

/* Adds a compare of a range to the last atomic unit: every key in the range is older than `mod`. `result` is LESS in a
 * valid unit. */
static inline void batch_range(batch *b, const char *from, const char *end, int64_t mod,
                               Pb__Compare__CompareResult result) {
    Msg__Unit *u = b->list[b->patches.n_units - 1];
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__RequestOp read = PB__REQUEST_OP__INIT, *reads[] = {&read};
    Pb__RangeRequest range = PB__RANGE_REQUEST__INIT;
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.result = result;
    compare.key = range.key = (ProtobufCBinaryData){strlen(from), (uint8_t *)(uintptr_t)from};
    compare.range_end = range.range_end = (ProtobufCBinaryData){strlen(end), (uint8_t *)(uintptr_t)end};
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = range.min_mod_revision = mod;
    range.keys_only = 1;
    range.limit = 1;
    read.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    read.request_range = &range;
    txn.compare = compares;
    txn.failure = reads;
    txn.n_compare = txn.n_failure = 1;
    u->compares++;
    size_t len = pb__txn_request__pack(&txn, b->bytes + b->used);
    b->used += len;
    u->txn.len += len;
}

static inline void batch_put(batch *b, const char *key, int64_t mod, const char *value) {
    batch_unit(b);
    batch_key(b, key, mod, value);
}

/* Gives the batch to the core and frees it. The core has copied what it needs. */
static inline void give(world *w, batch *b) {
    step(w, (committing_event){.type = COMMITTING_BATCH, .patches = &b->patches});
    memset(b->bytes, 0xee, b->used);
    free(b);
}

static inline void assert_outcome(const world *w, int status, uint32_t units) {
    assert_true(w->has_outcome);
    assert_string_equal(ew_errname(w->outcome.status), ew_errname(status));
    assert_int_equal(w->outcome.units, units);
}

#endif
