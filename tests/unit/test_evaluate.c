/* What patches do, and which atomic units result: SEMANTICS 19, 20, 22, 23, 25, 26, 27. */
#include "unit/ticking_fixture.h"

static life *l;

static int setup(void **state) {
    (void)state;
    l = life_new(&plain_config);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    life_free(l);
    return 0;
}

static void use(const ticking_config *config) {
    life_free(l);
    l = life_new(config);
}

static ew_slice s(const char *text) {
    return ew_str(text);
}

/* Runs a tick on the state of most tests: x = "1" at revision 5, empty = "" at 6. */
static void run(int (*on_tick)(life *, ew_tick *)) {
    load(l, 9, {"/a/empty", 6, ""}, {"/a/x", 5, "1"});
    l->on_tick = on_tick;
    settle(l);
    l->on_tick = NULL;
}

static void again(int (*on_tick)(life *, ew_tick *)) {
    const ticking_config same = l->config;
    use(&same);
    run(on_tick);
}

static void assert_units(size_t n) {
    assert_int_equal(l->commits, 1);
    assert_int_equal(l->patches->n_units, n);
}

/* ---- the ready-made patches ---- */

static int ready_made(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, s("/a/x"), s("2"));
    ew_group_put(g, s("/a/new"), s(""));
    ew_group_delete(g, s("/a/empty"));
    return EW_OK;
}

/* SEMANTICS 23: the transaction compares the mod_revision of the cache, 0 if the key is absent; then it puts or
 * deletes. */
static void test_ready_made(void **state) {
    (void)state;
    run(ready_made);
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/new?0 /a/empty?6 /a/x=2 /a/new= -/a/empty ");
    assert_int_equal(l->patches->base_revision, 9);
    assert_int_equal(l->patches->batch, 1);
    assert_int_equal(l->patches->units[0]->groups, 1);
}

static int final_values(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, s("/a/x"), s("2"));
    ew_group_put(g, s("/a/x"), s("3"));
    ew_group_put(g, s("/a/gone"), s("1"));
    ew_group_delete(g, s("/a/gone"));
    ew_group_delete(g, s("/a/empty"));
    ew_group_put(g, s("/a/empty"), s("back"));
    return EW_OK;
}

/* SEMANTICS 19: the final value of each changed key is committed; a put and then a delete of a key that never existed
 * is a delete. */
static void test_final_values(void **state) {
    (void)state;
    run(final_values);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/gone?0 /a/empty?6 /a/x=3 -/a/gone /a/empty=back ");
}

/* ---- modify ---- */

static char seen[256];

static int look_at(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    if (!current)
        append(seen, sizeof seen, "absent ");
    else
        append(seen, sizeof seen, "[%.*s]@%" PRId64 " ", (int)current->value.len, (const char *)current->value.data,
               current->mod_revision);
    return ew_value_set_int(next, -7);
}

static int answer_status(void *arg, const ew_entry *current, ew_value *next) {
    (void)current;
    ew_value_set(next, EW_STR("unused"));
    return *(int *)arg;
}

static int modifies(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, s("/a/x"), look_at, NULL, NULL);
    ew_group_modify(g, s("/a/empty"), look_at, NULL, NULL);
    ew_group_modify(g, s("/a/none"), look_at, NULL, NULL);
    ew_group_modify(g, s("/a/x"), look_at, NULL, NULL); /* sees the change of the first one */
    ew_group_delete(g, s("/a/x"));
    ew_group_modify(g, s("/a/x"), look_at, NULL, NULL);
    return EW_OK;
}

/* SEMANTICS 19: absent, empty and present are different. */
static void test_modify(void **state) {
    (void)state;
    seen[0] = '\0';
    run(modifies);
    assert_string_equal(seen, "[1]@5 []@6 absent [-7]@0 absent ");
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/empty?6 /a/none?0 /a/x=-7 /a/empty=-7 /a/none=-7 ");
}

static int modify_status;

static int modify_with_status(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, s("/a/other"), s("1"));
    ew_group_modify(g, s("/a/x"), answer_status, &modify_status, NULL);
    return EW_OK;
}

static int put_nothing(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    (void)current;
    (void)next;
    return EW_OK;
}

static int modify_to_nothing(life *self, ew_tick *t) {
    (void)self;
    return ew_group_modify(ew_tick_group(t), s("/a/x"), put_nothing, NULL, NULL);
}

static int same_value(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    return ew_value_set(next, current->value);
}

static int modify_to_the_same(life *self, ew_tick *t) {
    (void)self;
    return ew_group_modify(ew_tick_group(t), s("/a/x"), same_value, NULL, NULL);
}

static void test_modify_answers(void **state) {
    (void)state;
    modify_status = EW_UNCHANGED;
    run(modify_with_status);
    assert_string_equal(unit_text(l, 0), "/a/other?0 /a/other=1 ");
    modify_status = EW_REMOVE;
    again(modify_with_status);
    assert_string_equal(unit_text(l, 0), "/a/other?0 /a/x?5 /a/other=1 -/a/x ");
    modify_status = EW_IGNORE;
    again(modify_with_status);
    assert_string_equal(unit_text(l, 0), "/a/other?0 /a/other=1 ");
    again(modify_to_nothing);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/x= ");
    again(modify_to_the_same); /* SEMANTICS 19: an equal value is written */
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/x=1 ");
    modify_status = EW_ERR_REACTOR;
    again(modify_with_status);
    assert_ended(l, EW_ERR_REACTOR, "group 1, patch 2 (/a/x): the reactor failed");
    assert_int_equal(l->commits, 0);
    modify_status = 99;
    again(modify_with_status);
    assert_ended(l, EW_ERR_INVALID, "group 1, patch 2 (/a/x) returned EW_ERR_? (99)");
}

/* ---- patches over a view ---- */

static int patch_all(void *arg, ew_view *v) {
    (void)arg;
    ew_entry e;
    assert_int_equal(ew_view_get(v, s("/a/x"), &e), EW_OK);
    assert_int_equal(e.mod_revision, 5);
    assert_int_equal(ew_view_get(v, s("/a/none"), &e), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_view_get(v, s("/b"), &e), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_view_get(v, s(COUNTER), &e), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_view_put(v, s("/a/x"), s("2")), EW_OK);
    assert_int_equal(ew_view_get(v, s("/a/x"), &e), EW_OK);
    assert_int_equal(e.mod_revision, 0);
    assert_true(ew_slice_equal(e.value, s("2")));
    assert_int_equal(ew_view_delete(v, s("/a/x")), EW_OK);
    assert_int_equal(ew_view_get(v, s("/a/x"), &e), EW_ERR_NOT_FOUND);
    assert_int_equal(ew_view_put(v, s("/a/new"), s("")), EW_OK);
    return EW_OK;
}

static int patches(life *self, ew_tick *t) {
    (void)self;
    return ew_group_patch(ew_tick_group(t), patch_all, NULL, NULL);
}

static void test_patch(void **state) {
    (void)state;
    run(patches);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/new?0 -/a/x /a/new= ");
}

static int change_then(void *arg, ew_view *v) {
    ew_view_put(v, s("/a/x"), s("ignored"));
    ew_view_delete(v, s("/a/empty"));
    ew_view_put(v, s("/a/w"), s("ignored"));
    return *(int *)arg;
}

static int patch_status;

static int ignored_patch(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, s("/a/w"), s("kept"));
    ew_group_patch(g, change_then, &patch_status, NULL);
    ew_group_modify(g, s("/a/x"), look_at, NULL, NULL);
    return EW_OK;
}

/* SEMANTICS 20: EW_IGNORE leaves one patch out and undoes its changes. */
static void test_ignore_undoes(void **state) {
    (void)state;
    seen[0] = '\0';
    patch_status = EW_IGNORE;
    run(ignored_patch);
    assert_string_equal(seen, "[1]@5 ");
    assert_string_equal(unit_text(l, 0), "/a/w?0 /a/x?5 /a/w=kept /a/x=-7 ");
    /* A code that only a modify function may return. */
    patch_status = EW_REMOVE;
    again(ignored_patch);
    assert_ended(l, EW_ERR_INVALID, "patch 2 (any key) returned EW_REMOVE (2)");
    /* Codes that no patch may return. */
    patch_status = EW_FINISHED;
    again(ignored_patch);
    assert_ended(l, EW_ERR_INVALID, "patch 2 (any key) returned EW_FINISHED (6)");
    patch_status = 99;
    again(ignored_patch);
    assert_ended(l, EW_ERR_INVALID, "patch 2 (any key) returned EW_ERR_? (99)");
}

static done_note dropped_note;

static int dropped_group(life *self, ew_tick *t) {
    (void)self;
    memset(&dropped_note, 0, sizeof dropped_note);
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, s("/a/w"), s("1"));
    ew_group_patch(g, change_then, &patch_status, NULL);
    ew_group_on_done(g, note_done, &dropped_note);
    ew_group_modify(ew_tick_group(t), s("/a/x"), look_at, NULL, NULL);
    return EW_OK;
}

static int modify_drops(life *self, ew_tick *t) {
    (void)self;
    memset(&dropped_note, 0, sizeof dropped_note);
    modify_status = EW_DROP;
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, s("/a/x"), answer_status, &modify_status, NULL);
    ew_group_on_done(g, note_done, &dropped_note);
    return EW_FINISHED;
}

/* SEMANTICS 20: EW_DROP drops the whole group for good; the other groups go on. */
static void test_drop(void **state) {
    (void)state;
    seen[0] = '\0';
    patch_status = EW_DROP;
    run(dropped_group);
    assert_done(&dropped_note, EW_ERR_REFUSED, 9);
    assert_string_equal(seen, "[1]@5 ");
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/x=-7 ");
    committed(l, 10);
    look(l);
    events(l, {"/a/x", 10, "-7"});
    settle(l);
    assert_int_equal(l->ticks, 1); /* because of the event only: a group that drops itself makes no tick */
    again(modify_drops);
    assert_done(&dropped_note, EW_ERR_REFUSED, 9);
    assert_ended(l, EW_OK, "");
}

/* ---- expectations ---- */

static int expects(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_put(g, s("/a/w"), s("1"));
    ew_group_expect(g, s("/a/x"));
    ew_group_expect(g, s("/a/none"));
    ew_group_expect(g, s("/a/w")); /* also a key that the group writes */
    return EW_OK;
}

/* SEMANTICS 36: each expected key is compared; only keys that are put are written. */
static void test_expectations(void **state) {
    (void)state;
    run(expects);
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/w?0 /a/none?0 /a/x?5 /a/w=1 ");
}

static int expects_only(life *self, ew_tick *t) {
    (void)self;
    memset(&dropped_note, 0, sizeof dropped_note);
    ew_group *g = ew_tick_group(t);
    ew_group_expect(g, s("/a/x"));
    ew_group_on_done(g, note_done, &dropped_note);
    return EW_OK;
}

/* SEMANTICS 27: a group of only expectations sends nothing. */
static void test_only_expectations(void **state) {
    (void)state;
    run(expects_only);
    assert_int_equal(l->commits, 0);
    assert_done(&dropped_note, EW_OK, 9);
}

static int expects_many(life *self, ew_tick *t) {
    (void)self;
    memset(&dropped_note, 0, sizeof dropped_note);
    ew_group *g = ew_tick_group(t);
    char key[32];
    for (int i = 0; i < 126; i++) {
        snprintf(key, sizeof key, "/a/%d", i);
        ew_group_expect(g, s(key));
    }
    ew_group_put(g, s("/a/w"), s("1"));
    ew_group_on_done(g, note_done, &dropped_note);
    return EW_OK;
}

/* SEMANTICS 26: expected keys count against the limit of keys. */
static void test_too_many_expectations(void **state) {
    (void)state;
    run(expects_many);
    assert_int_equal(l->commits, 0);
    assert_done(&dropped_note, EW_ERR_TOO_LARGE, 0);
}

/* SEMANTICS 20: EW_AGAIN gives up the group for now. It and the groups after it are evaluated again after a change, or
 * after a wait. */
static int tries, until;

static int not_yet(void *arg, ew_view *v) {
    (void)arg;
    ew_view_put(v, s("/a/w"), s("1"));
    return ++tries < until ? EW_AGAIN : EW_OK;
}

static int two_then_again(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), s("/a/x"), s("2"));
    ew_group_patch(ew_tick_group(t), not_yet, NULL, NULL);
    ew_group_put(ew_tick_group(t), s("/a/y"), s("2"));
    return EW_OK;
}

static void test_again(void **state) {
    (void)state;
    tries = 0;
    until = 4;
    run(two_then_again);
    assert_units(1); /* the group before it is committed */
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/x=2 ");
    look(l);
    events(l, {"/a/x", 10, "2"});
    committed(l, 10);
    settle(l);
    assert_int_equal(tries, 2);
    assert_int_equal(l->commits, 0);
    assert_int_equal(ticking_get_state(l->t), TICKING_AWAITING);
    assert_in_range(ticking_deadline_ms(l->t) - l->now, 1, 4);
    events(l, {"/b", 11, "elsewhere"}); /* a change */
    assert_true(ticking_deadline_ms(l->t) <= l->now);
    settle(l);
    assert_int_equal(tries, 3);
    wait_timer(l); /* no change: after a wait */
    assert_int_equal(tries, 4);
    assert_units(2);
    assert_string_equal(unit_text(l, 1), "/a/y?0 /a/y=2 ");
    assert_int_equal(l->ticks, 0);
}

static int only_again(life *self, ew_tick *t) {
    (void)self;
    return ew_group_patch(ew_tick_group(t), not_yet, NULL, NULL);
}

/* The waits grow, and are at least 1 ms. */
static void test_again_backs_off(void **state) {
    (void)state;
    tries = 0;
    until = 1000;
    ticking_config config = plain_config;
    config.conflict_backoff_min_ms = 0;
    use(&config);
    run(only_again);
    assert_int_equal(ticking_deadline_ms(l->t), l->now + 1);
    again(only_again);
    use(&plain_config);
    run(only_again);
    for (int i = 0; i < 8; i++)
        wait_timer(l);
    assert_in_range(ticking_deadline_ms(l->t) - l->now, 32, 64);
    stop_ticking(l, EW_ERR_CANCELLED);
    assert_ended(l, EW_ERR_CANCELLED, "");
}

/* SEMANTICS 22: a key outside the prefix, or a reserved one, is an error that names the key. */
static const char *bad_key;

static int view_outside(void *arg, ew_view *v) {
    int status = *(int *)arg ? ew_view_delete(v, s(bad_key)) : ew_view_put(v, s(bad_key), s("1"));
    assert_int_equal(status, EW_ERR_OUTSIDE_PREFIX);
    assert_int_equal(ew_view_put(v, s("/c"), s("1")), EW_ERR_OUTSIDE_PREFIX); /* the error names the first key */
    return EW_IGNORE; /* the error stays: a patch must not try */
}

static int delete_outside;

static int patch_outside(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_name(g, "mine");
    return ew_group_patch(g, view_outside, &delete_outside, NULL);
}

static void test_outside_in_a_patch(void **state) {
    (void)state;
    static const char *const keys[] = {"/b", "/ab", COUNTER, "/a/receipts", "/a/receipts/w"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bad_key = keys[i];
        delete_outside = i % 2;
        again(patch_outside);
        assert_ended(l, EW_ERR_OUTSIDE_PREFIX, keys[i]);
        assert_non_null(strstr(l->end_detail, "group 1 (mine), patch 1"));
    }
}

/* ---- leases ---- */

static int leases(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_put_lease(g, s("/a/x"), s("1"), EW_LEASE_KEEP);
    ew_group_put_lease(g, s("/a/new"), s("1"), EW_LEASE_KEEP); /* absent, so without `keep`, which etcd would refuse */
    ew_group_put_lease(g, s("/a/mine"), s("1"), EW_LEASE_SESSION);
    ew_group_put_lease(g, s("/a/mine"), s("2"), EW_LEASE_KEEP); /* keeps the lease that the put before it chose */
    ew_group_delete(g, s("/a/empty"));
    ew_group_put_lease(g, s("/a/empty"), s("1"), EW_LEASE_KEEP); /* absent after the delete */
    ew_group_put_lease(g, s("/a/none"), s("1"), EW_LEASE_NONE);
    return EW_OK;
}

/* SEMANTICS 29: a put can keep the key's lease, or get the session's. */
static void test_leases(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.session_lease = 77;
    use(&config);
    run(leases);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/new?0 /a/mine?0 /a/empty?6 /a/none?0 /a/x=1!keep /a/new=1 "
                                         "/a/mine=2!lease /a/empty=1 /a/none=1 ");
}

/* ---- guards ---- */

static int guarded(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_guard(g, s("/a/x"));
    ew_group_guard(g, s("/a/none"));
    ew_group_put(g, s("/a/y"), s("1"));
    ew_group_guard(g, s("/a/y")); /* compared only once */
    return EW_OK;
}

static int only_guards(life *self, ew_tick *t) {
    (void)self;
    return ew_group_guard(ew_tick_group(t), s("/a/x"));
}

static void test_guards(void **state) {
    (void)state;
    run(guarded);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/none?0 /a/y?0 /a/y=1 ");
    assert_int_equal(l->patches->units[0]->compares, 3);
    assert_int_equal(l->patches->units[0]->ops, 1);
    again(only_guards); /* SEMANTICS 27: nothing to write, nothing is sent */
    assert_int_equal(l->commits, 0);
    assert_int_equal(ticking_get_state(l->t), TICKING_READY);
}

/* ---- isolation ---- */

static int read_two(void *arg, ew_view *v) {
    (void)arg;
    ew_entry e;
    ew_view_get(v, s("/a/x"), &e);
    ew_view_get(v, s("/a/none"), &e);
    return ew_view_put(v, s("/a/y"), s("1"));
}

static int unchanged(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    (void)current;
    (void)next;
    return EW_UNCHANGED;
}

static int reads(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_patch(g, read_two, NULL, NULL);
    ew_group_modify(g, s("/a/empty"), unchanged, NULL, NULL);
    return EW_OK;
}

static int ignore_what_was_read(void *arg, ew_view *v) {
    (void)arg;
    ew_entry e;
    ew_view_get(v, s("/a/x"), &e);
    return EW_IGNORE;
}

static int ignored_read(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_patch(g, ignore_what_was_read, NULL, NULL);
    ew_group_put(g, s("/a/y"), s("1"));
    return EW_OK;
}

/* isolation = serializable also compares the keys that were read: absent keys too, and keys that a patch read before it
 * returned EW_IGNORE. */
static void test_serializable(void **state) {
    (void)state;
    run(reads);
    assert_string_equal(unit_text(l, 0), "/a/y?0 /a/y=1 ");
    ticking_config config = plain_config;
    config.serializable = true;
    use(&config);
    run(reads);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/none?0 /a/y?0 /a/empty?6 /a/y=1 ");
    again(ignored_read);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/y?0 /a/y=1 ");
}

/* ---- atomic units ---- */

static int three_groups(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), s("/a/1"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/2"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/3"), s("v"));
    return EW_OK;
}

/* SEMANTICS 25: groups with different keys are separate atomic units. */
static void test_units_are_separate(void **state) {
    (void)state;
    run(three_groups);
    assert_units(3);
    assert_string_equal(unit_text(l, 2), "/a/3?0 /a/3=v ");
}

static int glued(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), s("/a/0"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/1"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/2"), s("v"));
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, s("/a/1"), look_at, NULL, NULL);
    ew_group_put(g, s("/a/3"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/4"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/3"), s("w"));
    return EW_OK;
}

/* A group that writes a key of an earlier group is merged with it and all groups between them. Each key is written
 * once. */
static void test_merge(void **state) {
    (void)state;
    seen[0] = '\0';
    run(glued);
    assert_string_equal(seen, "[v]@0 ");
    assert_units(2);
    assert_int_equal(l->patches->units[0]->groups, 1);
    assert_int_equal(l->patches->units[1]->groups, 5);
    assert_string_equal(unit_text(l, 1), "/a/1?0 /a/2?0 /a/3?0 /a/4?0 /a/1=-7 /a/2=v /a/3=w /a/4=v ");
}

static int guard_of_written(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), s("/a/1"), s("v"));
    ew_group *g = ew_tick_group(t);
    ew_group_guard(g, s("/a/1"));
    ew_group_put(g, s("/a/2"), s("v"));
    return EW_OK;
}

static int guard_before_write(life *self, ew_tick *t) {
    (void)self;
    ew_group *g = ew_tick_group(t);
    ew_group_guard(g, s("/a/1"));
    ew_group_put(g, s("/a/2"), s("v"));
    ew_group_put(ew_tick_group(t), s("/a/1"), s("v"));
    return EW_OK;
}

/* A group that guards a key which an earlier group writes is merged with it, since its compare would not hold
 * afterwards. A guard before the write needs no merge. */
static void test_guard_merges(void **state) {
    (void)state;
    run(guard_of_written);
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/1?0 /a/2?0 /a/1=v /a/2=v ");
    again(guard_before_write);
    assert_units(2);
    assert_string_equal(unit_text(l, 0), "/a/1?0 /a/2?0 /a/2=v ");
}

static int read_of_written(life *self, ew_tick *t) {
    (void)self;
    ew_group_put(ew_tick_group(t), s("/a/x"), s("v"));
    ew_group_patch(ew_tick_group(t), read_two, NULL, NULL);
    return EW_OK;
}

static void test_read_merges_if_serializable(void **state) {
    (void)state;
    run(read_of_written);
    assert_units(2);
    ticking_config config = plain_config;
    config.serializable = true;
    use(&config);
    run(read_of_written);
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/x?5 /a/none?0 /a/y?0 /a/x=v /a/y=1 ");
}

/* ---- groups that change nothing ---- */

static done_note notes[8];

static int with_unchanged(life *self, ew_tick *t) {
    (void)self;
    memset(notes, 0, sizeof notes);
    done_count = 0;
    ew_group *empty = ew_tick_group(t);
    ew_group_on_done(empty, note_done, &notes[0]);
    ew_group *g = ew_tick_group(t);
    ew_group_modify(g, s("/a/x"), unchanged, NULL, NULL);
    ew_group_on_done(g, note_done, &notes[1]);
    if (self->arg) {
        g = ew_tick_group(t);
        ew_group_put(g, s("/a/y"), s("1"));
        ew_group_on_done(g, note_done, &notes[2]);
        g = ew_tick_group(t); /* evaluated on the group before it, so decided with it */
        ew_group_modify(g, s("/a/y"), unchanged, NULL, NULL);
        ew_group_on_done(g, note_done, &notes[3]);
    }
    assert_int_equal(done_count, 0); /* not during the tick */
    return EW_OK;
}

/* SEMANTICS 27: a group that changes nothing sends nothing and sets no barrier; its callback gets EW_OK. */
static void test_unchanged(void **state) {
    (void)state;
    run(with_unchanged);
    assert_int_equal(l->commits, 0);
    assert_done(&notes[0], EW_OK, 9);
    assert_done(&notes[1], EW_OK, 9);
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.barrier_revision, -1);
    assert_int_equal(ticking_get_state(l->t), TICKING_READY);

    use(&plain_config);
    l->arg = l;
    run(with_unchanged);
    assert_int_equal(done_count, 2);
    assert_units(1);
    assert_int_equal(l->patches->units[0]->groups, 2);
    committed(l, 10);
    assert_done(&notes[2], EW_OK, 10);
    assert_done(&notes[3], EW_OK, 10);
    assert_int_equal(notes[3].order, 4);
}

/* ---- limits ---- */

static int keys_wanted;
static bool with_done;

static int many_keys(life *self, ew_tick *t) {
    (void)self;
    memset(notes, 0, sizeof notes);
    ew_group *g = ew_tick_group(t);
    ew_group_name(g, "big");
    for (int i = 0; i < keys_wanted; i++) {
        char key[32];
        snprintf(key, sizeof key, "/a/%d", i);
        ew_group_put(g, s(key), s("v"));
    }
    if (with_done)
        ew_group_on_done(g, note_done, &notes[0]);
    ew_group_put(ew_tick_group(t), s("/a/next"), s("v"));
    return EW_OK;
}

/* SEMANTICS 26: 126 keys fit, 127 do not. The callback gets the error and the run goes on; without a callback the run
 * ends with an error that names the number of keys. */
static void test_too_many_keys(void **state) {
    (void)state;
    keys_wanted = 126;
    with_done = false;
    run(many_keys);
    assert_units(2);
    keys_wanted = 127;
    again(many_keys);
    assert_ended(l, EW_ERR_TOO_LARGE, "group 1 (big): 127 keys");
    with_done = true;
    again(many_keys);
    assert_done(&notes[0], EW_ERR_TOO_LARGE, 0);
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/next?0 /a/next=v ");
}

static size_t value_len;

static int one_value(life *self, ew_tick *t) {
    (void)self;
    static char value[4096];
    memset(value, 'v', sizeof value);
    return ew_group_put(ew_tick_group(t), s("/a/x"), (ew_slice){value, value_len});
}

/* SEMANTICS 26: the limit of bytes is exact, and includes the bytes that the committer adds. */
static void test_too_many_bytes(void **state) {
    (void)state;
    value_len = 1000;
    run(one_value);
    const int64_t alone = (int64_t)l->patches->units[0]->txn.len;
    ticking_config config = plain_config;
    config.max_txn_bytes = alone + config.txn_overhead_bytes;
    use(&config);
    run(one_value);
    assert_units(1);
    value_len = 1001;
    again(one_value);
    char size[32];
    snprintf(size, sizeof size, "%" PRId64 " bytes", alone + 1 + config.txn_overhead_bytes);
    assert_ended(l, EW_ERR_TOO_LARGE, size);
}

static int behind_a_good_one(life *self, ew_tick *t) {
    memset(notes, 0, sizeof notes);
    ew_group_put(ew_tick_group(t), s("/a/first"), s("v"));
    many_keys(self, t);
    return EW_OK;
}

/* An error is final only if no group before it can still be refused: the groups before it are committed first. */
static void test_failure_after_a_good_group(void **state) {
    (void)state;
    keys_wanted = 127;
    with_done = false;
    run(behind_a_good_one);
    assert_false(l->ended);
    assert_units(1);
    assert_string_equal(unit_text(l, 0), "/a/first?0 /a/first=v ");
    committed(l, 10);
    events(l, {"/a/first", 10, "v"});
    settle(l);
    assert_ended(l, EW_ERR_TOO_LARGE, "big");
}

static int merge_over_the_limit(life *self, ew_tick *t) {
    (void)self;
    for (int round = 0; round < 2; round++) {
        ew_group *g = ew_tick_group(t);
        for (int i = 0; i < 100; i++) {
            char key[32];
            snprintf(key, sizeof key, "/a/%d/%d", i == 0 ? 0 : round, i);
            ew_group_put(g, s(key), s("v"));
        }
    }
    return EW_OK;
}

/* If a merge would exceed a limit, the batch ends, and the group is evaluated again after it. */
static void test_merge_over_the_limit(void **state) {
    (void)state;
    run(merge_over_the_limit);
    assert_units(1);
    assert_int_equal(l->patches->units[0]->compares, 100);
    committed(l, 10);
    events(l, {"/a/0/0", 10, "v"});
    l->commits = 0;
    settle(l);
    assert_units(1);
    assert_int_equal(strncmp(unit_text(l, 0), "/a/0/0?10 ", 10), 0);
}

static int very_many(life *self, ew_tick *t) {
    (void)self;
    for (int i = 0; i < 3000; i++) {
        char key[32];
        snprintf(key, sizeof key, "/a/%d", i);
        ew_group_put(ew_tick_group(t), s(key), s("v"));
    }
    return EW_OK;
}

/* A batch is bounded; the other groups follow in the next one. */
static void test_batches_are_bounded(void **state) {
    (void)state;
    run(very_many);
    assert_units(16 * 126);
    committed(l, 10);
    progress(l, 10);
    l->commits = 0;
    settle(l);
    assert_units(3000 - 16 * 126);
    committed(l, 11);
    progress(l, 11);
    settle(l);
    assert_int_equal(l->ticks, 1);
    assert_int_equal(ticking_get_state(l->t), TICKING_READY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ready_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_final_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modify_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ignore_undoes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expectations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_expectations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_expectations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again_backs_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outside_in_a_patch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_serializable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_units_are_separate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guard_merges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_merges_if_serializable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unchanged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_after_a_good_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_over_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batches_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
