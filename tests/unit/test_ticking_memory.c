/* Each allocation of the ticking core fails in turn. Then the run ends with EW_ERR_NO_MEMORY, or nothing happens at
 * all; there is never a crash, a leak, a wrong commit or a caller without an answer. The sources are compiled into this
 * program with an allocator that fails on demand. */
#include "unit/failing_memory.h"

#define malloc(size)        failing_malloc(size)
#define calloc(count, size) failing_calloc(count, size)
#define realloc(old, size)  failing_realloc(old, size)
#include "etcd.pb-c.h"
#define pb__txn_request__unpack(allocator, len, data)                                                                  \
    (fails_now() ? NULL : pb__txn_request__unpack(allocator, len, data))
#include "core/overlay.c"

#include "core/arena.c"
#include "core/cache.c"
#include "core/evaluate.c"
#include "core/evaluate_units.c"
#include "core/evaluate_view.c"
#include "core/group.c"
#include "core/group_scope.c"
#include "core/submit_clients.c"
#include "core/tick.c"
#include "core/ticking.c"
#include "core/ticking_cache.c"
#include "core/ticking_changes.c"
#include "core/ticking_check.c"
#include "core/ticking_effects.c"
#include "core/ticking_groups.c"
#include "core/ticking_load.c"
#include "core/ticking_page.c"
#include "core/ticking_queue.c"
#include "core/ticking_submits.c"
#include "core/ticking_ticks.c"
#include "core/ticking_updates.c"
#include "core/unpack.c"
#undef malloc
#undef calloc
#undef realloc
#undef pb__txn_request__unpack
#define settle settle_life
#define step   step_life
#define append append_text
#include "unit/ticking_fixture.h"

static int drops, made;

static void count_drop(void *arg) {
    (void)arg;
    drops++;
}

static int write_all(void *arg, ew_view *v) {
    ew_entry e;
    (void)arg;
    ew_view_get(v, EW_STR("/a/x"), &e);
    ew_view_get(v, EW_STR("/a/fresh"), &e);
    ew_view_put(v, EW_STR("/a/patched"), EW_STR("value"));
    ew_view_delete(v, EW_STR("/a/y"));
    return EW_OK; /* whatever the view returned: its error stays */
}

static int count_up(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    (void)current;
    static char large[5000];
    ew_value_set(next, (ew_slice){large, sizeof large});
    return EW_OK; /* whatever the value returned */
}

static done_note note;

static int work(life *self, ew_tick *t) {
    ticking_effects_fini(&self->effects); /* as an actor with a new list for each step */
    made += 2;
    ew_group *g = ew_tick_group(t);
    ew_group_on_done(g, note_done, &note);
    ew_group_delete(g, EW_STR("/a/z"));
    ew_group_put(g, EW_STR("/a/x"), EW_STR("2"));
    ew_group_guard(g, EW_STR("/a/guard"));
    ew_group_patch(g, write_all, NULL, count_drop);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "/a/%d", i);
        ew_group_put(g, ew_str(key), EW_STR("v"));
    }
    g = ew_tick_group(t);
    ew_group_modify(g, EW_STR("/a/m"), count_up, NULL, count_drop);
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof key, "/a/g%d", i);
        ew_group_put(ew_tick_group(t), ew_str(key), EW_STR("v"));
    }
    return EW_OK;
}

/* The list of effects is freed now and then, so that it grows again and its allocations fail, too. */
static void fresh_effects(life *l) {
    ticking_effects_fini(&l->effects);
}

static void submit_one(life *l) {
    Msg__Submit message = MSG__SUBMIT__INIT;
    Msg__Submit__Put put = MSG__SUBMIT__PUT__INIT, *puts[] = {&put};
    put.key = binary("/a/submitted");
    put.value = binary("1");
    Msg__Submit__Compare compare = MSG__SUBMIT__COMPARE__INIT, *compares[] = {&compare};
    compare.key = binary("/a/compared");
    compare.absent = true;
    message.compares = compares;
    message.n_compares = 1;
    message.puts = puts;
    message.n_puts = 1;
    step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &message, .submit_id = 1});
    for (uint64_t copy = 0; copy < 2; copy++) {
        message.client = binary("client");
        message.sequence = 7;
        put.key = binary("/a/identified");
        step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &message, .submit_id = 2 + copy});
    }
}

/* The last atomic unit is refused, and the outcome has the record of its client. */
static void refused_with_record(life *l) {
    uint32_t unit = (uint32_t)l->patches->n_units - 1;
    Msg__SubmitRecord r = MSG__SUBMIT_RECORD__INIT;
    uint8_t bytes[64];
    r.sequence = 6;
    Msg__FoundRecord record = MSG__FOUND_RECORD__INIT, *list[] = {&record};
    record.unit = unit;
    record.value = (ProtobufCBinaryData){msg__submit_record__pack(&r, bytes), bytes};
    record.mod_revision = 5;
    Msg__Outcome o = outcome_of(l, EW_ERR_REFUSED, unit, 0);
    o.records = list;
    o.n_records = l->patches->units[unit]->records;
    take_outcome(l, o);
}

static void play(life *l) {
    const kv one[] = {{"/a/x", 2, "1"}, {"/a/y", 3, "1"}}, two[] = {{"/a/z", 4, "1"}};
    l->epoch = 1;
    page(l, 9, true, false, one, 2);
    page(l, 9, false, true, two, 1);
    settle(l);
    if (l->ended)
        return;
    l->on_tick = work;
    events(l, {"/a/x", 10, "2"}, {"/a/y", 11, NULL}, {"/a/w", 12, "1"});
    progress(l, 13);
    submit_one(l);
    fresh_effects(l);
    settle(l);
    l->on_tick = NULL;
    if (l->ended)
        return;
    if (ticking_get_state(l->t) == TICKING_COMMITTING) {
        fresh_effects(l);
        refused(l, 0, 0, 14);
    }
    events(l, {"/a/x", 14, "5"});
    settle(l);
    if (ticking_get_state(l->t) == TICKING_COMMITTING) {
        refused_with_record(l);
        settle(l);
    }
    if (ticking_get_state(l->t) == TICKING_COMMITTING)
        committed(l, 20);
    const kv other = {"/a/m", 25, "1"};
    l->epoch++;
    page(l, 30, true, true, &other, 1);
    settle(l);
    stop_ticking(l, EW_ERR_CANCELLED);
    settle(l);
}

/* Returns a key that is too long for the stack buffer of an arena. */
static const char *long_key(void) {
    static char key[4000] = "/a/long";
    memset(key + 7, 'g', sizeof key - 8);
    return key;
}

/* Progress that waits after events, while each revision gets a tick of its own. */
static void play_waiting(life *l) {
    const kv one[] = {{"/a/b", 2, "1"}, {long_key(), 3, "1"}};
    l->epoch = 1;
    page(l, 9, true, true, one, 2);
    settle(l);
    if (l->ended)
        return;
    events(l, {long_key(), 10, "2"}, {"/a/b", 11, "2"});
    for (int64_t revision = 12; revision < 50 && !l->ended; revision++)
        progress(l, revision);
    settle(l);
}

/* A consistency check, with deletions meanwhile. */
static void play_check(life *l) {
    const kv one[] = {{"/a/b", 2, "1"}, {"/a/c", 3, "1"}, {long_key(), 4, "1"}, {"/a/x", 5, "1"}};
    l->epoch = 1;
    page(l, 9, true, true, one, 4);
    settle(l);
    if (l->ended)
        return;
    wait_timer(l);
    settle(l);
    events(l, {"/a/b", 10, NULL}, {"/a/d", 11, "new"});
    send_checked(l, l->check_number, false, EW_OK, one, 2);
    events(l, {"/a/d", 12, NULL});
    send_checked(l, l->check_number, true, EW_OK, one + 2, 2);
    settle(l);
}

/* A submit that the cache refuses: its record is all that its transaction puts. */
static void play_refusal(life *l) {
    const kv one = {"/a/x", 2, "1"};
    l->epoch = 1;
    page(l, 9, true, true, &one, 1);
    settle(l);
    if (l->ended)
        return;
    Msg__Submit message = MSG__SUBMIT__INIT;
    Msg__Submit__Compare compare = MSG__SUBMIT__COMPARE__INIT, *compares[] = {&compare};
    compare.key = binary("/a/x");
    compare.absent = true;
    message.compares = compares;
    message.n_compares = 1;
    ProtobufCBinaryData key = binary("/a/x");
    message.deletes = &key;
    message.n_deletes = 1;
    message.client = binary("client");
    message.sequence = 1;
    step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &message, .submit_id = 1});
    settle(l);
    if (ticking_get_state(l->t) == TICKING_COMMITTING)
        committed(l, 20);
}

/* Runs one scenario in which allocation `n` fails. Returns whether that allocation was reached. */
static bool play_failing(void (*part)(life *), const ticking_config *config, long n) {
    life *l = calloc(1, sizeof *l);
    l->config = *config;
    l->now = 5000;
    drops = made = 0;
    note = (done_note){0};
    fail_left = 0;
    fail_in = n;
    l->t = ticking_new(config);
    if (l->t)
        part(l);
    /* When there is memory again, every caller that waits gets its answer. */
    bool reached = fail_in < 0;
    fail_in = -1;
    fail_left = 0;
    if (l->t && !l->ended) {
        settle(l);
        if (!l->ended)
            stop_ticking(l, EW_ERR_CANCELLED);
        if (ticking_get_state(l->t) == TICKING_COMMITTING)
            committed(l, 40);
        assert_true(l->ended);
    }
    if (l->t && l->end_status != EW_ERR_CANCELLED)
        assert_string_equal(ew_errname(l->end_status), "EW_ERR_NO_MEMORY");
    life_free(l);
    assert_int_equal(drops, made);
    assert_true(note.calls <= 1);
    return reached;
}

static void every_failure(void (*part)(life *), const ticking_config *config) {
    for (fail_count = 1; fail_count <= 3; fail_count++) {
        long n = 0;
        while (play_failing(part, config, n))
            n++;
        assert_true(n > 10);
    }
}

static void test_memory(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.record_lease = 7;
    every_failure(play, &config);
    every_failure(play_refusal, &config);
    config.serializable = true;
    every_failure(play, &config);
    config.coalesce = false;
    every_failure(play, &config);
    every_failure(play_waiting, &config);
    config.max_pending_update_bytes = 300;
    every_failure(play, &config);
}

static void test_memory_of_checks(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.check_interval_ms = 60000;
    config.tick_interval_ms = 86400000;
    every_failure(play_check, &config);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_memory_of_checks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
