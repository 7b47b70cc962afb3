#include <etcdworker/process.h>

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sched.h>
#include <stdlib.h>

/* Messages are allocated by one thread and freed by another, at the top of a heap: as much of it as a burst of them
 * takes is kept, which glibc by itself would give back to the kernel, and fetch again page by page. */
static void keep_freed_memory(void) {
#ifdef __GLIBC__
    enum { KEPT = 4 << 20, AHEAD = 1 << 20 };
    if (getenv("MALLOC_TRIM_THRESHOLD_") != NULL || getenv("GLIBC_TUNABLES") != NULL)
        return;
    mallopt(M_MMAP_THRESHOLD, KEPT); /* which no longer follows what is freed once one of these is set */
    mallopt(M_TRIM_THRESHOLD, KEPT);
    mallopt(M_TOP_PAD, AHEAD);
#endif
}

int ew_process_prepare(int cpu, ew_error *err) {
    keep_freed_memory();
    if (setenv("GRPC_POLL_STRATEGY", "poll", 0) != 0)
        return ew_fail(err, EW_ERR_NO_MEMORY, "GRPC_POLL_STRATEGY");
    struct sched_param none = {0};
    if (sched_setscheduler(0, SCHED_BATCH, &none) != 0)
        return ew_fail(err, EW_ERR_SYSTEM, "SCHED_BATCH: %s", strerror(errno));
    if (cpu < 0)
        return EW_OK;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= CPU_SETSIZE)
        return ew_fail(err, EW_ERR_INVALID, "cpu = %d: there is no such CPU", cpu);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return ew_fail(err, EW_ERR_INVALID, "cpu = %d: %s", cpu, strerror(errno));
    return EW_OK;
}
