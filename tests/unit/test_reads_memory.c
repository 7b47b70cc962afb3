/* Each allocation for the reads and expectations of a tick fails in turn. Then the run ends with EW_ERR_NO_MEMORY, and
 * no transaction leaves that lacks a compare. The sources are compiled into this program with an allocator that fails
 * on demand. */
#include "unit/failing_memory.h"

#define malloc(size)        failing_malloc(size)
#define calloc(count, size) failing_calloc(count, size)
#define realloc(old, size)  failing_realloc(old, size)
#include "core/overlay.c"

#include "core/arena.c"
#include "core/evaluate.c"
#include "core/evaluate_units.c"
#include "core/evaluate_view.c"
#include "core/group.c"
#include "core/reads.c"
#include "core/reads_seal.c"
#undef malloc
#undef calloc
#undef realloc
#include "unit/ticking_fixture.h"

enum { SCANS = 20 };

/* The tick makes so many groups: with three it reads ranges, with one all keys, which the others would change. */
static int groups;

/* Returns a key that is too long for the stack buffer of an arena. */
static const char *long_key(void) {
    static char key[3000] = "/a/long";
    memset(key + 7, 'g', sizeof key - 8);
    return key;
}

static void read_ranges(ew_tick *t) {
    for (int i = 0; i < SCANS; i++) {
        ew_entry e = {0};
        char prefix[16];
        snprintf(prefix, sizeof prefix, "/a/%02d/", i);
        ew_tick_scan(t, ew_str(prefix), &e);
    }
}

/* All groups but the last are merged, because they write the same key. */
static int work(life *self, ew_tick *t) {
    (void)self;
    ew_entry e;
    ew_tick_get(t, ew_str(long_key()), &e);
    if (groups == 1)
        ew_tick_count(t);
    else
        read_ranges(t);
    for (int i = 0; i < groups; i++) {
        ew_group *g = ew_tick_group(t);
        ew_group_expect(g, EW_STR("/a/b"));
        ew_group_expect_reads(g);
        ew_group_put(g, i < groups - 1 ? EW_STR("/a/own") : EW_STR("/a/other"), EW_STR("1"));
    }
    return EW_OK;
}

/* The unit of a group by itself, if no allocation fails: what each unit must compare, and what only this one does. */
static char alone[4096];

static void keep_alone(life *l) {
    snprintf(alone, sizeof alone, "%s", unit_text(l, l->patches->n_units - 1));
    assert_non_null(strstr(alone, "/a/other=1"));
}

static void assert_compares(life *l) {
    for (size_t i = 0; i < l->patches->n_units; i++) {
        char words[sizeof alone], *rest;
        memcpy(words, alone, sizeof words);
        const char *text = unit_text(l, i);
        for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
            if (strncmp(word, "/a/other", 8) != 0)
                assert_non_null(strstr(text, word));
    }
}

/* Runs a tick in which allocation `n` fails; none fails if it is negative. Returns whether that allocation was
 * reached. */
static bool play_failing(long n) {
    ticking_config config = plain_config;
    config.track_reads = true;
    life *l = life_new(&config);
    load(l, 9, {"/a/b", 3, "1"});
    look(l);
    l->on_tick = work;
    fail_in = n;
    settle(l);
    l->on_tick = NULL;
    bool reached = n >= 0 && fail_in < 0;
    fail_in = -1;
    if (n < 0)
        keep_alone(l);
    /* The groups before the one whose evaluation failed are committed, and it is evaluated again. */
    for (int64_t revision = 10; l->commits > 0; revision++) {
        assert_true(revision < 10 + groups);
        assert_compares(l);
        look(l);
        committed(l, revision);
        progress(l, revision);
        settle(l);
    }
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    if (l->ended)
        assert_string_equal(ew_errname(l->end_status), "EW_ERR_NO_MEMORY");
    else
        assert_int_equal(stats.groups_committed, groups);
    assert_true(reached || !l->ended);
    life_free(l);
    return reached;
}

static void test_memory(void **state) {
    (void)state;
    for (groups = 1; groups <= 3; groups += 2) {
        play_failing(-1);
        long n = 0;
        while (play_failing(n))
            n++;
        assert_true(n > 15);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
