/* The scheduler: what is to happen when, in simulated milliseconds. Things of one millisecond happen in a drawn order.
 */
#ifndef SIM_SCHEDULE_H
#define SIM_SCHEDULE_H

#include "sim/random.h"

#include <stddef.h>

typedef void (*sim_task_fn)(void *arg);

typedef struct sim_task {
    int64_t at_ms;
    uint64_t order; /* drawn */
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

/* Forgets what `owner` has scheduled. */
void sim_schedule_drop(sim_schedule *s, const void *owner);

/* Does the next thing, if it is due by `until_ms`; otherwise moves the clock there and answers false. */
bool sim_schedule_step(sim_schedule *s, int64_t until_ms);

#endif
