/* The transactions that a worker sends (SEMANTICS 23, 25, 26, 28, 29). */
#include "lib/etcd_server.h"
#include "lib/fault_proxy.h"
#include "lib/scenario.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Outcomes of groups, in the order in which they were reported. */
typedef struct verdicts {
    atomic_uint calls; /* also read while nothing may have been reported */
    int status[4];
    int64_t revision[4];
} verdicts;

static void judged(void *arg, ew_status status, int64_t revision) {
    verdicts *v = arg; /* the reactor's thread writes, the test reads after a later tick has begun */
    if (v->calls < 4) {
        v->status[v->calls] = status;
        v->revision[v->calls] = revision;
    }
    v->calls++;
}

/* ---- how many keys ---- */

typedef struct load {
    unsigned keys[3]; /* of each group, ended by 0 */
    unsigned deletes, guards;
    bool callback;
    verdicts v;
} load;

static void write_keys(ew_group *g, unsigned group, const load *l) {
    for (unsigned i = 0; i < l->keys[group]; i++) {
        char key[64];
        snprintf(key, sizeof key, "/txn/%u/%03u", group, i);
        if (i < l->deletes)
            ew_group_delete(g, ew_str(key));
        else if (i < l->deletes + l->guards)
            ew_group_guard(g, ew_str(key));
        else
            ew_group_put(g, ew_str(key), EW_STR("new"));
    }
}

static int write_groups(worker_fixture *f, ew_tick *t) {
    load *l = f->arg;
    for (unsigned i = 0; i < 3 && l->keys[i] > 0; i++) {
        ew_group *g = ew_tick_group(t);
        ew_group_name(g, "the group");
        write_keys(g, i, l);
        if (l->callback)
            ew_group_on_done(g, judged, &l->v);
    }
    return EW_OK;
}

static void fill(void) {
    for (unsigned i = 0; i < 128; i++) {
        char key[64];
        snprintf(key, sizeof key, "/txn/0/%03u", i);
        client_put(key, "old");
    }
}

/* Commits the load with a separate worker fixture. Returns the number of transactions. */
static uint64_t commit(load *l, const char *option, const char *value) {
    worker_fixture f;
    worker_fixture_open(&f, "/txn");
    if (option)
        worker_fixture_set(&f, option, value);
    f.arg = l;
    worker_fixture_start(&f);
    worker_fixture_do(&f, write_groups);
    ew_worker_stats stats = worker_fixture_stats(&f);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    return stats.txns;
}

static void check_one_group(unsigned keys, unsigned deletes, unsigned guards, const char *option, const char *value,
                            int expected) {
    load l = {.keys = {keys}, .deletes = deletes, .guards = guards, .callback = true};
    client_delete_prefix("/txn/");
    fill();
    uint64_t txns = commit(&l, option, value);
    assert_int_equal(l.v.calls, 1);
    if (l.v.status[0] != expected)
        fail_msg("%u keys: %s, expected %s", keys, ew_errname(l.v.status[0]), ew_errname(expected));
    assert_int_equal(txns, expected == EW_OK ? 1 : 0);
    char last_key[64];
    snprintf(last_key, sizeof last_key, "/txn/0/%03u", keys - 1);
    client_kv last = client_get(last_key), first = client_get("/txn/0/000");
    if (expected == EW_OK) {
        assert_int_equal(last.mod_revision, deletes < keys ? l.v.revision[0] : 0);
        assert_int_equal(first.present, deletes == 0);
    } else {
        assert_string_equal(last.value, "old"); /* nothing of it was written */
        assert_string_equal(first.value, "old");
    }
}

/* SEMANTICS 26: 126 keys fit one transaction, of 128 operations with delete counter and receipt; 127 do not. */
static void test_keys_of_one_group(void **state) {
    (void)state;
    check_one_group(125, 0, 0, NULL, NULL, EW_OK);
    check_one_group(126, 0, 0, NULL, NULL, EW_OK);
    check_one_group(127, 0, 0, NULL, NULL, EW_ERR_TOO_LARGE);
    check_one_group(128, 0, 0, NULL, NULL, EW_ERR_TOO_LARGE);
}

/* The same when every transaction carries as much as possible: the counter is incremented, keys that are only compared,
 * and the session's fence condition, which takes the place of one key. */
static void test_keys_of_one_group_at_etcds_limit(void **state) {
    (void)state;
    check_one_group(126, 1, 0, NULL, NULL, EW_OK);
    check_one_group(126, 126, 0, NULL, NULL, EW_OK);
    check_one_group(127, 1, 0, NULL, NULL, EW_ERR_TOO_LARGE);
    check_one_group(126, 1, 60, NULL, NULL, EW_OK);
    check_one_group(127, 1, 60, NULL, NULL, EW_ERR_TOO_LARGE);
    check_one_group(125, 1, 0, "fence_session", "on", EW_OK);
    check_one_group(126, 1, 0, "delete_counter", "off", EW_OK);
    check_one_group(126, 1, 0, "exactly_once", "off", EW_OK);
    check_one_group(10, 0, 0, "max_txn_keys", "10", EW_OK);
    check_one_group(11, 0, 0, "max_txn_keys", "10", EW_ERR_TOO_LARGE);
}

/* ---- a server with a limit other than etcd's default ---- */

static etcd_server *server_with_ops(const char *ops) {
    const char *const flags[] = {"--max-txn-ops", ops, NULL};
    return etcd_server_start(flags);
}

/* Opens a worker of that server, with max_txn_ops = `ops`. */
static void worker_fixture_open_at(worker_fixture *f, const etcd_server *server, const char *ops) {
    worker_fixture_open(f, "/txn");
    worker_fixture_set(f, "endpoints", server->endpoint);
    worker_fixture_set(f, "max_txn_ops", ops);
}

static size_t count_of(const etcd_server *server, const char *prefix) {
    ew_client *client = etcd_server_client(server);
    ew_result *r;
    assert_int_equal(
        ew_client_get(client, ew_keys_prefix(ew_str(prefix)), &EW_GET_OPTIONS(.count_only = true), &r, NULL), EW_OK);
    size_t count = (size_t)ew_result_total(r);
    ew_result_free(r);
    ew_client_close(client);
    return count;
}

/* SEMANTICS 26: max_txn_ops must be the server's limit. */
static void test_keys_of_one_group_on_a_larger_server(void **state) {
    (void)state;
    etcd_server *server = server_with_ops("4002");
    static const struct {
        unsigned keys;
        int status;
    } cases[] = {{4000, EW_OK}, {4001, EW_ERR_TOO_LARGE}};
    for (size_t i = 0; i < 2; i++) {
        load l = {.keys = {cases[i].keys}, .callback = true};
        worker_fixture f;
        worker_fixture_open_at(&f, server, "4002");
        f.arg = &l;
        worker_fixture_start(&f);
        worker_fixture_do(&f, write_groups);
        uint64_t txns = worker_fixture_stats(&f).txns;
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
        assert_int_equal(l.v.calls, 1);
        assert_int_equal(l.v.status[0], cases[i].status);
        assert_int_equal(txns, cases[i].status == EW_OK ? 1 : 0);
        assert_int_equal(count_of(server, "/txn/0/"), 4000);
    }
    etcd_server_free(server);
}

/* The server's limit is lower than the option: groups that fit the server are committed; others get an error that names
 * the option. */
static void test_a_server_with_a_lower_limit(void **state) {
    (void)state;
    etcd_server *server = server_with_ops("32");
    load l = {.keys = {20, 20, 40}};
    worker_fixture f;
    worker_fixture_open_at(&f, server, "128");
    f.arg = &l;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, write_groups);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_TOO_LARGE);
    assert_non_null(strstr(f.err.detail, "below the options max_txn_ops = 128"));
    assert_non_null(strstr(f.err.detail, "the group"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_TOO_LARGE);
    assert_int_equal(count_of(server, "/txn/"), 40);
    load half = {.keys = {30, 30}, .callback = true};
    worker_fixture_open_at(&f, server, "32");
    f.arg = &half;
    worker_fixture_start(&f);
    worker_fixture_do(&f, write_groups);
    assert_int_equal(worker_fixture_stats(&f).txns, 2);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_int_equal(half.v.status[0], EW_OK);
    assert_int_equal(half.v.status[1], EW_OK);
    etcd_server_free(server);
}

/* SEMANTICS 26: without a callback such a group ends the run, and the error names the group and its size. */
static void test_too_many_keys_without_a_callback(void **state) {
    (void)state;
    load l = {.keys = {127}};
    worker_fixture f;
    worker_fixture_open(&f, "/txn");
    f.arg = &l;
    f.every = write_groups;
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_TOO_LARGE);
    assert_non_null(strstr(f.err.detail, "the group"));
    assert_non_null(strstr(f.err.detail, "127"));
    assert_int_equal(worker_fixture_close(&f), EW_ERR_TOO_LARGE);
}

static void check_sharing_with(unsigned guards, unsigned a, unsigned b, unsigned c, uint64_t txns) {
    load l = {.keys = {a, b, c}, .guards = guards, .callback = true};
    client_delete_prefix("/txn/");
    assert_int_equal(commit(&l, NULL, NULL), txns);
    unsigned groups = c > 0 ? 3 : 2;
    assert_int_equal(l.v.calls, groups);
    for (unsigned i = 0; i < groups; i++) {
        char key[64];
        snprintf(key, sizeof key, "/txn/%u/%03u", i, l.keys[i] - 1);
        assert_int_equal(l.v.status[i], EW_OK);
        assert_int_equal(client_get(key).mod_revision, l.v.revision[i]);
        assert_true(i == 0 || l.v.revision[i] >= l.v.revision[i - 1]);
    }
    bool shared = l.v.revision[0] == l.v.revision[groups - 1];
    assert_int_equal(shared, txns == 1);
    assert_int_equal(client_count("/txn/"), a + b + c - groups * guards); /* SEMANTICS 25: each group whole */
}

static void check_sharing(unsigned a, unsigned b, unsigned c, uint64_t txns) {
    check_sharing_with(0, a, b, c, txns);
}

/* SEMANTICS 26: groups share a transaction up to 126 keys; a group is never split. */
static void test_keys_across_groups(void **state) {
    (void)state;
    check_sharing(100, 25, 0, 1);
    check_sharing(100, 26, 0, 1);
    check_sharing(100, 27, 0, 2);
    check_sharing(100, 28, 0, 2);
    check_sharing(42, 42, 42, 1);
    check_sharing(42, 42, 43, 2);
    check_sharing(126, 126, 126, 3);
    check_sharing(1, 126, 1, 3);
    check_sharing_with(20, 100, 26, 0, 1); /* keys that are only compared count too */
    check_sharing_with(20, 100, 27, 0, 2);
}

/* SEMANTICS 26: a group over the limit does not affect the groups before and after it. */
static void test_a_group_too_large_between_others(void **state) {
    (void)state;
    load l = {.keys = {1, 127, 1}, .callback = true};
    client_delete_prefix("/txn/");
    commit(&l, NULL, NULL);
    assert_int_equal(l.v.calls, 3);
    assert_int_equal(l.v.status[0], EW_OK);
    assert_int_equal(l.v.status[1], EW_ERR_TOO_LARGE);
    assert_int_equal(l.v.status[2], EW_OK);
    assert_true(client_get("/txn/0/000").present && client_get("/txn/2/000").present);
    assert_int_equal(client_count("/txn/1/"), 0);
}

/* ---- how many bytes ---- */

typedef struct sizes {
    size_t bytes[2]; /* of the values of up to two groups */
    char *text;
    verdicts v;
} sizes;

static int write_sizes(worker_fixture *f, ew_tick *t) {
    static const char *const keys[] = {"/size/a", "/size/b"};
    sizes *z = f->arg;
    for (size_t i = 0; i < 2 && z->bytes[i] > 0; i++) {
        ew_group *g = ew_tick_group(t);
        ew_group_put(g, ew_str(keys[i]), (ew_slice){z->text, z->bytes[i]});
        ew_group_on_done(g, judged, &z->v);
    }
    return EW_OK;
}

/* The numbers of receipts and leases in a request grow as varints do, and the lease's begins with its member's id. So
 * each probe has its own worker, with an id of fixed length, and starts from the same state; and probes that are
 * compared exactly share a session. */
static ew_session *shared;

static void share_session(void) {
    assert_int_equal(ew_session_open(&shared, client_handle(), 600, NULL), EW_OK);
}

static void end_shared_session(void) {
    ew_session_close(shared, EW_SESSION_REVOKE);
    shared = NULL;
}

static bool fits_with(const char *extras, const char *max_bytes, size_t a, size_t b, uint64_t *txns) {
    sizes z = {.bytes = {a, b}, .text = malloc(a + b)};
    worker_fixture f;
    assert_non_null(z.text);
    memset(z.text, 'x', a + b);
    client_delete_prefix("/size/");
    worker_fixture_open(&f, "/size");
    worker_fixture_set(&f, "max_txn_bytes", max_bytes);
    worker_fixture_set(&f, "exactly_once", extras);
    worker_fixture_set(&f, "delete_counter", strcmp(extras, "on") == 0 ? "compat" : "off");
    f.session = shared;
    f.arg = &z;
    worker_fixture_start(&f);
    worker_fixture_do(&f, write_sizes);
    *txns = worker_fixture_stats(&f).txns;
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    free(z.text);
    assert_true(z.v.calls == (b > 0 ? 2 : 1));
    if (z.v.status[0] == EW_OK)
        assert_int_equal(client_get("/size/a").len, a);
    else
        assert_int_equal(z.v.status[0], EW_ERR_TOO_LARGE);
    return z.v.status[0] == EW_OK && (b == 0 || z.v.status[1] == EW_OK);
}

static bool fits(const char *max_bytes, size_t a, size_t b, uint64_t *txns) {
    return fits_with("on", max_bytes, a, b, txns);
}

/* Returns the largest value that fits alone, by bisection between one that fits and one that does not. */
static size_t largest_alone(const char *max_bytes, size_t yes, size_t no) {
    uint64_t txns;
    while (no - yes > 1) {
        size_t middle = yes + (no - yes) / 2;
        if (fits(max_bytes, middle, 0, &txns))
            yes = middle;
        else
            no = middle;
    }
    return yes;
}

/* SEMANTICS 26: the limit is exact, on the serialized request: one more allowed byte is one more byte of value. */
static void test_bytes_of_one_group(void **state) {
    (void)state;
    share_session();
    size_t limit = 4096, at = largest_alone("4096", 3000, 4096);
    print_message("%zu bytes of value in %zu\n", at, limit);
    assert_true(at > limit - 600); /* the rest is the key, compares, receipt and counter */
    assert_int_equal(largest_alone("4097", at - 2, at + 4), at + 1);
    assert_int_equal(largest_alone("4095", at - 4, at + 2), at - 1);
    end_shared_session();
}

/* SEMANTICS 26: if nothing is added to a group's own request, its size is known. */
static void test_bytes_of_a_bare_group(void **state) {
    (void)state;
    uint8_t request[8192];
    static char text[8192];
    uint64_t txns;
    size_t len = 4096;
    while (client_pack_put(request, sizeof request, "/size/a", (ew_slice){text, len}, 0) > 4096)
        len--;
    assert_int_equal(client_pack_put(request, sizeof request, "/size/a", (ew_slice){text, len}, 0), 4096);
    assert_true(fits_with("off", "4096", len, 0, &txns));
    assert_false(fits_with("off", "4095", len, 0, &txns));
    assert_false(fits_with("off", "4096", len + 1, 0, &txns));
}

/* SEMANTICS 26: two groups share a transaction up to the limit, and not one byte more. */
static void test_bytes_across_groups(void **state) {
    (void)state;
    uint64_t txns;
    share_session();
    size_t a = 1500, yes = 1, no = 2600;
    while (no - yes > 1) {
        size_t middle = yes + (no - yes) / 2;
        assert_true(fits("4096", a, middle, &txns));
        if (txns == 1)
            yes = middle;
        else
            no = middle;
    }
    print_message("%zu and %zu bytes of value share 4096\n", a, yes);
    assert_true(a + yes > 4096 - 700);
    assert_true(fits("4097", a, yes + 1, &txns) && txns == 1);
    assert_true(fits("4097", a, yes + 2, &txns) && txns == 2);
    end_shared_session();
}

/* ETCD P13: etcd accepts what passes the largest limit that etcd's own limit allows. With a limit above etcd's, etcd's
 * refusal is reported. */
static void test_etcds_own_limit(void **state) {
    (void)state;
    uint64_t txns;
    assert_true(fits("1310720", 1310000, 0, &txns));
    assert_false(fits("1310720", 1310720, 0, &txns));
    assert_false(fits("3000000", 1600000, 0, &txns)); /* etcd refuses it: too large, and nothing was written */
    assert_false(fits("3000000", 2500000, 0, &txns)); /* gRPC refuses it on the server's side */
    assert_false(client_get("/size/a").present);
}

/* ---- guards, isolation ---- */

static int guard_and_hold(worker_fixture *f, ew_tick *t) {
    load *l = f->arg;
    ew_group *g = ew_tick_group(t);
    ew_group_guard(g, EW_STR("/guard/compared"));
    ew_group_put(g, EW_STR("/guard/written"), EW_STR("1"));
    ew_group_on_done(g, judged, &l->v);
    worker_fixture_hold(f);
    return EW_OK;
}

static int copy_over(void *arg, ew_view *view) {
    (void)arg;
    ew_entry e;
    int status = ew_view_get(view, EW_STR("/guard/read"), &e);
    return status == EW_OK ? ew_view_put(view, EW_STR("/guard/copy"), e.value) : status;
}

static int copy_and_hold(worker_fixture *f, ew_tick *t) {
    ew_group_patch(ew_tick_group(t), copy_over, NULL, NULL);
    worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 23: a guarded key is compared, and not written. */
static void test_guard(void **state) {
    (void)state;
    load l = {.callback = true};
    worker_fixture f;
    client_put("/guard/compared", "0");
    worker_fixture_open(&f, "/guard");
    f.arg = &l;
    worker_fixture_start(&f);
    worker_fixture_begin(&f, guard_and_hold);
    worker_fixture_await_held(&f);
    int64_t revision = client_put("/guard/compared", "1");
    worker_fixture_release(&f);
    worker_fixture_await_ticks(&f, 1);
    assert_int_equal(l.v.status[0], EW_OK);
    assert_true(worker_fixture_stats(&f).groups_refused >= 1);
    assert_int_equal(client_get("/guard/compared").mod_revision, revision);
    assert_true(client_get("/guard/written").mod_revision > revision);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
}

static int claim_and_hold(worker_fixture *f, ew_tick *t) {
    load *l = f->arg;
    ew_entry e;
    EXPECT(f, ew_tick_get(t, EW_STR("/guard/job"), &e) == EW_OK);
    ew_group *g = ew_tick_group(t);
    ew_group_expect(g, EW_STR("/guard/job"));
    ew_group_put(g, EW_STR("/guard/claim"), EW_STR("mine"));
    ew_group_on_done(g, judged, &l->v);
    ew_group_put(ew_tick_group(t), EW_STR("/guard/beside"), EW_STR("1"));
    worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 36: a decision of the tick is dropped if its condition no longer holds: the job is deleted while the tick
 * runs, or deleted and created again. */
static void test_expect(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        load l = {.callback = true};
        worker_fixture f;
        client_delete_prefix("/guard/");
        client_put("/guard/job", "0");
        worker_fixture_open(&f, "/guard");
        f.arg = &l;
        worker_fixture_start(&f);
        worker_fixture_begin(&f, claim_and_hold);
        worker_fixture_await_held(&f);
        int64_t revision = round > 0 ? client_delete("/guard/job") : 0;
        if (round == 2)
            revision = client_put("/guard/job", "0");
        worker_fixture_release(&f);
        worker_fixture_await_ticks(&f, 1);
        assert_int_equal(l.v.calls, 1);
        assert_int_equal(l.v.status[0], round > 0 ? EW_ERR_STALE : EW_OK);
        assert_true(l.v.revision[0] >= revision);
        assert_int_equal(client_get("/guard/claim").present, round == 0);
        assert_true(client_get("/guard/beside").present);
        assert_int_equal(worker_fixture_stats(&f).groups_dropped, round > 0);
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    }
}

static int take_and_hold(worker_fixture *f, ew_tick *t) {
    load *l = f->arg;
    ew_entry e = {0};
    EXPECT(f, ew_tick_get(t, EW_STR("/reads/absent"), NULL) == EW_ERR_NOT_FOUND);
    while (ew_tick_scan(t, EW_STR("/reads/seat/"), &e))
        ;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, EW_STR("/reads/claim"), EW_STR("mine"));
    ew_group_expect_reads(g);
    ew_group_on_done(g, judged, &l->v);
    worker_fixture_hold(f);
    return EW_OK;
}

/* SEMANTICS 37: changes by external writers while the tick runs, and their effect on the decision. */
static void test_expect_reads(void **state) {
    (void)state;
    static const struct {
        const char *put, *deleted;
        int status;
    } cases[] = {{"/reads/beside", NULL, EW_OK},        {"/reads/seat/5", NULL, EW_ERR_STALE},
                 {"/reads/seat/1", NULL, EW_ERR_STALE}, {NULL, "/reads/seat/1", EW_ERR_STALE},
                 {"/reads/absent", NULL, EW_ERR_STALE}, {"/reads/seat0", NULL, EW_OK},
                 {"/elsewhere", "/elsewhere", EW_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        load l = {.callback = true};
        worker_fixture f;
        client_delete_prefix("/reads/");
        client_put("/reads/seat/1", "0");
        client_put("/reads/seat/9", "0");
        worker_fixture_open(&f, "/reads");
        f.track_reads = true;
        f.arg = &l;
        worker_fixture_start(&f);
        worker_fixture_begin(&f, take_and_hold);
        worker_fixture_await_held(&f);
        if (cases[i].put)
            client_put(cases[i].put, "1");
        if (cases[i].deleted)
            client_delete(cases[i].deleted);
        worker_fixture_release(&f);
        worker_fixture_await_ticks(&f, 1);
        assert_int_equal(l.v.calls, 1);
        assert_string_equal(ew_errname(l.v.status[0]), ew_errname(cases[i].status));
        assert_int_equal(client_get("/reads/claim").present, cases[i].status == EW_OK);
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    }
}

static void check_isolation(const char *isolation, const char *copied) {
    worker_fixture f;
    client_put("/guard/read", "old");
    worker_fixture_open(&f, "/guard");
    worker_fixture_set(&f, "isolation", isolation);
    worker_fixture_start(&f);
    worker_fixture_begin(&f, copy_and_hold);
    worker_fixture_await_held(&f);
    client_put("/guard/read", "new");
    worker_fixture_release(&f);
    worker_fixture_await_ticks(&f, 1);
    assert_string_equal(client_get("/guard/copy").value, copied);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete_prefix("/guard/");
}

/* `isolation = snapshot` compares the keys that were written (like TiCDC), `serializable` also those that were read. */
static void test_isolation(void **state) {
    (void)state;
    check_isolation("snapshot", "old");
    check_isolation("serializable", "new");
}

/* ---- lost answers ---- */

static int append_x(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    char text[64];
    snprintf(text, sizeof text, "%.*sx", current ? (int)current->value.len : 0,
             current ? (const char *)current->value.data : "");
    return ew_value_set(next, ew_str(text));
}

static int append_and_hold(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/lost/a"), append_x, NULL, NULL);
    ew_group_on_done(g, judged, f->arg);
    worker_fixture_hold(f);
    return EW_OK;
}

static bool is_idle(void *arg) {
    worker_fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    bool idle = !f->action;
    pthread_mutex_unlock(&f->lock);
    return idle;
}

/* Sends a transaction to a server that is paused, and then killed. */
static void lose_an_answer(worker_fixture *f, verdicts *v, const char *exactly_once) {
    worker_fixture_open(f, "/lost");
    worker_fixture_set(f, "exactly_once", exactly_once);
    f->arg = v;
    worker_fixture_start(f);
    worker_fixture_await_ready(f, true);
    worker_fixture_begin(f, append_and_hold);
    worker_fixture_await_held(f);
    env_pause_etcd();
    worker_fixture_release(f);
    assert_true(env_until(is_idle, f));
    worker_fixture_await_ready(f, false); /* the connection is closed, and with it the call */
    env_resume_etcd();
}

/* SEMANTICS 28: an outcome that was lost is resolved: the group is applied exactly once, and the run goes on. */
static void test_a_lost_outcome_is_resolved(void **state) {
    (void)state;
    verdicts v = {0};
    worker_fixture f;
    lose_an_answer(&f, &v, "on");
    worker_fixture_await_ticks(&f, 2);
    client_kv kv = client_get("/lost/a");
    assert_string_equal(kv.value, "x");
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status[0], EW_OK);
    assert_int_equal(v.revision[0], kv.mod_revision);
    assert_int_equal(worker_fixture_stats(&f).txns_resolved, 1);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/lost/a");
}

static bool is_written(void *arg) {
    return client_get(arg).present;
}

/* SEMANTICS 28: the other case: the transaction was applied, and only its answer is lost. A blind repetition would be
 * refused as a conflict, and the group evaluated once more. */
static void test_a_lost_answer_is_resolved(void **state) {
    (void)state;
    verdicts v = {0};
    worker_fixture f;
    char key[] = "/lost/a";
    fault_proxy *proxy = fault_proxy_open(env_endpoint());
    worker_fixture_open(&f, "/lost");
    worker_fixture_set(&f, "endpoints", fault_proxy_endpoint(proxy));
    worker_fixture_set(&f, "session_ttl_s", "60");
    f.arg = &v;
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    worker_fixture_begin(&f, append_and_hold);
    worker_fixture_await_held(&f);
    fault_proxy_hold(proxy, FAULT_PROXY_DOWN);
    worker_fixture_release(&f);
    assert_true(env_until(is_written, key));
    assert_int_equal(v.calls, 0);
    fault_proxy_cut(proxy);
    fault_proxy_mend(proxy);
    worker_fixture_await_ticks(&f, 2);
    client_kv kv = client_get(key);
    assert_string_equal(kv.value, "x");
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status[0], EW_OK);
    assert_int_equal(v.revision[0], kv.mod_revision);
    ew_worker_stats stats = worker_fixture_stats(&f);
    assert_int_equal(stats.txns_resolved, 1);
    assert_int_equal(stats.groups_refused, 0);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    fault_proxy_close(proxy);
    client_delete(key);
}

/* SEMANTICS 28: without receipts the outcome stays unknown, and the run ends with that error. */
static void test_a_lost_outcome_without_receipts_ends_the_run(void **state) {
    (void)state;
    verdicts v = {0};
    worker_fixture f;
    lose_an_answer(&f, &v, "off");
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(v.calls, 1);
    assert_int_equal(v.status[0], EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_UNKNOWN_OUTCOME);
}

static int append_x_to_twin(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/twin/a"), append_x, NULL, NULL);
    return ew_group_on_done(g, judged, f->arg);
}

static int append_x_to_marked(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_modify(ew_tick_group(t), EW_STR("/marked/a"), append_x, NULL, NULL);
}

/* SEMANTICS 33: of two workers with the same id, the newcomer is refused, and the running one goes on. */
static void test_two_workers_with_one_id(void **state) {
    (void)state;
    verdicts v = {0};
    worker_fixture a, b;
    worker_fixture_open(&a, "/twin");
    worker_fixture_set(&a, "worker_id", "twin");
    worker_fixture_set(&a, "session_ttl_s", "2");
    a.arg = &v;
    worker_fixture_start(&a);
    worker_fixture_do(&a, append_x_to_twin);
    worker_fixture_open(&b, "/twin");
    worker_fixture_set(&b, "worker_id", "twin");
    worker_fixture_set(&b, "start_timeout_ms", "1000"); /* shorter than the wait for the id, which does not count */
    worker_fixture_start(&b);
    assert_int_equal(worker_fixture_await_end(&b), EW_ERR_FENCED);
    print_message("%s\n", b.err.detail);
    assert_non_null(strstr(b.err.detail, "worker_id \"twin\""));
    assert_int_equal(worker_fixture_ticks(&b), 0);
    worker_fixture_close(&b);
    worker_fixture_do(&a, append_x_to_twin);
    assert_string_equal(client_get("/twin/a").value, "xx");
    assert_int_equal(v.calls, 2);
    assert_int_equal(v.status[0], EW_OK);
    assert_int_equal(v.status[1], EW_OK);
    assert_int_equal(worker_fixture_close(&a), EW_ERR_CANCELLED);
}

/* A clean stop frees the id at once. */
static void test_an_id_is_free_after_a_stop(void **state) {
    (void)state;
    worker_fixture f;
    int64_t before_ms = env_now_ms();
    for (int i = 0; i < 3; i++) {
        worker_fixture_open(&f, "/twin");
        worker_fixture_set(&f, "worker_id", "twin");
        worker_fixture_set(&f, "session_ttl_s", "60");
        worker_fixture_start(&f);
        worker_fixture_await_ready(&f, true);
        assert_true(client_get("/etcdworker/receipts/twin/owner").present);
        assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
        assert_int_equal(client_count("/etcdworker/"), 0);
    }
    assert_true(env_now_ms() - before_ms < 30000);
}

static int append_x_to_shared(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/shared/a"), append_x, NULL, NULL);
    return f->arg ? ew_group_on_done(g, judged, f->arg) : EW_OK;
}

static void open_shared(worker_fixture *f, ew_session *session, verdicts *v) {
    worker_fixture_open(f, "/shared");
    worker_fixture_set(f, "worker_id", "shared");
    worker_fixture_set(f, "session_ttl_s", "2");
    f->session = session;
    f->arg = v;
    worker_fixture_start(f);
}

/* Two workers with one id and one session: one after the other is allowed; at the same time the newcomer is refused. */
static void test_two_workers_with_one_id_and_session(void **state) {
    (void)state;
    verdicts v = {0};
    worker_fixture f, later;
    ew_session *session;
    assert_int_equal(ew_session_open(&session, client_handle(), 60, NULL), EW_OK);
    for (int run = 0; run < 3; run++) { /* one after the other */
        open_shared(&f, session, &v);
        worker_fixture_do(&f, append_x_to_shared);
        assert_int_equal(v.calls, run + 1);
        assert_int_equal(v.status[run], EW_OK);
        assert_int_equal(client_get("/shared/a").version, run + 1);
        if (run < 2)
            assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    }
    open_shared(&later, session, NULL);
    assert_int_equal(worker_fixture_await_end(&later), EW_ERR_FENCED);
    assert_non_null(strstr(later.err.detail, "worker_id \"shared\""));
    worker_fixture_close(&later);
    worker_fixture_do(&f, append_x_to_shared);
    assert_int_equal(v.calls, 4);
    assert_int_equal(v.status[3], EW_OK);
    assert_string_equal(client_get("/shared/a").value, "xxxx");
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    ew_session_close(session, EW_SESSION_REVOKE);
}

/* The same with only the session key. */
static void test_two_workers_with_one_session_key(void **state) {
    (void)state;
    worker_fixture f[2];
    for (int i = 0; i < 2; i++) {
        worker_fixture_open(&f[i], "/marked");
        worker_fixture_set(&f[i], "worker_id", "marked");
        worker_fixture_set(&f[i], "session_ttl_s", "2");
        worker_fixture_set(&f[i], "exactly_once", "off");
        worker_fixture_set(&f[i], "fence_session", "on");
        worker_fixture_start(&f[i]);
        if (i == 0)
            worker_fixture_do(&f[i], append_x_to_marked);
    }
    assert_int_equal(worker_fixture_await_end(&f[1]), EW_ERR_FENCED);
    assert_non_null(strstr(f[1].err.detail, "worker_id"));
    worker_fixture_close(&f[1]);
    worker_fixture_do(&f[0], append_x_to_marked);
    assert_string_equal(client_get("/marked/a").value, "xx");
    assert_int_equal(worker_fixture_close(&f[0]), EW_ERR_CANCELLED);
}

static int append_x_to_lost(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_modify(ew_tick_group(t), EW_STR("/lost/a"), append_x, NULL, NULL);
}

/* If no outcome is unknown, a lost receipt is put again, with its lease or with a new one. */
static void check_lost_receipt(bool first, bool with_lease) {
    static const char key[] = "/etcdworker/receipts/robbed";
    worker_fixture f;
    client_delete("/lost/a");
    worker_fixture_open(&f, "/lost");
    worker_fixture_set(&f, "worker_id", "robbed");
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    if (!first)
        worker_fixture_do(&f, append_x_to_lost);
    int64_t lease = client_get(key).lease;
    if (with_lease)
        client_revoke(lease);
    else
        client_delete(key);
    worker_fixture_do(&f, append_x_to_lost);
    assert_string_equal(client_get("/lost/a").value, first ? "x" : "xx");
    assert_true(client_get(key).present);
    assert_int_equal(client_get(key).lease == lease, !with_lease);
    worker_fixture_do(&f, append_x_to_lost);
    assert_int_equal(client_get("/lost/a").version, first ? 2 : 3);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_int_equal(client_count("/etcdworker/"), 0);
}

static void test_a_lost_receipt_is_put_again(void **state) {
    (void)state;
    check_lost_receipt(false, false);
    check_lost_receipt(true, false);
    check_lost_receipt(false, true);
    check_lost_receipt(true, true);
}

/* ---- a receipt that is lost while an outcome is unknown ---- */

/* A transaction whose answer does not come, and then no receipt. */
typedef struct ending {
    fault_proxy_direction
        lost;        /* FAULT_PROXY_DOWN: the answer, so it was applied; FAULT_PROXY_UP: the transaction itself */
    bool first;      /* no transaction was decided before */
    const char *key; /* of the receipt */
    worker_fixture fixture;
    fault_proxy *proxy;
    verdicts v;
    uint64_t swallowed;
} ending;

static bool is_on_its_way(void *arg) {
    ending *e = arg;
    return is_idle(&e->fixture) && fault_proxy_count(e->proxy).swallowed[0] > e->swallowed + 150; /* more than pings */
}

/* The transaction is applied, and the connection has lost bytes of etcd's since: the answer cannot come any more. Other
 * clients can see a write before etcd has answered its writer. */
static bool is_applied_and_lost(void *arg) {
    ending *e = arg;
    return fault_proxy_count(e->proxy).swallowed[1] > e->swallowed &&
           client_get("/ending/a").version == (e->first ? 1 : 2);
}

static int append_x_to_ending(worker_fixture *f, ew_tick *t) {
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/ending/a"), append_x, NULL, NULL);
    return ew_group_on_done(g, judged, f->arg);
}

static void open_ending(ending *e) {
    client_delete("/ending/a");
    e->key = "/etcdworker/receipts/ending";
    e->proxy = fault_proxy_open(env_endpoint());
    worker_fixture_open(&e->fixture, "/ending");
    worker_fixture_set(&e->fixture, "endpoints", fault_proxy_endpoint(e->proxy));
    worker_fixture_set(&e->fixture, "worker_id", "ending");
    worker_fixture_set(&e->fixture, "stop_timeout_ms", "60000"); /* the end waits for the answer */
    e->fixture.arg = &e->v;
    worker_fixture_start(&e->fixture);
    worker_fixture_await_ready(&e->fixture, true);
    if (!e->first)
        worker_fixture_do(&e->fixture, append_x_to_ending);
}

static void lose_answer_and_receipt(ending *e) {
    e->swallowed = fault_proxy_count(e->proxy).swallowed[e->lost == FAULT_PROXY_DOWN];
    fault_proxy_swallow(e->proxy, e->lost);
    worker_fixture_begin(&e->fixture, append_x_to_ending);
    assert_true(env_until(e->lost == FAULT_PROXY_DOWN ? is_applied_and_lost : is_on_its_way, e));
    client_revoke(client_get(e->key).lease);
    assert_false(client_get(e->key).present);
    assert_int_equal(e->v.calls, e->first ? 0 : 1);
    fault_proxy_mend(e->proxy);
}

/* SEMANTICS 28: the outcome is lost with the receipt, and reported as unknown to the group. It is not written again. */
static void check_unknown(ending *e) {
    open_ending(e);
    lose_answer_and_receipt(e);
    int status = worker_fixture_await_end(&e->fixture);
    print_message("%s: %s\n", ew_errname(status), e->fixture.err.detail);
    assert_int_equal(status, EW_ERR_UNKNOWN_OUTCOME);
    assert_non_null(strstr(e->fixture.err.detail, "the receipt /etcdworker/receipts/ending was lost"));
    unsigned earlier = e->first ? 0 : 1;
    assert_int_equal(e->v.calls, earlier + 1);
    assert_int_equal(e->v.status[earlier], EW_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(worker_fixture_close(&e->fixture), EW_ERR_UNKNOWN_OUTCOME);
    fault_proxy_close(e->proxy);
    assert_int_equal(client_get("/ending/a").version, earlier + (e->lost == FAULT_PROXY_DOWN));
}

static void test_a_receipt_lost_with_an_applied_transaction(void **state) {
    (void)state;
    check_unknown(&(ending){.lost = FAULT_PROXY_DOWN});
}

static void test_a_receipt_lost_in_the_first_transaction(void **state) {
    (void)state;
    check_unknown(&(ending){.lost = FAULT_PROXY_DOWN, .first = true});
    check_unknown(
        &(ending){.lost = FAULT_PROXY_UP, .first = true}); /* the key was absent and still is, which proves nothing */
}

/* The key is as before the transaction, so the transaction was not applied: it is written now, once. */
static void test_a_receipt_lost_before_a_lost_transaction(void **state) {
    (void)state;
    ending e = {.lost = FAULT_PROXY_UP};
    open_ending(&e);
    lose_answer_and_receipt(&e);
    worker_fixture_await_ticks(&e.fixture, 3);
    assert_int_equal(e.v.calls, 2);
    assert_int_equal(e.v.status[1], EW_OK);
    assert_string_equal(client_get("/ending/a").value, "xx");
    assert_int_equal(client_get("/ending/a").version, 2);
    assert_int_equal(worker_fixture_close(&e.fixture), EW_ERR_CANCELLED);
    fault_proxy_close(e.proxy);
}

/* ---- leases ---- */

static int put_with_leases(worker_fixture *f, ew_tick *t) {
    (void)f;
    ew_group *g = ew_tick_group(t);
    ew_group_put_lease(g, EW_STR("/lease/kept"), EW_STR("new"), EW_LEASE_KEEP);
    ew_group_put_lease(g, EW_STR("/lease/detached"), EW_STR("new"), EW_LEASE_NONE);
    ew_group_put_lease(g, EW_STR("/lease/absent"), EW_STR("new"), EW_LEASE_KEEP);
    ew_group_put_lease(g, EW_STR("/lease/session"), EW_STR("new"), EW_LEASE_SESSION);
    return EW_OK;
}

/* SEMANTICS 29: a put keeps the key's lease, removes it, or sets the worker's. */
static void test_leases_of_puts(void **state) {
    (void)state;
    worker_fixture f;
    int64_t lease = client_grant(600);
    client_put_slice(EW_STR("/lease/kept"), EW_STR("old"), lease);
    client_put_slice(EW_STR("/lease/detached"), EW_STR("old"), lease);
    worker_fixture_open(&f, "/lease");
    worker_fixture_start(&f);
    worker_fixture_do(&f, put_with_leases);
    client_kv kept = client_get("/lease/kept"), detached = client_get("/lease/detached"),
              absent = client_get("/lease/absent"), session = client_get("/lease/session");
    assert_string_equal(kept.value, "new");
    assert_int_equal(kept.lease, lease);
    assert_int_equal(detached.lease, 0);
    assert_true(absent.present && absent.lease == 0);
    assert_true(session.lease != 0 && session.lease != lease);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    assert_false(client_get("/lease/session").present);
    client_revoke(lease);
    assert_false(client_get("/lease/kept").present);
    assert_true(client_get("/lease/detached").present);
}

/* SEMANTICS 29: a worker without a session cannot bind a key to its lease. */
static void test_session_lease_without_a_session(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/lease");
    worker_fixture_set(&f, "exactly_once", "off");
    f.every = put_with_leases;
    worker_fixture_start(&f);
    assert_int_equal(worker_fixture_await_end(&f), EW_ERR_STATE);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_STATE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_keys_of_one_group),
        env_test(test_keys_of_one_group_at_etcds_limit),
        env_test(test_keys_of_one_group_on_a_larger_server),
        env_test(test_a_server_with_a_lower_limit),
        env_test(test_too_many_keys_without_a_callback),
        env_test(test_keys_across_groups),
        env_test(test_a_group_too_large_between_others),
        env_test(test_bytes_of_one_group),
        env_test(test_bytes_of_a_bare_group),
        env_test(test_bytes_across_groups),
        env_test(test_etcds_own_limit),
        env_test(test_guard),
        env_test(test_expect),
        env_test(test_expect_reads),
        env_test(test_isolation),
        env_test(test_a_lost_outcome_is_resolved),
        env_test(test_a_lost_answer_is_resolved),
        env_test(test_a_lost_outcome_without_receipts_ends_the_run),
        env_test(test_two_workers_with_one_id),
        env_test(test_an_id_is_free_after_a_stop),
        env_test(test_two_workers_with_one_id_and_session),
        env_test(test_two_workers_with_one_session_key),
        env_test(test_a_lost_receipt_is_put_again),
        env_test(test_a_receipt_lost_with_an_applied_transaction),
        env_test(test_a_receipt_lost_in_the_first_transaction),
        env_test(test_a_receipt_lost_before_a_lost_transaction),
        env_test(test_leases_of_puts),
        env_test(test_session_lease_without_a_session),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
