/* What a supervisor gets to know from a worker's statistics. */
#include "service/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIVENESS_MS = 30000 };

static void expect(bool alive, bool ready, const char *reason, ew_worker_stats s, const char *waiting) {
    health h;
    health_look(&h, &s, waiting, LIVENESS_MS);
    if (h.alive != alive || h.ready != ready || strcmp(h.reason, reason) != 0)
        fail_msg("alive %d, ready %d: '%s'; wanted %d, %d: '%s'", h.alive, h.ready, h.reason, alive, ready, reason);
}

#define STATS(...) ((ew_worker_stats){.snapshots = 1, __VA_ARGS__})

static void test_ready(void **state) {
    (void)state;
    expect(true, true, "", STATS(.ready = true, .progress_age_ms = 5000, .tick_running_ms = 3), NULL);
    expect(true, true, "transaction outcome pending for 2 s", STATS(.ready = true, .txn_waiting_ms = 2999), NULL);
    expect(true, true, "", STATS(.ready = true, .txn_waiting_ms = 1000), NULL);
}

/* None of these is repaired by a restart. */
static void test_alive_and_not_ready(void **state) {
    (void)state;
    expect(true, false, "not connected to etcd", STATS(.progress_age_ms = 10), NULL);
    expect(true, false, "the prefix is not loaded yet", (ew_worker_stats){0}, NULL);
    expect(true, false, "campaigning for leadership", (ew_worker_stats){0}, "campaigning for leadership");
    expect(true, false, "not connected to etcd; transaction outcome pending for 90 s: etcd is out of space",
           STATS(.txn_waiting_ms = 90000, .no_space = true), NULL);
}

static void test_not_alive(void **state) {
    (void)state;
    expect(false, false, "tick 12 has been running for 34 s",
           STATS(.ready = true, .ticks = 11, .tick_running_ms = 34500, .progress_age_ms = 34500,
                 .slowest_thread = "reactor"),
           NULL);
    expect(false, false, "the committer's thread has made no progress for 36 s",
           STATS(.ready = true, .progress_age_ms = 36000, .slowest_thread = "committer"), NULL);
}

/* A thread may sleep for 5 s before it counts as late. */
static void test_bounds(void **state) {
    (void)state;
    expect(true, true, "", STATS(.ready = true, .tick_running_ms = LIVENESS_MS), NULL);
    expect(true, true, "", STATS(.ready = true, .progress_age_ms = LIVENESS_MS + 5000), NULL);
    expect(false, false, "tick 1 has been running for 30 s", STATS(.ready = true, .tick_running_ms = LIVENESS_MS + 1),
           NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_alive_and_not_ready),
        cmocka_unit_test(test_not_alive),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
