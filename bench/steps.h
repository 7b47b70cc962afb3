/* Where the time of a tick goes, step by step, from one tick of a worker to the next.
 *
 * Each step ends with something that the reactor's own functions see, or that passes through etcd/etcd.h or the
 * reactor's mailbox: the linker puts this file's functions in between (--wrap), so that nothing of the worker is
 * changed for it. A step is the time from the end of the one before to its own, so that they add up to the whole. What
 * has ended before the step in front of it has, as the watch often has, counts as nothing. Of one worker in the
 * process; off until steps_begin. */
#ifndef BENCH_STEPS_H
#define BENCH_STEPS_H

#include <jansson.h>

#include <stdint.h>

/* In the order in which they follow each other. */
typedef enum step {
    STEP_TICK,     /* the reactor's tick */
    STEP_EVALUATE, /* until the group's function has answered */
    STEP_HOP_OUT,  /* to the committer: until it starts the transaction */
    STEP_COMMIT,   /* until etcd's answer is there */
    STEP_WATCH,    /* until the event is there, too */
    STEP_HOP_IN,   /* to the reactor: until it takes the message */
    STEP_UPDATE,   /* until it ticks: the mirror, and the reactor's update if it has one */
    STEPS,
} step;

/* The name of a step's mean in a result, "step_tick_us"; for people, and for a narrow column. */
const char *step_field(step s);
const char *step_title(step s);
const char *step_short(step s);

void steps_begin(void);          /* before the worker is created */
void steps_ended(step s);        /* the last time in a tick counts */
void steps_tick(int64_t now_ns); /* a tick begins, and with it the one before is complete */

/* Adds the means over all ticks that are complete, of the steps that there were. */
void steps_report(json_t *result);

#endif
