#include "chaos/round.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BACK_LIMIT_MS = 60000, /* far more than any recovery takes; a worker that is not back by then never will be */
    LOADED_US = 1000000,   /* a target is under load if it has committed something within this time before the fault */
    COMMITS_MIN = 20,      /* commits of each worker in a round; with fewer there was no load */
};

void fault_healed(injection *i) {
    i->healed_us = journal_now_us();
    workers_await(i->w, i->targets, i->healed_us);
}

void fault_missed(injection *i, const char *format, ...) {
    if (!i->hit)
        return;
    i->hit = false;
    va_list args;
    va_start(args, format);
    vsnprintf(i->why, sizeof i->why, format, args);
    va_end(args);
}

bool fault_may_end(injection *newest, const record *end) {
    if (!newest || (newest->targets & 1u << end->id.worker) == 0 || end->status != EW_ERR_SESSION_DONE)
        return false;
    bool again = newest->ended;
    newest->ended = true;
    return newest->fault->may_end == ENDS_SESSION && !again;
}

unsigned fault_one_worker(injection *i) {
    unsigned worker = (unsigned)world_roll(i->w, WORKERS);
    i->targets = 1u << worker;
    return worker;
}

static void fail(tally *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(tally *t, const char *format, ...) {
    char text[sizeof t->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (t->failures++ == 0)
        memcpy(t->text, text, sizeof text);
    fprintf(stderr, "%s on %d: %s\n", t->fault->name, t->nodes, text);
}

static void add_sample(samples *s, int64_t us) {
    if (s->count < SAMPLES_MAX)
        s->list[s->count++] = us;
}

/* Whether there is load: every worker has committed something in this round, and has just committed a group that it
 * made after the last fault. */
static bool is_loaded(world *w, void *arg) {
    (void)arg;
    int64_t now_us = journal_now_us();
    for (unsigned n = 0; n < WORKERS; n++)
        if (w->workers[n].committed < COMMITS_MIN || now_us - w->workers[n].last_done_us > LOADED_US)
            return false;
    return workers_are_back(w, ALL_WORKERS);
}

static injection *begin(world *w, tally *t, bool brief, unsigned times) {
    t->newest = (injection){.w = w, .brief = brief, .times = times, .hit = true, .noticed_us = -1, .fault = t->fault};
    return w->injection = &t->newest;
}

/* Injects the fault once. Returns false if the round must end. */
static bool strike(world *w, tally *t, bool brief, unsigned times) {
    workers_await(w, ALL_WORKERS, journal_now_us());
    if (!world_until(w, is_loaded, NULL, BACK_LIMIT_MS)) {
        fail(t, "no load before the fault");
        return false;
    }
    injection *i = begin(w, t, brief, times);
    t->fault->strike(i);
    if (!world_until_back(w, i->targets, BACK_LIMIT_MS)) {
        fail(t, "not all targets are back %d s after the fault", BACK_LIMIT_MS / 1000);
        return false;
    }
    for (unsigned n = 0; n < WORKERS; n++)
        if ((i->targets & 1u << n) != 0)
            add_sample(&t->recovered, w->workers[n].back_us - i->healed_us);
    if (i->noticed_us >= 0)
        add_sample(&t->noticed, i->noticed_us);
    if (!i->hit)
        fail(t, "void: %s", i->why);
    t->times += i->hit;
    return i->hit;
}

static void add_verdict(verdict *sum, const verdict *v) {
    sum->groups += v->groups;
    sum->committed += v->committed;
    sum->idle += v->idle;
    sum->unknown += v->unknown;
    sum->given_up += v->given_up;
    sum->undone += v->undone;
    sum->lost += v->lost;
    sum->duplicated += v->duplicated;
    sum->wrong += v->wrong;
}

/* The rounds of a fault alternate between options that change how workers commit. */
static void choose_options(const tally *t, const char *list[EXTRA_MAX]) {
    size_t n = 0;
    if (t->rounds % 2 == 1)
        list[n++] = "delete_counter=off";
    if (t->rounds % 3 == 1)
        list[n++] = "isolation=serializable";
    if (t->rounds % 4 == 3)
        list[n++] = "coalesce=off";
    for (size_t i = 0; t->fault->options && t->fault->options[i] && n < EXTRA_MAX - 1; i++)
        list[n++] = t->fault->options[i];
    list[n] = NULL;
}

bool round_run(world *w, tally *t, bool brief, int length_ms) {
    unsigned failures = t->failures, times = t->times;
    int64_t end_us = journal_now_us() + (int64_t)length_ms * 1000;
    verdict v;
    const char *extra[EXTRA_MAX];
    choose_options(t, extra);
    if (t->fault->before)
        t->fault->before(w);
    world_begin(w, extra);
    for (unsigned n = 0; n < WORKERS; n++) /* many deletions, or few */
        w->workers[n].control->clearing = t->rounds % 2 == 1;
    do {
        if (!strike(w, t, brief, t->times))
            break;
    } while (journal_now_us() < end_us && w->problem[0] == '\0');
    world_end(w, &v);
    if (t->fault->after)
        t->fault->after(w);
    t->rounds++;
    add_verdict(&t->sum, &v);
    if (v.lost + v.duplicated + v.wrong > 0)
        fail(t, "%llu lost, %llu duplicated, %llu wrong: %s", (unsigned long long)v.lost,
             (unsigned long long)v.duplicated, (unsigned long long)v.wrong, v.text);
    if (w->problem[0] != '\0')
        fail(t, "%s", w->problem);
    if (t->times == times && t->failures == failures)
        fail(t, "void: the fault never had an effect");
    return t->failures == failures;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int64_t samples_percentile(samples *s, int percent) {
    if (s->count == 0)
        return -1;
    qsort(s->list, s->count, sizeof *s->list, by_size);
    size_t at = (s->count * (size_t)percent + 99) / 100;
    return s->list[at > 0 ? at - 1 : 0];
}
