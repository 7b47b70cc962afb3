#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

/* Set once, before any thread of the library exists (<etcdworker/log.h>), so it needs no lock. */
static struct {
    ew_log_fn fn;
    void *arg;
    ew_log_level level;
} sink;

static _Thread_local const char *this_worker;

void log_set_worker(const char *name) {
    this_worker = name;
}

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

void ew_log(ew_log_level level, const char *format, ...) {
    char text[512];
    if ((unsigned)level > EW_LOG_DEBUG) /* the callback may use it as an index */
        level = EW_LOG_DEBUG;
    if (!log_on(level))
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_write(level, this_worker, "app", length < 0 ? "" : text, NULL, 0);
}
