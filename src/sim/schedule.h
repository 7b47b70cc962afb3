/* The scheduler: tasks with their time in simulated milliseconds. Tasks of the same millisecond run in a random order.
 */
#ifndef SIM_SCHEDULE_H
#define SIM_SCHEDULE_H

#include "sim/random.h"

#include <stddef.h>

typedef void (*sim_task_fn)(void *arg);

typedef struct sim_task {
    int64_t at_ms;
    uint64_t order; /* sampled; the order within a millisecond */
    sim_task_fn fn;
    void *arg;
    const void *owner; /* for sim_schedule_drop */
} sim_task;

typedef struct sim_schedule {
    int64_t now_ms;
    sim_random *random;
    sim_task *heap; /* a binary heap */
    size_t count, capacity;
} sim_schedule;

void sim_schedule_fini(sim_schedule *s);
void sim_schedule_add(sim_schedule *s, int64_t at_ms, sim_task_fn fn, void *arg, const void *owner);

/* Removes the tasks of `owner`. */
void sim_schedule_drop(sim_schedule *s, const void *owner);

/* Runs the next task if it is due by `until_ms`. Otherwise sets the clock to `until_ms` and returns false. */
bool sim_schedule_step(sim_schedule *s, int64_t until_ms);

#endif
