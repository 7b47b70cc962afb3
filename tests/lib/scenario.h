/* What the tests of a whole worker share:
 *   environment   an etcd of the test program's own, one for all of its tests
 *   hand    the test's own hand in that etcd, beside the workers; the main thread's only
 *   worker fixture   a worker whose reactor is the test's, and everything that was shown to it, written down
 *
 * Asserts of cmocka belong to the main thread. What runs inside a reactor uses EXPECT, whose first failure worker_fixture_close
 * reports. Every wait is bounded and ends as soon as what it waits for is true. */
#ifndef LIB_SCENARIO_H
#define LIB_SCENARIO_H

#include "lib/client.h"

#include <etcdworker/etcdworker.h>

#include <pthread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ENV_WAIT_MS = 60000 }; /* far beyond what anything here takes, also under a sanitizer */

/* ---- environment ---- */

/* Group fixtures: start etcd and the hand; end them, and check that nothing of gRPC is left. */
int env_open(void **state);
int env_close(void **state);

/* A test of such a group. One that fails leaves workers behind, which still use its variables: what follows cannot be
 * run, and the program ends there. */
#define env_test(f) cmocka_unit_test_setup(f, env_before)
int env_before(void **state);

const char *env_endpoint(void);
ew_options *env_options(const char *prefix); /* a worker's, with a name of its own */
int64_t env_now_ms(void);

/* Faults of the server. The hand must not be used before it is back. */
void env_kill_etcd(void);
void env_start_etcd(void);
void env_wipe_etcd(void);    /* between the two: it has lost its data */
void env_save_etcd(void);    /* its state as of now, which */
void env_restore_etcd(void); /* between the two replaces the one it had, under the same cluster id */
void env_pause_etcd(void);
void env_resume_etcd(void);

/* Looks again and again until `holds` does, for at most ENV_WAIT_MS; answers whether it did. */
bool env_until(bool (*holds)(void *arg), void *arg);

/* How many threads this process has that carry its own name, as ours do (gRPC and nng name theirs, and keep pools of
 * them), and how many open files. */
size_t env_threads(void);
size_t env_files(void);

/* ---- worker fixture ---- */

typedef struct worker_fixture worker_fixture;
typedef int (*worker_fixture_action)(worker_fixture *f, ew_tick *t);

/* An event as the reactor's `update` got it. */
typedef struct worker_fixture_event {
    ew_event_kind kind;
    bool initial;
    char key[128], value[128];
    size_t value_len;
    int64_t mod_revision;
    uint64_t ticks; /* before it */
    size_t resets;  /* before it */
} worker_fixture_event;

struct worker_fixture {
    ew_options *options;         /* the test's, until worker_fixture_start */
    bool updates;                /* set before worker_fixture_start: keep events */
    bool track_reads;            /* set before worker_fixture_start */
    worker_fixture_action every; /* runs in every tick, unless NULL; set before worker_fixture_start */
    void *arg;                   /* the test's */
    ew_client *client;           /* set before worker_fixture_start; NULL: the worker's own */
    ew_session *session;
    ew_election *election;

    ew_worker *worker;
    pthread_t joiner;
    bool started;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved;
    worker_fixture_action action;
    uint64_t acted_tick; /* the tick that the last action ran in, counted from 1 */
    bool held, released, closing;
    uint64_t ticks;       /* begun */
    int64_t revision;     /* of the last one */
    int64_t last_tick_ms; /* when it began */
    worker_fixture_event *events;
    size_t event_count, event_capacity, resets;
    char problem[256];
    bool over;
    int status;
    ew_error err;
};

/* A worker fixture with an options set: prefix, endpoint, a name of its own, a tick every 10 ms. */
void worker_fixture_open(worker_fixture *f, const char *prefix);
void worker_fixture_set(worker_fixture *f, const char *option, const char *value);
void worker_fixture_start(worker_fixture *f);
void worker_fixture_start_ready(
    worker_fixture *f); /* and waits until it is ready: before, it may answer requests as unavailable */

/* Runs `action` in the next tick, and waits until a later tick has begun: until all that it wrote is decided and seen.
 * worker_fixture_begin does not wait. */
void worker_fixture_do(worker_fixture *f, worker_fixture_action action);
void worker_fixture_begin(worker_fixture *f, worker_fixture_action action);

/* Inside an action: stays in the tick until worker_fixture_release. The test waits for it with worker_fixture_await_held. */
void worker_fixture_hold(worker_fixture *f);
void worker_fixture_await_held(worker_fixture *f);
void worker_fixture_release(worker_fixture *f);

void worker_fixture_await_tick(worker_fixture *f, int64_t revision); /* that sees it */
void worker_fixture_await_ticks(worker_fixture *f, uint64_t more);   /* so many more, from now on */
void worker_fixture_await_total(worker_fixture *f, uint64_t ticks);  /* so many in all */
void worker_fixture_await_events(worker_fixture *f, size_t count);   /* so many in all */
void worker_fixture_await_ready(worker_fixture *f, bool ready);
uint64_t worker_fixture_ticks(worker_fixture *f);
ew_worker_stats worker_fixture_stats(worker_fixture *f); /* that know of every tick so far */

/* Waits for the run's end: its status, with the text in s->err. */
int worker_fixture_await_end(worker_fixture *f);

/* Stops the run unless it is over, checks that no EXPECT failed, and frees. Answers how the run ended. */
int worker_fixture_close(worker_fixture *f);

/* Remembers the first expectation of a reactor that failed. */
void worker_fixture_problem(worker_fixture *f, const char *file, int line, const char *what);
#define EXPECT(s, condition) ((condition) ? (void)0 : worker_fixture_problem((s), __FILE__, __LINE__, #condition))

/* An event of the list, for asserts. */
void worker_fixture_assert_event(worker_fixture *f, size_t i, ew_event_kind kind, bool initial, const char *key,
                                 const char *value);

#endif
