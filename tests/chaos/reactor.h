/* The reactor of the scenarios Bank and Sum. It checks everything that it is shown. */
#ifndef CHAOS_REACTOR_H
#define CHAOS_REACTOR_H

#include "chaos/worker.h"

#include <etcdworker/reactor.h>

typedef struct teller {
    group_id id; /* of the last group that was made */
    int journal;
    control *control;
    uint64_t random;
    char prefix[64];
    int64_t last_revision; /* of the last tick */
    int64_t barrier;       /* the revision of the last own commit */
    unsigned restores;     /* number of restores of etcd after which a tick was older */
    unsigned undecided;    /* groups made and not yet reported */
    bool troubled;         /* a violation was recorded */
    uint64_t state;        /* hash of what the tick sees */
    model model;           /* built from the updates */
} teller;

extern const ew_reactor teller_reactor;

/* Records the first violation. */
void teller_problem(teller *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* teller_make_groups makes the groups of one tick; teller_check checks what the tick sees. */
void teller_make_groups(teller *b, ew_tick *t);
void teller_check(teller *b, const ew_tick *t);

int teller_update(void *self, const ew_event *event);
int teller_reset(void *self);

uint64_t teller_roll(teller *b, uint64_t sides);

#endif
