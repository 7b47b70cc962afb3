/* The circumstances of a measurement: the machine, the versions, the options. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "bench.h"

json_t *machine_describe(void);
json_t *machine_versions(const char *etcd);
json_t *machine_options(const bench *b);

/* Returns whether a directory is writable, on a memory file system, and has at least `bytes` bytes free. */
bool machine_is_memory(const char *directory, uint64_t bytes);

#endif
