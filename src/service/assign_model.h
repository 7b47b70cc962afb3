/* The state of a plan: members, tasks, and the heap of each task. Shared by the source files of the algorithm. */
#ifndef SERVICE_ASSIGN_MODEL_H
#define SERVICE_ASSIGN_MODEL_H

#include "service/assign_index.h"
#include "service/assign_plan.h"

#include <bsd/sys/tree.h>

/* Makes products of loads, capacities and percents exact, and the same on every machine. */
__extension__ typedef __int128 assign_wide;

typedef struct task task;
typedef struct member member;

/* A set of tasks, by weight, the heaviest first, then by id; and their total weight. */
RB_HEAD(assign_weights, task);
typedef struct heap {
    struct assign_weights tree;
    int64_t load;
    member *owner; /* NULL: no member's */
} heap;

struct task {
    RB_ENTRY(task) by_id;
    RB_ENTRY(task) by_weight; /* in the heap `in` */
    RB_ENTRY(task) by_wrong;  /* in `wrongs`, if `wrong` */
    heap *in;                 /* NULL: only index keys exist, neither the task nor an assignment */
    assign_indexed *index;    /* the index keys that name the task */
    bool wrong;               /* `index` disagrees with the assignment */
    int64_t weight;
    bool exists;   /* tasks/<id> exists */
    bool assigned; /* assignments/<id> exists */
    bool moved;    /* in the plan that is being made */
    member *named; /* by the assignment; NULL: there is no assignment */
    size_t id_len;
    char id[];
};

struct member {
    RB_ENTRY(member) by_id;
    heap tasks; /* the existing tasks whose assignment names this member; while planning: those the plan gives it */
    bool live;
    bool missed;  /* absent since the plan at `missed_at_ms`, which was the first to find it so */
    bool awaited; /* absent and within its grace time: it keeps its tasks */
    int64_t missed_at_ms;
    int64_t capacity;
    int64_t share; /* while planning: the effective capacity; 0: the member gets no tasks */
    size_t named;  /* how many assignments name it; the record of an absent member is kept while there are any */
    size_t id_len;
    char id[];
};

RB_HEAD(assign_tasks, task);
RB_HEAD(assign_members, member);
RB_HEAD(assign_wrongs, task);

struct assign_plan {
    struct assign_tasks tasks;
    struct assign_members members;
    heap homeless; /* tasks without an assignment */
    heap strays;   /* assignments without a task */
    struct assign_wrongs wrongs;
    size_t live_count, task_count;

    /* The most recent plan. */
    assign_rules rules;
    int64_t due_ms;
    int64_t total_load, total_share; /* of the seats */
    assign_change *changes;
    size_t change_capacity;
    task **moved;
    size_t moved_count, moved_capacity;
    member **seats; /* the members that get tasks, by share, then by id */
    size_t seat_count, seat_capacity;
};

RB_PROTOTYPE(assign_weights, task, by_weight, task_by_weight)
RB_PROTOTYPE(assign_tasks, task, by_id, task_by_id)
RB_PROTOTYPE(assign_members, member, by_id, member_by_id)
RB_PROTOTYPE(assign_wrongs, task, by_wrong, task_by_id)

/* Moves a task to the heap `h`; NULL: to none. */
void assign_model_lay(task *t, heap *h);

/* Moves a task while planning: also adds it to `moved`, the tasks that may need a change. */
void assign_model_move(assign_plan *p, task *t, heap *h);

/* Moves tasks between seats until loads are even, no step gains anything, or a limit of the rules is reached. */
void assign_balance(assign_plan *p);

/* Returns the heap of a task as the recorded state has it, without a plan; NULL: none. */
heap *assign_model_home(assign_plan *p, const task *t);

#endif
