/* Evens out loads: selects the next move or exchange of tasks, until the loads are even. */
#include "service/assign_model.h"

/* Products of two loads and two capacities: 10^12 * 10^6 * 10^6 * 10^12 at most, exact, the same on every machine. */
typedef assign_wide wide;

/* ---- members with too much or too little load ---- */

/* The fair share is total_load * share / total_share. A member's load is p percent of it if this function's value is
 * total_load * share * p. */
static wide hundredths(const assign_plan *p, const member *m) {
    return (wide)m->tasks.load * p->total_share * 100;
}

static bool has_too_much(const assign_plan *p, const member *m) {
    return hundredths(p, m) > (wide)p->total_load * m->share * (100 + p->rules.tolerance);
}

static bool has_too_little(const assign_plan *p, const member *m) {
    return hundredths(p, m) < (wide)p->total_load * m->share * (100 - p->rules.tolerance);
}

/* The totals stay the same while tasks move between seats. */
static bool is_even(const assign_plan *p) {
    for (size_t i = 0; i < p->seat_count; i++) {
        if (has_too_much(p, p->seats[i]) || has_too_little(p, p->seats[i]))
            return false;
    }
    return true;
}

/* ---- the gain of a step ---- */

/* By how much the sum of L*L/c falls when weight `w` moves from `a` to `b`: w * (2D - wS) / (ca * cb), where
 * D = La*cb - Lb*ca and S = ca + cb. Kept as a fraction, over/under, for exact comparisons. */
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

/* The best step found so far: `give` moves from `from` to `to`, and `take`, if not NULL, the other way. */
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

/* The gain is a parabola in the weight, with its maximum at D/S: the best task is the one with the nearest weight. */
static int64_t ideal_weight(const member *a, const member *b) {
    return (int64_t)(imbalance(a, b) / ((wide)a->share + b->share));
}

/* Returns the heaviest task of `h` that weighs at most `w`; NULL if all weigh more. `*above` is the next heavier task,
 * or NULL. */
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

/* A task may only move from a member with too much, or to a member with too little. */
static bool is_worth_it(const assign_plan *p, const member *from, const member *to) {
    return imbalance(from, to) > 0 && (has_too_much(p, from) || has_too_little(p, to));
}

static void consider_moves(const assign_plan *p, step *best, member *from, member *to) {
    if (!is_worth_it(p, from, to))
        return;
    task *above, *below = at_most(&from->tasks, ideal_weight(from, to), &above);
    if (below)
        consider(best, from, to, below, NULL);
    if (above)
        consider(best, from, to, above, NULL);
}

/* Walks the tasks of both members once, the heaviest first: the lighter the given task, the lighter the best one to
 * take for it. */
static void consider_exchanges(const assign_plan *p, step *best, member *from, member *to) {
    task *take = RB_MIN(assign_weights, &to->tasks.tree), *lightest = RB_MAX(assign_weights, &to->tasks.tree);
    task *give = RB_MIN(assign_weights, &from->tasks.tree);
    if (!take || !give || give->weight <= lightest->weight || !is_worth_it(p, from, to))
        return;
    int64_t ideal = ideal_weight(from, to);
    for (; give && give->weight > lightest->weight; give = RB_NEXT(assign_weights, &from->tasks.tree, give)) {
        task *next;
        /* `take` becomes the first with a difference above the ideal; the one before it has the ideal or less. */
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

/* ---- the pairs to consider ---- */

typedef void (*consider_fn)(const assign_plan *p, step *best, member *from, member *to);

/* Of the members with the same share, the one with the least load gains most from any task it gets, and the one with
 * the most load gains most from any task it gives. So it is enough to consider one member of each share. */
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
                fn(p, best, p->seats[i], to);
        }
    }
}

static void consider_givers(const assign_plan *p, step *best, consider_fn fn) {
    for (size_t start = 0, end; start < p->seat_count; start = end) {
        member *from = extreme(p, start, &end, true);
        for (size_t i = 0; i < p->seat_count; i++) {
            if (p->seats[i] != from)
                fn(p, best, from, p->seats[i]);
        }
    }
}

static void consider_pairs(const assign_plan *p, step *best, consider_fn fn) {
    for (size_t from = 0; from < p->seat_count; from++) {
        for (size_t to = 0; to < p->seat_count; to++)
            fn(p, best, p->seats[from], p->seats[to]);
    }
}

/* The gain of an exchange depends on the tasks of both members, so every pair has to be considered. That walks every
 * task once for each member; above this number of visits, only the pairs with an extreme member are considered. */
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

/* ---- the steps ---- */

void assign_balance(assign_plan *p) {
    p->total_load = p->total_share = 0;
    for (size_t i = 0; i < p->seat_count; i++) {
        p->total_load += p->seats[i]->tasks.load;
        p->total_share += p->seats[i]->share;
    }
    size_t forced = p->moved_count;
    step s;
    while (p->moved_count < p->rules.max && p->moved_count - forced < p->rules.budget && !is_even(p) &&
           find_step(p, &s)) {
        assign_model_move(p, s.give, &s.to->tasks);
        if (s.take)
            assign_model_move(p, s.take, &s.from->tasks);
    }
}
