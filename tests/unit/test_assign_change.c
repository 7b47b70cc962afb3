/* What the transaction of one change of an assignment compares. */
#include "service/assign_change.h"

#include "unit/ticking_fixture.h"

static int propose(life *l, ew_tick *t) {
    return assign_change_propose("/a", t, l->arg);
}

/* A free task gets a member whose index key for it is there already, left from an earlier assignment. Another daemon
 * that mends the index may delete that key at the same moment, and finds the assignment as absent as this one does: so
 * the key is compared, though it is not written, or the assignment would be left without it. */
static void test_an_index_key_that_is_there_is_compared(void **state) {
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_index_key_that_is_there_is_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
