/* On what was measured: the machine, the versions, the options. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "bench.h"

json_t *machine_describe(void);
json_t *machine_versions(const char *etcd);
json_t *machine_options(const bench *b);

/* Whether a directory is in memory, and has room for so many bytes. */
bool machine_is_memory(const char *directory, uint64_t bytes);

#endif
