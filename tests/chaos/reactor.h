/* The reactor of Bank and Sum, which distrusts all that it is shown. */
#ifndef CHAOS_REACTOR_H
#define CHAOS_REACTOR_H

#include "chaos/worker.h"

#include <etcdworker/reactor.h>

typedef struct teller {
    group_id id; /* of the last group made */
    int journal;
    control *control;
    uint64_t random;
    char prefix[64];
    int64_t last_revision; /* of the last tick */
    int64_t barrier;       /* the last own commit */
    unsigned restores;     /* of etcd, after which a tick was older */
    unsigned undecided;    /* groups made and not done */
    bool troubled;         /* a problem was recorded */
    uint64_t state;        /* hash of what the tick sees */
    model model;           /* what updates told */
} teller;

extern const ew_reactor teller_reactor;

/* Records what must never be, once. */
void teller_problem(teller *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The groups of one tick; the checks of what it sees. */
void teller_make_groups(teller *b, ew_tick *t);
void teller_check(teller *b, const ew_tick *t);

int teller_update(void *self, const ew_event *event);
int teller_reset(void *self);

uint64_t teller_roll(teller *b, uint64_t sides);

#endif
