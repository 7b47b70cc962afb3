#include "sim/schedule.h"

#include "sim/memory.h"

#include <stdlib.h>

static bool before(const sim_task *a, const sim_task *b) {
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

static void sift_up(sim_schedule *s, size_t i) {
    for (sim_task moving = s->heap[i]; i > 0 && before(&moving, &s->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        s->heap[i] = s->heap[(i - 1) / 2];
        s->heap[(i - 1) / 2] = moving;
    }
}

static void sift_down(sim_schedule *s, size_t i) {
    for (;;) {
        size_t first = i, left = 2 * i + 1;
        for (size_t child = left; child < left + 2 && child < s->count; child++)
            if (before(&s->heap[child], &s->heap[first]))
                first = child;
        if (first == i)
            return;
        sim_task t = s->heap[i];
        s->heap[i] = s->heap[first];
        s->heap[first] = t;
        i = first;
    }
}

void sim_schedule_fini(sim_schedule *s) {
    free(s->heap);
}

void sim_schedule_add(sim_schedule *s, int64_t at_ms, sim_task_fn fn, void *arg, const void *owner) {
    sim_reserve(s->heap, s->capacity, s->count + 1);
    if (at_ms < s->now_ms)
        at_ms = s->now_ms;
    s->heap[s->count] = (sim_task){at_ms, sim_next(s->random), fn, arg, owner};
    sift_up(s, s->count++);
}

void sim_schedule_drop(sim_schedule *s, const void *owner) {
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->heap[i].owner != owner)
            s->heap[kept++] = s->heap[i];
    if (kept == s->count)
        return; /* it is a heap again */
    s->count = kept;
    for (size_t i = kept / 2; i-- > 0;)
        sift_down(s, i);
}

bool sim_schedule_step(sim_schedule *s, int64_t until_ms) {
    if (s->count == 0 || s->heap[0].at_ms > until_ms) {
        s->now_ms = until_ms;
        return false;
    }
    sim_task next = s->heap[0];
    s->heap[0] = s->heap[--s->count];
    sift_down(s, 0);
    s->now_ms = next.at_ms;
    next.fn(next.arg);
    return true;
}
