#include "service/assign_model.h"

#include <stdlib.h>

/* Products of two loads and two capacities: 10^12 * 10^6 * 10^6 * 10^12 at most, exact, the same on every machine. */
__extension__ typedef __int128 wide;

/* ---- what a step gains ---- */

/* How much the sum of L*L/c falls when weight `w` goes from `a` to `b`: w * (2D - wS) / (ca * cb), where
 * D = La*cb - Lb*ca and S = ca + cb. Kept as a fraction, to be compared exactly. */
typedef struct gain {
    wide over, under;
} gain;

static wide imbalance(const member *a, const member *b) {
    return (wide)a->tasks.load * b->share - (wide)b->tasks.load * a->share;
}

static gain gain_of(const member *a, const member *b, int64_t w) {
    wide sum = (wide)a->share + b->share;
    return (gain){w * (2 * imbalance(a, b) - w * sum), (wide)a->share * b->share};
}

static bool gain_more(gain a, gain b) {
    return a.over * b.under > b.over * a.under;
}

/* The best step found so far: `give` goes from `from` to `to`, and `take`, if any, the other way. */
typedef struct step {
    gain gain;
    member *from, *to;
    task *give, *take;
} step;

static void consider(step *best, member *from, member *to, task *give, task *take) {
    int64_t w = give->weight - (take ? take->weight : 0);
    if (w <= 0)
        return;
    gain g = gain_of(from, to, w);
    if (gain_more(g, best->gain))
        *best = (step){g, from, to, give, take};
}

/* The gain is a parabola in the weight, with its top at D/S: the best task is the one that weighs nearest to that. */
static int64_t ideal_weight(const member *a, const member *b) {
    return (int64_t)(imbalance(a, b) / ((wide)a->share + b->share));
}

/* The heaviest task of `h` that weighs at most `w`; NULL if all weigh more. `*above` is the one before it. */
static task *at_most(heap *h, int64_t w, task **above) {
    task *found = NULL;
    *above = NULL;
    for (task *t = RB_ROOT(&h->tree); t;) {
        if (t->weight <= w) {
            found = t;
            t = RB_LEFT(t, by_weight);
        } else {
            *above = t;
            t = RB_RIGHT(t, by_weight);
        }
    }
    return found;
}

static void consider_moves(step *best, member *from, member *to) {
    if (imbalance(from, to) <= 0)
        return;
    task *above, *below = at_most(&from->tasks, ideal_weight(from, to), &above);
    if (below)
        consider(best, from, to, below, NULL);
    if (above)
        consider(best, from, to, above, NULL);
}

/* Walks the tasks of both, the heaviest first: what is best taken for a lighter task is itself lighter. */
static void consider_exchanges(step *best, member *from, member *to) {
    task *take = RB_MIN(assign_weights, &to->tasks.tree), *lightest = RB_MAX(assign_weights, &to->tasks.tree);
    task *give = RB_MIN(assign_weights, &from->tasks.tree);
    if (!take || !give || give->weight <= lightest->weight || imbalance(from, to) <= 0)
        return;
    int64_t ideal = ideal_weight(from, to);
    for (; give && give->weight > lightest->weight; give = RB_NEXT(assign_weights, &from->tasks.tree, give)) {
        task *next;
        /* The first that leaves more than the ideal, and the one before it, which leaves the ideal or less. */
        while (take->weight >= give->weight - ideal && (next = RB_NEXT(assign_weights, &to->tasks.tree, take))) {
            consider(best, from, to, give, take);
            take = next;
        }
        consider(best, from, to, give, take);
        task *before = RB_PREV(assign_weights, &to->tasks.tree, take);
        if (before)
            consider(best, from, to, give, before);
    }
}

/* ---- which pairs are looked at ---- */

typedef void (*consider_fn)(step *best, member *from, member *to);

/* Of several members with the same share, the one with the least load gains most by whatever it gets, and the one with
 * the most gains most by whatever it gives. So it is enough to look at these, for each share that there is. */
static member *extreme(const assign_plan *p, size_t start, size_t *end, bool most) {
    member *found = p->seats[start];
    size_t i = start;
    for (; i < p->seat_count && p->seats[i]->share == found->share; i++) {
        int64_t load = p->seats[i]->tasks.load;
        if (most ? load > found->tasks.load : load < found->tasks.load)
            found = p->seats[i];
    }
    *end = i;
    return found;
}

static void consider_receivers(const assign_plan *p, step *best, consider_fn fn) {
    for (size_t start = 0, end; start < p->seat_count; start = end) {
        member *to = extreme(p, start, &end, false);
        for (size_t i = 0; i < p->seat_count; i++) {
            if (p->seats[i] != to)
                fn(best, p->seats[i], to);
        }
    }
}

static void consider_givers(const assign_plan *p, step *best, consider_fn fn) {
    for (size_t start = 0, end; start < p->seat_count; start = end) {
        member *from = extreme(p, start, &end, true);
        for (size_t i = 0; i < p->seat_count; i++) {
            if (p->seats[i] != from)
                fn(best, from, p->seats[i]);
        }
    }
}

static void consider_pairs(const assign_plan *p, step *best, consider_fn fn) {
    for (size_t from = 0; from < p->seat_count; from++) {
        for (size_t to = 0; to < p->seat_count; to++)
            fn(best, p->seats[from], p->seats[to]);
    }
}

/* What an exchange gains depends on the tasks of both, so every pair would have to be looked at; that walks every task
 * as often as there are members, which has to end somewhere. */
enum { MOST_TO_WALK = 1000000 };

static void consider_all_exchanges(const assign_plan *p, step *best) {
    if (p->task_count * p->seat_count <= MOST_TO_WALK) {
        consider_pairs(p, best, consider_exchanges);
        return;
    }
    consider_receivers(p, best, consider_exchanges);
    consider_givers(p, best, consider_exchanges);
}

static bool find_step(const assign_plan *p, step *best) {
    *best = (step){.gain = {0, 1}};
    consider_receivers(p, best, consider_moves);
    if (!best->give)
        consider_all_exchanges(p, best);
    return best->give != NULL;
}

/* ---- the plan ---- */

static void move(assign_plan *p, task *t, heap *h) {
    assign_model_lay(t, h);
    if (!t->moved)
        p->moved[p->moved_count++] = t;
    t->moved = true;
}

static int by_share(const void *a, const void *b) {
    const member *m = *(member *const *)a, *n = *(member *const *)b;
    if (m->share != n->share)
        return m->share < n->share ? -1 : 1;
    int order = memcmp(m->id, n->id, m->id_len < n->id_len ? m->id_len : n->id_len);
    return order ? order : (m->id_len > n->id_len) - (m->id_len < n->id_len);
}

/* Who gets tasks: the live members with a capacity; if there is none, all live members alike, because a task is better
 * held by a member that wants to rest than by nobody. */
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
    int order = memcmp(s->id, t->id, s->id_len < t->id_len ? s->id_len : t->id_len);
    return order ? order : (s->id_len > t->id_len) - (s->id_len < t->id_len);
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

/* Those that have no member, or one that gets nothing, the heaviest first. With nobody to give them to, those that have
 * none are as they should be. */
static size_t gather_waiting(assign_plan *p, task **list, size_t max) {
    size_t count = p->seat_count == 0 ? 0 : gather(&p->homeless, list, 0, max);
    member *m;
    RB_FOREACH(m, assign_members, &p->members) {
        if (m->share == 0 && !RB_EMPTY(&m->tasks.tree))
            count = gather(&m->tasks, list, count, max);
    }
    return count;
}

/* Where one more task costs least: the smallest (2L + w) / c. */
static member *best_seat(const assign_plan *p, int64_t w) {
    member *best = p->seats[0];
    for (size_t i = 1; i < p->seat_count; i++) {
        member *m = p->seats[i];
        if ((wide)(2 * m->tasks.load + w) * best->share < (wide)(2 * best->tasks.load + w) * m->share)
            best = m;
    }
    return best;
}

/* With nobody there, an assignment that names somebody says what is not so. */
static void clear(assign_plan *p, task **list, size_t count) {
    for (size_t i = 0; i < count; i++)
        move(p, list[i], &p->homeless);
}

static void balance(assign_plan *p, size_t max) {
    step s;
    while (p->moved_count < max && find_step(p, &s)) {
        move(p, s.give, &s.to->tasks);
        if (s.take)
            move(p, s.take, &s.from->tasks);
    }
}

static ew_slice id_of_member(const member *m) {
    return m ? (ew_slice){m->id, m->id_len} : (ew_slice){NULL, 0};
}

/* What was moved becomes the list of changes, and goes back to where it is known to be. */
static size_t write_changes(assign_plan *p) {
    size_t count = 0;
    for (size_t i = 0; i < p->moved_count; i++) {
        task *t = p->moved[i];
        member *to = t->exists ? t->in->owner : NULL;
        if (to != t->named || !t->exists)
            p->changes[count++] = (assign_change){{t->id, t->id_len}, id_of_member(t->named), id_of_member(to)};
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

static void make_plan(assign_plan *p, task **waiting, size_t max) {
    for (task *t = RB_MIN(assign_weights, &p->strays.tree); t && p->moved_count < max;) {
        task *next = RB_NEXT(assign_weights, &p->strays.tree, t);
        move(p, t, &p->strays);
        t = next;
    }
    take_seats(p);
    size_t count = gather_waiting(p, waiting, max - p->moved_count);
    if (p->seat_count == 0) {
        clear(p, waiting, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        move(p, waiting[i], &best_seat(p, waiting[i]->weight)->tasks);
    balance(p, max);
}

int assign_plan_changes(assign_plan *p, size_t max, const assign_change **out, size_t *count) {
    size_t members = 0;
    member *m;
    RB_FOREACH(m, assign_members, &p->members) {
        members++;
    }
    task **waiting = malloc(2 * max * sizeof(task *));
    /* An exchange moves two tasks, so the last step may go one over. */
    if (!waiting || !reserve((void **)&p->moved, &p->moved_capacity, max + 1, sizeof *p->moved) ||
        !reserve((void **)&p->changes, &p->change_capacity, max + 1, sizeof *p->changes) ||
        !reserve((void **)&p->seats, &p->seat_capacity, members + 1, sizeof *p->seats)) {
        free(waiting);
        return EW_ERR_NO_MEMORY;
    }
    make_plan(p, waiting, max);
    free(waiting);
    *count = write_changes(p);
    *out = p->changes;
    return EW_OK;
}
