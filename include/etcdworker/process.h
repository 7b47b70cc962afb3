/* What a whole process can set so that messages between threads cost less. Optional, and a program's own choice: a
 * library should not change its host's threads. etcdworkerd and etcdworker-bench call it. */
#ifndef ETCDWORKER_PROCESS_H
#define ETCDWORKER_PROCESS_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Checks that the process may have the threads, open files and address space that a worker needs. gRPC and nng abort,
 * or crash, where a thread cannot be started, so this is tried out: EW_ERR_SYSTEM names the limit, its value, and the
 * least value that will do (about 33 threads on two CPUs and 36 open files, beside those that the process has already,
 * and 160 MiB of address space, beside the threads' stacks). Where the address space or data is limited (RLIMIT_AS,
 * RLIMIT_DATA), malloc is kept to two arenas from then on. To be called before the first client is opened; once it has
 * succeeded it is not done again. */
EW_API int ew_process_check_limits(ew_error *err);

/* Prepares the calling process; to be called first thing in main, before there is a second thread, since threads
 * inherit it:
 *  - ew_process_check_limits, and its errors.
 *  - gRPC polls with `poll` (environment variable GRPC_POLL_STRATEGY, unless it is set): its default wakes one thread
 * for another's events when several wait, as they do here.
 *  - gRPC 1.67 and later, whose log cannot be redirected, is silent (GRPC_VERBOSITY, unless it is set): it would wait
 * for a stderr that nobody reads.
 *  - glibc's malloc keeps up to 16 MiB of freed memory at the top of a heap, as it does by itself from the first large
 * page of keys on: messages would otherwise be new pages each. It still does as its environment variables say.
 *  - The threads are scheduled as SCHED_BATCH: a thread that is woken does not interrupt the one that wakes it, which
 * would only make it wait for a lock that the other still holds.
 *  - With `cpu` >= 0 every thread stays on that CPU: the actors of one worker run one after the other, and a wake-up on
 * the same CPU is the cheapest. Not for many workers in one process. EW_ERR_INVALID if the process may not run there.
 * What each is worth: docs/performance.md. */
EW_API int ew_process_prepare(int cpu, ew_error *err);

#ifdef __cplusplus
}
#endif
#endif
