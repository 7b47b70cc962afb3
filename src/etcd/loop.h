/* A loop: one thread that sleeps in a completion queue and runs any number of tasks. All workers and sessions of a
 * client share a few loops. So the number of threads does not grow with them, and one wake-up serves all tasks whose
 * responses have arrived. */
#ifndef ETCD_LOOP_H
#define ETCD_LOOP_H

#include "etcd/etcd.h"

#include <stdatomic.h>

/* A client has one loop of each kind, so that work of one kind does not delay another. */
typedef enum etcd_loop_kind {
    ETCD_LOOP_WATCH,  /* watchers, and the responses to committers' calls */
    ETCD_LOOP_COMMIT, /* the timers of committers */
    ETCD_LOOP_KEEP,   /* leases and sessions: nothing slow may run here */
} etcd_loop_kind;

typedef struct etcd_loop etcd_loop;

#define ETCD_TASK_OVER INT64_MIN

/* A task of a loop, embedded in its owner's struct. The owner sets the first two fields; the others belong to the loop.
 */
typedef struct etcd_task {
    /* Does what is due. Returns when to call it again at the latest (INT64_MAX: when it is woken), or ETCD_TASK_OVER:
     * never again. Called on the loop's thread, for the first time soon after etcd_task_start. */
    int64_t (*round)(struct etcd_task *t, int64_t now_ms);
    etcd_loop *loop; /* from etcd_loop_take */
    struct etcd_task *next;
    int64_t deadline_ms;
    atomic_bool due;
    bool over; /* finished. Protected by the loop's lock */
} etcd_task;

/* etcd_loop_take takes the client's loop of that kind; the first call starts it. etcd_loop_give gives it back; the last
 * call stops it and must not run on its thread. Errors: EW_ERR_NO_MEMORY, or EW_ERR_SYSTEM if no thread can be started;
 * `*out` is NULL then. */
int etcd_loop_take(etcd_loop **out, ew_client *client, etcd_loop_kind kind);
void etcd_loop_give(etcd_loop *l);

/* Returns the queue in which a task's calls and streams complete. Their callbacks run on the loop's thread; a callback
 * calls etcd_task_due to have its task run. */
etcd_queue *etcd_loop_queue(const etcd_loop *l);
bool etcd_loop_is_here(const etcd_loop *l); /* whether the caller runs on its thread */

/* Returns when the loop's thread last began a turn, on etcd_now_ms. A turn begins every ETCD_LOOP_TURN_MS at least; if
 * the last one is much older, the thread hangs. Any thread. */
enum { ETCD_LOOP_TURN_MS = 5000 };
int64_t etcd_loop_turned_ms(const etcd_loop *l);

/* Adds a task to its loop. The task must not move, nor be freed, before etcd_task_wait returns. */
void etcd_task_start(etcd_task *t);

/* Make the loop call `round`. etcd_task_wake: from any thread, while the loop is taken, also before etcd_task_start.
 * etcd_task_due: from a callback on the loop's own thread. */
void etcd_task_wake(etcd_task *t);
void etcd_task_due(etcd_task *t);

/* Waits until the task has finished. Not on the loop's thread. */
void etcd_task_wait(etcd_task *t);

#endif
