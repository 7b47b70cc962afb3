/* TiCDC's Linearizability (SEMANTICS, scenarios): a thousand puts of one key before the start, 1,001 during the run.
 * With `coalesce = off` exactly one tick sees each value as new, and in order (SEMANTICS 5, 8, 15). */
#include "lib/scenario.h"

#include <stdio.h>

enum { BEFORE = 1000, DURING = 1001 };

typedef struct reader {
    int64_t last;
    unsigned news;
} reader;

static int read_value(worker_fixture *f, ew_tick *t) {
    reader *r = f->arg;
    ew_entry e;
    int64_t value = 0;
    EXPECT(f, ew_tick_get(t, EW_STR("/linear/key"), &e) == EW_OK);
    EXPECT(f, ew_slice_int(e.value, &value));
    EXPECT(f, ew_tick_revision(t) >= e.mod_revision);
    if (value != r->last) { /* a tick of the timer sees the same value again */
        EXPECT(f, r->last == 0 ? value == BEFORE : value == r->last + 1);
        r->last = value;
        r->news++;
    }
    return value == BEFORE + DURING ? EW_FINISHED : EW_OK;
}

static void put_number(int64_t number) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    client_put("/linear/key", text);
}

static void test_every_value_is_seen_once_and_in_order(void **state) {
    (void)state;
    reader r = {0};
    worker_fixture f;
    for (int i = 1; i <= BEFORE; i++)
        put_number(i);
    worker_fixture_open(&f, "/linear");
    worker_fixture_set(&f, "coalesce", "off");
    f.updates = true;
    f.every = read_value;
    f.arg = &r;
    worker_fixture_start(&f);
    worker_fixture_await_total(&f, 1);
    for (int i = 1; i <= DURING; i++)
        put_number(BEFORE + i);
    assert_int_equal(worker_fixture_await_end(&f), EW_OK);
    assert_int_equal(r.news, 1 + DURING);
    assert_int_equal(f.event_count, 1 + DURING);
    for (size_t i = 0; i < f.event_count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu", BEFORE + i);
        worker_fixture_assert_event(&f, i, EW_EVENT_PUT, i == 0, "/linear/key", text);
        if (i > 1)
            assert_true(f.events[i].ticks > f.events[i - 1].ticks); /* one revision in each tick */
    }
    assert_int_equal(worker_fixture_close(&f), EW_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {env_test(test_every_value_is_seen_once_and_in_order)};
    return cmocka_run_group_tests(tests, env_open, env_close);
}
