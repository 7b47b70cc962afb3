/* Splits the time from one tick of a worker to the next into steps.
 *
 * Each step ends with something that the reactor's own functions see, with a call of the I/O of watcher or committer,
 * or with a message that leaves the reactor's mailbox (actors/observe.h). A step lasts from the end of the previous
 * step to its own end, so that the steps add up to the whole time. A step that ends before the previous one, as the
 * watch often does, counts as 0. For one worker in the process; off until steps_begin. */
#ifndef BENCH_STEPS_H
#define BENCH_STEPS_H

#include <jansson.h>

#include <stdint.h>

/* In the order of their ends. */
typedef enum step {
    STEP_TICK,     /* the reactor's tick */
    STEP_EVALUATE, /* until the group's function has returned */
    STEP_HOP_OUT,  /* to the committer: until it starts the transaction */
    STEP_COMMIT,   /* until etcd's answer has arrived */
    STEP_WATCH,    /* until the event has arrived as well */
    STEP_HOP_IN,   /* to the reactor: until it takes the message */
    STEP_UPDATE,   /* until the next tick: the cache, and the reactor's `update` if it has one */
    STEPS,
} step;

/* Return the name of the step's mean in a result, such as "step_tick_us"; a title; and a title for a narrow column. */
const char *step_field(step s);
const char *step_title(step s);
const char *step_short(step s);

void steps_begin(void);          /* before the worker is created */
void steps_ended(step s);        /* the last call in a tick counts */
void steps_tick(int64_t now_ns); /* a tick begins, which completes the previous one */

/* Adds the means over all complete ticks, for the steps that occurred. */
void steps_report(json_t *result);

#endif
