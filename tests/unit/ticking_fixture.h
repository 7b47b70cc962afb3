/* A ticking core, a reactor in the test, and messages packed by hand. */
#ifndef UNIT_TICKING_FIXTURE_H
#define UNIT_TICKING_FIXTURE_H

#include "core/ticking.h"
#include "etcd.pb-c.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNTER "/a/meta/ticdc-delete-etcd-key-count"

typedef struct life life;
struct life {
    ticking *t;
    ticking_config config;
    int64_t now;
    uint64_t epoch;
    ticking_effects effects;

    int (*on_tick)(life *l, ew_tick *t); /* NULL: returns EW_OK */
    int update_status;                   /* what the update function returns */
    void *arg;

    /* Since the last look(): */
    int ticks, resets;
    int64_t tick_revision;
    uint64_t tick_number;
    char shown[4096]; /* "+key=value@revision" for a put, "*" for an initial one, "-key@revision" for a deletion */
    int commits;
    Msg__Patches *patches; /* a copy of the last commit */
    int replies;
    uint64_t reply_id; /* of the last reply: */
    int reply_status;
    int64_t reply_revision;
    char reply_detail[256];
    uint64_t replied_mask; /* a bit for each id below 64 */
    int checks, resyncs, peer_stops;
    uint64_t check_number;
    int64_t check_revision;
    int64_t resync_revision;
    bool resync_rewritten;
    bool rewritten; /* the next snapshots are of another history */
    char logs[4096];

    bool ended;
    int end_status;
    char end_detail[256];
};

static const ticking_config plain_config = {
    .prefix = {"/a", 2},
    .counter = true,
    .counter_key = {COUNTER, sizeof COUNTER - 1},
    .receipt_prefix = {"/a/receipts", 11},
    .wants_updates = true,
    .tick_interval_ms = 1000,
    .tick_on_load = true,
    .coalesce = true,
    .max_txn_keys = 126,
    .max_txn_bytes = 1310720,
    .txn_overhead_bytes = 300,
    .conflict_backoff_min_ms = 4,
    .conflict_backoff_max_ms = 64,
    .max_pending_update_bytes = 1 << 20,
    .max_submits = 3,
    .seed = 1,
};

static inline life *life_new(const ticking_config *config) {
    life *l = calloc(1, sizeof *l);
    l->config = *config;
    l->now = 5000;
    l->t = ticking_new(config);
    assert_non_null(l->t);
    return l;
}

static inline void life_free(life *l) {
    ticking_free(l->t);
    ticking_effects_fini(&l->effects);
    if (l->patches)
        msg__patches__free_unpacked(l->patches, NULL);
    free(l);
}

static inline void look(life *l) {
    l->ticks = l->resets = l->commits = l->replies = l->checks = l->resyncs = l->peer_stops = 0;
    l->replied_mask = 0;
    l->shown[0] = l->logs[0] = '\0';
}

/* ---- effects ---- */

static inline void step(life *l, ticking_event event);

static inline void append(char *text, size_t size, const char *format, ...) {
    size_t len = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + len, size - len, format, args);
    va_end(args);
}

static inline int show_updates(life *l) {
    ew_event e;
    while (ticking_take_update(l->t, &e)) {
        append(l->shown, sizeof l->shown, "%s%.*s", e.kind == EW_EVENT_DELETE ? "-" : (e.initial ? "*" : "+"),
               (int)e.entry.key.len, (const char *)e.entry.key.data);
        if (e.kind == EW_EVENT_PUT)
            append(l->shown, sizeof l->shown, "=%.*s", (int)e.entry.value.len, (const char *)e.entry.value.data);
        append(l->shown, sizeof l->shown, "@%" PRId64 " ", e.entry.mod_revision);
        if (l->update_status != EW_OK)
            return l->update_status;
    }
    return EW_OK;
}

static inline void run_tick(life *l, const ticking_effect *e) {
    l->ticks++;
    l->resets += e->reset;
    l->tick_revision = ew_tick_revision(e->tick);
    l->tick_number = ew_tick_number(e->tick);
    assert_int_equal(ew_tick_now_ms(e->tick), l->now);
    ew_tick *tick = e->tick;
    int status = show_updates(l);
    if (status == EW_OK && l->on_tick)
        status = l->on_tick(l, tick);
    step(l, (ticking_event){.type = TICKING_TICKED, .status = status});
}

static inline void take_effect(life *l, const ticking_effect *e) {
    assert_false(l->ended); /* DO_END is the last effect */
    switch (e->type) {
    case TICKING_DO_TICK:
        assert_non_null(e->tick);
        break;
    case TICKING_DO_COMMIT: {
        size_t len = msg__patches__get_packed_size(e->patches);
        uint8_t *bytes = malloc(len + 1);
        msg__patches__pack(e->patches, bytes);
        if (l->patches)
            msg__patches__free_unpacked(l->patches, NULL);
        l->patches = msg__patches__unpack(NULL, len, bytes);
        free(bytes);
        l->commits++;
        break;
    }
    case TICKING_DO_CHECK:
        l->checks++;
        l->check_number = e->check;
        l->check_revision = e->revision;
        break;
    case TICKING_DO_STOP:
        l->peer_stops++;
        break;
    case TICKING_DO_RESYNC:
        l->resyncs++;
        l->resync_revision = e->revision;
        l->resync_rewritten = e->rewritten;
        break;
    case TICKING_DO_REPLY:
        l->replies++;
        l->replied_mask |= UINT64_C(1) << (e->submit_id & 63);
        l->reply_id = e->submit_id;
        l->reply_status = e->status;
        l->reply_revision = e->revision;
        snprintf(l->reply_detail, sizeof l->reply_detail, "%s", e->detail);
        break;
    case TICKING_DO_END:
        l->ended = true;
        l->end_status = e->status;
        snprintf(l->end_detail, sizeof l->end_detail, "%s", e->detail);
        break;
    case TICKING_DO_LOG:
        append(l->logs, sizeof l->logs, "%s; ", e->detail);
        break;
    }
}

static inline void step(life *l, ticking_event event) {
    event.now_ms = l->now;
    ticking_step(l->t, &event, &l->effects);
    ticking_effect tick = {.type = TICKING_DO_LOG};
    for (size_t i = 0; i < l->effects.count; i++) {
        const ticking_effect e = l->effects.list[i];
        if (e.type == TICKING_DO_TICK || e.type == TICKING_DO_COMMIT)
            assert_true(event.type == TICKING_TIMER || event.type == TICKING_TICKED); /* no other event may */
        if (e.type == TICKING_DO_TICK)
            tick = e;
        take_effect(l, &l->effects.list[i]);
    }
    if (tick.type == TICKING_DO_TICK)
        run_tick(l, &tick);
}

/* Sends TIMER until nothing is due. */
static inline void settle(life *l) {
    for (int i = 0; ticking_deadline_ms(l->t) <= l->now; i++) {
        assert_true(i < 10000); /* otherwise the core is due without end */
        step(l, (ticking_event){.type = TICKING_TIMER});
    }
}

/* Advances the clock to the next deadline and sends TIMER. */
static inline void wait_timer(life *l) {
    int64_t deadline = ticking_deadline_ms(l->t);
    assert_true(deadline < INT64_MAX);
    l->now = deadline > l->now ? deadline : l->now;
    step(l, (ticking_event){.type = TICKING_TIMER});
}

static inline void wait_ms(life *l, int64_t ms) {
    l->now += ms;
    settle(l);
}

/* ---- messages ---- */

static inline ProtobufCBinaryData binary(const char *text) {
    return (ProtobufCBinaryData){text ? strlen(text) : 0, (uint8_t *)text};
}

static inline void send_message(life *l, Msg__Message *m) {
    step(l, (ticking_event){.type = TICKING_MESSAGE, .message = m});
}

typedef struct kv {
    const char *key;
    int64_t mod;
    const char *value; /* NULL: deleted */
    int64_t create_revision, version, lease;
} kv;

#define PAGE_MAX 3000

static inline void page(life *l, int64_t revision, bool first, bool last, const kv *kvs, size_t n) {
    static Pb__KeyValue store[PAGE_MAX], *list[PAGE_MAX];
    Pb__RangeResponse response = PB__RANGE_RESPONSE__INIT;
    for (size_t i = 0; i < n; i++) {
        pb__key_value__init(&store[i]);
        store[i].key = binary(kvs[i].key);
        store[i].mod_revision = kvs[i].mod;
        store[i].value = binary(kvs[i].value);
        list[i] = &store[i];
    }
    response.kvs = list;
    response.n_kvs = n;
    Msg__Snapshot snapshot = MSG__SNAPSHOT__INIT;
    snapshot.revision = revision;
    snapshot.first = first;
    snapshot.last = last;
    snapshot.rewritten = l->rewritten;
    snapshot.page.len = pb__range_response__get_packed_size(&response);
    snapshot.page.data = malloc(snapshot.page.len + 1);
    pb__range_response__pack(&response, snapshot.page.data);
    Msg__Message m = MSG__MESSAGE__INIT;
    m.epoch = l->epoch;
    m.snapshot = &snapshot;
    send_message(l, &m);
    free(snapshot.page.data);
}

/* Sends a whole snapshot of the next epoch, in one page. */
#define load(l, revision, ...)                                                                                         \
    do {                                                                                                               \
        const kv load_list_[] = {__VA_ARGS__};                                                                         \
        (l)->epoch++;                                                                                                  \
        page((l), (revision), true, true, load_list_, sizeof load_list_ / sizeof load_list_[0]);                       \
    } while (0)

static inline void load_empty(life *l, int64_t revision) {
    l->epoch++;
    page(l, revision, true, true, NULL, 0);
}

/* Packs a message's events. The caller frees `response.data`. */
static inline Msg__Events pack_events(const kv *kvs, size_t n) {
    static Pb__Event store[PAGE_MAX], *list[PAGE_MAX];
    static Pb__KeyValue values[PAGE_MAX];
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    for (size_t i = 0; i < n; i++) {
        pb__event__init(&store[i]);
        pb__key_value__init(&values[i]);
        values[i].key = binary(kvs[i].key);
        values[i].mod_revision = kvs[i].mod;
        values[i].value = binary(kvs[i].value);
        store[i].kv = &values[i];
        store[i].type = kvs[i].value ? PB__EVENT__EVENT_TYPE__PUT : PB__EVENT__EVENT_TYPE__DELETE;
        list[i] = &store[i];
        events.revision = kvs[i].mod > events.revision ? kvs[i].mod : events.revision;
    }
    response.events = list;
    response.n_events = n;
    events.response.len = pb__watch_response__get_packed_size(&response);
    events.response.data = malloc(events.response.len + 1);
    pb__watch_response__pack(&response, events.response.data);
    return events;
}

static inline void take_events(life *l, const kv *kvs, size_t n) {
    Msg__Events events = pack_events(kvs, n);
    Msg__Message m = MSG__MESSAGE__INIT;
    m.epoch = l->epoch;
    m.events = &events;
    send_message(l, &m);
    free(events.response.data);
}

#define events(l, ...)                                                                                                 \
    do {                                                                                                               \
        const kv events_list_[] = {__VA_ARGS__};                                                                       \
        take_events((l), events_list_, sizeof events_list_ / sizeof events_list_[0]);                                  \
    } while (0)

static inline void send_checked(life *l, uint64_t number, bool last, int status, const kv *kvs, size_t n) {
    Pb__KeyValue store[16], *list[16];
    Pb__RangeResponse response = PB__RANGE_RESPONSE__INIT;
    uint8_t bytes[8192];
    for (size_t i = 0; i < n; i++) {
        pb__key_value__init(&store[i]);
        store[i].key = binary(kvs[i].key);
        store[i].mod_revision = kvs[i].mod;
        store[i].create_revision = kvs[i].create_revision;
        store[i].version = kvs[i].version;
        store[i].lease = kvs[i].lease;
        list[i] = &store[i];
    }
    response.kvs = list;
    response.n_kvs = n;
    assert_true(n <= 16 && pb__range_response__get_packed_size(&response) <= sizeof bytes);
    Msg__Checked checked = MSG__CHECKED__INIT;
    checked.number = number;
    checked.last = last;
    checked.status = status;
    checked.page = (ProtobufCBinaryData){pb__range_response__pack(&response, bytes), bytes};
    Msg__Message m = MSG__MESSAGE__INIT;
    m.checked = &checked;
    send_message(l, &m);
}

static inline void progress(life *l, int64_t revision) {
    Msg__Progress p = MSG__PROGRESS__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    p.revision = revision;
    m.epoch = l->epoch;
    m.progress = &p;
    send_message(l, &m);
}

static inline void health(life *l, bool connected, bool unsure) {
    Msg__Health h = MSG__HEALTH__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    h.connected = connected;
    h.unsure = unsure;
    m.epoch = l->epoch;
    m.health = &h;
    send_message(l, &m);
}

static inline Msg__Outcome outcome_of(life *l, int status, uint32_t units, int64_t barrier) {
    static int64_t revisions[4096];
    Msg__Outcome o = MSG__OUTCOME__INIT;
    assert_non_null(l->patches);
    o.batch = l->patches->batch;
    o.status = status;
    o.units = units;
    o.barrier_revision = barrier;
    o.n_revisions = units;
    o.revisions = revisions;
    for (uint32_t i = 0; i < units; i++)
        revisions[i] = barrier;
    return o;
}

static inline void take_outcome(life *l, Msg__Outcome o) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.outcome = &o;
    send_message(l, &m);
}

/* The whole batch is committed at `revision`. */
static inline void committed(life *l, int64_t revision) {
    take_outcome(l, outcome_of(l, EW_OK, (uint32_t)l->patches->n_units, revision));
}

/* Atomic unit `unit` is refused; those before it are committed at `barrier`. */
static inline void refused(life *l, uint32_t unit, int64_t barrier, int64_t conflict) {
    Msg__Outcome o = outcome_of(l, EW_ERR_REFUSED, unit, barrier);
    o.conflict_revision = conflict;
    take_outcome(l, o);
}

static inline void stop_ticking(life *l, int status) {
    step(l, (ticking_event){.type = TICKING_STOP, .status = status, .detail = "told to"});
}

/* ---- a batch as text ---- */

/* Appends a client's record: its key, "=#sequence", the status if it is not EW_OK, and "!lease" if it has one. */
static inline void append_record(char *text, size_t size, const Pb__PutRequest *put) {
    Msg__SubmitRecord *r = msg__submit_record__unpack(NULL, put->value.len, put->value.data);
    assert_non_null(r);
    append(text, size, "%.*s=#%" PRIu64 "%s%s%s ", (int)put->key.len, (char *)put->key.data, r->sequence,
           r->status ? " " : "", r->status ? ew_errname(r->status) : "", put->lease ? "!lease" : "");
    msg__submit_record__free_unpacked(r, NULL);
}

/* Appends the bytes of a key, a NUL as "\\0". */
static inline void append_key(char *text, size_t size, ProtobufCBinaryData key) {
    for (size_t i = 0; i < key.len; i++)
        append(text, size, key.data[i] ? "%c" : "\\0", key.data[i]);
}

/* Appends "[start..end)<revision": every key in the range is older than that revision. */
static inline void append_range(char *text, size_t size, const Pb__Compare *c, const Pb__RangeRequest *read) {
    assert_int_equal(c->result, PB__COMPARE__COMPARE_RESULT__LESS);
    assert_int_equal(read->range_end.len, c->range_end.len);
    assert_memory_equal(read->range_end.data, c->range_end.data, c->range_end.len);
    assert_int_equal(read->min_mod_revision, c->mod_revision);
    assert_int_equal(read->limit, 1);
    append(text, size, "[");
    append_key(text, size, c->key);
    append(text, size, "..");
    append_key(text, size, c->range_end);
    append(text, size, ")<%" PRId64 " ", c->mod_revision);
}

/* Returns atomic unit `i` as text, valid until the next call: "key?mod" for a compare of a key, "[start..end)<mod" for
 * a compare of a range, "key=value" for a put (followed by "!keep" or "!lease"), and "-key" for a deletion. */
static inline const char *unit_text(life *l, size_t i) {
    static char text[4096];
    text[0] = '\0';
    assert_true(i < l->patches->n_units);
    const Msg__Unit *u = l->patches->units[i];
    Pb__TxnRequest *txn = pb__txn_request__unpack(NULL, u->txn.len, u->txn.data);
    assert_non_null(txn);
    assert_int_equal(txn->n_compare, u->compares);
    assert_int_equal(txn->n_failure, u->compares);
    assert_int_equal(txn->n_success, u->ops);
    bool deletes = false;
    for (size_t k = 0; k < txn->n_compare; k++) {
        const Pb__Compare *c = txn->compare[k];
        const Pb__RequestOp *read = txn->failure[k];
        assert_int_equal(c->target, PB__COMPARE__COMPARE_TARGET__MOD);
        assert_int_equal(read->request_case, PB__REQUEST_OP__REQUEST_REQUEST_RANGE);
        assert_int_equal(!read->request_range->keys_only, k + u->records >= txn->n_compare);
        assert_int_equal(read->request_range->key.len, c->key.len);
        assert_memory_equal(read->request_range->key.data, c->key.data, c->key.len);
        if (c->range_end.len > 0) {
            append_range(text, sizeof text, c, read->request_range);
            continue;
        }
        append(text, sizeof text, "%.*s?%" PRId64 " ", (int)c->key.len, (char *)c->key.data, c->mod_revision);
    }
    for (size_t k = 0; k < txn->n_success; k++) {
        const Pb__RequestOp *op = txn->success[k];
        if (k + u->records >= txn->n_success) {
            assert_int_equal(op->request_case, PB__REQUEST_OP__REQUEST_REQUEST_PUT);
            append_record(text, sizeof text, op->request_put);
        } else if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            const Pb__PutRequest *put = op->request_put;
            append(text, sizeof text, "%.*s=%.*s%s%s ", (int)put->key.len, (char *)put->key.data, (int)put->value.len,
                   (char *)put->value.data, put->ignore_lease ? "!keep" : "", put->lease ? "!lease" : "");
        } else {
            const Pb__DeleteRangeRequest *d = op->request_delete_range;
            deletes = true;
            append(text, sizeof text, "-%.*s ", (int)d->key.len, (char *)d->key.data);
        }
    }
    assert_int_equal(deletes, u->has_delete);
    pb__txn_request__free_unpacked(txn, NULL);
    return text;
}

/* ---- a completion callback that records its arguments ---- */

typedef struct done_note {
    int calls, status;
    int64_t revision;
    int order; /* among all notes */
} done_note;

static int done_count;

static inline void note_done(void *arg, ew_status status, int64_t revision) {
    done_note *n = arg;
    n->calls++;
    n->status = status;
    n->revision = revision;
    n->order = ++done_count;
}

static inline void assert_done(const done_note *n, int status, int64_t revision) {
    assert_int_equal(n->calls, 1);
    assert_string_equal(ew_errname(n->status), ew_errname(status));
    assert_int_equal(n->revision, revision);
}

static inline void assert_ended(const life *l, int status, const char *in_detail) {
    assert_true(l->ended);
    assert_string_equal(ew_errname(l->end_status), ew_errname(status));
    if (!strstr(l->end_detail, in_detail))
        assert_string_equal(l->end_detail, in_detail);
}

#endif
