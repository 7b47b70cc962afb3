#include "workload.h"

#include <string.h>

static const workload workloads[] = {
    {"floor", 1, "one thread, no actors: a transaction, then its watch event", workload_floor},
    {"chain", 1, "each tick adds one to a key", workload_chain},
    {"groups", 1, "each tick makes 64 groups, over 1,024 keys", workload_groups},
    {"ingest", 2, "an external process writes, a worker reads", workload_ingest},
    {"contend", 2, "3 and 10 workers raise one key to 600", workload_contend},
    {"fanin", 3, "1, 8 and 64 workers in one process, with one client", workload_fanin},
    {"actors", 1, "chain, with an etcd in the process: the limit of the actors alone", workload_actors},
    {"catchup", 1, "the worker is stopped while 50,000 revisions are written", workload_catchup},
    /* Last, because its keys stay, and an etcd with a million keys is slower for all workloads. */
    {"bigstate", 4, "chain, with 1k to 1M other keys in the prefix", workload_bigstate},
};

const workload *workload_at(size_t i) {
    return i < sizeof workloads / sizeof workloads[0] ? &workloads[i] : NULL;
}

const workload *workload_named(const char *name) {
    const workload *w = NULL;
    for (size_t i = 0; (w = workload_at(i)) && strcmp(w->name, name) != 0; i++) {
    }
    return w;
}

int workload_count(const bench *b, int standard, int smoke) {
    return b->smoke ? smoke : standard;
}
