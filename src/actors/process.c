#include <etcdworker/process.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

int ew_process_prepare(int cpu, ew_error *err) {
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
