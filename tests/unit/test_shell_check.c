/* Tests the shell's consistency checks when they are stopped or replaced, or when memory runs out: the reactor does not
 * wait for a check that failed. The source is compiled into this program with a core that fails on demand. */
#include "shell/watcher_check.h"

#include <stdlib.h>

static bool no_core;

#define watching_new(config) (no_core ? NULL : watching_new(config))
#include "shell/watcher_check.c"
#undef watching_new

#include "unit/shell_io.h"

typedef struct bed {
    test_io *t;
    watching_config config;
    bool out_of_memory;
    watcher_check check;
} bed;

static int set_up(void **state) {
    bed *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    b->t = test_io_new();
    another_puts(b->t, "/a/1", 10);
    b->config = (watching_config){.key = {"/a", 2},
                                  .range_end = {"/a0", 3},
                                  .page_bytes = 1 << 20,
                                  .receive_bytes = 1 << 26,
                                  .backoff_min_ms = 50,
                                  .backoff_max_ms = 1000};
    watcher_check_init(&b->check, &b->t->io, &b->config, 10000, &b->out_of_memory);
    return 0;
}

static int tear_down(void **state) {
    bed *b = *state;
    watcher_check_fini(&b->check);
    test_io_free(b->t);
    free(b);
    no_core = false;
    return 0;
}

static int64_t play_round(bed *b) {
    return watcher_check_round(&b->check, b->t->now_ms);
}

static void is_asked_for(bed *b, uint64_t number) {
    Msg__Check check = MSG__CHECK__INIT;
    check.number = number;
    check.revision = etcd_model_revision(b->t->etcd);
    watcher_check_start(&b->check, &check);
    play_round(b);
}

/* Checks that the only message reports how check `number` ended. */
static void is_reported(bed *b, uint64_t number, int status, const char *detail) {
    const Msg__Checked *a = only_message(b->t, IO_SEND)->checked;
    assert_non_null(a);
    assert_int_equal(a->number, number);
    assert_string_equal(ew_errname(a->status), ew_errname(status));
    assert_string_equal(a->detail, detail);
    assert_true(a->last);
    forget_messages(b->t);
}

static void is_over(bed *b) {
    play_round(b);
    assert_false(watcher_check_runs(&b->check));
    assert_true(play_round(b) == INT64_MAX);
}

static void a_check_reads_the_keys(void **state) {
    bed *b = *state;
    is_asked_for(b, 1);
    assert_true(watcher_check_runs(&b->check));
    call_is_answered(b->t);
    assert_true(only_message(b->t, IO_SEND)->checked->page.len > 0);
    is_reported(b, 1, EW_OK, "");
    assert_true(b->t->logs > 0);
    is_over(b);
}

/* A page that failed is read again at the time that the round returned. */
static void a_failed_page_is_read_again(void **state) {
    bed *b = *state;
    is_asked_for(b, 1);
    call_fails(b->t, EW_ERR_UNAVAILABLE);
    int64_t next_ms = play_round(b);
    assert_true(next_ms > b->t->now_ms && next_ms <= b->t->now_ms + 1000);
    b->t->now_ms = next_ms;
    play_round(b);
    call_is_answered(b->t);
    is_reported(b, 1, EW_OK, "");
    is_over(b);
}

static void a_check_that_is_replaced_is_not_reported(void **state) {
    bed *b = *state;
    is_asked_for(b, 1);
    is_asked_for(b, 2);
    assert_true(b->t->calls[0].cancelled);
    assert_true(play_round(b) == INT64_MAX); /* check 1 still waits for its answer */
    call_is_answered(b->t);
    assert_int_equal(b->t->count, 0);
    play_round(b);
    assert_false(b->t->calls[0].cancelled);
    call_is_answered(b->t);
    is_reported(b, 2, EW_OK, "");
    is_over(b);
}

static void a_page_waits_for_capacity(void **state) {
    bed *b = *state;
    b->t->busy = true;
    is_asked_for(b, 1);
    assert_null(b->t->calls[0].fn);
    b->t->busy = false;
    watcher_check_resume(&b->check);
    call_is_answered(b->t);
    is_reported(b, 1, EW_OK, "");
    is_over(b);
}

static void no_memory_for_a_core(void **state) {
    bed *b = *state;
    no_core = true;
    is_asked_for(b, 1);
    is_reported(b, 1, EW_ERR_NO_MEMORY, "");
    is_over(b);
    no_core = false;
    is_asked_for(b, 2);
    call_is_answered(b->t);
    is_reported(b, 2, EW_OK, "");
    is_over(b);
}

static void no_memory_for_a_call(void **state) {
    bed *b = *state;
    b->t->refused = REFUSE_CALL;
    is_asked_for(b, 1);
    assert_true(b->t->rounds_due > 0);
    play_round(b);
    is_reported(b, 1, EW_ERR_NO_MEMORY, "starting a call");
    is_over(b);
}

static void no_memory_for_a_message(void **state) {
    bed *b = *state;
    is_asked_for(b, 1);
    b->t->refused = REFUSE_SEND;
    call_is_answered(b->t);
    assert_true(b->out_of_memory);
    is_over(b);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_check_reads_the_keys),
        TEST(a_failed_page_is_read_again),
        TEST(a_check_that_is_replaced_is_not_reported),
        TEST(a_page_waits_for_capacity),
        TEST(no_memory_for_a_core),
        TEST(no_memory_for_a_call),
        TEST(no_memory_for_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
