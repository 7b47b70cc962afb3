/* What the tests of a whole worker share:
 *   scene   an etcd of the test program's own, one for all of its tests
 *   hand    the test's own hand in that etcd, beside the workers; the main thread's only
 *   stage   a worker whose reactor is the test's, and everything that was shown to it, written down
 *
 * Asserts of cmocka belong to the main thread. What runs inside a reactor uses EXPECT, whose first failure stage_close
 * reports. Every wait is bounded and ends as soon as what it waits for is true. */
#ifndef LIB_SCENARIO_H
#define LIB_SCENARIO_H

#include "lib/hand.h"

#include <etcdworker/etcdworker.h>

#include <pthread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SCENE_WAIT_MS = 60000 }; /* far beyond what anything here takes, also under a sanitizer */

/* ---- scene ---- */

/* Group fixtures: start etcd and the hand; end them, and check that nothing of gRPC is left. */
int scene_open(void **state);
int scene_close(void **state);

/* A test of such a group. One that fails leaves workers behind, which still use its variables: what follows cannot be
 * run, and the program ends there. */
#define scene_test(f) cmocka_unit_test_setup(f, scene_before)
int scene_before(void **state);

const char *scene_endpoint(void);
ew_options *scene_options(const char *prefix); /* a worker's, with a name of its own */
int64_t scene_now_ms(void);

/* Faults of the server. The hand must not be used before it is back. */
void scene_kill_etcd(void);
void scene_start_etcd(void);
void scene_wipe_etcd(void);    /* between the two: it has lost its data */
void scene_save_etcd(void);    /* its state as of now, which */
void scene_restore_etcd(void); /* between the two replaces the one it had, under the same cluster id */
void scene_pause_etcd(void);
void scene_resume_etcd(void);

/* Looks again and again until `holds` does, for at most SCENE_WAIT_MS; answers whether it did. */
bool scene_until(bool (*holds)(void *arg), void *arg);

/* How many threads this process has that carry its own name, as ours do (gRPC and nng name theirs, and keep pools of
 * them), and how many open files. */
size_t scene_threads(void);
size_t scene_files(void);

/* ---- stage ---- */

typedef struct stage stage;
typedef int (*stage_act)(stage *s, ew_tick *t);

/* An event as the reactor's `update` got it. */
typedef struct stage_event {
    ew_event_kind kind;
    bool initial;
    char key[128], value[128];
    size_t value_len;
    int64_t mod_revision;
    uint64_t ticks; /* before it */
    size_t resets;  /* before it */
} stage_event;

struct stage {
    ew_options *options; /* the test's, until stage_start */
    bool updates;        /* set before stage_start: keep events */
    bool track_reads;    /* set before stage_start */
    stage_act every;     /* runs in every tick, unless NULL; set before stage_start */
    void *arg;           /* the test's */
    ew_client *client;   /* set before stage_start; NULL: the worker's own */
    ew_session *session;
    ew_election *election;

    ew_worker *worker;
    pthread_t joiner;
    bool started;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved;
    stage_act act;
    uint64_t acted; /* the tick that the last act ran in, counted from 1 */
    bool held, released, closing;
    uint64_t ticks;       /* begun */
    int64_t revision;     /* of the last one */
    int64_t last_tick_ms; /* when it began */
    stage_event *events;
    size_t event_count, event_capacity, resets;
    char problem[256];
    bool over;
    int status;
    ew_error err;
};

/* A stage with an options set: prefix, endpoint, a name of its own, a tick every 10 ms. */
void stage_open(stage *s, const char *prefix);
void stage_set(stage *s, const char *option, const char *value);
void stage_start(stage *s);
void stage_start_ready(stage *s); /* and waits until it is ready: before, it may answer requests as unavailable */

/* Runs `act` in the next tick, and waits until a later tick has begun: until all that it wrote is decided and seen.
 * stage_begin does not wait. */
void stage_do(stage *s, stage_act act);
void stage_begin(stage *s, stage_act act);

/* Inside an act: stays in the tick until stage_release. The test waits for it with stage_await_held. */
void stage_hold(stage *s);
void stage_await_held(stage *s);
void stage_release(stage *s);

void stage_await_tick(stage *s, int64_t revision); /* that sees it */
void stage_await_ticks(stage *s, uint64_t more);   /* so many more, from now on */
void stage_await_total(stage *s, uint64_t ticks);  /* so many in all */
void stage_await_events(stage *s, size_t count);   /* so many in all */
void stage_await_ready(stage *s, bool ready);
uint64_t stage_ticks(stage *s);
ew_worker_stats stage_stats(stage *s); /* that know of every tick so far */

/* Waits for the run's end: its status, with the text in s->err. */
int stage_await_end(stage *s);

/* Stops the run unless it is over, checks that no EXPECT failed, and frees. Answers how the run ended. */
int stage_close(stage *s);

/* Remembers the first expectation of a reactor that failed. */
void stage_problem(stage *s, const char *file, int line, const char *what);
#define EXPECT(s, condition) ((condition) ? (void)0 : stage_problem((s), __FILE__, __LINE__, #condition))

/* An event of the list, for asserts. */
void stage_assert_event(stage *s, size_t i, ew_event_kind kind, bool initial, const char *key, const char *value);

#endif
