/* The faults: each is a script that strikes, lasts, and heals; and that knows afterwards whether it hit. */
#ifndef CHAOS_FAULT_H
#define CHAOS_FAULT_H

#include "chaos/world.h"

enum {
    ON_ONE = 1,
    ON_THREE = 2,
    NOTICE_LIMIT_MS = 15000, /* a silent connection is noticed within this */
    EFFECT_LIMIT_MS = 30000, /* what a fault waits for, at most, before it gives up: it did not hit */
};

/* One time of a fault. */
typedef struct injection {
    world *w;
    bool brief;         /* in the tests, where all of them together may take a few minutes */
    unsigned times;     /* this fault struck before, in this round */
    unsigned targets;   /* the workers that it is about: a set */
    int64_t healed_us;  /* from when on etcd could be worked with, for each of them */
    int64_t noticed_us; /* how long a silent connection kept the slowest of them from work; -1: not asked */
    bool hit;
    char why[120]; /* it did not hit */

    const struct fault *fault;
    bool ended; /* the session that it ends */
} injection;

/* What a fault may end: never a run of a worker that is not its target, and with nothing but EW_ERR_SESSION_DONE, where
 * the worker asked for a session (fence_session). No fault lasts for start_timeout_ms, so a run that cannot begin is no
 * end that it may cause. */
typedef enum fault_end {
    ENDS_NOTHING,
    ENDS_SESSION, /* once */
} fault_end;

typedef struct fault {
    const char *name;
    unsigned where; /* ON_ONE, ON_THREE */
    fault_end may_end;
    const char *const *options; /* of the workers, ended by NULL, or NULL */
    void (*strike)(injection *i);
    const char *what;         /* in one line */
    void (*before)(world *w); /* a round, and after it; may be NULL */
    void (*after)(world *w);
} fault;

extern const fault faults_of_members[], faults_of_connections[], faults_of_time[], faults_of_workers[],
    faults_of_users[], faults_of_clients[], faults_of_history[], faults_of_tests[]; /* ended by one without a name */

/* Whether the run of which the record tells the end may have ended so; `newest` of the round, NULL before the first. */
bool fault_may_end(injection *newest, const record *end);

/* Called by the scripts. */
void fault_healed(injection *i); /* the time is now */
void fault_missed(injection *i, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned fault_one_worker(injection *i); /* picks it, and answers its number */
void fault_mend_proxies(world *w);
void fault_each_proxy(injection *i, int node, void (*order)(fault_proxy *, int), int argument); /* -1: all nodes */
fault_proxy_counts fault_counts(const injection *i);         /* of the targets' fault proxies */
void fault_slow_tick(injection *i, unsigned worker, int ms); /* one or two that take so long, to their end */
void fault_await_traffic(injection *i, int node);            /* until the targets have work under way with that one */
void fault_await_detour(injection *i); /* waits until the targets work in spite of one silent member */
void fault_end_session(injection *i);  /* of one worker that has asked for it, until its run has ended */

#endif
