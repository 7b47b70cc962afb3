/* The algorithm of the reactor `assign`: every task has one live member, loads are even, few tasks move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "service/assign_args.h"
#include "service/assign_index.h"
#include "service/assign_plan.h"

enum { MEMBERS = 6, TASKS = 40 };

/* A fixture: members m0.., tasks t0.., and a plan that knows them. -1: absent; -2 (a holder): an unreadable
 * assignment. */
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
    if (w->holder[i] >= 0)
        assign_plan_delete_index(w->plan, id(0, w->holder[i]), id(1, i));
    if (member >= 0)
        assert_int_equal(assign_plan_put_index(w->plan, id(0, member), id(1, i)), EW_OK);
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

/* Applies one round of changes, after checking that each changes something. Returns their number. */
static size_t apply(world *w, size_t max) {
    const assign_change *list;
    size_t count;
    const assign_rules rules = {.max = max, .budget = max};
    assert_int_equal(assign_plan_changes(w->plan, &rules, 0, &list, &count), EW_OK);
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

/* Returns the capacity in use: 0 for a drained member, unless all are drained. */
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

/* Checks that every task has one live member if there is any, and that assignments without a task are deleted. */
static void check_right(const world *w) {
    for (int i = 0; i < w->tasks; i++) {
        if (w->weight[i] < 0 || !anybody(w, false))
            assert_int_equal(w->holder[i], -1);
        else
            assert_true(w->holder[i] >= 0 && share(w, w->holder[i]) > 0);
    }
}

/* Checks that no move of a task, and no exchange of two, would make the loads more even. */
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
        default: /* an external write: any member, an absent one, an unreadable value, or a deletion */
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

static void test_plans_are_valid_and_even_after_any_change(void **state) {
    (void)state;
    run_churn(false, false, 1000);
    run_churn(true, false, 1000);
    run_churn(false, true, 1000);
    run_churn(true, true, 1000);
}

static void test_small_plans_have_the_same_end(void **state) {
    (void)state;
    run_churn(true, true, 1);
    run_churn(true, true, 7);
}

/* With equal weights and capacities the minimum of moves is known: the tasks above the even share. */
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
        /* If the division has a remainder, the members with the most tasks keep one more than the others. */
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

static void test_load_follows_capacity_and_zero_drains(void **state) {
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
    set_member(&w, 1, 0); /* if all are drained, all take tasks */
    settle(&w, 1000);
    assert_int_equal(load(&w, 0), 6);
    assign_plan_free(w.plan);
}

static void test_an_exchange_where_no_move_helps(void **state) {
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

/* Several daemons on one prefix must make the same plan, in whatever order each got its events. */
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

/* ---- many members: how many tasks move when a member leaves, with the tolerance ---- */

enum { CROWD_MEMBERS = 1000, CROWD_TASKS = 10000 };

typedef struct crowd {
    assign_plan *plan;
    assign_rules rules;
    int64_t now_ms;
    int members, tasks;
    int64_t capacity[CROWD_MEMBERS]; /* -1: absent */
    int64_t weight[CROWD_TASKS], load[CROWD_MEMBERS];
    int holder[CROWD_TASKS]; /* -1: no member */
    int held[CROWD_MEMBERS];
} crowd;

static crowd c;

static ew_slice crowd_id(char *out, char kind, int i) {
    snprintf(out, 12, "%c%d", kind, i);
    return ew_str(out);
}

static void crowd_member(int i, int64_t capacity) {
    char name[12];
    c.capacity[i] = capacity;
    if (capacity < 0)
        assign_plan_delete_member(c.plan, crowd_id(name, 'm', i));
    else
        assert_int_equal(assign_plan_put_member(c.plan, crowd_id(name, 'm', i), capacity), EW_OK);
}

static void crowd_task(int i, int64_t weight) {
    char name[12];
    c.weight[i] = weight;
    c.holder[i] = -1;
    assert_int_equal(assign_plan_put_task(c.plan, crowd_id(name, 't', i), weight), EW_OK);
}

static void crowd_new(int members, int tasks) {
    assign_plan_free(c.plan);
    c = (crowd){.plan = assign_plan_new(), .rules = {.max = 1000, .tolerance = 20, .budget = 100}};
    assert_non_null(c.plan);
    c.members = members;
    c.tasks = tasks;
}

/* Writes what the reactor would write, and gives the plan the events of it. */
static void crowd_take(const assign_change *change) {
    char name[12], was[12], is[12];
    int i = atoi((const char *)change->task.data + 1), from = c.holder[i];
    int to = change->to.data ? atoi((const char *)change->to.data + 1) : -1;
    ew_slice task = crowd_id(name, 't', i);
    if (from >= 0) {
        c.load[from] -= c.weight[i];
        c.held[from]--;
        assign_plan_delete_index(c.plan, crowd_id(was, 'm', from), task);
        assign_plan_delete_assignment(c.plan, task);
    }
    c.holder[i] = to;
    if (to >= 0) {
        c.load[to] += c.weight[i];
        c.held[to]++;
        assert_int_equal(assign_plan_put_assignment(c.plan, task, crowd_id(is, 'm', to)), EW_OK);
        assert_int_equal(assign_plan_put_index(c.plan, crowd_id(is, 'm', to), task), EW_OK);
    }
}

/* A copy of a change: the plan's ids are valid only until the next call that changes the plan. */
typedef struct copied {
    char task[12], to[12];
    bool deletes;
} copied;

/* Makes plans until nothing is left to change. Returns how many tasks moved. */
static size_t crowd_settle(void) {
    static copied copies[1001];
    size_t moves = 0;
    for (int round = 0; round < 100; round++) {
        const assign_change *list;
        size_t count;
        assert_int_equal(assign_plan_changes(c.plan, &c.rules, c.now_ms, &list, &count), EW_OK);
        if (count == 0)
            return moves;
        for (size_t i = 0; i < count; i++) {
            copies[i].deletes = !list[i].to.data;
            snprintf(copies[i].task, sizeof copies[i].task, "%.*s", (int)list[i].task.len,
                     (const char *)list[i].task.data);
            snprintf(copies[i].to, sizeof copies[i].to, "%.*s", (int)list[i].to.len,
                     list[i].to.data ? (const char *)list[i].to.data : "");
        }
        for (size_t i = 0; i < count; i++)
            crowd_take(&(assign_change){.task = ew_str(copies[i].task),
                                        .to = copies[i].deletes ? (ew_slice){NULL, 0} : ew_str(copies[i].to)});
        moves += count;
    }
    fail_msg("the plan still has changes after 100 rounds");
    return moves;
}

/* Checks that each load is between `least` and `most` percent of the member's share. */
static void crowd_check_even(int least, int most) {
    int64_t loads = 0, capacities = 0;
    for (int i = 0; i < c.members; i++) {
        loads += c.capacity[i] > 0 ? c.load[i] : 0;
        capacities += c.capacity[i] > 0 ? c.capacity[i] : 0;
    }
    for (int i = 0; i < c.members; i++) {
        if (c.capacity[i] <= 0)
            continue;
        int64_t percent = 100 * c.load[i] * capacities / (loads * c.capacity[i]);
        if (percent < least || 100 * c.load[i] * capacities > most * loads * c.capacity[i])
            fail_msg("member %d has %lld%% of its share", i, (long long)percent);
    }
}

static void crowd_fill(unsigned *seed, int per_member, int64_t most_capacity) {
    for (int i = 0; i < c.members; i++)
        crowd_member(i, 1 + (int64_t)(next_random(seed) % (unsigned)most_capacity));
    for (int i = 0; i < c.members * per_member; i++)
        crowd_task(i, 1 + (int64_t)(next_random(seed) % 100));
    crowd_settle();
    crowd_check_even(80, 120);
}

/* A random member leaves. At most 1.5 times as many tasks move as it had, and no load is above 1.2 times its share. */
static void crowd_leave(unsigned *seed) {
    int gone;
    do {
        gone = (int)(next_random(seed) % (unsigned)c.members);
    } while (c.capacity[gone] < 0);
    size_t had = (size_t)c.held[gone];
    crowd_member(gone, -1);
    size_t moves = crowd_settle();
    if (2 * moves > 3 * had)
        fail_msg("%d members: one with %zu tasks left, %zu moved", c.members, had, moves);
    assert_int_equal(c.held[gone], 0);
    crowd_check_even(80, 120);
}

static void test_what_moves_when_a_member_leaves(void **state) {
    (void)state;
    for (unsigned start = 1; start <= 60; start++) {
        unsigned seed = start;
        int members = start <= 20 ? 100 : 20 + (int)(next_random(&seed) % 100);
        crowd_new(members, 0);
        crowd_fill(&seed, start % 2 ? 10 : 20, start <= 40 ? 1 : 3);
        for (int i = 0; i < members / 4; i++)
            crowd_leave(&seed);
    }
}

/* A member that joins gets tasks until it has its share less the tolerance, each in one move. */
static void test_what_moves_when_a_member_joins(void **state) {
    (void)state;
    for (unsigned start = 1; start <= 20; start++) {
        unsigned seed = start;
        crowd_new(50 + (int)(next_random(&seed) % 50), 0);
        crowd_fill(&seed, 10, 1);
        int joined = c.members++;
        crowd_member(joined, 1);
        size_t moves = crowd_settle();
        assert_int_equal(moves, c.held[joined]);
        assert_true(moves >= 3 && moves <= 10);
        crowd_check_even(80, 120);
    }
}

/* `budget` limits the moves of one plan that only make loads more even. */
static void test_budget_limits_one_plan(void **state) {
    (void)state;
    crowd_new(2, 0);
    crowd_member(0, 1);
    for (int i = 0; i < 40; i++)
        crowd_task(i, 1);
    assert_int_equal(crowd_settle(), 40);
    crowd_member(1, 1);
    c.rules.budget = 3;
    const assign_change *list;
    size_t count;
    assert_int_equal(assign_plan_changes(c.plan, &c.rules, 0, &list, &count), EW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(crowd_settle(), 16); /* 24 and 16: each within a fifth of 20 */
    c.rules.tolerance = 0;
    assert_int_equal(crowd_settle(), 4);
    c.rules.budget = 1;
    crowd_member(0, -1); /* moves that are necessary are not limited */
    assert_int_equal(assign_plan_changes(c.plan, &c.rules, 0, &list, &count), EW_OK);
    assert_int_equal(count, 20);
}

/* ---- the grace period ---- */

static void test_a_member_back_within_grace_keeps_its_tasks(void **state) {
    (void)state;
    unsigned seed = 5;
    crowd_new(20, 0);
    crowd_fill(&seed, 10, 1);
    c.rules.grace_ms = 5000;
    c.now_ms = 100000;
    int held = c.held[7];
    crowd_member(7, -1);
    assert_int_equal(crowd_settle(), 0);
    assert_int_equal(assign_plan_due_ms(c.plan), 105000);
    c.now_ms = 104999;
    crowd_task(c.tasks = 200, 1); /* a new task goes to a member that is present */
    assert_int_equal(crowd_settle(), 1);
    assert_int_not_equal(c.holder[200], 7);
    crowd_member(7, 1);
    assert_int_equal(crowd_settle(), 0);
    assert_int_equal(c.held[7], held);
    assert_true(assign_plan_due_ms(c.plan) == INT64_MAX);
    c.now_ms = 200000; /* it was present in between: the period starts again */
    crowd_member(7, -1);
    assert_int_equal(crowd_settle(), 0);
    assert_int_equal(assign_plan_due_ms(c.plan), 205000);
    c.now_ms = 205000;
    assert_int_equal(crowd_settle(), held);
    assert_int_equal(c.held[7], 0);
    crowd_check_even(80, 120);
}

static void test_grace_without_other_members(void **state) {
    (void)state;
    crowd_new(1, 0);
    crowd_member(0, 1);
    crowd_task(0, 1);
    assert_int_equal(crowd_settle(), 1);
    c.rules.grace_ms = 1000;
    crowd_member(0, -1);
    assert_int_equal(crowd_settle(), 0);
    c.now_ms = 1000;
    assert_int_equal(crowd_settle(), 1);
    assert_int_equal(c.holder[0], -1);
}

/* ---- the index ---- */

static size_t plan_now(const assign_change **list) {
    size_t count;
    assert_int_equal(assign_plan_changes(c.plan, &c.rules, c.now_ms, list, &count), EW_OK);
    return count;
}

/* Index keys that contradict the assignments are repaired. */
static void test_a_wrong_index_is_repaired(void **state) {
    (void)state;
    const assign_change *list;
    ew_slice t0 = EW_STR("t0"), m0 = EW_STR("m0"), m1 = EW_STR("m1");
    crowd_new(2, 0);
    crowd_member(0, 1);
    crowd_task(0, 1);
    assert_int_equal(crowd_settle(), 1);
    assert_int_equal(assign_plan_put_index(c.plan, m1, t0), EW_OK); /* one too many */
    assert_int_equal(plan_now(&list), 1);
    assert_true(list[0].to.data == list[0].from.data);
    assert_true(list[0].index && list[0].index->next);
    assign_plan_delete_index(c.plan, m1, t0);
    assert_int_equal(plan_now(&list), 0);
    assign_plan_delete_index(c.plan, m0, t0); /* the only one */
    assert_int_equal(plan_now(&list), 1);
    assert_null(list[0].index);
    assert_int_equal(assign_plan_put_index(c.plan, m1, t0), EW_OK); /* of another member */
    assert_int_equal(plan_now(&list), 1);
    assert_true(list[0].index && !list[0].index->next);
    assign_plan_delete_assignment(c.plan, t0); /* to be written again, and the old index key deleted */
    assert_int_equal(plan_now(&list), 1);
    assert_null(list[0].from.data);
    assert_non_null(list[0].to.data);
    assert_non_null(list[0].index);
    assign_plan_delete_task(c.plan, t0); /* an index key without a task */
    assert_int_equal(plan_now(&list), 1);
    assert_null(list[0].from.data);
    assert_null(list[0].to.data);
    assign_plan_delete_index(c.plan, m1, t0);
    assert_int_equal(plan_now(&list), 0);
    assign_plan_delete_index(c.plan, m1, t0); /* an absent key */
    assert_int_equal(plan_now(&list), 0);
    assert_int_equal(assign_plan_tasks(c.plan), 0);
}

static void test_member_ids_in_index_keys(void **state) {
    (void)state;
    static const char *const ids[][2] = {
        {"host-1", "host-1"}, {"a/b", "a%2Fb"}, {"100%", "100%25"}, {"/%2F", "%2F%252F"}};
    for (size_t i = 0; i < 4; i++) {
        char out[40];
        size_t len = assign_index_write(out, ew_str(ids[i][0]));
        assert_int_equal(len, strlen(ids[i][1]));
        assert_memory_equal(out, ids[i][1], len);
        assert_true(assign_index_is(ew_str(ids[i][1]), ew_str(ids[i][0])));
        assert_false(assign_index_is((ew_slice){ids[i][1], len - 1}, ew_str(ids[i][0])));
        assert_false(assign_index_is(ew_str("a%2Fb/"), ew_str(ids[i][0])));
    }
    assert_false(assign_index_is(EW_STR("a/b"), EW_STR("a/b")));
}

/* ---- the arguments ---- */

static void test_arguments(void **state) {
    (void)state;
    assign_args a;
    ew_error err = {0};
    assert_int_equal(assign_args_parse(&a, "", &err), EW_OK);
    assert_int_equal(a.tolerance, 20);
    assert_int_equal(a.budget, 100);
    assert_int_equal(a.grace_s, 0);
    assert_int_equal(assign_args_parse(&a, " grace=30, tolerance=0\tbudget=1000,", &err), EW_OK);
    assert_int_equal(a.tolerance, 0);
    assert_int_equal(a.budget, 1000);
    assert_int_equal(a.grace_s, 30);
    static const char *const wrong[][2] = {
        {"tolerance", "'tolerance': tolerance must be a whole number from 0 to 100"},
        {"tolerance=101", "from 0 to 100"},
        {"tolerance=-1", "from 0 to 100"},
        {"tolerance=20%", "'tolerance=20%'"},
        {"budget=0", "from 1 to 1000"},
        {"grace=", "from 0 to 86400"},
        {"grace=99999999999999999999", "from 0 to 86400"},
        {"grace=1 grace=1", "grace is given twice"},
        {"speed=1", "'speed=1' is unknown; expected tolerance=percent"},
        {"graces=1", "is unknown"},
        {"=1", "is unknown"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(assign_args_parse(&a, wrong[i][0], &err), EW_ERR_INVALID);
        if (!strstr(err.detail, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], err.detail);
    }
}

/* ---- many ---- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_ten_thousand_tasks(void **state) {
    (void)state;
    unsigned seed = 3;
    crowd_new(CROWD_MEMBERS, 0);
    double begin = seconds();
    crowd_fill(&seed, CROWD_TASKS / CROWD_MEMBERS, 1);
    double filled = seconds();
    for (int i = 0; i < 3; i++)
        crowd_leave(&seed);
    print_message("10,000 tasks on 1,000 members: first assignments %.3f s, a member leaves %.3f s\n", filled - begin,
                  (seconds() - filled) / 3);
}

static int free_crowd(void **state) {
    (void)state;
    assign_plan_free(c.plan);
    c.plan = NULL;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_are_valid_and_even_after_any_change),
        cmocka_unit_test(test_small_plans_have_the_same_end),
        cmocka_unit_test(test_equal_tasks_move_as_little_as_possible),
        cmocka_unit_test(test_a_member_that_leaves_moves_only_its_own_tasks),
        cmocka_unit_test(test_load_follows_capacity_and_zero_drains),
        cmocka_unit_test(test_an_exchange_where_no_move_helps),
        cmocka_unit_test(test_the_plan_depends_on_the_state_alone),
        cmocka_unit_test(test_what_moves_when_a_member_leaves),
        cmocka_unit_test(test_what_moves_when_a_member_joins),
        cmocka_unit_test(test_budget_limits_one_plan),
        cmocka_unit_test(test_a_member_back_within_grace_keeps_its_tasks),
        cmocka_unit_test(test_grace_without_other_members),
        cmocka_unit_test(test_a_wrong_index_is_repaired),
        cmocka_unit_test(test_member_ids_in_index_keys),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_ten_thousand_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, free_crowd);
}
