/* What the tests of a whole worker share:
 *   environment      an etcd of the test program, shared by all of its tests (env_*)
 *   client           the test's own client of that etcd, for the main thread only (lib/client.h)
 *   worker fixture   a worker whose reactor is the test's; it records everything that the reactor is shown
 *
 * Only the main thread may use the asserts of cmocka. Code inside a reactor uses EXPECT; worker_fixture_close reports
 * the first failure. Every wait has a limit, and ends as soon as its condition is true. */
#ifndef TESTS_LIB_SCENARIO_H
#define TESTS_LIB_SCENARIO_H

#include "lib/client.h"

#include <etcdworker/etcdworker.h>

#include <pthread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ENV_WAIT_MS = 60000 }; /* far more than any wait here takes, also under a sanitizer */

/* ---- environment ---- */

/* Group fixtures: start etcd and open the test's client; then close both and check that gRPC holds nothing. */
int env_open(void **state);
int env_close(void **state);

/* A test of such a group. A failed test leaves workers running that still use its variables, so the program ends before
 * the next test. */
#define env_test(f) cmocka_unit_test_setup(f, env_before)
int env_before(void **state);

const char *env_endpoint(void);

/* Returns options for a worker, with a unique name. */
ew_options *env_options(const char *prefix);
int64_t env_now_ms(void);

/* Faults of the server. The test's client must not be used until the server is back. */
void env_kill_etcd(void);
void env_start_etcd(void);
void env_wipe_etcd(void);    /* between kill and start: removes etcd's data */
void env_save_etcd(void);    /* saves etcd's current state */
void env_restore_etcd(void); /* between kill and start: restores the saved state under the same cluster id */
void env_pause_etcd(void);
void env_resume_etcd(void);

/* Polls until `holds` returns true, for at most ENV_WAIT_MS. Returns whether it did. */
bool env_until(bool (*holds)(void *arg), void *arg);

/* Returns the number of threads that have the process's own name. The library's threads keep that name; gRPC and nng
 * name the threads of their pools. */
size_t env_threads(void);

/* Returns the number of open files. */
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
    uint64_t ticks; /* number of ticks before it */
    size_t resets;  /* number of resets before it */
} worker_fixture_event;

struct worker_fixture {
    /* Set by the test before worker_fixture_start. */
    ew_options *options; /* owned by the worker fixture after the start */
    bool updates;        /* record events */
    bool track_reads;
    worker_fixture_action every; /* runs in every tick, unless NULL */
    void *arg;
    ew_client *client; /* NULL: the worker opens its own */
    ew_session *session;
    ew_election *election;

    ew_worker *worker;
    pthread_t joiner;
    bool started;

    pthread_mutex_t lock; /* protects all members below */
    pthread_cond_t moved;
    worker_fixture_action action;
    uint64_t acted_tick; /* number of the tick that ran the last action, from 1 */
    bool held, released, closing;
    uint64_t ticks;       /* begun */
    int64_t revision;     /* of the last tick */
    int64_t last_tick_ms; /* when the last tick began */
    worker_fixture_event *events;
    size_t event_count, event_capacity, resets;
    char problem[256];
    bool over;
    int status;
    ew_error err;
};

/* Sets options: the prefix, the endpoint, a unique name, a tick every 10 ms. */
void worker_fixture_open(worker_fixture *f, const char *prefix);
void worker_fixture_set(worker_fixture *f, const char *option, const char *value);
void worker_fixture_start(worker_fixture *f);

/* Starts the worker and waits until it is ready: until then it may answer requests with EW_ERR_UNAVAILABLE. */
void worker_fixture_start_ready(worker_fixture *f);

/* Runs `action` in the next tick. worker_fixture_do then waits until a later tick has begun, so everything that the
 * action wrote has been decided and seen. worker_fixture_begin does not wait. */
void worker_fixture_do(worker_fixture *f, worker_fixture_action action);
void worker_fixture_begin(worker_fixture *f, worker_fixture_action action);

/* Inside an action: blocks the tick until worker_fixture_release. worker_fixture_await_held waits until a tick is
 * blocked so. */
void worker_fixture_hold(worker_fixture *f);
void worker_fixture_await_held(worker_fixture *f);
void worker_fixture_release(worker_fixture *f);

void worker_fixture_await_tick(worker_fixture *f, int64_t revision); /* a tick that sees this revision */
void worker_fixture_await_ticks(worker_fixture *f, uint64_t more);   /* this many more ticks from now on */
void worker_fixture_await_total(worker_fixture *f, uint64_t ticks);  /* this many ticks in total */
void worker_fixture_await_events(worker_fixture *f, size_t count);   /* this many events in total */
void worker_fixture_await_ready(worker_fixture *f, bool ready);
uint64_t worker_fixture_ticks(worker_fixture *f);

/* Returns statistics that include every tick so far. */
ew_worker_stats worker_fixture_stats(worker_fixture *f);

/* Waits for the end of the run and returns its status; f->err has the text. */
int worker_fixture_await_end(worker_fixture *f);

/* Stops the run unless it has ended, checks that no EXPECT failed, and frees the worker. Returns the run's status. */
int worker_fixture_close(worker_fixture *f);

/* Records the first EXPECT of a reactor that failed. */
void worker_fixture_problem(worker_fixture *f, const char *file, int line, const char *what);
#define EXPECT(f, condition) ((condition) ? (void)0 : worker_fixture_problem((f), __FILE__, __LINE__, #condition))

/* Asserts what event number `i` is. */
void worker_fixture_assert_event(worker_fixture *f, size_t i, ew_event_kind kind, bool initial, const char *key,
                                 const char *value);

#endif
