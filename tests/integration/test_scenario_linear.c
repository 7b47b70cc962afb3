/* The original's Linearizability (SEMANTICS, scenarios): a thousand puts of one key before the start, 1,001 during the
 * run; with `coalesce = off` every value is seen by exactly one tick as news, and in order (SEMANTICS 5, 8, 15). */
#include "lib/scenario.h"

#include <stdio.h>

enum { BEFORE = 1000, DURING = 1001 };

typedef struct reader {
    int64_t last;
    unsigned news;
} reader;

static int read_value(stage *s, ew_tick *t) {
    reader *r = s->arg;
    ew_entry e;
    int64_t value = 0;
    EXPECT(s, ew_tick_get(t, EW_STR("/linear/key"), &e) == EW_OK);
    EXPECT(s, ew_slice_int(e.value, &value));
    EXPECT(s, ew_tick_revision(t) >= e.mod_revision);
    if (value != r->last) { /* a tick of the timer shows the same value once more */
        EXPECT(s, r->last == 0 ? value == BEFORE : value == r->last + 1);
        r->last = value;
        r->news++;
    }
    return value == BEFORE + DURING ? EW_FINISHED : EW_OK;
}

static void put_number(int64_t number) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    hand_put("/linear/key", text);
}

static void test_every_value_is_seen_once_and_in_order(void **state) {
    (void)state;
    reader r = {0};
    stage s;
    for (int i = 1; i <= BEFORE; i++)
        put_number(i);
    stage_open(&s, "/linear");
    stage_set(&s, "coalesce", "off");
    s.updates = true;
    s.every = read_value;
    s.arg = &r;
    stage_start(&s);
    stage_await_total(&s, 1);
    for (int i = 1; i <= DURING; i++)
        put_number(BEFORE + i);
    assert_int_equal(stage_await_end(&s), EW_OK);
    assert_int_equal(r.news, 1 + DURING);
    assert_int_equal(s.event_count, 1 + DURING);
    for (size_t i = 0; i < s.event_count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu", BEFORE + i);
        stage_assert_event(&s, i, EW_EVENT_PUT, i == 0, "/linear/key", text);
        if (i > 1)
            assert_true(s.events[i].ticks > s.events[i - 1].ticks); /* one revision a tick */
    }
    assert_int_equal(stage_close(&s), EW_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {scene_test(test_every_value_is_seen_once_and_in_order)};
    return cmocka_run_group_tests(tests, scene_open, scene_close);
}
