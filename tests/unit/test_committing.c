/* The committing core: how units become transactions, in order, within etcd's limits. */
#include "unit/committing_fixture.h"

static world *w;

static int setup(void **state) {
    (void)state;
    w = world_new(&plain_config);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    world_free(w);
    return 0;
}

static void use(const committing_config *config) {
    world_free(w);
    w = world_new(config);
}

static Pb__TxnRequest *last_txn(void) {
    Pb__TxnRequest *txn = pb__txn_request__unpack(NULL, w->last.len, w->last.bytes);
    assert_non_null(txn);
    return txn;
}

/* SEMANTICS 28: success sets the barrier to the transaction's revision. */
static void test_one_unit(void **state) {
    (void)state;
    batch *b = batch_new(7, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    assert_int_equal(committing_get_state(w->c), COMMITTING_IN_FLIGHT);
    assert_int_equal(committing_deadline_ms(w->c), INT64_MAX);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.batch, 7);
    assert_int_equal(w->outcome.barrier_revision, 2);
    assert_int_equal(w->revisions[0], 2);
    assert_int_equal(w->outcome.txns, 1);
    assert_int_equal(w->outcome.resolved, 0);
    assert_int_equal(committing_get_state(w->c), COMMITTING_IDLE);
    assert_string_equal(tiny_value(&w->etcd, "/a/x"), "1");
    assert_string_equal(tiny_value(&w->etcd, RECEIPT), "1");
}

/* Every move is traced. */
static void test_moves_are_traced(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    applied(w);
    assert_int_equal(w->logs, 2);
}

static void test_empty_batch(void **state) {
    (void)state;
    give(w, batch_new(3, 0));
    assert_outcome(w, EW_OK, 0);
    assert_false(w->txn);
    assert_int_equal(committing_get_state(w->c), COMMITTING_IDLE);
}

/* SEMANTICS 25, 26: units share a transaction, exactly up to the limit of keys; the rest follows in order. */
static void test_merge_up_to_max_keys(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    char key[32];
    for (int i = 0; i < 127; i++) {
        snprintf(key, sizeof key, "/a/%d", i);
        batch_put(b, key, 0, "v");
    }
    give(w, b);
    Pb__TxnRequest *txn = last_txn();
    assert_int_equal(txn->n_compare, 128); /* 126 keys, the counter, the receipt */
    assert_int_equal(txn->n_success, 127); /* nothing is deleted */
    assert_int_equal(txn->n_failure, 128);
    pb__txn_request__free_unpacked(txn, NULL);
    applied(w);
    assert_false(w->has_outcome);
    txn = last_txn();
    assert_int_equal(txn->n_compare, 3);
    pb__txn_request__free_unpacked(txn, NULL);
    applied(w);
    assert_outcome(w, EW_OK, 127);
    assert_int_equal(w->outcome.txns, 2);
    assert_int_equal(w->revisions[125], 2);
    assert_int_equal(w->revisions[126], 3);
    assert_int_equal(w->outcome.barrier_revision, 3);
}

/* SEMANTICS 25: a unit is never split. */
static void test_unit_is_not_split(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    char key[32];
    for (int u = 0; u < 2; u++) {
        batch_unit(b);
        for (int i = 0; i < 64; i++) {
            snprintf(key, sizeof key, "/a/%d/%d", u, i);
            batch_key(b, key, 0, "v");
        }
    }
    give(w, b);
    applied(w);
    assert_int_equal(w->etcd.count, 64 + 1);
    applied(w);
    assert_outcome(w, EW_OK, 2);
}

/* SEMANTICS 26: 126 keys fit, 127 do not; what came before is committed first. */
static void test_unit_with_too_many_keys(void **state) {
    (void)state;
    char key[32];
    for (int keys = 126; keys <= 127; keys++) {
        use(&plain_config);
        batch *b = batch_new(1, 0);
        batch_put(b, "/a/first", 0, "v");
        batch_unit(b);
        for (int i = 0; i < keys; i++) {
            snprintf(key, sizeof key, "/a/%d", i);
            batch_key(b, key, 0, "v");
        }
        give(w, b);
        applied(w);
        if (keys == 126)
            applied(w);
        assert_outcome(w, keys == 126 ? EW_OK : EW_ERR_TOO_LARGE, keys == 126 ? 2 : 1);
        assert_false(w->outcome.unknown);
    }
    assert_non_null(strstr(w->detail, "127"));
}

/* SEMANTICS 26: bytes are those of the request exactly as it is sent. */
static void test_bytes_are_exact(void **state) {
    (void)state;
    size_t size = 0;
    for (int spare = 0; spare >= -1; spare--) {
        committing_config config = plain_config;
        config.max_bytes = size ? (int64_t)size + spare : config.max_bytes;
        use(&config);
        batch *b = batch_new(1, 0);
        batch_put(b, "/a/x", 0, "12345");
        batch_put(b, "/a/y", 0, "67890");
        give(w, b);
        if (size == 0) {
            size = w->last.len; /* both, as measured on what is sent */
            spare = 1;
            continue;
        }
        applied(w);
        assert_int_equal(w->has_outcome, spare == 0);
    }
}

static void test_alone_over_the_bytes(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.max_bytes = 150;
    use(&config);
    batch *b = batch_new(1, 0);
    char value[200];
    memset(value, 'v', sizeof value);
    value[199] = '\0';
    batch_put(b, "/a/x", 0, value);
    give(w, b);
    assert_outcome(w, EW_ERR_TOO_LARGE, 0);
    assert_false(w->txn);
    assert_int_equal(committing_get_state(w->c), COMMITTING_IDLE);
}

/* A fence as workers make it: the session's marker has its lease, the leader's key is still the one from revision 2. */
static ew_slice pack_fence(uint8_t *bytes, bool session, bool leader) {
    Pb__Compare list[2], *pointers[2];
    Pb__TxnRequest fence = PB__TXN_REQUEST__INIT;
    fence.compare = pointers;
    for (int i = 0; i < 2; i++) {
        if (!(i == 0 ? session : leader))
            continue;
        Pb__Compare *c = pointers[fence.n_compare] = &list[fence.n_compare];
        fence.n_compare++;
        pb__compare__init(c);
        c->key = (ProtobufCBinaryData){7, (uint8_t *)(i == 0 ? "/marker" : "/leader")};
        if (i == 0) {
            c->target = PB__COMPARE__COMPARE_TARGET__LEASE;
            c->target_union_case = PB__COMPARE__TARGET_UNION_LEASE;
            c->lease = LEASE;
        } else {
            c->target = PB__COMPARE__COMPARE_TARGET__CREATE;
            c->target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
            c->create_revision = 2;
        }
    }
    return (ew_slice){bytes, pb__txn_request__pack(&fence, bytes)};
}

/* What the ticking core reckons with is never less than what is added. */
static void test_overhead(void **state) {
    (void)state;
    batch *b = batch_new(1, 1234567);
    tiny_put(&w->etcd, COUNTER, "1234567");
    tiny_put(&w->etcd, "/a/x", "1");
    batch_put(b, "/a/x", 3, NULL);
    size_t fragment = b->used;
    give(w, b);
    int64_t overhead = committing_overhead(&plain_config);
    assert_true((int64_t)(w->last.len - fragment) <= overhead);
    assert_true((int64_t)(w->last.len - fragment) > overhead - 60); /* a few numbers, written shorter */

    committing_config bare = plain_config;
    bare.counter = bare.exactly_once = false;
    assert_int_equal(committing_overhead(&bare), 0);
    const int64_t own = committing_overhead(&plain_config);
    uint8_t bytes[256];
    committing_config fenced = plain_config;
    fenced.fence = pack_fence(bytes, true, true);
    assert_true(committing_overhead(&fenced) > own + (int64_t)fenced.fence.len); /* the keys are read, too */
    assert_true(committing_overhead(&fenced) < own + 2 * (int64_t)fenced.fence.len);
    fenced.fence = EW_STR("\xff\xff");
    assert_null(committing_new(&fenced));
    assert_int_equal(committing_overhead(&fenced), own + 4); /* no less than any that could be read */
}

/* etcd's limit holds for the fence, too, and is what the option says. */
static void test_max_keys_leaves_room_for_the_fence(void **state) {
    (void)state;
    committing_config config = plain_config;
    assert_int_equal(committing_max_keys(&config), 126);
    config.fence_compares = 2;
    assert_int_equal(committing_max_keys(&config), 124);
    config.max_keys = 10;
    assert_int_equal(committing_max_keys(&config), 10);
    config.counter = config.exactly_once = false;
    config.max_keys = 126;
    assert_int_equal(committing_max_keys(&config), 126);
    config.fence_compares = 200;
    assert_int_equal(committing_max_keys(&config), 0);
    config.max_ops = 10000;
    config.fence_compares = 0;
    config.max_keys = 0;
    assert_int_equal(committing_max_keys(&config), 10000);
    config.counter = config.exactly_once = true;
    assert_int_equal(committing_max_keys(&config), 9998);
    config.max_keys = 9999; /* more than there is room for */
    assert_int_equal(committing_max_keys(&config), 9998);
}

/* SEMANTICS 24: without a counter its key must not exist; the first delete makes it, once for the transaction. */
static void test_counter_starts(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/a/x", "1");
    tiny_put(&w->etcd, "/a/y", "1");
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 2, NULL);
    batch_put(b, "/a/y", 3, NULL);
    give(w, b);
    Pb__TxnRequest *txn = last_txn();
    assert_int_equal(txn->n_success, 4); /* two deletes, counter, receipt */
    assert_int_equal(txn->compare[2]->target, PB__COMPARE__COMPARE_TARGET__CREATE);
    pb__txn_request__free_unpacked(txn, NULL);
    applied(w);
    assert_outcome(w, EW_OK, 2);
    assert_string_equal(tiny_value(&w->etcd, COUNTER), "1");
}

/* SEMANTICS 24: n is followed within the batch; a transaction without deletes leaves it alone. */
static void test_counter_counts(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.max_keys = 1;
    use(&config);
    tiny_put(&w->etcd, COUNTER, "41");
    tiny_put(&w->etcd, "/a/x", "1");
    tiny_put(&w->etcd, "/a/y", "1");
    batch *b = batch_new(1, 41);
    batch_put(b, "/a/x", 3, NULL);
    batch_put(b, "/a/z", 0, "new");
    batch_put(b, "/a/y", 4, NULL);
    give(w, b);
    applied(w);
    assert_string_equal(tiny_value(&w->etcd, COUNTER), "42");
    applied(w);
    assert_string_equal(tiny_value(&w->etcd, COUNTER), "42");
    applied(w);
    assert_outcome(w, EW_OK, 3);
    assert_string_equal(tiny_value(&w->etcd, COUNTER), "43");
}

/* SEMANTICS 24: another's delete refuses everything, whichever keys it touched. */
static void test_counter_conflict(void **state) {
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        use(&plain_config);
        tiny_put(&w->etcd, COUNTER, "6");
        if (gone)
            tiny_delete(&w->etcd, COUNTER);
        batch *b = batch_new(1, 5);
        batch_put(b, "/a/x", 0, "1");
        batch_put(b, "/a/y", 0, "1");
        give(w, b);
        applied(w);
        assert_outcome(w, EW_ERR_REFUSED, 0);
        assert_int_equal(w->outcome.conflict_revision, gone ? 0 : 2);
        assert_int_equal(w->outcome.barrier_revision, 0);
    }
}

static void test_counter_off(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.counter = false;
    use(&config);
    tiny_put(&w->etcd, COUNTER, "rubbish");
    tiny_put(&w->etcd, "/a/x", "1");
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 3, NULL);
    give(w, b);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_string_equal(tiny_value(&w->etcd, COUNTER), "rubbish");
}

static void test_counter_out_of_range(void **state) {
    (void)state;
    give(w, batch_new(1, INT64_MAX));
    assert_outcome(w, EW_ERR_BAD_COUNTER, 0);
    give(w, batch_new(2, -1));
    assert_outcome(w, EW_ERR_BAD_COUNTER, 0);
}

/* SEMANTICS 21, 25: the units before the one that conflicts are committed, then the refusal is told with the revision
 * that the reactor must wait for. */
static void test_refusal_finds_the_unit(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/0", 0, "1");
    batch_put(b, "/a/1", 0, "1");
    batch_unit(b);
    batch_key(b, "/a/2", 0, "1");
    batch_key(b, "/a/3", 0, "1");
    batch_put(b, "/a/4", 0, "1");
    tiny_put(&w->etcd, "/a/2", "foreign");
    tiny_put(&w->etcd, "/a/3", "foreign");
    tiny_put(&w->etcd, "/a/4", "foreign");
    give(w, b);
    applied(w);
    assert_false(w->has_outcome);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 2);
    assert_int_equal(w->outcome.conflict_revision, 3); /* the newest of the unit's own */
    assert_int_equal(w->outcome.barrier_revision, 5);
    assert_int_equal(w->outcome.txns, 2);
    assert_string_equal(tiny_value(&w->etcd, "/a/1"), "1");
    assert_string_equal(tiny_value(&w->etcd, "/a/2"), "foreign");
}

/* What was good at the first refusal may conflict at the second: then an earlier unit is the first. */
static void test_refusal_moves_forward(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/0", 0, "1");
    batch_put(b, "/a/1", 0, "1");
    batch_put(b, "/a/2", 0, "1");
    tiny_put(&w->etcd, "/a/2", "foreign");
    give(w, b);
    applied(w);
    int64_t revision = tiny_put(&w->etcd, "/a/1", "foreign");
    applied(w);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 1);
    assert_int_equal(w->outcome.conflict_revision, revision);
    assert_int_equal(w->outcome.txns, 3);
}

/* SEMANTICS 37: a unit may compare that nothing in a range is newer; its refusal tells what was added. */
static void test_refusal_by_an_addition(void **state) {
    (void)state;
    for (int added = 0; added < 2; added++) {
        committing_free(w->c);
        w->c = committing_new(&w->config);
        w->etcd = (tiny_etcd){.revision = 1};
        tiny_put(&w->etcd, "/a/b/1", "1");
        batch *b = batch_new(1, 0);
        batch_put(b, "/a/0", 0, "1");
        batch_unit(b);
        batch_range(b, "/a/b/", "/a/b0", 3, PB__COMPARE__COMPARE_RESULT__LESS);
        batch_key(b, "/a/x", 0, "1");
        tiny_put(&w->etcd, added ? "/a/b/2" : "/a/b0", "foreign"); /* at 3 */
        give(w, b);
        applied(w);
        if (added)
            applied(w);
        assert_outcome(w, added ? EW_ERR_REFUSED : EW_OK, added ? 1 : 2);
        assert_int_equal(w->outcome.conflict_revision, added ? 3 : 0);
        assert_int_equal(tiny_mod(&w->etcd, "/a/0"), 4);
        assert_int_equal(tiny_mod(&w->etcd, "/a/x"), added ? 0 : 4);
    }
}

/* Of a range nothing else may be compared, and its read is of what the compare forbids. */
static void test_ranges_that_are_wrong(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_unit(b);
    batch_range(b, "/a/b/", "/a/b0", 2, PB__COMPARE__COMPARE_RESULT__EQUAL);
    batch_key(b, "/a/x", 0, "1");
    tiny_put(&w->etcd, "/a/b/1", "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 0);
}

/* A key that is gone has no revision to wait for. */
static void test_refusal_by_deletion(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/a/0", "1");
    tiny_put(&w->etcd, "/a/1", "1");
    batch *b = batch_new(1, 0);
    batch_unit(b);
    batch_key(b, "/a/0", 2, "2");
    batch_key(b, "/a/1", 3, "?"); /* a guard: compared, not written */
    tiny_put(&w->etcd, "/a/0", "foreign");
    tiny_delete(&w->etcd, "/a/1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.conflict_revision, 0);
}

/* SEMANTICS 27: what leaves no event below the prefix sets no barrier, or the gate would wait for ever. */
static void test_invisible_commit_sets_no_barrier(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.counter = false;
    use(&config);
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/none", 0, NULL);
    give(w, b);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, 0);
    assert_int_equal(w->revisions[0], 2); /* the receipt's */
}

/* Out of space: said once when it begins and once when it is over; what does not tell changes nothing. */
static void test_no_space(void **state) {
    (void)state;
    static const struct {
        int status;
        bool none;
        size_t logs; /* with those of the moves, which come before */
    } answers[] = {{EW_ERR_NO_SPACE, true, 1},
                   {EW_ERR_NO_SPACE, true, 0},
                   {EW_ERR_BUSY, true, 0},
                   {EW_ERR_UNAVAILABLE, true, 0},
                   {EW_ERR_NO_SPACE, true, 0}};
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    assert_false(committing_has_no_space(w->c));
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        size_t logs = w->logs;
        answer_status(w, answers[i].status);
        assert_int_equal(w->logs - logs, 1 + answers[i].logs);
        assert_int_equal(committing_has_no_space(w->c), answers[i].none);
        wait_timer(w);
    }
    size_t logs = w->logs;
    applied(w);
    assert_false(committing_has_no_space(w->c));
    assert_int_equal(w->logs - logs, 2);
    assert_outcome(w, EW_OK, 1);
    /* What ends the batch ends the wait. */
    b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    answer_status(w, EW_ERR_NO_SPACE);
    assert_true(committing_has_no_space(w->c));
    wait_timer(w);
    answer_status(w, EW_ERR_DENIED);
    assert_outcome(w, EW_ERR_DENIED, 0);
    assert_false(committing_has_no_space(w->c));
}

/* ETCD P11: what surely was not applied is sent again, the same, later and later. */
static void test_backs_off(void **state) {
    (void)state;
    static const int statuses[] = {EW_ERR_BUSY, EW_ERR_NO_SPACE, EW_ERR_UNAVAILABLE};
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    sent first = w->last;
    int64_t waited[12];
    for (int i = 0; i < 12; i++) {
        answer_status(w, statuses[i % 3]);
        assert_int_equal(committing_get_state(w->c), COMMITTING_BACKING_OFF);
        waited[i] = committing_deadline_ms(w->c) - w->now;
        w->now += waited[i] - 1;
        step(w, (committing_event){.type = COMMITTING_TIMER}); /* a millisecond early */
        assert_false(w->txn);
        wait_timer(w);
        assert_true(w->txn);
        assert_memory_equal(w->last.bytes, first.bytes, first.len);
    }
    assert_in_range(waited[0], 25, 50);
    assert_in_range(waited[1], 50, 100);
    for (int i = 5; i < 12; i++)
        assert_in_range(waited[i], 500, 1000);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.txns, 13);
}

static void test_definite_errors(void **state) {
    (void)state;
    static const int statuses[][2] = {{EW_ERR_DENIED, EW_ERR_DENIED},
                                      {EW_ERR_INVALID, EW_ERR_INVALID},
                                      {EW_ERR_UNAUTHENTICATED, EW_ERR_UNAUTHENTICATED}};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        batch *b = batch_new(i, 0);
        batch_put(b, "/a/x", 0, "1");
        give(w, b);
        answer_status(w, statuses[i][0]);
        assert_outcome(w, statuses[i][1], 0);
        assert_false(w->outcome.unknown);
        assert_string_equal(w->detail, "as told");
    }
}

/* A server that takes less than we were told: the unit that is too large is found, those before it are committed. */
static void test_server_limit_is_lower(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    char value[90];
    memset(value, 'v', sizeof value);
    value[89] = '\0';
    for (int i = 0; i < 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "/a/%d", i);
        batch_put(b, key, 0, i == 3 ? value : "1");
    }
    size_t used = b->used;
    give(w, b);
    w->etcd.max_bytes = w->last.len - used + 100;
    while (!w->has_outcome)
        applied(w);
    assert_outcome(w, EW_ERR_TOO_LARGE, 3);
    assert_non_null(strstr(w->detail, "below the options max_txn_ops = 128 or max_txn_bytes = 1310720: "));
    assert_string_equal(tiny_value(&w->etcd, "/a/2"), "1");
    assert_null(tiny_value(&w->etcd, "/a/4"));
}

static void fence_world(bool session, bool leader) {
    static uint8_t bytes[256];
    committing_config config = plain_config;
    config.fence = pack_fence(bytes, session, leader);
    config.fence_compares = session + leader;
    use(&config);
    tiny_set(&w->etcd, 2, "/marker", 7, "", 0, LEASE);
    tiny_set(&w->etcd, 2, "/leader", 7, "me", 2, LEASE);
    w->etcd.revision = 2;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* SEMANTICS 30, 31: which part of the fence does not hold, told before any conflict. */
static void test_fence(void **state) {
    (void)state;
    static const struct {
        bool session, leader;   /* what is compared */
        const char *gone, *too; /* what is deleted */
        int expected;
    } cases[] = {{true, false, "/marker", NULL, EW_ERR_SESSION_DONE},
                 {false, true, "/leader", NULL, EW_ERR_LEADERSHIP_LOST},
                 {true, true, "/leader", NULL, EW_ERR_LEADERSHIP_LOST},
                 {true, true, "/marker", NULL, EW_ERR_SESSION_DONE},
                 {true, true, "/leader", "/marker", EW_ERR_SESSION_DONE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int conflict = 0; conflict < 3; conflict++) {
            fence_world(cases[i].session, cases[i].leader);
            tiny_delete(&w->etcd, cases[i].gone);
            if (cases[i].too)
                tiny_delete(&w->etcd, cases[i].too);
            if (conflict == 1)
                tiny_put(&w->etcd, "/a/y", "the new leader's");
            if (conflict == 2)
                tiny_put(&w->etcd, COUNTER, "1");
            batch *b = batch_new(2, 0);
            batch_put(b, "/a/y", 0, "1");
            give(w, b);
            applied(w);
            assert_outcome(w, cases[i].expected, 0);
            assert_false(w->outcome.unknown);
        }
    }
    /* The marker is there, and another's: somebody else has our id. */
    fence_world(true, true);
    tiny_delete(&w->etcd, "/leader");
    tiny_set(&w->etcd, ++w->etcd.revision, "/marker", 7, "", 0, LEASE + 1);
    batch *other = batch_new(2, 0);
    batch_put(other, "/a/y", 0, "1");
    give(w, other);
    applied(w);
    assert_outcome(w, EW_ERR_FENCED, 0);
    /* Elected again is another leadership. */
    fence_world(false, true);
    tiny_delete(&w->etcd, "/leader");
    tiny_put(&w->etcd, "/leader", "me again");
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_LEADERSHIP_LOST, 0);
}

/* A refusal whose read of the fence is of another key says nothing: the transaction is resolved. */
static void test_fence_not_read(void **state) {
    (void)state;
    fence_world(true, false);
    tiny_put(&w->etcd, "/a/y", "somebody else's");
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    Pb__TxnResponse *answer = pb__txn_response__unpack(NULL, w->answer.len, w->answer.bytes);
    assert_non_null(answer);
    answer->responses[1]->response_range->kvs[0]->key.data[1] = 'n';
    w->answer.len = pb__txn_response__pack(answer, w->answer.bytes);
    pb__txn_response__free_unpacked(answer, NULL);
    answer_bytes(w, w->answer.bytes, w->answer.len);
    assert_false(w->has_outcome);
    for (int i = 0; i < 8 && !w->has_outcome; i++) {
        if (w->txn)
            applied(w);
        else
            wait_timer(w);
    }
    assert_outcome(w, EW_ERR_REFUSED, 0);
}

/* The fence takes its place of etcd's 128, in the compares and in the reads. */
static void test_fence_and_full_transactions(void **state) {
    (void)state;
    char key[32];
    fence_world(true, true);
    batch *b = batch_new(2, 0);
    for (int i = 0; i < 126; i++) {
        snprintf(key, sizeof key, "/a/%d", i);
        batch_put(b, key, 0, "v");
    }
    tiny_put(&w->etcd, "/a/124", "foreign");
    give(w, b);
    Pb__TxnRequest *txn = last_txn();
    assert_int_equal(txn->n_compare, 128);
    assert_int_equal(txn->n_failure, 128);
    pb__txn_request__free_unpacked(txn, NULL);
    applied(w);
    applied(w); /* 124 units; the next one conflicts */
    assert_outcome(w, EW_ERR_REFUSED, 124);
}

/* A fence that is asked for something else is compared by etcd, but cannot be told from a senseless refusal. */
static void test_fence_of_another_kind(void **state) {
    (void)state;
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__TxnRequest fence = PB__TXN_REQUEST__INIT;
    uint8_t bytes[64];
    compare.key = (ProtobufCBinaryData){7, (uint8_t *)"/leader"};
    compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = 7;
    fence.compare = compares;
    fence.n_compare = 1;
    for (int kind = 0; kind < 2; kind++) {
        committing_config config = plain_config;
        config.fence = (ew_slice){bytes, pb__txn_request__pack(&fence, bytes)};
        config.fence_compares = 1;
        use(&config);
        batch *b = batch_new(1, 0);
        batch_put(b, "/a/x", 0, "1");
        give(w, b);
        while (!w->has_outcome)
            applied(w);
        assert_outcome(w, kind ? EW_ERR_BAD_ANSWER : EW_ERR_LEADERSHIP_LOST, 0);
        assert_false(w->outcome.unknown);
        compare.target = PB__COMPARE__COMPARE_TARGET__VALUE;
        compare.target_union_case = PB__COMPARE__TARGET_UNION_VALUE;
        compare.value = compare.key;
    }
}

/* The first transaction of a core: a receipt that is already there is another worker's. */
static void test_receipt_of_another(void **state) {
    (void)state;
    tiny_put(&w->etcd, RECEIPT, "12");
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_FENCED, 0);
    assert_non_null(strstr(w->detail, RECEIPT));
    assert_non_null(strstr(w->detail, "worker_id"));
    assert_false(w->outcome.unknown);
    assert_null(tiny_value(&w->etcd, "/a/x"));
}

static void commit_one(const char *key) {
    batch *b = batch_new(1, 0);
    batch_put(b, key, 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* A worker that took over the id and reached the same sequence is told by its revision. */
static void test_receipt_taken_over(void **state) {
    (void)state;
    commit_one("/a/x");
    tiny_put(&w->etcd, RECEIPT, "1");
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_FENCED, 0);
    assert_null(tiny_value(&w->etcd, "/a/y"));
}

/* etcd was restored from a state in which the receipt was older, or not there yet: nothing is applied, nobody else is
 * blamed, and the next transaction goes on from what is there. */
static void test_receipt_is_older(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        use(&plain_config);
        w->etcd.revision = 20;
        commit_one("/a/x");
        commit_one("/a/z");
        tiny_delete(&w->etcd, "/a/x");
        tiny_delete(&w->etcd, "/a/z");
        w->etcd.revision = kind == 0 ? 40 : 15; /* others may have passed the old revision */
        if (kind < 2)
            tiny_set(&w->etcd, 14, RECEIPT, strlen(RECEIPT), kind ? "7" : "1", 1, kind ? 5 : LEASE);
        else
            tiny_remove(&w->etcd, RECEIPT, strlen(RECEIPT));
        batch *b = batch_new(2, 0);
        batch_put(b, "/a/y", 0, "1");
        give(w, b);
        applied(w);
        assert_outcome(w, EW_ERR_REFUSED, 0);
        assert_true(w->outcome.rewritten);
        assert_false(w->outcome.unknown);
        assert_int_equal(w->outcome.conflict_revision, 0);
        assert_null(tiny_value(&w->etcd, "/a/y"));
        b = batch_new(3, 0);
        batch_put(b, "/a/y", 0, "1");
        give(w, b);
        applied(w); /* the receipt, on what was found */
        assert_false(w->has_outcome);
        applied(w);
        assert_outcome(w, EW_OK, 1);
        assert_false(w->outcome.rewritten);
    }
}

static void test_receipt_is_gone(void **state) {
    (void)state;
    commit_one("/a/x");
    tiny_delete(&w->etcd, RECEIPT);
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    sent refused = w->last;
    applied(w);
    assert_int_equal(committing_get_state(w->c), COMMITTING_CLAIMING);
    applied(w); /* the claim */
    assert_true(tiny_mod(&w->etcd, RECEIPT) > 0);
    assert_null(tiny_value(&w->etcd, "/a/y"));
    assert_int_equal(committing_get_state(w->c), COMMITTING_IN_FLIGHT);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.txns, 3);
    sent *copy = malloc(sizeof *copy);
    *copy = refused;
    assert_false(late(w, copy)); /* what was refused can never be applied */
}

/* etcd does not know the receipt's lease: the core asks for a check, and waits for another one. */
static void test_lease_is_gone(void **state) {
    (void)state;
    commit_one("/a/x");
    tiny_delete(&w->etcd, RECEIPT);
    w->etcd.dead_lease = LEASE;
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    applied(w);
    for (int i = 0; i < 3; i++) {
        applied(w); /* a claim, refused for its lease */
        assert_int_equal(w->lease_checks, i + 1);
        assert_false(w->txn);
        if (i < 2)
            wait_timer(w);
    }
    replace_lease(w, LEASE + 1); /* sends at once */
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(tiny_lease(&w->etcd, RECEIPT), LEASE + 1);
}

/* A core that starts without a receipt learns of its lease from the first transaction. */
static void test_lease_is_gone_at_the_start(void **state) {
    (void)state;
    w->etcd.dead_lease = LEASE;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    applied(w);
    applied(w);
    assert_int_equal(w->lease_checks, 1);
    replace_lease(w, LEASE + 1);
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* The receipt is there, and so its lease lives: the one that etcd does not know is the session's. */
static void test_lease_of_a_put_is_gone(void **state) {
    (void)state;
    commit_one("/a/x");
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    answer_status(w, EW_ERR_NOT_FOUND);
    assert_outcome(w, EW_ERR_SESSION_DONE, 0);
    assert_false(w->outcome.unknown);
}

/* The lease is replaced while the batch is out, and a unit puts a client's record with the one before: the batch is
 * evaluated again, on what it was evaluated on, and no run ends. */
static void test_lease_of_a_record_is_replaced(void **state) {
    (void)state;
    commit_one("/a/x");
    batch *b = batch_new(2, 0);
    b->patches.base_revision = 12;
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    replace_lease(w, LEASE + 1);
    answer_status(w, EW_ERR_NOT_FOUND);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.conflict_revision, 12);
    assert_false(w->outcome.unknown);
}

/* A replaced lease: while idle, the next batch begins with a claim; in flight, what comes after it does. */
static void test_lease_replaced(void **state) {
    (void)state;
    commit_one("/a/x");
    replace_lease(w, LEASE); /* the same */
    replace_lease(w, 0);     /* none */
    replace_lease(w, LEASE + 1);
    assert_false(w->txn);
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    assert_int_equal(committing_get_state(w->c), COMMITTING_CLAIMING);
    applied(w);
    assert_int_equal(tiny_lease(&w->etcd, RECEIPT), LEASE + 1);
    replace_lease(w, LEASE + 2);
    assert_int_equal(committing_get_state(w->c), COMMITTING_IN_FLIGHT);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(tiny_lease(&w->etcd, RECEIPT), LEASE + 1);
    b = batch_new(3, 0);
    batch_put(b, "/a/z", 0, "1");
    give(w, b);
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(tiny_lease(&w->etcd, RECEIPT), LEASE + 2);
}

static void begin_claim(void) {
    commit_one("/a/x");
    replace_lease(w, LEASE + 1);
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    assert_int_equal(committing_get_state(w->c), COMMITTING_CLAIMING);
}

/* A claim is sent until it is answered; what an earlier copy did is adopted, also with the lease before this one. */
static void test_claim_is_lost(void **state) {
    (void)state;
    begin_claim();
    applied_lost(w);
    wait_timer(w);
    applied(w); /* refused: the receipt is the earlier claim's */
    assert_int_equal(committing_get_state(w->c), COMMITTING_IN_FLIGHT);
    applied(w);
    assert_outcome(w, EW_OK, 1);

    replace_lease(w, LEASE + 2);
    batch *b = batch_new(3, 0);
    batch_put(b, "/a/z", 0, "1");
    give(w, b);
    applied_lost(w);
    replace_lease(w, LEASE + 3); /* sends at once */
    applied(w);                  /* refused: the receipt has LEASE + 2 */
    wait_timer(w);
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(tiny_lease(&w->etcd, RECEIPT), LEASE + 3);
}

/* The lease is replaced while the claim with the one before is under way. */
static void test_claim_with_a_replaced_lease(void **state) {
    (void)state;
    begin_claim();
    replace_lease(w, LEASE + 2);
    applied(w);
    assert_int_equal(committing_get_state(w->c), COMMITTING_CLAIMING);
    applied(w);
    assert_int_equal(tiny_lease(&w->etcd, RECEIPT), LEASE + 2);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* The receipt keeps vanishing: the core asks at once the first time, then with backoff. */
static void test_claim_of_a_vanishing_receipt(void **state) {
    (void)state;
    begin_claim();
    tiny_delete(&w->etcd, RECEIPT);
    applied(w);
    assert_true(w->txn); /* again, on "missing" */
    tiny_put(&w->etcd, RECEIPT, "7");
    tiny_set(&w->etcd, ++w->etcd.revision, RECEIPT, strlen(RECEIPT), "7", 1, LEASE);
    applied(w);
    assert_false(w->txn); /* a late copy with the former lease: adopted, and moved, later */
    wait_timer(w);
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

static void test_claim_ends(void **state) {
    (void)state;
    static const struct {
        int status, expected;
    } cases[] = {{EW_ERR_DENIED, EW_ERR_DENIED}, {EW_ERR_UNAUTHENTICATED, EW_ERR_UNAUTHENTICATED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_free(w);
        w = world_new(&plain_config);
        begin_claim();
        answer_status(w, cases[i].status);
        assert_outcome(w, cases[i].expected, 0);
        assert_false(w->outcome.unknown);
    }
    /* Another worker's receipt. */
    world_free(w);
    w = world_new(&plain_config);
    begin_claim();
    tiny_put(&w->etcd, RECEIPT, "1");
    applied(w);
    assert_outcome(w, EW_ERR_FENCED, 0);
    assert_false(w->outcome.unknown);
    /* Bytes that are no answer, and no memory for one, are asked again. */
    world_free(w);
    w = world_new(&plain_config);
    begin_claim();
    answer_bytes(w, "\xff", 1);
    wait_timer(w);
    answer_status(w, EW_ERR_NO_MEMORY);
    wait_timer(w);
    applied(w);
    applied(w);
    assert_outcome(w, EW_OK, 1);
}

/* Nothing of the batch is under way: a stop ends it at once. */
static void test_stop_while_claiming(void **state) {
    (void)state;
    begin_claim();
    stop_committing(w, 1000);
    assert_outcome(w, EW_ERR_CANCELLED, 0);
    assert_false(w->outcome.unknown);
    assert_true(w->ended);
}

/* Stopped while the refusal that asks for a claim is on its way. */
static void test_stop_before_the_claim(void **state) {
    (void)state;
    commit_one("/a/x");
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    tiny_delete(&w->etcd, RECEIPT);
    stop_committing(w, 1000);
    applied(w);
    assert_outcome(w, EW_ERR_CANCELLED, 0);
    assert_false(w->outcome.unknown);
    assert_true(w->ended);
}

static void test_lease_without_receipts(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.exactly_once = false;
    world_free(w);
    w = world_new(&config);
    replace_lease(w, LEASE + 1);
    commit_one("/a/x");
    assert_false(tiny_mod(&w->etcd, RECEIPT) > 0);
}

/* A unit from outside that is no unit: told as such, after the units before it. */
static void test_malformed_unit(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        use(&plain_config);
        batch *b = batch_new(1, 0);
        batch_put(b, "/a/x", 0, "1");
        batch_put(b, "/a/y", 0, "1");
        if (kind == 0)
            b->units[1].ops = 2;
        else if (kind == 1)
            b->units[1].compares = 0;
        else if (kind == 2)
            b->units[1].txn.data[3] = PB__COMPARE__COMPARE_TARGET__CREATE; /* behind two tags and a length */
        else
            b->units[1].txn.data[0] = 0x0b; /* a field number and wire type that mean nothing */
        tiny_put(&w->etcd, COUNTER, "1");
        tiny_delete(&w->etcd, COUNTER);
        give(w, b);
        assert_true(w->txn);
        /* Refused by etcd with the reads of the two compares, the counter and the receipt. */
        Pb__RangeResponse none = PB__RANGE_RESPONSE__INIT;
        Pb__ResponseOp op = PB__RESPONSE_OP__INIT, *ops[] = {&op, &op, &op, &op};
        op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        op.response_range = &none;
        Pb__TxnResponse refusal = PB__TXN_RESPONSE__INIT;
        refusal.responses = ops;
        refusal.n_responses = kind == 1 ? 3 : 4;
        uint8_t bytes[256];
        answer_bytes(w, bytes, pb__txn_response__pack(&refusal, bytes));
        assert_true(w->txn);
        applied(w);
        assert_outcome(w, EW_ERR_BAD_MESSAGE, 1);
    }
}

/* SEMANTICS 7: a stop decides what is in flight, and begins nothing new. */
static void test_stop(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.max_keys = 1;
    use(&config);
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    stop_committing(w, 500);
    assert_false(w->has_outcome);
    assert_int_equal(committing_deadline_ms(w->c), w->now + 500);
    stop_committing(w, 5000); /* a second one does not make it longer */
    assert_int_equal(committing_deadline_ms(w->c), w->now + 500);
    applied(w);
    assert_outcome(w, EW_ERR_CANCELLED, 1);
    assert_true(w->ended);
    assert_int_equal(committing_get_state(w->c), COMMITTING_ENDED);
    assert_int_equal(committing_deadline_ms(w->c), INT64_MAX);
    assert_false(w->txn);
    step(w, (committing_event){.type = COMMITTING_TIMER});
    assert_int_equal(w->effects.count, 0);
}

static void test_stop_in_idle(void **state) {
    (void)state;
    stop_committing(w, 500);
    assert_true(w->ended);
    assert_false(w->has_outcome);
}

static void test_stop_while_backing_off(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    answer_status(w, EW_ERR_BUSY);
    stop_committing(w, 500);
    assert_outcome(w, EW_ERR_CANCELLED, 0);
    assert_false(w->outcome.unknown);
    assert_true(w->ended);
}

static void test_stop_then_busy(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    stop_committing(w, 500);
    answer_status(w, EW_ERR_BUSY);
    assert_outcome(w, EW_ERR_CANCELLED, 0);
    assert_true(w->ended);
}

static void test_stop_then_refused(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    batch_put(b, "/a/y", 0, "1");
    tiny_put(&w->etcd, "/a/y", "foreign");
    give(w, b);
    stop_committing(w, 500);
    applied(w);
    assert_outcome(w, EW_ERR_CANCELLED, 0); /* /a/x would have been a new transaction */
    assert_true(w->ended);
}

/* Never later than the stop's time: then the truth is that nobody knows. */
static void test_stop_runs_out(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    stop_committing(w, 500);
    wait_timer(w);
    assert_outcome(w, EW_ERR_UNKNOWN_OUTCOME, 0);
    assert_true(w->outcome.unknown);
    assert_true(w->ended);
    applied_lost(w); /* the call's answer comes after all: nobody listens */
    assert_int_equal(w->effects.count, 0);
}

/* A peer that sends a second batch loses that one. */
static void test_batch_while_busy(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    sent first = w->last;
    b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.list[0].type, COMMITTING_DO_LOG);
    assert_memory_equal(w->last.bytes, first.bytes, first.len);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.batch, 1);
}

/* A time that has no end. */
static void test_stop_without_a_limit(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    stop_committing(w, INT64_MAX);
    assert_int_equal(committing_deadline_ms(w->c), INT64_MAX);
    stop_committing(w, -5);
    assert_int_equal(committing_deadline_ms(w->c), w->now);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_true(w->ended);
}

/* SEMANTICS 29: the same waits for everybody would bring everybody back together. */
static void test_backoff_has_jitter(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.backoff_min_ms = config.backoff_max_ms = 1000;
    int64_t least = INT64_MAX, most = 0;
    for (config.seed = 0; config.seed < 50; config.seed++) {
        use(&config);
        batch *b = batch_new(1, 0);
        batch_put(b, "/a/x", 0, "1");
        give(w, b);
        answer_status(w, EW_ERR_BUSY);
        int64_t wait = committing_deadline_ms(w->c) - w->now;
        assert_in_range(wait, 500, 1000);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_true(most - least > 300);
}

/* Without a minimum it is a millisecond; a maximum below the minimum is the wait. */
static void test_backoff_bounds(void **state) {
    (void)state;
    committing_config config = plain_config;
    config.backoff_min_ms = 0;
    config.backoff_max_ms = 0;
    use(&config);
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    answer_status(w, EW_ERR_BUSY);
    assert_int_equal(committing_deadline_ms(w->c), w->now + 1);
    config.backoff_min_ms = 100;
    config.backoff_max_ms = 10;
    use(&config);
    b = batch_new(1, 0);
    batch_put(b, "/a/x", 0, "1");
    give(w, b);
    answer_status(w, EW_ERR_BUSY);
    assert_in_range(committing_deadline_ms(w->c) - w->now, 5, 10);
}

static void test_answer_without_a_call(void **state) {
    (void)state;
    answer_status(w, EW_OK);
    assert_int_equal(w->effects.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moves_are_traced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_up_to_max_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unit_is_not_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unit_with_too_many_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alone_over_the_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overhead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_max_keys_leaves_room_for_the_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_out_of_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_finds_the_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_moves_forward, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_by_deletion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_by_an_addition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges_that_are_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invisible_commit_sets_no_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backs_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_space, setup, teardown),
        cmocka_unit_test_setup_teardown(test_definite_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_limit_is_lower, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence_and_full_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence_of_another_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_is_older, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receipt_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_is_gone_at_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_of_a_record_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_of_a_put_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claim_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claim_with_a_replaced_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claim_of_a_vanishing_receipt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claim_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_while_claiming, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_before_the_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_without_receipts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_in_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_while_backing_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_then_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_then_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_runs_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_while_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_without_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backoff_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backoff_has_jitter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_without_a_call, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
