/* The committing core: how it makes transactions of atomic units, in order and within etcd's limits. */
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

/* The core logs every move of its state machine. */
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

/* SEMANTICS 25, 26: atomic units share a transaction, up to exactly the limit of keys; the rest follows in order. */
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

/* SEMANTICS 25: an atomic unit is never split. */
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

/* SEMANTICS 26: 126 keys fit, 127 do not; the atomic units before are committed first. */
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

/* SEMANTICS 26: the limit counts the bytes of the request exactly as it is sent. */
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
            size = w->last.len; /* of both together, as sent */
            spare = 1;
            continue;
        }
        applied(w);
        assert_int_equal(w->has_outcome, spare == 0);
    }
}

static void test_one_unit_over_max_bytes(void **state) {
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

/* Packs fence conditions as a worker makes them: the session key has its lease, and the leader's key was created at
 * revision 2. */
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

/* committing_overhead(), which the ticking core uses, is never less than what the committing core adds. */
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
    assert_true((int64_t)(w->last.len - fragment) > overhead - 60); /* some numbers are encoded shorter */

    committing_config bare = plain_config;
    bare.counter = bare.exactly_once = false;
    assert_int_equal(committing_overhead(&bare), 0);
    const int64_t own = committing_overhead(&plain_config);
    uint8_t bytes[256];
    committing_config fenced = plain_config;
    fenced.fence = pack_fence(bytes, true, true);
    assert_true(committing_overhead(&fenced) > own + (int64_t)fenced.fence.len); /* the refusal reads the keys, too */
    assert_true(committing_overhead(&fenced) < own + 2 * (int64_t)fenced.fence.len);
    fenced.fence = EW_STR("\xff\xff");
    assert_null(committing_new(&fenced));
    assert_int_equal(committing_overhead(&fenced), own + 4); /* not below the overhead of a readable fence */
}

/* etcd's limit includes the fence conditions. The option `max_txn_keys` counts the keys without them. */
static void test_max_keys_leaves_space_for_the_fence(void **state) {
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
    config.max_keys = 9999; /* more than the limit allows */
    assert_int_equal(committing_max_keys(&config), 9998);
}

/* SEMANTICS 24: without a counter the transaction compares that its key is absent; the first deletion creates it, once
 * for the whole transaction. */
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

/* SEMANTICS 24: the core tracks the counter within a batch; a transaction without deletions does not raise it. */
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

/* SEMANTICS 24: a deletion by another writer refuses the transaction, whichever key was deleted. */
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

/* SEMANTICS 21, 25: the atomic units before the one that conflicts are committed. Then the refusal is reported, with
 * the revision that the reactor must wait for. */
static void test_refusal_finds_the_unit(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/0", 0, "1");
    batch_put(b, "/a/1", 0, "1");
    batch_unit(b);
    batch_key(b, "/a/2", 0, "1");
    batch_key(b, "/a/3", 0, "1");
    batch_put(b, "/a/4", 0, "1");
    tiny_put(&w->etcd, "/a/2", "external");
    tiny_put(&w->etcd, "/a/3", "external");
    tiny_put(&w->etcd, "/a/4", "external");
    give(w, b);
    applied(w);
    assert_false(w->has_outcome);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 2);
    assert_int_equal(w->outcome.conflict_revision, 3); /* the newest in the conflicting unit */
    assert_int_equal(w->outcome.barrier_revision, 5);
    assert_int_equal(w->outcome.txns, 2);
    assert_string_equal(tiny_value(&w->etcd, "/a/1"), "1");
    assert_string_equal(tiny_value(&w->etcd, "/a/2"), "external");
}

/* An earlier atomic unit may conflict when the others are sent again: then it is the first one that was not
 * committed. */
static void test_second_refusal_by_an_earlier_unit(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    batch_put(b, "/a/0", 0, "1");
    batch_put(b, "/a/1", 0, "1");
    batch_put(b, "/a/2", 0, "1");
    tiny_put(&w->etcd, "/a/2", "external");
    give(w, b);
    applied(w);
    int64_t revision = tiny_put(&w->etcd, "/a/1", "external");
    applied(w);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 1);
    assert_int_equal(w->outcome.conflict_revision, revision);
    assert_int_equal(w->outcome.txns, 3);
}

/* SEMANTICS 37: an atomic unit may compare that a range has nothing newer; its refusal reports the revision of an added
 * key. */
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
        tiny_put(&w->etcd, added ? "/a/b/2" : "/a/b0", "external"); /* at 3 */
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

/* etcd reads one key, the newest. A response with two says nothing, so the transaction is sent again. */
static void test_refusal_with_two_newest_keys(void **state) {
    (void)state;
    static uint8_t bytes[4096];
    tiny_put(&w->etcd, "/a/b/1", "1");
    batch *b = batch_new(1, 0);
    batch_unit(b);
    batch_range(b, "/a/b/", "/a/b0", 2, PB__COMPARE__COMPARE_RESULT__LESS);
    batch_key(b, "/a/x", 0, "1");
    give(w, b);
    tiny_txn(&w->etcd, w->last.bytes, w->last.len, &w->answer);
    Pb__TxnResponse *r = pb__txn_response__unpack(NULL, w->answer.len, w->answer.bytes);
    assert_non_null(r);
    Pb__RangeResponse *read = r->responses[0]->response_range;
    assert_int_equal(read->n_kvs, 1);
    Pb__KeyValue **one = read->kvs, *two[] = {read->kvs[0], read->kvs[0]};
    read->kvs = two;
    read->n_kvs = 2;
    size_t len = pb__txn_response__pack(r, bytes);
    read->kvs = one;
    read->n_kvs = 1;
    pb__txn_response__free_unpacked(r, NULL);
    answer_bytes(w, bytes, len);
    assert_int_equal(committing_get_state(w->c), COMMITTING_RESOLVING);
    applied(w);
    applied(w); /* the receipt bump */
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.conflict_revision, 2);
}

/* A compare of a range must be LESS, with a read of the newer keys in the same range. Any other is a bad message. */
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

/* A deleted key has no revision to wait for. */
static void test_refusal_by_deletion(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/a/0", "1");
    tiny_put(&w->etcd, "/a/1", "1");
    batch *b = batch_new(1, 0);
    batch_unit(b);
    batch_key(b, "/a/0", 2, "2");
    batch_key(b, "/a/1", 3, "?"); /* a guard: compared, not written */
    tiny_put(&w->etcd, "/a/0", "external");
    tiny_delete(&w->etcd, "/a/1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.conflict_revision, 0);
}

/* SEMANTICS 27: a commit without an event below the prefix sets no barrier; otherwise the gate would never open. */
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

/* Out of space is logged once at its begin and once at its end. An answer that does not say whether there is space
 * (BUSY, UNAVAILABLE) changes nothing. */
static void test_no_space(void **state) {
    (void)state;
    static const struct {
        int status;
        bool none;
        size_t logs; /* besides the record of the move, which comes first */
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
    /* The end of the batch also ends the state "out of space". */
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

/* ETCD P11: a transaction that was surely not applied is sent again unchanged, with growing waits. */
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

/* The server's limit is lower than the options say: the core finds the atomic unit that is too large, and commits those
 * before it. */
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

/* SEMANTICS 30, 31: the outcome says which fence condition does not hold, even if there is also a conflict. */
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
    /* The session key has another lease: another worker uses this worker's id. */
    fence_world(true, true);
    tiny_delete(&w->etcd, "/leader");
    tiny_set(&w->etcd, ++w->etcd.revision, "/marker", 7, "", 0, LEASE + 1);
    batch *other = batch_new(2, 0);
    batch_put(other, "/a/y", 0, "1");
    give(w, other);
    applied(w);
    assert_outcome(w, EW_ERR_FENCED, 0);
    /* An election that was won again is another leadership. */
    fence_world(false, true);
    tiny_delete(&w->etcd, "/leader");
    tiny_put(&w->etcd, "/leader", "me again");
    batch *b = batch_new(2, 0);
    batch_put(b, "/a/y", 0, "1");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_LEADERSHIP_LOST, 0);
}

/* A refusal whose read is not of the session key is an invalid answer: the transaction is resolved. */
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

/* The fence conditions count against etcd's limit of 128, in the compares and in the reads. */
static void test_fence_and_full_transactions(void **state) {
    (void)state;
    char key[32];
    fence_world(true, true);
    batch *b = batch_new(2, 0);
    for (int i = 0; i < 126; i++) {
        snprintf(key, sizeof key, "/a/%d", i);
        batch_put(b, key, 0, "v");
    }
    tiny_put(&w->etcd, "/a/124", "external");
    give(w, b);
    Pb__TxnRequest *txn = last_txn();
    assert_int_equal(txn->n_compare, 128);
    assert_int_equal(txn->n_failure, 128);
    pb__txn_request__free_unpacked(txn, NULL);
    applied(w);
    applied(w); /* 124 atomic units; the next one conflicts */
    assert_outcome(w, EW_ERR_REFUSED, 124);
}

/* A fence condition may compare something else. Compares of a mod_revision are recognised when they fail; for others (a
 * value) the refusal is an invalid answer. */
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

/* The first transaction of a core finds a receipt: another worker put it. */
static void test_receipt_of_another_worker(void **state) {
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

/* Another worker that took over the id may have reached the same sequence; the receipt's mod_revision shows it. */
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

/* etcd was restored from a state with an older receipt, or without one. Nothing is applied, the error is not
 * EW_ERR_FENCED, and the next batch takes over the receipt that is there. */
static void test_receipt_is_older(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        use(&plain_config);
        w->etcd.revision = 20;
        commit_one("/a/x");
        commit_one("/a/z");
        tiny_delete(&w->etcd, "/a/x");
        tiny_delete(&w->etcd, "/a/z");
        w->etcd.revision = kind == 0 ? 40 : 15; /* other writers may have passed the old revision */
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
        applied(w); /* takes over the receipt that was found */
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
    assert_false(late(w, copy)); /* a late copy of the refused transaction has no effect */
}

/* etcd does not know the receipt's lease: the core requests a check of the lease, and waits for another one. */
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
        applied(w); /* a claim, refused because of its lease */
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

/* A core that starts without a receipt finds in the first transaction that the lease is gone. */
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

/* The receipt exists, so its lease lives: the lease that etcd does not know is the session's, in a put. */
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

/* The receipt's lease is replaced while the batch is undecided, and a client's record is put with the old lease. The
 * batch is refused and evaluated again on the same revision; the run goes on. */
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

/* A replaced lease is claimed before the next transaction: at the start of the next batch, also if a transaction is in
 * flight now. */
static void test_lease_replaced(void **state) {
    (void)state;
    commit_one("/a/x");
    replace_lease(w, LEASE); /* the same */
    replace_lease(w, 0);     /* no lease */
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

/* A claim is sent until it is answered. If an earlier copy of it was applied, the core takes over that receipt, also
 * with a lease that has been replaced since. */
static void test_claim_is_lost(void **state) {
    (void)state;
    begin_claim();
    applied_lost(w);
    wait_timer(w);
    applied(w); /* refused: an earlier claim put the receipt */
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

/* The lease is replaced while a claim with the old one is in flight: another claim follows. */
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

/* The receipt disappears again and again: the core sends the next claim at once the first time, then with backoff. */
static void test_claim_of_a_vanishing_receipt(void **state) {
    (void)state;
    begin_claim();
    tiny_delete(&w->etcd, RECEIPT);
    applied(w);
    assert_true(w->txn); /* again, since the receipt is absent */
    tiny_put(&w->etcd, RECEIPT, "7");
    tiny_set(&w->etcd, ++w->etcd.revision, RECEIPT, strlen(RECEIPT), "7", 1, LEASE);
    applied(w);
    assert_false(w->txn); /* a late copy of ours, with the old lease: claimed after a wait */
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
    /* After an invalid answer, and without memory for an answer, the claim is sent again. */
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

/* No transaction of the batch is in flight: a stop ends it at once. */
static void test_stop_while_claiming(void **state) {
    (void)state;
    begin_claim();
    stop_committing(w, 1000);
    assert_outcome(w, EW_ERR_CANCELLED, 0);
    assert_false(w->outcome.unknown);
    assert_true(w->ended);
}

/* The stop comes while a transaction is in flight whose refusal would need a claim. */
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

/* A malformed atomic unit ends the batch with EW_ERR_BAD_MESSAGE, after the atomic units before it are committed. */
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
            b->units[1].txn.data[3] = PB__COMPARE__COMPARE_TARGET__CREATE; /* after two tags and a length */
        else
            b->units[1].txn.data[0] = 0x0b; /* an invalid field number and wire type */
        tiny_put(&w->etcd, COUNTER, "1");
        tiny_delete(&w->etcd, COUNTER);
        give(w, b);
        assert_true(w->txn);
        /* etcd refuses, with the reads of the two compares, the counter and the receipt. */
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

/* SEMANTICS 7: a stop waits for the transaction in flight, and the core starts no other one. */
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
    stop_committing(w, 5000); /* a second stop does not extend it */
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
    tiny_put(&w->etcd, "/a/y", "external");
    give(w, b);
    stop_committing(w, 500);
    applied(w);
    assert_outcome(w, EW_ERR_CANCELLED, 0); /* /a/x alone would be another transaction */
    assert_true(w->ended);
}

/* The outcome comes within the stop's time limit; at the limit it is unknown. */
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
    applied_lost(w); /* the late answer of the call is ignored */
    assert_int_equal(w->effects.count, 0);
}

/* A second batch that comes before the first is decided is dropped. */
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

/* A stop may have no time limit; a negative limit counts as 0. */
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

/* SEMANTICS 29: waits have jitter, so that workers do not all retry at the same time. */
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

/* A minimum of 0 counts as 1 ms. A maximum below the minimum limits the wait. */
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
        cmocka_unit_test_setup_teardown(test_one_unit_over_max_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overhead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_max_keys_leaves_space_for_the_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counter_out_of_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_finds_the_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_refusal_by_an_earlier_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_by_deletion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_by_an_addition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_with_two_newest_keys, setup, teardown),
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
        cmocka_unit_test_setup_teardown(test_receipt_of_another_worker, setup, teardown),
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
