/* Process-wide settings that make messages between threads cheaper. Calling them is optional, and up to the program: a
 * library should not change its host's threads. etcdworkerd and etcdworker-bench call ew_process_prepare. */
#ifndef ETCDWORKER_PROCESS_H
#define ETCDWORKER_PROCESS_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Checks that the process may have the threads, open files and address space that a worker needs. gRPC and nng abort or
 * crash if a thread cannot be started, so this function really tries it. EW_ERR_SYSTEM: the detail names the limit, its
 * value, and the smallest sufficient value: about 33 threads on two CPUs and 36 open files in addition to those that
 * the process already has, and 160 MiB of address space in addition to the threads' stacks. These values were measured
 * with nng 1.5 and gRPC 1.51, and include a reserve. If the address space or the data segment is limited (RLIMIT_AS,
 * RLIMIT_DATA), malloc is restricted to two arenas from then on. Call it before the first client is opened. Once it has
 * succeeded, further calls do nothing. */
EW_API ew_status ew_process_check_limits(ew_error *err);

/* Prepares the calling process. Call it first in main, before a second thread exists, because threads inherit the
 * settings:
 *  - Calls ew_process_check_limits, and returns its errors.
 *  - Makes gRPC use `poll` (sets the environment variable GRPC_POLL_STRATEGY unless it is set): gRPC's default wakes
 *    one thread for another's events when several threads wait, as they do here.
 *  - Silences gRPC 1.67 and later, whose log cannot be redirected (sets GRPC_VERBOSITY unless it is set): otherwise
 *    gRPC would block on a stderr that nobody reads.
 *  - Makes glibc's malloc keep up to 16 MiB of freed memory at the top of a heap; otherwise every message would need
 *    new pages. glibc itself does this after the first large page of keys. glibc's environment variables take
 *    precedence.
 *  - Sets the scheduling policy SCHED_BATCH: a thread that is woken does not preempt the thread that woke it, whose
 *    lock it would only have to wait for.
 *  - With `cpu` >= 0, pins every thread to that CPU: the actors of one worker run one after the other, and a wake-up on
 *    the same CPU is the cheapest. Not suitable for many workers in one process. EW_ERR_INVALID: the process may not
 *    run there.
 * The effect of each setting is measured in docs/performance.md. */
EW_API ew_status ew_process_prepare(int cpu, ew_error *err);

#ifdef __cplusplus
}
#endif
#endif
