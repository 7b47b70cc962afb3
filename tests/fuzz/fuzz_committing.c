/* Feeds the committing core batches, and answers that are etcd's own, lost, late, damaged or random, in any order. It
 * must not crash. It must keep one call at a time and report one outcome for each batch. It must never wait without a
 * call in flight or a deadline. While the answers that it accepts are etcd's, it must not apply a unit twice, nor
 * report a wrong outcome. */
#include "../unit/tiny_etcd.h"
#include "core/check.h"
#include "core/committing.h"
#include "input.h"

enum { KEYS = 6, UNITS = 6, COPIES = 4 };

static const char *const keys[KEYS] = {"/a/0", "/a/1", "/a/2", "/a/3", "/a/4", "/a/5"};
#define COUNTER "/a/counter"
#define RECEIPT "/r/w"
#define LEADER  "/leader"

typedef struct copy {
    uint8_t bytes[8192];
    size_t len;
} copy;

typedef struct bench {
    input in;
    committing *c;
    committing_config config;
    tiny_etcd etcd;
    tiny_answer answer;
    int64_t now_ms;
    uint64_t batch;
    bool call_out, batch_out, ended, honest, stopped;
    copy sent, copies[COPIES];
    size_t copy_count;
    uint32_t units;
    char values[UNITS][24]; /* what each unit of the batch puts */
    unsigned applied[UNITS];
} bench;

/* Applies a transaction, and counts which units of the batch it wrote. */
static void apply(bench *b, const copy *t) {
    int64_t before = b->etcd.revision;
    tiny_txn(&b->etcd, t->bytes, t->len, &b->answer);
    for (uint32_t u = 0; b->batch_out && u < b->units; u++) {
        const tiny_kv *kv = tiny_find(&b->etcd, keys[u], strlen(keys[u]));
        if (kv && kv->mod > before && strcmp(kv->value, b->values[u]) == 0)
            b->applied[u]++;
    }
}

static void check_outcome(bench *b, const Msg__Outcome *o) {
    CHECK(b->batch_out && o->batch == b->batch && o->units <= b->units && o->status <= 0);
    CHECK((o->status == EW_OK) == (o->units == b->units));
    CHECK(o->n_revisions == o->units && o->detail);
    CHECK(!o->unknown || o->status != EW_OK);
    for (uint32_t u = 0; b->honest && u < b->units; u++) {
        CHECK(b->applied[u] <= 1);
        CHECK(b->applied[u] == (u < o->units ? 1 : 0) || (o->unknown && u >= o->units));
    }
    b->batch_out = false;
}

static void take_effect(bench *b, const committing_effect *e) {
    CHECK(!b->ended);
    switch (e->type) {
    case COMMITTING_DO_TXN:
        CHECK(!b->call_out && e->bytes.len <= sizeof b->sent.bytes);
        b->call_out = true;
        b->sent.len = e->bytes.len;
        memcpy(b->sent.bytes, e->bytes.data, e->bytes.len);
        break;
    case COMMITTING_DO_OUTCOME:
        check_outcome(b, &e->outcome);
        break;
    case COMMITTING_DO_LEASE:
        CHECK(b->config.exactly_once);
        break;
    case COMMITTING_DO_END:
        b->ended = true;
        break;
    case COMMITTING_DO_LOG:
        CHECK(e->detail);
        break;
    }
}

static void step(bench *b, committing_event event) {
    committing_effects effects;
    event.now_ms = b->now_ms;
    if (event.type == COMMITTING_ANSWER)
        b->call_out = false;
    committing_step(b->c, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        take_effect(b, &effects.list[i]);
    CHECK(b->ended == (committing_get_state(b->c) == COMMITTING_ENDED));
    CHECK(!b->ended || !b->batch_out);
    CHECK(!b->batch_out || b->call_out || committing_deadline_ms(b->c) < INT64_MAX);
}

static void answer_status(bench *b, int status) {
    step(b, (committing_event){.type = COMMITTING_ANSWER, .status = status, .detail = "fuzz"});
}

static void answer_bytes(bench *b, const uint8_t *bytes, size_t len) {
    step(b, (committing_event){.type = COMMITTING_ANSWER, .bytes = {bytes, len}});
}

static void answer_as_etcd(bench *b) {
    if (b->answer.status == EW_OK)
        answer_bytes(b, b->answer.bytes, b->answer.len);
    else
        answer_status(b, b->answer.status);
}

/* ---- batches ---- */

static size_t pack_unit(bench *b, uint32_t u, uint8_t *out, Msg__Unit *unit) {
    const ProtobufCBinaryData key = {strlen(keys[u]), (uint8_t *)keys[u]};
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    Pb__RangeRequest range = PB__RANGE_REQUEST__INIT;
    Pb__RequestOp op = PB__REQUEST_OP__INIT, *ops[] = {&op}, read = PB__REQUEST_OP__INIT, *reads[] = {&read};
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = tiny_mod(&b->etcd, keys[u]);
    compare.key = put.key = range.key = key;
    put.value = (ProtobufCBinaryData){strlen(b->values[u]), (uint8_t *)b->values[u]};
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    read.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    read.request_range = &range;
    txn.compare = compares;
    txn.success = ops;
    txn.failure = reads;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    unit->groups = unit->compares = unit->ops = 1;
    return pb__txn_request__pack(&txn, out);
}

static void give_batch(bench *b) {
    uint8_t bytes[UNITS][256];
    Msg__Unit units[UNITS], *list[UNITS];
    Msg__Patches patches = MSG__PATCHES__INIT;
    if (b->batch_out || b->ended)
        return;
    while (b->copy_count > 0) /* a copy of an older batch may come late, but never have an effect */
        apply(b, &b->copies[--b->copy_count]);
    memset(b->applied, 0, sizeof b->applied);
    b->units = take(&b->in) % (UNITS + 1);
    b->batch++;
    for (uint32_t u = 0; u < b->units; u++) {
        snprintf(b->values[u], sizeof b->values[u], "%u.%u", (unsigned)b->batch, (unsigned)u);
        msg__unit__init(&units[u]);
        units[u].txn.data = bytes[u];
        units[u].txn.len = pack_unit(b, u, bytes[u], &units[u]);
        list[u] = &units[u];
    }
    if (b->units > 0 && take(&b->in) == 0) { /* an invalid unit */
        units[0].txn.len = take(&b->in) % (units[0].txn.len + 1);
        b->honest = false;
    }
    const char *counter = tiny_value(&b->etcd, COUNTER);
    patches.batch = b->batch;
    patches.delete_counter = counter ? atoi(counter) : 0;
    patches.n_units = b->units;
    patches.units = list;
    b->batch_out = true;
    step(b, (committing_event){.type = COMMITTING_BATCH, .patches = &patches});
}

/* ---- events ---- */

static void replace_lease(bench *b) {
    step(b, (committing_event){.type = COMMITTING_LEASE, .lease = ++b->config.lease});
}

static void external_change(bench *b) {
    uint8_t what = take(&b->in);
    if (what < 100)
        tiny_put(&b->etcd, keys[what % KEYS], "external");
    else if (what < 200)
        tiny_delete(&b->etcd, keys[what % KEYS]);
    else if (what < 220)
        tiny_put(&b->etcd, COUNTER, what % 2 ? "1" : "2");
    else if (what < 230)
        tiny_delete(&b->etcd, COUNTER);
    else if (what < 235)
        replace_lease(b);
    else if (what < 240) { /* the receipt is deleted, with its lease or without */
        tiny_delete(&b->etcd, RECEIPT);
        if (what < 238)
            b->etcd.dead_lease = b->config.lease;
    } else if (what < 245) {
        tiny_put(&b->etcd, RECEIPT, what % 2 ? "1" : "77");
    } else if (what < 250) {
        tiny_delete(&b->etcd, LEADER);
    }
}

/* Answers with etcd's answer, a few bytes of it changed, or with random bytes. */
static void answer_damaged(bench *b) {
    apply(b, &b->sent);
    b->honest = false; /* the core may accept it */
    size_t len = b->answer.len;
    for (int i = take(&b->in) % 4; i >= 0 && len > 0; i--)
        b->answer.bytes[(take(&b->in) * 256u + take(&b->in)) % len] = take(&b->in);
    if (take(&b->in) < 64 && len > 0)
        len -= take(&b->in) % len;
    answer_bytes(b, b->answer.bytes, len);
}

static void answer(bench *b) {
    static const int lost[] = {EW_ERR_UNKNOWN_OUTCOME, EW_ERR_TIMEOUT, EW_ERR_CANCELLED, EW_ERR_BAD_ANSWER};
    static const int not_applied[] = {EW_ERR_BUSY,    EW_ERR_NO_SPACE,        EW_ERR_UNAVAILABLE, EW_ERR_DENIED,
                                      EW_ERR_INVALID, EW_ERR_UNAUTHENTICATED, EW_ERR_NO_MEMORY,   EW_ERR_TOO_LARGE};
    uint8_t how = take(&b->in);
    if (how < 90) {
        apply(b, &b->sent);
        answer_as_etcd(b);
    } else if (how < 130) {
        apply(b, &b->sent);
        answer_status(b, lost[how % 4]);
    } else if (how < 180 && b->copy_count < COPIES) {
        b->copies[b->copy_count++] = b->sent;
        answer_status(b, lost[how % 4]);
    } else if (how < 220) {
        answer_status(b, not_applied[how % 8]);
    } else if (how < 240) {
        answer_damaged(b);
    } else {
        uint8_t bytes[32];
        size_t len = take(&b->in) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = take(&b->in);
        b->honest = false;
        answer_bytes(b, bytes, len);
    }
}

static void something(bench *b) {
    uint8_t what = take(&b->in) % 8;
    if (what == 0 && !b->stopped && take(&b->in) < 8) {
        b->stopped = true;
        step(b, (committing_event){.type = COMMITTING_STOP, .timeout_ms = take(&b->in) * 10 - 100});
    } else if (what == 1) {
        external_change(b);
    } else if (what == 2 && b->copy_count > 0) {
        apply(b, &b->copies[--b->copy_count]);
    } else if (what == 3) {
        b->now_ms += take(&b->in);
        step(b, (committing_event){.type = COMMITTING_TIMER});
    } else if (b->call_out) {
        answer(b);
    } else if (!b->batch_out) {
        give_batch(b);
    } else if (committing_deadline_ms(b->c) < INT64_MAX) {
        b->now_ms = committing_deadline_ms(b->c) > b->now_ms ? committing_deadline_ms(b->c) : b->now_ms;
        step(b, (committing_event){.type = COMMITTING_TIMER});
    }
}

/* Packs the compare that the leader's key is still the one that was elected. */
static ew_slice pack_fence(uint8_t *bytes) {
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__TxnRequest fence = PB__TXN_REQUEST__INIT;
    compare.target = PB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare.create_revision = 2;
    compare.key = (ProtobufCBinaryData){sizeof LEADER - 1, (uint8_t *)LEADER};
    fence.compare = compares;
    fence.n_compare = 1;
    return (ew_slice){bytes, pb__txn_request__pack(&fence, bytes)};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bench *b = calloc(1, sizeof *b);
    CHECK(b);
    b->in = (input){data, size};
    uint8_t flags = take(&b->in);
    b->config = (committing_config){
        .counter = flags & 1,
        .counter_key = {COUNTER, sizeof COUNTER - 1},
        .max_ops = 128,
        .max_keys = flags & 2 ? 126 : 2,
        .max_bytes = flags & 4 ? 1310720 : 400,
        .exactly_once = !(flags & 8),
        .receipt_key = {RECEIPT, sizeof RECEIPT - 1},
        .lease = 7,
        .backoff_min_ms = 50,
        .backoff_max_ms = 1000,
        .seed = flags,
    };
    b->now_ms = 1000;
    b->honest = true;
    b->etcd.revision = 1;
    uint8_t fence[64];
    if (flags & 16) {
        b->config.fence = pack_fence(fence);
        b->config.fence_compares = 1;
        tiny_put(&b->etcd, LEADER, "me");
    }
    tiny_set(&b->etcd, ++b->etcd.revision, RECEIPT, strlen(RECEIPT), "0", 1, b->config.lease);
    b->config.receipt_revision = b->etcd.revision;
    b->c = committing_new(&b->config);
    CHECK(b->c);
    while (b->in.size > 0 && !b->ended)
        something(b);
    committing_free(b->c);
    free(b);
    return 0;
}
