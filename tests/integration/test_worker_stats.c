/* What a worker tells about itself, at any time and to any thread. */
#include "lib/scenario.h"

#include <stdatomic.h>

typedef struct reader {
    ew_worker *worker;
    atomic_bool stop;
    _Atomic uint64_t reads, problems;
} reader;

static void *read_stats(void *arg) {
    reader *r = arg;
    uint64_t bad = 0;
    while (!atomic_load(&r->stop)) {
        ew_worker_stats stats = {.size = sizeof stats};
        if (ew_worker_get_stats(r->worker, &stats) != EW_OK || stats.bad_messages < bad)
            r->problems++;
        bad = stats.bad_messages;
        r->reads++;
    }
    return NULL;
}

static bool has_read(void *arg) {
    return atomic_load(&((reader *)arg)->reads) > 0;
}

/* The header promises it from create to destroy: also while the actors come and go. What is wrong here is seen by the
 * sanitizers. */
static void test_read_while_the_actors_come_and_go(void **state) {
    (void)state;
    for (int i = 0; i < 30; i++) {
        stage s;
        stage_open(&s, "/stats");
        stage_start(&s);
        reader r = {.worker = s.worker};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, read_stats, &r), 0);
        stage_await_total(&s, 1);
        assert_true(scene_until(has_read, &r));
        ew_worker_stop(s.worker);
        assert_int_equal(stage_await_end(&s), EW_ERR_CANCELLED);
        atomic_store(&r.stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(r.problems, 0);
        assert_int_equal(stage_close(&s), EW_ERR_CANCELLED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        scene_test(test_read_while_the_actors_come_and_go),
    };
    return cmocka_run_group_tests(tests, scene_open, scene_close);
}
