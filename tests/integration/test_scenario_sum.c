/* TiCDC's Sum (SEMANTICS, scenarios): ten keys, each a row of five integers. Five workers each increment their own cell
 * of all ten rows in one group in every tick, a thousand times. A sixth checks at each of its thousand ticks that the
 * deltas it was shown have the same sum as all cells. The test fails if a patch is lost or repeated (SEMANTICS 21, 28),
 * a group is not atomic (25), or an event is shown twice or never (8, 11). */
#include "lib/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 10, CELLS = 5, TICKS = 1000 };

typedef struct row {
    int64_t cells[CELLS];
} row;

static bool read_row(ew_slice text, row *out) {
    char copy[256];
    int used = 0;
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, (const char *)text.data);
    return sscanf(copy, "%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 "%n", &out->cells[0], &out->cells[1],
                  &out->cells[2], &out->cells[3], &out->cells[4], &used) == CELLS &&
           (size_t)used == text.len;
}

static int64_t sum_of(const row *r) {
    int64_t sum = 0;
    for (size_t i = 0; i < CELLS; i++)
        sum += r->cells[i];
    return sum;
}

static int raise_cell(void *arg, const ew_entry *current, ew_value *next) {
    const size_t *cell = arg;
    row r;
    if (!current || !read_row(current->value, &r))
        return EW_ERR_REACTOR;
    r.cells[*cell]++;
    char text[256];
    snprintf(text, sizeof text, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64, r.cells[0], r.cells[1],
             r.cells[2], r.cells[3], r.cells[4]);
    return ew_value_set(next, ew_str(text));
}

typedef struct adder {
    size_t cell;
    unsigned ticks;
} adder;

static int add(worker_fixture *f, ew_tick *t) {
    adder *a = f->arg;
    ew_group *g = ew_tick_group(t);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "/sum/%03u", i);
        ew_group_modify(g, ew_str(key), raise_cell, &a->cell, NULL);
    }
    return ++a->ticks == TICKS ? EW_FINISHED : EW_OK;
}

/* The sixth worker: its rows are built from its updates; it also sums the deltas. */
typedef struct checker {
    int64_t deltas;
    unsigned ticks;
    size_t seen; /* number of the worker fixture's events that it has processed */
    row rows[KEYS];
} checker;

static void follow(worker_fixture *f, checker *c) {
    for (; c->seen < f->event_count; c->seen++) {
        const worker_fixture_event *e = &f->events[c->seen]; /* only this thread adds events */
        unsigned i = 0;
        row r = {0};
        EXPECT(f, sscanf(e->key, "/sum/%u", &i) == 1 && i < KEYS);
        EXPECT(f, e->kind == EW_EVENT_PUT && read_row(ew_str(e->value), &r));
        c->deltas += sum_of(&r) - sum_of(&c->rows[i]);
        c->rows[i] = r;
    }
}

static int check(worker_fixture *f, ew_tick *t) {
    checker *c = f->arg;
    follow(f, c);
    int64_t sum = 0;
    ew_entry e = {0};
    row first = {{-1}};
    while (ew_tick_scan(t, EW_STR("/sum/"), &e)) {
        row r;
        EXPECT(f, read_row(e.value, &r));
        if (first.cells[0] < 0)
            first = r;
        EXPECT(f, memcmp(&first, &r, sizeof r) == 0); /* each group increments all ten rows at once (SEMANTICS 25) */
        sum += sum_of(&r);
    }
    EXPECT(f, sum == c->deltas);
    return ++c->ticks == TICKS ? EW_FINISHED : EW_OK;
}

static void test_sum(void **state) {
    (void)state;
    worker_fixture adders[CELLS], sixth;
    adder arms[CELLS] = {0};
    checker eye = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "/sum/%03u", i);
        client_put(key, "0,0,0,0,0");
    }
    worker_fixture_open(&sixth, "/sum");
    sixth.updates = true;
    sixth.every = check;
    sixth.arg = &eye;
    worker_fixture_start(&sixth);
    for (size_t i = 0; i < CELLS; i++) {
        arms[i].cell = i;
        worker_fixture_open(&adders[i], "/sum");
        adders[i].every = add;
        adders[i].arg = &arms[i];
        worker_fixture_start(&adders[i]);
    }
    for (size_t i = 0; i < CELLS; i++) {
        assert_int_equal(worker_fixture_await_end(&adders[i]), EW_OK);
        print_message("worker %zu: %u ticks, %u refusals\n", i, (unsigned)worker_fixture_ticks(&adders[i]),
                      (unsigned)worker_fixture_stats(&adders[i]).groups_refused);
        assert_int_equal(worker_fixture_close(&adders[i]), EW_OK);
    }
    assert_int_equal(worker_fixture_await_end(&sixth), EW_OK);
    assert_int_equal(worker_fixture_close(&sixth), EW_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "/sum/%03u", i);
        assert_string_equal(client_get(key).value, "1000,1000,1000,1000,1000");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {env_test(test_sum)};
    return cmocka_run_group_tests(tests, env_open, env_close);
}
