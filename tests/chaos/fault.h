/* Faults. Each fault is a function that starts the fault, waits, and ends it, and that checks whether the fault had an
 * effect. */
#ifndef CHAOS_FAULT_H
#define CHAOS_FAULT_H

#include "chaos/world.h"

enum {
    ON_ONE = 1,
    ON_THREE = 2,
    NOTICE_LIMIT_MS = 15000, /* a silent connection is detected within this time */
    EFFECT_LIMIT_MS = 30000, /* how long a fault waits for its effect before it reports that it had none */
};

/* One injection of a fault. */
typedef struct injection {
    world *w;
    bool brief;         /* run as a test, where all faults together may take a few minutes */
    unsigned times;     /* how often this fault was injected before, in this round */
    unsigned targets;   /* the workers that the fault targets, as a set */
    int64_t healed_us;  /* when etcd was usable again for each of the targets */
    int64_t noticed_us; /* how long a silent connection stopped the slowest target; -1: not measured */
    bool hit;
    char why[120]; /* if not hit: the reason */

    const struct fault *fault;
    bool ended; /* whether the session that it may end has ended */
} injection;

/* What a fault may end. It never ends the run of a worker that is not its target. The only allowed status is
 * EW_ERR_SESSION_DONE, where the worker asked for a session (fence_session). No fault lasts for start_timeout_ms, so
 * none may make a start fail. */
typedef enum fault_end {
    ENDS_NOTHING,
    ENDS_SESSION, /* once */
} fault_end;

typedef struct fault {
    const char *name;
    unsigned where; /* ON_ONE, ON_THREE */
    fault_end may_end;
    const char *const *options; /* of the workers, ended by NULL; may be NULL */
    void (*strike)(injection *i);
    const char *what;         /* one line for --list */
    void (*before)(world *w); /* called before and after each round; may be NULL */
    void (*after)(world *w);
} fault;

extern const fault faults_of_members[], faults_of_connections[], faults_of_time[], faults_of_workers[],
    /* each ends with an element without a name */
    faults_of_users[], faults_of_clients[], faults_of_history[], faults_of_tests[];

/* Returns whether this fault allows the run of the record `end` to end so. `newest` is the newest injection of the
 * round; NULL before the first. */
bool fault_may_end(injection *newest, const record *end);

/* Called by the faults. */
void fault_healed(injection *i); /* etcd is usable again, now */
void fault_missed(injection *i, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned fault_one_worker(injection *i); /* chooses a worker and returns its number */
void fault_mend_proxies(world *w);
void fault_each_proxy(injection *i, int node, void (*order)(fault_proxy *, int), int argument); /* -1: all nodes */
fault_proxy_counts fault_counts(const injection *i); /* of the targets' fault proxies */
/* one or two ticks that take this long; waits for their end */
void fault_slow_tick(injection *i, unsigned worker, int ms);
void fault_await_traffic(injection *i, int node); /* waits until the targets have transactions in flight to this node */
void fault_await_detour(injection *i);            /* waits until the targets commit in spite of one silent member */
/* ends the session of one worker that asked for one; waits until its run has ended */
void fault_end_session(injection *i);

#endif
