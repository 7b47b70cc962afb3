/* Feeds the ticking core snapshots, events, progress, outcomes, submits, stops and random messages, in any order, with
 * an arbitrary reactor. It must not crash. It must follow the rules of steps, never be idle while something is due,
 * answer every submit and every group exactly once, and tick on what was sent: its cache is compared with a list that
 * the fuzzer keeps. */
#include "core/check.h"
#include "core/ticking.h"
#include "etcd.pb-c.h"
#include "input.h"

enum { KEYS = 12, SUBMITS = 512, EVENTS = 6 };

/* In order. The last ones are hidden from the reactor. */
static const char *const keys[KEYS] = {
    "/a",     "/a/0", "/a/1", "/a/2", "/a/3", "/a/4", "/a/5", "/a/6", "/a/meta/ticdc-delete-etcd-key-count",
    "/a/r/1", "/a/x", "/ab"};
enum { COUNTER = 8, RECEIPT = 9, SIBLING = 11 };

typedef struct bench {
    input in;
    ticking *t;
    ticking_config config;
    ticking_effects effects;
    int64_t now_ms;

    /* What etcd holds: mod_revision, 0 if absent. A value is the last digit of its mod_revision. */
    int64_t mods[KEYS], revision;
    int64_t shown[KEYS]; /* what the updates have shown */
    uint64_t epoch;
    bool loading, loaded, honest, ended;
    size_t load_at; /* the next key to load */
    int64_t loaded_mods[KEYS], load_revision;

    uint64_t batch;
    uint32_t batch_units;
    bool batch_out;

    uint8_t submits[SUBMITS]; /* how often each was answered */
    unsigned submit_count;
    unsigned groups_made, groups_done, args_made, args_dropped;
    bool inside; /* inside the tick */
} bench;

static bench *now;

static ProtobufCBinaryData binary(const char *text) {
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
}

static const char *value_of(int key, int64_t revision) {
    static const char *const digits[] = {"1", "2", "3", "4", "5", "6", "7", "", "9", "10"};
    return key == COUNTER ? "7" : digits[revision % 10];
}

/* ---- the reactor ---- */

static void count_done(void *arg, ew_status status, int64_t revision) {
    (void)arg;
    CHECK(status <= 0 && revision >= 0 && !now->inside);
    now->groups_done++;
}

static void count_drop(void *arg) {
    (void)arg;
    now->args_dropped++;
}

static ew_slice some_key(void) {
    return ew_str(keys[take(&now->in) % 8]);
}

static int some_answer(uint8_t byte) {
    static const int answers[] = {EW_UNCHANGED, EW_REMOVE, EW_IGNORE, EW_AGAIN, EW_ERR_REACTOR, 9};
    return byte < 200 ? EW_OK : byte < 250 ? answers[byte % 4] : answers[byte % 6];
}

static int some_modify(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    if (current)
        CHECK(current->key.len > 0 && current->mod_revision >= 0);
    uint8_t byte = take(&now->in);
    if (byte % 3)
        ew_value_set_int(next, byte);
    return some_answer(byte);
}

static int some_patch(void *arg, ew_view *view) {
    (void)arg;
    ew_entry e;
    for (int i = take(&now->in) % 4; i > 0; i--) {
        uint8_t what = take(&now->in) % 4;
        if (what == 0)
            ew_view_put(view, some_key(), EW_STR("patched"));
        else if (what == 1)
            ew_view_delete(view, some_key());
        else
            ew_view_get(view, ew_str(keys[take(&now->in) % KEYS]), &e);
    }
    uint8_t byte = take(&now->in);
    return byte < 200 || byte % 4 > 1 ? some_answer(byte) : EW_OK;
}

static void fill_group(ew_group *g) {
    for (int i = take(&now->in) % 6; i > 0; i--) {
        switch (take(&now->in) % 8) {
        case 0:
        case 1:
            ew_group_put(g, some_key(), EW_STR("put"));
            break;
        case 2:
            ew_group_delete(g, some_key());
            break;
        case 3:
            now->args_made++;
            ew_group_modify(g, some_key(), some_modify, now, count_drop);
            break;
        case 4:
            now->args_made++;
            ew_group_patch(g, some_patch, now, count_drop);
            break;
        case 5:
            ew_group_guard(g, some_key());
            break;
        case 6:
            ew_group_put_lease(g, some_key(), EW_STR("kept"), EW_LEASE_KEEP);
            break;
        default:
            ew_group_name(g, "fuzz");
        }
    }
    if (take(&now->in) == 77)
        ew_group_put(g, ew_str(keys[COUNTER]), EW_STR("1"));
}

/* SEMANTICS 15: the cache is what etcd held at the tick's revision, as far as the fuzzer knows it. */
static void check_tick(const ew_tick *t) {
    ew_entry e = {0};
    size_t n = 0;
    while (ew_tick_scan(t, EW_STR(""), &e))
        n++;
    CHECK(n == ew_tick_count(t));
    for (int k = 0; k < KEYS; k++) {
        bool hidden = k == COUNTER || k == RECEIPT || k == SIBLING;
        bool there = ew_tick_get(t, ew_str(keys[k]), &e) == EW_OK;
        CHECK(!there || !hidden);
        if (hidden || !now->honest || !now->config.coalesce)
            continue;
        CHECK(there == (now->mods[k] > 0));
        CHECK(!there || e.mod_revision == now->mods[k]);
        CHECK(!now->config.wants_updates || now->shown[k] == now->mods[k]);
    }
}

static void step(ticking_event event);

static int take_updates(bool reset) {
    ew_event e;
    if (reset)
        memset(now->shown, 0, sizeof now->shown);
    while (ticking_take_update(now->t, &e)) {
        int k = 0;
        while (k < KEYS && !ew_slice_equal(e.entry.key, ew_str(keys[k])))
            k++;
        CHECK(k < KEYS && k != COUNTER && k != RECEIPT && k != SIBLING);
        CHECK(e.kind == EW_EVENT_PUT || e.entry.value.len == 0);
        now->shown[k] = e.kind == EW_EVENT_PUT ? e.entry.mod_revision : 0;
    }
    return take(&now->in) == 99 ? EW_ERR_REACTOR : EW_OK;
}

static void run_tick(const ticking_effect *effect) {
    ew_tick *tick = effect->tick;
    int status = take_updates(effect->reset);
    now->inside = true;
    if (status == EW_OK) {
        check_tick(tick);
        for (int i = take(&now->in) % 4; i > 0; i--) {
            ew_group *g = ew_tick_group(tick);
            now->groups_made++;
            ew_group_on_done(g, count_done, now);
            fill_group(g);
        }
        uint8_t byte = take(&now->in);
        status = byte < 245 ? EW_OK : byte < 250 ? EW_FINISHED : byte < 253 ? EW_ERR_REACTOR : 5;
    }
    now->inside = false;
    step((ticking_event){.type = TICKING_TICKED, .status = status});
}

/* ---- effects ---- */

static void check_commit(const Msg__Patches *p) {
    CHECK(!now->batch_out && p->n_units > 0 && p->batch == now->batch + 1);
    now->batch = p->batch;
    now->batch_units = (uint32_t)p->n_units;
    now->batch_out = true;
    for (size_t u = 0; u < p->n_units; u++) {
        const Msg__Unit *unit = p->units[u];
        CHECK(unit->groups > 0 && unit->ops > 0 && unit->ops <= unit->compares);
        CHECK(unit->compares <= now->config.max_txn_keys);
        CHECK((int64_t)unit->txn.len + now->config.txn_overhead_bytes <= now->config.max_txn_bytes);
        Pb__TxnRequest *txn = pb__txn_request__unpack(NULL, unit->txn.len, unit->txn.data);
        CHECK(txn && txn->n_compare == unit->compares && txn->n_success == unit->ops);
        CHECK(txn->n_failure == unit->compares);
        for (size_t i = 0; i < txn->n_compare; i++) {
            for (size_t k = 0; k < i; k++) /* etcd refuses a transaction that puts a key twice */
                CHECK(txn->compare[i]->key.len != txn->compare[k]->key.len ||
                      memcmp(txn->compare[i]->key.data, txn->compare[k]->key.data, txn->compare[i]->key.len) != 0);
        }
        pb__txn_request__free_unpacked(txn, NULL);
    }
}

static void take_effect(const ticking_effect *e, ticking_event_type cause, ticking_effect *tick) {
    CHECK(!now->ended && tick->type != TICKING_DO_TICK);
    switch (e->type) {
    case TICKING_DO_TICK:
        CHECK(cause == TICKING_TIMER && !now->batch_out);
        *tick = *e;
        break;
    case TICKING_DO_COMMIT:
        CHECK(cause == TICKING_TIMER || cause == TICKING_TICKED);
        check_commit(e->patches);
        break;
    case TICKING_DO_CHECK:
        CHECK(e->check > 0 && e->revision > 0);
        break;
    case TICKING_DO_STOP:
        CHECK(now->batch_out);
        break;
    case TICKING_DO_RESYNC:
        break;
    case TICKING_DO_REPLY:
        CHECK(e->status <= 0 && e->submit_id < now->submit_count && e->detail);
        CHECK(now->submits[e->submit_id]++ == 0);
        break;
    case TICKING_DO_END:
        CHECK(e->status <= 0 && e->detail && !now->batch_out);
        now->ended = true;
        break;
    case TICKING_DO_LOG:
        CHECK(e->detail);
        break;
    }
}

static void step(ticking_event event) {
    ticking_effect tick = {.type = TICKING_DO_LOG};
    event.now_ms = now->now_ms;
    ticking_step(now->t, &event, &now->effects);
    for (size_t i = 0; i < now->effects.count; i++)
        take_effect(&now->effects.list[i], event.type, &tick);
    CHECK(now->ended == (ticking_get_state(now->t) == TICKING_DONE));
    CHECK(now->batch_out == ticking_wants_outcome_only(now->t) || event.type == TICKING_MESSAGE);
    if (tick.type == TICKING_DO_TICK)
        run_tick(&tick);
}

/* With `coalesce` off, each waiting revision gets a tick. */
static void settle(void) {
    for (int64_t i = 0; ticking_deadline_ms(now->t) <= now->now_ms; i++) {
        CHECK(i < 1000 + now->revision);
        step((ticking_event){.type = TICKING_TIMER});
    }
}

/* ---- messages ---- */

static void send_message(Msg__Message *m) {
    m->epoch = now->epoch;
    step((ticking_event){.type = TICKING_MESSAGE, .message = m});
}

static void change(int key, bool deleted) {
    now->revision++;
    now->mods[key] = deleted ? 0 : now->revision;
}

/* Sends one more page of the snapshot, or the first page of the next snapshot. */
static void send_page(void) {
    bool first = !now->loading;
    if (first) {
        now->epoch++;
        now->loading = true;
        now->loaded = false;
        now->load_at = 0;
        now->load_revision = now->revision;
        memcpy(now->loaded_mods, now->mods, sizeof now->mods);
    }
    Pb__KeyValue kvs[KEYS], *list[KEYS];
    Pb__RangeResponse response = PB__RANGE_RESPONSE__INIT;
    response.kvs = list;
    for (int n = take(&now->in) % KEYS; n > 0 && now->load_at < KEYS; n--, now->load_at++) {
        int64_t mod = now->loaded_mods[now->load_at];
        if (mod == 0)
            continue;
        Pb__KeyValue *kv = list[response.n_kvs] = &kvs[response.n_kvs];
        response.n_kvs++;
        pb__key_value__init(kv);
        kv->key = binary(keys[now->load_at]);
        kv->value = binary(value_of((int)now->load_at, mod));
        kv->mod_revision = mod;
    }
    uint8_t bytes[2048];
    Msg__Snapshot s = MSG__SNAPSHOT__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    s.revision = now->load_revision;
    s.first = first;
    s.last = now->load_at == KEYS;
    s.page = (ProtobufCBinaryData){pb__range_response__pack(&response, bytes), bytes};
    m.snapshot = &s;
    if (s.last) {
        now->loading = false;
        now->loaded = true;
        now->revision = now->load_revision; /* later changes come as events */
        memcpy(now->mods, now->loaded_mods, sizeof now->mods);
    }
    send_message(&m);
}

static size_t pack_events(uint8_t *bytes, Msg__Events *events) {
    Pb__Event list[EVENTS], *pointers[EVENTS];
    Pb__KeyValue kvs[EVENTS];
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    response.events = pointers;
    response.n_events = take(&now->in) % (EVENTS + 1);
    for (size_t i = 0; i < response.n_events; i++) {
        uint8_t what = take(&now->in);
        int key = what % KEYS;
        bool deleted = what >= 128 && now->mods[key] > 0;
        pb__event__init(&list[i]);
        pb__key_value__init(&kvs[i]);
        pointers[i] = &list[i];
        list[i].kv = &kvs[i];
        kvs[i].key = binary(keys[key]);
        uint8_t odd = take(&now->in);
        if (odd < 20 && now->revision > odd) { /* events of the past, again */
            kvs[i].mod_revision = now->revision - odd;
            kvs[i].value = binary("replayed");
            if (odd == 0) /* no other message may have the same revision */
                kvs[i].mod_revision = 1;
            continue;
        }
        change(key, deleted);
        list[i].type = deleted ? PB__EVENT__EVENT_TYPE__DELETE : PB__EVENT__EVENT_TYPE__PUT;
        kvs[i].mod_revision = now->revision;
        kvs[i].value = binary(deleted ? "" : value_of(key, now->revision));
        if (key == COUNTER && odd == 255)
            kvs[i].value = binary("rubbish");
    }
    events->revision = now->revision;
    return pb__watch_response__pack(&response, bytes);
}

/* Fills in a client's record, of any submit or of none, that a refused unit has read. */
static void fill_record(Msg__Outcome *o) {
    static uint8_t bytes[64];
    static Msg__FoundRecord record, *list[] = {&record};
    Msg__SubmitRecord r = MSG__SUBMIT_RECORD__INIT;
    uint8_t how = take(&now->in);
    r.sequence = how % 9;
    r.digest = how;
    r.status = how & 64 ? EW_ERR_REFUSED : how == 255 ? EW_ERR_BUSY : EW_OK;
    msg__found_record__init(&record);
    record.unit = o->units;
    record.place = how == 254;
    record.value = (ProtobufCBinaryData){how == 253 ? 1 : msg__submit_record__pack(&r, bytes), bytes};
    record.mod_revision = how & 32 ? 0 : now->revision;
    o->records = list;
    o->n_records = 1;
}

static void fill_outcome(Msg__Outcome *o) {
    static const int statuses[] = {EW_ERR_REFUSED,         EW_ERR_REFUSED,   EW_ERR_REFUSED, EW_ERR_TOO_LARGE,
                                   EW_ERR_UNKNOWN_OUTCOME, EW_ERR_CANCELLED, EW_ERR_DENIED,  EW_ERR_FENCED};
    uint8_t how = take(&now->in);
    o->batch = now->batch;
    o->units = how < 128 ? now->batch_units : take(&now->in) % now->batch_units;
    o->status = how < 128 ? EW_OK : statuses[how < 230 ? how % 3 : how % 8];
    o->barrier_revision = o->units > 0 ? now->revision + take(&now->in) % 3 : 0;
    o->conflict_revision = take(&now->in) % 2 ? now->revision + 1 : 0;
    o->unknown = how == 255;
    if (how == 254)
        o->units += 1 + take(&now->in) % 4;
    if (o->status == EW_ERR_REFUSED && how % 4 == 1)
        fill_record(o);
    now->batch_out = false;
}

static void send_events_and_outcome(void) {
    uint8_t bytes[2048];
    Msg__Events events = MSG__EVENTS__INIT;
    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    uint8_t what = take(&now->in);
    if (what < 200 && now->loaded) {
        events.response = (ProtobufCBinaryData){pack_events(bytes, &events), bytes};
        m.events = &events;
    }
    if (what % 3 == 0 && now->batch_out) {
        fill_outcome(&outcome);
        m.outcome = &outcome;
    }
    send_message(&m);
}

static void send_progress(void) {
    Msg__Progress p = MSG__PROGRESS__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    if (now->loaded)
        now->revision += take(&now->in) % 4;
    p.revision = now->revision;
    m.progress = &p;
    send_message(&m);
}

/* Sends an arbitrary message. After it, what the fuzzer knows of etcd is not reliable. */
static void send_noise(void) {
    uint8_t bytes[128];
    size_t len = take(&now->in) % sizeof bytes;
    for (size_t i = 0; i < len; i++)
        bytes[i] = take(&now->in);
    Msg__Message *m = msg__message__unpack(NULL, len, bytes);
    if (!m)
        return;
    now->honest = false;
    if (m->outcome && m->outcome->batch == now->batch)
        now->batch_out = false;
    step((ticking_event){.type = TICKING_MESSAGE, .message = m});
    msg__message__free_unpacked(m, NULL);
}

static void send_submit(void) {
    Msg__Submit s = MSG__SUBMIT__INIT;
    Msg__Submit__Put put = MSG__SUBMIT__PUT__INIT, *puts[] = {&put};
    Msg__Submit__Compare compare = MSG__SUBMIT__COMPARE__INIT, *compares[] = {&compare};
    ProtobufCBinaryData deletes[1];
    uint8_t what = take(&now->in);
    if (now->submit_count == SUBMITS)
        return;
    put.key = binary(keys[take(&now->in) % KEYS]);
    put.value = binary("submitted");
    compare.key = binary(keys[take(&now->in) % KEYS]);
    compare.absent = what & 8;
    compare.value = binary(value_of(0, take(&now->in)));
    deletes[0] = binary(keys[take(&now->in) % KEYS]);
    s.puts = puts;
    s.compares = compares;
    s.deletes = deletes;
    s.n_puts = what & 1;
    s.n_compares = (what >> 1) & 1;
    s.n_deletes = (what >> 2) & 1;
    if (what & 16) { /* four clients, whose submits come again, too late, or with other content */
        static const char *const clients[] = {"a", "b", "c", "d"};
        uint8_t who = take(&now->in);
        s.client = binary(clients[who % 4]);
        s.sequence = 1 + (who >> 2) % 8;
    }
    step((ticking_event){.type = TICKING_SUBMIT, .submit = &s, .submit_id = now->submit_count++});
}

static void something(void) {
    switch (take(&now->in) % 12) {
    case 0:
    case 1:
    case 2:
    case 3:
        send_events_and_outcome();
        break;
    case 4:
        if (now->loading || !now->loaded || take(&now->in) < 64)
            send_page();
        break;
    case 5:
        send_progress();
        break;
    case 6:
        send_submit();
        break;
    case 7:
        if (take(&now->in) < 32)
            send_noise();
        break;
    case 8:
        now->now_ms += take(&now->in);
        break;
    case 9:
        if (take(&now->in) < 8)
            step((ticking_event){.type = TICKING_STOP, .status = take(&now->in) % 2 ? EW_ERR_CANCELLED : 0});
        break;
    default:
        settle();
    }
}

static void end(void) {
    ticking_free(now->t);
    ticking_effects_fini(&now->effects);
    CHECK(now->groups_done == now->groups_made && now->args_dropped == now->args_made);
    for (unsigned i = 0; now->ended && i < now->submit_count; i++)
        CHECK(now->submits[i] <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bench zero;
    bench b = zero;
    now = &b;
    b.in = (input){data, size};
    uint8_t flags = take(&b.in);
    b.config = (ticking_config){
        .prefix = {"/a", 2},
        .counter = true,
        .counter_key = EW_STR("/a/meta/ticdc-delete-etcd-key-count"),
        .receipt_prefix = {"/a/r", 4},
        .wants_updates = flags & 1,
        .tick_interval_ms = 1000,
        .tick_on_load = !(flags & 2),
        .coalesce = !(flags & 4),
        .max_ticks_per_second = flags & 8 ? 20 : 0,
        .serializable = flags & 16,
        .max_txn_keys = flags & 32 ? 126 : 3,
        .max_txn_bytes = flags & 64 ? 1310720 : 400,
        .txn_overhead_bytes = 200,
        .conflict_backoff_min_ms = 1,
        .conflict_backoff_max_ms = 20,
        .max_pending_update_bytes = flags & 128 ? 1 << 20 : 600,
        .max_submits = 3,
        .record_lease = flags % 3, /* none, or one */
        .seed = flags,
    };
    b.now_ms = 1000;
    b.revision = 1;
    b.honest = true;
    b.t = ticking_new(&b.config);
    CHECK(b.t);
    while (b.in.size > 0 && !b.ended)
        something();
    end();
    return 0;
}
