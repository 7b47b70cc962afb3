/* Which member should hold which task: the algorithm of the reactor `assign`, without keys, JSON or etcd.
 *
 * The caller records members, tasks and assignments as they change, and asks for the changes that establish these
 * rules:
 *   - every task is assigned to one live member, or to none while no member lives;
 *   - an assignment without its task is deleted;
 *   - every assignment has one index key, that of the member it names, and there are no other index keys;
 *   - an absent member keeps its tasks for the grace time;
 *   - loads are even: each member's load is within `tolerance` percent of its fair share, as far as steps that move one
 *     task or exchange two can achieve it. The fair share is the total load * the member's capacity / the total
 *     capacity. With very many tasks, exchanges are tried only with the members of the highest and the lowest load.
 *     With a tolerance of 0, where L is the weight of a member's tasks and c its capacity, the sum of L*L/c is as small
 *     as such steps can make it: with equal weights and capacities, loads then differ by at most one task;
 *   - few tasks move. Those that must move, the heaviest first, go where one more task costs least. Beyond these, a
 *     step only takes from a member above the tolerance or gives to a member below it, each time the step that gains
 *     most. While no task weighs more than `tolerance` percent of the smallest fair share, a member that leaves moves
 *     its own tasks and hardly any other.
 *
 * The plan depends only on the current state and on which members are within their grace time, not on earlier states:
 * every process that sees the same state plans the same changes. Cost: O(log n) for each recorded change. A plan costs
 * members times changes, whatever the number of tasks; only if weights differ, it walks the tasks to find exchanges. */
#ifndef SERVICE_ASSIGN_PLAN_H
#define SERVICE_ASSIGN_PLAN_H

#include <etcdworker/error.h>

enum { ASSIGN_MAX_WEIGHT = 1000000, ASSIGN_MAX_CAPACITY = 1000000 };

typedef struct assign_plan assign_plan;

typedef struct assign_rules {
    size_t max;        /* the most changes in a plan, or one more after an exchange; at least 1 */
    int64_t tolerance; /* percent, 0 to 100 */
    size_t budget;     /* how many tasks one plan may move only to even out loads */
    int64_t grace_ms;  /* 0: no grace time */
} assign_rules;

assign_plan *assign_plan_new(void); /* NULL when out of memory */
void assign_plan_free(assign_plan *p);

/* Record what exists now. Ids are copied. Each returns EW_OK, or EW_ERR_NO_MEMORY with nothing changed.
 * `capacity` is 0 to ASSIGN_MAX_CAPACITY, the member's share of the load; a member with 0 gets no tasks while another
 * member has a capacity. `weight` is 1 to ASSIGN_MAX_WEIGHT. An assignment that cannot be parsed names the member "",
 * which never lives. */
int assign_plan_put_member(assign_plan *p, ew_slice id, int64_t capacity);
int assign_plan_put_task(assign_plan *p, ew_slice id, int64_t weight);
int assign_plan_put_assignment(assign_plan *p, ew_slice task, ew_slice member);
/* An index key: `member_key` is the encoded id of the member (assign_index.h). */
int assign_plan_put_index(assign_plan *p, ew_slice member_key, ew_slice task);
void assign_plan_delete_index(assign_plan *p, ew_slice member_key, ew_slice task);
void assign_plan_delete_member(assign_plan *p, ew_slice id);
void assign_plan_delete_task(assign_plan *p, ew_slice id);
void assign_plan_delete_assignment(assign_plan *p, ew_slice task);

/* The index keys of one task: a list. */
typedef struct assign_indexed {
    struct assign_indexed *next;
    size_t len;
    char member[]; /* encoded, as in the key */
} assign_indexed;

/* An assignment to write or delete, or one whose index keys must be repaired: then `from` and `to` are the same. */
typedef struct assign_change {
    ew_slice task;
    ew_slice from;               /* the member that the assignment names now; data NULL: there is no assignment */
    ew_slice to;                 /* data NULL: delete the assignment */
    const assign_indexed *index; /* the task's index keys now: delete all but that of `to` */
} assign_change;

/* Returns the changes to make, the most urgent first. More may remain if the list has `rules->max` changes, or
 * `rules->budget` is used up. The plan owns `*out` and what it points to; both are valid until the next record or call.
 * The recorded state does not change: the caller records each change once it is committed. EW_OK or
 * EW_ERR_NO_MEMORY. */
int assign_plan_changes(assign_plan *p, const assign_rules *rules, int64_t now_ms, const assign_change **out,
                        size_t *count);

/* Returns when the plan must be made again, on the clock of `now_ms`, even if nothing has changed, because a grace time
 * ends; INT64_MAX: never. */
int64_t assign_plan_due_ms(const assign_plan *p);

/* Return how many live members and how many tasks there are, for log records and tests. */
size_t assign_plan_members(const assign_plan *p);
size_t assign_plan_tasks(const assign_plan *p);

#endif
