/* Who should hold which task: the algorithm of the reactor `assign`, without keys, JSON or etcd.
 *
 * It is told what there is (members, tasks, assignments) as it changes, and asked for the changes that would make it
 * right:
 *   - every task is held by one live member while there is any, and by none otherwise;
 *   - an assignment whose task is gone goes;
 *   - loads are even: with L the weight of a member's tasks and c its capacity, the sum of L*L/c is as small as moving
 *     one task, or exchanging two, can make it (of very many tasks, exchanges are looked for only with the members
 *     that have the most and the least). With equal weights and capacities that is a difference of at most one
 *     task; with equal weights it is the best there is;
 *   - nothing is moved that need not be: each step is the one that gains most. With equal weights this is the fewest
 *     moves that lead to the best there is.
 *
 * What it answers depends on what there is alone, not on how it came to be: every process that sees the same state
 * plans the same changes. Cost: each thing told, O(log n). A plan: members times changes, not the number of tasks;
 * only when weights differ, the tasks are walked to find exchanges. */
#ifndef SERVICE_ASSIGN_PLAN_H
#define SERVICE_ASSIGN_PLAN_H

#include <etcdworker/error.h>

enum { ASSIGN_MAX_WEIGHT = 1000000, ASSIGN_MAX_CAPACITY = 1000000 };

typedef struct assign_plan assign_plan;

assign_plan *assign_plan_new(void); /* NULL when out of memory */
void assign_plan_free(assign_plan *p);

/* What there is now. Ids are copied. Each answers EW_OK or EW_ERR_NO_MEMORY, and then nothing changed.
 * `capacity` is 0 to ASSIGN_MAX_CAPACITY: a share of the load; 0 takes none while others can. `weight` is 1 to
 * ASSIGN_MAX_WEIGHT. An assignment that nobody can read names the member "", which never lives. */
int assign_plan_put_member(assign_plan *p, ew_slice id, int64_t capacity);
int assign_plan_put_task(assign_plan *p, ew_slice id, int64_t weight);
int assign_plan_put_assignment(assign_plan *p, ew_slice task, ew_slice member);
void assign_plan_delete_member(assign_plan *p, ew_slice id);
void assign_plan_delete_task(assign_plan *p, ew_slice id);
void assign_plan_delete_assignment(assign_plan *p, ew_slice task);

/* One assignment to be written or deleted. */
typedef struct assign_change {
    ew_slice task;
    ew_slice from; /* whom the assignment names now; data NULL: there is no assignment */
    ew_slice to;   /* data NULL: delete it */
} assign_change;

/* What to change, the most urgent first, about `max` (at least 1) at a time: more may be left when as many are
 * answered. `*out` and the ids in it are the plan's, until it is told something or asked again. The plan itself does
 * not change: it waits to be told what became of it. EW_OK or EW_ERR_NO_MEMORY. */
int assign_plan_changes(assign_plan *p, size_t max, const assign_change **out, size_t *count);

/* What the plan knows, for pages and tests: how many live members and tasks there are. */
size_t assign_plan_members(const assign_plan *p);
size_t assign_plan_tasks(const assign_plan *p);

#endif
