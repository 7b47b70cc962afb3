/* Declarations that the files of the simulator share. The files:
 *   schedule.c     the tasks in the order of simulated time
 *   faults.c       the sampled probabilities of faults, and the faults that need no message
 *   network*.c        calls and streams between a worker and etcd
 *   worker*.c      a worker: the three cores and the messages between them, as src/actors moves them
 *   check*.c       the invariants
 *   sim.c          the public functions
 *   etcd_model*.c  the model of etcd */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "etcd.pb-c.h"
#include "shell/io.h"
#include "sim/etcd_model.h"
#include "sim/memory.h"
#include "sim/schedule.h"

#include <etcdworker/sim.h>

/* name, the largest value that is sampled, meaning. A probability is in 1/1,000. The probability of an event ("a
 * stream breaks") applies every 100 ms, to each worker or to etcd; the others apply to each message, call, read or
 * tick ("calls that ..."). */
#define SIM_FAULTS(X)                                                                                                  \
    X(delay_ms, 30, "the maximum delay of a message that is not slow")                                                 \
    X(slow, 100, "messages that take up to slow_ms")                                                                   \
    X(slow_ms, 3000, "")                                                                                               \
    X(lose_request, 100, "calls that never reach etcd")                                                                \
    X(lose_answer, 200, "calls that etcd executes, but whose response is lost")                                        \
    X(late_request, 200, "calls that reach etcd after their deadline")                                                 \
    X(late_ms, 12000, "the maximum delay of late_request")                                                             \
    X(repeat_request, 100, "calls that reach etcd twice")                                                              \
    X(busy, 100, "calls that etcd refuses because it is overloaded")                                                   \
    X(refuse_user, 10, "calls and watches that are refused for their token, also with a new one")                      \
    X(stale_read, 100, "reads from a member that lags")                                                                \
    X(bad_answer, 20, "invalid responses")                                                                             \
    X(break_stream, 30, "a stream breaks")                                                                             \
    X(stall_stream, 20, "a stream is silent for up to stall_ms")                                                       \
    X(stall_ms, 20000, "")                                                                                             \
    X(lag_stream, 100, "etcd finds a watch too slow")                                                                  \
    X(replay_stream, 50, "a watch gets old events again")                                                              \
    X(progress_ms, 10000, "the interval of progress notifications; 0: none")                                           \
    X(outage, 5, "etcd is unreachable for up to outage_ms")                                                            \
    X(outage_ms, 8000, "")                                                                                             \
    X(no_space, 5, "etcd's quota is exhausted for up to no_space_ms")                                                  \
    X(no_space_ms, 8000, "")                                                                                           \
    X(compact, 50, "etcd is compacted")                                                                                \
    X(lose_events, 50, "a watch skips a revision without a sign")                                                      \
    X(echo, 200, "a message of the watcher comes again after another load")                                            \
    X(lose_lease, 3, "a lease ends before its TTL")                                                                    \
    X(delete_receipt, 5, "an external client deletes a worker's receipt")                                              \
    X(depose, 5, "an external client deletes the leader's key")                                                        \
    X(kill, 10, "a worker is killed")                                                                                  \
    X(stop, 5, "a worker is stopped")                                                                                  \
    X(slow_tick, 200, "ticks that take up to slow_tick_ms")                                                            \
    X(slow_tick_ms, 1000, "")

typedef struct sim_faults {
#define SIM_FAULT_MEMBER(name, most, help) int64_t name;
    SIM_FAULTS(SIM_FAULT_MEMBER)
#undef SIM_FAULT_MEMBER
} sim_faults;

typedef struct sim_worker sim_worker;
typedef struct sim_stream sim_stream;

/* The writer of a revision; {0} if it is not a worker. */
typedef struct sim_author {
    uint32_t worker; /* number + 1 */
    uint32_t life;   /* of that worker */
} sim_author;

/* Values below the minimum in the option table, for tests that use the library's internals (tests/sim), so that small
 * simulations reach the limits too. 0: the option's value. */
typedef struct sim_bend {
    int64_t page_bytes, max_pending_update_bytes, max_txn_bytes, check_interval_ms;
} sim_bend;

struct ew_sim {
    uint64_t seed;
    sim_random random;
    sim_schedule schedule;
    sim_faults sampled;
    bool faulty;
    unsigned restores;     /* from an older state */
    int64_t lost_up_to;    /* the highest revision of a lost history */
    int64_t may_lose;      /* the value sampled for lose_events, for scenarios that switch it on */
    int64_t calm_since_ms; /* when the faults were switched off */
    etcd_model_config etcd_config;
    etcd_model *etcd;
    sim_arena arena;                   /* for the checks */
    sim_arena scratch;                 /* for a packed request, until the call starts */
    const etcd_model_record **visible; /* for the checks: what a tick must see */
    size_t visible_capacity;
    int64_t away_until_ms; /* until then etcd is unreachable */
    int64_t full_until_ms; /* until then etcd's quota is exhausted */

    sim_bend bend;
    void (*replied)(void *arg, uint32_t worker, uint64_t submit, int status, int64_t revision);
    void *replied_arg;
    sim_worker **workers;
    size_t worker_count, worker_capacity;
    sim_stream *streams;
    struct sim_call *calls;
    int64_t record_lease; /* the lease of all clients' records, which outlives the workers; 0: not granted yet */
    sim_author *authors;  /* by revision */
    size_t author_capacity;
    int64_t authored; /* revisions up to here have an entry */

    sim_task_fn after; /* the function of the tasks of ew_sim_after, by which ew_sim_free finds them */
    uint64_t digest;
    FILE *trace;
    unsigned steps_at_once; /* since the clock last moved */
    bool failed;
    char failure[512];
};

/* ---- sim.c ---- */

/* Adds a step to the digest, and to the trace if there is one. */
void sim_note(ew_sim *s, const char *what, int64_t a, int64_t b);
void sim_trace(ew_sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t sim_now(const ew_sim *s);
int64_t sim_put(ew_sim *s, ew_slice key, ew_slice value, int64_t lease);
void sim_external_txn(ew_sim *s, const Pb__TxnRequest *txn); /* runs an external client's transaction at once */
int64_t sim_record_lease(ew_sim *s);
void sim_compact(ew_sim *s, int64_t revision);
void sim_restore(ew_sim *s, int64_t revision,
                 int64_t away_ms); /* to its state at `revision`; unreachable for `away_ms` */
void sim_at(ew_sim *s, int64_t at_ms, sim_task_fn fn, void *arg, const void *owner);

/* ---- faults.c ---- */

void sim_faults_draw(ew_sim *s);
void sim_faults_start(ew_sim *s);
bool sim_happens(ew_sim *s, int64_t permille); /* whether a fault happens; never while faults are off */
int64_t sim_delay(ew_sim *s);                  /* the delay of one message */

/* ---- network.c, network_call.c, network_stream.c ---- */

/* One call of a worker. `fn` is called once, unless the worker is killed before. */
typedef struct sim_call sim_call;
sim_call *sim_call_start(sim_worker *w, etcd_model_method method, ew_slice request, int64_t timeout_ms, io_answer_fn fn,
                         void *arg);
void sim_call_cancel(sim_call *c); /* `fn` is still called, soon */
void sim_call_forget(sim_call *c); /* `fn` is not called any more */

sim_stream *sim_stream_open(sim_worker *w, io_stream_callbacks callbacks, void *arg);
void sim_stream_send(sim_stream *s, ew_slice request);
void sim_stream_pause(sim_stream *s, bool paused);
void sim_stream_cancel(sim_stream *s);

void sim_network_changed(
    ew_sim *s, sim_author author);      /* handles new revisions of the model, which `author` wrote; watches get them */
void sim_network_forget(sim_worker *w); /* the worker has ended; its requests in flight still arrive */
void sim_network_free(ew_sim *s);
void sim_network_fault(sim_worker *w); /* samples the faults of its stream */
void sim_network_break_all(ew_sim *s);
void sim_network_lose_all(ew_sim *s); /* breaks all streams and loses all calls in flight */

#endif
