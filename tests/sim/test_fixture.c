/* The public fixture: what <etcdworker/sim.h> promises to users who simulate their own reactor. */
#include <etcdworker/sim.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct counter {
    ew_sim *sim;
    uint64_t ticks, updates, ends;
    int64_t until; /* counts up to this value, then finishes */
    int last_status;
    bool broken;
} counter;

static int increment(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t value = 0;
    if (current && !ew_slice_int(current->value, &value))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, value + 1);
}

static int tick(void *self, ew_tick *t) {
    counter *c = self;
    ew_entry e;
    int64_t value = 0;
    c->ticks++;
    if (ew_tick_get(t, EW_STR("/c/value"), &e) == EW_OK)
        ew_slice_int(e.value, &value);
    if (value >= c->until)
        return c->until ? EW_FINISHED : EW_OK;
    if (c->broken && value == 3)
        ew_sim_fail(c->sim, "three is a bad number");
    return ew_group_modify(ew_tick_group(t), EW_STR("/c/value"), increment, NULL, NULL);
}

static ew_status update(void *self, const ew_event *event) {
    counter *c = self;
    (void)event;
    c->updates++;
    return EW_OK;
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick, .update = update);

static bool ended(void *self, ew_status status, const char *detail, bool killed) {
    counter *c = self;
    (void)detail;
    c->ends++;
    c->last_status = status;
    return killed || (status != EW_OK && status != EW_ERR_CANCELLED);
}

static int add(ew_sim *s, counter *c, int64_t until) {
    *c = (counter){.sim = s, .until = until};
    ew_options *o = ew_options_new();
    assert_non_null(o);
    assert_int_equal(ew_options_set(o, "prefix", "/c", NULL), EW_OK);
    assert_int_equal(ew_options_set_int(o, "tick_interval_ms", 100, NULL), EW_OK);
    int worker = ew_sim_add_worker(s, o, &reactor, c, NULL);
    assert_true(worker >= 0);
    ew_sim_on_end(s, worker, ended);
    ew_options_free(o);
    return worker;
}

static int64_t value_of(const ew_sim *s) {
    ew_entry e;
    int64_t value = 0;
    if (ew_sim_get(s, EW_STR("/c/value"), &e) == EW_OK)
        assert_true(ew_slice_int(e.value, &value));
    return value;
}

static void test_workers_finish(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        ew_sim *s = ew_sim_new(seed);
        counter a, b;
        int first = add(s, &a, 20), second = add(s, &b, 20);
        ew_sim_run(s, 5000);
        assert_int_equal(ew_sim_settle(s, 60000), EW_OK);
        assert_null(ew_sim_failure(s));
        ew_sim_run(s, 60000);
        assert_false(ew_sim_is_running(s, first));
        assert_false(ew_sim_is_running(s, second));
        assert_int_equal(a.last_status, EW_OK);
        /* The group of the slower worker may count once more, but not more often. */
        assert_true(value_of(s) >= 20 && value_of(s) <= 21);
        assert_true(a.updates > 0);
        ew_sim_free(s);
    }
}

/* Writes all output to one file: two runs of a seed must be equal byte for byte. */
static char *trace_of(uint64_t seed, uint64_t *digest) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    ew_sim *s = ew_sim_new(seed);
    counter a, b;
    add(s, &a, 30);
    add(s, &b, 30);
    ew_sim_describe(s, out);
    ew_sim_trace(s, out);
    ew_sim_run(s, 20000);
    ew_sim_settle(s, 60000);
    *digest = ew_sim_digest(s);
    ew_sim_free(s);
    fclose(out);
    return text;
}

static void test_same_seed_same_bytes(void **state) {
    (void)state;
    uint64_t last = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t first, second;
        char *a = trace_of(seed, &first), *b = trace_of(seed, &second);
        assert_string_equal(a, b);
        assert_true(first == second);
        assert_true(first != last);
        last = first;
        free(a);
        free(b);
    }
}

static void test_own_invariant(void **state) {
    (void)state;
    ew_sim *s = ew_sim_new(1);
    counter a;
    add(s, &a, 10);
    a.broken = true;
    ew_sim_set_faults(s, false);
    assert_int_equal(ew_sim_run(s, 60000), EW_ERR_STATE);
    assert_non_null(strstr(ew_sim_failure(s), "three is a bad number"));
    int64_t then = ew_sim_now_ms(s);
    assert_int_equal(ew_sim_run(s, 1000), EW_ERR_STATE); /* nothing runs after a failure */
    assert_int_equal(ew_sim_now_ms(s), then);
    ew_sim_free(s);
}

static void test_external_writes_and_stop(void **state) {
    (void)state;
    ew_sim *s = ew_sim_new(7);
    ew_sim_set_faults(s, false);
    assert_int_equal(ew_sim_put(s, EW_STR("/c/value"), EW_STR("40")), 2);
    counter a;
    int worker = add(s, &a, 0);
    a.until = 1000000;
    ew_sim_run(s, 5000);
    assert_true(ew_sim_is_running(s, worker));
    int64_t before = value_of(s);
    assert_true(before > 41);
    ew_sim_delete(s, EW_STR("/c/value"));
    ew_sim_run(s, 500); /* a tenth of the time of the rest */
    assert_true(value_of(s) > 0 && value_of(s) < before - 40);
    ew_sim_stop_worker(s, worker);
    ew_sim_run(s, 20000);
    assert_false(ew_sim_is_running(s, worker));
    assert_int_equal(a.last_status, EW_ERR_CANCELLED);
    assert_int_equal(a.ends, 1);
    assert_null(ew_sim_failure(s));
    ew_sim_free(s);
}

static void note(ew_sim *s, void *arg) {
    *(int64_t *)arg = ew_sim_now_ms(s);
}

static void test_after(void **state) {
    (void)state;
    ew_sim *s = ew_sim_new(1);
    int64_t at = -1, never = -1;
    ew_sim_after(s, 250, note, &at);
    ew_sim_after(s, 5000, note, &never); /* freed with the simulation */
    ew_sim_run(s, 1000);
    assert_int_equal(at, 250);
    assert_int_equal(never, -1);
    assert_int_equal(ew_sim_now_ms(s), 1000);
    ew_sim_free(s);
    ew_sim_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_finish), cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_own_invariant),  cmocka_unit_test(test_external_writes_and_stop),
        cmocka_unit_test(test_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
