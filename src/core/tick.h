/* A tick while the reactor runs: of tick.c, which has the functions that the reactor calls, and of ticking_ticks.c,
 * which begins and ends it. */
#ifndef CORE_TICK_H
#define CORE_TICK_H

#include "core/cache.h"
#include "core/group.h"
#include "core/reads.h"

#include <etcdworker/reactor.h>

struct ew_tick {
    const cache *cache;
    const group_scope *scope;
    int64_t revision;
    uint64_t number;
    int64_t now_ms;
    group_list made;
    uint64_t groups_before; /* made by earlier ticks */
    uint32_t groups;        /* in `made` */
    bool no_memory;
    ew_error error;              /* set by ew_tick_fail */
    reads *reads;                /* NULL: reads are not recorded */
    const cache_entry **scanned; /* the last entry that a scan returned: most scans continue after it */
};

#endif
