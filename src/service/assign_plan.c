#include "service/assign_model.h"

#include "core/slice.h"

#include <stdlib.h>

typedef assign_wide wide;

static int by_share(const void *a, const void *b) {
    const member *m = *(member *const *)a, *n = *(member *const *)b;
    if (m->share != n->share)
        return m->share < n->share ? -1 : 1;
    return slice_compare((ew_slice){m->id, m->id_len}, (ew_slice){n->id, n->id_len});
}

/* An absent member that assignments name is awaited for the grace time. The time counts from the first plan that finds
 * the member absent: how long it had been absent before this process started is unknown. */
static void await_members(assign_plan *p, int64_t now_ms) {
    member *m;
    p->due_ms = INT64_MAX;
    RB_FOREACH(m, assign_members, &p->members) {
        if (!m->live && !m->missed) {
            m->missed = true;
            m->missed_at_ms = now_ms;
        }
        m->awaited = !m->live && m->id_len > 0 && now_ms - m->missed_at_ms < p->rules.grace_ms;
        if (m->awaited && m->missed_at_ms + p->rules.grace_ms < p->due_ms)
            p->due_ms = m->missed_at_ms + p->rules.grace_ms;
    }
}

/* Selects the members that get tasks: the live members with a capacity; without one, all live members with equal
 * shares, because a task on a drained member is better than a task without a member. */
static void take_seats(assign_plan *p) {
    bool drained = true;
    member *m;
    RB_FOREACH(m, assign_members, &p->members) {
        drained = drained && !(m->live && m->capacity > 0);
    }
    p->seat_count = 0;
    RB_FOREACH(m, assign_members, &p->members) {
        m->share = !m->live ? 0 : drained ? 1 : m->capacity;
        if (m->share > 0)
            p->seats[p->seat_count++] = m;
    }
    qsort(p->seats, p->seat_count, sizeof *p->seats, by_share);
}

static int heaviest_first(const void *a, const void *b) {
    const task *s = *(task *const *)a, *t = *(task *const *)b;
    if (s->weight != t->weight)
        return s->weight > t->weight ? -1 : 1;
    return slice_compare((ew_slice){s->id, s->id_len}, (ew_slice){t->id, t->id_len});
}

/* Adds the `max` heaviest tasks of a heap to a list that holds the `max` heaviest of all. */
static size_t gather(heap *h, task **list, size_t count, size_t max) {
    size_t taken = 0;
    for (task *t = RB_MIN(assign_weights, &h->tree); t && taken < max; t = RB_NEXT(assign_weights, &h->tree, t))
        list[count + taken++] = t;
    count += taken;
    qsort(list, count, sizeof *list, heaviest_first);
    return count < max ? count : max;
}

/* Collects the tasks without a member, or with one that gets no tasks, the heaviest first. If no member gets tasks,
 * tasks without a member need no change. */
static size_t gather_waiting(assign_plan *p, task **list, size_t max) {
    size_t count = p->seat_count == 0 ? 0 : gather(&p->homeless, list, 0, max);
    member *m;
    RB_FOREACH(m, assign_members, &p->members) {
        if (m->share == 0 && !m->awaited && !RB_EMPTY(&m->tasks.tree))
            count = gather(&m->tasks, list, count, max);
    }
    return count;
}

/* Returns the seat where one more task costs least: the smallest (2L + w) / c. */
static member *best_seat(const assign_plan *p, int64_t w) {
    member *best = p->seats[0];
    for (size_t i = 1; i < p->seat_count; i++) {
        member *m = p->seats[i];
        if ((wide)(2 * m->tasks.load + w) * best->share < (wide)(2 * best->tasks.load + w) * m->share)
            best = m;
    }
    return best;
}

/* Deletes the assignments of tasks while no member lives. */
static void clear(assign_plan *p, task **list, size_t count) {
    for (size_t i = 0; i < count; i++)
        assign_model_move(p, list[i], &p->homeless);
}

static ew_slice id_of_member(const member *m) {
    return m ? (ew_slice){m->id, m->id_len} : (ew_slice){NULL, 0};
}

/* Makes the list of changes from the moved tasks, and moves the tasks back to the heaps of the recorded state. */
static size_t write_changes(assign_plan *p) {
    size_t count = 0;
    for (size_t i = 0; i < p->moved_count; i++) {
        task *t = p->moved[i];
        member *to = t->exists ? t->in->owner : NULL;
        if (to != t->named || t->wrong)
            p->changes[count++] =
                (assign_change){{t->id, t->id_len}, id_of_member(t->named), id_of_member(to), t->index};
        t->moved = false;
        assign_model_lay(t, assign_model_home(p, t));
    }
    p->moved_count = 0;
    return count;
}

static bool reserve(void **list, size_t *capacity, size_t wanted, size_t size) {
    if (*capacity >= wanted)
        return true;
    void *grown = realloc(*list, wanted * size);
    if (!grown)
        return false;
    *list = grown;
    *capacity = wanted;
    return true;
}

/* Plans what must change, then evens out loads. What must change: assignments without a task, tasks without a member,
 * index keys that disagree with the assignment. */
static void make_plan(assign_plan *p, task **waiting) {
    const size_t max = p->rules.max;
    for (task *t = RB_MIN(assign_weights, &p->strays.tree); t && p->moved_count < max;) {
        task *next = RB_NEXT(assign_weights, &p->strays.tree, t);
        assign_model_move(p, t, &p->strays);
        t = next;
    }
    take_seats(p);
    size_t count = gather_waiting(p, waiting, max - p->moved_count);
    if (p->seat_count == 0)
        clear(p, waiting, count);
    else
        for (size_t i = 0; i < count; i++)
            assign_model_move(p, waiting[i], &best_seat(p, waiting[i]->weight)->tasks);
    task *t;
    RB_FOREACH(t, assign_wrongs, &p->wrongs) {
        if (p->moved_count == max)
            break;
        assign_model_move(p, t, t->in);
    }
    assign_balance(p);
}

int assign_plan_changes(assign_plan *p, const assign_rules *rules, int64_t now_ms, const assign_change **out,
                        size_t *count) {
    size_t members = 0;
    member *m;
    RB_FOREACH(m, assign_members, &p->members) {
        members++;
    }
    p->rules = *rules;
    task **waiting = malloc(2 * rules->max * sizeof(task *));
    /* An exchange moves two tasks, so the last step may exceed the limit by one. */
    if (!waiting || !reserve((void **)&p->moved, &p->moved_capacity, rules->max + 1, sizeof *p->moved) ||
        !reserve((void **)&p->changes, &p->change_capacity, rules->max + 1, sizeof *p->changes) ||
        !reserve((void **)&p->seats, &p->seat_capacity, members + 1, sizeof *p->seats)) {
        free(waiting);
        return EW_ERR_NO_MEMORY;
    }
    await_members(p, now_ms);
    make_plan(p, waiting);
    free(waiting);
    *count = write_changes(p);
    *out = p->changes;
    return EW_OK;
}

int64_t assign_plan_due_ms(const assign_plan *p) {
    return p->due_ms;
}
