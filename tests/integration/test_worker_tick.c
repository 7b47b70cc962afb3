/* What a tick sees, and the outcome of its patches (SEMANTICS 15, 17, 18, 20-22). */
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>

static const char LONG_MS[] = "3600000";

/* ---- one revision ---- */

typedef struct memory {
    _Atomic int64_t committed; /* the revision of the last own commit */
    int64_t written;
    _Atomic unsigned pairs; /* number of changes seen */
    int64_t pair;
} memory;

static void remember(void *arg, ew_status status, int64_t revision) {
    memory *m = arg;
    if (status == EW_OK)
        m->committed = revision;
}

static int64_t number_at(worker_fixture *f, ew_tick *t, const char *key) {
    ew_entry e;
    int64_t number = 0;
    if (ew_tick_get(t, ew_str(key), &e) != EW_OK)
        return 0;
    EXPECT(f, ew_slice_int(e.value, &number));
    EXPECT(f, e.mod_revision <= ew_tick_revision(t));
    return number;
}

static int look_and_write(worker_fixture *f, ew_tick *t) {
    memory *m = f->arg;
    int64_t left = number_at(f, t, "/one/left");
    EXPECT(f, left == number_at(f, t, "/one/right"));
    EXPECT(f, ew_tick_revision(t) >= m->committed);
    EXPECT(f, number_at(f, t, "/one/own") == m->written);
    m->pairs += left != m->pair;
    m->pair = left;
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)++m->written);
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/one/own"), ew_str(text));
    ew_group_on_done(g, remember, m);
    return EW_OK;
}

/* Puts both keys in one transaction. */
static void put_pair(int number) {
    char text[32];
    snprintf(text, sizeof text, "%d", number);
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    Pb__PutRequest puts[2] = {PB__PUT_REQUEST__INIT, PB__PUT_REQUEST__INIT};
    Pb__RequestOp ops[2] = {PB__REQUEST_OP__INIT, PB__REQUEST_OP__INIT};
    Pb__RequestOp *list[2] = {&ops[0], &ops[1]};
    static uint8_t keys[2][16] = {"/one/left", "/one/right"};
    for (size_t i = 0; i < 2; i++) {
        puts[i].key = (ProtobufCBinaryData){strlen((char *)keys[i]), keys[i]};
        puts[i].value = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
        ops[i].request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
    }
    txn.success = list;
    txn.n_success = 2;
    pb__txn_response__free_unpacked(client_txn(&txn), NULL);
}

/* SEMANTICS 15: a tick sees the prefix at exactly one revision, never older than the worker's own last commit. */
static void check_one_revision(const char *coalesce) {
    memory m = {0};
    worker_fixture f;
    worker_fixture_open(&f, "/one");
    worker_fixture_set(&f, "coalesce", coalesce);
    f.every = look_and_write;
    f.arg = &m;
    worker_fixture_start(&f);
    for (int i = 1; i <= 100000 && m.pairs < 100; i++)
        put_pair(i);
    worker_fixture_await_tick(&f, client_revision());
    assert_true(m.pairs >= 100);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/one/");
}

static void test_one_revision(void **state) {
    (void)state;
    check_one_revision("on");
    check_one_revision("off");
}

static int put_now(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/now/a"), EW_STR("1"));
}

static bool has_a_barrier(void *arg) {
    return worker_fixture_stats(arg).barrier_revision != -1;
}

/* SEMANTICS 17: patches are committed right after their tick, without any other event. The commit's own event causes
 * the second tick. */
static void test_patches_are_committed_right_after_the_tick(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/now");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_begin(&f, put_now);
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 2);
    client_kv kv = client_get("/now/a");
    assert_int_equal(f.ticks, 2);
    assert_true(env_until(has_a_barrier, &f)); /* reported at the end of the round that ticked */
    assert_int_equal(worker_fixture_stats(&f).barrier_revision, kv.mod_revision);
    assert_true(f.revision >= kv.mod_revision);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

/* ---- a slow tick ---- */

static bool is_past(void *arg) {
    return env_now_ms() >= *(int64_t *)arg;
}

static int hold(worker_fixture *f, ew_tick *t) {
    ew_group_put_lease(ew_tick_group(t), EW_STR("/slow/mine"), EW_STR("1"), EW_LEASE_SESSION);
    worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 18: a tick of more than two TTLs: the lease is kept alive, the watch is drained, the tick is counted. */
static void test_slow_tick(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/slow");
    worker_fixture_set(&f, "tick_interval_ms", LONG_MS);
    worker_fixture_set(&f, "session_ttl_s", "2");
    worker_fixture_set(&f, "slow_tick_ms", "500");
    f.updates = true;
    worker_fixture_begin(&f, hold);
    worker_fixture_start(&f);
    worker_fixture_await_held(&f);
    for (int i = 0; i < 200; i++)
        client_put("/slow/a", "x");
    int64_t until_ms = env_now_ms() + 5000; /* a fixed time, since the rule is about time */
    assert_true(env_until(is_past, &until_ms));
    assert_int_equal(worker_fixture_stats(&f).slow_ticks, 0); /* it has not ended yet */
    worker_fixture_release(&f);
    worker_fixture_await_events(&f, 201);
    client_kv kv = client_get("/slow/mine");
    assert_true(kv.present && kv.lease != 0);
    assert_int_equal(worker_fixture_stats(&f).slow_ticks, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_false(client_get("/slow/mine").present); /* the end of the run has revoked the lease */
}

/* ---- results of patches ---- */

static int write_then_ignore(void *arg, ew_view *view) {
    worker_fixture *f = arg;
    ew_entry e;
    EXPECT(f, ew_view_put(view, EW_STR("/answer/a"), EW_STR("undone")) == EW_OK);
    EXPECT(f, ew_view_put(view, EW_STR("/answer/new"), EW_STR("undone")) == EW_OK);
    EXPECT(f, ew_view_delete(view, EW_STR("/answer/b")) == EW_OK);
    EXPECT(f, ew_view_get(view, EW_STR("/answer/b"), &e) == EW_ERR_NOT_FOUND);
    return EW_IGNORE;
}

static int expect_undone(void *arg, ew_view *view) {
    worker_fixture *f = arg;
    ew_entry e;
    EXPECT(f, ew_view_get(view, EW_STR("/answer/a"), &e) == EW_OK && ew_slice_equal(e.value, EW_STR("first")));
    EXPECT(f, ew_view_get(view, EW_STR("/answer/b"), &e) == EW_OK && ew_slice_equal(e.value, EW_STR("1")));
    EXPECT(f, ew_view_get(view, EW_STR("/answer/new"), &e) == EW_ERR_NOT_FOUND);
    return ew_view_put(view, EW_STR("/answer/c"), EW_STR("last"));
}

static int ignore_one(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/answer/a"), EW_STR("first"));
    ew_group_patch(g, write_then_ignore, f, NULL);
    ew_group_patch(g, expect_undone, f, NULL);
    return EW_OK;
}

/* SEMANTICS 20: EW_IGNORE leaves one patch out, and undoes what it had changed. */
static void test_ignore(void **state) {
    (void)state;
    worker_fixture f;
    client_put("/answer/b", "1");
    worker_fixture_open(&f, "/answer");
    worker_fixture_start(&f);
    worker_fixture_do(&f, ignore_one);
    client_kv a = client_get("/answer/a"), c = client_get("/answer/c");
    assert_string_equal(a.value, "first");
    assert_string_equal(c.value, "last");
    assert_int_equal(a.mod_revision, c.mod_revision);
    assert_string_equal(client_get("/answer/b").value, "1");
    assert_false(client_get("/answer/new").present);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

static _Atomic unsigned attempts;

static int wait_for_go(void *arg, ew_view *view) {
    (void)arg;
    ew_entry e;
    attempts++;
    if (ew_view_put(view, EW_STR("/again/b"), EW_STR("1")) != EW_OK)
        return EW_ERR_REACTOR;
    bool go = ew_view_get(view, EW_STR("/again/go"), &e) == EW_OK && ew_slice_equal(e.value, EW_STR("yes"));
    return go ? EW_OK : EW_AGAIN;
}

static int wait_in_a_group(worker_fixture *f, ew_tick *t) {
    (void)f;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/again/a"), EW_STR("1"));
    ew_group_patch(g, wait_for_go, NULL, NULL);
    ew_group_put(ew_tick_group(t), EW_STR("/again/later"), EW_STR("1"));
    return EW_OK;
}

static bool has_tried_again(void *arg) {
    return attempts > *(unsigned *)arg;
}

/* SEMANTICS 20, 21: EW_AGAIN gives the group up until a newer state lets it through. No tick comes meanwhile, and a
 * later group does not overtake it. */
static void test_again(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/again");
    worker_fixture_begin(&f, wait_in_a_group);
    worker_fixture_start(&f);
    unsigned seen = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(env_until(has_tried_again, &seen));
        seen = attempts;
        client_put("/again/go", "no");
    }
    assert_int_equal(worker_fixture_ticks(&f), 1);
    assert_false(client_get("/again/a").present);
    assert_false(client_get("/again/later").present);
    int64_t go = client_put("/again/go", "yes");
    worker_fixture_await_ticks(&f, 1);
    client_kv a = client_get("/again/a"), b = client_get("/again/b"), later = client_get("/again/later");
    assert_true(a.mod_revision > go);
    assert_int_equal(a.mod_revision, b.mod_revision);
    assert_true(later.mod_revision >= a.mod_revision);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

static int fail_to_patch(void *arg, ew_view *view) {
    (void)arg, (void)view;
    return EW_ERR_REACTOR;
}

static void drop_counts(void *arg) {
    ++*(unsigned *)arg;
}

static int fail_in_a_group(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/fail/before"), EW_STR("1"));
    ew_group *g = ew_tick_group(t);
    ew_group_name(g, "the bad one");
    ew_group_patch(g, fail_to_patch, f->arg, drop_counts);
    return EW_OK;
}

/* SEMANTICS 20: any other error ends the run and names the group. */
static void test_error_of_a_patch(void **state) {
    (void)state;
    unsigned dropped = 0;
    worker_fixture f;
    worker_fixture_open(&f, "/fail");
    f.every = fail_in_a_group;
    f.arg = &dropped;
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_REACTOR);
    assert_non_null(strstr(f.err.detail, "the bad one"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_REACTOR);
    assert_int_equal(dropped, 1);
}

/* ---- order ---- */

typedef struct done {
    _Atomic int64_t revisions[3];
    _Atomic unsigned places[3], calls;
} done;

typedef struct done_arg {
    done *d;
    size_t i;
} done_arg;

static void note(void *arg, ew_status status, int64_t revision) {
    done_arg *a = arg;
    a->d->revisions[a->i] = status == EW_OK ? revision : -1;
    a->d->places[a->i] = a->d->calls++;
}

static int append_x(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    char text[64];
    snprintf(text, sizeof text, "%.*sx", current ? (int)current->value.len : 0,
             current ? (const char *)current->value.data : "");
    return ew_value_set(next, ew_str(text));
}

static int three_groups(worker_fixture *f, ew_tick *t) {
    static const char *const keys[] = {"/order/a", "/order/b", "/order/c"};
    static done_arg args[3];
    for (size_t i = 0; i < 3; i++) {
        ew_group *g = ew_tick_group(t);
        args[i] = (done_arg){f->arg, i};
        ew_group_modify(g, ew_str(keys[i]), append_x, NULL, NULL);
        ew_group_on_done(g, note, &args[i]);
    }
    worker_fixture_hold(f);
    return EW_OK;
}

static void check_order(const char *conflict) {
    done d = {0};
    worker_fixture f;
    worker_fixture_open(&f, "/order");
    f.arg = &d;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, three_groups);
    worker_fixture_await_held(&f);
    int64_t external = client_put(conflict, "f");
    worker_fixture_release(&f);
    worker_fixture_await_ticks(&f, 1);
    assert_int_equal(d.calls, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(d.places[i], i);
        assert_true(i == 0 || d.revisions[i] >= d.revisions[i - 1]);
    }
    const char *const keys[] = {"/order/a", "/order/b", "/order/c"};
    for (size_t i = 0; i < 3; i++) {
        client_kv kv = client_get(keys[i]);
        assert_int_equal(kv.mod_revision, d.revisions[i]);
        assert_true(kv.mod_revision > external);
        assert_string_equal(kv.value, strcmp(keys[i], conflict) == 0 ? "fx" : "x");
    }
    assert_true(worker_fixture_stats(&f).groups_refused >= 1);
    assert_int_equal(worker_fixture_stats(&f).groups_committed, 3);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/order/");
}

/* SEMANTICS 21: a refused group is evaluated again from the start; it and all later ones keep their order. */
static void test_refused_and_later_groups_keep_their_order(void **state) {
    (void)state;
    check_order("/order/a");
    check_order("/order/b");
    check_order("/order/c");
}

/* ---- keys that patches may not write ---- */

static int put_outside_in_a_view(void *arg, ew_view *view) {
    worker_fixture *f = arg;
    EXPECT(f, ew_view_put(view, EW_STR("/outside/a"), EW_STR("1")) == EW_ERR_OUTSIDE_PREFIX);
    return EW_OK; /* the group has failed nevertheless */
}

static int through_a_view(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/inside/a"), EW_STR("1"));
    return ew_group_patch(ew_tick_group(t), put_outside_in_a_view, f, NULL);
}

static int through_put(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    EXPECT(f, ew_group_put(g, ew_str(f->arg), EW_STR("1")) == EW_ERR_OUTSIDE_PREFIX);
    ew_group_put(g, EW_STR("/inside/b"), EW_STR("1")); /* the group keeps its error, whatever follows */
    return EW_OK;
}

static int through_delete(worker_fixture *f, ew_tick *t) {
    ew_group_delete(ew_tick_group(t), ew_str(f->arg));
    return EW_OK;
}

static int through_modify(worker_fixture *f, ew_tick *t) {
    ew_group_modify(ew_tick_group(t), ew_str(f->arg), append_x, NULL, NULL);
    return EW_OK;
}

static void check_outside(const char *prefix, char *key, worker_fixture_action act) {
    worker_fixture f;
    worker_fixture_open(&f, prefix);
    f.every = act;
    f.arg = key;
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_OUTSIDE_PREFIX);
    if (!strstr(f.err.detail, key))
        fail_msg("missing %s in: %s", key, f.err.detail);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_OUTSIDE_PREFIX);
    assert_false(client_get(key).present);
}

/* SEMANTICS 22: a key outside the prefix, the delete counter, or a receipt is refused, and named. */
static void test_keys_that_patches_may_not_write(void **state) {
    (void)state;
    char outside[] = "/outside/a", sibling[] = "/inside-b", counter[] = "/inside/meta/ticdc-delete-etcd-key-count",
         receipt[] = "/etcdworker/receipts/mine";
    check_outside("/inside", outside, through_a_view);
    check_outside("/inside", outside, through_put);
    check_outside("/inside", outside, through_delete);
    check_outside("/inside", outside, through_modify);
    check_outside("/inside", sibling, through_put);
    check_outside("/inside", counter, through_put);
    check_outside("/inside", counter, through_delete);
    check_outside("", receipt, through_put);
    check_outside("", receipt, through_delete);
}

/* ---- entries ---- */

typedef struct wanted {
    const char *key;
    client_kv is;
} wanted;

static bool is_as_in_etcd(const ew_entry *e, const client_kv *kv) {
    return ew_slice_equal(e->value, ew_str(kv->value)) && e->mod_revision == kv->mod_revision &&
           e->create_revision == kv->create_revision && e->version == kv->version && e->lease == kv->lease;
}

static int look_in_a_patch(void *arg, ew_view *v) {
    worker_fixture *f = arg;
    const wanted *w = f->arg;
    ew_entry e;
    EXPECT(f, ew_view_get(v, ew_str(w->key), &e) == EW_OK && is_as_in_etcd(&e, &w->is));
    ew_view_put(v, ew_str(w->key), EW_STR("new"));
    EXPECT(f, ew_view_get(v, ew_str(w->key), &e) == EW_OK && ew_slice_equal(e.value, EW_STR("new")));
    EXPECT(f, e.mod_revision == 0 && e.create_revision == 0 && e.version == 0 && e.lease == 0);
    return EW_IGNORE;
}

static int look_everywhere(worker_fixture *f, ew_tick *t) {
    const wanted *w = f->arg;
    ew_entry e = {0}, scanned = {0};
    EXPECT(f, ew_tick_get(t, ew_str(w->key), &e) == EW_OK && is_as_in_etcd(&e, &w->is));
    EXPECT(f, ew_tick_scan(t, ew_str(w->key), &scanned) && is_as_in_etcd(&scanned, &w->is));
    ew_group_patch(ew_tick_group(t), look_in_a_patch, f, NULL);
    return EW_OK;
}

static void check_entry(worker_fixture *f, const char *key) {
    wanted w = {key, client_get(key)};
    f->arg = &w;
    worker_fixture_await_tick(f, w.is.mod_revision);
    worker_fixture_do(f, look_everywhere);
}

/* An entry has everything that etcd keeps about a key, from the snapshot and from events, in ticks and in patches. A
 * put that is not committed yet has none of it. */
static void test_entries_have_what_etcd_keeps(void **state) {
    (void)state;
    int64_t lease = client_grant(3600);
    client_put("/entries/a", "1");
    client_put("/elsewhere", "");
    client_put_slice(EW_STR("/entries/a"), EW_STR("2"), lease);
    worker_fixture f;
    worker_fixture_open(&f, "/entries");
    worker_fixture_start(&f);
    check_entry(&f, "/entries/a"); /* from the snapshot: version 2, a lease */
    client_put("/entries/a", "3");
    check_entry(&f, "/entries/a"); /* overwritten in the same memory */
    client_put_slice(EW_STR("/entries/b"), EW_STR("longer"), lease);
    check_entry(&f, "/entries/b");
    client_delete("/entries/b");
    client_put("/entries/b", "again");
    check_entry(&f, "/entries/b"); /* created again: version 1, no lease */
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_revoke(lease);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_one_revision),
        env_test(test_patches_are_committed_right_after_the_tick),
        env_test(test_slow_tick),
        env_test(test_ignore),
        env_test(test_again),
        env_test(test_error_of_a_patch),
        env_test(test_refused_and_later_groups_keep_their_order),
        env_test(test_keys_that_patches_may_not_write),
        env_test(test_entries_have_what_etcd_keeps),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
