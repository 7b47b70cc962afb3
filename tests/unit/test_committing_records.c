/* Clients' records in a batch (SEMANTICS 34): they are read with their values when a transaction is refused, reported
 * with the outcome, and do not count as changes below the prefix. */
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

/* Adds a submit's atomic unit: a key and a record. */
static void add_submit(batch *b, const char *key, const char *record, int64_t mod, const char *value) {
    batch_unit(b);
    batch_key(b, key, tiny_mod(&w->etcd, key), "1");
    batch_record(b, record, mod, value);
}

static void test_committed(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    add_submit(b, "/a/x", "/r/c", 0, "mine");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_OK, 1);
    assert_int_equal(w->outcome.barrier_revision, 2);
    assert_string_equal(tiny_value(&w->etcd, "/r/c"), "mine");
    assert_string_equal(w->records, "");
}

/* The outcome has the records of all atomic units that differ from the expected ones, also those after the first
 * conflict. It has no revision to wait for, since the watch does not show records. */
static void test_refused(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/r/c", "theirs");
    tiny_put(&w->etcd, "/r/e", "theirs, too");
    batch *b = batch_new(1, 0);
    add_submit(b, "/a/w", "/r/b", 0, "mine");
    add_submit(b, "/a/x", "/r/c", 0, "mine");
    add_submit(b, "/a/y", "/r/d", 77, "mine"); /* expired */
    add_submit(b, "/a/z", "/r/e", 3, "mine");
    batch_key(b, "/a/zz", 0, "1");
    b->list[3]->records = 0; /* so it is not a record, but a plain key */
    give(w, b);
    applied(w); /* refused */
    applied(w); /* the first atomic unit alone */
    assert_outcome(w, EW_ERR_REFUSED, 1);
    assert_int_equal(w->outcome.conflict_revision, 0);
    assert_string_equal(w->records, "1.0@2=theirs 2.0@0= ");
    batch *next = batch_new(2, 0); /* each record is reported once */
    batch_put(next, "/a/q", 9, "1");
    give(w, next);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_string_equal(w->records, "");
}

/* If a key below the prefix conflicts in the same atomic unit, the outcome has the key's revision to wait for. */
static void test_refused_with_a_key(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/r/c", "theirs");
    int64_t changed = tiny_put(&w->etcd, "/a/x", "external");
    batch *b = batch_new(1, 0);
    batch_unit(b);
    batch_key(b, "/a/x", 0, "1");
    batch_record(b, "/r/c", 0, "mine");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.conflict_revision, changed);
    assert_string_equal(w->records, "0.0@2=theirs ");
}

/* A value that is too long for a record is left out of the outcome. */
static void test_too_long(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/r/c", "forty-nine bytes are longer than a record can be.");
    batch *b = batch_new(1, 0);
    add_submit(b, "/a/x", "/r/c", 0, "mine");
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_string_equal(w->records, "0.0@2= ");
}

/* An outcome has at most 16 records. The others are found when they are refused again. */
static void test_many(void **state) {
    (void)state;
    enum { MANY = 20, MOST = 16 };
    batch *b = batch_new(1, 0);
    for (int i = 0; i < MANY; i++) {
        char key[16], record[16];
        snprintf(key, sizeof key, "/a/%d", i);
        snprintf(record, sizeof record, "/r/%d", i);
        tiny_put(&w->etcd, record, "x");
        add_submit(b, key, record, 0, "mine");
    }
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_int_equal(w->outcome.n_records, MOST);
}

/* A commit of a record alone sets no barrier, whether its answer arrives or is resolved. */
static void test_sets_no_barrier(void **state) {
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        char record[16];
        snprintf(record, sizeof record, "/r/%d", lost);
        batch *b = batch_new(1, 0);
        batch_unit(b);
        batch_record(b, record, 0, "mine");
        give(w, b);
        if (lost)
            applied_lost(w);
        applied(w);
        assert_outcome(w, EW_OK, 1);
        assert_int_equal(w->outcome.barrier_revision, 0);
        assert_int_equal(w->revisions[0], tiny_mod(&w->etcd, record));
        assert_int_equal(w->outcome.resolved, lost);
    }
}

/* A refusal with a lost answer gets a receipt bump. Then the outcome has the record. */
static void test_refused_then_fenced(void **state) {
    (void)state;
    tiny_put(&w->etcd, "/r/c", "theirs");
    batch *b = batch_new(1, 0);
    add_submit(b, "/a/x", "/r/c", 0, "mine");
    give(w, b);
    applied_lost(w);
    applied(w); /* refused again */
    applied(w); /* the receipt bump */
    assert_outcome(w, EW_ERR_REFUSED, 0);
    assert_string_equal(w->records, "0.0@2=theirs ");
}

/* More records than compares or operations. */
static void test_malformed(void **state) {
    (void)state;
    batch *b = batch_new(1, 0);
    add_submit(b, "/a/x", "/r/c", 77, "mine");
    b->list[0]->records = 3;
    give(w, b);
    applied(w);
    assert_outcome(w, EW_ERR_BAD_MESSAGE, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_with_a_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sets_no_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_then_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
