/* A limit on how often one thing is logged, for what other programs can cause as often as they like. Pure. */
#ifndef CORE_LOG_LIMIT_H
#define CORE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LIMIT_RECORDS = 3, LOG_LIMIT_WINDOW_MS = 30000 };

typedef struct log_limit {
    int64_t until_ms; /* the end of the window */
    uint32_t written; /* in it */
    uint64_t left_out;
} log_limit;

/* Whether to write a record at `now_ms`: at most LOG_LIMIT_RECORDS in each LOG_LIMIT_WINDOW_MS. `*left_out` is then how
 * many were left out since the last one that was written. */
bool log_limit_passes(log_limit *l, int64_t now_ms, uint64_t *left_out);

#endif
