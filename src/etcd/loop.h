/* A loop: one thread that sleeps in a completion queue and looks after any number of tasks. All that a client's workers
 * and sessions have to wait for is waited for by a few loops, so that threads do not grow with the number of either,
 * and one wake-up serves all whose answers are there. */
#ifndef ETCD_LOOP_H
#define ETCD_LOOP_H

#include "etcd/etcd.h"

#include <stdatomic.h>

/* One loop of each kind a client: none of them may keep another from what it is for. */
typedef enum etcd_loop_kind {
    ETCD_LOOP_WATCH,  /* watchers, and the answers to committers */
    ETCD_LOOP_COMMIT, /* committers' clocks */
    ETCD_LOOP_KEEP,   /* sessions: nothing that takes long may run here */
} etcd_loop_kind;

typedef struct etcd_loop etcd_loop;

#define ETCD_TASK_OVER INT64_MIN

/* What a loop looks after: a member of whatever that is. The owner sets the first two, the rest is the loop's. */
typedef struct etcd_task {
    /* Looks at what has changed; answers when to look again at the latest (INT64_MAX: when woken), or ETCD_TASK_OVER,
     * and then it is not called again. On the loop's thread, first soon after etcd_task_start. */
    int64_t (*round)(struct etcd_task *t, int64_t now_ms);
    etcd_loop *loop; /* that was taken for it */
    struct etcd_task *next;
    int64_t deadline_ms;
    atomic_bool due;
    bool over; /* under the loop's lock */
} etcd_task;

/* The client's loop of that kind, to be given back: made by who takes it first, ended by who gives it back last, which
 * must not be its own thread. EW_ERR_NO_MEMORY, or EW_ERR_SYSTEM if there can be no thread; then `*out` is NULL. */
int etcd_loop_take(etcd_loop **out, ew_client *client, etcd_loop_kind kind);
void etcd_loop_give(etcd_loop *l);

/* Where a task's calls and streams complete: their callbacks run on the loop's thread, and what they change is looked
 * at after an etcd_task_due. */
etcd_queue *etcd_loop_queue(const etcd_loop *l);
bool etcd_loop_is_here(const etcd_loop *l); /* whether the caller runs on its thread */

/* When its thread last came round, on the clock of etcd_now_ms; any thread. It comes round every ETCD_LOOP_TURN_MS at
 * least, so one that has not for much longer hangs. */
enum { ETCD_LOOP_TURN_MS = 5000 };
int64_t etcd_loop_turned_ms(const etcd_loop *l);

/* Begins to look after a task, which stays where it is until it has been waited for. */
void etcd_task_start(etcd_task *t);

/* Asks for a round: from any thread, while the loop is taken, also before the start; and from a callback on the loop's
 * own thread. */
void etcd_task_wake(etcd_task *t);
void etcd_task_due(etcd_task *t);

/* Waits until the task is over. Not on the loop's thread. */
void etcd_task_wait(etcd_task *t);

#endif
