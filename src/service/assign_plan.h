/* Who should hold which task: the algorithm of the reactor `assign`, without keys, JSON or etcd.
 *
 * It is told what there is (members, tasks, assignments) as it changes, and asked for the changes that would make it
 * right:
 *   - every task is held by one live member while there is any, and by none otherwise;
 *   - an assignment whose task is gone goes;
 *   - every assignment has one index key, of the member that it names, and there are no others;
 *   - the tasks of a member that has gone stay with it for a time of grace;
 *   - loads are even: each member's is within `tolerance` percent of its fair share, the part of all loads that its
 *     capacity is of all capacities, as far as moving one task, or exchanging two, can bring it there (of very many
 *     tasks, exchanges are looked for only with the members that have the most and the least). With a tolerance of 0,
 *     and L the weight of a member's tasks and c its capacity, the sum of L*L/c is as small as such steps can make it:
 *     with equal weights and capacities that is a difference of at most one task;
 *   - few tasks move: those that must, the heaviest first, go where one more costs least; beyond them only what takes
 *     from a member that is over the tolerance, or gives to one that is under it, each time the step that gains most.
 *     While no task weighs more than `tolerance` percent of the smallest fair share, a member that leaves costs its own
 *     tasks and hardly any other.
 *
 * What it answers depends on what there is alone, and on who is awaited, not on how it came to be: every process that
 * sees the same state plans the same changes. Cost: each thing told, O(log n). A plan: members times changes, not the
 * number of tasks; only when weights differ, the tasks are walked to find exchanges. */
#ifndef SERVICE_ASSIGN_PLAN_H
#define SERVICE_ASSIGN_PLAN_H

#include <etcdworker/error.h>

enum { ASSIGN_MAX_WEIGHT = 1000000, ASSIGN_MAX_CAPACITY = 1000000 };

typedef struct assign_plan assign_plan;

typedef struct assign_rules {
    size_t max;        /* changes in a plan, about; at least 1 */
    int64_t tolerance; /* percent, 0 to 100 */
    size_t budget;     /* how many tasks may move in a plan only to even loads out */
    int64_t grace_ms;  /* 0: none */
} assign_rules;

assign_plan *assign_plan_new(void); /* NULL when out of memory */
void assign_plan_free(assign_plan *p);

/* What there is now. Ids are copied. Each answers EW_OK or EW_ERR_NO_MEMORY, and then nothing changed.
 * `capacity` is 0 to ASSIGN_MAX_CAPACITY: a share of the load; 0 takes none while others can. `weight` is 1 to
 * ASSIGN_MAX_WEIGHT. An assignment that nobody can read names the member "", which never lives. */
int assign_plan_put_member(assign_plan *p, ew_slice id, int64_t capacity);
int assign_plan_put_task(assign_plan *p, ew_slice id, int64_t weight);
int assign_plan_put_assignment(assign_plan *p, ew_slice task, ew_slice member);
/* An index key: `member_key` is the member as the key spells it (assign_index.h). */
int assign_plan_put_index(assign_plan *p, ew_slice member_key, ew_slice task);
void assign_plan_delete_index(assign_plan *p, ew_slice member_key, ew_slice task);
void assign_plan_delete_member(assign_plan *p, ew_slice id);
void assign_plan_delete_task(assign_plan *p, ew_slice id);
void assign_plan_delete_assignment(assign_plan *p, ew_slice task);

/* The index keys of one task: a list. */
typedef struct assign_indexed {
    struct assign_indexed *next;
    size_t len;
    char member[]; /* as the key spells it */
} assign_indexed;

/* One assignment to be written or deleted, or whose index keys are to be mended: then `from` and `to` are the same. */
typedef struct assign_change {
    ew_slice task;
    ew_slice from;               /* whom the assignment names now; data NULL: there is no assignment */
    ew_slice to;                 /* data NULL: delete it */
    const assign_indexed *index; /* its index keys now: all but that of `to` must go */
} assign_change;

/* What to change, the most urgent first: more may be left when `rules->max` are answered, or `rules->budget` has been
 * used up. `*out` and what it points at are the plan's, until it gets an event or is asked again. The plan itself does
 * not change: it waits to be told what became of it. EW_OK or EW_ERR_NO_MEMORY. */
int assign_plan_changes(assign_plan *p, const assign_rules *rules, int64_t now_ms, const assign_change **out,
                        size_t *count);

/* When the last plan must be made again although nothing has changed, because a time of grace ends; INT64_MAX: never.
 */
int64_t assign_plan_due_ms(const assign_plan *p);

/* What the plan knows, for pages and tests: how many live members and tasks there are. */
size_t assign_plan_members(const assign_plan *p);
size_t assign_plan_tasks(const assign_plan *p);

#endif
