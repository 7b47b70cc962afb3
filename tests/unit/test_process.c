/* What ew_process_prepare does to a process. Each test runs in a process of its own. */
#include <etcdworker/process.h>

#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_in_a_process(bool (*holds)(void)) {
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(holds() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- polling, scheduling ---- */

static bool is_prepared(void) {
    return ew_process_prepare(-1, NULL) == EW_OK && strcmp(getenv("GRPC_POLL_STRATEGY"), "poll") == 0 &&
           sched_getscheduler(0) == SCHED_BATCH;
}

static bool keeps_what_is_set(void) {
    setenv("GRPC_POLL_STRATEGY", "epoll1", 1);
    return ew_process_prepare(-1, NULL) == EW_OK && strcmp(getenv("GRPC_POLL_STRATEGY"), "epoll1") == 0;
}

static void test_polling_and_scheduling(void **state) {
    (void)state;
    unsetenv("GRPC_POLL_STRATEGY");
    assert_in_a_process(is_prepared);
    assert_in_a_process(keeps_what_is_set);
}

/* ---- one CPU ---- */

static bool stays_on_its_cpu(void) {
    int cpu = sched_getcpu();
    cpu_set_t set;
    return ew_process_prepare(cpu, NULL) == EW_OK && sched_getaffinity(0, sizeof set, &set) == 0 &&
           CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set);
}

static bool is_refused(int cpu) {
    ew_error err = {0};
    return ew_process_prepare(cpu, &err) == EW_ERR_INVALID && err.code == EW_ERR_INVALID &&
           strstr(err.detail, "cpu = ") == err.detail;
}

static bool knows_its_cpus(void) {
    return is_refused(CPU_SETSIZE) && is_refused(INT_MAX) && is_refused(CPU_SETSIZE - 1);
}

static void test_one_cpu(void **state) {
    (void)state;
    assert_in_a_process(stays_on_its_cpu);
    assert_in_a_process(knows_its_cpus);
}

/* ---- memory ---- */

/* Returns whether the next message reuses the memory of a freed message of 2 MiB. */
static bool keeps_memory(void) {
    void *volatile message = malloc(2 << 20);
    size_t mapped = mallinfo2().hblks, heap = mallinfo2().arena;
    free(message);
    return mapped == 0 && mallinfo2().arena == heap;
}

static bool keeps_none(void) {
    return !keeps_memory();
}

static bool keeps_some(void) {
    return ew_process_prepare(-1, NULL) == EW_OK && keeps_memory();
}

static void test_freed_memory_is_kept(void **state) {
    (void)state;
    if (getenv("EW_VALGRIND")) /* valgrind has its own malloc */
        skip();
#ifdef EW_SANITIZED
    skip(); /* sanitizers have their own malloc */
#endif
    assert_in_a_process(keeps_none);
    assert_in_a_process(keeps_some);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_polling_and_scheduling),
        cmocka_unit_test(test_one_cpu),
        cmocka_unit_test(test_freed_memory_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
