/* What the plan knows: members, tasks, and which task lies where. Shared by the two files of the algorithm. */
#ifndef SERVICE_ASSIGN_MODEL_H
#define SERVICE_ASSIGN_MODEL_H

#include "service/assign_plan.h"

#include <bsd/sys/tree.h>

typedef struct task task;
typedef struct member member;

/* Tasks by weight, the heaviest first, then by id; and what they weigh together. */
RB_HEAD(assign_weights, task);
typedef struct heap {
    struct assign_weights tree;
    int64_t load;
    member *owner; /* NULL: nobody's */
} heap;

struct task {
    RB_ENTRY(task) by_id;
    RB_ENTRY(task) by_weight; /* in `in` */
    heap *in;
    int64_t weight;
    bool exists;   /* tasks/<id> is there */
    bool assigned; /* assignments/<id> is there */
    bool moved;    /* in this plan */
    member *named; /* by the assignment; NULL if there is none */
    size_t id_len;
    char id[];
};

struct member {
    RB_ENTRY(member) by_id;
    heap tasks; /* those that exist and name this member; while planning, those that shall */
    bool live;
    int64_t capacity;
    int64_t share; /* while planning: the capacity that counts; 0: gets nothing */
    size_t named;  /* assignments that name it: a member is remembered while there are any */
    size_t id_len;
    char id[];
};

RB_HEAD(assign_tasks, task);
RB_HEAD(assign_members, member);

struct assign_plan {
    struct assign_tasks tasks;
    struct assign_members members;
    heap homeless; /* tasks whose assignment is missing */
    heap strays;   /* assignments whose task is missing */
    size_t live_count, task_count;

    /* The plan that was made last. */
    assign_change *changes;
    size_t change_capacity;
    task **moved;
    size_t moved_count, moved_capacity;
    member **seats; /* who gets tasks, by share, then by id */
    size_t seat_count, seat_capacity;
};

RB_PROTOTYPE(assign_weights, task, by_weight, task_by_weight)
RB_PROTOTYPE(assign_tasks, task, by_id, task_by_id)
RB_PROTOTYPE(assign_members, member, by_id, member_by_id)

/* Moves a task into another heap. */
void assign_model_lay(task *t, heap *h);

/* Where a task lies when nothing is planned. */
heap *assign_model_home(assign_plan *p, const task *t);

#endif
