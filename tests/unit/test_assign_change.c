/* What the transaction of one change of an assignment compares. */
#include "service/assign_change.h"

#include "unit/ticking_fixture.h"

static int propose(life *l, ew_tick *t) {
    return assign_change_propose("/a", t, l->arg);
}

/* A task without a member gets one whose index key exists already, left from an earlier assignment. Another daemon that
 * repairs the index may delete that key at the same time, since it sees no assignment either. So the transaction
 * compares the key, although it does not write it; otherwise the assignment could be left without its index key. */
static void test_an_existing_index_key_is_compared(void **state) {
    (void)state;
    const assign_change change = {.task = EW_STR("1"), .to = EW_STR("m")};
    ticking_config config = plain_config;
    config.wants_updates = false;
    life *l = life_new(&config);
    load(l, 9, {"/a/by-member/m/1", 2, ""}, {"/a/members/m", 3, "{}"}, {"/a/tasks/1", 4, "{}"});
    l->arg = (void *)(uintptr_t)&change;
    l->on_tick = propose;
    settle(l);
    assert_int_equal(l->commits, 1);
    const char *text = unit_text(l, 0);
    assert_non_null(strstr(text, "/a/by-member/m/1?2 "));
    assert_non_null(strstr(text, "/a/assignments/1?0 "));
    assert_null(strstr(text, "/a/by-member/m/1="));
    life_free(l);
}

/* Meanwhile an external write has named the same member again, and may have left another index key. The change of the
 * plan, which does not know it, is dropped, and the next tick plans again. */
static void test_an_assignment_that_was_written_again(void **state) {
    (void)state;
    const assign_change change = {.task = EW_STR("1"), .from = EW_STR("m"), .to = EW_STR("n")};
    ticking_config config = plain_config;
    config.wants_updates = false;
    life *l = life_new(&config);
    load(l, 9, {"/a/assignments/1", 5, "{\"member\":\"m\"}"}, {"/a/members/m", 3, "{}"}, {"/a/members/n", 3, "{}"},
         {"/a/tasks/1", 4, "{}"});
    l->arg = (void *)(uintptr_t)&change;
    l->on_tick = propose;
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_non_null(strstr(unit_text(l, 0), "/a/assignments/1?5 "));
    l->on_tick = NULL;
    refused(l, 0, 9, 10);
    events(l, {"/a/assignments/1", 10, "{\"member\":\"m\",\"by\":\"external\"}"});
    settle(l);
    assert_int_equal(l->commits, 1);
    life_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_existing_index_key_is_compared),
        cmocka_unit_test(test_an_assignment_that_was_written_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
