/* Included by tests that create a worker without a worker fixture. */
#ifndef TESTS_LIB_WORKER_TEST_H
#define TESTS_LIB_WORKER_TEST_H

#include <etcdworker/worker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static inline ew_worker_stats stats_of(ew_worker *w) {
    ew_worker_stats stats = {.size = sizeof stats};
    assert_int_equal(ew_worker_get_stats(w, &stats), EW_OK);
    return stats;
}

/* Waits until the worker is ready and has committed this many groups in total. */
static inline void await_commits(ew_worker *w, uint64_t total) {
    ew_worker_stats stats;
    for (int i = 0; i < 3000; i++) {
        stats = stats_of(w);
        if (stats.ready && stats.groups_committed >= total)
            return;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    fail_msg("%llu groups, expected %llu", (unsigned long long)stats.groups_committed, (unsigned long long)total);
}

#endif
