/* The algorithm of the reactor `assign`: every task has one live member, loads are even, few tasks move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service/assign_plan.h"

enum { MEMBERS = 6, TASKS = 40 };

/* A world of members m0.. and tasks t0.., with what the plan was told about it. -1: absent, -2: nobody can read it. */
typedef struct world {
    assign_plan *plan;
    int members, tasks;
    int64_t capacity[MEMBERS];
    int64_t weight[TASKS];
    int holder[TASKS];
} world;

static char names[2][64][8];

static ew_slice id(int kind, int i) {
    snprintf(names[kind][i], sizeof names[kind][i], "%c%02d", kind ? 't' : 'm', i);
    return ew_str(names[kind][i]);
}

static int index_of(ew_slice s) {
    const char *c = s.data;
    return c ? (c[1] - '0') * 10 + c[2] - '0' : -1;
}

static unsigned next_random(unsigned *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

static void set_member(world *w, int i, int64_t capacity) {
    w->capacity[i] = capacity;
    if (capacity < 0)
        assign_plan_delete_member(w->plan, id(0, i));
    else
        assert_int_equal(assign_plan_put_member(w->plan, id(0, i), capacity), EW_OK);
}

static void set_task(world *w, int i, int64_t weight) {
    w->weight[i] = weight;
    if (weight < 0)
        assign_plan_delete_task(w->plan, id(1, i));
    else
        assert_int_equal(assign_plan_put_task(w->plan, id(1, i), weight), EW_OK);
}

static void set_holder(world *w, int i, int member) {
    w->holder[i] = member;
    if (member == -1)
        assign_plan_delete_assignment(w->plan, id(1, i));
    else
        assert_int_equal(assign_plan_put_assignment(w->plan, id(1, i), member < 0 ? EW_STR("") : id(0, member)), EW_OK);
}

static world new_world(void) {
    world w = {.plan = assign_plan_new(), .members = MEMBERS, .tasks = TASKS};
    assert_non_null(w.plan);
    for (int i = 0; i < MEMBERS; i++)
        w.capacity[i] = -1;
    for (int i = 0; i < TASKS; i++)
        w.weight[i] = w.holder[i] = -1;
    return w;
}

/* Applies one round of changes, checking that each is one; answers how many there were. */
static size_t apply(world *w, size_t max) {
    const assign_change *list;
    size_t count;
    assert_int_equal(assign_plan_changes(w->plan, max, &list, &count), EW_OK);
    assert_true(count <= max + 1);
    int tasks[TASKS + 1], to[TASKS + 1];
    for (size_t i = 0; i < count; i++) {
        tasks[i] = index_of(list[i].task);
        int from = list[i].from.data && list[i].from.len == 0 ? -2 : index_of(list[i].from);
        to[i] = index_of(list[i].to);
        assert_int_equal(from, w->holder[tasks[i]]);
        assert_int_not_equal(from, to[i]);
    }
    for (size_t i = 0; i < count; i++)
        set_holder(w, tasks[i], to[i]);
    return count;
}

static bool anybody(const world *w, bool with_capacity) {
    for (int i = 0; i < w->members; i++) {
        if (w->capacity[i] >= with_capacity)
            return true;
    }
    return false;
}

/* The capacity that counts: of a drained member nothing, unless all are drained. */
static int64_t share(const world *w, int i) {
    if (anybody(w, true))
        return w->capacity[i] > 0 ? w->capacity[i] : 0;
    return w->capacity[i] == 0;
}

static int64_t load(const world *w, int member) {
    int64_t sum = 0;
    for (int i = 0; i < w->tasks; i++)
        sum += w->weight[i] > 0 && w->holder[i] == member ? w->weight[i] : 0;
    return sum;
}

static double unevenness(const world *w) {
    double sum = 0;
    for (int i = 0; i < w->members; i++) {
        if (share(w, i) > 0)
            sum += (double)load(w, i) * (double)load(w, i) / (double)share(w, i);
    }
    return sum;
}

/* Every task has one live member while there is any; assignments without a task are gone. */
static void check_right(const world *w) {
    for (int i = 0; i < w->tasks; i++) {
        if (w->weight[i] < 0 || !anybody(w, false))
            assert_int_equal(w->holder[i], -1);
        else
            assert_true(w->holder[i] >= 0 && share(w, w->holder[i]) > 0);
    }
}

/* No task moved, and no two exchanged, would make it more even. */
static void check_even(world *w) {
    double now = unevenness(w);
    for (int a = 0; a < w->tasks; a++) {
        int from = w->holder[a];
        if (w->weight[a] < 0 || from < 0)
            continue;
        for (int m = 0; m < w->members; m++) {
            if (share(w, m) == 0)
                continue;
            w->holder[a] = m;
            assert_true(unevenness(w) > now - 1e-6);
        }
        w->holder[a] = from;
        for (int b = 0; b < a; b++) {
            if (w->weight[b] < 0)
                continue;
            int other = w->holder[b];
            w->holder[a] = other;
            w->holder[b] = from;
            assert_true(unevenness(w) > now - 1e-6);
            w->holder[a] = from;
            w->holder[b] = other;
        }
    }
}

static void settle(world *w, size_t max) {
    int rounds = 0;
    while (apply(w, max) > 0)
        assert_true(++rounds < 200);
    check_right(w);
    check_even(w);
}

static void churn(world *w, unsigned *seed, bool weights, bool capacities) {
    for (int n = 1 + (int)(next_random(seed) % 4); n > 0; n--) {
        int i = (int)(next_random(seed) % TASKS), m = (int)(next_random(seed) % MEMBERS);
        switch (next_random(seed) % 6) {
        case 0:
            set_member(w, m, -1);
            break;
        case 1:
        case 2:
            set_member(w, m, capacities ? next_random(seed) % 5 : 1);
            break;
        case 3:
            set_task(w, i, -1);
            break;
        case 4:
            set_task(w, i, weights ? 1 + next_random(seed) % 9 : 1);
            break;
        default: /* somebody else's hand: any member, a dead one, an unreadable value, nothing */
            set_holder(w, i, (int)(next_random(seed) % (MEMBERS + 2)) - 2);
        }
    }
}

static void run_churn(bool weights, bool capacities, size_t max) {
    for (unsigned start = 1; start <= 40; start++) {
        unsigned seed = start;
        world w = new_world();
        for (int i = 0; i < TASKS; i += 2)
            set_task(&w, i, weights ? 1 + next_random(&seed) % 9 : 1);
        for (int round = 0; round < 60; round++) {
            churn(&w, &seed, weights, capacities);
            settle(&w, max);
        }
        assign_plan_free(w.plan);
    }
}

static void test_whatever_changes_it_becomes_right_and_even(void **state) {
    (void)state;
    run_churn(false, false, 1000);
    run_churn(true, false, 1000);
    run_churn(false, true, 1000);
    run_churn(true, true, 1000);
}

static void test_a_few_changes_at_a_time_lead_there_too(void **state) {
    (void)state;
    run_churn(true, true, 1);
    run_churn(true, true, 7);
}

/* With equal weights and capacities the fewest moves are known: what is over the even share, no more. */
static void test_equal_tasks_move_as_little_as_possible(void **state) {
    (void)state;
    for (unsigned start = 1; start <= 400; start++) {
        unsigned seed = start;
        world w = new_world();
        int members = 2 + (int)(next_random(&seed) % (MEMBERS - 1)), tasks = (int)(next_random(&seed) % TASKS);
        int count[MEMBERS] = {0};
        for (int i = 0; i < members; i++)
            set_member(&w, i, 1);
        for (int i = 0; i < tasks; i++) {
            int m = (int)(next_random(&seed) % (unsigned)members);
            set_task(&w, i, 1);
            set_holder(&w, i, m);
            count[m]++;
        }
        /* The members with the most keep one more than the others, as far as the division leaves a rest. */
        size_t needed = 0;
        int rest = tasks % members, over = 0;
        for (int i = 0; i < members; i++) {
            over += count[i] > tasks / members;
            needed += count[i] > tasks / members ? (size_t)(count[i] - tasks / members) : 0;
        }
        needed -= (size_t)(over < rest ? over : rest);
        assert_int_equal(apply(&w, 1000), needed);
        assert_int_equal(apply(&w, 1000), 0);
        assign_plan_free(w.plan);
    }
}

static void test_a_member_that_leaves_moves_only_its_own_tasks(void **state) {
    (void)state;
    world w = new_world();
    for (int i = 0; i < 4; i++)
        set_member(&w, i, 1);
    for (int i = 0; i < 12; i++)
        set_task(&w, i, 1);
    assert_int_equal(apply(&w, 1000), 12);
    set_member(&w, 2, -1);
    assert_int_equal(apply(&w, 1000), 3);
    set_member(&w, 2, 1);
    assert_int_equal(apply(&w, 1000), 3);
    settle(&w, 1000);
    assign_plan_free(w.plan);
}

static void test_capacity_is_a_share_and_zero_drains(void **state) {
    (void)state;
    world w = new_world();
    set_member(&w, 0, 3);
    set_member(&w, 1, 1);
    for (int i = 0; i < 12; i++)
        set_task(&w, i, 1);
    settle(&w, 1000);
    assert_int_equal(load(&w, 0), 9);
    assert_int_equal(load(&w, 1), 3);
    set_member(&w, 0, 0);
    assert_int_equal(apply(&w, 1000), 9);
    assert_int_equal(load(&w, 1), 12);
    set_member(&w, 1, 0); /* all are drained: better so than nobody */
    settle(&w, 1000);
    assert_int_equal(load(&w, 0), 6);
    assign_plan_free(w.plan);
}

static void test_an_exchange_evens_what_no_move_can(void **state) {
    (void)state;
    world w = new_world();
    set_member(&w, 0, 1);
    set_member(&w, 1, 1);
    static const int weights[] = {3, 3, 2, 2};
    for (int i = 0; i < 4; i++) {
        set_task(&w, i, weights[i]);
        set_holder(&w, i, i / 2);
    }
    assert_int_equal(apply(&w, 1000), 2);
    assert_int_equal(load(&w, 0), 5);
    assert_int_equal(load(&w, 1), 5);
    assign_plan_free(w.plan);
}

/* Several daemons on one prefix must plan the same thing, however each came to know what it knows. */
static void test_the_plan_depends_on_the_state_alone(void **state) {
    (void)state;
    for (unsigned start = 1; start <= 100; start++) {
        unsigned seed = start;
        world a = new_world();
        for (int round = 0; round < 30; round++)
            churn(&a, &seed, true, true);
        world b = new_world();
        for (int i = TASKS - 1; i >= 0; i--) {
            set_holder(&b, i, a.holder[i]);
            set_task(&b, i, a.weight[i]);
        }
        for (int i = MEMBERS - 1; i >= 0; i--)
            set_member(&b, i, a.capacity[i]);
        assert_int_equal(apply(&a, 9), apply(&b, 9));
        assert_memory_equal(a.holder, b.holder, sizeof a.holder);
        assert_int_equal(assign_plan_tasks(a.plan), assign_plan_tasks(b.plan));
        assert_int_equal(assign_plan_members(a.plan), assign_plan_members(b.plan));
        assign_plan_free(a.plan);
        assign_plan_free(b.plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_changes_it_becomes_right_and_even),
        cmocka_unit_test(test_a_few_changes_at_a_time_lead_there_too),
        cmocka_unit_test(test_equal_tasks_move_as_little_as_possible),
        cmocka_unit_test(test_a_member_that_leaves_moves_only_its_own_tasks),
        cmocka_unit_test(test_capacity_is_a_share_and_zero_drains),
        cmocka_unit_test(test_an_exchange_evens_what_no_move_can),
        cmocka_unit_test(test_the_plan_depends_on_the_state_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
