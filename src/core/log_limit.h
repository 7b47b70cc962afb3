/* Limits how often one event is logged, for events that other programs can cause at any rate. Pure. */
#ifndef CORE_LOG_LIMIT_H
#define CORE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LIMIT_RECORDS = 3, LOG_LIMIT_WINDOW_MS = 30000 };

typedef struct log_limit {
    int64_t until_ms; /* the end of the window */
    uint32_t written; /* number of records in it */
    uint64_t left_out;
} log_limit;

/* Returns whether to write a record at `now_ms`: at most LOG_LIMIT_RECORDS in each LOG_LIMIT_WINDOW_MS. If true,
 * `*left_out` is the number of records omitted since the last one that was written. */
bool log_limit_passes(log_limit *l, int64_t now_ms, uint64_t *left_out);

#endif
