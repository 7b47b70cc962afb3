/* The physical floor of a tick: one thread, one completion queue, no actors. A lane sends a transaction that compares
 * and puts its keys, waits for the answer and for the watch event of that revision, and sends the next. */
#include "hand.h"
#include "steps.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct lane {
    int64_t begun_ns, answered_ns;
    int64_t answered; /* the last transaction's revision; 0 while it is pending */
    int64_t seen;     /* the highest revision of the lane's keys that the watch has shown */
    int64_t ticks;
    int64_t *revisions; /* of its keys */
} lane;

typedef struct floor_state {
    hand hand;
    const char *prefix;
    int64_t lane_count, keys, keyspace, ticks; /* ticks: of each lane */
    lane *lanes;
    int64_t running;
    int64_t commit_ns, watch_ns; /* the total wait for answers; the total wait for events after the answers */
    histogram latency;
} floor_state;

/* The argument of on_answer. */
typedef struct lane_ref {
    floor_state *state;
    lane *lane;
} lane_ref;

static void next(floor_state *f, lane *l);

static int64_t key_of(const floor_state *f, const lane *l, int64_t i) {
    return (l->ticks * f->keys + i) % f->keyspace;
}

static void advance(floor_state *f, lane *l) {
    if (l->answered == 0 || l->seen < l->answered)
        return;
    int64_t now = now_ns();
    f->commit_ns += l->answered_ns - l->begun_ns;
    f->watch_ns += now - l->answered_ns;
    histogram_add(&f->latency, (uint64_t)(now - l->begun_ns));
    for (int64_t i = 0; i < f->keys; i++)
        l->revisions[key_of(f, l, i)] = l->answered;
    l->ticks++;
    if (l->ticks < f->ticks)
        next(f, l);
    else
        f->running--;
}

static void on_answer(void *arg, int status, const char *detail, ew_slice bytes) {
    lane_ref *ref = arg;
    floor_state *f = ref->state;
    lane *l = ref->lane;
    free(ref);
    Pb__TxnResponse *r = status == EW_OK ? pb__txn_response__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (!r || !r->succeeded)
        role_fail("transaction failed: %s %s", r ? "refused" : ew_strerror(status), detail);
    l->answered = r->header->revision;
    pb__txn_response__free_unpacked(r, NULL);
    l->answered_ns = now_ns();
    advance(f, l);
}

static void next(floor_state *f, lane *l) {
    enum { MOST = 128 };
    static Pb__Compare compares[MOST];
    static Pb__PutRequest puts[MOST];
    static Pb__RequestOp ops[MOST];
    static char keys[MOST][128], values[MOST][24];
    Pb__Compare *compare_list[MOST];
    Pb__RequestOp *op_list[MOST];
    size_t n = (size_t)f->keys;
    for (size_t i = 0; i < n; i++) {
        int64_t key = key_of(f, l, (int64_t)i);
        int key_len = snprintf(keys[i], sizeof keys[i], "%s/%d/%d", f->prefix, (int)(l - f->lanes), (int)key);
        int value_len = snprintf(values[i], sizeof values[i], "%lld", (long long)l->ticks + 1);
        compares[i] = (Pb__Compare)PB__COMPARE__INIT;
        compares[i].target = PB__COMPARE__COMPARE_TARGET__MOD;
        compares[i].target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
        compares[i].mod_revision = l->revisions[key];
        compares[i].key = hand_bytes(keys[i], (size_t)key_len);
        puts[i] = (Pb__PutRequest)PB__PUT_REQUEST__INIT;
        puts[i].key = compares[i].key;
        puts[i].value = hand_bytes(values[i], (size_t)value_len);
        ops[i] = (Pb__RequestOp)PB__REQUEST_OP__INIT;
        ops[i].request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
        compare_list[i] = &compares[i];
        op_list[i] = &ops[i];
    }
    Pb__TxnRequest request = PB__TXN_REQUEST__INIT;
    request.n_compare = request.n_success = n;
    request.compare = compare_list;
    request.success = op_list;
    lane_ref *ref = malloc(sizeof *ref);
    if (!ref)
        role_fail("out of memory");
    *ref = (lane_ref){f, l};
    l->answered = 0;
    l->begun_ns = now_ns();
    hand_txn(&f->hand, &request, on_answer, ref);
}

static void on_events(void *arg, const Pb__WatchResponse *response) {
    floor_state *f = arg;
    size_t skip = strlen(f->prefix) + 1;
    for (size_t i = 0; i < response->n_events; i++) {
        const Pb__KeyValue *kv = response->events[i]->kv;
        if (kv->key.len <= skip)
            continue;
        int64_t number = strtoll((const char *)kv->key.data + skip, NULL, 10); /* ends at the next '/' */
        if (number < 0 || number >= f->lane_count)
            continue;
        lane *l = &f->lanes[number];
        if (kv->mod_revision <= l->seen)
            continue;
        l->seen = kv->mod_revision;
        /* The revision's other events follow in the same response. */
        advance(f, l);
    }
}

static void warm_up_answer(void *arg, int status, const char *detail, ew_slice bytes) {
    (void)bytes;
    if (status != EW_OK)
        role_fail("etcd: %s %s", ew_strerror(status), detail);
    *(bool *)arg = true;
}

/* Opens the connection of the calls before the measurement begins: a worker that has loaded its prefix has it too. */
static void warm_up(hand *h) {
    bool done = false;
    Pb__TxnRequest nothing = PB__TXN_REQUEST__INIT;
    hand_txn(h, &nothing, warm_up_answer, &done);
    while (!done)
        hand_turn(h);
}

static void add_steps(json_t *result, const floor_state *f) {
    double transactions = (double)(f->lane_count * f->ticks);
    json_object_set_new(result, step_field(STEP_COMMIT), json_real((double)f->commit_ns / 1e3 / transactions));
    json_object_set_new(result, step_field(STEP_WATCH), json_real((double)f->watch_ns / 1e3 / transactions));
}

void role_floor(const role_args *a) {
    static floor_state f;
    f.prefix = args_text(a, "prefix", "/bench/floor");
    f.lane_count = args_int(a, "lanes", 1);
    f.keys = args_int(a, "keys", 1);
    f.keyspace = args_int(a, "keyspace", f.keys);
    f.ticks = args_int(a, "ticks", 2000);
    f.lanes = calloc((size_t)f.lane_count, sizeof *f.lanes);
    if (!f.lanes || f.keys > 128)
        role_fail("out of memory, or more than 128 keys in a transaction");
    hand_open(&f.hand, a);
    char below[256];
    snprintf(below, sizeof below, "%s/", f.prefix);
    hand_watch *w = hand_watch_open(&f.hand, below, 0, on_events, &f);
    warm_up(&f.hand);

    usage from = usage_now();
    f.running = f.lane_count;
    for (int64_t i = 0; i < f.lane_count; i++) {
        f.lanes[i].revisions = calloc((size_t)f.keyspace, sizeof(int64_t));
        if (!f.lanes[i].revisions)
            role_fail("out of memory");
        next(&f, &f.lanes[i]);
    }
    while (f.running > 0)
        hand_turn(&f.hand);
    usage to = usage_now();

    json_t *result = json_object();
    usage_report(result, &from, &to, f.lane_count * f.ticks);
    role_add_latency(result, &f.latency);
    add_steps(result, &f);
    hand_watch_close(w);
    hand_close(&f.hand);
    for (int64_t i = 0; i < f.lane_count; i++)
        free(f.lanes[i].revisions);
    free(f.lanes);
    role_say(result);
}
