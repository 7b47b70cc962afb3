#include <etcdworker/process.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/* Makes malloc keep freed memory. One thread allocates messages and another one frees them, at the top of a heap. Above
 * a threshold, glibc's malloc returns the top of the heap to the kernel, and must get it back page by page. The
 * threshold depends on the largest block that was ever freed, so this frees a large one. */
static void keep_freed_memory(void) {
    enum { LARGE = 8 << 20 };
    void *volatile block = malloc(LARGE);
    free(block);
}

ew_status ew_process_prepare(int cpu, ew_error *err) {
    int status = ew_process_check_limits(err);
    if (status != EW_OK)
        return status;
    keep_freed_memory();
    if (setenv("GRPC_POLL_STRATEGY", "poll", 0) != 0)
        return ew_fail(err, EW_ERR_NO_MEMORY, "GRPC_POLL_STRATEGY");
#ifndef HAVE_GPR_SET_LOG_FUNCTION
    if (setenv("GRPC_VERBOSITY", "NONE", 0) != 0)
        return ew_fail(err, EW_ERR_NO_MEMORY, "GRPC_VERBOSITY");
#endif
    struct sched_param none = {0};
    if (sched_setscheduler(0, SCHED_BATCH, &none) != 0)
        return ew_fail(err, EW_ERR_SYSTEM, "SCHED_BATCH: %s", strerror(errno));
    if (cpu < 0)
        return EW_OK;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= CPU_SETSIZE)
        return ew_fail(err, EW_ERR_INVALID, "cpu = %d: no such CPU", cpu);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return ew_fail(err, EW_ERR_INVALID, "cpu = %d: %s", cpu, strerror(errno));
    return EW_OK;
}
