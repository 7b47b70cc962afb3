/* Where the faults happen: etcd on one node or three, three workers in processes of their own, and between each worker
 * and each node a fault proxy. The harness's own connections go past the fault proxies.
 *
 * Everything here belongs to the main thread. Waiting is always world_until, which meanwhile reads the journals and, as
 * a supervisor would, starts workers again that have ended. */
#ifndef CHAOS_WORLD_H
#define CHAOS_WORLD_H

#include "chaos/recorder.h"
#include "lib/etcd_server.h"
#include "lib/fault_proxy.h"

enum { NODES_MAX = ETCD_CLUSTER_NODES, ALL_WORKERS = (1 << WORKERS) - 1, EXTRA_MAX = 8 };

/* A worker, over all of its runs. */
typedef struct worker_process {
    fault_proxy *proxies[NODES_MAX];
    control *control;
    pid_t pid;   /* 0: none */
    group_id id; /* of the run */
    int journal;
    int64_t offset;
    bool killed;    /* by the harness: it need not end in order */
    bool ended;     /* this run's end is in its journal */
    int end_status; /* of the last run that ended in order */
    unsigned ended_run;
    int64_t again_us; /* when the next run may start */

    /* What its journals told. */
    uint64_t committed; /* groups, in all runs */
    unsigned undecided; /* of this run */
    int64_t last_made_us;
    int64_t last_done_us; /* the newest group that was committed */
    int64_t await_us;     /* 0, or: */
    int64_t back_us;      /*   when the first group that was made after that was committed; 0 until then */
    int64_t gap_from_us;  /* 0, or since then: */
    int64_t gap_us;       /*   the longest time without a commit that ended with one */
} worker_process;

typedef struct world {
    int nodes;
    bool verbose; /* shows the workers' logs after each round */
    etcd_server *single;
    etcd_cluster *cluster;
    etcd_server *node[NODES_MAX];
    char endpoints[128];     /* of the nodes themselves */
    char directory[160];     /* of journals and logs */
    char password_file[192]; /* of the user root, whom everybody is once etcd asks (fault_user.c) */
    ew_client *client;
    uint64_t random;

    /* The round. */
    unsigned round;
    char prefix[64];
    const char *extra[EXTRA_MAX]; /* options of the workers, NAME=VALUE, ended by NULL */
    worker_process workers[WORKERS];
    bool working;                /* workers that end are started again */
    struct injection *injection; /* the newest; NULL before the first */
    ledger *ledger;
    recorder *recorder;
    int64_t first_revision; /* of the round's history */
    char problem[400];      /* what must never be; the first one */
} world;

/* Starts etcd. */
void world_open(world *w, int nodes, uint64_t seed);
void world_close(world *w);

#define WORLD_USER     "root"
#define WORLD_PASSWORD "secret"
#define WORLD_TTL_S    "10" /* of the workers' sessions, but for faults with an option of their own */

/* For clients that go past the fault proxies. */
ew_options *world_options(const world *w);

/* Begins a round: a prefix of its own, the recorder, and the workers with these further options. */
void world_begin(world *w, const char *const *extra);

/* Ends it: stops the workers in order and closes the ledger. */
void world_end(world *w, verdict *out);

/* etcd's history is another one from now on, from `kept` on, and the ledger tell it from the round's beginning. What was
 * reported later than that, and before etcd was taken away at `away_us`, may be lost with the history. */
void world_rewrite(world *w, int64_t kept, int64_t away_us);
int64_t world_revision(world *w); /* of a linearizable read; waits until etcd answers */

/* Looks again and again until `holds` does, for at most `limit_ms`: whether it did. */
typedef bool (*world_condition)(world *w, void *arg);
bool world_until(world *w, world_condition holds, void *arg, int limit_ms);
void world_linger(world *w, int ms); /* the length of a fault */

void world_problem(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t world_roll(world *w, uint64_t sides);
int world_between(world *w, int low, int high); /* both may come */

/* Whether all workers of the set have committed a group that was made after `since_us`; workers_await says since when. */
void workers_await(world *w, unsigned set, int64_t since_us);
bool workers_are_back(const world *w, unsigned set);
bool world_until_back(world *w, unsigned set, int limit_ms);

/* Measures the longest standstill of each from now on. */
void workers_measure_gaps(world *w);

/* ---- for world.c and workers.c ---- */

void workers_open(world *w);
void workers_close(world *w);
void workers_pump(world *w);
void workers_signal(world *w, unsigned worker, int signal);
bool workers_are_gone(const world *w); /* no process is left */
void workers_show_logs(const world *w);

#endif
