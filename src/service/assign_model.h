/* What the plan knows: members, tasks, and which task lies where. Shared by the files of the algorithm. */
#ifndef SERVICE_ASSIGN_MODEL_H
#define SERVICE_ASSIGN_MODEL_H

#include "service/assign_index.h"
#include "service/assign_plan.h"

#include <bsd/sys/tree.h>

/* Products of loads, capacities and percents are exact, the same on every machine. */
__extension__ typedef __int128 assign_wide;

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
    RB_ENTRY(task) by_wrong;  /* if it is `wrong` */
    heap *in;                 /* NULL: neither the task nor an assignment of it is there, but index keys */
    assign_indexed *index;    /* the index keys that name it */
    bool wrong;               /* they are not what the assignment says */
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
    bool missed;  /* a plan found it absent, since */
    bool awaited; /* and its tasks stay with it for now */
    int64_t missed_at_ms;
    int64_t capacity;
    int64_t share; /* while planning: the capacity that counts; 0: gets nothing */
    size_t named;  /* assignments that name it: a member is remembered while there are any */
    size_t id_len;
    char id[];
};

RB_HEAD(assign_tasks, task);
RB_HEAD(assign_members, member);
RB_HEAD(assign_wrongs, task);

struct assign_plan {
    struct assign_tasks tasks;
    struct assign_members members;
    heap homeless; /* tasks whose assignment is missing */
    heap strays;   /* assignments whose task is missing */
    struct assign_wrongs wrongs;
    size_t live_count, task_count;

    /* The plan that was made last. */
    assign_rules rules;
    int64_t due_ms;
    int64_t total_load, total_share; /* of the seats */
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
RB_PROTOTYPE(assign_wrongs, task, by_wrong, task_by_id)

/* Moves a task into another heap. */
void assign_model_lay(task *t, heap *h);

/* The same while planning: the task is among those that may have to be changed. */
void assign_model_move(assign_plan *p, task *t, heap *h);

/* Moves tasks between seats until loads are even, or the rules end it. */
void assign_balance(assign_plan *p);

/* Where a task lies when nothing is planned. */
heap *assign_model_home(assign_plan *p, const task *t);

#endif
