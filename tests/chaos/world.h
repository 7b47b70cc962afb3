/* The system under test: etcd on one node or three, three worker processes, and a fault proxy between each worker and
 * each node. The harness's own connections do not use the fault proxies.
 *
 * Only the main thread uses these functions. Every wait is a world_until, which also reads the journals and restarts
 * workers that have ended, as a supervisor would. */
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
    pid_t pid;   /* 0: not running */
    group_id id; /* of the run */
    int journal;
    int64_t offset;
    bool killed;    /* by the harness: its run need not end in order */
    bool ended;     /* the journal has the end of this run */
    int end_status; /* of the last run that ended in order */
    unsigned ended_run;
    int64_t again_us; /* when the next run may start */

    /* From its journals. */
    uint64_t committed; /* groups, in all runs */
    unsigned undecided; /* of this run */
    int64_t last_made_us;
    int64_t last_done_us; /* of the newest committed group */
    int64_t await_us;     /* 0, or the time after which a group must be made to count for back_us */
    int64_t back_us;      /* when the first such group was committed; 0 until then */
    int64_t gap_from_us;  /* 0, or the start of the measurement of gap_us */
    int64_t gap_us;       /* the longest time without a commit that a commit ended */
} worker_process;

typedef struct world {
    int nodes;
    bool verbose; /* print the workers' logs after each round */
    etcd_server *single;
    etcd_cluster *cluster;
    etcd_server *node[NODES_MAX];
    char endpoints[128]; /* of the nodes, not of the fault proxies */
    char directory[160]; /* for journals and logs */
    /* for the user root, which all clients use while authentication is enabled (fault_user.c) */
    char password_file[192];
    ew_client *client;
    uint64_t random;

    /* The current round. */
    unsigned round;
    char prefix[64];
    const char *extra[EXTRA_MAX]; /* options of the workers, NAME=VALUE, ended by NULL */
    worker_process workers[WORKERS];
    bool working;                /* restart workers that end */
    struct injection *injection; /* the newest; NULL before the first */
    ledger *ledger;
    recorder *recorder;
    int64_t first_revision; /* of the round's history */
    char problem[400];      /* the first violation */
} world;

/* Starts etcd. */
void world_open(world *w, int nodes, uint64_t seed);
void world_close(world *w);

#define WORLD_USER     "root"
#define WORLD_PASSWORD "secret"
#define WORLD_TTL_S    "10" /* for the workers' sessions, unless a fault has its own option */

/* Returns options for clients that do not use the fault proxies. */
ew_options *world_options(const world *w);

/* Begins a round: with its own prefix, the recorder, and the workers with these further options. */
void world_begin(world *w, const char *const *extra);

/* Ends the round: stops the workers in order and closes the ledger. */
void world_end(world *w, verdict *out);

/* Call this after etcd was restored to its history up to `kept`: the ledger reads the new history from the beginning of
 * the round. Groups that were committed after `kept` and reported before etcd was stopped at `away_us` may be lost. */
void world_rewrite(world *w, int64_t kept, int64_t away_us);
int64_t world_revision(world *w); /* by a linearizable read; waits until etcd answers */

/* Polls until `holds` returns true, for at most `limit_ms`. Returns whether it did. */
typedef bool (*world_condition)(world *w, void *arg);
bool world_until(world *w, world_condition holds, void *arg, int limit_ms);
void world_linger(world *w, int ms); /* waits while a fault lasts */

/* Keeps the first problem, which the round reports, and prints the others. */
void world_problem(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t world_roll(world *w, uint64_t sides);
int world_between(world *w, int low, int high); /* both limits included */

/* workers_await sets the time; then workers_are_back returns whether all workers of the set have committed a group that
 * was made after `since_us`. */
void workers_await(world *w, unsigned set, int64_t since_us);
bool workers_are_back(const world *w, unsigned set);
bool world_until_back(world *w, unsigned set, int limit_ms);

/* Starts measuring the longest time without a commit of each worker. */
void workers_measure_gaps(world *w);

/* ---- for world.c and workers.c ---- */

void workers_open(world *w);
void workers_close(world *w);
void workers_pump(world *w);
void workers_signal(world *w, unsigned worker, int signal);
bool workers_are_gone(const world *w); /* no process is left */
void workers_show_logs(const world *w);

#endif
