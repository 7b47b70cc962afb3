/* A scenario: some workers that count, transfer, create and delete under one prefix, external writers beside them, and
 * an exact account of every group that was ever made. */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include "sim/worker.h"

enum {
    CELLS = 6,
    ACCOUNTS = 8,
    JUNK = 10,
    PAIRS = 3,
    MARKS = 20,
    TOUCHED_MAX = 24,
    SEEN_MAX = 5,
    WORKERS_MAX = 5,
    FLICKERS = 64,
    LEASED = 4,
    CLIENTS_MAX = 4
};

typedef enum record_kind {
    RECORD_INCREMENT, /* adds one to some cells */
    RECORD_TRANSFER,  /* moves an amount between two accounts */
    RECORD_JUNK,      /* puts and deletes keys that come and go */
    RECORD_PAIR,      /* writes one of two keys if the other is free: only serializable groups keep that promise */
    RECORD_NOTHING,   /* reads, and writes nothing */
    RECORD_MANY,      /* as many keys as a transaction can hold, or more */
    RECORD_MODIFY,    /* one key through ew_group_modify */
    RECORD_GUARD,     /* writes one key only if another one is as it was */
    RECORD_AGAIN,     /* asks to be tried again, a few times */
    RECORD_CLAIM,     /* stands on what its tick saw: claims.c */
    RECORD_SEAT,      /* stands on all that its tick read: seats.c */
    RECORD_DROP,      /* its patch may drop the group */
    RECORD_LEASE,     /* binds a key to the worker's lease, or keeps what it has */
    RECORD_SUBMIT,    /* from outside */
    RECORD_KINDS,
} record_kind;

typedef enum record_state {
    RECORD_PENDING,
    RECORD_COMMITTED,
    RECORD_REFUSED, /* surely not written */
    RECORD_UNKNOWN, /* perhaps written, but at most once */
} record_state;

/* A key that a group looked at or wrote when it was last evaluated. */
typedef struct touched {
    char key[32];
    bool read, found, wrote, removed, guarded;
    int64_t mod_revision; /* as read */
} touched;

/* A key as a group's tick saw it. */
typedef struct as_seen {
    char key[32];
    int64_t mod_revision; /* 0: absent */
} as_seen;

struct actor;

/* One group. Lives as long as the scenario. */
typedef struct record {
    struct actor *actor;
    uint32_t number, life;
    record_kind kind;
    record_state state;
    uint64_t dice; /* what the patch does, drawn when the group was made: patches are pure */
    bool marked;
    char mark[40];
    uint32_t keys;         /* RECORD_MANY */
    uint32_t evaluations;  /* RECORD_AGAIN */
    ew_put_lease lease;    /* RECORD_LEASE */
    bool compares, absent; /* RECORD_SUBMIT: that a key is absent, or has a value */
    char compared[40], expected[64];
    as_seen seen[SEEN_MAX];
    uint32_t seen_count;
    touched touched[TOUCHED_MAX];
    uint32_t touched_count;
    bool writes; /* the last evaluation changed something */
    int64_t revision;
    int status;
} record;

/* A submit of a client that has an identity, and sends it again until it is decided. */
typedef enum errand_kind {
    ERRAND_PLAIN,
    ERRAND_ONCE,     /* if its own key is absent, which it is before a copy of it was committed */
    ERRAND_COMPARED, /* if another key is absent, which it may be or not */
} errand_kind;

typedef struct errand {
    uint32_t client;
    uint64_t sequence;
    errand_kind kind;
    char key[32], compared[32];
    bool decided;
    int status;
    int64_t revision;
    int64_t since; /* the revision at which it was begun */
} errand;

typedef struct client {
    struct scenario *scenario;
    uint32_t number, current; /* errand */
    uint64_t sequence;
} client;

typedef struct actor {
    struct scenario *scenario;
    int worker; /* number in the simulation */
    uint32_t life;
    bool serializable, updates, finished;
    int64_t finish_at;         /* answer EW_FINISHED at this tick; 0: never */
    uint32_t pending, submits; /* groups of ticks, and from outside, that are undecided */
    int64_t last_revision;     /* of its newest committed group: groups commit in order (SEMANTICS 25) */
    uint64_t ticks, updates_seen;
    uint32_t next_mark;
    struct record *marked[MARKS];
    uint32_t max_keys;
} actor;

typedef struct scenario {
    ew_sim *sim;
    sim_random random; /* the scenario's own dice, so that a change here leaves the faults as they are */
    actor actors[WORKERS_MAX];
    int actor_count;
    bool counter, exactly_once_all, serializable_all;
    bool hot;       /* everybody is after the same few keys */
    bool twins;     /* the second worker uses the first one's session */
    bool quiet;     /* nobody writes any more */
    bool quiet_end; /* who stops, stays stopped */
    record **records;
    size_t record_count, record_capacity;
    int64_t external_ms;
    int64_t junk, old; /* how many keys of those kinds there are */
    int64_t flickering[FLICKERS];
    uint32_t flicker, appeared, flickered;
    int64_t fault_ms;
    uint64_t total_ticks;
    client clients[CLIENTS_MAX];
    uint32_t client_count;
    errand *errands;
    size_t errand_count, errand_capacity;
} scenario;

/* Makes the world of a seed. */
void scenario_init(scenario *sc, uint64_t seed);
void scenario_fini(scenario *sc);
void scenario_describe(const scenario *sc, FILE *out);

/* Faults, then rest, then the account. True if everything held. */
bool scenario_run(scenario *sc);

/* reactor.c */
extern const ew_reactor scenario_reactor, scenario_reactor_with_updates;
bool scenario_ended(void *self, int status, const char *detail, bool killed);

/* records.c */
record *record_new(actor *a, record_kind kind);
void record_decided(void *arg, int status, int64_t revision);
void record_forget(actor *a); /* a killed worker's groups: nobody will tell */
touched *record_touch(record *r, const char *key);
void record_audit(scenario *sc); /* at the end: every group exactly once, or not at all */
int64_t number_of(ew_slice value);
char *write_digits(char *at, uint64_t number); /* answers where they end, with a NUL; at most 21 bytes */
void write_name(char out[32], const char *kind, uint64_t number); /* "/app/kind/number" */

/* clients.c */
enum { ERRAND_BASE = 1 << 30 }; /* added to an errand's number, which makes it a request's id */
void clients_start(scenario *sc);
void clients_replied(scenario *sc, uint32_t worker, uint64_t request, int status, int64_t revision);
void clients_finish(scenario *sc); /* when nobody disturbs: each has its last errand decided */
void clients_audit(scenario *sc);
/* claims.c */
void claims_decide(record *r, const ew_tick *t, ew_group *g);
void claims_check(const record *r); /* that was committed */
void claims_check_tick(const actor *a, const ew_tick *t);
void claims_write(scenario *sc); /* what another client does */

/* seats.c */
void seats_decide(record *r, const ew_tick *t, ew_group *g);
void seats_check_tick(const actor *a, const ew_tick *t);
void seats_write(scenario *sc); /* what another client does */

/* external.c */
void external_start(scenario *sc);
void external_submit_replied(void *arg, uint32_t worker, uint64_t submit, int status, int64_t revision);

#endif
