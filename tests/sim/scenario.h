/* A scenario: some workers that count, transfer, create and delete under one prefix, external writers beside them, and
 * an exact accounting of every group that was ever made. */
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
    RECORD_PAIR,      /* writes one of two keys if the other is free, which only serializable groups guarantee */
    RECORD_NOTHING,   /* reads, and writes nothing */
    RECORD_MANY,      /* about as many keys as a transaction can hold, or more */
    RECORD_MODIFY,    /* one key through ew_group_modify */
    RECORD_GUARD,     /* writes one key only if another one is unchanged */
    RECORD_AGAIN,     /* returns EW_AGAIN a few times */
    RECORD_CLAIM,     /* expects what its tick saw: claims.c */
    RECORD_SEAT,      /* expects everything that its tick read: seats.c */
    RECORD_DROP,      /* its patch may drop the group */
    RECORD_LEASE,     /* binds a key to the worker's lease, or keeps the key's lease */
    RECORD_SUBMIT,    /* a submit */
    RECORD_KINDS,
} record_kind;

typedef enum record_state {
    RECORD_PENDING,
    RECORD_COMMITTED,
    RECORD_REFUSED, /* certainly not written */
    RECORD_UNKNOWN, /* perhaps written, but at most once */
} record_state;

/* A key that a group read or wrote at its last evaluation. */
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

/* One group. It lives as long as the scenario. */
typedef struct record {
    struct actor *actor;
    uint32_t number, life;
    record_kind kind;
    record_state state;
    uint64_t dice; /* what the patch does, sampled when the group was made, because patches are pure */
    bool marked;
    char mark[40];
    uint32_t keys;         /* RECORD_MANY */
    uint32_t evaluations;  /* RECORD_AGAIN */
    ew_put_lease lease;    /* RECORD_LEASE */
    bool compares, absent; /* RECORD_SUBMIT: compares that a key is absent, or its value */
    char compared[40], expected[64];
    as_seen seen[SEEN_MAX];
    uint32_t seen_count;
    touched touched[TOUCHED_MAX];
    uint32_t touched_count;
    bool writes; /* the last evaluation changed something */
    int64_t revision;
    int status;
} record;

/* A submit with an identity, which its client sends again until it is decided. */
typedef enum client_submit_kind {
    CLIENT_SUBMIT_PLAIN,
    CLIENT_SUBMIT_ONCE,     /* if its own key is absent, which it is until a copy has been committed */
    CLIENT_SUBMIT_COMPARED, /* if another key is absent, which it may be or not */
} client_submit_kind;

typedef struct client_submit {
    uint32_t client;
    uint64_t sequence;
    client_submit_kind kind;
    char key[32], compared[32];
    bool decided;
    int status;
    int64_t revision;
    int64_t since; /* the revision at which it was begun */
} client_submit;

typedef struct client {
    struct scenario *scenario;
    uint32_t number, current; /* of the submit */
    uint64_t sequence;
} client;

typedef struct actor {
    struct scenario *scenario;
    int worker; /* number in the simulation */
    uint32_t life;
    bool serializable, updates, finished;
    int64_t finish_at;         /* return EW_FINISHED at this tick; 0: never */
    uint32_t pending, submits; /* undecided groups of ticks, and undecided submits */
    int64_t last_revision;     /* of its newest committed group: groups commit in order (SEMANTICS 25) */
    uint64_t ticks, updates_seen;
    uint32_t next_mark;
    struct record *marked[MARKS];
    uint32_t max_keys;
} actor;

typedef struct scenario {
    ew_sim *sim;
    sim_random random; /* the scenario's own random numbers, so that a change here does not change the faults */
    actor actors[WORKERS_MAX];
    int actor_count;
    bool counter, exactly_once_all, serializable_all;
    bool hot;       /* all workers use the same few keys */
    bool twins;     /* the second worker uses the first one's session */
    bool quiet;     /* no more writes */
    bool quiet_end; /* a worker that stops is not started again */
    record **records;
    size_t record_count, record_capacity;
    int64_t external_ms;
    int64_t junk, old; /* numbers of keys of these kinds */
    int64_t flickering[FLICKERS];
    uint32_t flicker, appeared, flickered;
    int64_t fault_ms;
    uint64_t total_ticks;
    client clients[CLIENTS_MAX];
    uint32_t client_count;
    client_submit *client_submits;
    size_t client_submit_count, client_submit_capacity;
} scenario;

/* Creates the world of a seed. */
void scenario_init(scenario *sc, uint64_t seed);
void scenario_fini(scenario *sc);
void scenario_describe(const scenario *sc, FILE *out);

/* Runs faults, then a quiet time, then the accounting. Returns whether every check passed. */
bool scenario_run(scenario *sc);

/* reactor.c */
extern const ew_reactor scenario_reactor, scenario_reactor_with_updates;
bool scenario_ended(void *self, ew_status status, const char *detail, bool killed);

/* records.c */
record *record_new(actor *a, record_kind kind);
void record_decided(void *arg, ew_status status, int64_t revision);
void record_forget(actor *a); /* of a killed worker: nothing will report its groups */
touched *record_touch(record *r, const char *key);
void record_check(scenario *sc); /* at the end: every group was applied once, or never */
int64_t number_of(ew_slice value);
char *write_digits(char *at, uint64_t number); /* returns the end, where it writes a NUL; at most 21 bytes */
void write_name(char out[32], const char *kind, uint64_t number); /* "/app/kind/number" */

/* clients.c */
enum { CLIENT_SUBMIT_BASE = 1 << 30 }; /* added to a client submit's number, which makes it a request's id */
void clients_start(scenario *sc);
void clients_replied(scenario *sc, uint32_t worker, uint64_t request, int status, int64_t revision);
void clients_finish(scenario *sc); /* in the quiet time: each client gets its last submit decided */
void clients_check(scenario *sc);
/* claims.c */
void claims_decide(record *r, const ew_tick *t, ew_group *g);
void claims_check(const record *r); /* a claim that was committed */
void claims_check_tick(const actor *a, const ew_tick *t);
void claims_write(scenario *sc); /* a change by another client */

/* seats.c */
void seats_decide(record *r, const ew_tick *t, ew_group *g);
void seats_check_tick(const actor *a, const ew_tick *t);
void seats_write(scenario *sc); /* a change by another client */

/* external.c */
void external_start(scenario *sc);
void external_submit_replied(void *arg, uint32_t worker, uint64_t submit, int status, int64_t revision);

#endif
