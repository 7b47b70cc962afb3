#include "core/log.h"

/* Set once, before any thread of the library exists (<etcdworker/log.h>): so it needs no lock. */
static struct {
    ew_log_fn fn;
    void *arg;
    ew_log_level level;
} sink;

void ew_log_set(ew_log_fn fn, void *arg, ew_log_level level) {
    sink.fn = fn;
    sink.arg = arg;
    sink.level = level;
}

bool log_on(ew_log_level level) {
    return sink.fn && level <= sink.level;
}

void log_write(ew_log_level level, const char *worker, const char *area, const char *message,
               const ew_log_field *fields, size_t count) {
    if (!log_on(level))
        return;
    const ew_log_record record = {level, worker, area, message, fields, count};
    sink.fn(sink.arg, &record);
}
